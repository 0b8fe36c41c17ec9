package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/cedar-policy/cedar-go"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// minute is how long the time that rules see stands still, in milliseconds: what they say
// holds for the rest of it.
const minute = 60 * 1000

// Forbids implements policy.Local.
func (s *Set) Forbids(q *policy.LocalQuery) policy.LocalAnswer {
	if s == nil {
		return policy.LocalAnswer{ValidUntil: math.MaxUint64}
	}
	if s.locked != "" {
		return policy.LocalAnswer{Rule: lockedRule, Text: s.lockedText(), ValidUntil: math.MaxUint64}
	}
	about := s.byAction[string(q.Act)]
	if about == nil {
		return policy.LocalAnswer{ValidUntil: math.MaxUint64}
	}
	var f facts
	f.organisation(q.Other)
	f.record(q.Originator, q.Publisher, q.Subject)
	a := policy.LocalAnswer{ValidUntil: about.validUntil(q.At)}
	if a.Rule, a.Text = about.forbids.first(&f, orgUID(q.Other.ID), string(q.Act), recordUID, q.At); a.Rule == "" {
		about.waits.persons(&f, request(orgUID(q.Other.ID), string(q.Act), recordUID, q.At), &a)
	}
	return a
}

// persons finds the rule that wants the most persons. One that fails forbids, as all do.
func (a all) persons(f *facts, r cedar.Request, out *policy.LocalAnswer) {
	if len(a) == 0 {
		return
	}
	_, diag := cedar.Authorize(a, f, r)
	if len(diag.Errors) > 0 {
		out.Rule = string(diag.Errors[0].PolicyID)
		out.Text = fmt.Sprintf("local rule %q forbids to pass on it, since it failed: %s", out.Rule, diag.Errors[0].Message)
		return
	}
	for _, c := range a { // in their order: of several that want as many, the first is told
		if c.rule.Persons <= out.Persons || !slices.ContainsFunc(diag.Reasons, func(r cedar.DiagnosticReason) bool { return string(r.PolicyID) == c.rule.Name }) {
			continue
		}
		out.Persons, out.Waits = c.rule.Persons, c.rule.Name
		out.WaitsText = fmt.Sprintf("local rule %q wants the approval of %s", c.rule.Name, []string{"", "one person", "2 persons"}[c.rule.Persons])
		if c.rule.Reason != "" {
			out.WaitsText += ": " + c.rule.Reason
		}
	}
}

// Resource is what a person or a machine wants to do something with: a record, or, with a nil
// Subject, this node.
type Resource struct {
	Subject    *policy.Subject
	Originator policy.Org
	Publisher  policy.Org
}

// Verdict says whether a person or a machine may do something.
type Verdict struct {
	Allow      bool
	Rule       string // that forbids; "": none permits it
	Text       string // why not, one sentence
	ValidUntil uint64 // as of policy.LocalAnswer
}

// May decides whether somebody may do something: an action of rules, or a right of a route. Of the
// people of a node their roles decide first. An action for which no rule permits anything is permitted
// unless a rule forbids it; so is everything without rules.
func (s *Set) May(who *Principal, action Action, what Resource, at uint64) Verdict {
	if who == nil {
		who = &Principal{Roles: []string{}} // somebody of whom nothing is known
	}
	yes := Verdict{Allow: true, ValidUntil: math.MaxUint64}
	if err := who.Bound(action); err != nil {
		return Verdict{Text: err.Error(), ValidUntil: math.MaxUint64}
	}
	if what.Subject == nil { // a route
		asked := action.Asked()
		if asked == "" && (s == nil || s.locked == "" || !action.Content()) {
			return yes // or it is asked about each record
		}
		if asked != "" {
			action = asked
		}
	}
	if s == nil {
		return yes
	}
	if s.locked != "" {
		if action == Administer {
			return s.asked.May(who, action, what, at) // of nil: yes
		}
		return Verdict{Rule: lockedRule, Text: s.lockedText(), ValidUntil: math.MaxUint64}
	}
	about := s.byAction[string(action)]
	if about == nil {
		return yes
	}
	var f facts
	e := who.entity()
	f.add(e)
	resource := nodeUID
	if what.Subject != nil {
		resource = recordUID
		f.record(what.Originator, what.Publisher, what.Subject)
	} else {
		f.add(cedar.Entity{UID: nodeUID})
	}
	v := Verdict{ValidUntil: about.validUntil(at)}
	if v.Rule, v.Text = about.forbids.first(&f, e.UID, string(action), resource, at); v.Rule != "" {
		return v
	}
	if len(about.permits) > 0 {
		if ok, _ := cedar.Authorize(about.permits, &f, request(e.UID, string(action), resource, at)); !ok {
			v.Text = fmt.Sprintf("no local rule permits %s to %s it", who, action)
			return v
		}
	}
	v.Allow = true
	return v
}

// About reports whether any rule is about an action: if none is, everybody may do it.
func (s *Set) About(action Action) bool {
	return s != nil && (s.locked != "" || s.byAction[string(action)] != nil)
}

