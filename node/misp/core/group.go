package core

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Which records form an event. Those that came of one event of MISP are one again, under its UUID:
// they say so themselves (x_misp_event_uuid). If several organisations claim one UUID, the first
// whose record came has it, and the others' events get UUIDs of their own, so that nobody writes into
// somebody else's event. All other records form one event for each originator, topic and day (UTC) on
// which they came.

// Key tells events apart.
type Key struct {
	Originator protocol.OrgID
	Name       string // a UUID, or a topic and a day
	MISP       bool   // it came of an event of MISP, of which Name is the UUID
}

// Member is a record as it belongs to an event.
type Member struct {
	Record     protocol.RecordID
	Object     *stix.Object
	Marks      Marks
	Originator protocol.OrgID
	Org        Org // the originator's
	Topic      string
	Added      time.Time
	Changed    time.Time // when it was withdrawn or restored; zero: never
	Withdrawn  bool
	Reason     string
}

// KeyOf returns to which event a record belongs. It is false for what belongs to none by itself:
// observables and clusters that events refer to, organisations, markings, and sightings of somebody
// else's records, which stand with those.
func (m *Member) KeyOf() (Key, bool) { return KeyOf(m.Object, m.Originator, m.Topic, m.Added) }

// KeyOf is Member.KeyOf.
func KeyOf(o *stix.Object, originator protocol.OrgID, topic string, added time.Time) (Key, bool) {
	switch o.Type {
	case "identity", "marking-definition", "extension-definition", "language-content", "sighting", "opinion":
		return Key{}, false
	}
	if uuid := strings.ToLower(o.Text(Prefix + "event_uuid")); isUUID(uuid) {
		return Key{originator, uuid, true}, true
	}
	if IsPart(o) {
		return Key{}, false
	}
	return Key{originator, topic + "\x00" + added.UTC().Format("2006-01-02"), false}, true
}

// IsPart reports whether an object is a part of what events say: an observable of observed-data, or a
// cluster.
func IsPart(o *stix.Object) bool { return o.Text(Prefix+"part_of") != "" || IsCluster(o) }

// IsCluster reports whether an object is a cluster of a galaxy.
func IsCluster(o *stix.Object) bool {
	return o.Type == TypeCluster || o.Text(Prefix+"galaxy_type") != ""
}

// SightingOf returns the id of what a sighting or an opinion is about; "" if o is neither.
func SightingOf(o *stix.Object) string {
	switch o.Type {
	case "sighting":
		return o.Text("sighting_of_ref")
	case "opinion":
		if refs := o.Texts("object_refs"); len(refs) == 1 {
			return refs[0]
		}
	}
	return ""
}

// OwnUUID is the UUID of an event that has none of MISP, or whose UUID somebody else claimed before.
func (k Key) OwnUUID() string { return NewUUID("event\x00" + k.Originator.String() + "\x00" + k.Name) }

// OrgUUID returns the UUID under which MISP knows an organisation of the mesh.
func OrgUUID(id protocol.OrgID) string { return NewUUID("organisation\x00" + id.String()) }

// Group is the records of one event.
type Group struct {
	Key     Key
	UUID    string
	Members []Member
}

// Groups gathers records into events.
type Groups struct {
	byKey     map[Key]*Group
	order     []*Group
	claimed   map[string]Key
	others    map[Key]*stix.Object // clusters, by originator and id
	sightings map[string][]Member  // by the id of what they are of, once each, whatever holds that
	heard     map[string][]Member  // those of them that count, once that was asked for
}

// Add adds a record. Records come in the order in which they came to the node.
func (g *Groups) Add(m Member) {
	if g.byKey == nil {
		g.byKey, g.claimed, g.others = map[Key]*Group{}, map[string]Key{}, map[Key]*stix.Object{}
		g.sightings, g.heard = map[string][]Member{}, map[string][]Member{}
	}
	k, ok := m.KeyOf()
	switch {
	case ok:
		g.put(k, m)
	case IsCluster(m.Object):
		g.others[Key{Originator: m.Originator, Name: m.Object.ID}] = m.Object
	case SightingOf(m.Object) != "":
		of := SightingOf(m.Object)
		g.sightings[of] = append(g.sightings[of], m)
	}
}

func (g *Groups) put(k Key, m Member) {
	group := g.byKey[k]
	if group == nil {
		group = &Group{Key: k, UUID: k.OwnUUID()}
		if _, taken := g.claimed[k.Name]; k.MISP && !taken {
			g.claimed[k.Name], group.UUID = k, k.Name
		}
		g.byKey[k] = group
		g.order = append(g.order, group)
	}
	group.Members = append(group.Members, m)
}

// All returns the groups, in the order in which they began, without the sightings of what is in them.
func (g *Groups) All() []*Group { return g.order }

