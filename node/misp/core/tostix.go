package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Prefix begins the names of custom properties that hold what MISP says.
const Prefix = "x_misp_"

// Custom types, as misp-stix names them.
const (
	TypeAttribute = "x-misp-attribute"
	TypeObject    = "x-misp-object"
	TypeCluster   = "x-misp-galaxy-cluster"
)

// Bounds that keep what is made of an event below protocol.MaxObjectSize.
const (
	maxReportRefs = 4096      // objects that one report refers to
	maxLabels     = 512       // labels of one object
	maxData       = 256 << 10 // bytes of an attachment, in base64
)

// epoch is the time of what states none, so that one event gives the same objects everywhere.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Made is an object made of an event.
type Made struct {
	Object   *stix.Object
	Handling protocol.Handling
	Line     int
	Value    string // its main observable, "" if it has none
}

// Converted is what an event became.
type Converted struct {
	Made     []Made
	Problems []Problem
	Notes    []string
	Deleted  []string // STIX ids of what is deleted in MISP: to be withdrawn, if it was published
}

// converting is one event on its way into STIX.
type converting struct {
	Converted
	event    *Event
	orgs     Orgs
	id       string // UUID of the event
	date, at time.Time
	handling protocol.Handling // of the event; what is in it may only narrow it
	org      string            // id of the identity that stands for the event's organisation
	refs     []string          // what the report refers to
	seen     map[string]bool   // ids of identities, clusters and observables made
	byUUID   map[string]string // ids by the UUIDs of MISP, for references
	ownOnly  int               // attributes whose distribution is "your organisation only"
	odd      int               // attributes that are not what their type says
}

// Convert turns an event into an identity (its organisation), an object for every attribute, MISP
// object, relation, cluster, sighting and report of it, and a STIX report that holds all together.
func Convert(e *Event, orgs Orgs) *Converted {
	c := &converting{event: e, orgs: orgs, id: e.UUID(), seen: map[string]bool{}, byUUID: map[string]string{}}
	c.date = epoch
	if t, err := time.Parse("2006-01-02", e.Fields.Text("date")); err == nil && t.Year() > 0 {
		c.date = t
	}
	c.at = e.Fields.Time("timestamp", c.date)
	h, notes, err := c.handlingOf(protocol.Handling{}, e.Fields, e.Tags)
	if err != nil {
		c.problem(e.Line, "event %s: %v; nothing of it is published", shown(e.Title()), err)
		for _, a := range e.All() {
			c.problem(a.Line, "%s %s: its event cannot be judged", a.Fields.Text("type"), shown(a.Fields.Text("value")))
		}
		return &c.Converted
	}
	c.handling = h
	c.Notes = append(c.Notes, notes...)
	if e.Fields.Text("distribution") == distOwn {
		c.note("event %s is marked \"your organisation only\" in MISP; think before you publish it", shown(e.Title()))
	}
	for _, what := range slices.Sorted(maps.Keys(e.Lost)) {
		c.note("event %s: %d of %s are not carried over", shown(e.Title()), e.Lost[what], shown(what))
	}
	c.identity()
	for _, a := range e.Attributes {
		c.attribute(a, nil, c.handling)
	}
	for _, o := range e.Objects {
		c.object(o)
	}
	for _, o := range e.Objects {
		c.references(o)
	}
	clusters := c.clusters(e.Galaxies, h, e.Line)
	for _, r := range e.Reports {
		c.eventReport(r)
	}
	if c.ownOnly > 0 {
		c.note("event %s: %d attributes are marked \"your organisation only\" in MISP", shown(e.Title()), c.ownOnly)
	}
	if c.odd > 0 {
		c.note("event %s: %d attributes are not what their type says; they are kept, and nothing searches for them", shown(e.Title()), c.odd)
	}
	c.report(clusters)
	return &c.Converted
}

func (c *converting) problem(line int, format string, args ...any) {
	c.Problems = append(c.Problems, Problem{line, fmt.Sprintf(format, args...)})
}

func (c *converting) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// handlingOf returns what the distribution and the tags of something say, within what it is part of.
func (c *converting) handlingOf(outer protocol.Handling, f Fields, tags []Fields) (h protocol.Handling, notes []string, err error) {
	if h, err = tagHandling(tags); err != nil {
		return h, nil, err
	}
	d, notes, err := distribution(f, c.orgs)
	if err != nil {
		return h, nil, err
	}
	h.Onward, h.Named = d.Onward, d.Named
	if h, err = narrow(outer, h); err != nil {
		return h, nil, err
	}
	h.Normalise()
	return h, notes, h.Validate()
}

