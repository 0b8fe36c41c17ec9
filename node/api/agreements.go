package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Agreement is an agreement as it is shown. Its secret is never part of it, but of Document.
type Agreement struct {
	ID         protocol.AgreementID `json:"id"`
	State      node.AgreementState  `json:"state"`
	Title      string               `json:"title"`
	Parties    []node.OrgRef        `json:"parties"`
	Signed     []node.OrgRef        `json:"signed"`
	Missing    []node.OrgRef        `json:"missing"`
	NotBefore  time.Time            `json:"not_before"`
	NotAfter   time.Time            `json:"not_after"`
	LegalBasis string               `json:"legal_basis,omitempty"`
	Ended      string               `json:"ended,omitempty"` // by whom, when and why
	Warning    string               `json:"warning,omitempty"`
	AmendedBy  string               `json:"amended_by,omitempty"`
	Life       []AgreementEvent     `json:"life"`
	Text       string               `json:"text,omitempty"` // only where one is asked for
	YAML       string               `json:"yaml,omitempty"` // the same
}

// AgreementEvent is one step of an agreement's life.
type AgreementEvent struct {
	At   time.Time    `json:"at"`
	Org  *node.OrgRef `json:"org,omitempty"`
	What string       `json:"what"`
	Text string       `json:"text,omitempty"`
}

func (s *Server) ref(id protocol.OrgID) node.OrgRef { return node.OrgRef{ID: id, Name: s.name(id)} }

func (s *Server) name(id protocol.OrgID) string {
	if c := s.node.Card(id); c != nil {
		return c.Inception.Name
	}
	return id.Short()
}

func (s *Server) refs(ids []protocol.OrgID) []node.OrgRef {
	out := []node.OrgRef{}
	for _, id := range ids {
		out = append(out, s.ref(id))
	}
	return out
}

