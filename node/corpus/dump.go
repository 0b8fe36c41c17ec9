package corpus

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// A corpus is carried over to another store by its blocks and by what is noted of records
// beside them; the indexes follow from the blocks, and are made anew. Cursors stay what they
// were, so that whoever reads on from one goes on where it stopped.

// BlocksOf calls fn with the blocks of the envelopes of a feed from one seq to another, in
// order of seq and cursor.
func BlocksOf(kv KV, feed protocol.FeedID, from, to uint64, fn func(seq, cursor uint64) error) error {
	prefix := []byte(kEnvelope + string(feed[:]))
	return kv.Scan(prefix, []byte(envelopePrefix(feed, from)), false, func(k, _ []byte) (bool, error) {
		if len(k) != len(prefix)+16 {
			return false, damaged("index of envelopes")
		}
		seq := binary.BigEndian.Uint64(k[len(prefix):])
		if seq > to {
			return false, nil
		}
		return true, fn(seq, binary.BigEndian.Uint64(k[len(prefix)+8:]))
	})
}

// DumpBlock returns a block as LoadBlock takes it: compressed, and not encrypted.
func DumpBlock(kv KV, cursor uint64) ([]byte, error) {
	key := indexKey(kBlock, nil, cursor)
	v, err := kv.Get(key)
	if err == nil && v == nil {
		err = damaged("the block of records from %d on is missing", cursor)
	}
	if err != nil {
		return nil, fmt.Errorf("reading block: %w", err)
	}
	return kv.Unwrap(key, v)
}

// BlockView is what a dumped block says.
type BlockView struct {
	Feed      protocol.FeedID
	Seq       uint64
	Topic     string
	Publisher protocol.OrgID
	Places    int // cursors that it takes, erased records included
	Records   []BlockRecord
}

// BlockRecord is a record in a dumped block.
type BlockRecord struct {
	Record     protocol.RecordID
	Originator protocol.OrgID
	Handling   protocol.Handling
	Form       Form
	Object     []byte
}

// ReadBlock reads a dumped block strictly. The errors are of class ErrMalformed or
// ErrOversize.
func ReadBlock(block []byte) (*BlockView, error) {
	b, err := unpackBlock(block)
	if err != nil {
		return nil, err
	}
	if len(b.Records) == 0 || len(b.Records) > maxBlockRecords {
		return nil, protocol.Errorf(protocol.ErrMalformed, "a block holds %d records, 1 to %d are allowed", len(b.Records), maxBlockRecords)
	}
	v := &BlockView{Feed: b.Feed, Seq: b.Seq, Topic: b.Topic, Publisher: b.Publisher, Places: len(b.Records)}
	for i := range b.Records {
		rec := &b.Records[i]
		if rec.Gone {
			if rec.Record != (protocol.RecordID{}) || len(rec.Object) > 0 || rec.StixID != "" {
				return nil, protocol.Errorf(protocol.ErrMalformed, "a block holds something of a record that is gone")
			}
			continue
		}
		o, err := stix.Parse(rec.Object)
		if err != nil {
			return nil, fmt.Errorf("object of record %s: %w", rec.Record.Short(), err)
		}
		if o.ID != rec.StixID || o.Type != rec.Type || nanos(o.Modified) != rec.Modified || o.Revoked != rec.Revoked {
			return nil, protocol.Errorf(protocol.ErrMalformed, "a block says something else of record %s than its object", rec.Record.Short())
		}
		c := &b.Classes[rec.Class]
		if err := c.Handling.Validate(); err != nil {
			return nil, fmt.Errorf("handling of record %s: %w", rec.Record.Short(), err)
		}
		v.Records = append(v.Records, BlockRecord{Record: rec.Record, Originator: c.Originator, Handling: c.Handling, Form: c.Form, Object: rec.Object})
	}
	return v, nil
}

// LoadBlock puts a dumped block in its place, with all that its records are found by. A place
// that is taken, and a record that is here already, are errors: it is for an empty corpus.
func (x *Index) LoadBlock(kv KV, cursor uint64, block []byte) error {
	b, err := unpackBlock(block)
	if err != nil {
		return err
	}
	if held, err := kv.Get(indexKey(kBlock, nil, cursor)); err != nil || held != nil || cursor == 0 || cursor > maxCursor-maxBlockRecords {
		return fmt.Errorf("two blocks of records stand in place %d: %w", cursor, errOr(err, protocol.ErrMalformed))
	}
	if len(b.Records) > maxBlockRecords {
		return protocol.Errorf(protocol.ErrMalformed, "a block holds %d records, at most %d are allowed", len(b.Records), maxBlockRecords)
	}
	c, err := readCounters(kv)
	if err != nil {
		return err
	}
	types := map[string]int64{}
	var note []entry
	var lengths lengthNoter
	for i := range b.Records {
		rec := &b.Records[i]
		if rec.Gone {
			continue
		}
		o, err := stix.Parse(rec.Object)
		if err != nil {
			return fmt.Errorf("object of record %s: %w", rec.Record.Short(), err)
		}
		obs := searchable(stix.Observables(o))
		note = x.entriesOf(note, x.recordHash(&rec.Record), rec, obs, place{cursor + uint64(i), uint16(i)})
		for _, ob := range obs {
			if err := lengths.note(kv, ob); err != nil {
				return err
			}
		}
		types[rec.Type]++
		c.Records++
	}
	if err := x.noteLoaded(kv, b, note); err != nil {
		return err
	}
	if err := setIndexes(kv, b, cursor); err != nil {
		return err
	}
	for t, n := range types {
		if err := countType(kv, t, n); err != nil {
			return err
		}
	}
	if err := putBlock(kv, cursor, b); err != nil {
		return err
	}
	c.Next = max(c.Next, cursor+uint64(len(b.Records)))
	c.Stamp = max(c.Stamp, b.stamp+uint64(len(b.Records)))
	return c.write(kv)
}