// identity makes the organisation of the event (MISP "Orgc").
func (c *converting) identity() {
	c.org = c.organisation(c.event.Orgc, c.handling, c.event.Line)
}

func (c *converting) organisation(org Fields, h protocol.Handling, line int) string {
	name := org.Text("name")
	if name == "" {
		return ""
	}
	id := "identity--" + ownUUID(org.Text("uuid"), name)
	if !c.seen[id] {
		when := epoch.Format(stix.TimeFormat)
		o := newObject("identity", id)
		o.put("created", when).put("modified", when).put("name", name).put("identity_class", "organization")
		if !c.add(o, h, line, "") {
			return ""
		}
		c.seen[id] = true
	}
	return id
}

// add parses what was made, and keeps it; the report will refer to it.
func (c *converting) add(o *object, h protocol.Handling, line int, value string) bool {
	parsed, err := stix.Parse(o.bytes())
	if err != nil {
		c.problem(line, "%s on event %s: %v", o.typ, shown(c.event.Title()), err)
		return false
	}
	c.Made = append(c.Made, Made{parsed, h, line, value})
	c.refs = append(c.refs, parsed.ID)
	return true
}

// attribute makes the object of an attribute: an indicator of what MISP would alert on (to_ids) and a
// pattern can say, observed-data of what was seen and is observable, x-misp-attribute of the rest.
func (c *converting) attribute(a *Attribute, within *Object, outer protocol.Handling) {
	typ, value := a.Fields.Text("type"), a.Fields.Text("value")
	name := c.event.name() + "\x00" + typ + "\x00" + value
	uuid := ownUUID(a.Fields.Text("uuid"), name)
	found := a.observables()
	pattern, language := a.pattern(found)
	ids := a.Fields.True("to_ids")
	kind := TypeAttribute
	switch {
	case ids && pattern != "":
		kind = "indicator"
	case !ids && len(found) > 0:
		kind = "observed-data"
	}
	id := kind + "--" + uuid
	if a.Fields.True("deleted") || within != nil && within.Fields.True("deleted") {
		c.problem(a.Line, "%s %s is deleted in MISP; left out", typ, shown(value))
		for _, kind := range []string{"indicator", "observed-data", TypeAttribute} {
			c.Deleted = append(c.Deleted, kind+"--"+uuid)
		}
		return
	}
	h, notes, err := c.handlingOf(outer, a.Fields, a.Tags)
	if err != nil {
		c.problem(a.Line, "%s %s: %v", typ, shown(value), err)
		return
	}
	c.Notes = append(c.Notes, notes...)
	if a.Fields.Text("distribution") == distOwn {
		c.ownOnly++
	}
	if kind == TypeAttribute && (mispKinds[strings.ToLower(typ)] != nil && !strings.EqualFold(typ, "link") || strings.HasPrefix(typ, "filename|")) {
		c.odd++
	}
	at := a.Fields.Time("timestamp", c.at)
	markings := markingRefs(h)
	o := newObject(kind, id)
	o.put("created_by_ref", c.org).put("created", c.created(at)).put("modified", at.Format(stix.TimeFormat))
	main, skip := "", map[string]bool{"uuid": isUUID(a.Fields.Text("uuid"))}
	comment := a.Fields.Text("comment")
	switch kind {
	case "indicator":
		o.put("name", value).put("description", comment).put("indicator_types", []string{"malicious-activity"})
		o.put("pattern", pattern).put("pattern_type", language).put("valid_from", seen(a.Fields, "first_seen", at))
		skip["to_ids"], skip["value"], skip["comment"] = true, true, true
		if len(found) > 0 {
			main = found[len(found)-1].Value
		}
	case "observed-data":
		refs := c.observed(a, found, h)
		if refs == nil {
			return // with a problem
		}
		first, last := seen(a.Fields, "first_seen", at), seen(a.Fields, "last_seen", at)
		if last < first {
			last = first
		}
		o.put("first_observed", first).put("last_observed", last).put("number_observed", 1).put("object_refs", refs)
		skip["to_ids"] = true
	default:
		skip["to_ids"] = !ids
	}
	o.put("labels", c.assessed(labels(a.Tags), kind == "indicator")).put("object_marking_refs", markings)
	o.put(Prefix+"event_uuid", c.id)
	if within != nil {
		o.put(Prefix+"object_ref", c.byUUID["\x00"+fmt.Sprintf("%p", within)])
	}
	skip["timestamp"] = a.Fields.Text("timestamp") == fmt.Sprint(at.Unix())
	if data := a.Fields["data"]; len(data) > maxData {
		skip["data"] = true
		c.problem(a.Line, "%s %s: an attachment of %d bytes in base64, at most %d are carried; the attribute is, without it", typ, shown(value), len(data), maxData)
	}
	o.fields("Attribute", a.Fields, skip)
	o.put(Prefix+"tags", tagFields(a.Tags))
	if !c.add(o, h, a.Line, main) {
		return
	}
	c.byUUID[uuid] = id
	c.galaxyLinks(a, id, h, at)
	c.sightings(a, id, h)
}

