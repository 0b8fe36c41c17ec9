package api

import (
	"encoding/base64"
	"net/http"
	"unicode/utf8"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) peopleRoutes() {
	const name = "The name of one of the people."
	const id = "The id of an act."
	s.declare("people",
		answers("GET /v1/people", "People", rules.People, "Lists the people of the node.", s.people),
		answers("GET /v1/people/{name}", "PersonShow", rules.People, "Shows one of the people.", s.person).path("name", name),
		takes("PUT /v1/people/{name}", "PersonSet", rules.People, "Adds one of the people, or changes who they are and what they may do.", s.personSet).
			as(PersonSet{Roles: []string{rules.RoleReader}, User: "alice"}).path("name", name),
		answers("DELETE /v1/people/{name}", "PersonRemove", rules.People, "Removes one of the people, and ends what they have open.", s.personRemove).path("name", name).
			note("When it answers, their streams have ended and their tokens open nothing."),
		takes("POST /v1/people/{name}/hand-over", "PersonHandOver", rules.People, "Has another answer for the consumers, sinks, sources and views of one of the people, at this node.", s.personHandOver).as(PersonHandOver{To: "alice"}).path("name", name),
		answers("POST /v1/people/{name}/confirm", "PersonConfirm", rules.People, "Confirms one of the people who came from a backup.", s.personConfirm).path("name", name),
		answers("GET /v1/requirements", "Requirements", rules.Look, "Says which acts need a second person.", s.requirements),
		takes("POST /v1/requirements", "Require", rules.People, "Says whether an act needs a second person.", s.require).as(RequireTwo{Act: node.ActSignAgreement, Two: true, Role: rules.RoleOfficer}),
		answers("GET /v1/acts", "Acts", rules.Second, "Lists the acts that wait for a second person.", s.acts),
		answers("GET /v1/acts/{id}", "Act", rules.Second, "Shows an act that waits, with its request.", s.act).path("id", id),
		answers("POST /v1/acts/{id}/approve", "ActApprove", rules.Second, "Approves an act, and carries it out as it was asked for.", s.actApprove).path("id", id),
		takes("POST /v1/acts/{id}/deny", "ActDeny", rules.Look, "Denies an act, or takes back one's own.", s.actDeny).path("id", id),
		answers("GET /v1/me", "Me", rules.Look, "Says who the caller is to this node, and what their roles give.", s.me),
	)
}

// PeopleQuery says whom to list.
type PeopleQuery struct {
	All bool `query:"all" doc:"also those who left"`
}

func (s *Server) people(_ *http.Request, q *PeopleQuery) ([]node.Person, error) {
	return s.node.People(q.All)
}

func (s *Server) person(r *http.Request, _ *none) (*node.Person, error) {
	return s.node.Person(r.PathValue("name"))
}

// PersonSet says who one of the people is to be.
type PersonSet struct {
	Roles    []string `json:"roles"`               // reader, publisher, approver, officer, admin; or of the people file of the rules
	Only     bool     `json:"only,omitempty"`      // they are all that the person has; else they are added
	User     string   `json:"os_user,omitempty"`   // absent: stays; of somebody new, as the name
	FullName string   `json:"full_name,omitempty"` // absent: stays
	Purpose  string   `json:"purpose,omitempty"`   // absent: stays
}

// PersonChanged is one of the people as they are now.
type PersonChanged struct {
	Person node.Person `json:"person"`
	// Still is how many requests that are not theirs to make any more had not ended within five seconds.
	Still int `json:"still_open,omitempty"`
}

func (s *Server) personSet(r *http.Request, q *PersonSet) (*PersonChanged, error) {
	p, still, err := s.node.SetPerson(r.Context(), node.PersonChange{ID: r.PathValue("name"), Roles: q.Roles, Only: q.Only, User: q.User, FullName: q.FullName, Purpose: q.Purpose})
	if err != nil {
		return nil, err
	}
	return &PersonChanged{*p, still}, nil
}

// PersonRemoveQuery says who gets what they own.
type PersonRemoveQuery struct {
	HandOver string `query:"hand_over" doc:"who is to answer for what they own; without it, their tokens end, and their sinks and sources stand still"`
	End      bool   `query:"end" doc:"their sinks and sources are removed"`
}

