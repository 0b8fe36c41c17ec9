package stix

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed model.txt
var modelText string

// The rules that stand between the properties of one type in model.txt:
//
//	some A B…       at least one of them
//	one A B         exactly one of them
//	together A B    both or none
//	with A B…       A stands with all of the others
//	when A=V B…     where A is true or false as V says, the others stand
//	unless A=V B…   where A is as V says, the others do not
//	later A B       A is a later time than B
//	since A B       A is not an earlier time than B
//	should A        A is there
//	should-with A B A stands with B
//	deprecated A    A is not there
//	id A…           these contribute to the identifier
//
// The last four but id are what the standard says SHOULD be.

// kind is what a property holds.
type kind uint8

const (
	kAny kind = iota
	kString
	kBoolean
	kInteger
	kFloat
	kTimestamp
	kMilliseconds
	kBinary
	kHex
	kHashes
	kDictionary
	kRef
	kOpen
	kClosed
	kPart
	kForm // a string of a form
)

var kinds = map[string]kind{"any": kAny, "string": kString, "boolean": kBoolean, "integer": kInteger, "float": kFloat, "timestamp": kTimestamp,
	"milliseconds": kMilliseconds, "binary": kBinary, "hex": kHex, "hashes": kHashes, "dictionary": kDictionary}

// classes are the kinds of object; sdo and so on in the model.
const (
	classSDO = "sdo"
	classSRO = "sro"
	classSCO = "sco"
	classSMO = "smo"
)

// propertyModel is one line of the table.
type propertyModel struct {
	name     string
	section  string
	required bool
	list     bool
	kind     kind
	refs     []string    // of kRef: types and classes
	words    *vocabulary // of kOpen and kClosed
	part     *typeModel  // of kPart
	form     *form       // of kForm
	min, max float64
	bounded  bool // by min and max
}

type rule struct {
	op    string
	args  []string
	value string // of when and unless
}

// typeModel is the type of an object, a part or an extension.
type typeModel struct {
	name     string
	section  string
	class    string // of an object
	of       string // of an extension: the type of object
	props    map[string]*propertyModel
	required []*propertyModel // in the order of the table
	rules    []rule
	id       []string // what contributes to an identifier
}

type vocabulary struct {
	name    string
	section string
	open    bool
	words   map[string]bool
	list    []string
}

// objectModel is the whole of model.txt.
type objectModel struct {
	objects       map[string]*typeModel
	parts         map[string]*typeModel
	extensions    map[string]*typeModel
	common        map[string]*typeModel // by class
	vocabularies  map[string]*vocabulary
	relationships map[string]map[string][]string // targets by source and verb
}

// model is read when something is first validated: it is some 500 lines.
var model = sync.OnceValue(func() *objectModel {
	m, err := readModel(modelText)
	if err != nil {
		panic("stix: " + err.Error()) // it is a part of the program, and a test reads it
	}
	return m
})

func readModel(text string) (*objectModel, error) {
	m := &objectModel{objects: map[string]*typeModel{}, parts: map[string]*typeModel{}, extensions: map[string]*typeModel{},
		common: map[string]*typeModel{}, vocabularies: map[string]*vocabulary{}, relationships: map[string]map[string][]string{}}
	var at *typeModel
	type later struct {
		p    *propertyModel
		name string
	}
	var open []later // names of what stands further down
	number := 0
	for line := range strings.Lines(text) {
		number++
		inner := strings.HasPrefix(line, "\t")
		f := strings.Fields(line)
		var err error
		switch {
		case len(f) == 0 || strings.HasPrefix(f[0], "#"):
			continue
		case inner && at == nil:
			err = fmt.Errorf("a property of nothing")
		case inner && f[0] == ":":
			err = at.addRule(f[1:])
		case inner:
			var p *propertyModel
			var name string
			if p, name, err = readProperty(f, at.section); err == nil {
				if at.props[p.name] != nil && at.class == "" {
					err = fmt.Errorf("%s stands twice", p.name)
				}
				at.add(p)
				if name != "" {
					open = append(open, later{p, name})
				}
			}
		default:
			at, err = m.head(f)
		}
		if err != nil {
			return nil, fmt.Errorf("model.txt, line %d: %w", number, err)
		}
	}
	for _, l := range open {
		switch l.p.kind {
		case kPart:
			l.p.part = m.parts[l.name]
		case kOpen, kClosed:
			if l.p.words = m.vocabularies[l.name]; l.p.words != nil && l.p.words.open != (l.p.kind == kOpen) {
				return nil, fmt.Errorf("model.txt: %s is of %s, which is of the other kind", l.p.name, l.name)
			}
		}
		if l.p.part == nil && l.p.words == nil {
			return nil, fmt.Errorf("model.txt: %s is of %s, which is not defined", l.p.name, l.name)
		}
	}
	return m, m.check()
}

