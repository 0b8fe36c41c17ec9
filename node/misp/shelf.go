package misp

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// shelf knows which records of a view form which events. It holds no contents: those are read when
// they are asked for, by whoever asks. It follows the node's changes.
type shelf struct {
	node *node.Node
	view *node.View // nil: everything

	mu        sync.Mutex
	cursor    uint64
	events    map[core.Key]*event
	claims    map[string][]*event // by the UUID of MISP that they claim
	own       map[string]*event   // by the UUID that they have if somebody else has that one, or if they have none
	records   map[protocol.RecordID]*entry
	sightings map[string]*pile    // by what they are of: once each, however many events hold that
	refs      map[string][]*entry // observed-data of this organisation, by the ids of the observables in it
	classes   []node.Record       // one of each class, without its object
	classOf   map[string]int
}

// pile is a set of records.
type pile struct {
	entries []*entry
	dead    int               // of them, erased or set aside
	gone    map[int]time.Time // when one of a class last was; they are forgotten themselves
}

// event is the records of one, but for the sightings of what is in it.
type event struct {
	pile
	key core.Key
	own string
	org core.Org
}

// entry is one record.
type entry struct {
	id      protocol.RecordID
	class   int
	cursor  uint64    // at which it came
	came    time.Time // and when
	at      time.Time // when it came, or the last that happened to it
	changed time.Time // withdrawn or restored; zero: never
	taken   bool      // it is withdrawn
	gone    bool      // erased or set aside
	report  bool      // it speaks for the whole event
	holds   bool      // an event of MISP may hold it
	plain   bool      // it holds text that no search for an observable finds
	object  string    // STIX id
	sights  bool      // it is a sighting, or an opinion
	refs    []string  // under which it is in shelf.refs
	event   *event    // nil: of a sighting
	pile    *pile
}

func newShelf(n *node.Node, view *node.View) *shelf {
	return &shelf{node: n, view: view, events: map[core.Key]*event{}, claims: map[string][]*event{}, own: map[string]*event{}, records: map[protocol.RecordID]*entry{},
		sightings: map[string]*pile{}, refs: map[string][]*entry{}, classOf: map[string]int{}}
}

const shelfPage = 1000

// follow reads what changed. The caller holds mu.
func (s *shelf) follow() error {
	for {
		list, next, err := s.node.Changes(s.cursor, shelfPage)
		if err != nil || next == s.cursor {
			return err
		}
		for i := range list {
			s.apply(&list[i])
		}
		s.cursor = next
	}
}

func (s *shelf) apply(c *node.Change) {
	e := s.records[c.ID]
	if c.Record == nil {
		if e != nil {
			s.drop(e, c.At)
		}
		return
	}
	if c.Kind != node.ChangeAdded {
		if e != nil {
			e.changed, e.at, e.taken = c.At, c.At, c.Kind == node.ChangeWithdrawn
		}
		return
	}
	r := c.Record
	o, err := stix.Parse(r.Object)
	if err != nil || !s.view.Holds(r) {
		return
	}
	if e != nil { // it was gone and came again before that was read
		e.class, e.cursor, e.came, e.at = s.class(r), r.Cursor, r.Added, c.At
		return
	}
	e = &entry{id: r.ID, class: s.class(r), cursor: r.Cursor, came: r.Added, at: c.At, object: o.ID}
	if of := core.SightingOf(o); of != "" {
		e.sights = true
		p := s.sightings[of]
		if p == nil {
			p = &pile{}
			s.sightings[of] = p
		}
		s.put(e, p)
		return
	}
	k, ok := core.KeyOf(o, r.Originator.ID, r.Topic, r.Added)
	if !ok {
		return
	}
	ev := s.events[k]
	if ev == nil {
		ev = &event{key: k, own: k.OwnUUID(), org: core.Org{Name: r.Originator.Name, UUID: core.OrgUUID(r.Originator.ID)}}
		if k.MISP {
			s.claims[k.Name] = append(s.claims[k.Name], ev)
		}
		s.events[k], s.own[ev.own] = ev, ev
	}
	e.event, e.report = ev, o.ID == "report--"+k.Name
	e.holds, e.plain = core.Holds(o), o.Type != "indicator" && len(stix.Observables(o)) == 0 && o.Type != "observed-data"
	if o.Type == "observed-data" && r.Originator.ID == s.node.Org() {
		e.refs = o.Texts("object_refs")
		for _, ref := range e.refs {
			s.refs[ref] = append(s.refs[ref], e)
		}
	}
	s.put(e, &ev.pile)
}

