package stix

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// The table of model.txt is what objects are validated by, and not OASIS's JSON schemas: those do not
// say which section a rule is of nor what to do, name no SHOULD, cannot compare two times or resolve a
// selector, and take some hundred times as long.

// Mode says how much is asked of an object.
type Mode uint8

const (
	// Lenient asks for those MUSTs without which an object is of no use to anybody: its identity,
	// the properties that are required, in the form that is required, times that are not in
	// contradiction, a pattern that can be read. It is asked of whatever is published.
	Lenient Mode = iota
	// Strict asks for every MUST and SHOULD, and for an extension behind whatever is custom.
	Strict
)

// ParseMode reads "lenient", "strict", or "", which is lenient.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "", "lenient":
		return Lenient, nil
	case "strict":
		return Strict, nil
	}
	return 0, malformed("%q is no way to validate; use lenient or strict", clip(s))
}

// Violation is a sentence of the standard that an object breaks.
type Violation struct {
	ID   string `json:"id,omitempty"`   // of the object; "" if it has none that can be read
	Line int    `json:"line,omitempty"` // where the property begins in the file, or the object if it is missing; from 1; 0: unknown
	Path string `json:"path"`           // of the property, from the top, as $.objects[3].pattern_type
	Rule string `json:"rule"`           // STIX, the section, and MUST or SHOULD
	Text string `json:"text"`           // what is wrong, and what to do
}

// Error returns path, text and rule.
func (v Violation) Error() string { return v.Path + ": " + v.Text + " (" + v.Rule + ")" }

// maxViolations bounds what is found in one object: a hostile one has 100,000 properties.
const maxViolations = 100

// Validate returns what of the standard an object breaks, at most 100 violations, in the order of the
// table. Paths begin at the object, which is $.
func Validate(o *Object, mode Mode) []Violation {
	return validate(o, mode, &path{name: "$"})
}

func validate(o *Object, mode Mode, at *path) []Violation {
	c := checker{mode: mode, m: model()}
	t := c.m.objects[o.Type]
	if mode == Lenient {
		if t != nil {
			c.lenient(t, o, at)
		}
	} else {
		c.object(t, o.Type, o.members(), at)
	}
	for i := range c.found {
		c.found[i].ID, c.found[i].Line = o.ID, o.lineOf(c.found[i].Path, at)
	}
	return c.found
}

// members returns the properties of the object, for those who want all of them.
func (o *Object) members() []member {
	list := make([]member, len(o.spans))
	for i, s := range o.spans {
		list[i] = member{name: s.nameIn(o.source), at: int(s.at), offset: int(s.value), value: json.RawMessage(o.source[s.value:s.end:s.end])}
	}
	return list
}

// lineOf returns the line of the property at the top that a path leads through; 0 if it is not known
// where the object stands.
func (o *Object) lineOf(where string, at *path) int {
	if o.Line == 0 {
		return 0
	}
	rest, ok := strings.CutPrefix(where, at.String()+".")
	if !ok {
		return o.Line
	}
	if i := strings.IndexAny(rest, ".["); i >= 0 {
		rest = rest[:i]
	}
	for _, s := range o.spans {
		if string(s.nameIn(o.source)) == rest {
			return o.Line + lineAt(o.source, int(s.at)) - 1
		}
	}
	return o.Line
}

// path is where a value stands. It is written out only where something is wrong.
type path struct {
	up    *path
	name  string // "": an element
	index int
}

func (p *path) String() string {
	switch {
	case p.up == nil:
		return p.name
	case p.name == "":
		return p.up.String() + "[" + strconv.Itoa(p.index) + "]"
	}
	for _, c := range []byte(p.name) {
		if c != '_' && c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
			return p.up.String() + "[" + strconv.Quote(clip(p.name)) + "]"
		}
	}
	return p.up.String() + "." + clip(p.name)
}

// level is how grave it is to break a rule.
type level uint8

