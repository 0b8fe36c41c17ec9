package stix

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// Object is one STIX object, read by [Parse]. Its fields other than Raw are what Raw says.
type Object struct {
	Raw      []byte // exactly the author's bytes, without white space around them
	ID       string // type--uuid
	Type     string
	Created  time.Time // zero if absent
	Modified time.Time // zero if absent
	Revoked  bool
	Refs     []string // ids in properties named *_ref and *_refs, markings left out, as they occur
	Markings []string // ids in object_marking_refs and granular_markings, as they occur
	Line     int      // where the object starts in the file that it was read from; 0: unknown

	source []byte // what spans are of: Raw, as it was read
	spans  []span
}

// Parse reads one STIX 2.1 object. White space around it is cut off; nothing else of it is
// touched. Errors are of the classes ErrMalformed and ErrOversize and say what is wrong.
//
// The object keeps raw, which must not be changed afterwards; its strings are copies.
func Parse(raw []byte) (*Object, error) {
	raw = bytes.Trim(raw, " \t\r\n")
	if err := checkSize(raw); err != nil {
		return nil, err
	}
	if err := checkText(raw, maxDepth); err != nil {
		return nil, err
	}
	if err := checkSyntax(raw); err != nil {
		return nil, err
	}
	if raw[0] != '{' {
		return nil, malformed("not a JSON object")
	}
	var buf [24]member // on the stack, for the number of members is not known beforehand
	return readMembers(raw, appendAnyMembers(buf[:0], raw))
}

// read is Parse of a part of what was found to be JSON, of which the members are known. It
// copies what it keeps of members.
func read(raw []byte, members []member) (*Object, error) {
	if err := checkSize(raw); err != nil {
		return nil, err
	}
	if err := checkText(raw, maxDepth); err != nil {
		return nil, err
	}
	if raw[0] != '{' {
		return nil, malformed("not a JSON object")
	}
	return readMembers(raw, members)
}

func checkSize(raw []byte) error {
	if len(raw) > protocol.MaxObjectSize {
		return protocol.Errorf(protocol.ErrOversize, "object has %d bytes, at most %d",
			len(raw), protocol.MaxObjectSize)
	}
	return nil
}

func readMembers(raw []byte, members []member) (*Object, error) {
	if m := repeated(members); m >= 0 {
		return nil, malformed("property %q occurs twice", clip(string(members[m].name)))
	}
	o := &Object{Raw: raw, source: raw, spans: spansOf(raw, members)}
	if err := o.readIdentity(); err != nil {
		return nil, err
	}
	if err := o.readRequired(); err != nil {
		return nil, err
	}
	if err := o.readTimes(); err != nil {
		return nil, err
	}
	o.readRefs(members)
	if err := o.readMarkings(); err != nil {
		return nil, err
	}
	return o, nil
}

// property returns the value of a top-level property, nil if it is absent.
func (o *Object) property(name string) json.RawMessage {
	for i := range o.spans {
		s := &o.spans[i]
		if s.after != 0 && int(s.after-s.at)-1 != len(name) { // most
			continue
		}
		if string(s.nameIn(o.source)) == name {
			return json.RawMessage(o.source[s.value:s.end:s.end])
		}
	}
	return nil
}

// Confidence returns the confidence that the object states (STIX 3.2), 0 to 100; 0 also if it
// states none, or something else.
func (o *Object) Confidence() uint8 {
	c, err := strconv.ParseUint(string(o.property("confidence")), 10, 8)
	if err != nil || c > 100 {
		return 0
	}
	return uint8(c)
}

// Text returns a top-level property that is a string, "" if it is absent or something else.
func (o *Object) Text(name string) string {
	s, _ := text(o.property(name))
	return s
}

// Texts returns a top-level property that is a list of strings; nil if it is absent or something else.
func (o *Object) Texts(name string) []string {
	var list []string
	if v := o.property(name); len(v) == 0 || json.Unmarshal(v, &list) != nil {
		return nil
	}
	return list
}

// readIdentity reads type, id and spec_version (STIX 3.2).
func (o *Object) readIdentity() error {
	typ, ok := content(o.property("type"))
	if !ok {
		return malformed("property type is missing or not a string")
	}
	if !isType(typ) {
		return malformed("type %q must be 3 to 250 of a-z, 0-9 and '-'", clip(string(typ)))
	}
	if string(typ) == "bundle" {
		return malformed("a bundle inside a bundle; publish its objects")
	}
	id, ok := content(o.property("id"))
	if !ok {
		return malformed("property id is missing or not a string")
	}
	if prefix, _, _ := bytes.Cut(id, separator); !isID(id) || !bytes.Equal(prefix, typ) {
		return malformed("id %q must be %s--UUID", clip(string(id)), typ)
	}
	o.ID = string(id)
	o.Type = o.ID[:len(typ)]
	version := o.property("spec_version")
	if version == nil && !needsVersion(o.Type) {
		return nil
	}
	if s, _ := content(version); string(s) != "2.1" {
		return malformed("spec_version must be \"2.1\"; convert older objects first")
	}
	return nil
}

