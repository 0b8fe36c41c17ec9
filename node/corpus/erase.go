package corpus

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// erasedDoc is what is kept of a record that was erased.
type erasedDoc struct {
	_      struct{} `cbor:",toarray"`
	Reason protocol.EraseReason
	At     uint64 // Unix milliseconds
}

func erasedKey(record protocol.RecordID, by protocol.OrgID) []byte {
	return append(append([]byte(kErased), record[:]...), by[:]...)
}

// Locally, as the organisation that erases, means: for this corpus, whoever the record is of.
var Locally protocol.OrgID

// Erased reports whether a record was erased locally or by one of some organisations: it is
// then neither shown nor added, whichever way it comes.
func Erased(kv KV, record protocol.RecordID, by ...protocol.OrgID) (bool, error) {
	d, err := tombOf(kv, record, by...)
	return d != nil, err
}

// Erasure is Erased with the reason that was given.
func Erasure(kv KV, record protocol.RecordID, by ...protocol.OrgID) (reason protocol.EraseReason, erased bool, err error) {
	d, err := tombOf(kv, record, by...)
	if err != nil || d == nil {
		return 0, false, err
	}
	return d.Reason, true, nil
}

// ErasedBy reports whether an organisation erased a record by its word to everybody.
func ErasedBy(kv KV, record protocol.RecordID, org protocol.OrgID) (bool, error) {
	v, err := kv.Get(erasedKey(record, org))
	if err != nil {
		return false, fmt.Errorf("reading tombstone: %w", err)
	}
	return v != nil, nil
}

// ErasedByAny reports whether a record was erased by anybody.
func ErasedByAny(kv KV, record protocol.RecordID) (yes bool, err error) {
	err = kv.Scan(append([]byte(kErased), record[:]...), nil, false, func(_, _ []byte) (bool, error) { yes = true; return false, nil })
	return yes, err
}

func tombOf(kv KV, record protocol.RecordID, by ...protocol.OrgID) (*erasedDoc, error) {
	for i, org := range append([]protocol.OrgID{Locally}, by...) {
		if i == 2 && org == by[0] {
			continue
		}
		v, err := kv.Get(erasedKey(record, org))
		if err != nil {
			return nil, fmt.Errorf("reading tombstone: %w", err)
		}
		if v != nil {
			d := new(erasedDoc)
			if err := protocol.Decode(v, 64, d); err != nil {
				return nil, fmt.Errorf("reading tombstone: %w", err)
			}
			return d, nil
		}
	}
	return nil, nil
}

// Gone is a record that was erased, and why.
type Gone struct {
	Record protocol.RecordID
	Reason protocol.EraseReason
}

// Copy is a record in an envelope.
type Copy struct {
	Record protocol.RecordID
	Feed   protocol.FeedID
	Seq    uint64
	// Meant says that it goes on the word of the organisation that erased the record, whoever
	// sealed it: because that made the record, or erased it Locally. If not, only that organisation's
	// own envelopes go.
	Meant bool
}

func copyKey(record protocol.RecordID, feed protocol.FeedID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append([]byte(kCopy), record[:]...), feed[:]...), seq)
}

// Copies lists the envelopes that hold a record, as far as they were opened here: first the one
// that it is kept from, if it is here. What of their bodies is left is for the caller to see.
func (x *Index) Copies(kv KV, record protocol.RecordID) (out []Copy, err error) {
	e, err := x.Get(kv, record)
	if err != nil {
		return nil, err
	}
	return copiesOf(kv, record, e)
}

func copiesOf(kv KV, record protocol.RecordID, e *Entry) (out []Copy, err error) {
	if e != nil {
		out = append(out, Copy{Record: record, Feed: e.Feed, Seq: e.Seq})
	}
	prefix := append([]byte(kCopy), record[:]...)
	err = kv.Scan(prefix, nil, false, func(k, _ []byte) (bool, error) {
		if len(k) != len(prefix)+40 {
			return false, damaged("index of copies")
		}
		c := Copy{Record: record, Feed: protocol.FeedID(k[len(prefix):]), Seq: binary.BigEndian.Uint64(k[len(k)-8:])}
		if e == nil || c.Feed != e.Feed || c.Seq != e.Seq {
			out = append(out, c)
		}
		return true, nil
	})
	return out, err
}

// CountCopies counts the envelopes that are noted to hold a record beside the one that it is kept
// from. It is cheaper than Others.
func CountCopies(kv KV, record protocol.RecordID) (count int, err error) {
	err = kv.Scan(append([]byte(kCopy), record[:]...), nil, false, func(_, _ []byte) (bool, error) { count++; return true, nil })
	return count, err
}

// Others lists the copies of a record that Erase would return on the word of an organisation, but
// for the one that it is kept from.
func (x *Index) Others(kv KV, record protocol.RecordID, by protocol.OrgID) ([]Copy, error) {
	e, list, err := x.reader(kv).copiesFor(record, by)
	if err == nil && e != nil {
		list = list[1:]
	}
	return list, err
}