const (
	useless level = iota // a MUST that Lenient asks for too
	must
	should
)

type checker struct {
	mode  Mode
	m     *objectModel
	found []Violation
	// container are the keys of the old dictionary of observed-data, while what is in it is looked at:
	// references are to them. nil: they are to identifiers.
	container map[string]bool
}

// wants reports whether a rule of a level is asked for.
func (c *checker) wants(l level) bool {
	return (c.mode == Strict || l == useless) && len(c.found) < maxViolations
}

func (c *checker) report(l level, at *path, section, format string, args ...any) {
	if !c.wants(l) {
		return
	}
	word := " MUST"
	if l == should {
		word = " SHOULD"
	}
	c.found = append(c.found, Violation{Path: at.String(), Rule: "STIX " + section + word, Text: fmt.Sprintf(format, args...)})
}

// lenient looks at what is required of an object that [Parse] read, which has its identity.
func (c *checker) lenient(t *typeModel, o *Object, at *path) {
	for _, p := range t.required {
		switch p.name {
		case "type", "id", "spec_version", "created", "modified": // Parse looked at them
			continue
		}
		switch v := o.property(p.name); {
		case v == nil:
			c.missing(t, p, at)
		case !plainly(p, v):
			c.value(p, v, &path{up: at, name: p.name}, useless)
		}
	}
	for i := range t.rules {
		switch r := &t.rules[i]; {
		case r.op == "some", r.op == "one", r.op == "later" && o.property(r.args[0]) != nil:
			c.rule(t, r, o.property, at)
		}
	}
	if o.Type == "indicator" {
		c.pattern(o.property, at)
	}
}

// plainly reports whether a value is what most are, so that nothing need be made to look at it. Of a
// string the form is not looked at, which Lenient does not ask for.
func plainly(p *propertyModel, v json.RawMessage) bool {
	switch p.kind {
	case kString, kForm, kOpen:
		return !p.list && v[0] == '"'
	case kTimestamp:
		s, _ := content(v)
		_, ok := readTime(s)
		return ok
	}
	return false
}

// object looks at everything in an object; t is nil for a custom type.
func (c *checker) object(t *typeModel, typ string, members []member, at *path) {
	get := func(name string) json.RawMessage { return lookup(members, name) }
	ext := c.extensionTypes(get("extensions"))
	if t == nil {
		c.custom(typ, members, ext, at)
		return
	}
	for _, p := range t.required {
		if get(p.name) == nil {
			c.missing(t, p, at)
		}
	}
	for i := range members {
		m := &members[i]
		name := string(m.name)
		p := t.props[name]
		if p == nil {
			c.unknown(t, name, ext, at)
			continue
		}
		l := must
		if p.required {
			l = useless
		}
		c.value(p, m.value, &path{up: at, name: name}, l)
	}
	for i := range t.rules {
		c.rule(t, &t.rules[i], get, at)
	}
	c.identity(t, typ, members, at)
	c.extensions(typ, get("extensions"), &path{up: at, name: "extensions"})
	c.selectors(members, at)
	c.special(typ, get, at)
}

// missing reports a property that is required and not there. In the old container observables have
// neither identifiers nor versions.
func (c *checker) missing(t *typeModel, p *propertyModel, at *path) {
	if c.container != nil && p.name == "id" {
		return
	}
	l := useless
	if t.class == classSMO && p.name == "created_by_ref" { // what is extended can be read without it
		l = must
	}
	c.report(l, at, p.section, "%s lacks %s; add it", t.name, p.name)
}

// reserved are names that no property may have (STIX 3.8).
var reserved = []string{"severity", "username", "phone_number", "action"}

