package api

import (
	"net/http"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) routes() {
	s.identityRoutes()
	s.networkRoutes()
	s.agreementRoutes()
	s.recordRoutes()
	s.monitoringRoutes()
	s.carryRoutes()
	s.releaseRoutes()
	s.requestRoutes()
	s.matchRoutes()
	s.aboutRoutes()
	s.accessRoutes()
	s.mispRoutes()
	s.mirrorRoutes()
	s.backupRoutes()
	s.outputRoutes()
	s.nodeRoutes()
	s.keyRoutes()
	s.auditRoutes()
	s.rulesRoutes()
	s.peopleRoutes()
	s.mandateRoutes()
	s.sinkRoutes()
	s.sourceRoutes()
	s.doctorRoutes()
	s.openAPIRoutes()
}

func (s *Server) identityRoutes() {
	s.declare("node",
		answers("GET /v1/status", "Status", rules.Status, "Says how the node stands, with problems and what to do about them.", s.status).
			note("Where rules are about reading, who may not administer sees no counts of records."),
		answers("GET /v1/id", "ID", anyone, "Says who the organisation is, and hands out its card.", s.id),
		answers("GET /v1/peers", "Peers", anyone, "Lists the members of the network, and which of their nodes are connected.", s.peers),
		answers("GET /v1/feeds", "Feeds", rules.Administer, "Says of each feed what is held, what is missing, of whom and since when.", s.feeds),
		answers("GET /v1/handouts", "Handouts", rules.Protect, "Lists what left this node: exports, lists, streams, carried files, backups.", s.handouts),
		answers("GET /v1/refusals", "Refusals", rules.Letters, "Lists what partners say that they set aside of what was published here.", s.refusals),
		answers("GET /v1/quarantine", "Quarantine", rules.Protect, "Lists what arrived and is not used, with the reasons.", s.quarantine),
		takes("POST /v1/quarantine/tell", "QuarantineTell", rules.Protect, "Tells its publisher that something was set aside, and answers whom.", s.quarantineTell).acting(),
	)
}

