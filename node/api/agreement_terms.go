package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// What is looked at before signing: what an agreement changes, what it would have changed, and how
// others write it.

// AgreementRef names an agreement that is known here by its id, or holds a draft.
type AgreementRef struct {
	ID   string `json:"id,omitempty"`
	YAML string `json:"yaml,omitempty"`
}

func (s *Server) refer(ref *AgreementRef) (*protocol.Agreement, error) {
	switch {
	case (ref.ID == "") == (ref.YAML == ""):
		return nil, protocol.Errorf(protocol.ErrMalformed, "an agreement is named by its id, or given as YAML: one of them")
	case ref.YAML != "":
		return policy.ParseYAML([]byte(ref.YAML), s.node.FindOrg)
	}
	return s.known(ref.ID)
}

func (s *Server) known(text string) (*protocol.Agreement, error) {
	id, err := s.node.FindAgreement(text)
	if err != nil {
		return nil, err
	}
	a, err := s.node.Agreement(id)
	return &a.Doc, err
}

// DiffRequest asks what After changes of Before; without that, of what After amends.
type DiffRequest struct {
	Before *AgreementRef `json:"before,omitempty"`
	After  AgreementRef  `json:"after" required:"true"`
}

// Diff is what an agreement changes of another.
type Diff struct {
	Text    string   `json:"text"`
	Changes []Change `json:"changes"`
	Widens  bool     `json:"widens"` // something may be shared that might not before
}

// Change is one thing that an agreement changes: policy.Change.
type Change struct {
	Effect policy.Effect `json:"effect"`
	Term   int           `json:"term,omitempty"` // of the new one, from 1
	Was    int           `json:"was,omitempty"`  // of the old one
	Text   string        `json:"text"`
}

func (s *Server) agreementDiff(_ *http.Request, q *DiffRequest) (*Diff, error) {
	after, err := s.refer(&q.After)
	if err != nil {
		return nil, err
	}
	var before *protocol.Agreement
	switch {
	case q.Before != nil:
		before, err = s.refer(q.Before)
	case after.Previous.IsZero():
		err = protocol.Errorf(protocol.ErrMalformed, "it amends nothing; name the agreement to compare it with, or the one that it amends in 'amends'")
	default:
		before, err = s.known(after.Previous.String())
	}
	if err != nil {
		return nil, err
	}
	changes := policy.Diff(before, after, s.name)
	out := &Diff{Text: policy.DescribeDiff(before, after, changes, s.name), Changes: []Change{}}
	for _, c := range changes {
		out.Changes = append(out.Changes, Change(c))
		out.Widens = out.Widens || c.Effect == policy.EffectWidens
	}
	return out, nil
}

// SimulateRequest asks what would be if an agreement were signed, by the records since a time.
type SimulateRequest struct {
	Agreement AgreementRef `json:"agreement" required:"true"`
	Since     string       `json:"since,omitempty"` // as searches take it; without it, everything
}

func (s *Server) agreementSimulate(r *http.Request, q *SimulateRequest) (*node.Simulation, error) {
	from, err := since(q.Since)
	if err != nil {
		return nil, err
	}
	doc, err := s.refer(&q.Agreement)
	if err != nil {
		return nil, err
	}
	sim, err := s.node.Simulate(r.Context(), *doc, from)
	if err != nil {
		return nil, err
	}
	return sim, s.examples(r, sim)
}

// examples notes which records a simulation shows. Where rules say who may read, it shows none.
func (s *Server) examples(r *http.Request, sim *node.Simulation) error {
	d := node.Disclosure{Act: "simulate", Query: sim.Title}
	for _, list := range [][]node.SimulatedOrg{sim.Sends, sim.Comes, sim.PassOn} {
		for i := range list {
			if s.node.RulesAbout(rules.Read) {
				list[i].Gains, list[i].Losses = nil, nil
			}
			for _, rec := range slices.Concat(list[i].Gains, list[i].Losses) {
				d.Records = append(d.Records, rec.Record)
			}
		}
	}
	if len(d.Records) == 0 {
		return nil
	}
	return s.node.Disclose(r.Context(), d)
}

// RenewRequest asks for an agreement to be proposed again until a later end.
type RenewRequest struct {
	Until time.Time `json:"until" required:"true"`
}

// Renewed names a proposal, and the agreement that it renews.
type Renewed struct {
	ID     protocol.AgreementID `json:"agreement"`
	Renews protocol.AgreementID `json:"renews"`
}