func (s *Server) personRemove(r *http.Request, q *PersonRemoveQuery) (*node.Removed, error) {
	if q.End && q.HandOver != "" {
		return nil, protocol.Errorf(protocol.ErrMalformed, "what they own is handed over or ended, not both")
	}
	out, err := s.node.RemovePerson(r.Context(), r.PathValue("name"), q.HandOver)
	if err == nil && q.End {
		err = s.node.EndSetUp(r.Context(), out)
	}
	return out, err
}

// PersonHandOver says who is to answer for what somebody owns.
type PersonHandOver struct {
	To string `json:"to" required:"true"` // one of the people
}

func (s *Server) personHandOver(r *http.Request, q *PersonHandOver) (*node.HandedOver, error) {
	return s.node.HandOver(r.Context(), r.PathValue("name"), q.To)
}

func (s *Server) personConfirm(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.ConfirmPerson(r.Context(), r.PathValue("name"))
}

func (s *Server) requirements(*http.Request, *none) ([]node.Requirement, error) {
	return s.node.Requirements(), nil
}

// RequireTwo says whether an act needs a second person.
type RequireTwo struct {
	Act  node.Act `json:"act" required:"true"` // agreement-sign, key-change, release, people
	Two  bool     `json:"two"`
	Role string   `json:"role,omitempty"` // of the second person; absent: stays, or as is usual for the act
}

func (s *Server) require(r *http.Request, q *RequireTwo) (*node.Requirement, error) {
	return s.node.Require(r.Context(), node.Requirement{Act: q.Act, Two: q.Two, Role: q.Role})
}

func (s *Server) acts(r *http.Request, _ *none) ([]node.PendingAct, error) {
	return s.node.Pending(node.CallerOf(r.Context()))
}

func (s *Server) act(r *http.Request, _ *none) (*node.PendingAct, error) {
	a, b, err := s.node.PendingOf(r.PathValue("id"), node.CallerOf(r.Context()))
	if err != nil {
		return nil, err
	}
	if a.Body = string(b); !utf8.Valid(b) {
		a.Body, a.Binary = base64.StdEncoding.EncodeToString(b), true
	}
	return a, nil
}

// ActDone is what came of an act that was approved.
type ActDone struct {
	Act    node.PendingAct `json:"act"`
	Answer string          `json:"answer"` // to the request, as JSON
}

func (s *Server) actApprove(r *http.Request, _ *none) (*ActDone, error) {
	c := node.CallerOf(r.Context())
	a, _, err := s.node.PendingOf(r.PathValue("id"), c)
	if err != nil {
		return nil, err
	}
	approval, err := s.node.Approve(callerOf(r), c, a.ID)
	if err != nil {
		return nil, err
	}
	status, answer, err := s.again(r.Context(), approval)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, failedAct(status, answer)
	}
	return &ActDone{*a, string(answer)}, nil
}

// ActDeny says why an act is denied.
type ActDeny struct {
	Reason string `json:"reason,omitempty"`
}

func (s *Server) actDeny(r *http.Request, q *ActDeny) (none, error) {
	return none{}, s.node.Deny(callerOf(r), node.CallerOf(r.Context()), r.PathValue("id"), q.Reason)
}

// Me is who a caller is.
type Me struct {
	Name     string   `json:"name"`
	FullName string   `json:"full_name,omitempty"`
	User     string   `json:"os_user"`
	Roles    []string `json:"roles"`
	People   bool     `json:"people"` // the node has people; else whoever may open the socket may do everything
	Rights   []string `json:"rights"` // that the roles give; local rules may take away from them
}

func (s *Server) me(r *http.Request, _ *none) (*Me, error) {
	who := callerOf(r)
	m := &Me{Name: who.ID, FullName: who.Name, User: node.CallerOf(r.Context()).User, Roles: append([]string{}, who.Roles...), People: s.node.HasAccounts(), Rights: []string{}}
	for _, right := range rules.Rights() {
		if who.Bound(right.Action) == nil {
			m.Rights = append(m.Rights, string(right.Action))
		}
	}
	return m, nil
}
