package taxii

import (
	"bytes"
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// list says where the records of one collection stand, in the order in which they came into it. It is
// kept in memory and follows the node's changes: a page of a view that holds one record in a thousand
// reads the blocks of its own records, and not the corpus. It is made of the corpus when it is first
// asked for, so that nothing of it has to be kept, backed up or brought in step with an erasure: it
// holds numbers, and what they lead to is decided anew for every request.
type list struct {
	name string // of the collection, for its id
	view *node.View
	seen uint64 // the cursor up to which changes were taken in

	mu     sync.RWMutex // held to change what is below, and to read it
	items  []item       // by cursor
	newest map[uint64]uint32
	moved  map[uint64]moved  // records that came again, by the cursor of that
	again  map[uint64]uint64 // those cursors, by that in the corpus
	number map[string]uint16 // of each class, from 1
	kinds  []*node.Record    // a record of each class, without its object, by number
}

// item is a record in a list: 16 bytes of it.
type item struct {
	cursor uint64 // under which it came
	before uint32 // the place of the one before of the same object, from 1; 0: there is none
	gone   bool   // withdrawn
	class  uint16 // of the record, a number; 0: there are too many
}

// moved is a record of which a withdrawal does not count any more: who read on while it did was not
// given it, and so it came again.
type moved struct {
	at    uint64 // the cursor under which it stands in the corpus
	added time.Time
}

// maxKinds bounds the classes that a list keeps a record of.
const maxKinds = 1 << 12

// seed makes the keys of objects.
var seed = maphash.MakeSeed()

// objectKey names an object: a STIX id and who made it. Versions are its originator's to make (STIX
// 3.6.2): what another publishes under the id is another object.
func objectKey(rec *node.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.Write(rec.Originator.ID[:])
	h.WriteString(rec.StixID)
	return h.Sum64()
}

// note takes a change in.
func (l *list) note(c *node.Change) {
	rec := c.Record
	if rec == nil || !l.view.Holds(rec) {
		return // of what is gone the place is left, which leads to nothing
	}
	switch c.Kind {
	case node.ChangeAdded:
		l.add(rec, c.Cursor)
		if rec.Withdrawn {
			l.items[len(l.items)-1].gone = true
		}
	case node.ChangeWithdrawn:
		l.drop(rec.Cursor)
	case node.ChangeRestored:
		if rec.Withdrawn {
			return // again, by a change to come
		}
		l.drop(rec.Cursor)
		l.add(rec, c.Cursor)
		l.moved[c.Cursor], l.again[rec.Cursor] = moved{rec.Cursor, c.At}, c.Cursor
	}
}

func (l *list) add(rec *node.Record, cursor uint64) {
	key := objectKey(rec)
	l.items = append(l.items, item{cursor: cursor, before: l.newest[key], class: l.class(rec)})
	l.newest[key] = uint32(len(l.items))
}

// drop takes a record out, wherever it stands.
func (l *list) drop(cursor uint64) {
	if at, ok := l.again[cursor]; ok {
		l.setGone(at)
		delete(l.moved, at)
		delete(l.again, cursor)
	}
	l.setGone(cursor)
}

func (l *list) setGone(cursor uint64) {
	if i, ok := l.find(cursor); ok {
		l.items[i].gone = true
	}
}

func (l *list) find(cursor uint64) (int, bool) {
	return slices.BinarySearchFunc(l.items, cursor, func(it item, c uint64) int { return cmp.Compare(it.cursor, c) })
}

// class returns the number of the class of a record.
func (l *list) class(rec *node.Record) uint16 {
	name := rec.Class()
	n := l.number[name]
	if n == 0 && len(l.kinds) < maxKinds {
		l.kinds = append(l.kinds, rec.Outline())
		n = uint16(len(l.kinds))
		l.number[name] = n
	}
	return n
}

// place is where a record of a list is to be read.
type place struct {
	cursor uint64    // under which it came into the list
	at     uint64    // in the corpus
	added  time.Time // zero: when it came to the corpus
}

// from returns at most n places after a cursor, and the cursor to go on from; 0: these are all. Records
// of classes that are not wanted are passed over, for which nothing is read.
func (l *list) from(after uint64, n int, want func(number uint16, class *node.Record) bool) (out []place, next uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i, ok := l.find(after)
	if ok {
		i++
	}
	for ; i < len(l.items); i++ {
		it := &l.items[i]
		if it.gone || it.class != 0 && !want(it.class, l.kinds[it.class-1]) {
			continue
		}
		if len(out) == n {
			return out, out[n-1].cursor
		}
		out = append(out, l.place(i))
	}
	return out, 0
}

func (l *list) place(i int) place {
	p := place{cursor: l.items[i].cursor, at: l.items[i].cursor}
	if m, ok := l.moved[p.cursor]; ok {
		p.at, p.added = m.at, m.added
	}
	return p
}

// versions returns the places of the versions of an object, the last that came first.
func (l *list) versions(key uint64) (out []place) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i := l.newest[key]; i != 0; i = l.items[i-1].before {
		if !l.items[i-1].gone {
			out = append(out, l.place(int(i-1)))
		}
	}
	return out
}

