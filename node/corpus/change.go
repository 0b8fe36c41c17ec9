package corpus

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// ChangeKind says what became of a record. The numbers are stored.
type ChangeKind uint8

// The kinds of changes.
const (
	ChangeAdded     ChangeKind = iota // it came
	ChangeWithdrawn                   // it was withdrawn, and is kept and marked
	ChangeRestored                    // its withdrawal does not count any more
	ChangeErased                      // it was erased, for ever
	ChangeGone                        // its entry was taken out; it may come again
)

var changeNames = []string{"added", "withdrawn", "restored", "erased", "gone"}

// String names the kind.
func (k ChangeKind) String() string {
	if int(k) < len(changeNames) {
		return changeNames[k]
	}
	return "unknown"
}

// Change is something that happened to a record. Records and changes share one row of numbers, the
// cursors: whoever reads on from a cursor learns all that came since, each once, in order.
type Change struct {
	Cursor uint64
	Kind   ChangeKind
	Stamp  uint64 // Unix microseconds; rises with Cursor, whatever the clock does
	Record protocol.RecordID
	Entry  *Entry // the record as it stands; nil if it was erased or is gone
	Class  *Class // of a record that was erased or is gone: what may be told of it to whom
}

// Class is what is kept of a record that is gone, beside its id: enough to decide who may learn that
// it is. It says nothing of what the record said, and no more than the audit does.
type Class struct {
	_          struct{} `cbor:",toarray"`
	Originator protocol.OrgID
	Publisher  protocol.OrgID
	Principal  protocol.OrgID // on whose behalf it was published; zero: on its own
	Topic      string
	Type       string
	Handling   protocol.Handling
	Added      uint64 // the cursor under which it came
}

// maxClassSize bounds an encoded class: a handling, and some names.
const maxClassSize = protocol.MaxObjectSize

// changeDoc is a change that is not that a record came: those are told by the blocks.
type changeDoc struct {
	_      struct{} `cbor:",toarray"`
	Kind   ChangeKind
	Stamp  uint64
	Record protocol.RecordID
	Class  []byte // an encoded Class; empty: the record is here
}

func readChange(v []byte) (d changeDoc, class *Class, err error) {
	if err := protocol.Decode(v, maxClassSize+128, &d); err != nil {
		return d, nil, fmt.Errorf("reading change: %w", err)
	}
	kept := d.Kind == ChangeWithdrawn || d.Kind == ChangeRestored
	if !kept && d.Kind != ChangeErased && d.Kind != ChangeGone || kept != (len(d.Class) == 0) {
		return d, nil, damaged("a change is of no known kind")
	}
	if kept {
		return d, nil, nil
	}
	class = new(Class)
	if err := protocol.Decode(d.Class, maxClassSize, class); err != nil {
		return d, nil, fmt.Errorf("reading change: %w", err)
	}
	return d, class, nil
}

// changer writes changes of one transaction.
type changer struct {
	kv KV
	at uint64 // Unix milliseconds: the time, if the clock was not set back
}

func (c changer) note(kind ChangeKind, record protocol.RecordID, class *Class) error {
	n, err := readCounters(c.kv)
	if err != nil {
		return err
	}
	d := changeDoc{Kind: kind, Stamp: n.stamp(c.at, 1), Record: record}
	if class != nil {
		d.Class = protocol.Encode(class)
	}
	if err := c.kv.Set(indexKey(kChange, nil, n.Next), protocol.Encode(&d)); err != nil {
		return err
	}
	n.Next++
	return n.write(c.kv)
}

// gone notes that records are here no more.
func (c changer) gone(kind ChangeKind, list []Entry) error {
	for i := range list {
		e := &list[i]
		class := &Class{Originator: e.Originator, Publisher: e.Publisher, Principal: e.Form.Principal, Topic: e.Topic, Type: e.Type, Handling: e.Handling, Added: e.Cursor}
		if err := c.note(kind, e.Record, class); err != nil {
			return fmt.Errorf("noting that record %s is gone: %w", e.Record.Short(), err)
		}
	}
	return nil
}

// stamp takes n stamps and returns the first.
func (c *counters) stamp(ms uint64, n int) uint64 {
	first := max(min(ms, maxStampMillis)*1000, c.Stamp+1)
	c.Stamp = first + uint64(n) - 1
	return first
}

// maxStampMillis is in the year 2255: an hour that a broken clock tells once is not to use up what
// later ones need.
const maxStampMillis = 9_000_000_000_000

// walkedPlaces bounds how many places of records that are gone one call of Changes passes.
const walkedPlaces = 1 << 14

