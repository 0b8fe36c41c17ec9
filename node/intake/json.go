package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// readJSON reads STIX or MISP, as b.Format says; anyJSON looks which it is.
func readJSON(b *builder, data []byte) error {
	if b.Format == anyJSON {
		b.Format = STIX
		if isMISP(data) {
			b.Format = MISP
		}
	}
	if b.Format == MISP {
		return readMISP(b, data)
	}
	return readSTIX(b, data)
}

// isMISP looks for the properties of a MISP event at the top of the first value. It looks at
// no more than the names there, so that a large bundle is not decoded twice.
func isMISP(data []byte) bool {
	s := newScanner(data)
	misp := false
	look := func(name string) error {
		switch name {
		case "Event", "response", "Attribute":
			misp = true
			return errStop
		case "type", "objects", "spec_version":
			return errStop
		}
		return s.skip()
	}
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("[")) {
		_ = s.array(func(int) error { return errors.Join(s.object(look), errStop) }) // undecided is STIX
	} else {
		_ = s.object(look)
	}
	return misp
}

// readSTIX reads a bundle. Every object becomes an item or a problem; the marking
// definitions among them say what the markings mean.
func readSTIX(b *builder, data []byte) error {
	objects, problems, err := stix.ParseBundle(data)
	if err != nil {
		return err
	}
	for _, p := range problems {
		if p.ID != "" {
			b.problem(p.Line, "%s: %v", shown(p.ID), p.Err)
		} else {
			b.problem(p.Line, "%v", p.Err)
		}
	}
	markings := stix.NewMarkings(objects)
	notes := map[string]int{}
	b.expect(len(objects))
	for _, o := range objects {
		if found := stix.Validate(o, b.validation); len(found) > 0 {
			b.problem(found[0].Line, "%s: %s", o.ID, violations(found))
			continue
		}
		h, said, err := markings.Handling(o)
		if err != nil {
			b.problem(o.Line, "%s: %v", o.ID, err)
			continue
		}
		for _, n := range said {
			notes[n]++
		}
		b.add(Item{Object: o, Handling: h, Line: o.Line})
	}
	slices.SortStableFunc(b.Problems, func(x, y Problem) int { return x.Line - y.Line })
	for _, n := range slices.Sorted(maps.Keys(notes)) {
		b.note("%d objects are %s", notes[n], n)
	}
	return nil
}

// violations says what of the standard an object breaks: the first few sentences.
func violations(list []stix.Violation) string {
	const most = 3
	var out []string
	for i, v := range list {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more; 'entente validate' lists them", len(list)-most))
			break
		}
		out = append(out, v.Error())
	}
	return strings.Join(out, "; ")
}

// errStop ends a walk early; it does not leave this package.
var errStop = errors.New("stop")

// scanner walks JSON and knows the line of what it comes by.
type scanner struct {
	data    []byte
	dec     *json.Decoder
	line    int
	counted int
}

func newScanner(data []byte) *scanner {
	return &scanner{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
}

// at returns the line on which the next value begins. Calls must go forward.
func (s *scanner) at() int {
	i := int(s.dec.InputOffset())
	for i < len(s.data) && bytes.IndexByte([]byte(" \t\r\n,:"), s.data[i]) >= 0 {
		i++
	}
	if i > s.counted {
		s.line += bytes.Count(s.data[s.counted:i], []byte{'\n'})
		s.counted = i
	}
	return s.line
}

func (s *scanner) open(want json.Delim) error {
	t, err := s.dec.Token()
	if err != nil {
		return s.wrap(err)
	}
	if t != want {
		return protocol.Errorf(protocol.ErrMalformed, "line %d: %v where %q is due", s.at(), t, want.String())
	}
	return nil
}

// object calls fn with the name of each property; fn must consume the value.
func (s *scanner) object(fn func(name string) error) error {
	if err := s.open('{'); err != nil {
		return err
	}
	for s.dec.More() {
		t, err := s.dec.Token()
		if err != nil {
			return s.wrap(err)
		}
		name, _ := t.(string)
		if err := fn(name); err != nil {
			return err
		}
	}
	_, err := s.dec.Token()
	return s.wrap(err)
}

// array calls fn with the line of each element; fn must consume it.
func (s *scanner) array(fn func(line int) error) error {
	if err := s.open('['); err != nil {
		return err
	}
	for s.dec.More() {
		if err := fn(s.at()); err != nil {
			return err
		}
	}
	_, err := s.dec.Token()
	return s.wrap(err)
}

// value decodes the next value into v.
func (s *scanner) value(v any) error { return s.wrap(s.dec.Decode(v)) }

func (s *scanner) skip() error {
	var raw json.RawMessage
	return s.value(&raw)
}

func (s *scanner) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("line %d: %w", s.at(), protocol.Errorf(protocol.ErrMalformed, "not the JSON expected: %v", err))
}
