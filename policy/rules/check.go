package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// policy checks one policy, whose text is between two offsets, and takes it into the set.
func (c *checker) policy(i int, p *cedar.Policy, ast *xast.Policy, from, to int) {
	before := len(c.errs)
	rule := &c.set.rules[i]
	line, _ := place(c.src.Text, from)
	*rule = Rule{Name: fmt.Sprintf("%s:%d", c.src.File, line), File: c.src.File, Line: line, Effect: "forbid", Text: c.text(from, to)}
	if p.Effect() == cedar.Permit {
		rule.Effect = "permit"
	}
	c.annotations(rule, ast, from, to)
	c.actions(rule, ast, from, to)
	c.scope(ast.Principal, from, to)
	c.scope(ast.Resource, from, to)
	timed := false
	for _, cond := range ast.Conditions {
		timed = c.condition(cond.Body, from, to) || timed
	}
	if len(c.errs) > before {
		return // what the validator says besides would but repeat it
	}
	v, _ := validator()
	if err := v.Policy("", ast); err != nil {
		c.invalid(err, from, to)
		return
	}
	for _, a := range rule.Actions {
		set := c.set.byAction[a]
		if set == nil {
			set = new(actionRules)
			c.set.byAction[a] = set
		}
		one := &compiled{rule, p}
		switch {
		case p.Effect() == cedar.Permit:
			set.permits = append(set.permits, one)
		case rule.Persons > 0:
			set.waits = append(set.waits, one)
		default:
			set.forbids = append(set.forbids, one)
		}
		set.timed = set.timed || timed
	}
}

// text is a policy as it was written, without what follows its last token.
func (c *checker) text(from, to int) string {
	end := from
	for _, t := range c.tokens {
		if t.offset >= from && t.offset < to {
			end = t.offset + len(t.text)
		}
	}
	return string(c.src.Text[from:end])
}

// at finds one of several sequences of tokens in a policy, and else the policy itself.
func (c *checker) at(from, to int, sequences ...[]string) int {
	for _, s := range sequences {
		if offset, ok := find(c.tokens, from, to, s...); ok {
			return offset
		}
	}
	return from
}

// atString finds a string as it is likely to be written.
func (c *checker) atString(from, to int, s cedar.String) int {
	return c.at(from, to, []string{strconv.Quote(string(s))}, []string{`"` + string(s) + `"`})
}

func (c *checker) annotations(rule *Rule, ast *xast.Policy, from, to int) {
	for _, a := range ast.Annotations {
		at := c.at(from, to, []string{"@", string(a.Key)})
		switch a.Key {
		case "id":
			switch {
			case !isName(string(a.Value)):
				c.problem(at, "a rule is named by 1 to %d letters, digits, and . _ @ -; %q is not", maxName, string(a.Value))
			case c.names[string(a.Value)]:
				c.problem(at, "there is a rule %q already; give this one another @id", string(a.Value))
			}
			c.names[string(a.Value)] = true
			rule.Name = string(a.Value)
		case "reason":
			if strings.TrimSpace(string(a.Value)) == "" || len(a.Value) > maxReason || strings.ContainsAny(string(a.Value), "\n\r") {
				c.problem(at, "a reason is one sentence of at most %d bytes", maxReason)
			}
			rule.Reason = string(a.Value)
		case "persons":
			switch {
			case a.Value != "1" && a.Value != "2":
				c.problem(at, "@persons says how many persons must release what the rule matches: \"1\" or \"2\", not %q", string(a.Value))
			case rule.Effect != "forbid":
				c.problem(at, "@persons stands at a forbid: what that matches waits for persons instead of being refused")
			default:
				rule.Persons = a.Value[0] - '0'
			}
		default:
			c.problem(at, "annotation @%s is not known; use @id, @reason and @persons", a.Key)
		}
	}
}

