package misp

import (
	"encoding/json"
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

	mu      sync.Mutex
	cursor  uint64
	events  map[core.Key]*event
	order   []*event
	claims  map[string][]*event // by the UUID of MISP that they claim, in the order in which they began
	own     map[string]*event   // by the UUID that they have if somebody else has that one, or if they have none
	records map[protocol.RecordID]*entry
	targets map[string][]*event // events by the STIX ids in them, for sightings
	waiting map[string][]*entry // sightings, by what they are of
	refs    map[string][]*entry // observed-data of this organisation, by the ids of the observables in it
	classes []node.Record       // one of each class, without its object
	classOf map[string]int
}

// event is a set of records.
type event struct {
	key     core.Key
	own     string
	org     core.Org
	first   time.Time
	entries []*entry
}

// entry is one record.
type entry struct {
	id      protocol.RecordID
	class   int
	at      time.Time // when it came, or the last that happened to it
	changed time.Time // withdrawn or restored; zero: never
	taken   bool      // it is withdrawn
	gone    bool      // erased or set aside
	report  bool      // it speaks for the whole event
	holds   bool      // an event of MISP may hold it
	plain   bool      // it holds text that no search for an observable finds
	sights  string    // STIX id, of a sighting
	events  []*event
}

func newShelf(n *node.Node, view *node.View) *shelf {
	return &shelf{node: n, view: view, events: map[core.Key]*event{}, claims: map[string][]*event{}, own: map[string]*event{}, records: map[protocol.RecordID]*entry{},
		targets: map[string][]*event{}, waiting: map[string][]*entry{}, refs: map[string][]*entry{}, classOf: map[string]int{}}
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
	if c.Record == nil || c.Kind != node.ChangeAdded {
		e := s.records[c.ID]
		if e != nil && c.Record == nil {
			e.gone, e.at = true, c.At
		} else if e != nil {
			e.changed, e.at, e.taken = c.At, c.At, c.Kind == node.ChangeWithdrawn
		}
		return
	}
	r := c.Record
	o, err := stix.Parse(r.Object)
	if err != nil || !s.view.Holds(r) {
		return
	}
	e := s.records[r.ID]
	if e == nil { // what was gone may come again
		e = &entry{id: r.ID}
		s.records[r.ID] = e
	}
	e.class, e.gone, e.at, e.sights = s.class(r), false, c.At, core.SightingOf(o)
	if len(e.events) > 0 {
		return
	}
	if e.sights != "" {
		for _, ev := range s.targets[e.sights] {
			ev.put(e)
		}
		s.waiting[e.sights] = append(s.waiting[e.sights], e)
		return
	}
	k, ok := core.KeyOf(o, r.Originator.ID, r.Topic, r.Added)
	if !ok {
		delete(s.records, r.ID)
		return
	}
	ev := s.events[k]
	if ev == nil {
		ev = &event{key: k, own: k.OwnUUID(), org: core.Org{Name: r.Originator.Name, UUID: core.OrgUUID(r.Originator.ID)}, first: r.Added}
		if k.MISP {
			s.claims[k.Name] = append(s.claims[k.Name], ev)
		}
		s.events[k], s.own[ev.own] = ev, ev
		s.order = append(s.order, ev)
	}
	e.report = o.ID == "report--"+k.Name
	e.holds, e.plain = core.Holds(o), o.Type != "indicator" && len(stix.Observables(o)) == 0 && o.Type != "observed-data"
	ev.put(e)
	if o.Type == "observed-data" && r.Originator.ID == s.node.Org() {
		for _, ref := range o.Texts("object_refs") {
			s.refs[ref] = append(s.refs[ref], e)
		}
	}
	for _, known := range s.targets[o.ID] {
		if known == ev {
			return
		}
	}
	s.targets[o.ID] = append(s.targets[o.ID], ev)
	for _, w := range s.waiting[o.ID] {
		ev.put(w)
	}
}

func (ev *event) put(e *entry) {
	for _, x := range e.events {
		if x == ev {
			return
		}
	}
	e.events = append(e.events, ev)
	ev.entries = append(ev.entries, e)
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
}

// look brings the shelf up to date, for one consumer. The caller calls done afterwards.
func (s *shelf) look(r *node.Reader, now time.Time) (*sight, error) {
	s.mu.Lock()
	if err := s.follow(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return &sight{shelf: s, reader: r, now: now, sees: map[int]bool{}}, nil
}

func (s *sight) done() { s.mu.Unlock() }

func (s *sight) may(e *entry) bool {
	ok, known := s.sees[e.class]
	if !known {
		ok = s.reader.MayExport(&s.classes[e.class])
		s.sees[e.class] = ok
	}
	return ok
}

// outline is what a consumer sees of an event, without its contents.
type outline struct {
	event   *event
	uuid    string
	entries []protocol.RecordID // in the order in which they came
	changed map[protocol.RecordID]time.Time
	report  []protocol.RecordID // versions of the report, in order
	marks   core.Marks          // the strictest of what is in it
	at      time.Time
	before  time.Time // the timestamp is less: the second that is not over may bring more
	sighted time.Time // the latest sighting; zero: none
	plain   bool      // it holds text that no search for an observable finds
}

// outline returns what a consumer sees of an event; nil if nothing that an event can hold.
func (s *sight) outline(ev *event) *outline {
	o := &outline{event: ev, changed: map[protocol.RecordID]time.Time{}}
	var marks []core.Marks
	classes := map[int]bool{}
	held := false
	for _, e := range ev.entries {
		if !s.may(e) {
			continue
		}
		if e.at.After(o.at) {
			o.at = e.at
		}
		if e.gone {
			continue
		}
		if e.sights != "" && e.at.After(o.sighted) {
			o.sighted = e.at
		}
		held, o.plain = held || e.holds, o.plain || e.plain
		o.entries = append(o.entries, e.id)
		if !e.changed.IsZero() {
			o.changed[e.id] = e.changed
		}
		if e.report {
			o.report = append(o.report, e.id)
		}
		if !classes[e.class] {
			classes[e.class] = true
			marks = append(marks, s.classes[e.class].Marks())
		}
	}
	if !held {
		return nil
	}
	o.marks, o.uuid, o.before = core.Strictest(marks), s.uuid(ev), s.now.Truncate(time.Second)
	return o
}

// uuid returns the UUID of an event: MISP's, for the first of those which the consumer sees and that
// claim it, else its own. Who sees one of them alone does not learn that there are others.
func (s *sight) uuid(ev *event) string {
	for _, other := range s.claims[ev.key.Name] {
		if !ev.key.MISP || other == ev {
			break
		}
		for _, e := range other.entries {
			if s.may(e) && !e.gone {
				return ev.own
			}
		}
	}
	if ev.key.MISP {
		return ev.key.Name
	}
	return ev.own
}

// all returns the outlines of what a consumer sees, in the order in which the events began.
func (s *sight) all() (list []*outline) {
	for _, ev := range s.order {
		if o := s.outline(ev); o != nil {
			list = append(list, o)
		}
	}
	return list
}

// byUUID returns the event of a UUID; nil if there is none for the consumer.
func (s *sight) byUUID(uuid string) *outline {
	list := s.claims[uuid]
	if ev := s.own[uuid]; ev != nil {
		list = append(list[:len(list):len(list)], ev)
	}
	for _, ev := range list {
		if o := s.outline(ev); o != nil && o.uuid == uuid {
			return o
		}
	}
	return nil
}