// unknown judges a property that the standard does not give a type.
func (c *checker) unknown(t *typeModel, name string, ext map[string]bool, at *path) {
	where := &path{up: at, name: name}
	if slices.Contains(reserved, name) {
		c.report(must, where, "3.8", "the name is reserved; rename the property")
		return
	}
	if !isProperty(name) {
		c.report(must, where, "11.1", "the name of a property is 3 to 250 of a-z, 0-9 and _; rename it")
		return
	}
	if ext["toplevel-property-extension"] {
		return
	}
	c.report(should, where, "11.1", "%s is not a property of %s; put it into an extension, or name the extension that defines it", name, t.name)
}

// isProperty reports whether s has the form of a property's name (STIX 3.1 and 11.1).
func isProperty(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && !isDigit(c) && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) >= 3 && len(s) <= 250
}

// custom judges an object whose type is not of the standard: it should be defined by an extension, and
// the common properties mean what they mean everywhere.
func (c *checker) custom(typ string, members []member, ext map[string]bool, at *path) {
	get := func(name string) json.RawMessage { return lookup(members, name) }
	class := classSDO
	switch {
	case ext["new-sco"]:
		class = classSCO
	case ext["new-sro"]:
		class = classSRO
	case ext["new-sdo"]:
	default:
		c.report(should, &path{up: at, name: "type"}, "11.2", "type %s is not of the standard; define it by an extension", clip(typ))
		if get("created") == nil { // it may be an observable
			class = classSCO
		}
	}
	common := c.m.common[class]
	t := &typeModel{name: typ, section: "11.2", class: class, props: common.props}
	for _, p := range common.required {
		if get(p.name) == nil {
			c.missing(t, p, at)
		}
	}
	for i := range members {
		m := &members[i]
		name := string(m.name)
		switch p := common.props[name]; {
		case p != nil && p.required:
			c.value(p, m.value, &path{up: at, name: name}, useless)
		case p != nil:
			c.value(p, m.value, &path{up: at, name: name}, must)
		case !isProperty(name):
			c.unknown(t, name, ext, at)
		case string(m.value) == "null":
			c.report(must, &path{up: at, name: name}, "3.1", "it is null; leave the property out")
		case string(m.value) == "[]":
			c.report(must, &path{up: at, name: name}, "2.12", "a list is not empty; leave the property out")
		}
	}
	for i := range common.rules {
		c.rule(t, &common.rules[i], get, at)
	}
	c.identity(t, typ, members, at)
	c.extensions(typ, get("extensions"), &path{up: at, name: "extensions"})
	c.selectors(members, at)
}

// value looks at the value of a property; wrong is how grave it is if it is something else.
func (c *checker) value(p *propertyModel, v json.RawMessage, at *path, wrong level) {
	switch {
	case string(v) == "null":
		c.report(wrong, at, "3.1", "it is null; leave the property out")
	case !p.list:
		c.single(p, v, at, wrong)
	case v[0] != '[':
		c.report(wrong, at, p.section, "it must be a list; write [ ] around it")
	default:
		n := 0
		_ = splitElements(v, func(_ int, e []byte) { // it is an array
			if len(c.found) < maxViolations {
				c.single(p, e, &path{up: at, index: n}, wrong)
			}
			n++
		})
		if n == 0 {
			c.report(wrong, at, "2.12", "a list is not empty; leave the property out")
		}
	}
}

func (c *checker) single(p *propertyModel, v json.RawMessage, at *path, wrong level) {
	switch p.kind {
	case kAny:
		return
	case kBoolean:
		if s := string(v); s != "true" && s != "false" {
			c.report(wrong, at, "2.2", "it must be true or false, without quotes")
		}
		return
	case kInteger, kFloat:
		c.number(p, v, at, wrong)
		return
	case kHashes, kDictionary, kPart:
		if v[0] != '{' {
			c.report(wrong, at, p.section, "it must be an object, { }")
			return
		}
		if c.mode == Lenient {
			return
		}
		members := appendAnyMembers(nil, v)
		switch {
		case len(members) == 0:
			c.report(must, at, "2.3", "a dictionary is not empty; leave the property out")
		case p.kind == kHashes:
			c.hashes(members, at)
		case p.kind == kDictionary:
			c.keys(members, at)
		default:
			c.part(p.part, members, at)
		}
		return
	}
	s, ok := content(v)
	if !ok {
		c.report(wrong, at, p.section, "it must be a string, in quotes")
		return
	}
	c.text(p, s, at, wrong)
}