// created returns when something came to be: STIX wants it to be the same in all versions, and MISP
// does not say it, so it is the event's date unless that is later.
func (c *converting) created(at time.Time) string {
	if c.date.Before(at) {
		at = c.date
	}
	return at.Format(stix.TimeFormat)
}

// seen reads first_seen or last_seen, which MISP writes as ISO 8601 with a zone.
func seen(f Fields, name string, fallback time.Time) string {
	if t, err := time.Parse(time.RFC3339Nano, f.Text(name)); err == nil && t.Year() > 0 && t.Year() < 10000 {
		return t.UTC().Format(stix.TimeFormat)
	}
	return fallback.Format(stix.TimeFormat)
}

// observed makes the objects that were seen, once each.
func (c *converting) observed(a *Attribute, found []stix.Observable, h protocol.Handling) (refs []string) {
	objects, err := observedObjects(found, markingRefs(h))
	if err != nil {
		c.problem(a.Line, "%s %s: %v", a.Fields.Text("type"), shown(a.Fields.Text("value")), err)
		return nil
	}
	for _, o := range objects {
		refs = append(refs, o.ID)
		key := string(o.Raw) // of another label it is another object
		if !c.seen[key] {
			c.seen[key] = true
			c.Made = append(c.Made, Made{Object: o, Handling: h, Line: a.Line})
			c.refs = append(c.refs, o.ID)
		}
	}
	return refs
}

func (c *converting) object(o *Object) {
	id := TypeObject + "--" + ownUUID(o.Fields.Text("uuid"), fmt.Sprintf("%s\x00object\x00%d", c.event.name(), o.Line))
	h, notes, err := c.handlingOf(c.handling, o.Fields, nil)
	name := o.Fields.Text("name")
	if err != nil {
		c.problem(o.Line, "object %s: %v", shown(name), err)
		for _, a := range o.Attributes {
			c.problem(a.Line, "%s %s: its object cannot be judged", a.Fields.Text("type"), shown(a.Fields.Text("value")))
		}
		return
	}
	c.Notes = append(c.Notes, notes...)
	if o.Fields.True("deleted") {
		c.Deleted = append(c.Deleted, id)
	} else {
		at := o.Fields.Time("timestamp", c.at)
		s := newObject(TypeObject, id)
		s.put("created_by_ref", c.org).put("created", c.created(at)).put("modified", at.Format(stix.TimeFormat))
		s.put("object_marking_refs", markingRefs(h)).put(Prefix+"event_uuid", c.id)
		s.fields("Object", o.Fields, map[string]bool{"uuid": isUUID(o.Fields.Text("uuid")), "timestamp": o.Fields.Text("timestamp") == fmt.Sprint(at.Unix())})
		if c.add(s, h, o.Line, "") {
			c.byUUID[id[len(TypeObject)+2:]] = id
			c.byUUID["\x00"+fmt.Sprintf("%p", o)] = id
		}
	}
	for _, a := range o.Attributes {
		c.attribute(a, o, h)
	}
}

