package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) agreementRoutes() {
	const id = "The id of an agreement, or its beginning."
	s.declare("agreements",
		answers("GET /v1/agreements", "Agreements", anyone, "Lists agreements, and how they stand.", s.agreements),
		answers("POST /v1/agreements", "AgreementPropose", rules.Sign, "Proposes a draft to its parties, signed.", s.agreementPropose).reads(mediaYAML, "A draft.").acting(),
		answers("POST /v1/agreements/check", "AgreementCheck", anyone, "Checks a draft, and says in words what it means.", s.agreementCheck).reads(mediaYAML, "A draft.").acting(),
		answers("GET /v1/agreements/template", "AgreementTemplate", anyone, "Writes a draft to begin with.", s.agreementTemplate),
		takes("POST /v1/agreements/import", "AgreementImport", rules.Sign, "Takes agreements that were carried here by hand.", s.agreementImport).acting(),
		takes("POST /v1/agreements/diff", "AgreementDiff", rules.Sign, "Says what an agreement changes of another.", s.agreementDiff).acting(),
		takes("POST /v1/agreements/simulate", "AgreementSimulate", rules.Sign, "Says what would have been shared under an agreement.", s.agreementSimulate).as(SimulateRequest{Agreement: AgreementRef{ID: "agr:abcdefghij"}, Since: "30d"}).acting(),
		answers("POST /v1/agreements/iep", "AgreementFromIEP", rules.Sign, "Makes a draft of policies of IEP 2.0.", s.agreementFromIEP).reads(mediaJSON, "Policies of FIRST's Information Exchange Policy 2.0.").acting(),
		takes("POST /v1/agreements/anew", "AgreementsAnew", rules.Sign, "Drafts what an organisation that was founded anew has to sign again.", s.agreementsAnew).acting(),
		answers("GET /v1/agreements/{id}", "Agreement", anyone, "Shows an agreement with its text; never its secret.", s.agreementShow).path("id", id),
		answers("GET /v1/agreements/{id}/iep", "AgreementIEP", rules.Sign, "Writes an agreement as policies of IEP 2.0.", s.agreementIEP).path("id", id),
		answers("GET /v1/agreements/{id}/amendment", "AgreementAmendment", rules.Sign, "Writes a draft that amends an agreement.", s.agreementAmendment).path("id", id),
		takes("POST /v1/agreements/{id}/renew", "AgreementRenew", rules.Sign, "Proposes an agreement again, until a later end.", s.agreementRenew).path("id", id).acting(),
		answers("GET /v1/agreements/{id}/document", "AgreementDocument", rules.Sign, "Hands out an agreement as its parties signed it, its secret in it.", s.agreementDocument).path("id", id),
		answers("POST /v1/agreements/{id}/countersign", "AgreementCountersign", rules.Sign, "Signs an agreement that another party proposed.", s.agreementCountersign).path("id", id).acting(),
		takes("POST /v1/agreements/{id}/reject", "AgreementReject", rules.Sign, "Rejects an agreement that another party proposed.", s.agreementReject).path("id", id).acting(),
		takes("POST /v1/agreements/{id}/terminate", "AgreementTerminate", rules.Sign, "Terminates an agreement, at once or with notice.", s.agreementTerminate).as(Termination{Reason: "the project ended"}).path("id", id).acting(),
		takes("POST /v1/agreements/{id}/suspend", "AgreementSuspend", rules.Sign, "Suspends an agreement.", s.agreementSuspend).path("id", id).acting(),
		takes("POST /v1/agreements/{id}/resume", "AgreementResume", rules.Sign, "Resumes an agreement that this organisation suspended.", s.agreementResume).path("id", id).acting(),
	)
}

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

// AgreementsQuery says which agreements to list.
type AgreementsQuery struct {
	Inbox bool `query:"inbox" doc:"only those that wait for this organisation's signature"`
}