// copiesFor returns a record, nil if it is not here, and its copies, on the word of an organisation.
func (r *reader) copiesFor(record protocol.RecordID, by protocol.OrgID) (*Entry, []Copy, error) {
	e, err := r.get(record)
	if err != nil {
		return nil, nil, err
	}
	list, err := copiesOf(r.kv, record, e)
	for i := range list {
		list[i].Meant = by == Locally || e != nil && by == e.Originator
	}
	return e, list, err
}

// ForgetCopy forgets that an envelope holds a record: its body was destroyed.
func ForgetCopy(kv KV, c Copy) error { return kv.Delete(copyKey(c.Record, c.Feed, c.Seq)) }

// Erase takes records out for ever, here or still to come, on the word of an organisation,
// and destroys what they said. It counts for records that the organisation made or sent, and
// for all if it is Locally. It returns the copies of them that are known here, for the caller to
// destroy. Records that share their blocks stay, with their cursors.
func (x *Index) Erase(kv KV, records []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason, at uint64) (copies []Copy, err error) {
	places := map[uint64]map[protocol.RecordID]bool{}
	var gone []Entry
	r := x.reader(kv)
	for _, id := range records {
		e, list, err := r.copiesFor(id, by)
		if err != nil {
			return nil, err
		}
		if err := kv.Set(erasedKey(id, by), protocol.Encode(&erasedDoc{Reason: reason, At: at})); err != nil {
			return nil, err
		}
		copies = append(copies, list...)
		if e == nil || by != Locally && by != e.Originator && by != e.Publisher {
			continue
		}
		first := e.Cursor - uint64(e.inBlock)
		if places[first] == nil {
			places[first] = map[protocol.RecordID]bool{}
		}
		if !places[first][id] {
			gone = append(gone, *e)
		}
		places[first][id] = true
	}
	if err := x.noteTombs(kv, records); err != nil {
		return nil, fmt.Errorf("erasing records: %w", err)
	}
	var found []entry
	for _, cursor := range slices.Sorted(maps.Keys(places)) {
		ids := places[cursor]
		if _, found, err = x.takeOut(kv, cursor, found, func(r *storedRecord) bool { return ids[r.Record] }); err != nil {
			return nil, fmt.Errorf("erasing records: %w", err)
		}
	}
	if err := x.forget(kv, found); err != nil {
		return nil, fmt.Errorf("erasing records: %w", err)
	}
	if err := (changer{kv, at}).gone(ChangeErased, gone); err != nil {
		return nil, err
	}
	return copies, nil
}

// noteTombs has the index say that there are tombstones of records, so that whoever adds looks for
// them.
func (x *Index) noteTombs(kv KV, records []protocol.RecordID) error {
	if len(records) == 0 {
		return nil
	}
	m, err := readManifest(kv)
	if err != nil {
		return err
	}
	list := make([]entry, len(records))
	for i := range records {
		_, hash := x.recordHashes(&records[i])
		list[i] = entry{hash: hash, kind: isTomb}
	}
	m.Tombs = true
	if err := x.note(kv, m, list); err != nil {
		return err
	}
	return m.write(kv)
}

// InEnvelope lists the records that were added of an envelope and are here.
func InEnvelope(kv KV, feed protocol.FeedID, seq uint64) (out []Entry, err error) {
	r := newReader(kv)
	err = eachBlockOf(kv, feed, seq, func(cursor uint64) error {
		b, err := r.block(cursor)
		if err != nil {
			return err
		}
		for i := range b.Records {
			e, err := r.entry(place{cursor + uint64(i), uint16(i)})
			if err != nil {
				return err
			}
			if e != nil {
				out = append(out, *e)
			}
		}
		return nil
	})
	return out, err
}

// TakeOut takes out the records of an envelope and destroys what is stored of them here.
// They are not erased: they may be added again, from elsewhere. Others lists the envelopes that
// hold some of them too, each once. That this one does stays noted. At is the time, Unix milliseconds.
func (x *Index) TakeOut(kv KV, feed protocol.FeedID, seq, at uint64) (gone int, others []protocol.EntryRef, err error) {
	in, err := InEnvelope(kv, feed, seq)
	if err != nil {
		return 0, nil, err
	}
	listed := map[protocol.EntryRef]bool{{Feed: feed, Seq: seq}: true}
	for i := range in {
		list, err := copiesOf(kv, in[i].Record, &in[i])
		if err != nil {
			return 0, nil, err
		}
		for _, c := range list {
			if at := (protocol.EntryRef{Feed: c.Feed, Seq: c.Seq}); !listed[at] {
				listed[at] = true
				others = append(others, at)
			}
		}
	}
	for i := range in { // after all that is scanned: scanning costs more in a transaction that wrote much
		if err := kv.Set(copyKey(in[i].Record, feed, seq), nil); err != nil {
			return 0, nil, err
		}
	}
	var cursors []uint64
	if err := eachBlockOf(kv, feed, seq, func(cursor uint64) error { cursors = append(cursors, cursor); return nil }); err != nil {
		return 0, nil, err
	}
	var found []entry
	for _, c := range cursors {
		var n int
		if n, found, err = x.takeOut(kv, c, found, func(*storedRecord) bool { return true }); err != nil {
			return gone, nil, fmt.Errorf("taking records out: %w", err)
		}
		gone += n
	}
	if err := x.forget(kv, found); err != nil {
		return gone, nil, fmt.Errorf("taking records out: %w", err)
	}
	return gone, others, changer{kv, at}.gone(ChangeGone, in)
}