// actions reads which actions a rule is about: it has to name them.
func (c *checker) actions(rule *Rule, ast *xast.Policy, from, to int) {
	var uids []cedar.EntityUID
	switch sc := ast.Action.(type) {
	case xast.ScopeTypeEq:
		uids = append(uids, sc.Entity)
	case xast.ScopeTypeIn:
		uids = append(uids, sc.Entity)
	case xast.ScopeTypeInSet:
		uids = sc.Entities
	}
	if len(uids) == 0 {
		c.problem(c.at(from, to, []string{"action"}), "the rule does not say which actions it is about; write action == Action::\"share\", or action in [Action::\"read\", ...]; actions are %s", actionNames())
	}
	_, s := validator()
	for _, uid := range uids {
		if _, ok := s.Actions[uid]; !ok {
			c.problem(c.atString(from, to, uid.ID), "there is no action %s; actions are %s", uid, actionNames())
			continue
		}
		name := string(uid.ID)
		if rule.Persons > 0 && name != string(policy.ActPassOn) {
			c.problem(c.at(from, to, []string{"@", "persons"}), "a rule with @persons is about passOn alone: nothing else waits for persons; write another rule for %s", name)
		}
		if rule.Effect == "permit" && isExchange(name) {
			c.problem(c.at(from, to, []string{"permit"}), "a local rule cannot permit %s: agreements allow, and rules only narrow; write a forbid, or amend the agreement", name)
		}
		if !slices.Contains(rule.Actions, name) {
			rule.Actions = append(rule.Actions, name)
		}
	}
}

func (c *checker) scope(sc any, from, to int) {
	switch sc := sc.(type) {
	case xast.ScopeTypeEq:
		c.entity(sc.Entity, from, to)
	case xast.ScopeTypeIn:
		c.entity(sc.Entity, from, to)
	case xast.ScopeTypeIsIn:
		c.entityType(sc.Type, from, to)
		c.entity(sc.Entity, from, to)
	case xast.ScopeTypeIs:
		c.entityType(sc.Type, from, to)
	}
}

func (c *checker) entityType(t cedar.EntityType, from, to int) bool {
	_, s := validator()
	if _, ok := s.Entities[t]; ok {
		return true
	}
	first, _, _ := strings.Cut(string(t), "::")
	c.problem(c.at(from, to, []string{first}), "there is no entity type %s; types are %s", t, typeNames())
	return false
}

// entity checks what a rule names by its id: what is named wrongly would never match.
func (c *checker) entity(uid cedar.EntityUID, from, to int) {
	if uid.Type == "Action" || !c.entityType(uid.Type, from, to) {
		return // the validator knows the actions
	}
	at := c.atString(from, to, uid.ID)
	switch uid.Type {
	case "Organisation":
		if _, err := protocol.ParseOrgID(string(uid.ID)); err != nil {
			c.problem(at, "Organisation::%q is not the id of an organisation: %v; take it from 'entente peers --json'", string(uid.ID), err)
		}
	case "Role":
		if !c.people.roles[string(uid.ID)] {
			c.problem(at, "there is no role %q; roles are %s, and those that the people file names", string(uid.ID), c.people.roleNames())
		}
	case "Person", "Machine":
		if p := c.people.byID[string(uid.ID)]; p != nil && p.Machine != (uid.Type == "Machine") {
			c.problem(at, "%q is not a %s in the people file", string(uid.ID), strings.ToLower(string(uid.Type)))
		}
	case "Record", "Node":
		c.problem(at, "a rule is about records by what they are, not about a single %s; say it with its attributes: %s", strings.ToLower(string(uid.Type)), attributes("Record"))
	}
}

// condition checks what the validator of Cedar lets pass, and reports whether the condition
// looks at the time.
func (c *checker) condition(body xast.IsNode, from, to int) (timed bool) {
	xast.Inspect(xast.NewNode(body), func(n xast.IsNode) bool {
		switch n := n.(type) {
		case xast.NodeTypeVariable:
			timed = timed || n.Name == "context"
		case xast.NodeValue:
			if uid, ok := n.Value.(cedar.EntityUID); ok {
				c.entity(uid, from, to)
			}
		case xast.NodeTypeIs:
			c.entityType(n.EntityType, from, to)
		case xast.NodeTypeIsIn:
			c.entityType(n.EntityType, from, to)
		case xast.NodeTypeHas:
			if !isAttribute(n.Value) {
				c.problem(c.at(from, to, []string{"has", string(n.Value)}, []string{"has", strconv.Quote(string(n.Value))}, []string{string(n.Value)}),
					"nothing has an attribute %q; see 'entente rules schema'", string(n.Value))
			}
		case xast.NodeTypeEquals:
			c.words(n.BinaryNode, from, to)
		case xast.NodeTypeNotEquals:
			c.words(n.BinaryNode, from, to)
		case xast.NodeTypeContains:
			c.words(n.BinaryNode, from, to)
		case xast.NodeTypeContainsAll:
			c.words(n.BinaryNode, from, to)
		case xast.NodeTypeContainsAny:
			c.words(n.BinaryNode, from, to)
		}
		return true
	})
	return timed
}

