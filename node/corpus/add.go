package corpus

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Prepared is a block ready to be added: read, compressed and hashed, which needs no transaction
// and takes most of the time. It does not change, and may be added again if a transaction was
// not written.
type Prepared struct {
	block       Block
	blocks      []preparedBlock
	ids         []uint64 // hash of the id of each record of block
	tombs       []uint64 // hash of its tombstone
	observables [][]stix.Observable
	order       []int32  // the records of block, each once, by the hashes of their ids, rising
	hashes      []uint64 // these
}

// preparedBlock is what is stored as one block, if all records of it are.
type preparedBlock struct {
	from, to int // records
	stored   storedBlock
	packed   []byte
	entries  []entry // by which they are found; their cursors begin with 1
}

// Prepare makes a block ready to be added. It keeps its records until it is done with.
func (x *Index) Prepare(block Block) (*Prepared, error) {
	n := len(block.Records)
	p := &Prepared{block: block, ids: make([]uint64, n), tombs: make([]uint64, n), observables: make([][]stix.Observable, n)}
	for i := range block.Records {
		p.ids[i], p.tombs[i] = x.recordHashes(&block.Records[i].Record)
	}
	p.sortRecords()
	twice := make([]bool, len(block.Records))
	for i := range twice {
		twice[i] = true
	}
	for _, i := range p.order {
		twice[i] = false
	}
	for i := range block.Records {
		rec := &block.Records[i]
		if n := len(rec.Object.Raw); n > protocol.MaxObjectSize {
			return nil, fmt.Errorf("record %s: %w", rec.Record.Short(), protocol.Errorf(protocol.ErrOversize, "object has %d bytes, at most %d", n, protocol.MaxObjectSize))
		}
		obs := rec.Observables
		if obs == nil {
			obs = stix.Observables(rec.Object)
		}
		p.observables[i] = searchable(obs)
	}
	for from := 0; from < len(block.Records); {
		to, size, count := from, 0, 0
		for ; to < len(block.Records); to++ {
			if twice[to] {
				continue
			}
			n := len(block.Records[to].Object.Raw)
			if count > 0 && (size+n > blockTarget || count >= maxBlockRecords) {
				break
			}
			size += n
			count++
		}
		b := preparedBlock{from: from, to: to}
		p.gather(x, &b, func(i int) bool { return !twice[i] })
		p.blocks = append(p.blocks, b)
		from = to
	}
	return p, nil
}

// Size returns about how many bytes Add writes.
func (p *Prepared) Size() (bytes int) {
	for i := range p.blocks {
		bytes += len(p.blocks[i].packed) + 512 + 12*len(p.blocks[i].entries)
	}
	return bytes
}

// sortRecords puts the records in the order of their hashes. One that stands in the block twice
// counts where it stands first.
func (p *Prepared) sortRecords() {
	order := make([]int32, len(p.ids))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if p.ids[a] != p.ids[b] {
			return cmp.Compare(p.ids[a], p.ids[b])
		}
		return cmp.Compare(a, b)
	})
	p.order, p.hashes = make([]int32, 0, len(order)), make([]uint64, 0, len(order))
	for _, i := range order {
		again := false
		for n := len(p.order) - 1; n >= 0 && p.hashes[n] == p.ids[i] && !again; n-- {
			again = p.block.Records[p.order[n]].Record == p.block.Records[i].Record
		}
		if !again {
			p.order, p.hashes = append(p.order, i), append(p.hashes, p.ids[i])
		}
	}
}

// gather fills a block with those of its records that are to be in it.
func (p *Prepared) gather(x *Index, b *preparedBlock, in func(i int) bool) {
	from := &p.block
	b.stored = storedBlock{Feed: from.Feed, Seq: from.Seq, Topic: from.Topic, Publisher: from.Publisher, Received: from.Received, SealedAt: from.SealedAt}
	b.entries, b.packed = make([]entry, 0, 4*(b.to-b.from)), nil
	b.stored.Records = make([]storedRecord, 0, b.to-b.from)
	classes := map[string]uint16{}
	var last *NewRecord // records beside each other mostly are of one class
	class := uint16(0)
	for i := b.from; i < b.to; i++ {
		if !in(i) {
			continue
		}
		rec := &from.Records[i]
		if last == nil || !sameClass(last, rec) {
			class = b.stored.class(classes, rec)
			last = rec
		}
		o := rec.Object
		b.stored.Records = append(b.stored.Records, storedRecord{Record: rec.Record, Index: uint32(i), Class: class,
			StixID: o.ID, Type: o.Type, Modified: nanos(o.Modified), Revoked: o.Revoked, Object: o.Raw})
		n := len(b.stored.Records)
		b.entries = x.entriesOf(b.entries, p.ids[i], &b.stored.Records[n-1], p.observables[i], place{uint64(n), uint16(n - 1)})
	}
	if len(b.stored.Records) > 0 {
		b.packed = packBlock(&b.stored)
	}
}