// Person returns somebody of the people file; nil if it does not name one.
func (s *Set) Person(id string) *Principal {
	if s == nil || s.people.byID[id] == nil {
		return nil
	}
	p := *s.people.byID[id]
	return &p
}

// HasRole reports whether a role is one that rules may speak of: built in, or named by the people file.
func (s *Set) HasRole(role string) bool {
	return slices.Contains(builtinRoles, role) || s != nil && s.people != nil && s.people.roles[role]
}

// PersonIDs lists the people and machines of the people file, sorted.
func (s *Set) PersonIDs() []string {
	if s == nil || s.people == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.people.byID))
}

// IsName reports whether somebody can be named so.
func IsName(s string) bool { return isName(s) }

// HasPeople reports whether there is a people file with anybody in it.
func (s *Set) HasPeople() bool { return s != nil && s.people != nil && len(s.people.byID) > 0 }

// lockedRule is the name under which a locked set forbids.
const lockedRule = "locked"

func (s *Set) lockedText() string {
	if s.asked != nil {
		return "nothing is let through until somebody confirms the local rules: " + s.locked
	}
	return "local rules cannot be read, and nothing is let through until they can: " + s.locked
}

// first returns the first rule that forbids, with its text. One that fails forbids.
func (a all) first(f *facts, principal cedar.EntityUID, action string, resource cedar.EntityUID, at uint64) (rule, text string) {
	if len(a) == 0 {
		return "", ""
	}
	_, diag := cedar.Authorize(a, f, request(principal, action, resource, at))
	var failed string
	switch {
	case len(diag.Reasons) > 0:
		rule = string(diag.Reasons[0].PolicyID)
	case len(diag.Errors) > 0:
		rule = string(diag.Errors[0].PolicyID)
		failed = ", since it failed: " + diag.Errors[0].Message
	default:
		return "", ""
	}
	text = fmt.Sprintf("local rule %q forbids to %s it%s", rule, words[action], failed)
	for _, c := range a {
		if c.rule.Name == rule && c.rule.Reason != "" {
			text += ": " + c.rule.Reason
		}
	}
	return rule, text
}

// words are the actions as they stand in a sentence.
var words = map[string]string{
	"share": "share", "receive": "receive", "passOn": "pass on", "read": "read", "search": "search for", "export": "export",
	"publish": "publish", "release": "release", "sign": "sign", "administer": "do",
}

func (a *actionRules) validUntil(at uint64) uint64 {
	if !a.timed || at > math.MaxInt64 {
		return math.MaxUint64
	}
	return at - at%minute + minute
}

func request(principal cedar.EntityUID, action string, resource cedar.EntityUID, at uint64) cedar.Request {
	now := min(at-at%minute, math.MaxInt64)
	return cedar.Request{Principal: principal, Action: cedar.NewEntityUID("Action", cedar.String(action)), Resource: resource,
		Context: cedar.NewRecord(cedar.RecordMap{"now": cedar.NewDatetimeFromMillis(int64(now))})}
}

var (
	recordUID = cedar.NewEntityUID("Record", "record")
	nodeUID   = cedar.NewEntityUID("Node", "node")
)

func orgUID(id protocol.OrgID) cedar.EntityUID {
	return cedar.NewEntityUID("Organisation", cedar.String(id.String()))
}

// facts are the entities of one decision; they are few.
type facts struct {
	list [5]cedar.Entity
	n    int
}

// Get implements cedar.EntityGetter.
func (f *facts) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	for i := range f.list[:f.n] {
		if f.list[i].UID == uid {
			return f.list[i], true
		}
	}
	return cedar.Entity{}, false
}

func (f *facts) add(e cedar.Entity) {
	f.list[f.n] = e
	f.n++
}

func (f *facts) organisation(o policy.Org) cedar.EntityUID {
	uid := orgUID(o.ID)
	if _, has := f.Get(uid); !has {
		f.add(cedar.Entity{UID: uid, Attributes: cedar.NewRecord(cedar.RecordMap{
			"name": cedar.String(o.Name), "kind": cedar.String(o.Kind), "country": cedar.String(o.Country)})})
	}
	return uid
}

func (f *facts) record(originator, publisher policy.Org, s *policy.Subject) {
	h := &s.Handling
	f.add(cedar.Entity{UID: recordUID, Attributes: cedar.NewRecord(cedar.RecordMap{
		"tlp":          cedar.String(h.TLP.String()),
		"tlpLevel":     cedar.Long(h.TLP),
		"pap":          cedar.String(h.PAP.String()),
		"papLevel":     cedar.Long(h.PAP),
		"countries":    set(h.Countries),
		"personalData": cedar.String(h.Personal.Effective().String()),
		"purposes":     set(h.Purposes),
		"kind":         cedar.String(s.Kind),
		"topic":        cedar.String(s.Topic),
		"originator":   f.organisation(originator),
		"publisher":    f.organisation(publisher),
	})})
}

func set(list []string) cedar.Set {
	values := make([]cedar.Value, len(list))
	for i, v := range list {
		values[i] = cedar.String(v)
	}
	return cedar.NewSet(values...)
}