// Build makes the group's event, as it was at its source, with the sightings of what is in it.
func (g *Groups) Build(group *Group) (event map[string]any, notes []string) {
	whole := &Group{Key: group.Key, UUID: group.UUID, Members: slices.Clip(group.Members)}
	left, seen := 0, map[string]bool{}
	for i := range group.Members {
		id := group.Members[i].Object.ID
		all := g.sightings[id]
		if len(all) == 0 || seen[id] {
			continue
		}
		seen[id] = true
		kept, known := g.heard[id]
		if !known {
			kept = Heard(all, func(m Member) protocol.OrgID { return m.Originator })
			g.heard[id] = kept
		}
		left += len(all) - len(kept)
		whole.Members = append(whole.Members, kept...)
	}
	event, notes = whole.Build(Building{Find: func(id string) *stix.Object { return g.others[Key{Originator: group.Key.Originator, Name: id}] }})
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%d sightings are left out: of one attribute there are the last %d of each of %d organisations", left, MaxOfOrg, MaxHeard))
	}
	return event, notes
}

// Bounds of the sightings of one object that an event holds: whoever makes many of what is in many events
// makes work for the sum of them, and not for the product.
const (
	MaxHeard = 16 // organisations, those that were first
	MaxOfOrg = 32 // of one of them, those that came last
)

// Heard returns those of the sightings of one object that count, in the order in which they came, in
// which they are given.
func Heard[T any](all []T, by func(T) protocol.OrgID) (kept []T) {
	due := map[protocol.OrgID]int{}
	for _, x := range all {
		if org := by(x); due[org] > 0 || len(due) < MaxHeard {
			due[org]++
		}
	}
	for _, x := range all {
		org := by(x)
		if n := due[org]; n > 0 && n <= MaxOfOrg {
			kept = append(kept, x)
		}
		due[org]--
	}
	return kept
}

// Build makes the group's event. Of how, Find, Grown, At and Before
// count.
func (group *Group) Build(how Building) (event map[string]any, notes []string) {
	how.UUID = group.UUID
	sources := group.sources(&how)
	return Build(how, sources)
}

// sources orders what an event is built of. Of an object of MISP only the newest version counts; one
// of any other object replaces the former ones, which are deleted then.
func (group *Group) sources(how *Building) (list []Source) {
	newest := map[string]int{}
	better := func(i, j int) bool { // i is newer than j
		a, b := &group.Members[i], &group.Members[j]
		return cmp.Or(a.Object.Modified.Compare(b.Object.Modified), a.Added.Compare(b.Added), 1) > 0
	}
	for i := range group.Members {
		m := &group.Members[i]
		key := m.Originator.String() + m.Object.ID
		if m.Withdrawn && group.Key.MISP { // a version that stands counts before one that was withdrawn
			if j, ok := newest[key]; ok && !group.Members[j].Withdrawn {
				continue
			}
		}
		if j, ok := newest[key]; !ok || better(i, j) || group.Key.MISP && group.Members[j].Withdrawn && !m.Withdrawn {
			newest[key] = i
		}
	}
	for i := range group.Members {
		m := &group.Members[i]
		if m.Originator == group.Key.Originator && (how.Org.Name == "" || m.Added.Before(how.Date)) {
			how.Org, how.Date = m.Org, m.Added
		}
		top := newest[m.Originator.String()+m.Object.ID]
		s := Source{Record: m.Record, Object: m.Object, Marks: m.Marks, Org: m.Org, Reason: m.Reason, At: m.Added, Deleted: m.Withdrawn || m.Object.Revoked}
		if m.Changed.After(s.At) {
			s.At = m.Changed
		}
		if top != i {
			if group.Key.MISP {
				continue
			}
			s.Deleted = true
			if at := group.Members[top].Added; at.After(s.At) {
				s.At = at
			}
		}
		list = append(list, s)
	}
	how.Info, how.Date = group.Key.title(how.Org, how.Date)
	return list
}

// title is what an event is called if no record says it, and its date.
func (k Key) title(org Org, first time.Time) (info string, date time.Time) {
	if k.MISP {
		return "event of " + org.Name, first
	}
	topic, day, _ := strings.Cut(k.Name, "\x00")
	if t, err := time.Parse("2006-01-02", day); err == nil {
		first = t
	}
	return org.Name + ", " + topic + ", " + day, first
}

// Head is Head of an event of which first is when its first record came. Of how, UUID, Org, At and
// Before count.
func (k Key) Head(how Building, first time.Time, report *stix.Object, marks Marks) map[string]any {
	how.Grown = true
	how.Info, how.Date = k.title(how.Org, first)
	return Head(how, report, marks)
}

// Holds reports whether an event of MISP may hold an object as an attribute, an object or a report.
func Holds(o *stix.Object) bool {
	switch o.Type {
	case "indicator", "observed-data", TypeAttribute, TypeObject, "note":
		return true
	case "relationship", "sighting", "opinion", "location", "grouping":
		return false
	case "report":
		return o.Text(Prefix+"event_uuid") == ""
	}
	return len(stix.Observables(o)) > 0 || o.Text("name") != ""
}
