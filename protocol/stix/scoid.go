package stix

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// SCOID returns the identifier that an observable has by what it says (STIX 2.9): a UUID of version 5
// over the properties of its type that contribute to it, as JSON in the form of RFC 8785. raw is the
// object with or without an id. It returns "" if nothing contributes, as of a process: then the UUID
// is a random one. Errors are of the class ErrMalformed.
func SCOID(raw []byte) (string, error) {
	if err := checkText(raw, maxDepth); err != nil {
		return "", err
	}
	if err := checkSyntax(raw); err != nil {
		return "", err
	}
	members, err := splitMembers(raw)
	if err != nil {
		return "", err
	}
	if m := repeated(members); m >= 0 {
		return "", malformed("property %q occurs twice", clip(string(members[m].name)))
	}
	typ, _ := text(lookup(members, "type"))
	t := model().objects[typ]
	if t == nil || t.class != classSCO {
		return "", malformed("%q is not an observable of the standard, whose ids are made so", clip(typ))
	}
	id, _ := deterministic(t, members)
	return id, nil
}

// deterministic makes the identifier of an observable; ok is false if nothing contributes, or what
// does cannot be brought into canonical form.
func deterministic(t *typeModel, members []member) (id string, ok bool) {
	b := []byte{'{'}
	for _, name := range t.id {
		v := lookup(members, name)
		if v == nil || string(v) == "null" {
			continue
		}
		if name == "hashes" {
			if v = oneHash(v); v == nil {
				continue
			}
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = append(b, v...)
	}
	if len(b) == 1 {
		return "", false
	}
	b, err := Canonicalize(append(b, '}'))
	if err != nil {
		return "", false
	}
	return t.name + "--" + uuid.NewSHA1(scoNamespace, b).String(), true
}

// preferred are the hashes of which one contributes, the first that is there.
var preferred = []string{"MD5", "SHA-1", "SHA-256", "SHA-512"}

// oneHash returns a dictionary of hashes with the one that contributes to an identifier: of those that
// are preferred, or else the first by its name.
func oneHash(v json.RawMessage) json.RawMessage {
	if v[0] != '{' {
		return nil
	}
	members := appendAnyMembers(nil, v)
	if len(members) == 0 {
		return nil
	}
	rank := func(m member) int {
		if i := slices.Index(preferred, string(m.name)); i >= 0 {
			return i
		}
		return len(preferred)
	}
	best := slices.MinFunc(members, func(x, y member) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), slices.Compare(x.name, y.name))
	})
	b := append(appendString([]byte{'{'}, string(best.name)), ':')
	return append(append(b, best.value...), '}')
}

// Canonicalize returns a JSON value in the form of RFC 8785 (JCS): members sorted by the UTF-16 of
// their names, no white space, strings with the escapes that are needed, numbers as ECMAScript writes
// them. Errors are of the class ErrMalformed: for what is no JSON, not UTF-8, or has a name twice.
func Canonicalize(raw []byte) ([]byte, error) {
	v := slices.Clone(jsontext.Value(raw))
	if err := v.Canonicalize(); err != nil {
		return nil, malformed("no canonical JSON: %v", err)
	}
	return v, nil
}
