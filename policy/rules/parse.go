package rules

import (
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Set is a set of rules with the people that they are about. A nil set is one without rules.
type Set struct {
	rules    []Rule
	people   *people
	byAction map[string]*actionRules
	locked   string // why everything is forbidden; "": it is not
	asked    *Set   // of a locked set: who may administer, and who the people are; nil: everybody may
}

// Rule is one rule as it is shown.
type Rule struct {
	Name    string   `json:"name"` // its @id, or file:line
	File    string   `json:"file"`
	Line    int      `json:"line"`
	Effect  string   `json:"effect"` // permit or forbid
	Actions []string `json:"actions"`
	Reason  string   `json:"reason,omitempty"`
	Persons uint8    `json:"persons,omitempty"` // who must release what it matches, instead of its being refused
	Text    string   `json:"text"`              // as it was written
}

// actionRules are the rules about one action.
type actionRules struct {
	permits, forbids all
	waits            all  // forbids that let as many persons as they say release what they match
	timed            bool // any of them looks at the context, which is the time
}

type compiled struct {
	rule   *Rule
	policy *cedar.Policy
}

// all hands compiled policies to the authorizer in their order, by the names of their rules.
type all []*compiled

// All implements cedar.PolicyIterator.
func (a all) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, c := range a {
			if !yield(cedar.PolicyID(c.rule.Name), c.policy) {
				return
			}
		}
	}
}

// Rules lists the rules in the order of their text.
func (s *Set) Rules() []Rule {
	if s == nil {
		return []Rule{}
	}
	return append([]Rule{}, s.rules...)
}

// Locked returns a set under which nothing is shared, received or passed on, and nobody may do
// anything but administer: it stands in where rules are wanted and cannot be read.
func Locked(why string) *Set {
	p, _ := parsePeople("", nil)
	return &Set{people: p, byAction: map[string]*actionRules{}, locked: why}
}

// LockedWith is Locked of a set that can be read: who may administer, and who the people are, is as it
// says. Whoever could not administer under it is not who ends the lock.
func LockedWith(why string, set *Set) *Set {
	l := Locked(why)
	if set != nil && set.locked == "" {
		l.asked, l.people = set, set.people
	}
	return l
}

// Locked returns why the set lets nothing through; "" if it is not a locked one.
func (s *Set) Locked() string {
	if s == nil {
		return ""
	}
	return s.locked
}

// Parse reads and checks a rule set. It is all or nothing: an error, which is an Errors, says
// where and what to do.
func Parse(src Source) (*Set, error) {
	if src.File == "" {
		src.File = "rules.cedar"
	}
	if src.PeopleFile == "" {
		src.PeopleFile = "people.json"
	}
	who, errs := parsePeople(src.PeopleFile, src.People)
	c := &checker{src: src, people: who, errs: errs, set: &Set{people: who, byAction: map[string]*actionRules{}}, names: map[string]bool{}}
	c.file()
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return c.set, nil
}

// checker reads one rule file.
type checker struct {
	src    Source
	tokens []token
	people *people
	set    *Set
	names  map[string]bool
	errs   Errors
}

func (c *checker) problem(offset int, format string, args ...any) {
	if len(c.errs) < maxProblems {
		line, column := place(c.src.Text, offset)
		c.errs = append(c.errs, Problem{c.src.File, line, column, fmt.Sprintf(format, args...)})
	}
}

func (c *checker) file() {
	if len(c.src.Text) > MaxText {
		c.problem(MaxText, "the rules have %d bytes, at most %d are read; say them with fewer words", len(c.src.Text), MaxText)
		return
	}
	if !utf8.Valid(c.src.Text) {
		c.problem(0, "it is not UTF-8 text; save it as that")
		return
	}
	c.tokens = tokens(c.src.Text)
	if at, what := excess(c.tokens); at >= 0 {
		c.problem(at, "%s", what)
		return
	}
	list, err := cedar.NewPolicyListFromBytes(c.src.File, c.src.Text)
	if err != nil {
		c.broken(err)
		return
	}
	if len(list) > MaxRules {
		c.problem(list[MaxRules].Position().Offset, "there are %d rules, at most %d are taken; join those that say the same of several things", len(list), MaxRules)
		return
	}
	c.set.rules = make([]Rule, len(list))
	for i, p := range list {
		from, to := p.Position().Offset, len(c.src.Text)
		if i+1 < len(list) {
			to = list[i+1].Position().Offset
		}
		c.policy(i, p, (*xast.Policy)(p.AST()), from, to)
	}
}

var (
	// "parse error at <input>:3:5 "x": what is wrong", and "<input>:3:5: what is wrong".
	parseError = regexp.MustCompile(`^(?:parser error: )?(?:parse error at )?<input>:(\d+):(\d+)(?:: | ".*?": )(?s:(.*))$`)
	wanted     = regexp.MustCompile(`^exact got (.*) want (.*)$`)
)

// broken says where the parser stopped. It names the token after the one that it does not like,
// where it has read that already.
func (c *checker) broken(err error) {
	m := parseError.FindStringSubmatch(err.Error())
	if m == nil {
		c.problem(0, "it cannot be read: %v", err)
		return
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	what := m[3]
	at := c.offset(line, column)
	if w := wanted.FindStringSubmatch(what); w != nil {
		if i := c.tokenBefore(at); i >= 0 && c.tokens[i].text == w[1] {
			at = c.tokens[i].offset
		}
		got := strconv.Quote(w[1])
		if w[1] == "" {
			got = "the end of the file"
		}
		what = fmt.Sprintf("%q is wanted here, not %s", w[2], got)
	}
	c.problem(at, "it is not Cedar: %s; see docs.cedarpolicy.com for the language, and 'entente rules schema' for what rules may speak of", what)
}

// offset turns a line and a column into an offset.
func (c *checker) offset(line, column int) int {
	text, at := string(c.src.Text), 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			return len(text)
		}
		at += i + 1
	}
	for ; column > 1 && at < len(text); column-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// tokenBefore returns the token that ends before an offset, -1 if there is none.
func (c *checker) tokenBefore(at int) int {
	found := -1
	for i, t := range c.tokens {
		if t.offset >= at {
			break
		}
		found = i
	}
	return found
}
