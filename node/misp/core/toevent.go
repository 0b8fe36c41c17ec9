package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Org is an organisation as MISP names one.
type Org struct{ Name, UUID string }

// Source is a record of which an event is built.
type Source struct {
	Record  protocol.RecordID
	Object  *stix.Object
	Marks   Marks
	Org     Org       // of its originator
	Deleted bool      // withdrawn, revoked, or replaced by a newer version
	Reason  string    // of the withdrawal
	At      time.Time // when that, or its coming, was
}

// Building says how an event is built.
type Building struct {
	UUID string
	Info string // its title and date, if no record says them
	Date time.Time
	Org  Org       // of its originator
	At   time.Time // the latest that happened to it; zero: as the sources say
	// Before, if not zero, is the beginning of the second that is not over: the timestamp, which MISP has
	// in seconds, is less, so that whoever pulls within that second pulls what still comes in it as well.
	Before time.Time
	// Find returns a cluster by its id, nil if there is none to be shown; it may be nil.
	Find func(id string) *stix.Object
	// Grown is for events that others pull: published, with a timestamp that grows with everything
	// that happens, and with a tag that says whose it is. Else an event is as its source has it.
	Grown bool
}

// building is an event on its way out of STIX.
type building struct {
	Building
	event      map[string]any
	marks      Marks
	attributes []map[string]any // of the event itself
	objects    []map[string]any
	byID       map[string]map[string]any // attributes and objects by STIX id
	links      map[string][]string       // clusters, by the STIX id of the attribute that is marked with them
	lost       map[string]int            // types of objects that have no place in an event
	at         time.Time                 // the latest that happened
	live       int                       // attributes that are not deleted
}

// Build makes an event of the records that belong to it, in the order in which they came. The notes
// name what of them has no place in MISP. It is nil if nothing of it would be left.
func Build(how Building, sources []Source) (event map[string]any, notes []string) {
	b := &building{Building: how, byID: map[string]map[string]any{}, links: map[string][]string{}, lost: map[string]int{}}
	report := b.report(sources)
	if !how.At.IsZero() {
		b.at = how.At
	}
	b.head(report)
	for i := range sources {
		if sources[i].Object.Type == TypeObject {
			b.object(&sources[i])
		}
	}
	for i := range sources {
		b.source(&sources[i])
	}
	for i := range sources {
		b.link(&sources[i])
	}
	reports := b.eventReports(sources)
	if len(b.attributes)+len(b.objects)+len(reports) == 0 && (b.Grown || report == nil) {
		return nil, b.notes()
	}
	if b.Grown && b.live == 0 && len(reports) == 0 {
		b.gone()
	}
	b.event["Attribute"] = orEmpty(b.attributes)
	b.event["Object"] = orEmpty(b.objects)
	b.event["EventReport"] = orEmpty(reports)
	b.event["Galaxy"] = orEmpty(b.galaxies(refsOf(report, Prefix+"galaxy_refs")))
	b.event["attribute_count"] = strconv.Itoa(b.live)
	if b.Grown {
		b.grow()
	}
	return b.event, b.notes()
}

func orEmpty(list []map[string]any) []map[string]any {
	if list == nil {
		return []map[string]any{}
	}
	return list
}

func (b *building) notes() (list []string) {
	for _, typ := range slices.Sorted(maps.Keys(b.lost)) {
		list = append(list, fmt.Sprintf("%d objects of the type %s have no place in an event of MISP", b.lost[typ], typ))
	}
	return list
}

// report returns the properties of the newest report on the event, and gathers what it bounds.
func (b *building) report(sources []Source) (fields Fields) {
	id := "report--" + b.UUID
	for i := range sources {
		s := &sources[i]
		if s.At.After(b.at) {
			b.at = s.At
		}
		if s.Object.ID == id && !s.Deleted {
			fields, b.marks = properties(s.Object), s.Marks
		}
	}
	if fields != nil {
		return fields
	}
	var all []Marks
	for i := range sources {
		all = append(all, sources[i].Marks)
	}
	b.marks = Strictest(all)
	return nil
}

// Strictest is how an event is marked of which no record speaks for the whole.
func Strictest(list []Marks) (m Marks) {
	for i := range list {
		x := &list[i]
		m.TLP, m.PAP, m.Named = max(m.TLP, x.TLP), max(m.PAP, x.PAP), max(m.Named, x.Named)
		if i == 0 || rank(x.Onward) < rank(m.Onward) {
			m.Onward = x.Onward
		}
	}
	return m
}

