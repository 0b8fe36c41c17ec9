package stix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/entente-mesh/entente/protocol"
)

// Problem is an object of a bundle that was set aside.
type Problem struct {
	Line int    // where the object starts in the file, counted from one
	ID   string // "" if the object has none that can be read
	Err  error
	Raw  []byte // the value as it stands in the data
}

// Error returns the reason with the line and the id.
func (p Problem) Error() string {
	if p.ID == "" {
		return fmt.Sprintf("line %d: %v", p.Line, p.Err)
	}
	return fmt.Sprintf("line %d: %s: %v", p.Line, clip(p.ID), p.Err)
}

// Unwrap returns the reason, so that errors.Is finds its class.
func (p Problem) Unwrap() error { return p.Err }

// ParseBundle reads the objects of a bundle (STIX 8), of a JSON array of objects, or one
// object alone. An object that breaks the standard is set aside as a Problem and the rest
// is returned. The error is for what is no JSON at all, and says on which line.
//
// The whole of data stays referred to by the objects. There is no bound on its size here.
func ParseBundle(data []byte) (objects []*Object, problems []Problem, err error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := checkSyntax(data); err != nil {
		return nil, nil, fmt.Errorf("reading STIX: %w", err)
	}
	start, list, err := objectList(data)
	if errors.Is(err, errEmpty) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading STIX: %w", err)
	}
	line, counted := 1, 0
	var buf [24]member // on the stack, and enough for most
	members := buf[:0]
	// add reads the object at an offset, and returns the offset behind it.
	add := func(at int) int {
		line += bytes.Count(data[counted:at], []byte{'\n'})
		counted = at
		var end int
		if data[at] == '{' {
			members, end = walkMembers(members[:0], data, at, protocol.MaxObjectSize)
		} else {
			members, end = nil, skipValue(data, at)
		}
		raw := data[at:end:end]
		o, err := read(raw, members)
		if err != nil {
			problems = append(problems, Problem{Line: line, ID: idOf(raw), Err: err, Raw: raw})
			return end
		}
		o.Line = line
		objects = append(objects, o)
		return end
	}
	if list == nil {
		add(start)
		return objects, problems, nil
	}
	if list[0] != '[' {
		return nil, nil, fmt.Errorf("reading STIX bundle: property objects: %w", malformed("not a JSON array"))
	}
	for i := skipSpace(data, start+1); data[i] != ']'; i = skipSpace(data, i) {
		if data[i] == ',' {
			i = skipSpace(data, i+1)
		}
		i = add(i)
	}
	return objects, problems, nil
}

// errEmpty: a bundle without objects; it does not leave this package.
var errEmpty = errors.New("empty")

// objectList finds the array of objects in data and its offset; a nil list means that data
// from start on is one object.
func objectList(data []byte) (start int, list []byte, err error) {
	start = skipSpace(data, 0)
	if data[start] == '[' {
		return start, data[start:], nil
	}
	members, err := splitMembers(data[start:])
	if err != nil {
		return 0, nil, err
	}
	var typ string
	var objects member
	for _, m := range members {
		switch string(m.name) {
		case "type":
			typ, _ = text(m.value)
		case "objects":
			objects = m
		}
	}
	switch {
	case typ != "bundle" && (typ != "" || objects.value == nil):
		return start, nil, nil
	case objects.value == nil:
		return skipSpace(data, 0), nil, errEmpty // STIX 8.1: a bundle may be empty
	}
	return start + objects.offset, objects.value, nil
}

// idOf fishes the id out of an object that Parse refused.
func idOf(raw []byte) string {
	if !utf8.Valid(raw) || nesting(raw) > maxDepth {
		return ""
	}
	var o struct {
		ID any `json:"id"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return ""
	}
	id, _ := o.ID.(string)
	return id
}
