package corpus

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Index finds the records of a corpus. It is opened once for each store, and belongs to it for
// as long as that is open.
//
// What is in memory is a copy of what stands in the key space, by random numbers that are
// never used again, so that it fits whatever state a transaction reads, and does not notice
// whether one was written. It is filled as it is needed: opening costs the same for any size. All
// methods may be called at once, for different transactions.
type Index struct {
	salt   [saltSize]byte
	limits Limits

	mu       sync.Mutex
	tables   [2]*table // of the log, as it begins now and as it began before; the latest used first
	segments map[uint64]filters
}

// Limits shape an index. They bound what is done at once, and not what is found; an index that
// was made with others is read as well.
type Limits struct {
	Log    int // entries after which the log becomes a segment
	Items  int // items of the log after which it does
	Page   int // entries of a page on the average, at most
	Fanout int // segments of about a size that are merged, from 2
	Heavy  int // entries of one hash that stay in a page, from 1
	Forget int // pages that are written anew in the transaction that erases, from 1
}

// DefaultLimits are those for a disk. 100,000 entries are 30,000 records, and take 6 MB of
// memory; a page of 512 takes 5 KB.
var DefaultLimits = Limits{Log: 100_000, Items: 1000, Page: 512, Fanout: 8, Heavy: 256, Forget: 400}

// TinyLimits make much happen with few records, in simulations.
var TinyLimits = Limits{Log: 60, Items: 8, Page: 6, Fanout: 2, Heavy: 5, Forget: 3}

const saltSize = 16

// Open returns the index of a corpus; limits of zero are DefaultLimits. The first time it
// writes: kv must be writable then.
func Open(kv KV, limits Limits) (*Index, error) {
	if limits == (Limits{}) {
		limits = DefaultLimits
	}
	x := &Index{limits: limits, segments: map[uint64]filters{}}
	v, err := kv.Get([]byte(kSalt))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading salt of the index: %w", err)
	case v == nil:
		rand.Read(x.salt[:])
		return x, kv.Set([]byte(kSalt), x.salt[:])
	case copy(x.salt[:], v) != saltSize || len(v) != saltSize:
		return nil, damaged("the salt of the index has %d bytes", len(v))
	}
	return x, nil
}

// What is hashed.
const (
	hashRecord = iota + 1
	hashStix
	hashObservable
)

// sum returns the salted hash of a value. The salt is a secret of this store: who chooses values
// cannot make them collide, nor fill one page with them.
func (x *Index) sum(kind byte, value ...string) [sha256.Size]byte {
	var space [256]byte
	b := append(append(space[:0], x.salt[:]...), kind)
	for _, v := range value {
		b = append(b, v...)
	}
	return sha256.Sum256(b)
}

// cut returns what is kept of eight bytes of a hash.
func cut(sum []byte) uint64 { return binary.BigEndian.Uint64(sum) >> (64 - hashBits) }

// recordHashes returns the hash of a record's id, and that of its tombstone: other bytes of the
// same.
func (x *Index) recordHashes(id *protocol.RecordID) (record, tomb uint64) {
	sum := x.sum(hashRecord, string(id[:]))
	return cut(sum[:8]), cut(sum[8:16])
}

func (x *Index) recordHash(id *protocol.RecordID) uint64 {
	record, _ := x.recordHashes(id)
	return record
}

func (x *Index) stixHash(id string) uint64 {
	sum := x.sum(hashStix, id)
	return cut(sum[:8])
}

func (x *Index) observableHash(o *stix.Observable) uint64 {
	sum := x.sum(hashObservable, string(o.Kind), "\x00", o.Value)
	return cut(sum[:8])
}

// entriesOf appends what a record is found by: its id, of which the hash is given, its STIX id, and
// its observables.
func (x *Index) entriesOf(list []entry, id uint64, rec *storedRecord, obs []stix.Observable, p place) []entry {
	e := entry{hash: id, cursor: p.cursor, index: uint8(p.index)}
	list = append(list, e)
	e.hash, e.kind, e.modified = x.stixHash(rec.StixID), isVersion, coarse(rec.Modified)
	list = append(list, e)
	e.kind, e.modified = isPlace, 0
	for i := range obs {
		e.hash = x.observableHash(&obs[i])
		list = append(list, e)
	}
	return list
}

// manifest says what the index consists of.
type manifest struct {
	_        struct{} `cbor:",toarray"`
	Log      logState
	Segments []segment // in the order in which they were made
	Merge    []merge   // what is being merged
	Forget   [2]uint64 // numbers of the lists of entries to be removed: from the first, up to the second
	Tombs    bool      // there are entries of tombstones
}

