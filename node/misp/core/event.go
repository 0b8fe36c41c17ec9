package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// Fields are properties of something in MISP, as they were written. MISP writes a value as a string,
// a number or a boolean, depending on the version.
type Fields map[string]json.RawMessage

// Text returns a property that is a single value as text; "" if it is absent, null or something else.
func (f Fields) Text(name string) string {
	raw := f[name]
	if len(raw) == 0 || string(raw) == "null" || raw[0] == '{' || raw[0] == '[' {
		return ""
	}
	if raw[0] != '"' {
		return string(raw)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// True reports whether a property is true or 1.
func (f Fields) True(name string) bool { s := f.Text(name); return s == "true" || s == "1" }

// Time reads a Unix time in seconds; anything else is the fallback.
func (f Fields) Time(name string, fallback time.Time) time.Time {
	n, err := strconv.ParseInt(f.Text(name), 10, 64)
	if err != nil || n <= 0 || n > 253402300799 { // the end of the year 9999
		return fallback
	}
	return time.Unix(n, 0).UTC()
}

// list reads a property that is a list of objects.
func (f Fields) list(name string) (out []Fields, err error) {
	if raw := f[name]; len(raw) > 0 {
		if err = json.Unmarshal(raw, &out); err != nil {
			return nil, fmt.Errorf("property %s: %w", name, err)
		}
	}
	return slices.DeleteFunc(out, func(x Fields) bool { return x == nil }), nil
}

// object reads a property that is an object; nil if it is absent or something else.
func (f Fields) object(name string) (out Fields) {
	if raw := f[name]; len(raw) > 0 && raw[0] == '{' {
		_ = json.Unmarshal(raw, &out) // of JSON that was decoded: it is an object
	}
	return out
}

// Event is what an event holds ("Event" of the core format).
type Event struct {
	Line       int // where it begins in its file, counted from one
	Fields     Fields
	Orgc       Fields
	Tags       []Fields
	Galaxies   []Fields
	Attributes []*Attribute // those that belong to no object
	Objects    []*Object
	Reports    []*Report
	Lost       map[string]int // properties with content that are not carried, and how much of it
}

// Attribute is one of an event or of an object in it.
type Attribute struct {
	Line      int
	Fields    Fields
	Tags      []Fields
	Galaxies  []Fields
	Sightings []Fields
}

// Object is a MISP object: attributes that belong together.
type Object struct {
	Line       int
	Fields     Fields
	References []Fields
	Attributes []*Attribute
}

// Report is a text that belongs to an event ("EventReport").
type Report struct {
	Line   int
	Fields Fields
	Tags   []Fields
}

// analyst are the lists of analyst data (MISP 2.5), kept as they are.
var analyst = []string{"Note", "Opinion", "Relationship"}

// derived are properties that MISP computes when it writes an event: nothing is lost with them.
var derived = map[string]bool{"RelatedEvent": true, "RelatedAttribute": true, "Feed": true, "Server": true, "Org": true, "User": true,
	"ThreatLevel": true, "EventTag": true, "AttributeTag": true, "Warnings": true, "warnings": true, "SightingsInfo": true,
	"ObjectReference.Object": true, "ObjectReference.Attribute": true} // copies of what a relation leads to

// take parts what was decoded: single values and what is kept as it is stay in the result; lists
// that are read are left out of it; what is not carried is counted.
func (e *Event) take(all Fields, read ...string) (Fields, error) {
	out := Fields{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		raw := all[name]
		empty := string(raw) == "[]" || string(raw) == "{}" || string(raw) == "null"
		single := raw[0] != '[' && raw[0] != '{'
		switch {
		case slices.Contains(read, name), derived[name]:
		case slices.Contains(analyst, name) || name == "SharingGroup":
			if !empty {
				out[name] = raw
			}
		case isProperty(name) && single:
			out[name] = raw
		case isProperty(name) && (name == "type" || name == "value" || name == "uuid" || name == "name" || name == "info" || name == "content"):
			return nil, protocol.Errorf(protocol.ErrMalformed, "property %s: a list or an object where a single value is due", name)
		case !empty:
			e.lose(name, raw)
		}
	}
	return out, nil
}

// lose counts something that is not carried.
func (e *Event) lose(name string, raw json.RawMessage) {
	if len(name) > 64 {
		name = name[:64]
	}
	if e.Lost[name] == 0 && len(e.Lost) >= 64 {
		name = "other properties"
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		e.Lost[name] += len(list)
		return
	}
	e.Lost[name]++
}

// isProperty reports whether a name can be that of a single value: MISP's are of a-z, 0-9 and _,
// apart from one.
func isProperty(name string) bool {
	if name == "meta-category" {
		return true
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 64
}

func (e *Event) attribute(raw json.RawMessage, line int) (*Attribute, error) {
	var all Fields
	err := json.Unmarshal(raw, &all)
	if err != nil || all == nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "not an object")
	}
	a := &Attribute{Line: line}
	for name, list := range map[string]*[]Fields{"Tag": &a.Tags, "Galaxy": &a.Galaxies, "Sighting": &a.Sightings} {
		if *list, err = all.list(name); err != nil {
			return nil, err
		}
	}
	a.Fields, err = e.take(all, "Tag", "Galaxy", "Sighting")
	return a, err
}

func (e *Event) report(raw json.RawMessage, line int) (*Report, error) {
	var all Fields
	err := json.Unmarshal(raw, &all)
	if err != nil || all == nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "not an object")
	}
	r := &Report{Line: line}
	if r.Tags, err = all.list("Tag"); err != nil {
		return nil, err
	}
	r.Fields, err = e.take(all, "Tag")
	return r, err
}

// All returns the attributes of the event and of its objects.
func (e *Event) All() (list []*Attribute) {
	list = slices.Clone(e.Attributes)
	for _, o := range e.Objects {
		list = append(list, o.Attributes...)
	}
	return list
}

// UUID returns the event's UUID, made of its title and date if it has none.
func (e *Event) UUID() string { return ownUUID(e.Fields.Text("uuid"), e.name()) }

func (e *Event) name() string {
	return e.Fields.Text("uuid") + "\x00" + e.Fields.Text("info") + "\x00" + e.Fields.Text("date")
}

func (e *Event) empty() bool {
	return e.Fields.Text("uuid") == "" && e.Fields.Text("info") == "" && len(e.Attributes)+len(e.Objects)+len(e.Reports) == 0
}

// Title returns what the event calls itself.
func (e *Event) Title() string { return strings.TrimSpace(e.Fields.Text("info")) }