func (s *shelf) put(e *entry, p *pile) {
	s.records[e.id], e.pile = e, p
	p.entries = append(p.entries, e)
}

// drop forgets what was erased or set aside, but for when that was. What is gone may come again.
func (s *shelf) drop(e *entry, at time.Time) {
	delete(s.records, e.id)
	e.gone = true
	for _, ref := range e.refs {
		if s.refs[ref] = slices.DeleteFunc(s.refs[ref], func(x *entry) bool { return x == e }); len(s.refs[ref]) == 0 {
			delete(s.refs, ref)
		}
	}
	p := e.pile
	if p.gone == nil {
		p.gone = map[int]time.Time{}
	}
	if at.After(p.gone[e.class]) {
		p.gone[e.class] = at
	}
	if p.dead++; 2*p.dead > len(p.entries) {
		p.entries, p.dead = slices.DeleteFunc(p.entries, func(x *entry) bool { return x.gone }), 0
	}
	if ev := e.event; ev != nil && len(p.entries) == 0 {
		delete(s.events, ev.key)
		delete(s.own, ev.own)
		if list := slices.DeleteFunc(s.claims[ev.key.Name], func(x *event) bool { return x == ev }); len(list) > 0 {
			s.claims[ev.key.Name] = list
		} else {
			delete(s.claims, ev.key.Name)
		}
	}
}

func (s *shelf) class(r *node.Record) int {
	key := r.ReadClass()
	i, ok := s.classOf[key]
	if !ok {
		i = len(s.classes)
		sample := *r
		sample.Object = json.RawMessage(nil)
		s.classes = append(s.classes, sample)
		s.classOf[key] = i
	}
	return i
}

// sight is what one consumer sees of a shelf at one time.
type sight struct {
	*shelf
	reader *node.Reader
	now    time.Time
	sees   map[int]bool
	heard  map[*pile]*heard
	firsts map[*event]*entry
}

// heard is what a consumer sees of the sightings of one object.
type heard struct {
	entries []*entry  // those that count
	at      time.Time // the latest that happened to one of all
	sighted time.Time // and when the latest came; zero: none
}