func (s *Server) agreements(_ *http.Request, q *AgreementsQuery) ([]Agreement, error) {
	out := []Agreement{}
	for _, a := range s.node.Agreements() {
		if q.Inbox && a.State != node.AgreementIncoming {
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

func (s *Server) agreementShow(r *http.Request, _ *none) (*Agreement, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	full := s.agreement(a, true)
	return &full, nil
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

func (s *Server) agreementCheck(r *http.Request, _ *none) (*Check, error) {
	doc, err := s.draft(r)
	if err != nil {
		return nil, err
	}
	c := s.check(doc)
	return &c, nil
}

// AgreementID names an agreement that something was done about.
type AgreementID struct {
	ID protocol.AgreementID `json:"agreement"`
}

func (s *Server) agreementPropose(r *http.Request, _ *none) (*AgreementID, error) {
	doc, err := s.draft(r)
	if err != nil {
		return nil, err
	}
	for _, f := range s.check(doc).Findings {
		if f.Severity == string(policy.SeverityError) {
			return nil, protocol.Errorf(protocol.ErrMalformed, "the draft cannot be proposed: %s; run 'entente agreement check'", f.Text)
		}
	}
	if err := s.node.SecondPerson(r.Context(), node.ActSignAgreement, "propose and sign the agreement "+strconv.Quote(doc.Title)+" with "+s.names(doc.Parties), protocol.Encode(doc)); err != nil {
		return nil, err
	}
	id, err := s.node.Propose(*doc)
	return &AgreementID{id}, err
}

// TemplateQuery says with whom an agreement is to be.
type TemplateQuery struct {
	With string `query:"with" required:"true" doc:"an organisation, by name or id"`
}

func (s *Server) agreementTemplate(_ *http.Request, q *TemplateQuery) (*Draft, error) {
	other, err := s.node.FindOrg(q.With)
	if err != nil {
		return nil, err
	}
	return &Draft{YAML: string(policy.Template(s.node.Org(), other, s.name, uint64(time.Now().UnixMilli())))}, nil
}

func (s *Server) agreementCountersign(r *http.Request, _ *none) (*AgreementID, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.signs(r, "countersign", a); err != nil {
		return nil, err
	}
	return &AgreementID{a.ID}, s.node.Countersign(a.ID)
}

// signs wants a second person where one is wanted for what signs an agreement that there is.
func (s *Server) signs(r *http.Request, act string, a *node.AgreementInfo) error {
	return s.node.SecondPerson(r.Context(), node.ActSignAgreement, act+" the agreement "+strconv.Quote(a.Doc.Title)+" with "+s.names(a.Doc.Parties)+", "+a.ID.String(), append([]byte(act+" "), a.ID[:]...))
}

// names lists the others of some organisations, for messages.
func (s *Server) names(ids []protocol.OrgID) string {
	var list []string
	for _, id := range ids {
		if id != s.node.Org() {
			list = append(list, s.name(id))
		}
	}
	return strings.Join(list, ", ")
}

// Reason says why something is done.
type Reason struct {
	Reason string `json:"reason,omitempty"`
}

// Termination says why an agreement is terminated, and when.
type Termination struct {
	Reason string     `json:"reason,omitempty"`
	On     *time.Time `json:"on,omitempty"` // with notice: when it counts; absent: at once
}

// agreementAct does something with the agreement that a request names.
func (s *Server) agreementAct(r *http.Request, act func(protocol.AgreementID) error) (*AgreementID, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	return &AgreementID{a.ID}, act(a.ID)
}

func (s *Server) agreementReject(r *http.Request, q *Reason) (*AgreementID, error) {
	return s.agreementAct(r, func(id protocol.AgreementID) error { return s.node.Reject(id, q.Reason) })
}

func (s *Server) agreementSuspend(r *http.Request, q *Reason) (*AgreementID, error) {
	return s.agreementAct(r, func(id protocol.AgreementID) error { return s.node.Suspend(id, q.Reason) })
}

func (s *Server) agreementResume(r *http.Request, q *Reason) (*AgreementID, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.signs(r, "resume", a); err != nil {
		return nil, err
	}
	return s.agreementAct(r, func(id protocol.AgreementID) error { return s.node.Resume(id, q.Reason) })
}

func (s *Server) agreementTerminate(r *http.Request, q *Termination) (*AgreementID, error) {
	on := uint64(0)
	if q.On != nil {
		on = uint64(max(q.On.UnixMilli(), 1))
	}
	return s.agreementAct(r, func(id protocol.AgreementID) error { return s.node.Terminate(id, q.Reason, on) })
}

// Document is an agreement as its parties signed it. It is confidential to them: its secret is
// part of it.
type Document struct {
	ID       protocol.AgreementID `json:"agreement"`
	State    node.AgreementState  `json:"state"`
	Missing  []node.OrgRef        `json:"missing"`
	Document []byte               `json:"document"` // base64 in JSON: what an import takes
}

func (s *Server) agreementDocument(r *http.Request, _ *none) (*Document, error) {
	a, err := s.agreementOf(r)
	if err != nil {
		return nil, err
	}
	signed, err := s.node.SignedAgreement(a.ID)
	if err != nil {
		return nil, err
	}
	return &Document{ID: a.ID, State: a.State, Missing: s.refs(a.Missing), Document: protocol.Encode(signed)}, nil
}

// Imported is what became of an agreement that was imported.
type Imported struct {
	ID    protocol.AgreementID `json:"agreement"`
	State node.AgreementState  `json:"state"`
	New   bool                 `json:"new"`   // it was not known before
	Added int                  `json:"added"` // signatures that were not held before
}

// AgreementImport holds agreements as their parties signed them.
type AgreementImport struct {
	Documents [][]byte `json:"documents" required:"true"`
}

func (s *Server) agreementImport(r *http.Request, q *AgreementImport) ([]Imported, error) {
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
	if err := s.node.NoteAct(r.Context(), audit.Agreement, "import agreements", fmt.Sprintf("%d", len(list))); err != nil {
		return nil, err
	}
	done, err := s.node.ImportAgreements(list)
	out := []Imported{}
	for _, d := range done {
		out = append(out, Imported(d))
	}
	return out, err
}