func (s *Server) agreementRenew(r *http.Request, q *RenewRequest) (*Renewed, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.signs(r, "propose again until "+q.Until.UTC().Format(time.RFC3339), a); err != nil {
		return nil, err
	}
	id, err := s.node.Renew(a.ID, uint64(max(q.Until.UnixMilli(), 0)))
	return &Renewed{id, a.ID}, err
}

func (s *Server) agreementAmendment(r *http.Request, _ *none) (*Draft, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	doc, err := s.node.Amendment(a.ID)
	if err != nil {
		return nil, err
	}
	return &Draft{YAML: policy.Modeline + "\n" + string(policy.WriteYAML(doc, s.name))}, nil
}

// Draft is a draft to edit, with what a person should know of how it came about.
type Draft struct {
	YAML  string   `json:"yaml"`
	Notes []string `json:"notes,omitempty"`
}

// AnewRequest holds the card of an organisation that was founded anew. Of says in whose place, by name or id;
// empty: in that of this node's organisation.
type AnewRequest struct {
	Card []byte `json:"card" required:"true"`
	Of   string `json:"of,omitempty"`
}

// Anew is what is to be signed anew of one agreement.
type Anew struct {
	ID      protocol.AgreementID `json:"agreement"` // as it was signed
	Title   string               `json:"title"`
	Parties []node.OrgRef        `json:"parties"`
	YAML    string               `json:"yaml"`
}

func (s *Server) agreementsAnew(_ *http.Request, q *AnewRequest) ([]Anew, error) {
	signed, err := readCard(q.Card)
	if err != nil {
		return nil, err
	}
	card, err := crypto.VerifyCard(signed)
	if err != nil {
		return nil, err
	}
	was := s.node.Org()
	if q.Of != "" {
		if was, err = s.node.FindOrg(q.Of); err != nil {
			return nil, err
		}
	}
	list, err := s.node.AgreementsAnew(was, card.Org)
	if err != nil {
		return nil, err
	}
	name := func(id protocol.OrgID) string {
		if id == card.Org {
			return card.Inception.Name
		}
		return s.name(id)
	}
	out := []Anew{}
	for i := range list {
		d := &list[i].Draft
		a := Anew{ID: list[i].ID, Title: d.Title, YAML: policy.Modeline + "\n" + string(policy.WriteYAML(d, name))}
		for _, p := range d.Parties {
			a.Parties = append(a.Parties, node.OrgRef{ID: p, Name: name(p)})
		}
		out = append(out, a)
	}
	return out, nil
}

func (s *Server) agreementIEP(r *http.Request, _ *none) ([]policy.IEPPolicy, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	return policy.ExportIEP(&a.Doc, a.ID, s.name), nil
}

// PartiesQuery names the parties of an agreement that is to be, by name or id.
type PartiesQuery struct {
	From string `query:"from" required:"true" doc:"who gives"`
	To   string `query:"to" required:"true" doc:"who is given to"`
}

// agreementFromIEP takes policies of IEP 2.0, and the parties in the query.
func (s *Server) agreementFromIEP(r *http.Request, q *PartiesQuery) (*Draft, error) {
	b, err := body(r)
	if err != nil {
		return nil, err
	}
	from, err := s.node.FindOrg(q.From)
	if err != nil {
		return nil, err
	}
	to, err := s.node.FindOrg(q.To)
	if err != nil {
		return nil, err
	}
	doc, notes, err := policy.ParseIEP(b, from, to, uint64(time.Now().UnixMilli()))
	if err != nil {
		return nil, err
	}
	return &Draft{YAML: string(policy.WriteIEPDraft(doc, notes, s.name)), Notes: notes}, nil
}

// WhatIfRequest asks who might have a record, at a time and under a planned agreement.
type WhatIfRequest struct {
	Org  string        `json:"organisation,omitempty"` // only what concerns it
	At   *time.Time    `json:"at,omitempty"`           // without it, now
	With *AgreementRef `json:"with,omitempty"`
}

func (s *Server) whatIf(r *http.Request, q *WhatIfRequest) (*node.WhatIf, error) {
	found, err := s.reader(r).Find(r.PathValue("id"))
	if err == nil {
		err = s.disclose(r, "what if", r.PathValue("id"), found[:1])
	}
	if err != nil {
		return nil, err
	}
	var only *protocol.OrgID
	if q.Org != "" {
		org, err := s.node.FindOrg(q.Org)
		if err != nil {
			return nil, err
		}
		only = &org
	}
	at := time.Now()
	if q.At != nil {
		at = *q.At
	}
	var planned *protocol.Agreement
	if q.With != nil {
		if planned, err = s.refer(q.With); err != nil {
			return nil, err
		}
	}
	return s.node.WhatIf(found[0].ID, only, uint64(max(at.UnixMilli(), 0)), planned)
}
