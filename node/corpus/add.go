package corpus

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Add stores the records of a block that are not held yet, whichever way they came, and
// returns how many those were. It reads by Get only, so its cost does not grow with what
// the transaction wrote before. Nothing of the block is kept.
func Add(kv KV, block Block) (added int, err error) {
	added, _, err = AddKnowing(kv, block)
	return added, err
}

// AddKnowing is Add; erased lists the records of the block that were left out because they were
// erased before they came.
func AddKnowing(kv KV, block Block) (added int, erased []Gone, err error) {
	c, err := readCounters(kv)
	if err != nil {
		return 0, nil, err
	}
	a := &adder{kv: kv, block: &block, next: c.Next, types: map[string]uint64{}}
	a.start()
	for i := range block.Records {
		if err := a.add(i); err != nil {
			return 0, nil, fmt.Errorf("adding record %s: %w", block.Records[i].Record.Short(), err)
		}
	}
	if err := a.flush(); err != nil {
		return 0, nil, fmt.Errorf("adding block: %w", err)
	}
	added = int(a.next - c.Next)
	if added == 0 {
		return 0, a.erased, nil
	}
	for t, n := range a.types {
		if err := countType(kv, t, int64(n)); err != nil {
			return 0, nil, fmt.Errorf("counting records: %w", err)
		}
	}
	return added, a.erased, counters{Next: a.next, Records: c.Records + uint64(added)}.write(kv)
}

// adder gathers records into blocks.
type adder struct {
	kv      KV
	block   *Block
	next    uint64 // cursor of the next record
	first   uint64 // cursor of the block being gathered
	size    int
	stored  storedBlock
	classes map[string]uint16
	types   map[string]uint64
	erased  []Gone  // left out because they were erased before they came
	read    *reader // of blocks that hold what comes again; nil until one is met
}

func (a *adder) start() {
	b := a.block
	a.first, a.size, a.classes = a.next, 0, map[string]uint16{}
	a.stored = storedBlock{Feed: b.Feed, Seq: b.Seq, Topic: b.Topic, Publisher: b.Publisher, Received: b.Received}
}

func (a *adder) add(i int) error {
	rec := &a.block.Records[i]
	key := append([]byte(kRecord), rec.Record[:]...)
	held, err := a.kv.Get(key)
	if err != nil {
		return err
	}
	if held != nil {
		return a.again(rec.Record, held)
	}
	gone, err := tombOf(a.kv, rec.Record, rec.Originator, a.block.Publisher)
	if err != nil {
		return err
	}
	if gone != nil {
		a.erased = append(a.erased, Gone{rec.Record, gone.Reason})
		return nil
	}
	if n := len(rec.Object.Raw); n > protocol.MaxObjectSize {
		return protocol.Errorf(protocol.ErrOversize, "object has %d bytes, at most %d", n, protocol.MaxObjectSize)
	}
	if a.size > 0 && (a.size+len(rec.Object.Raw) > blockTarget || len(a.stored.Records) >= maxBlockRecords) {
		if err := a.flush(); err != nil {
			return err
		}
	}
	o := rec.Object
	stored := storedRecord{Record: rec.Record, Index: uint32(i), Class: a.class(rec),
		StixID: o.ID, Type: o.Type, Modified: nanos(o.Modified), Revoked: o.Revoked, Object: o.Raw}
	if err := setIndexes(a.kv, o, &stored, a.next, uint16(len(a.stored.Records))); err != nil {
		return err
	}
	if rec.Expires != 0 {
		if err := a.kv.Set(append(binary.BigEndian.AppendUint64([]byte(kExpiry), rec.Expires), rec.Record[:]...), nil); err != nil {
			return err
		}
	}
	a.stored.Records = append(a.stored.Records, stored)
	a.size += len(o.Raw)
	a.types[o.Type]++
	a.next++
	return nil
}