// references makes the relations of an object. One to something that is not in the event is named.
func (c *converting) references(o *Object) {
	source := c.byUUID["\x00"+fmt.Sprintf("%p", o)]
	if source == "" {
		return
	}
	for _, r := range o.References {
		if r.True("deleted") {
			continue
		}
		target := c.byUUID[strings.ToLower(r.Text("referenced_uuid"))]
		verb := r.Text("relationship_type")
		if target == "" || verb == "" {
			c.problem(o.Line, "object %s: its relation %s to %s leads to nothing that is carried; left out", shown(o.Fields.Text("name")), shown(verb), shown(r.Text("referenced_uuid")))
			continue
		}
		h := c.handling
		for _, m := range c.Made { // a relation says that both its ends are there
			if m.Object.ID == source || m.Object.ID == target {
				var err error
				if h, err = narrow(h, m.Handling); err != nil {
					c.problem(o.Line, "object %s: relation %s: %v", shown(o.Fields.Text("name")), shown(verb), err)
					target = ""
					break
				}
			}
		}
		if target == "" {
			continue
		}
		h.Normalise()
		at := r.Time("timestamp", c.at)
		s := newObject("relationship", "relationship--"+ownUUID(r.Text("uuid"), source+"\x00"+verb+"\x00"+target))
		s.put("created_by_ref", c.org).put("created", c.created(at)).put("modified", at.Format(stix.TimeFormat))
		s.put("relationship_type", verb).put("description", r.Text("comment")).put("source_ref", source).put("target_ref", target)
		s.put("object_marking_refs", markingRefs(h)).put(Prefix+"event_uuid", c.id)
		s.fields("Reference", r, map[string]bool{"uuid": isUUID(r.Text("uuid")), "comment": true, "relationship_type": true,
			"timestamp": r.Text("timestamp") == fmt.Sprint(at.Unix()), "referenced_type": true, "object_uuid": true})
		c.add(s, h, o.Line, "")
	}
}

// eventReport makes a note of a text that belongs to the event.
func (c *converting) eventReport(r *Report) {
	uuid := ownUUID(r.Fields.Text("uuid"), c.event.name()+"\x00report\x00"+r.Fields.Text("name"))
	if r.Fields.True("deleted") {
		c.Deleted = append(c.Deleted, "note--"+uuid)
		return
	}
	h, notes, err := c.handlingOf(c.handling, r.Fields, r.Tags)
	if err != nil {
		c.problem(r.Line, "event report %s: %v", shown(r.Fields.Text("name")), err)
		return
	}
	c.Notes = append(c.Notes, notes...)
	at := r.Fields.Time("timestamp", c.at)
	content, skip := r.Fields.Text("content"), map[string]bool{"uuid": isUUID(r.Fields.Text("uuid")), "content": true, "name": true}
	if content == "" {
		content = "(empty)" // STIX wants one
		skip["content"] = false
	}
	s := newObject("note", "note--"+uuid)
	s.put("created_by_ref", c.org).put("created", c.created(at)).put("modified", at.Format(stix.TimeFormat))
	s.put("abstract", r.Fields.Text("name")).put("content", content).put("object_refs", []string{"report--" + c.id})
	s.put("labels", labels(r.Tags)).put("object_marking_refs", markingRefs(h)).put(Prefix+"event_uuid", c.id)
	skip["timestamp"] = r.Fields.Text("timestamp") == fmt.Sprint(at.Unix())
	s.fields("Report", r.Fields, skip)
	if _, said := r.Fields["content"]; !skip["content"] && said {
		s.put(Prefix+"empty", true)
	}
	s.put(Prefix+"tags", tagFields(r.Tags))
	c.add(s, h, r.Line, "")
}

// report writes the report on the event, in parts if it refers to very many objects.
func (c *converting) report(clusters []string) {
	e := c.event
	if len(c.refs) == 0 {
		c.problem(e.Line, "event %s holds nothing that can be carried and names no organisation (Orgc); nothing to refer to, left out", shown(e.Title()))
		return
	}
	name := e.Title()
	if name == "" {
		name = "MISP event without a title"
	}
	refs := unique(c.refs)
	parts := (len(refs) + maxReportRefs - 1) / maxReportRefs
	for part := range parts {
		id, title := "report--"+c.id, name
		if part > 0 {
			id, title = stix.NewID("report", fmt.Sprintf("misp\x00%s\x00%d", c.id, part)), fmt.Sprintf("%s (part %d of %d)", name, part+1, parts)
		}
		s := newObject("report", id)
		published := e.Fields.Time("publish_timestamp", c.at)
		s.put("created_by_ref", c.org).put("created", c.created(c.at)).put("modified", c.at.Format(stix.TimeFormat))
		s.put("name", title).put("published", published.Format(stix.TimeFormat)).put("object_refs", refs[part*maxReportRefs:min((part+1)*maxReportRefs, len(refs))])
		s.put("labels", labels(e.Tags)).put("object_marking_refs", markingRefs(c.handling)).put(Prefix+"event_uuid", c.id)
		if part == 0 {
			s.fields("Event", e.Fields, map[string]bool{"uuid": true, "info": title == e.Fields.Text("info"),
				"timestamp": e.Fields.Text("timestamp") == fmt.Sprint(c.at.Unix())})
			s.put(Prefix+"tags", tagFields(e.Tags)).put(Prefix+"galaxy_refs", clusters)
			if len(e.Orgc) > 0 {
				org := map[string]string{"name": e.Orgc.Text("name"), "uuid": e.Orgc.Text("uuid")}
				s.put(Prefix+"orgc", org)
			}
		} else {
			s.put(Prefix+"part", part+1)
		}
		c.add(s, c.handling, e.Line, "")
	}
}