// noteLoaded puts what the records of a block are found by into the index, where none of them may
// stand yet.
func (x *Index) noteLoaded(kv KV, b *storedBlock, note []entry) error {
	m, err := readManifest(kv)
	if err != nil {
		return err
	}
	r := x.reader(kv)
	if r.found, err = x.finderOf(kv, m); err != nil {
		return err
	}
	seen := map[protocol.RecordID]bool{}
	for i := range b.Records {
		id := b.Records[i].Record
		if b.Records[i].Gone {
			continue
		}
		list, err := r.found.findOne(x.recordHash(&id))
		if err != nil {
			return err
		}
		held, err := r.placeOf(list, id)
		if err != nil || held != nil || seen[id] {
			return fmt.Errorf("record %s stands in two blocks: %w", id.Short(), errOr(err, protocol.ErrMalformed))
		}
		seen[id] = true
	}
	if err := x.note(kv, m, note); err != nil {
		return err
	}
	return m.write(kv)
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Next returns the cursor that the next record will have.
func Next(kv KV) (uint64, error) {
	c, err := readCounters(kv)
	return c.Next, err
}

// SetNext makes the next record have a cursor that is higher than all before it, so that none
// is given twice. It does not fall.
func SetNext(kv KV, next uint64) error {
	c, err := readCounters(kv)
	if err != nil {
		return err
	}
	c.Next = max(c.Next, next)
	return c.write(kv)
}

// The kinds of marks, in the order of EachMark.
var markKinds = []string{kCopy, kChange, kWithdraws, kWithdrawal, kErased, kExpiry}

// EachMark calls fn with what is noted of records beside them: other envelopes that hold them,
// withdrawals, tombstones, when they are to be erased, and what became of them. k and v are valid during the call.
func EachMark(kv KV, fn func(k, v []byte) error) error {
	for _, kind := range markKinds {
		if err := kv.Scan([]byte(kind), nil, false, func(k, v []byte) (bool, error) { return true, fn(k, v) }); err != nil {
			return err
		}
	}
	return nil
}

// CheckMark reads a mark strictly. The errors are of class ErrMalformed or ErrOversize.
func CheckMark(k, v []byte) error {
	var err error
	switch kind := string(k[:min(2, len(k))]); {
	case kind == kWithdraws && len(k) == len(kWithdraws)+104 && len(v) == 0:
	case kind == kWithdrawal && (len(k) == len(kWithdrawal)+64 || len(k) == len(kWithdrawal)+104):
		err = protocol.Decode(v, 2*protocol.MaxTextSize, new(withdrawalDoc))
	case kind == kErased && len(k) == len(kErased)+64:
		err = protocol.Decode(v, 64, new(erasedDoc))
	case kind == kCopy && len(k) == len(kCopy)+72 && len(v) == 0:
	case kind == kExpiry:
		_, _, _, err = readExpiry(k, v)
	case kind == kChange && len(k) == len(kChange)+8:
		if cursor := binary.BigEndian.Uint64(k[len(kChange):]); cursor == 0 || cursor > maxCursor {
			return protocol.Errorf(protocol.ErrMalformed, "a change has a cursor that none can have")
		}
		var d changeDoc
		if d, _, err = readChange(v); err == nil && d.Stamp > maxStampMillis*1000+maxCursor {
			err = protocol.Errorf(protocol.ErrMalformed, "a change has a time that none can have")
		}
	default:
		return protocol.Errorf(protocol.ErrMalformed, "what is noted of a record is of no known kind")
	}
	return err
}

// LoadMark puts a mark in its place.
func (x *Index) LoadMark(kv KV, k, v []byte) error {
	if err := CheckMark(k, v); err != nil {
		return err
	}
	if strings.HasPrefix(string(k), kErased) {
		if err := x.noteTombs(kv, []protocol.RecordID{protocol.RecordID(k[len(kErased):][:32])}); err != nil {
			return err
		}
	}
	if strings.HasPrefix(string(k), kExpiry) {
		if _, cursor, _, err := readExpiry(k, v); err != nil {
			return err
		} else if held, err := kv.Get(indexKey(kBlock, nil, cursor)); err != nil || held == nil {
			return fmt.Errorf("records that are to be erased at a time are not there: %w", errOr(err, protocol.ErrMalformed))
		}
	}
	if strings.HasPrefix(string(k), kChange) {
		if err := noteLoadedChange(kv, k, v); err != nil {
			return err
		}
	}
	return kv.Set(k, v)
}

// noteLoadedChange has what comes later be later than a change.
func noteLoadedChange(kv KV, k, v []byte) error {
	d, _, err := readChange(v)
	if err != nil {
		return err
	}
	c, err := readCounters(kv)
	if err != nil {
		return err
	}
	c.Next, c.Stamp = max(c.Next, binary.BigEndian.Uint64(k[len(kChange):])+1), max(c.Stamp, d.Stamp)
	return c.write(kv)
}