func (s *Server) networkRoutes() {
	s.declare("network",
		takes("POST /v1/network", "NetworkCreate", rules.Administer, "Makes a network, of which this organisation is the first steward.", s.networkCreate).as(NetworkCreate{Name: "example"}).acting(),
		takes("POST /v1/network/invite", "NetworkInvite", rules.Administer, "Sponsors an organisation, and makes its invitation file.", s.networkInvite).acting(),
		takes("POST /v1/network/join", "NetworkJoin", rules.Administer, "Joins the network that an invitation is for.", s.networkJoin).acting(),
		takes("POST /v1/network/remove", "NetworkRemove", rules.Administer, "Removes a member from the network.", s.networkRemove).acting(),
		takes("POST /v1/trust", "Trust", rules.Administer, "Pins an organisation whose words a person compared.", s.trust).acting(),
		takes("POST /v1/untrust", "Untrust", rules.Administer, "Takes back that an organisation is pinned.", s.untrust).acting(),
		answers("GET /v1/topics", "Topics", anyone, "Lists the topics that this node is in.", s.topics),
		answers("POST /v1/topics/{name}", "TopicJoin", rules.Topics, "Joins a topic.", s.topicJoin).path("name", "The name of the topic.").acting(),
		answers("DELETE /v1/topics/{name}", "TopicLeave", rules.Topics, "Leaves a topic; what is held of it stays.", s.topicLeave).path("name", "The name of the topic.").acting(),
	)
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

func (s *Server) id(*http.Request, *none) (ID, error) {
	id := IDOf(s.node.OwnCard())
	id.Node = s.node.ID()
	return id, nil
}

// NetworkCreate names a network that is to be.
type NetworkCreate struct {
	Name string `json:"name" required:"true"`
}

// Network is a network.
type Network struct {
	Network protocol.NetworkID `json:"network"`
	Name    string             `json:"name,omitempty"` // where the node was told it just now
}

func (s *Server) networkCreate(_ *http.Request, q *NetworkCreate) (*Network, error) {
	id, err := s.node.CreateNetwork(q.Name)
	return &Network{Network: id, Name: q.Name}, err
}

// NetworkInvite is for whom an invitation is to be.
type NetworkInvite struct {
	Card  []byte `json:"card" required:"true"`
	Hours int    `json:"hours,omitempty"` // how long it may be used; 0: 7 days
}

// Invitation is an invitation file.
type Invitation struct {
	Invitation []byte         `json:"invitation"`
	Invitee    protocol.OrgID `json:"invitee"`
}

func (s *Server) networkInvite(_ *http.Request, q *NetworkInvite) (*Invitation, error) {
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
	return &Invitation{Invitation: protocol.Encode(inv), Invitee: inv.Invitee}, nil
}

func readCard(b []byte) (*protocol.SignedCard, error) {
	var card protocol.SignedCard
	return &card, protocol.Decode(b, protocol.MaxCardSize, &card)
}

// NetworkJoin is an invitation that is to be used.
type NetworkJoin struct {
	Invitation []byte `json:"invitation" required:"true"`
}

func (s *Server) networkJoin(_ *http.Request, q *NetworkJoin) (*Network, error) {
	var inv protocol.Invite
	if err := protocol.Decode(q.Invitation, protocol.MaxInviteSize, &inv); err != nil {
		return nil, err
	}
	id, err := s.node.Join(&inv)
	return &Network{Network: id}, err
}

// NetworkRemove names the member that is to be removed, and why.
type NetworkRemove struct {
	Org    string `json:"organisation" required:"true"` // by name or id
	Reason string `json:"reason,omitempty"`
}

func (s *Server) networkRemove(_ *http.Request, q *NetworkRemove) (none, error) {
	org, err := s.node.FindOrg(q.Org)
	if err != nil {
		return none{}, err
	}
	return none{}, s.node.RemoveMember(org, q.Reason)
}

func (s *Server) peers(*http.Request, *none) ([]node.PeerStatus, error) { return s.node.Peers(), nil }

// Trust is a card, and the words that a person compared.
type Trust struct {
	Card  []byte `json:"card" required:"true"`
	Words string `json:"words" required:"true"`
}

func (s *Server) trust(_ *http.Request, q *Trust) (*ID, error) {
	signed, err := readCard(q.Card)
	if err != nil {
		return nil, err
	}
	c, err := s.node.Trust(signed, q.Words)
	if err != nil {
		return nil, err
	}
	id := IDOf(c)
	return &id, nil
}

// Untrust names an organisation, by name or id.
type Untrust struct {
	Org string `json:"organisation" required:"true"`
}

// Org is an organisation that something was done about.
type Org struct {
	Org protocol.OrgID `json:"organisation"`
}

func (s *Server) untrust(_ *http.Request, q *Untrust) (*Org, error) {
	org, err := s.node.FindOrg(q.Org)
	if err != nil {
		return nil, err
	}
	return &Org{org}, s.node.Untrust(org)
}

func (s *Server) topics(*http.Request, *none) ([]node.TopicInfo, error) { return s.node.Topics() }

func (s *Server) topicJoin(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.JoinTopic(r.PathValue("name"))
}

func (s *Server) topicLeave(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.LeaveTopic(r.PathValue("name"))
}

// QuarantineQuery says what of the quarantine to show.
type QuarantineQuery struct {
	ID string `query:"id" doc:"only this; without it, all"`
}

func (s *Server) quarantine(r *http.Request, q *QuarantineQuery) ([]node.Quarantined, error) {
	list, err := s.node.Quarantine(q.ID)
	if err == nil && len(list) > 0 {
		err = s.node.Disclose(r.Context(), node.Disclosure{Act: "look at the quarantine", Query: q.ID})
	}
	return list, err
}

// Tell names what is in quarantine, for its publisher to be told.
type Tell struct {
	ID string `json:"id" required:"true"`
}

func (s *Server) quarantineTell(_ *http.Request, q *Tell) (node.OrgRef, error) {
	return s.node.TellRefused(q.ID)
}

func (s *Server) refusals(*http.Request, *none) ([]node.RefusalInfo, error) { return s.node.Refusals() }

// Withdraw names records that are to be withdrawn, and why.
type Withdraw struct {
	IDs    []string `json:"ids"` // of records, their beginnings, or STIX ids
	Reason string   `json:"reason,omitempty"`
}

// Withdrawn names records that were withdrawn.
type Withdrawn struct {
	Withdrawn []protocol.RecordID `json:"withdrawn"`
}

func (s *Server) withdraw(r *http.Request, q *Withdraw) (*Withdrawn, error) {
	recs, err := s.find(r, q.IDs)
	if err != nil {
		return nil, err
	}
	if err := s.reader(r).MayWithdraw(recs); err != nil {
		return nil, err
	}
	ids := idsOf(recs)
	return &Withdrawn{ids}, s.node.Withdraw(r.Context(), ids, q.Reason)
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

// Erase names records that are to be erased in the whole mesh.
type Erase struct {
	IDs    []string `json:"ids"` // of records, their beginnings, or STIX ids
	Reason string   `json:"reason" required:"true" enum:"request,legal,error"`
}

func (s *Server) erase(r *http.Request, q *Erase) (*node.EraseReport, error) {
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

func (s *Server) feeds(*http.Request, *none) ([]node.FeedStatus, error) { return s.node.Feeds() }
