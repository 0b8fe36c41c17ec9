package corpus

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Reader is a corpus that is read, wherever it stands: in the node's own store, or in a database
// that follows it. All of them answer alike, with the same cursors, which are those of the node that
// asks: whoever pages may go on in another. Package corpustest says so in tests.
type Reader interface {
	// Get returns a record, withdrawn or not; nil if it is not here.
	Get(ctx context.Context, record protocol.RecordID) (*Entry, error)
	// ByStixID returns all versions of an object, from all originators, withdrawn ones included: the
	// latest modified first, and of one time the one that came first.
	ByStixID(ctx context.Context, id string) ([]Entry, error)
	// Search is Index.Search.
	Search(ctx context.Context, q Query) ([]Entry, uint64, error)
	// Since returns at most limit records that came after cursor, in the order in which they came, all
	// versions and withdrawn ones included, and the cursor to go on from.
	Since(ctx context.Context, cursor uint64, limit int) ([]Entry, uint64, error)
	// Count returns how much the corpus holds.
	Count(ctx context.Context) (Counts, error)
}

// Reading returns a reader of one state of the embedded corpus: that of a transaction, as long as it
// lasts.
func (x *Index) Reading(kv KV) Reader { return embedded{x, kv} }

type embedded struct {
	x  *Index
	kv KV
}

func (r embedded) Get(_ context.Context, record protocol.RecordID) (*Entry, error) {
	return r.x.Get(r.kv, record)
}
func (r embedded) ByStixID(_ context.Context, id string) ([]Entry, error) {
	return r.x.ByStixID(r.kv, id)
}
func (r embedded) Search(_ context.Context, q Query) ([]Entry, uint64, error) {
	return r.x.Search(r.kv, q)
}
func (r embedded) Since(_ context.Context, cursor uint64, limit int) ([]Entry, uint64, error) {
	return Since(r.kv, cursor, limit)
}
func (r embedded) Count(context.Context) (Counts, error) { return Count(r.kv) }

// Tombstone says by whose word, and why, a record is not to be here.
type Tombstone struct {
	By     protocol.OrgID // Locally: whoever the record is of
	Reason protocol.EraseReason
	At     uint64 // Unix milliseconds
}

// Covers reports whether a tombstone counts for a record as it came from a publisher.
func (t *Tombstone) Covers(originator, publisher protocol.OrgID) bool {
	return t.By == Locally || t.By == originator || t.By == publisher
}

// Standing is how a record stands now: what another corpus that follows this one is to show of it.
type Standing struct {
	Record protocol.RecordID
	Entry  *Entry      // nil: it is not here
	Tombs  []Tombstone // those of it, whether or not they count for Entry, if it was erased or is not here
}

// StandingSince is Changes for who follows what is here rather than what happened: each record that a
// change after a cursor is about, once, as it stands now. A batch that is asked for again says the same
// or what came of it.
func (x *Index) StandingSince(kv KV, after uint64, limit int) (out []Standing, next uint64, err error) {
	list, next, err := x.Changes(kv, after, limit)
	if err != nil {
		return nil, 0, err
	}
	at := make(map[protocol.RecordID]int, len(list))
	erased := map[protocol.RecordID]bool{}
	for i := range list {
		c := &list[i]
		n, seen := at[c.Record]
		if !seen {
			n = len(out)
			at[c.Record], out = n, append(out, Standing{Record: c.Record})
		}
		if c.Entry != nil {
			out[n].Entry = c.Entry
		}
		erased[c.Record] = erased[c.Record] || c.Kind == ChangeErased
	}
	return out, next, x.complete(kv, out, erased)
}

// ErasedSince is StandingSince for what was erased alone: who follows asks for it first, so that nothing
// that came meanwhile is ahead of it. With an empty list the cursor to go on from may still be another.
func (x *Index) ErasedSince(kv KV, after uint64, limit int) (out []Standing, next uint64, err error) {
	n, err := readCounters(kv)
	if err != nil || limit <= 0 {
		return nil, after, err
	}
	next = max(after, max(n.Next, 1)-1)
	erased, walked := map[protocol.RecordID]bool{}, 0
	err = kv.Scan([]byte(kChange), indexKey(kChange, nil, after+1), false, func(k, v []byte) (bool, error) {
		d, _, err := readChange(v)
		if err != nil || len(k) != len(kChange)+8 {
			return false, errOr(err, damaged("list of changes"))
		}
		if d.Kind == ChangeErased && !erased[d.Record] {
			erased[d.Record] = true
			out = append(out, Standing{Record: d.Record})
		}
		if walked++; len(out) >= limit || walked >= walkedPlaces {
			next = binary.BigEndian.Uint64(k[len(kChange):])
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading what was erased: %w", err)
	}
	return out, next, x.complete(kv, out, erased)
}

// complete looks up what changes did not say.
func (x *Index) complete(kv KV, list []Standing, erased map[protocol.RecordID]bool) error {
	r := x.reader(kv)
	for i := range list {
		s := &list[i]
		if s.Entry != nil && !erased[s.Record] {
			continue
		}
		var err error
		if s.Entry == nil {
			s.Entry, err = r.get(s.Record)
		}
		if err == nil {
			s.Tombs, err = Tombstones(kv, s.Record)
		}
		if err != nil {
			return fmt.Errorf("reading how record %s stands: %w", s.Record.Short(), err)
		}
	}
	return nil
}

// Tombstones returns those of a record.
func Tombstones(kv KV, record protocol.RecordID) (out []Tombstone, err error) {
	prefix := append([]byte(kErased), record[:]...)
	err = kv.Scan(prefix, nil, false, func(k, v []byte) (bool, error) {
		if len(k) != len(prefix)+32 {
			return false, damaged("tombstone")
		}
		var d erasedDoc
		if err := protocol.Decode(v, 64, &d); err != nil {
			return false, fmt.Errorf("reading tombstone: %w", err)
		}
		out = append(out, Tombstone{protocol.OrgID(k[len(prefix):]), d.Reason, d.At})
		return true, nil
	})
	return out, err
}

// Version is when the object was modified, in nanoseconds since 1970; 0: it states no time. Versions of
// an object are compared by it.
func (e *Entry) Version() uint64 { return e.modified }

// FoundBy lists what an object is found by: its observables, and the hosts in them.
func FoundBy(o *stix.Object) []stix.Observable { return searchable(stix.Observables(o)) }

// Lookups lists the observables, one of which an object that q.Value finds is found by, if it is not
// found by its STIX id. For an address the networks of every length around it are among them.
func (q *Query) Lookups() ([]stix.Observable, error) {
	return q.lookups(func(netip.Prefix) bool { return true })
}
