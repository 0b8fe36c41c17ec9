package stix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/entente-mesh/entente/protocol"
)

// maxDepth bounds the nesting of one object. Real objects reach about eight.
const maxDepth = 32

// member is one property of a JSON object; value is a part of the bytes it was read from.
type member struct {
	name   string
	offset int // of the value
	value  json.RawMessage
}

// splitMembers reads the properties of the JSON object in b, names compared exactly: unlike
// encoding/json it neither folds case nor lets the last of two equal names win, so that two
// readers cannot understand one object differently. b must be valid JSON.
func splitMembers(b []byte) ([]member, error) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return nil, protocol.Errorf(protocol.ErrMalformed, "not a JSON object")
	}
	var members []member
	seen := map[string]bool{}
	for i = skipSpace(b, i+1); b[i] != '}'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		end := skipValue(b, i)
		var name string
		if err := json.Unmarshal(b[i:end], &name); err != nil {
			return nil, protocol.Errorf(protocol.ErrMalformed, "reading property name: %v", err)
		}
		if seen[name] {
			return nil, protocol.Errorf(protocol.ErrMalformed, "property %q occurs twice", clip(name))
		}
		seen[name] = true
		i = skipSpace(b, end)
		i = skipSpace(b, i+1) // the colon
		end = skipValue(b, i)
		members = append(members, member{name, i, json.RawMessage(b[i:end:end])})
		i = end
	}
	return members, nil
}

// splitElements calls fn with each element of the JSON array b and its offset in b, which
// must be valid JSON.
func splitElements(b []byte, fn func(offset int, element []byte)) error {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return protocol.Errorf(protocol.ErrMalformed, "not a JSON array")
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
	for i < len(b) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(b[i])) {
		i++
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// checkJSON returns nil if b is one JSON value in UTF-8 that nests at most depth deep.
func checkJSON(b []byte, depth int) error {
	if !utf8.Valid(b) {
		return protocol.Errorf(protocol.ErrMalformed, "not UTF-8")
	}
	if d := nesting(b); depth > 0 && d > depth {
		return protocol.Errorf(protocol.ErrOversize, "nested %d deep, at most %d", d, depth)
	}
	return checkSyntax(b)
}

// checkSyntax returns nil if b is one JSON value, and else says where it is not.
func checkSyntax(b []byte) error {
	if json.Valid(b) {
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(b, &raw)
	if err == nil {
		err = errors.New("invalid")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at := min(max(int(syntax.Offset)-1, 0), len(b))
		return protocol.Errorf(protocol.ErrMalformed, "not JSON, line %d: %v", lineAt(b, at), err)
	}
	return protocol.Errorf(protocol.ErrMalformed, "not JSON: %v", err)
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

// text decodes a JSON string; ok is false if v is something else.
func text(v json.RawMessage) (s string, ok bool) {
	if len(v) == 0 || v[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(v, &s)
	return s, err == nil
}

// texts decodes a JSON array of strings.
func texts(v json.RawMessage) (list []string, ok bool) {
	if len(v) == 0 || v[0] != '[' {
		return nil, false
	}
	ok = true
	err := splitElements(v, func(_ int, e []byte) {
		s, isText := text(e)
		ok = ok && isText
		list = append(list, s)
	})
	return list, ok && err == nil
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

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