// labels returns the tags other than those that say how to handle something.
func labels(tags []Fields) (list []string) {
	seen := map[string]bool{}
	for _, t := range tags {
		name := t.Text("name")
		if name != "" && len(name) <= 256 && !seen[name] && !isHandling(name) && len(list) < maxLabels {
			seen[name] = true
			list = append(list, name)
		}
	}
	return list
}

// assessed adds the event's tags that say how far it can be relied on to an indicator's that says
// nothing of the same kind: what is said of an event in MISP is said of all of it.
func (c *converting) assessed(own []string, indicator bool) []string {
	if !indicator {
		return own
	}
	said := map[string]bool{}
	for _, l := range own {
		said[stix.AssessmentTag(l)] = true
	}
	out := slices.Clone(own)
	for _, l := range labels(c.event.Tags) {
		if kind := stix.AssessmentTag(l); kind != "" && !said[kind] {
			out = append(out, l)
		}
	}
	return out
}

// tagFields returns tags as they are kept: without the numbers of a database, and without defaults.
func tagFields(tags []Fields) (list []Fields) {
	for _, t := range tags {
		if t.Text("name") != "" {
			list = append(list, kept("Tag", t))
		}
	}
	return list
}

// kept returns the properties of something that are carried: neither local nor defaults.
func kept(of string, f Fields) Fields {
	out := Fields{}
	for name, raw := range f {
		single := raw[0] != '[' && raw[0] != '{'
		if Local[name] || derived[name] || string(raw) == "null" || string(raw) == "[]" || string(raw) == "{}" || single && isDefault(of, name, f.Text(name)) {
			continue
		}
		out[name] = raw
	}
	return out
}

// object is a STIX object that is being written, its properties in the order in which they are put.
type object struct {
	typ string
	buf bytes.Buffer
}

func newObject(typ, id string) *object {
	o := &object{typ: typ}
	o.put("type", typ).put("spec_version", "2.1").put("id", id)
	return o
}

// put writes a property unless it is empty.
func (o *object) put(name string, v any) *object {
	switch v := v.(type) {
	case string:
		if v == "" {
			return o
		}
	case []string:
		if len(v) == 0 {
			return o
		}
	case []Fields:
		if len(v) == 0 {
			return o
		}
	}
	sep := byte(',')
	if o.buf.Len() == 0 {
		sep = '{'
	}
	o.buf.WriteByte(sep)
	o.buf.Write(encode(name))
	o.buf.WriteByte(':')
	o.buf.Write(encode(v))
	return o
}

// fields writes what is kept of something in MISP under the names of custom properties, sorted.
func (o *object) fields(of string, f Fields, skip map[string]bool) {
	all := kept(of, f)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if skip[name] || !isProperty(name) && name != "SharingGroup" && !slices.Contains(analyst, name) {
			continue
		}
		o.put(property(name), json.RawMessage(all[name]))
	}
}

// property returns the name of the custom property that holds one of MISP's.
func property(name string) string {
	if name == "meta-category" {
		return Prefix + "meta_category"
	}
	if name == "SharingGroup" {
		return Prefix + "sharing_group"
	}
	if slices.Contains(analyst, name) {
		return Prefix + "analyst_" + strings.ToLower(name)
	}
	return Prefix + name
}

func (o *object) bytes() []byte { return append(slices.Clone(o.buf.Bytes()), '}') }

func unique(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