// readRequired checks that what STIX requires of the type is there, with content.
func (o *Object) readRequired() error {
	for _, name := range required[o.Type] {
		v := o.property(name)
		if v == nil {
			return malformed("%s lacks property %s", o.Type, name)
		}
		switch string(v) {
		case "null", `""`, "[]":
			return malformed("property %s of %s is empty", name, o.Type)
		}
	}
	for _, name := range refProperties[o.Type] {
		if s, _ := content(o.property(name)); !isID(s) {
			return malformed("property %s of %s must be the id of an object", name, o.Type)
		}
	}
	if o.Type == "indicator" {
		for _, name := range []string{"pattern", "pattern_type"} {
			if v := o.property(name); v[0] != '"' {
				return malformed("property %s of indicator must be a string", name)
			}
		}
		if _, ok := o.timestamp("valid_from"); !ok {
			return o.noTimestamp("valid_from")
		}
	}
	return nil
}

// readTimes reads created, modified and revoked. Objects whose type does not require times
// (observables, custom types) may hold anything there; it is read if it is a timestamp.
func (o *Object) readTimes() error {
	strict := needsVersion(o.Type)
	var ok bool
	if o.Created, ok = o.timestamp("created"); !ok && strict {
		return o.noTimestamp("created")
	}
	if o.Modified, ok = o.timestamp("modified"); !ok && strict &&
		!(o.Type == "marking-definition" && o.property("modified") == nil) {
		return o.noTimestamp("modified")
	}
	if strict && !o.Modified.IsZero() && o.Modified.Before(o.Created) {
		return malformed("modified %s is before created %s", o.Text("modified"), o.Text("created"))
	}
	switch string(o.property("revoked")) {
	case "", "false":
	case "true":
		o.Revoked = true
	default:
		return malformed("property revoked must be true or false")
	}
	return nil
}

// timestamp reads a top-level property that is a timestamp; ok is false if it is none.
func (o *Object) timestamp(name string) (t time.Time, ok bool) {
	s, _ := content(o.property(name))
	return readTime(s)
}

// noTimestamp says what is wrong with a property that timestamp refused.
func (o *Object) noTimestamp(name string) error {
	if o.property(name) == nil {
		return malformed("%s lacks property %s", o.Type, name)
	}
	return malformed("property %s must be a time such as 2026-01-31T12:00:00.000Z", name)
}

// readTime reads a timestamp (STIX 2.16): RFC 3339 in UTC, which is written Z, with any
// number of digits behind the second, of which those beyond nanoseconds are dropped.
func readTime(s []byte) (t time.Time, ok bool) {
	const form = "0000-00-00T00:00:00"
	if len(s) <= len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		if form[i] == '0' && !isDigit(s[i]) || form[i] != '0' && s[i] != form[i] {
			return time.Time{}, false
		}
	}
	rest := s[len(form):]
	if rest[0] == '.' && len(rest) > 1 && isDigit(rest[1]) {
		for rest = rest[1:]; len(rest) > 0 && isDigit(rest[0]); rest = rest[1:] {
		}
	}
	if string(rest) != "Z" {
		return time.Time{}, false
	}
	if t.UnmarshalText(s) != nil { // hours, days and so on that do not exist
		return time.Time{}, false
	}
	return t, true
}

// readRefs gathers what the object refers to. Custom properties may end in _ref and hold
// something else; only what has the form of an id counts.
func (o *Object) readRefs(members []member) {
	for i := range members {
		m := &members[i]
		switch {
		case bytes.HasSuffix(m.name, []byte("_ref")):
			o.addRef(m.value)
		case bytes.HasSuffix(m.name, []byte("_refs")) && string(m.name) != "object_marking_refs" && m.value[0] == '[':
			_ = splitElements(m.value, func(_ int, e []byte) { o.addRef(e) }) // it is an array
		}
	}
}

func (o *Object) addRef(v json.RawMessage) {
	if s, _ := content(v); isID(s) {
		o.Refs = append(o.Refs, string(s))
	}
}

var separator = []byte("--") // of type and UUID in an id

// isID reports whether s has the form of an identifier (STIX 2.9).
func isID(s []byte) bool {
	prefix, id, ok := bytes.Cut(s, separator)
	return ok && isType(prefix) && isUUID(id)
}

// isType reports whether s has the form of a type (STIX 3.1 and 11.2).
func isType(s []byte) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || isDigit(c) || c == '-') {
			return false
		}
	}
	return len(s) >= 3 && len(s) <= 250
}

// isUUID reports whether s has the form of a UUID with hyphens, in either case.
func isUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) {
				return false
			}
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func malformed(format string, args ...any) error {
	return protocol.Errorf(protocol.ErrMalformed, format, args...)
}
