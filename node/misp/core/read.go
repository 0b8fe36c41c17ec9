package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/entente-mesh/entente/protocol"
)

// Problem is something that could not be read, or must not be shared.
type Problem struct {
	Line int // counted from one
	Text string
}

// Is looks for the properties of a MISP event at the top of the first value of JSON. It looks at no
// more than the names there, so that a large file is not decoded twice.
func Is(data []byte) bool {
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

// Read reads one event or several, in any of the forms that MISP exports: {"Event":…},
// {"response":…}, a bare event, an array of these. each is called for every event, problem for what
// is no event or no part of one. The error is for broken JSON.
func Read(data []byte, each func(*Event), problem func(Problem)) error {
	r := &reader{s: newScanner(data), each: each, problem: problem}
	read := r.top
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("[")) {
		read = func() error { return r.s.array(r.wrapped) }
	}
	if err := read(); err != nil {
		return err
	}
	if _, err := r.s.dec.Token(); !errors.Is(err, io.EOF) {
		return protocol.Errorf(protocol.ErrMalformed, "line %d: something follows the end of the JSON", r.s.at())
	}
	return nil
}

type reader struct {
	s       *scanner
	each    func(*Event)
	problem func(Problem)
	within  int // how many times "Event" was entered
}

func newEvent(line int) *Event { return &Event{Line: line, Fields: Fields{}, Lost: map[string]int{}} }

// top reads {"response":…}, {"Event":…} or a bare event.
func (r *reader) top() error {
	e := newEvent(r.s.at())
	err := r.s.object(func(name string) error {
		if name != "response" {
			return r.property(e, name)
		}
		r.s.at()
		if rest := bytes.TrimLeft(r.s.data[r.s.dec.InputOffset():], " \t\r\n:"); len(rest) > 0 && rest[0] == '{' {
			return r.wrapped(r.s.at())
		}
		return r.s.array(r.wrapped)
	})
	if err == nil && !e.empty() {
		r.each(e)
	}
	return err
}

// wrapped reads {"Event":{…}} or a bare event.
func (r *reader) wrapped(line int) error {
	e := newEvent(line)
	if err := r.s.object(func(name string) error { return r.property(e, name) }); err != nil {
		return err
	}
	if e.empty() {
		r.problem(Problem{line, "neither an event nor the wrapping of one"})
		return nil
	}
	r.each(e)
	return nil
}

// property reads one property of an event. "Event" inside is the wrapping: its properties are the
// event's.
func (r *reader) property(e *Event, name string) error {
	switch name {
	case "Event":
		if r.within > 0 {
			return protocol.Errorf(protocol.ErrMalformed, "line %d: an event within an event", r.s.at())
		}
		r.within++
		defer func() { r.within-- }()
		e.Line = r.s.at()
		return r.s.object(func(name string) error { return r.property(e, name) })
	case "Attribute":
		return r.s.array(func(line int) error {
			a, err := part(r, line, "attribute", e.attribute)
			if a != nil {
				e.Attributes = append(e.Attributes, a)
			}
			return err
		})
	case "Object":
		return r.s.array(func(line int) error { return r.mispObject(e, line) })
	case "EventReport":
		return r.s.array(func(line int) error {
			x, err := part(r, line, "event report", e.report)
			if x != nil {
				e.Reports = append(e.Reports, x)
			}
			return err
		})
	}
	line := r.s.at()
	var raw json.RawMessage
	if err := r.s.value(&raw); err != nil {
		return err
	}
	switch name {
	case "Tag":
		return r.lists(line, "tags", raw, &e.Tags)
	case "Galaxy":
		return r.lists(line, "galaxies", raw, &e.Galaxies)
	case "Orgc":
		if err := json.Unmarshal(raw, &e.Orgc); err != nil {
			r.problem(Problem{line, fmt.Sprintf("reading Orgc: %v", err)})
		}
		return nil
	}
	got, err := e.take(Fields{name: raw})
	if err != nil {
		r.problem(Problem{line, fmt.Sprintf("reading %v", err)})
		return nil
	}
	for k, v := range got {
		e.Fields[k] = v
	}
	return nil
}

func (r *reader) lists(line int, what string, raw json.RawMessage, to *[]Fields) error {
	list, err := Fields{"": raw}.list("")
	if err != nil {
		r.problem(Problem{line, fmt.Sprintf("reading %s: %v", what, err)})
		return nil
	}
	*to = append(*to, list...)
	return nil
}

// mispObject reads a MISP object, whose attributes have lines of their own.
func (r *reader) mispObject(e *Event, line int) error {
	o := &Object{Line: line}
	all := Fields{}
	err := r.s.object(func(name string) error {
		if name == "Attribute" {
			return r.s.array(func(line int) error {
				a, err := part(r, line, "attribute", e.attribute)
				if a != nil {
					o.Attributes = append(o.Attributes, a)
				}
				return err
			})
		}
		var raw json.RawMessage
		err := r.s.value(&raw)
		all[name] = raw
		return err
	})
	if err != nil {
		return err
	}
	if o.References, err = all.list("ObjectReference"); err != nil {
		r.problem(Problem{line, fmt.Sprintf("reading object: %v", err)})
	}
	if o.Fields, err = e.take(all, "ObjectReference"); err != nil {
		r.problem(Problem{line, fmt.Sprintf("reading object: %v", err)})
		o.Fields = Fields{}
	}
	e.Objects = append(e.Objects, o)
	return nil
}

// part reads the next value. One of the wrong form is a problem; the error is for broken JSON.
func part[T any](r *reader, line int, what string, read func(json.RawMessage, int) (*T, error)) (*T, error) {
	var raw json.RawMessage
	if err := r.s.value(&raw); err != nil {
		return nil, err
	}
	x, err := read(raw, line)
	if err != nil {
		r.problem(Problem{line, fmt.Sprintf("reading %s: %v", what, err)})
		return nil, nil
	}
	return x, nil
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

// object calls fn with the name of each property; fn must consume the value.
func (s *scanner) object(fn func(name string) error) error {
	t, err := s.dec.Token()
	switch {
	case err != nil:
		return s.wrap(err)
	case t != json.Delim('{'):
		return protocol.Errorf(protocol.ErrMalformed, "line %d: %v where an object is due", s.at(), t)
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
	_, err = s.dec.Token()
	return s.wrap(err)
}

// array calls fn with the line of each element; fn must consume it. Null is a list of nothing.
func (s *scanner) array(fn func(line int) error) error {
	t, err := s.dec.Token()
	switch {
	case err != nil:
		return s.wrap(err)
	case t == nil:
		return nil
	case t != json.Delim('['):
		return protocol.Errorf(protocol.ErrMalformed, "line %d: %v where a list is due", s.at(), t)
	}
	for s.dec.More() {
		if err := fn(s.at()); err != nil {
			return err
		}
	}
	_, err = s.dec.Token()
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