// rank orders the rules by how many may have what is passed on.
func rank(o protocol.OnwardRule) int {
	switch o {
	case protocol.OnwardNobody:
		return 0
	case protocol.OnwardPartners:
		return 2
	}
	return 1
}

// Head makes what an event says of itself, without what is in it, as Build does: of the report on it,
// nil if there is none to be shown, with the marks of that report or the strictest of what is in it.
func Head(how Building, report *stix.Object, marks Marks) map[string]any {
	b := &building{Building: how, marks: marks, at: how.At}
	var f Fields
	if report != nil {
		f = properties(report)
	}
	b.head(f)
	if b.Grown {
		b.grow()
	}
	return b.event
}

// properties decodes an object's properties.
func properties(o *stix.Object) (f Fields) {
	if json.Unmarshal(o.Raw, &f) != nil {
		return Fields{}
	}
	return f
}

// refsOf reads a list of ids.
func refsOf(f Fields, name string) (ids []string) {
	_ = json.Unmarshal(f[name], &ids) // of another form: none
	return ids
}

// said returns what an object's custom properties say of something in MISP. Objects come from anybody:
// only single values are taken, and neither numbers of a database nor what is decided here.
func said(f Fields) map[string]any {
	out := map[string]any{}
	for name, raw := range f {
		name, ok := strings.CutPrefix(name, Prefix)
		if !ok || Local[name] || len(raw) == 0 || raw[0] == '{' || raw[0] == '[' {
			continue
		}
		switch name {
		case "distribution", "deleted", "event_uuid", "object_ref", "tags", "part", "empty", "galaxy_link", "galaxy_type", "part_of", "uuid":
			continue
		case "meta_category":
			name = "meta-category"
		}
		out[name] = raw
	}
	for _, name := range analyst {
		if raw := f[property(name)]; len(raw) > 0 && raw[0] == '[' {
			out[name] = raw
		}
	}
	return out
}

func (b *building) head(report Fields) {
	e := said(report)
	b.event = e
	delete(e, "orgc")
	org := b.Org
	if o := report.object(Prefix + "orgc"); o.Text("name") != "" {
		org = Org{o.Text("name"), o.Text("uuid")}
	}
	e["uuid"], e["Orgc"] = b.UUID, org.fields()
	set(e, "info", orElse(report.Text("name"), b.Info))
	if b.Date.Year() > 1 {
		set(e, "date", b.Date.UTC().Format("2006-01-02"))
	}
	for name, def := range map[string]string{"threat_level_id": "4", "analysis": "2", "extends_uuid": ""} {
		set(e, name, def)
	}
	set(e, "published", false)
	at := b.at
	if t, err := time.Parse(time.RFC3339Nano, report.Text("modified")); err == nil {
		at = t
		set(e, "publish_timestamp", "0")
	}
	set(e, "timestamp", seconds(at))
	distribution := cmpOr(report.Text(Prefix+"distribution"), distAll)
	b.distribute(e, report, distribution, &b.marks, "")
	tags := b.tags(report, &b.marks, nil)
	if b.Grown && b.Org.Name != "" {
		tags = append(tags, map[string]any{"name": tagSpace + tagOriginator + `="` + strings.ReplaceAll(b.Org.Name, `"`, "'") + `"`})
	}
	e["Tag"] = orEmpty(tags)
}