func at(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

func (s *Server) agreement(a *node.AgreementInfo, full bool) Agreement {
	out := Agreement{ID: a.ID, State: a.State, Title: a.Doc.Title, Parties: s.refs(a.Doc.Parties), Signed: s.refs(a.Signed), Missing: s.refs(a.Missing),
		NotBefore: at(a.Doc.NotBefore), NotAfter: at(a.Doc.NotAfter), LegalBasis: a.Doc.LegalBasis}
	switch {
	case a.Terminated != nil:
		out.Ended = "terminated by " + s.name(a.Terminated.Org) + " at " + at(a.Terminated.Effective).Format(time.RFC3339) + ": " + a.Terminated.Reason
	case a.Rejected != nil:
		out.Ended = "rejected by " + s.name(a.Rejected.Org) + " at " + at(a.Rejected.At).Format(time.RFC3339) + ": " + a.Rejected.Reason
	}
	out.Warning, _ = a.Life.Warning(s.node.Org(), uint64(time.Now().UnixMilli()))
	if !a.SupersededBy.IsZero() {
		out.AmendedBy = a.SupersededBy.String()
	}
	for _, e := range a.Events {
		event := AgreementEvent{At: at(e.At), What: e.What, Text: e.Text}
		if !e.Org.IsZero() {
			ref := s.ref(e.Org)
			event.Org = &ref
		}
		out.Life = append(out.Life, event)
	}
	if full {
		out.Text = policy.Describe(&a.Doc, s.name)
		out.YAML = string(policy.WriteYAML(&a.Doc, s.name))
	}
	return out
}

func (s *Server) agreements(r *http.Request) (any, error) {
	out := []Agreement{}
	for _, a := range s.node.Agreements() {
		if r.URL.Query().Get("inbox") != "" && a.State != node.AgreementIncoming {
			continue
		}
		out = append(out, s.agreement(&a, false))
	}
	return out, nil
}

func (s *Server) agreementOf(r *http.Request) (*node.AgreementInfo, error) {
	id, err := s.node.FindAgreement(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	a, err := s.node.Agreement(id)
	return &a, err
}

func (s *Server) agreementShow(r *http.Request) (any, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	return s.agreement(a, true), nil
}

// Finding is one thing that a check of an agreement found.
type Finding struct {
	Severity string `json:"severity"`
	Term     int    `json:"term,omitempty"`
	Text     string `json:"text"`
}

// Check is the answer to a check of a draft.
type Check struct {
	Text     string    `json:"text"`
	Findings []Finding `json:"findings"`
	OK       bool      `json:"ok"` // nothing that keeps it from being proposed
}

func (s *Server) draft(r *http.Request) (*protocol.Agreement, error) {
	b, err := body(r)
	if err != nil {
		return nil, err
	}
	return policy.ParseYAML(b, s.node.FindOrg)
}

func (s *Server) check(doc *protocol.Agreement) Check {
	c := Check{Text: policy.Describe(doc, s.name), Findings: []Finding{}, OK: true}
	for _, f := range s.node.CheckDraft(doc) {
		c.Findings = append(c.Findings, Finding{Severity: string(f.Severity), Term: f.Term, Text: f.Text})
		c.OK = c.OK && f.Severity != policy.SeverityError
	}
	return c
}

func (s *Server) agreementCheck(r *http.Request) (any, error) {
	doc, err := s.draft(r)
	if err != nil {
		return nil, err
	}
	return s.check(doc), nil
}

func (s *Server) agreementPropose(r *http.Request) (any, error) {
	doc, err := s.draft(r)
	if err != nil {
		return nil, err
	}
	for _, f := range s.check(doc).Findings {
		if f.Severity == string(policy.SeverityError) {
			return nil, protocol.Errorf(protocol.ErrMalformed, "the draft cannot be proposed: %s; run 'entente agreement check'", f.Text)
		}
	}
	id, err := s.node.Propose(*doc)
	return map[string]any{"agreement": id}, err
}

func (s *Server) agreementTemplate(r *http.Request) (any, error) {
	other, err := s.node.FindOrg(r.URL.Query().Get("with"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"yaml": string(policy.Template(s.node.Org(), other, s.name, uint64(time.Now().UnixMilli())))}, nil
}

func (s *Server) agreementCountersign(r *http.Request) (any, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"agreement": a.ID}, s.node.Countersign(a.ID)
}

type reasonRequest struct {
	Reason string     `json:"reason"`
	On     *time.Time `json:"on,omitempty"` // to terminate with notice: when it counts
}

// agreementAct answers a request to do something with an agreement, for a reason.
func (s *Server) agreementAct(act func(protocol.AgreementID, *reasonRequest) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var q reasonRequest
		if err := decode(r, &q); err != nil {
			return nil, err
		}
		a, err := s.agreementOf(r)
		if err != nil {
			return nil, err
		}
		return map[string]any{"agreement": a.ID}, act(a.ID, &q)
	}
}

func (s *Server) terminate(id protocol.AgreementID, q *reasonRequest) error {
	on := uint64(0)
	if q.On != nil {
		on = uint64(max(q.On.UnixMilli(), 1))
	}
	return s.node.Terminate(id, q.Reason, on)
}

// Document is an agreement as its parties signed it. It is confidential to them: its secret is
// part of it.
type Document struct {
	ID       protocol.AgreementID `json:"agreement"`
	State    node.AgreementState  `json:"state"`
	Missing  []node.OrgRef        `json:"missing"`
	Document []byte               `json:"document"` // base64 in JSON: what an import takes
}

func (s *Server) agreementDocument(r *http.Request) (any, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	signed, err := s.node.SignedAgreement(a.ID)
	if err != nil {
		return nil, err
	}
	return Document{ID: a.ID, State: a.State, Missing: s.refs(a.Missing), Document: protocol.Encode(signed)}, nil
}

// Imported is what became of an agreement that was imported.
type Imported struct {
	ID    protocol.AgreementID `json:"agreement"`
	State node.AgreementState  `json:"state"`
	New   bool                 `json:"new"`   // it was not known before
	Added int                  `json:"added"` // signatures that were not held before
}

// agreementImport takes {documents} and answers with what became of each.
func (s *Server) agreementImport(r *http.Request) (any, error) {
	var q struct {
		Documents [][]byte `json:"documents"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if len(q.Documents) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "the request holds no agreement")
	}
	var list []*protocol.SignedAgreement
	for i, b := range q.Documents {
		signed := new(protocol.SignedAgreement)
		if err := protocol.Decode(b, protocol.MaxLetterSize, signed); err != nil {
			return nil, fmt.Errorf("reading agreement %d of %d: %w", i+1, len(q.Documents), err)
		}
		list = append(list, signed)
	}
	done, err := s.node.ImportAgreements(list)
	out := []Imported{}
	for _, d := range done {
		out = append(out, Imported(d))
	}
	return out, err
}
