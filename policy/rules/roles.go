package rules

import (
	"fmt"
	"slices"
	"strings"
)

// What a person of a node may do at all follows from the roles that 'entente people' gave. Local
// rules narrow it further, and give nothing. It does not bind machines, nor anybody while a node
// has no people.

// The rights that no local rule is about by that name; those of a route are these, Release, Sign,
// Administer and Publish.
const (
	// Status is to see that the node is up: everybody's whom the socket lets in.
	Status Action = "status"
	// Look is to see what shows nothing that rules are about: who is there, what was agreed.
	Look Action = "look"
	// Records is to see records, each of which is judged by itself.
	Records Action = "records"
	// Topics is to join and leave topics.
	Topics Action = "topics"
	// Letters is to see and mend what sources brought and could not be published.
	Letters Action = "letters"
	// Protect is to find, erase, hold back and account for what is held: data protection, courts.
	Protect Action = "protect"
	// Verify is to check that the audit log is whole, without reading what it says.
	Verify Action = "verify"
	// Second is to see what waits for a second person, and to approve or deny it.
	Second Action = "second"
	// People is to say who the people of the node are.
	People Action = "people"
)

// The roles that a person of a node can have. Others are names for local rules, and give nothing.
const (
	RoleReader    = "reader"
	RolePublisher = "publisher"
	RoleApprover  = "approver"
	RoleOfficer   = "officer"
	RoleAdmin     = "admin"
)

// Roles lists them.
func Roles() []string {
	return []string{RoleReader, RolePublisher, RoleApprover, RoleOfficer, RoleAdmin}
}

// Rights lists the rights of routes, and who has each: the roles that give it. Status needs none.
func Rights() []Right {
	return []Right{
		{Status, nil},
		{Look, Roles()},
		{Records, []string{RoleReader, RolePublisher, RoleApprover, RoleOfficer}},
		{Publish, []string{RolePublisher}},
		{Topics, []string{RolePublisher, RoleAdmin}},
		{Letters, []string{RolePublisher}},
		{Release, []string{RoleApprover}},
		{Second, []string{RoleApprover, RoleOfficer, RoleAdmin}},
		{Sign, []string{RoleOfficer}},
		{Protect, []string{RoleOfficer}},
		{Verify, []string{RoleOfficer, RoleAdmin}},
		{People, []string{RoleAdmin}},
		{Administer, []string{RoleAdmin}},
	}
}

// Right is something that a route needs of its caller.
type Right struct {
	Action Action
	Roles  []string // that give it; none: it needs none
}

// IsRight reports whether a route can need an action.
func IsRight(a Action) bool {
	return slices.ContainsFunc(Rights(), func(r Right) bool { return r.Action == a })
}

// Asked is the action about which local rules are asked for a right of a route; "" where they are not,
// or are asked about each record.
func (a Action) Asked() Action {
	switch a {
	case Release, Sign, Administer:
		return a
	case Topics, Letters, Protect, Verify, People:
		return Administer
	}
	return ""
}

// Content reports whether an action shows records, or makes some: nothing of that is done under rules that are
// locked, whatever it would be about.
func (a Action) Content() bool {
	switch a {
	case Read, Search, Export, Publish, Records:
		return true
	}
	return false
}

// rolesFor returns the roles that give an action, one of rules or a right of a route.
func rolesFor(a Action) []string {
	switch a {
	case Read, Search, Export:
		a = Records
	}
	for _, r := range Rights() {
		if r.Action == a {
			return r.Roles
		}
	}
	return nil
}

// Bound reports whether a principal's roles alone let it do something; an error says why not. They bind
// the people of a node only.
func (p *Principal) Bound(a Action) error {
	if !p.Account || a == Status {
		return nil
	}
	wanted := rolesFor(a)
	if slices.ContainsFunc(p.Roles, func(r string) bool { return slices.Contains(wanted, r) }) {
		return nil
	}
	if len(p.Roles) == 0 {
		return fmt.Errorf("%q is nobody of this node's people, who may see its status and nothing else; whoever administers it says who they are: 'entente people add NAME --os-user %s --role ROLE'", p.ID, p.ID)
	}
	return fmt.Errorf("the roles of %s (%s) do not give the right %q; %s would: 'entente people add %s --role %s'", p.ID, strings.Join(p.Roles, ", "), a, strings.Join(wanted, " or "), p.ID, wanted[0])
}
