package stix

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
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

	members []member
}

var (
	typePattern = regexp.MustCompile(`^[a-z0-9-]{3,250}$`) // STIX 3.1 and 11.2
	uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	timePattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`) // STIX 2.16
)

// Parse reads one STIX 2.1 object. White space around it is cut off; nothing else of it is
// touched. Errors are of the classes ErrMalformed and ErrOversize and say what is wrong.
func Parse(raw []byte) (*Object, error) {
	raw = bytes.Trim(raw, " \t\r\n")
	if len(raw) > protocol.MaxObjectSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "object has %d bytes, at most %d",
			len(raw), protocol.MaxObjectSize)
	}
	if err := checkJSON(raw, maxDepth); err != nil {
		return nil, err
	}
	members, err := splitMembers(raw)
	if err != nil {
		return nil, err
	}
	o := &Object{Raw: raw, members: members}
	for _, step := range []func() error{o.readIdentity, o.readRequired, o.readTimes, o.readRefs, o.readMarkings} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// property returns the value of a top-level property, nil if it is absent.
func (o *Object) property(name string) json.RawMessage {
	for _, m := range o.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// Text returns a top-level property that is a string, "" if it is absent or something else.
func (o *Object) Text(name string) string {
	s, _ := text(o.property(name))
	return s
}

// readIdentity reads type, id and spec_version (STIX 3.2).
func (o *Object) readIdentity() error {
	var ok bool
	if o.Type, ok = text(o.property("type")); !ok {
		return malformed("property type is missing or not a string")
	}
	if !typePattern.MatchString(o.Type) {
		return malformed("type %q must be 3 to 250 of a-z, 0-9 and '-'", clip(o.Type))
	}
	if o.Type == "bundle" {
		return malformed("a bundle inside a bundle; publish its objects")
	}
	if o.ID, ok = text(o.property("id")); !ok {
		return malformed("property id is missing or not a string")
	}
	if prefix, _, _ := strings.Cut(o.ID, "--"); !isID(o.ID) || prefix != o.Type {
		return malformed("id %q must be %s--UUID", clip(o.ID), o.Type)
	}
	version := o.property("spec_version")
	if version == nil && !needsVersion(o.Type) {
		return nil
	}
	if s, ok := text(version); !ok || s != "2.1" {
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
		if s := string(v); s == "null" || s == `""` || s == "[]" {
			return malformed("property %s of %s is empty", name, o.Type)
		}
	}
	for _, name := range refProperties[o.Type] {
		if s, ok := text(o.property(name)); !ok || !isID(s) {
			return malformed("property %s of %s must be the id of an object", name, o.Type)
		}
	}
	if o.Type == "indicator" {
		for _, name := range []string{"pattern", "pattern_type"} {
			if _, ok := text(o.property(name)); !ok {
				return malformed("property %s of indicator must be a string", name)
			}
		}
		if _, err := timestamp(o, "valid_from"); err != nil {
			return err
		}
	}
	return nil
}

// readTimes reads created, modified and revoked. Objects whose type does not require times
// (observables, custom types) may hold anything there; it is read if it is a timestamp.
func (o *Object) readTimes() (err error) {
	strict := needsVersion(o.Type)
	if o.Created, err = timestamp(o, "created"); err != nil && strict {
		return err
	}
	if o.Modified, err = timestamp(o, "modified"); err != nil && strict &&
		!(o.Type == "marking-definition" && o.property("modified") == nil) {
		return err
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

func timestamp(o *Object, name string) (time.Time, error) {
	v := o.property(name)
	if v == nil {
		return time.Time{}, malformed("%s lacks property %s", o.Type, name)
	}
	s, _ := text(v)
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !timePattern.MatchString(s) {
		return time.Time{}, malformed("property %s must be a time such as 2026-01-31T12:00:00.000Z", name)
	}
	return t, nil
}

// readRefs gathers what the object refers to. Custom properties may end in _ref and hold
// something else; only what has the form of an id counts.
func (o *Object) readRefs() error {
	for _, m := range o.members {
		var ids []string
		switch {
		case m.name == "object_marking_refs":
			continue
		case strings.HasSuffix(m.name, "_ref"):
			s, _ := text(m.value)
			ids = []string{s}
		case strings.HasSuffix(m.name, "_refs"):
			ids, _ = texts(m.value)
		}
		for _, id := range ids {
			if isID(id) {
				o.Refs = append(o.Refs, id)
			}
		}
	}
	return nil
}

// isID reports whether s has the form of an identifier (STIX 2.9).
func isID(s string) bool {
	prefix, id, ok := strings.Cut(s, "--")
	return ok && typePattern.MatchString(prefix) && uuidPattern.MatchString(id)
}

func malformed(format string, args ...any) error {
	return protocol.Errorf(protocol.ErrMalformed, format, args...)
}
