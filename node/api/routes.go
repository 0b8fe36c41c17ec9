package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) routes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/status":                       s.status,
		"GET /v1/id":                           s.id,
		"POST /v1/network":                     s.networkCreate,
		"POST /v1/network/invite":              s.networkInvite,
		"POST /v1/network/join":                s.networkJoin,
		"POST /v1/network/remove":              s.networkRemove,
		"GET /v1/peers":                        s.peers,
		"POST /v1/trust":                       s.trust,
		"POST /v1/untrust":                     s.untrust,
		"GET /v1/topics":                       s.topics,
		"POST /v1/topics/{name}":               s.topicJoin,
		"DELETE /v1/topics/{name}":             s.topicLeave,
		"GET /v1/agreements":                   s.agreements,
		"POST /v1/agreements":                  s.agreementPropose,
		"POST /v1/agreements/check":            s.agreementCheck,
		"GET /v1/agreements/template":          s.agreementTemplate,
		"POST /v1/agreements/import":           s.agreementImport,
		"POST /v1/agreements/diff":             s.agreementDiff,
		"POST /v1/agreements/simulate":         s.agreementSimulate,
		"POST /v1/agreements/iep":              s.agreementFromIEP,
		"GET /v1/agreements/{id}":              s.agreementShow,
		"GET /v1/agreements/{id}/iep":          s.agreementIEP,
		"GET /v1/agreements/{id}/amendment":    s.agreementAmendment,
		"POST /v1/agreements/{id}/renew":       s.agreementRenew,
		"GET /v1/agreements/{id}/document":     s.agreementDocument,
		"POST /v1/agreements/{id}/countersign": s.agreementCountersign,
		"POST /v1/agreements/{id}/reject":      s.agreementAct(func(id protocol.AgreementID, q *reasonRequest) error { return s.node.Reject(id, q.Reason) }),
		"POST /v1/agreements/{id}/terminate":   s.agreementAct(s.terminate),
		"POST /v1/agreements/{id}/suspend":     s.agreementAct(func(id protocol.AgreementID, q *reasonRequest) error { return s.node.Suspend(id, q.Reason) }),
		"POST /v1/agreements/{id}/resume":      s.agreementAct(func(id protocol.AgreementID, q *reasonRequest) error { return s.node.Resume(id, q.Reason) }),
		"GET /v1/records":                      s.search,
		"GET /v1/records/{id}":                 s.show,
		"GET /v1/records/{id}/explain":         s.explain,
		"POST /v1/records/{id}/what-if":        s.whatIf,
		"POST /v1/withdraw":                    s.withdraw,
		"GET /v1/quarantine":                   s.quarantine,
		"POST /v1/quarantine/tell":             s.quarantineTell,
		"GET /v1/refusals":                     s.refusals,
		"POST /v1/erase":                       s.erase,
		"GET /v1/feeds":                        s.feeds,
		"GET /v1/handouts":                     s.handouts,
	} {
		if method, path, _ := strings.Cut(pattern, " "); method != "GET" && path != "/v1/erase" && path != "/v1/withdraw" {
			fn = s.acting(fn)
		}
		s.mux.HandleFunc(pattern, call(fn))
	}
	monitoring := Monitoring(s.node)
	for _, path := range []string{"GET /metrics", "GET /healthz", "GET /readyz"} {
		s.mux.Handle(path, monitoring)
	}
	s.mux.HandleFunc("POST /v1/publish", s.publish)
	s.mux.HandleFunc("GET /v1/watch", s.watch)
	s.mux.HandleFunc("GET /v1/export", s.export)
	s.carryRoutes()
	s.releaseRoutes()
	s.requestRoutes()
	s.matchRoutes()
	s.aboutRoutes()
	s.accessRoutes()
	s.mirrorRoutes()
	s.mux.HandleFunc("POST /v1/backup", s.backup)
	s.nodeRoutes()
	s.auditRoutes()
	s.rulesRoutes()
	s.mandateRoutes()
}

// ID is an organisation as it presents itself.
type ID struct {
	Org         protocol.OrgID   `json:"id"`
	Name        string           `json:"name"`
	Kind        protocol.OrgKind `json:"kind"`
	Country     string           `json:"country,omitempty"`
	Contact     string           `json:"contact,omitempty"`
	Words       []string         `json:"words"` // to be read out by phone
	Node        protocol.NodeID  `json:"node,omitzero"`
	FreshUntil  time.Time        `json:"fresh_until"`
	Fresh       bool             `json:"fresh"`
	Card        []byte           `json:"card"` // base64 in JSON: what 'entente trust' and 'network invite' take
	Fingerprint string           `json:"fingerprint"`
}

// IDOf describes a card.
func IDOf(c *crypto.Card) ID {
	return ID{Org: c.Org, Name: c.Inception.Name, Kind: c.Inception.Kind, Country: c.Inception.Country, Contact: c.Contact,
		Words: crypto.Words(c.Org), FreshUntil: time.UnixMilli(int64(c.FreshUntil)).UTC(), Fresh: c.Fresh(uint64(time.Now().UnixMilli())),
		Card: protocol.Encode(&c.Signed), Fingerprint: c.Hash.String()}
}

