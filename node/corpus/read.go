package corpus

import (
	"context"
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
	Tombs  []Tombstone // those of it, whether or not they count for Entry
}

// Stand returns how records stand, in their order.
func (x *Index) Stand(kv KV, records []protocol.RecordID) ([]Standing, error) {
	r, out := x.reader(kv), make([]Standing, len(records))
	for i, id := range records {
		e, err := r.get(id)
		if err == nil {
			out[i] = Standing{Record: id, Entry: e}
			out[i].Tombs, err = Tombstones(kv, id)
		}
		if err != nil {
			return nil, fmt.Errorf("reading how record %s stands: %w", id.Short(), err)
		}
	}
	return out, nil
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