func (b *storedBlock) class(known map[string]uint16, rec *NewRecord) uint16 {
	c := class{Originator: rec.Originator, Handling: rec.Handling, Agreement: rec.Agreement, Term: uint32(max(rec.Term, 0)), Text: rec.Text, Form: rec.Form}
	key := string(protocol.Encode(&c))
	n, ok := known[key]
	if !ok {
		n = uint16(len(b.Classes))
		known[key] = n
		b.Classes = append(b.Classes, c)
	}
	return n
}

// Added says what became of the records of a block.
type Added struct {
	Records int    // that were added
	Erased  []Gone // that were left out because they were erased before they came
}

// Add stores the records of a block that are not held yet, whichever way they came. It reads by
// Get only, so its cost does not grow with what the transaction wrote before. Nothing of the
// block is kept.
func (x *Index) Add(kv KV, p *Prepared) (Added, error) {
	if len(p.block.Records) == 0 {
		return Added{}, nil
	}
	a := &adder{x: x, kv: kv, p: p}
	if err := a.add(); err != nil {
		return Added{}, fmt.Errorf("adding block: %w", err)
	}
	return a.out, nil
}

type adder struct {
	x       *Index
	kv      KV
	p       *Prepared
	m       *manifest
	find    *finder
	leave   map[int]bool // records that are here, or were erased
	types   map[string]uint64
	lengths lengthNoter
	note    []entry
	out     Added
}

func (a *adder) add() (err error) {
	c, err := readCounters(a.kv)
	if err != nil {
		return err
	}
	if a.m, err = readManifest(a.kv); err != nil {
		return err
	}
	if a.find, err = a.x.finderOf(a.kv, a.m); err != nil {
		return err
	}
	a.leave, a.types = map[int]bool{}, map[string]uint64{}
	if err := errors.Join(a.held(), a.erased()); err != nil {
		return err
	}
	first, count := c.Next, 0
	for i := range a.p.blocks {
		count += len(a.p.blocks[i].entries)
	}
	a.note = make([]entry, 0, count)
	for i := range a.p.blocks {
		b := &a.p.blocks[i]
		if c.Next > maxCursor-maxBlockRecords {
			return errors.New("the corpus is full: all cursors were given")
		}
		n, err := a.store(b, &c)
		if err != nil {
			return err
		}
		c.Next += uint64(n)
	}
	if c.Next == first {
		return nil
	}
	for t, n := range a.types {
		if err := countType(a.kv, t, int64(n)); err != nil {
			return fmt.Errorf("counting records: %w", err)
		}
	}
	a.out.Records = int(c.Next - first)
	c.Records += c.Next - first
	if err := a.x.note(a.kv, a.m, a.note); err != nil {
		return err
	}
	return errors.Join(a.m.write(a.kv), c.write(a.kv))
}

