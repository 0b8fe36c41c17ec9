// Package gather brings together what records say of the same value: who reported it, who saw it, who
// says that it is wrong. It has no I/O and no clock.
//
// What it keeps never grows past the data: a fixed part for each value, each object and each object
// that was sighted or disputed, and nothing for a pair of them. A value that a million records report
// costs MaxClaims claims; what a million sightings are about, one time for each of MaxHeard
// organisations. A value has no list of the records that are about it, and nothing is compared with
// everything else.
package gather

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/outputs/score"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Bounds of what is kept of one value, and of one object that others speak of.
const (
	MaxClaims   = 128 // claims of a value; one of an object that was revoked gives way
	maxOfSource = 8   // of them of one organisation, so that 15 must conspire to fill a value
	MaxHeard    = 16  // organisations whose sightings, or opinions, of one object are kept
)

// NoTime is the time in indicators that were made of a plain list, which states none: the start of 2020
// (package intake, Epoch). They are as old as the record.
const NoTime = 1_577_836_800_000

// Record is what is gathered of. Its object is read by package stix.
type Record struct {
	Cursor     uint64
	Originator protocol.OrgID
	Received   uint64 // Unix milliseconds
	Withdrawn  bool
	Withheld   bool // its originator had it of another
	TLP        protocol.TLP
	PAP        protocol.PAP
	Object     *stix.Object
	Assessment *stix.Assessment // nil: none
}

// Set is what was gathered.
type Set struct {
	own     protocol.OrgID
	kinds   []stix.Kind // none: all
	values  map[stix.Observable]uint32
	list    []value
	objects map[key]uint32
	object  []object
	claims  []claim
	orgs    map[protocol.OrgID]uint32
	heard   map[key]*heard
	void    map[key]bool // sightings that a later version revokes
	again   bool
	// What cannot be taken out again, because it is not known whether, or how, it counted.
	replaced bool     // an object that came in another version
	refused  bool     // a claim for which there was no room
	mixed    bool     // what an organisation said more than once of an object, or found no room
	dead     int      // objects that were taken out
	sweep    bool     // values may be left that nothing reports
	order    []uint32 // of list, sorted; nil: to be sorted
}

// key is of an object: of its id, or of its originator and its id.
type key [16]byte

type value struct {
	stix.Observable
	first uint32 // claim, from 1; 0: none
	n     uint32 // of them

	refused bool // one found no room
}

type object struct {
	cursor      uint64
	modified    uint64 // of the version that counts
	since       uint64
	from, until uint64
	received    uint64
	id          key // without the originator: what sightings name
	org         uint32
	version     uint32 // claims of others are of versions that do not count any more
	base        uint8
	tlp         protocol.TLP
	pap         protocol.PAP
	live, copy  bool
	several     bool // another version of it came
}

type claim struct {
	next    uint32 // of the same value, from 1; 0: none
	object  uint32
	version uint32
}

// heard is what organisations say of an object of others.
type heard struct {
	seen     []sighting
	disputed []dispute
}

type sighting struct {
	org    uint32
	at     uint64
	cursor uint64 // of the record; 0: of several
}

type dispute struct {
	org      uint32
	modified uint64
	cursor   uint64 // of the record; 0: of several
	level    uint8  // 0: it does not disagree, 1, 2: strongly
}

// New returns an empty set. own is the organisation that asks; kinds are those that count, none for
// all. void are sightings known to be revoked, as Void of an earlier pass over the same records
// returned them.
func New(own protocol.OrgID, kinds []stix.Kind, void map[[16]byte]bool) *Set {
	s := &Set{own: own, kinds: kinds, values: map[stix.Observable]uint32{}, objects: map[key]uint32{}, orgs: map[protocol.OrgID]uint32{},
		heard: map[key]*heard{}, void: map[key]bool{}}
	for k := range void {
		s.void[k] = true
	}
	return s
}

// Void returns the sightings that are revoked, and whether one of them counted before that was seen:
// then the records are to be gone through again.
func (s *Set) Void() (void map[[16]byte]bool, again bool) {
	void = map[[16]byte]bool{}
	for k := range s.void {
		void[k] = true
	}
	return void, s.again
}

// Len is how many values there are.
func (s *Set) Len() int { return len(s.values) }

// Size is about how many bytes the set takes (BenchmarkGather compares it with what it does).
func (s *Set) Size() int {
	return 150*len(s.list) + 120*len(s.object) + 12*len(s.claims) + 200*len(s.heard)
}