// words checks the words that an attribute with a vocabulary is compared with: a rule about
// "ambr" or about "th" would be in force, and never bind.
func (c *checker) words(n xast.BinaryNode, from, to int) {
	for _, pair := range [][2]xast.IsNode{{n.Left, n.Right}, {n.Right, n.Left}} {
		known, what := vocabulary(pair[0])
		if known == nil {
			continue
		}
		literals := []xast.IsNode{pair[1]}
		if set, ok := pair[1].(xast.NodeTypeSet); ok {
			literals = set.Elements
		}
		for _, l := range literals {
			if v, ok := l.(xast.NodeValue); ok {
				if s, ok := v.Value.(cedar.String); ok && !known(string(s)) {
					c.problem(c.atString(from, to, s), "%q is never there; %s", string(s), what)
				}
			}
		}
	}
}

// vocabulary returns what the values of an attribute may be; nil if they are free.
func vocabulary(n xast.IsNode) (known func(string) bool, what string) {
	a, ok := n.(xast.NodeTypeAccess)
	if !ok {
		return nil, ""
	}
	oneOf := func(what string, words ...string) (func(string) bool, string) {
		return func(s string) bool { return slices.Contains(words, s) }, what + " is one of " + strings.Join(words, ", ")
	}
	switch a.Value {
	case "tlp":
		return oneOf("tlp", labels(protocol.TLPClear, protocol.TLPRed)...)
	case "pap":
		return oneOf("pap", labels(protocol.PAPUnset, protocol.PAPRed)...)
	case "personalData":
		return oneOf("personalData", labels(protocol.PersonalNone, protocol.PersonalAll)...)
	case "countries":
		return protocol.IsCountry, "a country is two letters in upper case, as ISO 3166-1 has them"
	case "country":
		return func(s string) bool { return s == "" || protocol.IsCountry(s) }, "a country is two letters in upper case, as ISO 3166-1 has them, or \"\""
	case "kind":
		if v, ok := a.Arg.(xast.NodeTypeVariable); ok && v.Name == "resource" {
			return nil, "" // a STIX type
		}
		var kinds []string
		for _, k := range protocol.OrgKinds() {
			kinds = append(kinds, string(k))
		}
		return oneOf("the kind of an organisation", kinds...)
	}
	return nil, ""
}

func labels[T interface {
	~uint8
	fmt.Stringer
}](least, most T) (out []string) {
	for l := least; l <= most; l++ {
		out = append(out, l.String())
	}
	return out
}

var (
	noAttribute = regexp.MustCompile("^attribute `([^`]*)` (?:on entity types? `([^`]*)`|in context).* not found$")
	notGiven    = regexp.MustCompile("^unrecognized (?:action|entity type) `(.*)`$")
)

// invalid tells what the validator of Cedar found. It says of which rule only; where that is
// in the rule is looked for by what it names.
func (c *checker) invalid(err error, from, to int) {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		what := err.Error()
		if m := noAttribute.FindStringSubmatch(what); m != nil {
			name := m[1][strings.LastIndexByte(m[1], '.')+1:]
			at := c.at(from, to, c.accesses(m[2], name)...)
			if m[2] == "" {
				c.problem(at, "there is no context.%s; the context has now, the time", name)
				continue
			}
			has := attributes(cedar.EntityType(m[2]))
			if has == "" {
				has = "none at all"
			}
			c.problem(at, "no %s has an attribute %q; there is %s", m[2], name, has)
			continue
		}
		at := from
		if m := notGiven.FindStringSubmatch(what); m != nil {
			id := m[1][strings.LastIndexByte(m[1], ':')+1:]
			at = c.at(from, to, []string{id})
		} else if strings.HasPrefix(what, "unable to find an applicable action") {
			what = "no action of the rule has such a principal and resource: share, passOn and receive are about an Organisation and a Record, release, sign and administer about a Person or Machine and the Node, all others about a Person or Machine and a Record"
		}
		c.problem(at, "%s; see 'entente rules schema'", what)
		return // what comes after follows from it
	}
}

// accesses lists how an attribute of an entity of a type may be written.
func (c *checker) accesses(typ, name string) (out [][]string) {
	bases := []string{"principal", "originator", "publisher"}
	switch typ {
	case "":
		bases = []string{"context"}
	case "Record", "Node":
		bases = []string{"resource"}
	}
	quoted := strconv.Quote(name)
	for _, b := range bases {
		out = append(out, []string{b, ".", name}, []string{b, "[", quoted})
	}
	return append(out, []string{".", name}, []string{"[", quoted}, []string{name})
}