// look brings the shelf up to date, for one consumer. The caller calls done afterwards.
func (s *shelf) look(r *node.Reader, now time.Time) (*sight, error) {
	s.mu.Lock()
	if err := s.follow(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return &sight{shelf: s, reader: r, now: now, sees: map[int]bool{}, heard: map[*pile]*heard{}, firsts: map[*event]*entry{}}, nil
}

func (s *sight) done() { s.mu.Unlock() }

func (s *sight) may(e *entry) bool { return s.mayClass(e.class) }

func (s *sight) mayClass(class int) bool {
	ok, known := s.sees[class]
	if !known {
		ok = s.reader.MayExport(&s.classes[class])
		s.sees[class] = ok
	}
	return ok
}

// ended returns when the last that the consumer could see was erased or set aside; zero: nothing was.
func (s *sight) ended(p *pile) (at time.Time) {
	for class, when := range p.gone {
		if when.After(at) && s.mayClass(class) {
			at = when
		}
	}
	return at
}

// first returns the record of an event that came first of those which the consumer sees; nil if it
// sees none.
func (s *sight) first(ev *event) *entry {
	first, known := s.firsts[ev]
	if !known {
		for _, e := range ev.entries {
			if !e.gone && (first == nil || e.cursor < first.cursor) && s.may(e) {
				first = e
			}
		}
		s.firsts[ev] = first
	}
	return first
}

// sightingsOf returns what the consumer sees of the sightings of an object.
func (s *sight) sightingsOf(p *pile) *heard {
	h := s.heard[p]
	if h == nil {
		h = &heard{at: s.ended(p)}
		var all []*entry
		for _, e := range p.entries {
			if e.gone || !s.may(e) {
				continue
			}
			all = append(all, e)
			if e.at.After(h.at) {
				h.at = e.at
			}
			if e.at.After(h.sighted) {
				h.sighted = e.at
			}
		}
		h.entries = core.Heard(all, func(e *entry) protocol.OrgID { return s.classes[e.class].Originator.ID })
		s.heard[p] = h
	}
	return h
}

// outline is what a consumer sees of an event, without its contents.
type outline struct {
	event   *event
	uuid    string
	entries []protocol.RecordID // in the order in which they came, sightings last
	changed map[protocol.RecordID]time.Time
	report  []protocol.RecordID // versions of the report, in order
	marks   core.Marks          // the strictest of what is in it
	cursor  uint64              // of the first record that the consumer sees
	first   time.Time           // and when it came
	at      time.Time
	before  time.Time // the timestamp is less: the second that is not over may bring more
	sighted time.Time // the latest sighting; zero: none
	plain   bool      // it holds text that no search for an observable finds
}

// outline returns what a consumer sees of an event; nil if nothing that an event can hold.
func (s *sight) outline(ev *event) *outline {
	first := s.first(ev)
	if first == nil {
		return nil
	}
	o := &outline{event: ev, changed: map[protocol.RecordID]time.Time{}, cursor: first.cursor, first: first.came, at: s.ended(&ev.pile)}
	var marks []core.Marks
	classes := map[int]bool{}
	take := func(e *entry) {
		o.entries = append(o.entries, e.id)
		if !e.changed.IsZero() {
			o.changed[e.id] = e.changed
		}
		if !classes[e.class] {
			classes[e.class] = true
			marks = append(marks, s.classes[e.class].Marks())
		}
	}
	held := false
	var sighted []*heard
	seen := map[*pile]bool{}
	for _, e := range ev.entries {
		if e.gone || !s.may(e) {
			continue
		}
		if e.at.After(o.at) {
			o.at = e.at
		}
		held, o.plain = held || e.holds, o.plain || e.plain
		if e.report {
			o.report = append(o.report, e.id)
		}
		take(e)
		if p := s.sightings[e.object]; p != nil && !seen[p] {
			seen[p] = true
			sighted = append(sighted, s.sightingsOf(p))
		}
	}
	if !held {
		return nil
	}
	for _, h := range sighted {
		if h.at.After(o.at) {
			o.at = h.at
		}
		if h.sighted.After(o.sighted) {
			o.sighted = h.sighted
		}
		for _, e := range h.entries {
			take(e)
		}
	}
	o.marks, o.uuid, o.before = core.Strictest(marks), s.uuid(ev), s.now.Truncate(time.Second)
	return o
}

// uuid returns the UUID of an event: MISP's, for the first of those which the consumer sees and that
// claim it, else its own. Who sees one of them alone does not learn that there are others.
func (s *sight) uuid(ev *event) string {
	if !ev.key.MISP {
		return ev.own
	}
	mine := s.first(ev)
	for _, other := range s.claims[ev.key.Name] {
		if x := s.first(other); x != nil && mine != nil && x.cursor < mine.cursor {
			return ev.own
		}
	}
	return ev.key.Name
}

// all returns the outlines of what a consumer sees, in the order in which the events began for it.
func (s *sight) all() (list []*outline) {
	for _, ev := range s.events {
		if o := s.outline(ev); o != nil {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b *outline) int { return cmp.Compare(a.cursor, b.cursor) })
	return list
}

// byUUID returns the event of a UUID; nil if there is none for the consumer.
func (s *sight) byUUID(uuid string) *outline {
	list := s.claims[uuid]
	if ev := s.own[uuid]; ev != nil {
		list = append(list[:len(list):len(list)], ev)
	}
	for _, ev := range list {
		if s.uuid(ev) != uuid {
			continue
		}
		if o := s.outline(ev); o != nil {
			return o
		}
	}
	return nil
}