func keyOf(org *protocol.OrgID, id string) (k key) {
	h := sha256.New()
	if org != nil {
		h.Write(org[:])
	}
	h.Write([]byte(id))
	copy(k[:], h.Sum(nil))
	return k
}

func (s *Set) org(id protocol.OrgID) uint32 {
	n, ok := s.orgs[id]
	if !ok {
		n = uint32(len(s.orgs))
		s.orgs[id] = n
	}
	return n
}

func milli(t time.Time) uint64 {
	if t.IsZero() || t.UnixMilli() < 0 {
		return 0
	}
	return uint64(t.UnixMilli())
}

// Add takes a record. Records are to be added in one order for the sets of one state to be the same.
func (s *Set) Add(r *Record) {
	if r.Withdrawn || r.Object == nil {
		return
	}
	switch r.Object.Type {
	case "indicator":
		s.indicator(r)
	case "sighting":
		s.sighting(r)
	case "opinion":
		s.opinion(r)
	}
}

func (s *Set) indicator(r *Record) {
	o := r.Object
	k := keyOf(&r.Originator, o.ID)
	i, known := s.objects[k]
	modified := milli(o.Modified)
	if known {
		s.object[i].several, s.replaced = true, true
	}
	if known && s.object[i].modified >= modified {
		return
	}
	if !known {
		i = uint32(len(s.object))
		s.object = append(s.object, object{id: keyOf(nil, o.ID), org: s.org(r.Originator)})
		s.objects[k] = i
	}
	e := &s.object[i]
	if known {
		e.version++
	}
	e.cursor, e.modified, e.received, e.tlp, e.pap = r.Cursor, modified, r.Received, r.TLP, r.PAP
	// Nobody makes what is said younger by a date to come: from when it was heard of is known here.
	e.from, e.until = milli(timeOf(o, "valid_from")), milli(timeOf(o, "valid_until"))
	switch e.since = max(modified, e.from); {
	case e.since == NoTime:
		e.since = r.Received
	case e.since > r.Received:
		e.since = max(e.from, r.Received)
	}
	if e.from <= r.Received {
		e.from = 0 // it had begun when it came
	}
	e.copy, e.base = r.Withheld, score.Base(r.Assessment, listOf(o, "labels", "false-positive"))
	if e.live = !o.Revoked && !slices.Contains(listOf(o, "indicator_types", "benign"), "benign"); !e.live || o.Text("pattern_type") != "stix" {
		return
	}
	used, full := false, false
	for _, v := range Sufficient(o.Text("pattern")) {
		if len(s.kinds) == 0 || slices.Contains(s.kinds, v.Kind) {
			took := s.claim(v, i)
			used, full = used || took, full || !took
		}
	}
	if full && !used && !known {
		// Of a value that has enough claims nothing more is kept, or a million would cost a million.
		s.object = s.object[:i]
		delete(s.objects, k)
	}
}

// claim notes that an object reports a value.
func (s *Set) claim(o stix.Observable, obj uint32) bool {
	at, ok := s.values[o]
	if !ok {
		at = uint32(len(s.list))
		o.Value = strings.Clone(o.Value)
		s.list = append(s.list, value{Observable: o})
		s.values[o] = at
		s.order = nil
	}
	v, org := &s.list[at], s.object[obj].org
	mine := 0
	for c := v.first; c != 0; c = s.claims[c-1].next {
		e := &s.claims[c-1]
		if s.counts(e) {
			if s.object[e.object].org == org {
				mine++
			}
			continue
		}
		e.object, e.version = obj, s.object[obj].version // what does not count any more gives way
		return true
	}
	if mine >= maxOfSource || v.n >= MaxClaims {
		v.refused, s.refused = true, true
		return false
	}
	s.claims = append(s.claims, claim{v.first, obj, s.object[obj].version})
	v.first, v.n = uint32(len(s.claims)), v.n+1
	return true
}

// counts reports whether a claim is of the version of its object that counts.
func (s *Set) counts(c *claim) bool {
	o := &s.object[c.object]
	return o.live && o.version == c.version
}

// falsePositive are labels that make a sighting, or an opinion, the word that something is wrong.
func falsePositive(labels []string) bool {
	return slices.ContainsFunc(labels, func(l string) bool {
		l = strings.ToLower(l)
		return l == "false-positive" || l == `misp:sighting-type="false-positive"` || l == `misp:sighting-type="1"`
	})
}