func cmpOr(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

func orElse(s, otherwise string) string { return cmpOr(strings.TrimSpace(s), otherwise) }

// fields writes an organisation as MISP does; it must have a UUID.
func (o Org) fields() map[string]any { return map[string]any{"name": o.Name, "uuid": o.UUID} }

// set sets a property that is not there.
func set(m map[string]any, name string, v any) {
	if _, ok := m[name]; !ok {
		m[name] = v
	}
}

func seconds(t time.Time) string { return strconv.FormatInt(max(t.Unix(), 0), 10) }

// distribute says to whom MISP may give it: as its source says, and no further than its handling lets.
// within is the distribution of what holds it, "" if nothing does.
func (b *building) distribute(to map[string]any, f Fields, stated string, m *Marks, within string) {
	limit := m.distribution()
	if stated == distGroup {
		group := f.object(Prefix + "sharing_group")
		if members, err := group.list("SharingGroupOrg"); err == nil && m.Named > 0 && m.Named == len(members) {
			to["distribution"], to["SharingGroup"] = distGroup, f[Prefix+"sharing_group"]
			return
		}
		stated = distOwn
	}
	switch {
	case stated == distInherit && within == "", !slices.Contains([]string{distOwn, distCommunity, distConnected, distAll, distInherit}, stated):
		stated = limit
	case stated == distInherit && (within == distGroup || limit >= within):
	case stated == distInherit:
		stated = limit
	default:
		stated = min(stated, limit)
	}
	to["distribution"] = stated
}

// tags returns the tags of something: as its source has them, with those of its handling as it is. outer
// is what holds it, whose handling need not be repeated.
func (b *building) tags(f Fields, m *Marks, outer *Marks) (list []map[string]any) {
	var kept []Fields
	_ = json.Unmarshal(f[Prefix+"tags"], &kept) // of another form: none
	if kept == nil && f[Prefix+"event_uuid"] == nil {
		var names []string
		_ = json.Unmarshal(f["labels"], &names)
		for _, n := range names {
			kept = append(kept, Fields{"name": encode(n)})
		}
	}
	due := m.tags()
	for _, t := range kept {
		name := t.Text("name")
		if name == "" {
			continue
		}
		if isHandling(name) {
			i := slices.IndexFunc(due, func(d string) bool { return sameMark(d, name) })
			if i < 0 {
				continue // it was narrowed since
			}
			due = slices.Delete(due, i, i+1)
		}
		tag := map[string]any{}
		for k, raw := range t {
			if !Local[k] && raw[0] != '{' && raw[0] != '[' {
				tag[k] = raw
			}
		}
		list = append(list, tag)
	}
	var above []string
	if outer != nil {
		above = outer.tags()
	}
	for _, d := range due {
		if !slices.Contains(above, d) {
			list = append(list, map[string]any{"name": d})
		}
	}
	return list
}

// sameMark reports whether two tags say the same handling.
func sameMark(a, b string) bool {
	tlp, pap, ok, err := stix.ReadLabel(a)
	tlp2, pap2, ok2, err2 := stix.ReadLabel(strings.Trim(b, `"`))
	if ok || ok2 {
		return ok && ok2 && err == nil && err2 == nil && tlp == tlp2 && pap == pap2
	}
	n, v, _ := machineTag(a)
	n2, v2, ok := machineTag(b)
	return ok && n == n2 && strings.EqualFold(v, v2)
}

func uuidOf(id string) string {
	_, s, _ := strings.Cut(id, "--")
	return strings.ToLower(s)
}

// object begins a MISP object.
func (b *building) object(s *Source) {
	f := properties(s.Object)
	o := said(f)
	o["uuid"], o["deleted"] = uuidOf(s.Object.ID), s.Deleted
	set(o, "name", "unnamed")
	set(o, "comment", "")
	b.stamp(o, f, s)
	event, _ := b.event["distribution"].(string)
	b.distribute(o, f, cmpOr(f.Text(Prefix+"distribution"), distInherit), &s.Marks, event)
	o["Attribute"], o["ObjectReference"] = []map[string]any{}, []map[string]any{}
	b.byID[s.Object.ID] = o
	b.objects = append(b.objects, o)
}

// stamp sets the time of something; of what was deleted it is when that was, for MISP takes only what
// is newer.
func (b *building) stamp(to map[string]any, f Fields, s *Source) {
	at := s.At
	if t, err := time.Parse(time.RFC3339Nano, f.Text("modified")); err == nil {
		at = t
	}
	if s.Deleted && s.At.After(at) {
		to["timestamp"] = seconds(s.At)
		return
	}
	set(to, "timestamp", seconds(at))
}

// source turns a record into attributes.
func (b *building) source(s *Source) {
	f := properties(s.Object)
	switch s.Object.Type {
	case "indicator", "observed-data", TypeAttribute:
		if f.Text(Prefix+"type") != "" {
			b.attribute(s, f)
			return
		}
	case TypeObject, "marking-definition", "identity", "extension-definition", TypeCluster:
		return
	case "sighting", "opinion":
		return // read elsewhere
	case "report", "note", "relationship":
		if f[Prefix+"event_uuid"] != nil {
			return // the same
		}
	}
	if IsPart(s.Object) {
		return
	}
	b.generic(s, f)
}

func (b *building) attribute(s *Source, f Fields) {
	a := said(f)
	a["uuid"] = uuidOf(s.Object.ID)
	ids := s.Object.Type == "indicator"
	if ids {
		set(a, "value", f.Text("name"))
		set(a, "comment", f.Text("description"))
	}
	set(a, "to_ids", ids)
	set(a, "category", "Other")
	for _, name := range []string{"comment", "value"} {
		set(a, name, "")
	}
	set(a, "disable_correlation", false)
	b.finish(a, f, s, f.Text(Prefix+"object_ref"))
}

// finish sets what all attributes have, and puts an attribute where it belongs.
func (b *building) finish(a map[string]any, f Fields, s *Source, objectRef string) {
	a["deleted"] = s.Deleted
	b.stamp(a, f, s)
	event, _ := b.event["distribution"].(string)
	within := event
	holder := b.byID[objectRef]
	if holder != nil {
		if d, _ := holder["distribution"].(string); d != distInherit {
			within = d
		}
	}
	b.distribute(a, f, cmpOr(f.Text(Prefix+"distribution"), distInherit), &s.Marks, within)
	if tags := b.tags(f, &s.Marks, &b.marks); len(tags) > 0 {
		a["Tag"] = tags
	}
	if !s.Deleted {
		b.live++
	}
	b.byID[s.Object.ID] = a
	if holder == nil {
		delete(a, "object_relation")
		b.attributes = append(b.attributes, a)
		return
	}
	list, _ := holder["Attribute"].([]map[string]any)
	holder["Attribute"] = append(list, a)
}

// namespace is of the UUIDs of what has none in MISP.
var namespace = uuid.MustParse("8d1ff0f6-3f0c-5a0e-9b3c-0f6f1d6b2c11")

// NewUUID returns a UUID that is made of a name: the same everywhere.
func NewUUID(name string) string { return uuid.NewSHA1(namespace, []byte(name)).String() }

// attributeTypes are the types and categories of attributes for what is observed.
var attributeTypes = map[stix.Kind][2]string{
	stix.IPv4: {"ip-dst", "Network activity"}, stix.IPv6: {"ip-dst", "Network activity"},
	stix.IPv4CIDR: {"ip-dst", "Network activity"}, stix.IPv6CIDR: {"ip-dst", "Network activity"},
	stix.IPv4Port: {"ip-dst|port", "Network activity"}, stix.IPv6Port: {"ip-dst|port", "Network activity"},
	stix.DomainPort: {"hostname|port", "Network activity"}, stix.Domain: {"domain", "Network activity"},
	stix.URL: {"url", "Network activity"}, stix.Email: {"email-src", "Payload delivery"}, stix.Filename: {"filename", "Payload delivery"},
	stix.MD5: {"md5", "Payload delivery"}, stix.SHA1: {"sha1", "Payload delivery"}, stix.SHA256: {"sha256", "Payload delivery"},
	stix.SHA512: {"sha512", "Payload delivery"},
}

// nameTypes are the types and categories of attributes for what has a name and is not observed.
var nameTypes = map[string][2]string{
	"vulnerability": {"vulnerability", "External analysis"}, "threat-actor": {"threat-actor", "Attribution"},
	"intrusion-set": {"threat-actor", "Attribution"}, "campaign": {"campaign-name", "Attribution"},
}

// generic makes the attributes of a record that did not come from MISP.
func (b *building) generic(s *Source, f Fields) {
	found := stix.Observables(s.Object)
	var list []stix.Observable
	for _, o := range found {
		// The host of a URL or a socket is there for searching.
		if !slices.ContainsFunc(found, func(p stix.Observable) bool { h, ok := p.Host(); return ok && h == o && p != o }) {
			list = append(list, o)
		}
	}
	indicator := s.Object.Type == "indicator"
	put := func(typ, category, value string, ids bool) {
		a := map[string]any{"uuid": NewUUID("attribute\x00" + s.Record.String() + "\x00" + typ + "\x00" + value), "type": typ, "category": category, "value": value,
			"to_ids": ids, "comment": orElse(f.Text("description"), ""), "disable_correlation": false}
		if len(value) == 0 {
			return
		}
		b.finish(a, f, s, "")
	}
	// A pattern that asks for several things at once says nothing of each of them alone.
	alone := indicator && len(list) == 1
	for _, o := range list {
		t := attributeTypes[o.Kind]
		value := o.Value
		if strings.HasSuffix(t[0], "|port") {
			if i := strings.LastIndexByte(value, ':'); i > 0 {
				value = strings.Trim(value[:i], "[]") + "|" + value[i+1:]
			}
		}
		put(t[0], t[1], value, alone)
	}
	if indicator && !alone {
		typ := map[string]string{"stix": "stix2-pattern", "yara": "yara", "snort": "snort", "suricata": "snort", "sigma": "sigma"}[f.Text("pattern_type")]
		if typ == "" { // a language that MISP has no type for
			put("text", "Other", f.Text("pattern_type")+": "+f.Text("pattern"), false)
			return
		}
		put(typ, "Payload delivery", f.Text("pattern"), true)
		return
	}
	if len(list) > 0 {
		return
	}
	name := orElse(f.Text("name"), f.Text("abstract"))
	if s.Object.Type == "note" && f.Text("content") != "" {
		name = orElse(name, f.Text("content"))
	}
	if name == "" {
		b.lost[s.Object.Type]++
		return
	}
	t, ok := nameTypes[s.Object.Type]
	if !ok {
		t, name = [2]string{"text", "Other"}, s.Object.Type+": "+name
	}
	put(t[0], t[1], name, false)
}

// link adds relations, links to galaxies and sightings to what they are of.
func (b *building) link(s *Source) {
	f := properties(s.Object)
	switch s.Object.Type {
	case "relationship":
		holder := b.byID[f.Text("source_ref")]
		if holder == nil || f[Prefix+"event_uuid"] == nil {
			return
		}
		if f.True(Prefix + "galaxy_link") {
			if !s.Deleted {
				source := f.Text("source_ref")
				b.links[source] = append(b.links[source], f.Text("target_ref"))
				holder["Galaxy"] = b.galaxies(b.links[source])
			}
			return
		}
		list, ok := holder["ObjectReference"].([]map[string]any)
		if !ok {
			return
		}
		r := said(f)
		r["uuid"], r["referenced_uuid"], r["relationship_type"] = uuidOf(s.Object.ID), uuidOf(f.Text("target_ref")), f.Text("relationship_type")
		r["comment"], r["object_uuid"], r["deleted"] = f.Text("description"), holder["uuid"], s.Deleted
		r["referenced_type"] = "0"
		if strings.HasPrefix(f.Text("target_ref"), TypeObject+"--") {
			r["referenced_type"] = "1"
		}
		b.stamp(r, f, s)
		holder["ObjectReference"] = append(list, r)
	case "sighting", "opinion":
		b.sighting(s, f)
	}
}

func (b *building) sighting(s *Source, f Fields) {
	of := f.Text("sighting_of_ref")
	if refs := refsOf(f, "object_refs"); s.Object.Type == "opinion" && len(refs) > 0 {
		of = refs[0]
	}
	holder := b.byID[of]
	if holder == nil || s.Deleted || holder["Attribute"] != nil {
		return
	}
	x := said(f)
	x["uuid"], x["attribute_uuid"], x["event_uuid"] = uuidOf(s.Object.ID), holder["uuid"], b.UUID
	typ := sightingSeen
	if s.Object.Type == "opinion" {
		switch f.Text("opinion") {
		case "strongly-disagree":
			typ = sightingFalsePositive
		case "disagree":
			typ = sightingExpired
		default:
			return
		}
	}
	x["type"] = typ
	set(x, "source", "")
	at := s.At
	for _, name := range []string{"modified", "created", "first_seen", "last_seen"} {
		if t, err := time.Parse(time.RFC3339Nano, f.Text(name)); err == nil {
			at = t
		}
	}
	set(x, "date_sighting", seconds(at))
	if by := f.object(Prefix + "organisation"); by.Text("name") != "" {
		x["Organisation"] = Org{by.Text("name"), by.Text("uuid")}.fields()
	} else if s.Org.Name != "" && (f[Prefix+"event_uuid"] == nil || s.Org != b.Org) {
		x["Organisation"] = s.Org.fields()
	}
	delete(x, "organisation")
	list, _ := holder["Sighting"].([]map[string]any)
	holder["Sighting"] = append(list, x)
}

// galaxies groups clusters by their galaxy.
func (b *building) galaxies(ids []string) (list []map[string]any) {
	byType := map[string]int{}
	for _, id := range ids {
		if b.Find == nil {
			break
		}
		o := b.Find(id)
		if o == nil {
			continue
		}
		f := properties(o)
		head, cluster := f.object(Prefix+"galaxy"), f.object(Prefix+"cluster")
		if head == nil || cluster == nil {
			continue // made by somebody else, under the same id; the tag says it
		}
		key := head.Text("type") + "\x00" + head.Text("uuid")
		i, ok := byType[key]
		if !ok {
			g := map[string]any{"GalaxyCluster": []map[string]any{}}
			for k, raw := range head {
				if !Local[k] {
					g[k] = raw
				}
			}
			i = len(list)
			byType[key] = i
			list = append(list, g)
		}
		x := map[string]any{}
		for k, raw := range cluster {
			if !Local[k] {
				x[k] = raw
			}
		}
		x["value"], x["description"] = f.Text("name"), f.Text("description")
		set(x, "uuid", uuidOf(id))
		all, _ := list[i]["GalaxyCluster"].([]map[string]any)
		list[i]["GalaxyCluster"] = append(all, x)
	}
	return list
}

func (b *building) eventReports(sources []Source) (list []map[string]any) {
	for i := range sources {
		s := &sources[i]
		f := properties(s.Object)
		if s.Object.Type != "note" || f[Prefix+"event_uuid"] == nil {
			continue
		}
		r := said(f)
		r["uuid"], r["name"], r["deleted"] = uuidOf(s.Object.ID), f.Text("abstract"), s.Deleted
		if f.True(Prefix + "empty") {
			r["content"] = ""
		} else {
			set(r, "content", f.Text("content"))
		}
		b.stamp(r, f, s)
		event, _ := b.event["distribution"].(string)
		b.distribute(r, f, cmpOr(f.Text(Prefix+"distribution"), distInherit), &s.Marks, event)
		if tags := b.tags(f, &s.Marks, &b.marks); len(tags) > 0 {
			r["Tag"] = tags
		}
		list = append(list, r)
	}
	return list
}

// gone leaves one attribute in an event of which all is withdrawn: an instance that pulls from a server
// passes over events that hold nothing, and would never hear of it.
func (b *building) gone() {
	b.attributes = append(b.attributes, map[string]any{"uuid": NewUUID("gone\x00" + b.UUID), "type": "comment", "category": "Other", "to_ids": false,
		"value": "withdrawn by its originator", "comment": "", "deleted": false, "disable_correlation": true, "distribution": distInherit, "timestamp": seconds(b.at)})
	b.live++
}

// grow gives the event the time of the latest that happened to it.
func (b *building) grow() {
	at := b.at.Unix()
	if raw, ok := b.event["timestamp"].(json.RawMessage); ok {
		at = max(at, Fields{"": raw}.Time("", b.at).Unix())
	} else if s, ok := b.event["timestamp"].(string); ok {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			at = max(at, n)
		}
	}
	if !b.Before.IsZero() {
		at = min(at, b.Before.Unix()-1)
	}
	b.event["timestamp"] = strconv.FormatInt(at, 10)
	b.event["published"], b.event["publish_timestamp"] = true, b.event["timestamp"]
}