// held finds the records that are here already, and notes that the block holds them too, if it
// is not the one that they came in.
func (a *adder) held() error {
	list, err := a.find.find(a.p.hashes)
	if err != nil {
		return err
	}
	// By where they stand, so that each block is read once.
	slices.SortFunc(list, func(x, y found) int { return cmp.Compare(x.cursor, y.cursor) })
	r := newReader(a.kv)
	for i := range list {
		e := &list[i]
		if e.kind != isPlace {
			continue
		}
		// Only who looks at the record knows; more than one may have this hash.
		for which := e.which; which < len(a.p.hashes) && a.p.hashes[which] == e.hash; which++ {
			n := int(a.p.order[which])
			id := a.p.block.Records[n].Record
			b, rec, err := r.record(e.place())
			if err != nil {
				return err
			}
			if rec == nil || rec.Record != id {
				continue
			}
			a.leave[n] = true
			if b.Feed == a.p.block.Feed && b.Seq == a.p.block.Seq {
				continue
			}
			if err := a.kv.Set(copyKey(id, a.p.block.Feed, a.p.block.Seq), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// erased finds the records that were erased before they came. Whether there may be a tombstone
// is asked of the index, which mostly knows without reading.
func (a *adder) erased() error {
	if !a.m.Tombs {
		return nil
	}
	order := make([]int32, 0, len(a.p.order))
	for _, n := range a.p.order {
		if !a.leave[int(n)] {
			order = append(order, n)
		}
	}
	slices.SortFunc(order, func(x, y int32) int { return cmp.Compare(a.p.tombs[x], a.p.tombs[y]) })
	hashes := make([]uint64, len(order))
	for i, n := range order {
		hashes[i] = a.p.tombs[n]
	}
	list, err := a.find.find(hashes)
	if err != nil {
		return err
	}
	gone := map[int]protocol.EraseReason{}
	for i := range list {
		if list[i].kind != isTomb {
			continue
		}
		for which := list[i].which; which < len(hashes) && hashes[which] == list[i].hash; which++ {
			n := int(order[which])
			rec := &a.p.block.Records[n]
			tomb, err := tombOf(a.kv, rec.Record, rec.Originator, a.p.block.Publisher)
			if err != nil {
				return err
			}
			if tomb != nil {
				a.leave[n], gone[n] = true, tomb.Reason
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(gone)) {
		a.out.Erased = append(a.out.Erased, Gone{a.p.block.Records[n].Record, gone[n]})
	}
	return nil
}

// store writes a block, with what all of its records are found by at once, and returns how many
// records that are.
func (a *adder) store(b *preparedBlock, c *counters) (int, error) {
	cursor := c.Next
	if len(a.leave) > 0 {
		some := false
		for i := b.from; i < b.to; i++ {
			some = some || a.leave[i]
		}
		if some {
			left := *b
			in := map[int]bool{}
			for i := range b.stored.Records {
				n := int(b.stored.Records[i].Index)
				in[n] = !a.leave[n]
			}
			a.p.gather(a.x, &left, func(i int) bool { return in[i] })
			b = &left
		}
	}
	if len(b.stored.Records) == 0 {
		return 0, nil
	}
	packed := slices.Clone(b.packed) // which may be added again
	binary.BigEndian.PutUint64(packed[1:], c.stamp(a.p.block.Received, len(b.stored.Records)))
	if err := putPacked(a.kv, cursor, packed); err != nil {
		return 0, err
	}
	if err := setIndexes(a.kv, &b.stored, cursor); err != nil {
		return 0, err
	}
	expires := map[uint64][]byte{}
	for i := range b.stored.Records {
		rec := &b.stored.Records[i]
		a.types[rec.Type]++
		if t := a.p.block.Records[rec.Index].Expires; t != 0 {
			expires[t] = append(expires[t], byte(i))
		}
		for _, ob := range a.p.observables[rec.Index] {
			if err := a.lengths.note(a.kv, ob); err != nil {
				return 0, err
			}
		}
	}
	for t, list := range expires {
		if err := a.kv.Set(expiryKey(t, cursor), list); err != nil {
			return 0, err
		}
	}
	at := len(a.note)
	a.note = append(a.note, b.entries...)
	for i := at; i < len(a.note); i++ {
		a.note[i].cursor += cursor - 1
	}
	return len(b.stored.Records), nil
}

// setIndexes sets what the records of a block have in common.
func setIndexes(kv KV, b *storedBlock, cursor uint64) error {
	keys := [][]byte{
		indexKey(envelopePrefix(b.Feed, b.Seq), nil, cursor),
		indexKey(kTopic, hash16(b.Topic), cursor),
		indexKey(kReceived, binary.BigEndian.AppendUint64(nil, b.Received), cursor),
	}
	var types []string
	for i := range b.Records {
		if rec := &b.Records[i]; !rec.Gone && !slices.Contains(types, rec.Type) {
			types = append(types, rec.Type)
			keys = append(keys, indexKey(kType, hash16(rec.Type), cursor))
		}
	}
	for _, k := range keys {
		if err := kv.Set(k, nil); err != nil {
			return err
		}
	}
	return nil
}

func putBlock(kv KV, cursor uint64, b *storedBlock) error { return putPacked(kv, cursor, packBlock(b)) }

func putPacked(kv KV, cursor uint64, packed []byte) error {
	key := indexKey(kBlock, nil, cursor)
	wrapped, err := kv.Wrap(key, packed)
	if err != nil {
		return err
	}
	return kv.Set(key, wrapped)
}

// sameClass reports whether two records have in common what a class says.
func sameClass(a, b *NewRecord) bool {
	return a.Originator == b.Originator && a.Agreement == b.Agreement && a.Term == b.Term && a.Text == b.Text && a.Form == b.Form && sameHandling(&a.Handling, &b.Handling)
}

func sameHandling(a, b *protocol.Handling) bool {
	return a.Version == b.Version && a.TLP == b.TLP && a.PAP == b.PAP && a.Personal == b.Personal && a.RetentionDays == b.RetentionDays &&
		a.Origin == b.Origin && a.Onward.Rule == b.Onward.Rule && a.Onward.Ceiling == b.Onward.Ceiling &&
		slices.Equal(a.Onward.Orgs, b.Onward.Orgs) && slices.Equal(a.Onward.Kinds, b.Onward.Kinds) &&
		slices.Equal(a.Countries, b.Countries) && slices.Equal(a.Purposes, b.Purposes) &&
		slices.Equal(a.Excluded, b.Excluded) && slices.Equal(a.Named, b.Named)
}

func envelopePrefix(feed protocol.FeedID, seq uint64) string {
	return string(binary.BigEndian.AppendUint64(append([]byte(kEnvelope), feed[:]...), seq))
}

// searchable lists what an object is found by: its observables and their hosts. It writes to no
// part of obs.
func searchable(obs []stix.Observable) []stix.Observable {
	list := slices.Clip(obs)
	for _, ob := range obs {
		if host, ok := ob.Host(); ok {
			list = append(list, host)
		}
	}
	if len(list) < 2 {
		return list
	}
	seen := make(map[stix.Observable]bool, len(list))
	out := make([]stix.Observable, 0, len(list))
	for _, ob := range list {
		if !seen[ob] {
			seen[ob] = true
			out = append(out, ob)
		}
	}
	return out
}

// nanos returns t in nanoseconds since 1970, 0 for no time. What lies outside of what they
// can say is moved to the nearest that they can.
func nanos(t time.Time) uint64 {
	switch {
	case t.IsZero() || t.Unix() <= 0:
		return 0
	case t.Unix() >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return uint64(t.UnixNano())
}

// lengths is a set of CIDR prefix lengths: IPv4 at 0 to 32, IPv6 at 33 to 161.
type lengths [21]byte

func readLengths(kv KV) (l lengths, err error) {
	b, err := kv.Get([]byte(kLengths))
	if err == nil && b != nil && copy(l[:], b) != len(l) {
		err = damaged("set of prefix lengths has %d bytes", len(b))
	}
	return l, err
}

func (l *lengths) bit(p netip.Prefix) (*byte, byte) {
	n := p.Bits()
	if p.Addr().Is6() {
		n += 33
	}
	return &l[n/8], 1 << (n % 8)
}

// lengthNoter remembers the lengths of CIDRs, so that a search tries only those that occur.
type lengthNoter struct {
	have *lengths // nil: not read yet
}

func (n *lengthNoter) note(kv KV, o stix.Observable) error {
	if o.Kind != stix.IPv4CIDR && o.Kind != stix.IPv6CIDR {
		return nil
	}
	p, err := netip.ParsePrefix(o.Value)
	if err != nil {
		return fmt.Errorf("reading prefix: %w", err)
	}
	if n.have == nil {
		l, err := readLengths(kv)
		if err != nil {
			return err
		}
		n.have = &l
	}
	b, bit := n.have.bit(p)
	if *b&bit != 0 {
		return nil
	}
	*b |= bit
	return kv.Set([]byte(kLengths), n.have[:])
}