// sighting takes the time at which an object was seen. A count of 0 says that it was not (STIX 2.1,
// section 5.2): that confirms nothing, and denies nothing.
func (s *Set) sighting(r *Record) {
	o := r.Object
	of := keyOf(nil, o.Text("sighting_of_ref"))
	if falsePositive(listOf(o, "labels", "false-positive")) {
		s.disputed(of, r, 2)
		return
	}
	k := keyOf(&r.Originator, o.ID)
	if o.Revoked {
		if !s.void[k] {
			s.void[k], s.again = true, true
		}
		return
	}
	if s.void[k] || string(rawOf(o, "count")) == "0" {
		return
	}
	at := milli(timeOf(o, "last_seen"))
	if at == 0 {
		at = milli(o.Modified)
	}
	at = min(at, r.Received)
	h := s.hear(of)
	org := s.org(r.Originator)
	for i := range h.seen {
		if h.seen[i].org == org {
			h.seen[i].at, h.seen[i].cursor, s.mixed = max(h.seen[i].at, at), 0, true
			return
		}
	}
	if len(h.seen) < MaxHeard {
		h.seen = append(h.seen, sighting{org, at, r.Cursor})
		return
	}
	s.mixed = true
}

// opinion takes that an organisation disagrees, or does not any more.
func (s *Set) opinion(r *Record) {
	level := uint8(0)
	switch r.Object.Text("opinion") {
	case "disagree":
		level = 1
	case "strongly-disagree":
		level = 2
	}
	refs := listOf(r.Object, "object_refs", "indicator--")
	for _, id := range refs[:min(len(refs), maxValues)] {
		if strings.HasPrefix(id, "indicator--") {
			s.disputed(keyOf(nil, id), r, level)
		}
	}
}

// disputed keeps the newest word of an organisation on an object.
func (s *Set) disputed(of key, r *Record, level uint8) {
	if r.Object.Revoked {
		level = 0
	}
	h := s.hear(of) // also where it agrees: it may be the newer version of what comes later
	d := dispute{s.org(r.Originator), milli(r.Object.Modified), r.Cursor, level}
	for i := range h.disputed {
		if h.disputed[i].org == d.org {
			if d.modified >= h.disputed[i].modified {
				h.disputed[i] = d
			}
			h.disputed[i].cursor, s.mixed = 0, true
			return
		}
	}
	if len(h.disputed) < MaxHeard {
		h.disputed = append(h.disputed, d)
		return
	}
	s.mixed = true
}

// Remove takes out records that went, by the cursors under which they were added, with their types. What
// was not added is passed over. It returns false, and changes nothing, where the set would not be the
// one that is made without them: then it is to be made anew.
func (s *Set) Remove(gone map[uint64]string) bool {
	if len(gone) == 0 {
		return true
	}
	reports, said := 0, 0
	for _, typ := range gone {
		switch typ {
		case "indicator":
			reports++
		case "sighting":
			said++
		case "opinion": // of several objects
			if said++; s.mixed {
				return false
			}
		}
	}
	var keys []key
	out := map[uint32]bool{}
	if reports > 0 {
		for k, i := range s.objects {
			e := &s.object[i]
			if _, ok := gone[e.cursor]; !ok {
				continue
			}
			if e.several {
				return false // the other version is not known any more
			}
			keys, out[i] = append(keys, k), true
		}
		// A version that was replaced may have taken the room of what was refused.
		if s.refused && (s.replaced && len(out) < reports || s.tookRoom(out)) || s.dead+len(out) > max(minDead, len(s.object)/2) {
			return false
		}
	}
	if said > 0 {
		found := map[uint64]bool{}
		for _, h := range s.heard {
			for i := range h.seen {
				found[h.seen[i].cursor] = true
			}
			for i := range h.disputed {
				found[h.disputed[i].cursor] = true
			}
		}
		for c, typ := range gone {
			// One that is not found was not added, or is one of several, or revokes one.
			if typ == "sighting" && !found[c] && (s.mixed || len(s.void) > 0) {
				return false
			}
		}
	}
	for _, k := range keys {
		delete(s.objects, k)
	}
	for i := range out {
		s.object[i].live = false
	}
	s.dead, s.sweep, s.order = s.dead+len(out), s.sweep || len(out) > 0, nil
	if said > 0 {
		for k, h := range s.heard {
			h.seen = slices.DeleteFunc(h.seen, func(e sighting) bool { return gone[e.cursor] != "" })
			h.disputed = slices.DeleteFunc(h.disputed, func(e dispute) bool { return gone[e.cursor] != "" })
			if len(h.seen)+len(h.disputed) == 0 {
				delete(s.heard, k)
			}
		}
	}
	return true
}