// again notes that the block holds a record that is here already, from another envelope.
func (a *adder) again(record protocol.RecordID, held []byte) error {
	p, err := placeOf(held)
	if err != nil || p.cursor >= a.first {
		return err // it stands twice in the block
	}
	if a.read == nil {
		a.read = newReader(a.kv)
	}
	b, err := a.read.block(p.block())
	if err != nil || b.Feed == a.block.Feed && b.Seq == a.block.Seq {
		return err
	}
	return a.kv.Set(copyKey(record, a.block.Feed, a.block.Seq), nil)
}

// setIndexes sets what a record is found by, but for what it has in common with its block.
func setIndexes(kv KV, o *stix.Object, rec *storedRecord, cursor uint64, inBlock uint16) error {
	at := binary.BigEndian.AppendUint64(nil, cursor)
	index := binary.BigEndian.AppendUint16(nil, inBlock)
	if err := kv.Set(append([]byte(kRecord), rec.Record[:]...), append(at, index...)); err != nil {
		return err
	}
	version := append(binary.BigEndian.AppendUint64(nil, rec.Modified), index...)
	if err := kv.Set(indexKey(kStix, hash16(o.ID), cursor), version); err != nil {
		return err
	}
	for _, ob := range searchable(o) {
		if err := kv.Set(indexKey(kObservable, hash16(observableName(ob)), cursor), index); err != nil {
			return err
		}
		if err := noteLength(kv, ob); err != nil {
			return err
		}
	}
	return nil
}

func (a *adder) class(rec *NewRecord) uint16 {
	c := class{Originator: rec.Originator, Handling: rec.Handling, Agreement: rec.Agreement, Term: uint32(max(rec.Term, 0)), Text: rec.Text}
	key := string(protocol.Encode(&c))
	n, ok := a.classes[key]
	if !ok {
		n = uint16(len(a.stored.Classes))
		a.classes[key] = n
		a.stored.Classes = append(a.stored.Classes, c)
	}
	return n
}

// flush writes the block gathered so far and begins the next one.
func (a *adder) flush() error {
	if len(a.stored.Records) == 0 {
		return nil
	}
	if err := putBlock(a.kv, a.first, &a.stored); err != nil {
		return err
	}
	keys := [][]byte{
		indexKey(envelopePrefix(a.block.Feed, a.block.Seq), nil, a.first),
		indexKey(kTopic, hash16(a.block.Topic), a.first),
		indexKey(kReceived, binary.BigEndian.AppendUint64(nil, a.block.Received), a.first),
	}
	var types []string
	for i := range a.stored.Records {
		if t := a.stored.Records[i].Type; !slices.Contains(types, t) {
			types = append(types, t)
			keys = append(keys, indexKey(kType, hash16(t), a.first))
		}
	}
	for _, k := range keys {
		if err := a.kv.Set(k, nil); err != nil {
			return err
		}
	}
	a.start()
	return nil
}

func putBlock(kv KV, cursor uint64, b *storedBlock) error {
	key := indexKey(kBlock, nil, cursor)
	wrapped, err := kv.Wrap(key, packBlock(b))
	if err != nil {
		return err
	}
	return kv.Set(key, wrapped)
}

func envelopePrefix(feed protocol.FeedID, seq uint64) string {
	return string(binary.BigEndian.AppendUint64(append([]byte(kEnvelope), feed[:]...), seq))
}

// searchable lists what an object is found by: its observables and their hosts.
func searchable(o *stix.Object) []stix.Observable {
	list := slices.Clone(stix.Observables(o))
	for _, ob := range list {
		if host, ok := ob.Host(); ok {
			list = append(list, host)
		}
	}
	out := list[:0]
	for i, ob := range list {
		if !slices.Contains(list[:i], ob) {
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

// noteLength remembers the length of a CIDR, so that a search tries only those that occur.
func noteLength(kv KV, o stix.Observable) error {
	if o.Kind != stix.IPv4CIDR && o.Kind != stix.IPv6CIDR {
		return nil
	}
	p, err := netip.ParsePrefix(o.Value)
	if err != nil {
		return fmt.Errorf("reading prefix: %w", err)
	}
	l, err := readLengths(kv)
	if err != nil {
		return err
	}
	b, bit := l.bit(p)
	if *b&bit != 0 {
		return nil
	}
	*b |= bit
	return kv.Set([]byte(kLengths), l[:])
}