// Changes returns at most limit changes after a cursor, in their order, and the cursor to go on from:
// the one given if nothing came. What came and is gone already is not among them, only that it is
// gone. There may be more although none are returned: who wants all goes on until the cursor stays.
func (x *Index) Changes(kv KV, after uint64, limit int) (out []Change, next uint64, err error) {
	if limit <= 0 {
		return nil, after, nil
	}
	n, err := readCounters(kv)
	if err != nil {
		return nil, 0, err
	}
	next = max(after, max(n.Next, 1)-1) // if all is seen
	r := x.reader(kv)
	if out, err = r.noted(out, after, limit, &next); err == nil {
		out, err = r.came(out, after, limit, &next)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading changes: %w", err)
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.Cursor, b.Cursor) })
	for i := range out {
		if i == limit || out[i].Cursor > next {
			out = slices.Clip(out[:i])
			break
		}
	}
	if len(out) == limit {
		next = out[len(out)-1].Cursor
	}
	return out, next, nil
}

// noted appends the changes that were noted. Seen is lowered to the last one if there may be more.
func (r *reader) noted(out []Change, after uint64, limit int, seen *uint64) ([]Change, error) {
	walked := 0
	err := r.kv.Scan([]byte(kChange), indexKey(kChange, nil, after+1), false, func(k, v []byte) (bool, error) {
		if len(k) != len(kChange)+8 {
			return false, damaged("list of changes")
		}
		d, class, err := readChange(v)
		if err != nil {
			return false, err
		}
		c := Change{Cursor: binary.BigEndian.Uint64(k[len(k)-8:]), Kind: d.Kind, Stamp: d.Stamp, Record: d.Record, Class: class}
		if class == nil {
			if c.Entry, err = r.get(d.Record); err != nil {
				return false, err
			}
		}
		if class != nil || c.Entry != nil { // else a later change says that it is gone
			out = append(out, c)
		}
		if walked++; len(out) >= limit || walked >= walkedPlaces {
			*seen = min(*seen, c.Cursor)
			return false, nil
		}
		return true, nil
	})
	return out, err
}

// came appends that records came, at most limit. Seen is lowered to the last one if there may be more.
func (r *reader) came(out []Change, after uint64, limit int, seen *uint64) ([]Change, error) {
	count, walked := 0, 0
	err := r.eachBlock([]byte(kBlock), after, func(p place) (bool, error) {
		if p.cursor > *seen {
			return false, nil
		}
		e, err := r.entry(p)
		if err != nil {
			return false, err
		}
		if e != nil {
			out = append(out, Change{Cursor: e.Cursor, Kind: ChangeAdded, Stamp: e.Stamp, Record: e.Record, Entry: e})
			count++
		}
		if walked++; count >= limit || walked >= walkedPlaces {
			*seen = min(*seen, p.cursor)
			return false, nil
		}
		return true, nil
	})
	return out, err
}

// CursorAt returns the greatest cursor whose stamp, Unix microseconds, is not later than a time; 0 if
// there is none.
func CursorAt(kv KV, stamp uint64) (uint64, error) {
	n, err := readCounters(kv)
	if err != nil {
		return 0, err
	}
	if stamp >= n.Stamp {
		return max(n.Next, 1) - 1, nil
	}
	r := newReader(kv)
	low, high := uint64(0), max(n.Next, 1)-1 // nothing up to low is later
	for low < high {
		mid := low + (high-low+1)/2
		at, when, err := r.stampAt(mid)
		if err != nil {
			return 0, fmt.Errorf("finding a time: %w", err)
		}
		if when <= stamp {
			low = mid
		} else {
			high = at - 1
		}
	}
	return low, nil
}

// stampAt returns the last cursor up to one at which something stands, with its stamp; 0 if nothing
// does.
func (r *reader) stampAt(cursor uint64) (at, stamp uint64, err error) {
	err = r.kv.Scan([]byte(kChange), indexKey(kChange, nil, cursor), true, func(k, v []byte) (bool, error) {
		d, _, err := readChange(v)
		at, stamp = binary.BigEndian.Uint64(k[len(kChange):]), d.Stamp
		return false, err
	})
	if err != nil {
		return 0, 0, err
	}
	err = r.kv.Scan([]byte(kBlock), indexKey(kBlock, nil, cursor), true, func(k, _ []byte) (bool, error) {
		first := binary.BigEndian.Uint64(k[len(kBlock):])
		b, err := r.block(first)
		if err != nil {
			return false, err
		}
		if last := min(cursor, first+uint64(max(len(b.Records), 1))-1); last > at {
			at, stamp = last, b.stamp+(last-first)
		}
		return false, nil
	})
	return at, stamp, err
}