// minDead is how many objects that were taken out a set has, before it is made anew for their room.
const minDead = 1000

// tookRoom reports whether an object reports a value for which another found no room.
func (s *Set) tookRoom(objects map[uint32]bool) bool {
	if len(objects) == 0 {
		return false
	}
	for i := range s.list {
		for c := s.list[i].first; s.list[i].refused && c != 0; c = s.claims[c-1].next {
			if objects[s.claims[c-1].object] {
				return true
			}
		}
	}
	return false
}

// swept forgets the values that nothing reports any more: they may have been erased.
func (s *Set) swept() {
	for i := range s.list {
		v := &s.list[i]
		live := v.first == 0
		for c := v.first; c != 0 && !live; c = s.claims[c-1].next {
			live = s.counts(&s.claims[c-1])
		}
		if !live {
			delete(s.values, v.Observable)
			*v = value{}
		}
	}
	s.sweep, s.order = false, nil
}

func (s *Set) hear(of key) *heard {
	h := s.heard[of]
	if h == nil {
		h = &heard{}
		s.heard[of] = h
	}
	return h
}

func rawOf(o *stix.Object, name string) json.RawMessage {
	if !mentions(o, `"`+name+`"`) {
		return nil
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(o.Raw, &doc) != nil {
		return nil
	}
	return doc[name]
}

func timeOf(o *stix.Object, name string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, o.Text(name))
	if err != nil {
		return time.Time{}
	}
	return t
}

// mentions reports whether a word may occur in an object: as it is, or in an escape.
func mentions(o *stix.Object, word string) bool {
	return bytes.Contains(o.Raw, []byte(word)) || bytes.Contains(o.Raw, []byte(`\u`))
}

// listOf returns a property that is a list of strings, if it may hold one with word in it: to read
// all properties costs more than all else here.
func listOf(o *stix.Object, name, word string) (list []string) {
	if mentions(o, word) {
		_ = json.Unmarshal(rawOf(o, name), &list)
	}
	return list
}

// Item is a value with what is known of it at a time. Times are Unix milliseconds.
type Item struct {
	stix.Observable
	Score   int          // 0 to 100
	Active  int          // the same of what may be blocked: PAP white and green, or none
	Sources int          // independent originators that count, at most score.MaxSources
	First   uint64       // when it was first received, of what counts
	Last    uint64       // when it was last confirmed
	Until   uint64       // when the last that counts ends; 0: by age only
	TLP     protocol.TLP // the strictest of what counts
	PAP     protocol.PAP // the same
	Seen    int          // organisations that sighted it, at most MaxHeard
}

// Sorted returns the positions of values, in the order of their kinds and of their bytes.
func (s *Set) Sorted() []uint32 {
	if s.sweep {
		s.swept()
	}
	if s.order == nil {
		s.order = make([]uint32, 0, len(s.list))
		for i := range s.list {
			if s.list[i].first != 0 {
				s.order = append(s.order, uint32(i))
			}
		}
		slices.SortFunc(s.order, func(a, b uint32) int {
			x, y := &s.list[a], &s.list[b]
			return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Value, y.Value))
		})
	}
	return s.order
}

// Reckoner makes items of a set. It may be used by one goroutine.
type Reckoner struct {
	s              *Set
	claims, active []score.Claim
	disputes       []score.Dispute
}

// Reckoner returns one.
func (s *Set) Reckoner() *Reckoner { return &Reckoner{s: s} }

// Item returns the value at a position, as Sorted returns them, at a time.
func (r *Reckoner) Item(at uint32, now uint64) Item {
	s := r.s
	v := &s.list[at]
	it := Item{Observable: v.Observable}
	r.gather(v, func(o *object, c score.Claim) {
		if c.At(v.Kind, now) == 0 {
			return
		}
		if it.First == 0 || o.received < it.First {
			it.First = o.received
		}
		it.Last = max(it.Last, c.Since)
		it.TLP, it.PAP = max(it.TLP, o.tlp), max(it.PAP, o.pap)
	})
	sum := score.Of(v.Kind, r.claims, r.disputes, now)
	it.Score, it.Sources = sum.Value, sum.Sources
	it.Active = score.Of(v.Kind, r.active, r.disputes, now).Value
	it.Until = r.until(v.Kind, now)
	it.Seen = s.seenBy(v)
	return it
}