// check finds names in rules and references that are of nothing.
func (m *objectModel) check() error {
	for _, set := range []map[string]*typeModel{m.objects, m.parts, m.extensions} {
		for _, t := range set {
			for _, r := range t.rules {
				for _, a := range r.args {
					if t.props[a] == nil {
						return fmt.Errorf("model.txt: a rule of %s names %s, which it does not have", t.name, a)
					}
				}
			}
			for _, a := range t.id {
				if t.props[a] == nil {
					return fmt.Errorf("model.txt: %s of the identifier of %s is not there", a, t.name)
				}
			}
			for _, p := range t.props {
				for _, r := range p.refs {
					if m.objects[r] == nil && r != "all" && m.common[r] == nil {
						return fmt.Errorf("model.txt: %s of %s refers to %s, which is not defined", p.name, t.name, r)
					}
				}
			}
		}
	}
	return nil
}

// head reads a line that is not of a type.
func (m *objectModel) head(f []string) (*typeModel, error) {
	if len(f) < 3 {
		return nil, fmt.Errorf("%q says too little", strings.Join(f, " "))
	}
	t := &typeModel{name: f[1], section: f[2], props: map[string]*propertyModel{}}
	switch {
	case f[0] == "common":
		m.common[f[1]] = t
	case f[0] == "part":
		m.parts[f[1]] = t
	case f[0] == "extension" && len(f) == 4 && m.objects[f[3]] != nil:
		t.of = f[3]
		m.extensions[f[1]] = t
	case f[0] == "object" && len(f) == 4 && m.common[f[3]] != nil:
		common := m.common[f[3]]
		t.class = f[3]
		for _, p := range common.props {
			t.props[p.name] = p
		}
		t.required, t.rules = slices.Clone(common.required), slices.Clone(common.rules)
		m.objects[f[1]] = t
	case f[0] == "vocabulary" && len(f) > 4 && (f[3] == "open" || f[3] == "closed"):
		v := &vocabulary{name: f[1], section: f[2], open: f[3] == "open", list: f[4:], words: map[string]bool{}}
		for _, w := range v.list {
			v.words[w] = true
		}
		m.vocabularies[v.name] = v
		return nil, nil
	case f[0] == "relationship" && len(f) > 3 && m.objects[f[1]] != nil:
		verbs := m.relationships[f[1]]
		if verbs == nil {
			verbs = map[string][]string{}
			m.relationships[f[1]] = verbs
		}
		verbs[f[2]] = f[3:]
		return nil, nil
	default:
		return nil, fmt.Errorf("%q is not known", strings.Join(f, " "))
	}
	return t, nil
}

func (t *typeModel) add(p *propertyModel) {
	t.props[p.name] = p
	if p.required {
		t.required = append(t.required, p)
	}
}

// readProperty reads a line of the table; name is of a vocabulary or a part, which may stand further
// down.
func readProperty(f []string, section string) (p *propertyModel, name string, err error) {
	if len(f) < 2 || len(f) > 3 {
		return nil, "", fmt.Errorf("a property has a name, a kind and perhaps bounds")
	}
	p = &propertyModel{section: section}
	p.name, p.required = strings.CutSuffix(f[0], "!")
	var what string
	what, p.list = strings.CutPrefix(f[1], "[]")
	head, tail, _ := strings.Cut(what, ":")
	switch {
	case head == "ref":
		p.kind, p.refs = kRef, strings.Split(tail, ",")
	case head == "ov":
		p.kind, name = kOpen, tail
	case head == "enum":
		p.kind, name = kClosed, tail
	case strings.HasPrefix(what, "@"):
		p.kind, name = kPart, what[1:]
	case forms[what] != nil:
		p.kind, p.form = kForm, forms[what]
	default:
		k, ok := kinds[what]
		if !ok {
			return nil, "", fmt.Errorf("kind %q is not known", what)
		}
		p.kind = k
	}
	if len(f) == 3 {
		low, high, ok := strings.Cut(f[2], "..")
		p.bounded, p.max = ok, 1<<53
		if p.min, err = strconv.ParseFloat(low, 64); err == nil && high != "" {
			p.max, err = strconv.ParseFloat(high, 64)
		}
		if err != nil || !ok {
			return nil, "", fmt.Errorf("%q are no bounds", f[2])
		}
	}
	return p, name, nil
}

func (t *typeModel) addRule(f []string) error {
	if len(f) < 2 {
		return fmt.Errorf("a rule is about something")
	}
	r := rule{op: f[0], args: slices.Clone(f[1:])}
	switch r.op {
	case "id":
		t.id = r.args
		return nil
	case "when", "unless":
		var ok bool
		if r.args[0], r.value, ok = strings.Cut(r.args[0], "="); !ok {
			return fmt.Errorf("rule %s wants A=V", r.op)
		}
	case "some", "one", "together", "with", "later", "since", "should-with":
		if len(r.args) < 2 {
			return fmt.Errorf("rule %s wants two properties", r.op)
		}
	case "should", "deprecated":
	default:
		return fmt.Errorf("rule %q is not known", r.op)
	}
	t.rules = append(t.rules, r)
	return nil
}

// classOf returns the class of a type of object, "" if it is not of the standard.
func (m *objectModel) classOf(typ string) string {
	if t := m.objects[typ]; t != nil {
		return t.class
	}
	return ""
}