func (s *Server) id(*http.Request) (any, error) {
	id := IDOf(s.node.OwnCard())
	id.Node = s.node.ID()
	return id, nil
}

func (s *Server) networkCreate(r *http.Request) (any, error) {
	var q struct {
		Name string `json:"name"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	id, err := s.node.CreateNetwork(q.Name)
	return map[string]any{"network": id, "name": q.Name}, err
}

// networkInvite takes {card, hours} and answers with the invitation file.
func (s *Server) networkInvite(r *http.Request) (any, error) {
	var q struct {
		Card  []byte `json:"card"`
		Hours int    `json:"hours"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	card, err := readCard(q.Card)
	if err != nil {
		return nil, err
	}
	if q.Hours == 0 {
		q.Hours = 7 * 24
	}
	inv, err := s.node.Invite(card, time.Duration(q.Hours)*time.Hour)
	if err != nil {
		return nil, err
	}
	return map[string]any{"invitation": protocol.Encode(inv), "invitee": inv.Invitee}, nil
}

func readCard(b []byte) (*protocol.SignedCard, error) {
	var card protocol.SignedCard
	return &card, protocol.Decode(b, protocol.MaxCardSize, &card)
}

func (s *Server) networkJoin(r *http.Request) (any, error) {
	var q struct {
		Invitation []byte `json:"invitation"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	var inv protocol.Invite
	if err := protocol.Decode(q.Invitation, protocol.MaxInviteSize, &inv); err != nil {
		return nil, err
	}
	id, err := s.node.Join(&inv)
	return map[string]any{"network": id}, err
}

func (s *Server) networkRemove(r *http.Request) (any, error) {
	var q struct {
		Org    string `json:"organisation"`
		Reason string `json:"reason"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	org, err := s.node.FindOrg(q.Org)
	if err != nil {
		return nil, err
	}
	return nil, s.node.RemoveMember(org, q.Reason)
}

func (s *Server) peers(*http.Request) (any, error) { return s.node.Peers(), nil }

func (s *Server) trust(r *http.Request) (any, error) {
	var q struct {
		Card  []byte `json:"card"`
		Words string `json:"words"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	signed, err := readCard(q.Card)
	if err != nil {
		return nil, err
	}
	c, err := s.node.Trust(signed, q.Words)
	if err != nil {
		return nil, err
	}
	return IDOf(c), nil
}

func (s *Server) untrust(r *http.Request) (any, error) {
	var q struct {
		Org string `json:"organisation"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	org, err := s.node.FindOrg(q.Org)
	if err != nil {
		return nil, err
	}
	return map[string]any{"organisation": org}, s.node.Untrust(org)
}

func (s *Server) topics(*http.Request) (any, error) { return s.node.Topics() }

func (s *Server) topicJoin(r *http.Request) (any, error) {
	return nil, s.node.JoinTopic(r.PathValue("name"))
}

func (s *Server) topicLeave(r *http.Request) (any, error) {
	return nil, s.node.LeaveTopic(r.PathValue("name"))
}

func (s *Server) quarantine(r *http.Request) (any, error) {
	id := r.URL.Query().Get("id")
	list, err := s.node.Quarantine(id)
	if err == nil && len(list) > 0 {
		err = s.node.Disclose(r.Context(), node.Disclosure{Act: "look at the quarantine", Query: id})
	}
	return list, err
}

// Tell names what is in quarantine, for its publisher to be told.
type Tell struct {
	ID string `json:"id"`
}

func (s *Server) quarantineTell(r *http.Request) (any, error) {
	var q Tell
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return s.node.TellRefused(q.ID)
}

func (s *Server) refusals(*http.Request) (any, error) { return s.node.Refusals() }

func (s *Server) withdraw(r *http.Request) (any, error) {
	var q struct {
		IDs    []string `json:"ids"`
		Reason string   `json:"reason"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	recs, err := s.find(r, q.IDs)
	if err != nil {
		return nil, err
	}
	if err := s.reader(r).MayWithdraw(recs); err != nil {
		return nil, err
	}
	ids := idsOf(recs)
	return map[string]any{"withdrawn": ids}, s.node.Withdraw(r.Context(), ids, q.Reason)
}

// find returns the records that texts name, of those that the caller may read.
func (s *Server) find(r *http.Request, texts []string) (recs []node.Record, err error) {
	reader := s.reader(r)
	for _, text := range texts {
		found, err := reader.Find(text)
		if err != nil {
			return nil, err
		}
		recs = append(recs, found...)
	}
	return recs, nil
}

func idsOf(recs []node.Record) (ids []protocol.RecordID) {
	for i := range recs {
		ids = append(ids, recs[i].ID)
	}
	return ids
}

// erase takes {ids, reason} and answers with the report.
func (s *Server) erase(r *http.Request) (any, error) {
	var q struct {
		IDs    []string `json:"ids"`
		Reason string   `json:"reason"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	reason, err := protocol.ParseEraseReason(q.Reason)
	if err != nil {
		return nil, err
	}
	recs, err := s.find(r, q.IDs)
	if err != nil {
		return nil, err
	}
	return s.node.Erase(r.Context(), node.EraseRequest{Records: idsOf(recs), Reason: reason})
}

func (s *Server) feeds(*http.Request) (any, error) { return s.node.Feeds() }
