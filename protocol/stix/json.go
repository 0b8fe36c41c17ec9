package stix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/entente-mesh/entente/protocol"
)

// maxDepth bounds the nesting of one object. Real objects reach about eight.
const maxDepth = 32

// member is one property of a JSON object; name and value are parts of the bytes they were
// read from, but for a name that was written with escapes.
type member struct {
	name   []byte
	at     int // offset of the name's quote
	offset int // of the value
	value  json.RawMessage
}

// span is where a member stands in the bytes that it was read from. It takes a quarter of the
// memory of a member, and the collector of garbage need not look at it.
type span struct {
	at, after, value, end uint32 // after is behind the name, which begins behind at; 0: it has escapes
}

func spansOf(b []byte, members []member) []span {
	spans := make([]span, len(members))
	for i := range members {
		m := &members[i]
		s := span{at: uint32(m.at), value: uint32(m.offset), end: uint32(m.offset + len(m.value))}
		if after := m.at + 1 + len(m.name); b[after] == '"' && bytes.Equal(b[m.at+1:after], m.name) {
			s.after = uint32(after)
		}
		spans[i] = s
	}
	return spans
}

// nameIn returns the name of the member of b that stands there.
func (s span) nameIn(b []byte) []byte {
	if s.after != 0 {
		return b[s.at+1 : s.after]
	}
	name, _ := content(b[s.at:skipString(b, int(s.at))])
	return name
}

// splitMembers reads the properties of the JSON object in b, names compared exactly: unlike
// encoding/json it neither folds case nor lets the last of two equal names win, so that two
// readers cannot understand one object differently. b must be valid JSON.
func splitMembers(b []byte) ([]member, error) { return appendMembers(nil, b) }

// appendMembers is splitMembers with memory to append to; buf must be empty.
func appendMembers(buf []member, b []byte) ([]member, error) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return nil, malformed("not a JSON object")
	}
	members := appendAnyMembers(buf, b)
	if m := repeated(members); m >= 0 {
		return nil, malformed("property %q occurs twice", clip(string(members[m].name)))
	}
	return members, nil
}

// appendAnyMembers appends the properties of the JSON object in b in the order of writing,
// whether or not a name occurs twice. b must be valid JSON.
func appendAnyMembers(members []member, b []byte) []member {
	members, _ = walkMembers(members, b, 0, math.MaxInt)
	return members
}

// walkMembers appends the properties of the JSON object that begins at from in b, at offsets
// counted from there, and returns the offset in b behind it. b must be valid JSON. Of an object
// that has more than limit bytes properties are left out.
func walkMembers(members []member, b []byte, from, limit int) (all []member, end int) {
	from = skipSpace(b, from)
	i := skipSpace(b, from+1)
	for ; b[i] != '}'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		if i-from > limit {
			return members, skipValue(b, from)
		}
		at, after := i, skipString(b, i)
		name, _ := content(b[at:after])
		i = skipSpace(b, after)
		i = skipSpace(b, i+1) // the colon
		after = skipValue(b, i)
		members = append(members, member{name, at - from, i - from, json.RawMessage(b[i:after:after])})
		i = after
	}
	return members, i + 1
}

// repeated returns the index of the first member whose name an earlier one has, -1 if there
// is none. It takes linear time: a hostile object of maximal size has 100,000 members.
func repeated(members []member) int {
	const few = 64
	// A bit for each name seen, by a hash of little worth: only names that share their bit
	// need be compared.
	var seen uint64
	for i := range members[:min(len(members), few)] {
		name := members[i].name
		hash := len(name) * 11
		if len(name) > 0 {
			hash += int(name[0])*5 + int(name[len(name)-1])*3 + int(name[len(name)/2])
		}
		bit := uint64(1) << (hash & 63)
		if seen&bit != 0 && slices.ContainsFunc(members[:i], func(m member) bool { return bytes.Equal(m.name, name) }) {
			return i
		}
		seen |= bit
	}
	if len(members) <= few {
		return -1
	}
	names := make(map[string]bool, len(members))
	for i := range members {
		if names[string(members[i].name)] {
			return i
		}
		names[string(members[i].name)] = true
	}
	return -1
}