// Encode writes an event as JSON, {"Event":…}.
func Encode(event map[string]any) []byte { return encode(map[string]any{"Event": event}) }

// Types returns the attribute types and categories that this package knows, as MISP's describeTypes does.
func Types() (types, categories []string) {
	known := map[string]bool{"text": true, "comment": true, "other": true, "AS": true, "regkey|value": true, "domain|ip": true, "malware-sample": true}
	for t := range mispKinds {
		known[t] = true
		if !strings.Contains(t, "|") && strings.HasPrefix(t, "md5") || strings.HasPrefix(t, "sha") {
			known["filename|"+t] = true
		}
	}
	for t := range mispPaths {
		known[t] = true
	}
	for t := range ruleTypes {
		known[t] = true
	}
	inUse := map[string]bool{"Other": true}
	for _, t := range nameTypes {
		known[t[0]], inUse[t[1]] = true, true
	}
	for _, t := range attributeTypes {
		inUse[t[1]] = true
	}
	return slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(inUse))
}

// DefaultOf returns the category of an attribute type, and whether it is for detection, if nothing says so.
func DefaultOf(typ string) (category string, ids bool) {
	for _, t := range attributeTypes {
		if t[0] == typ {
			return t[1], true
		}
	}
	for _, t := range nameTypes {
		if t[0] == typ {
			return t[1], false
		}
	}
	return "Other", false
}