func eachBlockOf(kv KV, feed protocol.FeedID, seq uint64, fn func(cursor uint64) error) error {
	return kv.Scan([]byte(envelopePrefix(feed, seq)), nil, false, func(k, _ []byte) (bool, error) {
		return true, fn(binary.BigEndian.Uint64(k[len(k)-8:]))
	})
}

// takeOut writes a block anew without some of its records, whose places stay, and appends to found
// what those were found by.
func (x *Index) takeOut(kv KV, cursor uint64, found []entry, which func(*storedRecord) bool) (gone int, _ []entry, err error) {
	key := indexKey(kBlock, nil, cursor)
	old, err := kv.Get(key)
	if err != nil {
		return 0, nil, err
	}
	b, err := newReader(kv).block(cursor)
	if err != nil {
		return 0, nil, err
	}
	types := map[string]int{}
	left := 0
	for i := range b.Records {
		rec := &b.Records[i]
		switch {
		case rec.Gone:
			continue
		case !which(rec):
			left++
			continue
		}
		o, err := stix.Parse(rec.Object)
		if err != nil {
			return 0, nil, fmt.Errorf("reading object %s: %w", rec.StixID, err)
		}
		found = x.entriesOf(found, x.recordHash(&rec.Record), rec, searchable(stix.Observables(o)), place{cursor + uint64(i), uint16(i)})
		types[rec.Type]++
		gone++
		*rec = storedRecord{Gone: true, Class: rec.Class}
	}
	if gone == 0 {
		return 0, found, nil
	}
	if left == 0 {
		// What is common to all of them says something too.
		b.Classes = nil
		for i := range b.Records {
			b.Records[i].Class = 0
		}
	}
	if err := putBlock(kv, cursor, b); err != nil {
		return 0, nil, err
	}
	if err := kv.Destroy(old); err != nil {
		return 0, nil, err
	}
	c, err := readCounters(kv)
	if err != nil {
		return 0, nil, err
	}
	c.Records -= uint64(gone)
	for t, n := range types {
		if err := countType(kv, t, -int64(n)); err != nil {
			return 0, nil, err
		}
	}
	return gone, found, c.write(kv)
}

func expiryKey(at, cursor uint64) []byte {
	return indexKey(kExpiry, binary.BigEndian.AppendUint64(nil, at), cursor)
}

// readExpiry reads which records of a block are to be erased at a time.
func readExpiry(k, v []byte) (at, cursor uint64, list []byte, err error) {
	ok := len(k) == len(kExpiry)+16 && len(v) > 0
	for i := range v {
		ok = ok && (i == 0 || v[i-1] < v[i])
	}
	if !ok {
		return 0, 0, nil, damaged("index of expiry")
	}
	return binary.BigEndian.Uint64(k[len(kExpiry):]), binary.BigEndian.Uint64(k[len(k)-8:]), slices.Clone(v), nil
}

// Expired takes at most limit records whose time has come off the list of those to be erased
// and returns them; the caller erases them in the same transaction. What is gone already is not
// among them, but counts for the limit.
func Expired(kv KV, now uint64, limit int) ([]protocol.RecordID, error) {
	records, lines, err := expired(kv, now, limit)
	for _, l := range lines {
		if err := kv.Delete(expiryKey(l.at, l.cursor)); err != nil {
			return nil, err
		}
		if len(l.rest) > 0 {
			if err := kv.Set(expiryKey(l.at, l.cursor), l.rest); err != nil {
				return nil, err
			}
		}
	}
	return records, err
}

// NextExpired returns what Expired would, and how many places of the list that takes: none at its
// end.
func NextExpired(kv KV, now uint64, limit int) (records []protocol.RecordID, places int, err error) {
	records, lines, err := expired(kv, now, limit)
	for _, l := range lines {
		places += len(l.list)
	}
	return records, places, err
}

// expiryLine is a key of the list of what is to be erased: which records of a block are taken of
// it, and which are left.
type expiryLine struct {
	at, cursor uint64
	list, rest []byte
}

func expired(kv KV, now uint64, limit int) (records []protocol.RecordID, lines []expiryLine, err error) {
	err = kv.Scan([]byte(kExpiry), nil, false, func(k, v []byte) (bool, error) {
		at, cursor, list, err := readExpiry(k, v)
		if err != nil || at > now || limit == 0 {
			return false, err
		}
		n := min(len(list), limit)
		limit -= n
		lines = append(lines, expiryLine{at, cursor, list[:n], list[n:]})
		return true, nil
	})
	r := newReader(kv)
	for _, l := range lines {
		if err != nil {
			break
		}
		var b *storedBlock
		if b, err = r.block(l.cursor); err != nil {
			break
		}
		for _, i := range l.list {
			if int(i) < len(b.Records) && !b.Records[i].Gone {
				records = append(records, b.Records[i].Record)
			}
		}
	}
	return records, lines, err
}