// logState says which items the log has.
type logState struct {
	_       struct{} `cbor:",toarray"`
	From    uint64   // number of the first one
	To      uint64   // number of the next one
	Tail    uint64   // id of the last one; 0 if there is none
	Entries uint64   // in all of them, those removed since included
}

// segment is a sorted part of the index. Page number n holds the entries whose hashes begin with
// the bits of n.
type segment struct {
	_       struct{} `cbor:",toarray"`
	ID      uint64   // random
	Entries uint64   // when it was made
	Base    uint64   // no cursor is lower
	Bits    uint8    // it has 1 << Bits pages
}

// merge is a merge under way. Of the space of hashes, cut into 1 << Bits equal parts, those below
// Done stand in Target only, and the others in the sources only.
type merge struct {
	_       struct{} `cbor:",toarray"`
	Sources []uint64
	Target  segment
	Bits    uint8
	Done    uint64
}

const (
	maxManifest    = 1 << 20
	maxSegments    = 4096
	maxSegmentBits = 24 // beyond that pages become larger
)

func readManifest(kv KV) (*manifest, error) {
	m := new(manifest)
	v, err := kv.Get([]byte(kManifest))
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	if v == nil {
		return m, nil
	}
	if err := protocol.Decode(v, maxManifest, m); err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	return m, m.check()
}

func (m *manifest) check() error {
	ok := m.Log.From <= m.Log.To && m.Log.To-m.Log.From <= 1<<30 && m.Forget[0] <= m.Forget[1] && len(m.Merge) <= maxSegments && len(m.Segments) <= maxSegments
	for i := range m.Segments {
		ok = ok && m.Segments[i].Bits <= maxSegmentBits
	}
	for i := range m.Merge {
		p := &m.Merge[i]
		ok = ok && p.Target.Bits <= maxSegmentBits && p.Bits <= p.Target.Bits && p.Done < 1<<p.Bits
		for _, id := range p.Sources {
			j := slices.IndexFunc(m.Segments, func(s segment) bool { return s.ID == id })
			ok = ok && j >= 0 && m.Segments[j].Bits >= p.Bits && m.Segments[j].Bits <= p.Target.Bits
		}
	}
	if !ok {
		return damaged("what the index consists of")
	}
	return nil
}

func (m *manifest) write(kv KV) error { return kv.Set([]byte(kManifest), protocol.Encode(m)) }

func (s *segment) page(hash uint64) uint64 { return hash >> (hashBits - s.Bits) }

// bounds returns the first hash of a page, and the first one beyond it.
func (s *segment) bounds(page uint64) (first, end uint64) {
	return page << (hashBits - s.Bits), (page + 1) << (hashBits - s.Bits)
}

// holds reports whether the entries of a hash may stand in a segment, because no merge moved
// them out of it, or has to move them into it still.
func (m *manifest) holds(s *segment, hash uint64) bool {
	for i := range m.Merge {
		p := &m.Merge[i]
		done := hash>>(hashBits-p.Bits) < p.Done
		switch {
		case s.ID == p.Target.ID:
			return done
		case slices.Contains(p.Sources, s.ID):
			return !done
		}
	}
	return true
}

// all lists the segments, that which is being made included.
func (m *manifest) all() []segment {
	list := slices.Clone(m.Segments)
	for i := range m.Merge {
		list = append(list, m.Merge[i].Target)
	}
	return list
}

func pageKey(segment, page uint64) []byte {
	return binary.BigEndian.AppendUint64(indexKey(kPage, nil, segment), page)
}

func itemKey(number uint64) []byte { return indexKey(kLog, nil, number) }

// A hash of more than Limits.Heavy entries, as of an observable that everybody reports, has
// lists of places beside the segments: its pages would not fit into a transaction otherwise. A
// list is a page whose entries have that one hash.
func heavyPrefix(hash uint64) []byte {
	b := binary.BigEndian.AppendUint16([]byte(kHeavy), uint16(hash>>32))
	return binary.BigEndian.AppendUint32(b, uint32(hash))
}

// heavyKey tells lists of a hash apart by the first entry in them, which stands in one only.
func heavyKey(first *entry) []byte {
	return binary.BigEndian.AppendUint64(heavyPrefix(first.hash), first.cursor<<2|uint64(first.kind))
}

// maxHeavyList bounds the entries of a list of a heavy hash.
const maxHeavyList = 1024

func readHeavy(kv KV, key, v []byte) ([]entry, error) {
	if len(key) != len(kHeavy)+6+8 {
		return nil, damaged("index of heavy hashes")
	}
	hash := binary.BigEndian.Uint64(key[len(key)-16:]) & (1<<hashBits - 1)
	plain, err := kv.Unwrap(key, v)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	return readPage(nil, plain, hash, hash+1, binary.BigEndian.Uint64(key[len(key)-8:])>>2)
}