// text looks at a string.
func (c *checker) text(p *propertyModel, s []byte, at *path, wrong level) {
	switch p.kind {
	case kTimestamp, kMilliseconds:
		if _, ok := readTime(s); !ok {
			c.report(wrong, at, "2.16", "%q is not a time in UTC; write one as 2026-01-31T12:00:00.000Z", clip(string(s)))
		} else if p.kind == kMilliseconds && len(s) < len("2026-01-31T12:00:00.000Z") {
			c.report(must, at, "3.2", "%q must have at least three digits behind the second", s)
		}
	case kBinary:
		if _, err := base64.StdEncoding.Strict().DecodeString(string(s)); err != nil {
			c.report(wrong, at, "2.1", "it is not base64 (RFC 4648) with its padding")
		}
	case kHex:
		if _, err := hex.DecodeString(string(s)); err != nil || strings.ContainsAny(string(s), "ABCDEF") {
			c.report(wrong, at, "2.8", "%q are not pairs of hexadecimal digits in lower case", clip(string(s)))
		}
	case kRef:
		c.reference(p, s, at, wrong)
	case kOpen:
		if !p.words.words[string(s)] {
			c.report(should, at, p.words.section, "%q is not of %s; take one of %s", clip(string(s)), p.words.name, someOf(p.words.list))
		}
	case kClosed:
		if !p.words.words[string(s)] {
			c.report(wrong, at, p.words.section, "%q is not of %s; take one of %s", clip(string(s)), p.words.name, someOf(p.words.list))
		}
	case kForm:
		if c.mode == Strict && !p.form.fits(string(s)) {
			l := must
			if p.form.should {
				l = should
			}
			c.report(l, at, p.section, "%q is not %s", clip(string(s)), p.form.want)
		}
	}
}

