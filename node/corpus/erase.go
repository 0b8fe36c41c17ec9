package corpus

import (
	"encoding/binary"
	"fmt"

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
	for i, org := range append([]protocol.OrgID{Locally}, by...) {
		if i == 2 && org == by[0] {
			continue
		}
		v, err := kv.Get(erasedKey(record, org))
		if err != nil {
			return false, fmt.Errorf("reading tombstone: %w", err)
		}
		if v != nil {
			return true, nil
		}
	}
	return false, nil
}

// Erase takes records out for ever, here or still to come, on the word of an organisation,
// and destroys what they said. It counts for records that the organisation made or sent, and
// for all if it is Locally. It returns the records that were here
// and are gone. Those that share their blocks stay, with their cursors.
func Erase(kv KV, records []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason, at uint64) (gone []Entry, err error) {
	places := map[uint64]map[protocol.RecordID]bool{}
	for _, id := range records {
		e, err := Get(kv, id)
		if err != nil {
			return nil, err
		}
		if err := kv.Set(erasedKey(id, by), protocol.Encode(&erasedDoc{Reason: reason, At: at})); err != nil {
			return nil, err
		}
		if e == nil || by != Locally && by != e.Originator && by != e.Publisher {
			continue
		}
		gone = append(gone, *e)
		v, err := kv.Get(append([]byte(kRecord), id[:]...))
		if err != nil {
			return nil, err
		}
		p := place{binary.BigEndian.Uint64(v), binary.BigEndian.Uint16(v[8:])}
		if places[p.block()] == nil {
			places[p.block()] = map[protocol.RecordID]bool{}
		}
		places[p.block()][id] = true
	}
	for cursor, ids := range places {
		if _, err := takeOut(kv, cursor, func(r *storedRecord) bool { return ids[r.Record] }); err != nil {
			return nil, fmt.Errorf("erasing records: %w", err)
		}
	}
	return gone, nil
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
// They are not erased: they may be added again, from elsewhere.
func TakeOut(kv KV, feed protocol.FeedID, seq uint64) (gone int, err error) {
	var cursors []uint64
	if err := eachBlockOf(kv, feed, seq, func(cursor uint64) error { cursors = append(cursors, cursor); return nil }); err != nil {
		return 0, err
	}
	for _, c := range cursors {
		n, err := takeOut(kv, c, func(*storedRecord) bool { return true })
		if err != nil {
			return gone, fmt.Errorf("taking records out: %w", err)
		}
		gone += n
	}
	return gone, nil
}

func eachBlockOf(kv KV, feed protocol.FeedID, seq uint64, fn func(cursor uint64) error) error {
	return kv.Scan([]byte(envelopePrefix(feed, seq)), nil, false, func(k, _ []byte) (bool, error) {
		return true, fn(binary.BigEndian.Uint64(k[len(k)-8:]))
	})
}

// takeOut writes a block anew without some of its records, whose places stay.
func takeOut(kv KV, cursor uint64, which func(*storedRecord) bool) (gone int, err error) {
	key := indexKey(kBlock, nil, cursor)
	old, err := kv.Get(key)
	if err != nil {
		return 0, err
	}
	b, err := newReader(kv).block(cursor)
	if err != nil {
		return 0, err
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
		if err := removeKeys(kv, rec, cursor+uint64(i)); err != nil {
			return 0, err
		}
		types[rec.Type]++
		gone++
		*rec = storedRecord{Gone: true, Class: rec.Class}
	}
	if gone == 0 {
		return 0, nil
	}
	if left == 0 {
		// What is common to all of them says something too.
		b.Classes = nil
		for i := range b.Records {
			b.Records[i].Class = 0
		}
	}
	if err := putBlock(kv, cursor, b); err != nil {
		return 0, err
	}
	if err := kv.Destroy(old); err != nil {
		return 0, err
	}
	c, err := readCounters(kv)
	if err != nil {
		return 0, err
	}
	c.Records -= uint64(gone)
	for t, n := range types {
		if err := countType(kv, t, -int64(n)); err != nil {
			return 0, err
		}
	}
	return gone, c.write(kv)
}

// removeKeys removes what a record is found by.
func removeKeys(kv KV, rec *storedRecord, cursor uint64) error {
	keys := [][]byte{append([]byte(kRecord), rec.Record[:]...), indexKey(kStix, hash16(rec.StixID), cursor)}
	o, err := stix.Parse(rec.Object)
	if err != nil {
		return fmt.Errorf("reading object %s: %w", rec.StixID, err)
	}
	for _, ob := range searchable(o) {
		keys = append(keys, indexKey(kObservable, hash16(observableName(ob)), cursor))
	}
	for _, k := range keys {
		if err := kv.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Expired takes at most limit records whose time has come off the list of those to be erased
// and returns them; the caller erases them in the same transaction.
func Expired(kv KV, now uint64, limit int) (records []protocol.RecordID, err error) {
	var keys [][]byte
	err = kv.Scan([]byte(kExpiry), nil, false, func(k, _ []byte) (bool, error) {
		if len(k) != len(kExpiry)+8+32 {
			return false, damaged("index of expiry")
		}
		if binary.BigEndian.Uint64(k[len(kExpiry):]) > now || len(records) >= limit {
			return false, nil
		}
		keys = append(keys, append([]byte(nil), k...))
		records = append(records, protocol.RecordID(k[len(k)-32:]))
		return true, nil
	})
	for _, k := range keys {
		if err := kv.Delete(k); err != nil {
			return nil, err
		}
	}
	return records, err
}