// putPage writes a page, or removes it if there is nothing in it.
func putPage(kv KV, key []byte, first, base uint64, list []entry) error {
	wrapped, err := kv.Wrap(key, appendPage(make([]byte, 0, 16+len(list)*12), first, base, list))
	if err != nil {
		return err
	}
	return kv.Set(key, wrapped)
}

// filters are those of the pages of a segment, as far as they were made: in groups, so that a
// segment that is large, or says so, costs nothing until it is read.
type filters []atomic.Pointer[filterGroup]

type filterGroup [1 << filterGroupBits]atomic.Pointer[filter]

const filterGroupBits = 8

func (f filters) of(page uint64) *atomic.Pointer[filter] {
	group := &f[page>>filterGroupBits]
	g := group.Load()
	if g == nil {
		group.CompareAndSwap(nil, new(filterGroup))
		g = group.Load()
	}
	return &g[page%(1<<filterGroupBits)]
}

func (x *Index) filtersOf(s *segment) filters {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.segments[s.ID]
	if n := (1<<s.Bits-1)>>filterGroupBits + 1; len(f) != n {
		f = make(filters, n)
		x.segments[s.ID] = f
	}
	return f
}

// keepOnly forgets the filters of segments that are not in a manifest any more.
func (x *Index) keepOnly(m *manifest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := m.all()
	for id := range x.segments {
		if !slices.ContainsFunc(all, func(s segment) bool { return s.ID == id }) {
			delete(x.segments, id)
		}
	}
}

// table returns one that holds the log of a state.
func (x *Index) table(kv KV, l *logState) (*table, error) {
	if l.From == l.To {
		return newTable(l.From), nil
	}
	if t := x.held(l); t != nil {
		return t, nil
	}
	t := newTable(l.From)
	previous := uint64(0)
	for n := l.From; n < l.To; n++ {
		_, it, err := readItem(kv, n)
		if err != nil {
			return nil, err
		}
		if n > l.From && it.previous != previous {
			return nil, damaged("item %d of the index's log does not follow the one ahead of it", n)
		}
		previous = it.id
		t.add(n, it)
	}
	if previous != l.Tail {
		return nil, damaged("the index's log ends with another item")
	}
	x.keep(t)
	return t, nil
}

func (x *Index) held(l *logState) *table {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, t := range x.tables {
		if t != nil && t.from == l.From && t.holds(l.To, l.Tail) {
			x.tables[0], x.tables[i] = t, x.tables[0]
			return t
		}
	}
	return nil
}

func (x *Index) keep(t *table) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tables[0] == nil || x.tables[0].from != t.from {
		x.tables[1] = x.tables[0]
	}
	x.tables[0] = t
}

// readItem reads an item of the log, as it is wrapped too.
func readItem(kv KV, number uint64) (wrapped []byte, it *logItem, err error) {
	wrapped, plain, err := readWrapped(kv, itemKey(number))
	if err != nil {
		return nil, nil, err
	}
	it, err = unpackItem(plain)
	return wrapped, it, err
}

// readWrapped reads a part of the index that has to be there, as it is wrapped too.
func readWrapped(kv KV, key []byte) (wrapped, plain []byte, err error) {
	if wrapped, err = kv.Get(key); err == nil && wrapped == nil {
		err = damaged("a part of the index, %q, is missing", key)
	}
	if err == nil {
		plain, err = kv.Unwrap(key, wrapped)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading index: %w", err)
	}
	return wrapped, plain, nil
}

func putItem(kv KV, number uint64, it *logItem) error {
	key := itemKey(number)
	wrapped, err := kv.Wrap(key, packItem(it))
	if err != nil {
		return err
	}
	return kv.Set(key, wrapped)
}

// maxItemEntries bounds the entries of an item that is written, far below what a value may hold.
const maxItemEntries = 32 << 10

// note adds entries to the log. They are found from then on.
func (x *Index) note(kv KV, m *manifest, list []entry) error {
	l := &m.Log
	t, err := x.table(kv, l)
	if err != nil {
		return err
	}
	if l.From == l.To {
		l.Tail = 0
		x.keep(t)
	}
	for part := range slices.Chunk(list, maxItemEntries) {
		it := &logItem{id: randomID(), previous: l.Tail, entries: part}
		if err := putItem(kv, l.To, it); err != nil {
			return fmt.Errorf("writing index: %w", err)
		}
		t.add(l.To, it)
		l.To, l.Tail, l.Entries = l.To+1, it.id, l.Entries+uint64(len(part))
	}
	return nil
}

func randomID() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) | 1 // not 0
}