// until is when the last claim that counts ends, 0 if one has no end.
func (r *Reckoner) until(kind stix.Kind, now uint64) (until uint64) {
	for i := range r.claims {
		c := &r.claims[i]
		switch {
		case c.At(kind, now) == 0:
		case c.Until == 0:
			return 0
		default:
			until = max(until, c.Until)
		}
	}
	return until
}

// gather brings the evidence of a value together, in the order of cursors.
func (r *Reckoner) gather(v *value, each func(*object, score.Claim)) {
	s := r.s
	r.claims, r.active, r.disputes = r.claims[:0], r.active[:0], r.disputes[:0]
	for c := v.first; c != 0; c = s.claims[c-1].next {
		e := &s.claims[c-1]
		if !s.counts(e) {
			continue
		}
		o := &s.object[e.object]
		sc := score.Claim{Source: o.org, Base: o.base, Since: o.since, From: o.from, Until: o.until, Copy: o.copy}
		if h := s.heard[o.id]; h != nil {
			for _, seen := range h.seen {
				sc.Since = max(sc.Since, seen.at)
			}
			for _, d := range h.disputed {
				r.dispute(d)
			}
		}
		each(o, sc)
		r.claims = append(r.claims, sc)
		if o.pap <= protocol.PAPGreen {
			r.active = append(r.active, sc)
		}
	}
	slices.SortFunc(r.disputes, func(a, b score.Dispute) int { // what weighs most counts first
		return cmp.Or(rank(b)-rank(a), cmp.Compare(a.Source, b.Source))
	})
}

func rank(d score.Dispute) int {
	switch {
	case d.Own:
		return 2
	case d.Strong:
		return 1
	}
	return 0
}

// dispute notes that an organisation disagrees, once for each.
func (r *Reckoner) dispute(d dispute) {
	if d.level == 0 {
		return
	}
	own, known := r.s.orgs[r.s.own]
	for i := range r.disputes {
		if r.disputes[i].Source == d.org {
			r.disputes[i].Strong = r.disputes[i].Strong || d.level == 2
			return
		}
	}
	r.disputes = append(r.disputes, score.Dispute{Source: d.org, Strong: d.level == 2, Own: known && d.org == own})
}

// seenBy counts the organisations that sighted what reports a value.
func (s *Set) seenBy(v *value) int {
	var buf [MaxHeard]uint32
	orgs := buf[:0]
	for c := v.first; c != 0; c = s.claims[c-1].next {
		e := &s.claims[c-1]
		if h := s.heard[s.object[e.object].id]; h != nil && s.counts(e) {
			for _, seen := range h.seen {
				if len(orgs) < MaxHeard && !slices.Contains(orgs, seen.org) {
					orgs = append(orgs, seen.org)
				}
			}
		}
	}
	return len(orgs)
}

// Part is what one object adds to the score of a value.
type Part struct {
	Cursor uint64
	Base   int // before it aged
	Since  uint64
	From   uint64
	Until  uint64
	Score  int // of it alone
	Seen   int // organisations that sighted it
	PAP    protocol.PAP
	Copy   bool
}

// Explain returns what the score of a value is made of, in the order of cursors, and the
// organisations that dispute it; ok is false if nothing reports it.
func (s *Set) Explain(o stix.Observable, now uint64) (it Item, parts []Part, disputes map[protocol.OrgID]string, ok bool) {
	at, ok := s.values[o]
	if !ok {
		return Item{Observable: o}, nil, nil, false
	}
	r := s.Reckoner()
	it = r.Item(at, now)
	v := &s.list[at]
	r.gather(v, func(o *object, c score.Claim) {
		p := Part{Cursor: o.cursor, Base: int(c.Base), Since: c.Since, From: c.From, Until: c.Until, Score: c.At(v.Kind, now), PAP: o.pap, Copy: o.copy}
		if h := s.heard[o.id]; h != nil {
			p.Seen = len(h.seen)
		}
		parts = append(parts, p)
	})
	slices.SortFunc(parts, func(a, b Part) int { return cmp.Compare(a.Cursor, b.Cursor) })
	disputes = map[protocol.OrgID]string{}
	for _, d := range r.disputes {
		for id, n := range s.orgs {
			if n != d.Source {
				continue
			}
			disputes[id] = "disagree"
			if d.Strong {
				disputes[id] = "strongly-disagree"
			}
		}
	}
	return it, parts, disputes, len(parts) > 0
}