// someOf lists the first words of a vocabulary.
func someOf(list []string) string {
	if len(list) > 8 {
		return strings.Join(list[:8], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}

// maxInteger is the largest integer of STIX (2.10), 2^53 - 1.
const maxInteger = 1<<53 - 1

func (c *checker) number(p *propertyModel, v json.RawMessage, at *path, wrong level) {
	f, err := strconv.ParseFloat(string(v), 64)
	switch {
	case err != nil:
		c.report(wrong, at, p.section, "it must be a number, without quotes")
	case p.kind == kInteger && (strings.ContainsAny(string(v), ".eE") || f < -maxInteger || f > maxInteger):
		c.report(wrong, at, "2.10", "%s must be an integer between -2^53 and 2^53", clip(string(v)))
	case p.bounded && (f < p.min || f > p.max):
		upto := ""
		if p.max < 1<<53 {
			upto = " to " + strconv.FormatFloat(p.max, 'f', -1, 64)
		}
		c.report(must, at, p.section, "%s must be from %s%s", clip(string(v)), strconv.FormatFloat(p.min, 'f', -1, 64), upto)
	}
}

// reference looks at an identifier, and of what it is.
func (c *checker) reference(p *propertyModel, s []byte, at *path, wrong level) {
	if c.container != nil && p.refs[0] != "marking-definition" {
		if !c.container[string(s)] {
			c.report(must, at, "2.13", "%q is not a key of objects; refer to an object of the same observed-data", clip(string(s)))
		}
		return
	}
	if !isID(s) {
		c.report(wrong, at, "2.9", "%q must be the id of an object, type--UUID", clip(string(s)))
		return
	}
	typ, _, _ := strings.Cut(string(s), "--")
	class := c.m.classOf(typ)
	for _, r := range p.refs {
		if r == typ || r == class || r == "all" && typ != "bundle" || class == "" && c.m.common[r] != nil && typ != "bundle" {
			return
		}
	}
	c.report(must, at, p.section, "it must refer to %s, and not to %s", refNames(p.refs), clip(typ))
}

// refNames says classes in words.
func refNames(refs []string) string {
	names := map[string]string{classSDO: "a domain object", classSRO: "a relationship", classSCO: "an observable", "all": "an object"}
	out := make([]string, len(refs))
	for i, r := range refs {
		if out[i] = names[r]; out[i] == "" {
			out[i] = r
		}
	}
	return strings.Join(out, " or ")
}

// hashLengths are the digits of the hashes of hash-algorithm-ov that are written in hexadecimal ones.
var hashLengths = map[string]int{"MD5": 32, "SHA-1": 40, "SHA-256": 64, "SHA-512": 128, "SHA3-256": 64, "SHA3-512": 128}

// hashes looks at a dictionary of hashes (STIX 2.7).
func (c *checker) hashes(members []member, at *path) {
	for i := range members {
		name := string(members[i].name)
		where := &path{up: at, name: name}
		if !isKey(name) {
			c.report(must, where, "2.7", "the name of an algorithm is 3 to 250 of a-z, A-Z, 0-9, - and _")
		} else if v := c.m.vocabularies["hash-algorithm-ov"]; !v.words[name] {
			c.report(should, where, v.section, "%q is not of hash-algorithm-ov; take one of %s", clip(name), someOf(v.list))
		}
		s, ok := content(members[i].value)
		if n := hashLengths[name]; !ok || len(s) == 0 {
			c.report(must, where, "2.7", "a hash must be a string")
		} else if n > 0 && (len(s) != n || strings.ContainsFunc(string(s), func(r rune) bool { return r > 0x7f || !isHex(byte(r)) })) {
			c.report(must, where, "2.7", "a hash of %s has %d hexadecimal digits", name, n)
		}
	}
}

func isKey(s string) bool {
	for _, b := range []byte(s) {
		if !isDigit(b) && (b|0x20 < 'a' || b|0x20 > 'z') && b != '-' && b != '_' {
			return false
		}
	}
	return len(s) >= 3 && len(s) <= 250
}

// keys looks at the keys of a dictionary (STIX 2.3).
func (c *checker) keys(members []member, at *path) {
	for i := range members {
		name := string(members[i].name)
		for _, b := range []byte(name) {
			if !isDigit(b) && (b|0x20 < 'a' || b|0x20 > 'z') && b != '-' && b != '_' {
				c.report(must, at, "2.3", "the key %q of a dictionary holds other signs than a-z, A-Z, 0-9, - and _", clip(name))
				break
			}
		}
		if len(name) == 0 || len(name) > 250 {
			c.report(must, at, "2.3", "the key %q of a dictionary must have 1 to 250 signs", clip(name))
		}
		if string(members[i].value) == "null" {
			c.report(must, &path{up: at, name: name}, "3.1", "it is null; leave the key out")
		}
	}
}

// part looks at what stands inside of an object: a type that has no identity.
func (c *checker) part(t *typeModel, members []member, at *path) {
	get := func(name string) json.RawMessage { return lookup(members, name) }
	for _, p := range t.required {
		if get(p.name) == nil {
			c.report(must, at, t.section, "%s lacks %s; add it", t.name, p.name)
		}
	}
	for i := range members {
		name := string(members[i].name)
		where := &path{up: at, name: name}
		if p := t.props[name]; p != nil {
			c.value(p, members[i].value, where, must)
		} else {
			c.report(should, where, "11.1", "%s is not a property of %s; put it into an extension", clip(name), t.name)
		}
	}
	for i := range t.rules {
		c.rule(t, &t.rules[i], get, at)
	}
}

// rule looks at several properties together.
func (c *checker) rule(t *typeModel, r *rule, get func(string) json.RawMessage, at *path) {
	there := func(name string) bool { return get(name) != nil }
	list := strings.Join(r.args, ", ")
	first := &path{up: at, name: r.args[0]}
	count := 0
	for _, a := range r.args {
		if there(a) {
			count++
		}
	}
	switch r.op {
	case "some":
		if count == 0 {
			l := useless
			if t.class == "" || t.class == classSMO {
				l = must
			}
			c.report(l, at, t.section, "%s needs at least one of %s", t.name, list)
		}
	case "one":
		switch {
		case count == 0 && t.class != "":
			c.report(useless, at, t.section, "%s needs one of %s", t.name, list)
		case count != 1:
			c.report(must, at, t.section, "%s has exactly one of %s", t.name, list)
		}
	case "together":
		if count != 0 && count != len(r.args) {
			c.report(must, at, t.section, "%s stand together; add the one that is missing", list)
		}
	case "with", "should-with":
		l := must
		if r.op == "should-with" {
			l = should
		}
		if there(r.args[0]) && count != len(r.args) {
			c.report(l, first, t.section, "beside %s stands %s; add it", r.args[0], strings.Join(r.args[1:], " and "))
		}
	case "when":
		if string(get(r.args[0])) == r.value && count != len(r.args) {
			c.report(must, at, t.section, "where %s is %s, %s is required", r.args[0], r.value, strings.Join(r.args[1:], " and "))
		}
	case "unless":
		if string(get(r.args[0])) == r.value && count > 1 {
			c.report(must, &path{up: at, name: r.args[1]}, t.section, "where %s is %s, %s is left out", r.args[0], r.value, strings.Join(r.args[1:], " and "))
		}
	case "later", "since":
		c.order(t, r, get, first)
	case "should":
		if count == 0 {
			c.report(should, at, t.section, "%s should have %s", t.name, list)
		}
	case "deprecated":
		if count > 0 {
			c.report(should, first, t.section, "%s is deprecated; leave it out", list)
		}
	}
}

// order compares two times.
func (c *checker) order(t *typeModel, r *rule, get func(string) json.RawMessage, at *path) {
	section := t.section
	if p := t.props[r.args[0]]; p != nil {
		section = p.section
	}
	var times [2]time.Time
	for i, name := range r.args {
		s, _ := content(get(name))
		var ok bool
		if times[i], ok = readTime(s); !ok {
			return // not there, or said already
		}
	}
	switch {
	case r.op == "later" && !times[0].After(times[1]):
		l := must
		if t.name == "indicator" { // it is never valid
			l = useless
		}
		c.report(l, at, section, "it must be later than %s", r.args[1])
	case r.op == "since" && times[0].Before(times[1]):
		l := must
		if r.args[0] == "modified" {
			l = useless
		}
		c.report(l, at, section, "it must not be earlier than %s", r.args[1])
	}
}

// extensionTypes gathers what the extensions of an object say that they are.
func (c *checker) extensionTypes(v json.RawMessage) map[string]bool {
	if len(v) == 0 || v[0] != '{' {
		return nil
	}
	types := map[string]bool{}
	for _, m := range appendAnyMembers(nil, v) {
		if len(m.value) > 0 && m.value[0] == '{' {
			if s, ok := text(lookup(appendAnyMembers(nil, m.value), "extension_type")); ok {
				types[s] = true
			}
		}
	}
	return types
}

// extensions looks at the extensions of an object (STIX 7.3): predefined ones of its type, and those
// that have a definition.
func (c *checker) extensions(typ string, v json.RawMessage, at *path) {
	if len(v) == 0 || v[0] != '{' {
		return // value said so
	}
	for _, m := range appendAnyMembers(nil, v) {
		name := string(m.name)
		where := &path{up: at, name: name}
		if m.value[0] != '{' {
			c.report(must, where, "7.3", "an extension must be an object, { }")
			continue
		}
		members := appendAnyMembers(nil, m.value)
		t := c.m.extensions[name]
		switch {
		case t != nil && t.of != typ:
			c.report(must, where, t.section, "%s extends %s, and not %s", name, t.of, clip(typ))
		case t != nil:
			c.part(t, members, where)
		case strings.HasPrefix(name, "extension-definition--"):
			if !isID([]byte(name)) {
				c.report(must, where, "2.9", "the id of an extension definition ends with a UUID")
			}
			s, _ := text(lookup(members, "extension_type"))
			words := c.m.vocabularies["extension-type-enum"]
			if !words.words[s] {
				c.report(must, where, "7.3", "extension_type must be one of %s", someOf(words.list))
			}
		default:
			c.report(should, where, "11.3", "%s is not an extension of %s; name an extension by the id of its definition", clip(name), clip(typ))
		}
	}
}

// scoNamespace is that of the deterministic identifiers of observables (STIX 2.9).
var scoNamespace = uuid.MustParse("00abedb4-aa42-466c-9c01-fed23315a9b7")

// identity looks at type, id and spec_version.
func (c *checker) identity(t *typeModel, typ string, members []member, at *path) {
	if c.container != nil {
		return
	}
	if v := lookup(members, "spec_version"); v != nil {
		if s, ok := content(v); ok && string(s) != "2.1" {
			c.report(useless, &path{up: at, name: "spec_version"}, "3.2", "%q must be \"2.1\"; convert older objects first", clip(string(s)))
		}
	}
	where := &path{up: at, name: "id"}
	s, ok := content(lookup(members, "id"))
	if !ok {
		return // missing, or said already
	}
	prefix, rest, _ := strings.Cut(string(s), "--")
	id, err := uuid.Parse(rest)
	if !isID(s) || prefix != typ || err != nil {
		c.report(useless, where, "2.9", "%q must be %s--UUID", clip(string(s)), clip(typ))
		return
	}
	if id.Variant() != uuid.RFC4122 && id != uuid.Nil {
		c.report(must, where, "2.9", "its UUID is not one of RFC 4122")
		return
	}
	if t.class != classSCO {
		// What is everywhere the same has the identifier that it has everywhere.
		if id.Version() != 4 && !IsTLPMarking(string(s)) {
			c.report(should, where, "2.9", "its UUID is of version %d; make a random one, of version 4", id.Version())
		}
		return
	}
	want, made := deterministic(t, members)
	switch {
	case c.m.objects[typ] == nil:
	case !made && id.Version() != 4:
		c.report(must, where, "2.9", "nothing contributes to its id, whose UUID must be a random one, of version 4")
	case made && id.Version() != 5:
		c.report(should, where, "2.9", "its id should be %s, made of what it says", want)
	case made && string(s) != want:
		c.report(should, where, "2.9", "its id should be %s, made of what it says, if it was made in STIX's namespace", want)
	}
}

// special looks at what the table cannot say.
func (c *checker) special(typ string, get func(string) json.RawMessage, at *path) {
	switch typ {
	case "indicator":
		c.pattern(get, at)
	case "relationship":
		c.relationship(get, at)
	case "marking-definition":
		c.marking(get, at)
	case "language-content":
		c.languages(get("contents"), &path{up: at, name: "contents"})
	case "observed-data":
		c.contained(get("objects"), &path{up: at, name: "objects"})
	}
}

// pattern reads the pattern of an indicator. One that only this program does not read is let through:
// others may.
func (c *checker) pattern(get func(string) json.RawMessage, at *path) {
	if s, _ := content(get("pattern_type")); string(s) != "stix" {
		return
	}
	src, ok := text(get("pattern"))
	if !ok {
		return // said already
	}
	if err := pattern.Check(src); err != nil {
		c.report(useless, &path{up: at, name: "pattern"}, "9", "%v", err)
	}
}

// commonVerbs are the relationships that any two objects may have (STIX 3.7).
var commonVerbs = []string{"derived-from", "duplicate-of", "related-to"}

func (c *checker) relationship(get func(string) json.RawMessage, at *path) {
	verb, ok := text(get("relationship_type"))
	source, _ := text(get("source_ref"))
	target, _ := text(get("target_ref"))
	from, _, ok2 := strings.Cut(source, "--")
	to, _, ok3 := strings.Cut(target, "--")
	if !ok || !ok2 || !ok3 || slices.Contains(commonVerbs, verb) {
		return
	}
	t := c.m.objects[from]
	if t == nil || c.m.objects[to] == nil {
		return // what the author of a custom type makes of it
	}
	targets, known := c.m.relationships[from][verb]
	switch {
	case !known:
		c.report(should, &path{up: at, name: "relationship_type"}, t.section, "%q is not a relationship of %s; take one of its own, or related-to", clip(verb), from)
	case !slices.Contains(targets, to) && !slices.Contains(targets, c.m.classOf(to)):
		c.report(should, &path{up: at, name: "target_ref"}, t.section, "%s %s %s, and not %s", from, verb, strings.Join(targets, " or "), to)
	}
}

// marking looks at a marking definition: those of TLP have one identifier each (STIX 7.2.1.4).
func (c *checker) marking(get func(string) json.RawMessage, at *path) {
	id, _ := text(get("id"))
	for _, name := range []string{"object_marking_refs", "granular_markings"} {
		if v := get(name); id != "" && strings.Contains(string(v), id) {
			c.report(must, &path{up: at, name: name}, "7.2.1", "a marking definition does not mark itself")
		}
	}
	kind, _ := text(get("definition_type"))
	definition := get("definition")
	if kind != "tlp" && kind != "statement" || definition == nil {
		return
	}
	where := &path{up: at, name: "definition"}
	if definition[0] != '{' {
		c.report(must, where, "7.2.1", "it must be an object, { }")
		return
	}
	s, ok := text(lookup(appendAnyMembers(nil, definition), kind))
	switch {
	case !ok:
		c.report(must, where, "7.2.1", "a definition of type %s has %s, a string", kind, kind)
	case kind == "tlp" && !IsTLPMarking(id):
		c.report(must, &path{up: at, name: "id"}, "7.2.1.4", "TLP:%s has an id of its own, the same everywhere; refer to that", strings.ToUpper(clip(s)))
	}
}

func (c *checker) languages(v json.RawMessage, at *path) {
	if len(v) == 0 || v[0] != '{' {
		return
	}
	for _, m := range appendAnyMembers(nil, v) {
		where := &path{up: at, name: string(m.name)}
		switch {
		case !isLang(string(m.name)):
			c.report(must, where, "7.1", "%q is not a language tag (RFC 5646)", clip(string(m.name)))
		case m.value[0] != '{':
			c.report(must, where, "7.1", "the words of a language must be an object, by property")
		}
	}
}

// contained looks at the observables in the old dictionary of observed-data (STIX 2.13), which refer
// to each other by their keys.
func (c *checker) contained(v json.RawMessage, at *path) {
	if len(v) == 0 || v[0] != '{' {
		return
	}
	entries := appendAnyMembers(nil, v)
	c.container = make(map[string]bool, len(entries))
	for _, e := range entries {
		c.container[string(e.name)] = true
	}
	defer func() { c.container = nil }()
	for _, e := range entries {
		where := &path{up: at, name: string(e.name)}
		if e.value[0] != '{' {
			c.report(must, where, "2.13", "it must be an observable, { }")
			continue
		}
		members := appendAnyMembers(nil, e.value)
		typ, ok := text(lookup(members, "type"))
		if !ok {
			c.report(must, where, "2.13", "it lacks type; add it")
			continue
		}
		t := c.m.objects[typ]
		if t != nil && t.class != classSCO {
			c.report(must, where, "2.13", "it must be an observable, and not a %s", clip(typ))
			continue
		}
		if t != nil {
			c.object(t, typ, members, where)
		}
	}
}
