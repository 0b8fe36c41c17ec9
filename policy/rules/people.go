package rules

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Principal is somebody of this organisation who acts: a person or a machine.
type Principal struct {
	ID      string   `json:"id"` // of a person: the operating system's user, or a name of the people file
	Name    string   `json:"name"`
	Roles   []string `json:"roles"` // sorted
	Purpose string   `json:"purpose,omitempty"`
	Machine bool     `json:"machine,omitempty"`

	// Account says that it is one of the people of a node, or nobody of them: its roles say what it may do.
	Account bool   `json:"-"`
	User    string `json:"-"` // of an account: the operating system's user
}

// String names a principal for messages.
func (p *Principal) String() string {
	if p.Machine {
		return "machine " + p.ID
	}
	return p.ID
}

func (p *Principal) entity() cedar.Entity {
	typ := cedar.EntityType("Person")
	if p.Machine {
		typ = "Machine"
	}
	var roles []cedar.EntityUID
	for _, r := range p.Roles {
		roles = append(roles, cedar.NewEntityUID("Role", cedar.String(r)))
		if also := alsoCalled[r]; p.Account && also != "" {
			roles = append(roles, cedar.NewEntityUID("Role", cedar.String(also)))
		}
	}
	return cedar.Entity{UID: cedar.NewEntityUID(typ, cedar.String(p.ID)), Parents: cedar.NewEntityUIDSet(roles...),
		Attributes: cedar.NewRecord(cedar.RecordMap{"name": cedar.String(p.Name), "purpose": cedar.String(p.Purpose)})}
}

// builtinRoles are the roles that need not be named in a people file.
var builtinRoles = append([]string{"administrator", "analyst", "sink", "taxii"}, Roles()...)

// alsoCalled is what rules call a role that was written about before nodes had people.
var alsoCalled = map[string]string{RoleAdmin: "administrator", RoleReader: "analyst"}

// people is what a people file says.
type people struct {
	byID  map[string]*Principal
	roles map[string]bool
}

// entityJSON is an entity in Cedar's JSON form, as far as a people file has it.
type entityJSON struct {
	UID   uidJSON `json:"uid"`
	Attrs struct {
		Name    string `json:"name"`
		Purpose string `json:"purpose"`
	} `json:"attrs"`
	Parents []uidJSON `json:"parents"`
}

type uidJSON struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// parsePeople reads a people file: a JSON list of entities as Cedar writes them, of the types
// Person, Machine and Role; the parents of a person or machine are its roles.
func parsePeople(file string, text []byte) (*people, Errors) {
	p := &people{byID: map[string]*Principal{}, roles: map[string]bool{}}
	for _, r := range builtinRoles {
		p.roles[r] = true
	}
	var errs Errors
	problem := func(offset int, format string, args ...any) {
		if len(errs) < maxProblems {
			line, column := place(text, offset)
			errs = append(errs, Problem{file, line, column, fmt.Sprintf(format, args...)})
		}
	}
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return p, nil
	case len(text) > MaxPeople:
		problem(MaxPeople, "the people file has %d bytes, at most %d are read", len(text), MaxPeople)
		return p, errs
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	broken := func(err error) Errors {
		offset, what := int(dec.InputOffset()), err.Error()
		var syntactic *jsontext.SyntacticError
		if errors.As(err, &syntactic) {
			offset, what = int(syntactic.ByteOffset), syntactic.Err.Error()
		}
		problem(offset, "it is not JSON: %s; a people file is a list: [{\"uid\": {\"type\": \"Person\", \"id\": \"alice\"}, \"attrs\": {\"name\": \"Alice\"}, \"parents\": [{\"type\": \"Role\", \"id\": \"analyst\"}]}]", what)
		return errs
	}
	if t, err := dec.ReadToken(); err != nil {
		return p, broken(err)
	} else if t.Kind() != '[' {
		return p, broken(errors.New("it begins with no list"))
	}
	type found struct {
		offset int
		entityJSON
	}
	var list []found
	for dec.PeekKind() != ']' {
		raw, err := dec.ReadValue()
		if err != nil {
			return p, broken(err)
		}
		at := int(dec.InputOffset()) - len(raw)
		if len(list) >= MaxPersons {
			problem(at, "there are more than %d people, machines and roles", MaxPersons)
			return p, errs
		}
		var e entityJSON
		if err := json.Unmarshal(raw, &e, json.RejectUnknownMembers(true)); err != nil {
			var semantic *json.SemanticError
			what := err.Error()
			if errors.As(err, &semantic) {
				at += int(semantic.ByteOffset)
				what = fmt.Sprintf("%q is not known or not of its kind", semantic.JSONPointer)
			}
			problem(at, "%s; an entity has uid {type, id}, attrs {name, purpose} and parents, a list of {type, id}", what)
			continue
		}
		list = append(list, found{at, e})
	}
	if _, err := dec.ReadToken(); err != nil {
		return p, broken(err)
	}
	if dec.PeekKind() != 0 {
		return p, broken(errors.New("something comes after the list"))
	}
	for _, e := range list {
		if e.UID.Type != "Role" {
			continue
		}
		switch {
		case !isName(e.UID.ID):
			problem(e.offset, "a role is named by 1 to %d letters, digits, and . _ @ -; %q is not", maxName, e.UID.ID)
		case len(e.Parents) > 0 || e.Attrs.Name != "" || e.Attrs.Purpose != "":
			problem(e.offset, "role %q has attributes or parents; a role is but a name", e.UID.ID)
		}
		p.roles[e.UID.ID] = true
	}
	for _, e := range list {
		switch e.UID.Type {
		case "Role":
			continue
		case "Person", "Machine":
		default:
			problem(e.offset, "entity type %q is not one of a people file; use Person, Machine or Role", e.UID.Type)
			continue
		}
		who := &Principal{ID: e.UID.ID, Name: e.Attrs.Name, Purpose: e.Attrs.Purpose, Machine: e.UID.Type == "Machine", Roles: []string{}}
		switch {
		case !isName(who.ID):
			problem(e.offset, "a person is named by 1 to %d letters, digits, and . _ @ -; %q is not", maxName, who.ID)
		case p.byID[who.ID] != nil:
			problem(e.offset, "%q stands in the file twice; people and machines share their names", who.ID)
		case who.Name == "" || len(who.Name) > maxReason || len(who.Purpose) > maxName:
			problem(e.offset, "%q needs a name of at most %d bytes, and a purpose of at most %d", who.ID, maxReason, maxName)
		case len(e.Parents) > MaxRoles:
			problem(e.offset, "%q has %d roles, at most %d", who.ID, len(e.Parents), MaxRoles)
		}
		for _, r := range e.Parents {
			if r.Type != "Role" || !p.roles[r.ID] {
				problem(e.offset, "%q has the parent %s::%q, which is no role; roles are %s, and those that the file names as entities of type Role", who.ID, r.Type, r.ID, p.roleNames())
				continue
			}
			who.Roles = append(who.Roles, r.ID)
		}
		slices.Sort(who.Roles)
		who.Roles = slices.Compact(who.Roles)
		p.byID[who.ID] = who
	}
	return p, errs
}

func (p *people) roleNames() string {
	return strings.Join(slices.Sorted(maps.Keys(p.roles)), ", ")
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && strings.Trim(s, nameBytes) == ""
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-"