// lookup returns the value of the last member of a name, nil if there is none.
func lookup(members []member, name string) json.RawMessage {
	for i := len(members) - 1; i >= 0; i-- {
		if string(members[i].name) == name {
			return members[i].value
		}
	}
	return nil
}

// splitElements calls fn with each element of the JSON array b and its offset in b, which
// must be valid JSON.
func splitElements(b []byte, fn func(offset int, element []byte)) error {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return malformed("not a JSON array")
	}
	for i = skipSpace(b, i+1); b[i] != ']'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		end := skipValue(b, i)
		fn(i, b[i:end:end])
		i = end
	}
	return nil
}

// skipValue returns the offset behind the JSON value that starts at i of valid JSON.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch b[i] {
			case '"':
				i = skipString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(b) {
		switch b[i] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return i
		}
		i++
	}
	return i
}

// skipString returns the offset behind the string that starts at i of valid JSON.
func skipString(b []byte, i int) int {
	i++
	quote := i + bytes.IndexByte(b[i:], '"')
	if b[quote-1] != '\\' {
		return quote + 1 // most: what is escaped stands behind a backslash
	}
	for {
		escape := bytes.IndexByte(b[i:quote], '\\')
		if escape < 0 {
			return quote + 1
		}
		if i += escape + 2; i > quote { // the quote is what is escaped
			quote = i + bytes.IndexByte(b[i:], '"')
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// checkText returns nil if b is UTF-8 and nests at most depth deep.
func checkText(b []byte, depth int) error {
	if !utf8.Valid(b) {
		return malformed("not UTF-8")
	}
	// Few brackets cannot nest deep, and most objects have few.
	if bytes.Count(b, []byte{'{'})+bytes.Count(b, []byte{'['}) > depth {
		if d := nesting(b); d > depth {
			return protocol.Errorf(protocol.ErrOversize, "nested %d deep, at most %d", d, depth)
		}
	}
	return nil
}

// asStandard are the options that make jsontext accept what encoding/json accepts: UTF-8 and
// double names are judged here, and half a surrogate pair behind \u is read as U+FFFD.
var asStandard = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// checkSyntax returns nil if b is one JSON value, and else says where it is not.
func checkSyntax(b []byte) error {
	if jsontext.Value(b).IsValid(asStandard...) {
		return nil
	}
	var raw json.RawMessage // encoding/json for its messages
	err := json.Unmarshal(b, &raw)
	if err == nil {
		err = errors.New("invalid")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at := min(max(int(syntax.Offset)-1, 0), len(b))
		return malformed("not JSON, line %d: %v", lineAt(b, at), err)
	}
	return malformed("not JSON: %v", err)
}

// nesting returns how deep brackets open outside strings; b need not be valid.
func nesting(b []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// lineAt returns the number of the line that holds offset, counted from one.
func lineAt(b []byte, offset int) int { return 1 + bytes.Count(b[:offset], []byte{'\n'}) }

// content decodes a JSON string without copying it if it can be helped; ok is false if v is
// something else. The bytes may be a part of v and must not be changed.
func content(v json.RawMessage) (s []byte, ok bool) {
	if len(v) == 0 || v[0] != '"' {
		return nil, false
	}
	s = v[1 : len(v)-1]
	if bytes.IndexByte(s, '\\') < 0 && utf8.Valid(s) {
		return s, true
	}
	// The error is for what is no UTF-8 and for half surrogate pairs, which are decoded to
	// U+FFFD, as encoding/json has it.
	s, _ = jsontext.AppendUnquote(make([]byte, 0, len(s)), v)
	return s, true
}

// text decodes a JSON string; ok is false if v is something else.
func text(v json.RawMessage) (s string, ok bool) {
	b, ok := content(v)
	return string(b), ok
}

// marshal encodes v without the HTML escapes of encoding/json, in the order of its fields.
func marshal(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("stix: encoding own value: %v", err)) // only types of this package
	}
	return bytes.TrimSpace(buf.Bytes())
}

// appendString appends s as marshal writes it.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '"' || s[i] == '\\' || s[i] >= utf8.RuneSelf {
			return append(b, marshal(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