// several reports whether an object has, or had, more than one version.
func (l *list) several(key uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := l.newest[key]
	return i != 0 && l.items[i-1].before != 0
}

// placesOf returns where some records stand in the list, those that do.
func (l *list) placesOf(recs []node.Record) (out []place) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i := range recs {
		at := recs[i].Cursor
		if c, ok := l.again[at]; ok {
			at = c
		}
		if j, ok := l.find(at); ok && !l.items[j].gone {
			out = append(out, l.place(j))
		}
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(a.cursor, b.cursor) })
	return out
}

// shows reports whether a reader may read a record of the list, of those that came so far.
func (l *list) shows(r *node.Reader) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, rec := range l.kinds {
		if r.Sees(rec) {
			return true
		}
	}
	return false
}

// changesPage is how many changes are taken in at a time.
const changesPage = 1000

// catalog keeps the lists of all collections, in step with the node.
type catalog struct {
	node *node.Node
	turn chan struct{} // holds one token: whoever has it takes changes in
	mu   sync.Mutex
	byID map[string]*list
}

func newCatalog(n *node.Node) *catalog {
	c := &catalog{node: n, turn: make(chan struct{}, 1), byID: map[string]*list{}}
	c.turn <- struct{}{}
	return c
}

// get returns the list of a collection, empty if it is new.
func (c *catalog) get(id, name string, v *node.View) *list {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.byID[id]; l != nil && sameView(l.view, v) {
		return l
	}
	l := &list{name: name, view: v, newest: map[uint64]uint32{}, moved: map[uint64]moved{}, again: map[uint64]uint64{}, number: map[string]uint16{}}
	c.byID[id] = l
	return l
}

// keepOnly forgets the lists of collections that are there no more.
func (c *catalog) keepOnly(ids map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.byID {
		if !ids[id] {
			delete(c.byID, id)
		}
	}
}

// sync brings all lists in step with the node as it is now. The first time it goes through the
// corpus, once for all of them. What ctx cuts short is gone on with by the next one. held are lists that
// whoever asks goes by: another request that knows of other views may have forgotten them meanwhile.
func (c *catalog) sync(ctx context.Context, held ...*list) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { c.turn <- struct{}{} }()
	goal, err := c.node.CursorAt(time.Unix(1<<40, 0))
	if err != nil {
		return err
	}
	c.mu.Lock()
	lists := slices.Clone(held)
	for _, l := range c.byID {
		if !slices.Contains(held, l) {
			lists = append(lists, l)
		}
	}
	c.mu.Unlock()
	at := goal
	for _, l := range lists {
		at = min(at, l.seen)
	}
	for at < goal {
		if err := ctx.Err(); err != nil {
			return err
		}
		changes, next, err := c.node.Changes(at, changesPage)
		if err != nil {
			return err
		}
		if next == at {
			return nil
		}
		for _, l := range lists {
			l.take(changes, next)
		}
		at = next
	}
	return nil
}

func (l *list) take(changes []node.Change, next uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range changes {
		if changes[i].Cursor > l.seen {
			l.note(&changes[i])
		}
	}
	l.seen = max(l.seen, next)
}

func sameView(a, b *node.View) bool { return bytes.Equal(protocol.Encode(a), protocol.Encode(b)) }
