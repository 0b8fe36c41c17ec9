package corpus

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Get returns a record, withdrawn or not; nil if it is not here.
func (x *Index) Get(kv KV, record protocol.RecordID) (*Entry, error) {
	return x.reader(kv).get(record)
}

func (r *reader) get(record protocol.RecordID) (*Entry, error) {
	f, err := r.finder()
	if err != nil {
		return nil, err
	}
	list, err := f.findOne(r.x.recordHash(&record))
	if err != nil {
		return nil, err
	}
	p, err := r.placeOf(list, record)
	if err != nil || p == nil {
		return nil, err
	}
	return r.entry(*p)
}

// placeOf returns the one of the places found for the hash of a record where it stands; nil if it
// stands in none.
func (r *reader) placeOf(list []found, record protocol.RecordID) (*place, error) {
	for i := range list {
		if list[i].kind != isPlace {
			continue
		}
		p := list[i].place()
		_, rec, err := r.record(p)
		if err != nil {
			return nil, err
		}
		if rec != nil && rec.Record == record {
			return &p, nil
		}
	}
	return nil, nil
}

// ByStixID returns all versions of an object, from all originators, withdrawn ones
// included: the latest modified first, and of one time the one that came first.
func (x *Index) ByStixID(kv KV, id string) ([]Entry, error) { return x.reader(kv).byStixID(id) }

// ByStixIDs is ByStixID for many objects, one after the other: what stands beside each other is read
// once. All are looked up in the index as it stands now.
func (x *Index) ByStixIDs(kv KV) func(id string) ([]Entry, error) { return x.reader(kv).byStixID }

func (r *reader) byStixID(id string) ([]Entry, error) {
	vs, err := r.versions(id)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, v := range vs {
		e, err := r.entry(v.place())
		if err != nil {
			return nil, err
		}
		if e != nil && e.StixID == id {
			out = append(out, *e)
		}
	}
	slices.SortStableFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.modified, a.modified), cmp.Compare(a.Cursor, b.Cursor))
	})
	return out, nil
}

// versions lists where versions of an object stand, in the order of arrival. Something else may
// stand there too.
func (r *reader) versions(id string) ([]found, error) {
	if id == r.versionsOf {
		return r.lastVersions, nil
	}
	f, err := r.finder()
	if err != nil {
		return nil, err
	}
	list, err := f.findOne(r.x.stixHash(id))
	if err != nil {
		return nil, fmt.Errorf("reading versions of %q: %w", id, err)
	}
	r.versionsOf, r.lastVersions = id, slices.DeleteFunc(list, func(e found) bool { return e.kind != isVersion })
	return r.lastVersions, nil
}

// newest reports whether no later version of e by its originator counts. Nobody else can
// make versions of an object (STIX 3.6.2), so a later one of another originator is beside
// it, not in its place. Versions of the same time all count, and withdrawn ones do not.
func (r *reader) newest(e *Entry) (bool, error) {
	vs, err := r.versions(e.StixID)
	if err != nil {
		return false, err
	}
	for _, v := range vs {
		if v.modified < coarse(e.modified) || v.cursor == e.Cursor {
			continue
		}
		other, err := r.entry(v.place())
		if err != nil {
			return false, err
		}
		if other != nil && other.modified > e.modified && other.Originator == e.Originator && other.StixID == e.StixID && !other.Withdrawn {
			return false, nil
		}
	}
	return true, nil
}

// Since returns at most limit records that came after cursor, in the order in which they
// came, all versions and withdrawn ones included, and the cursor to go on from. That is the
// one given if there are none. Cursors stay good for ever.
func Since(kv KV, cursor uint64, limit int) ([]Entry, uint64, error) {
	var out []Entry
	if limit <= 0 {
		return nil, cursor, nil
	}
	r := newReader(kv)
	err := r.eachBlock([]byte(kBlock), cursor, func(p place) (bool, error) {
		e, err := r.entry(p)
		if err != nil || e == nil {
			return true, err
		}
		out = append(out, *e)
		cursor = e.Cursor
		return len(out) < limit, nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading records: %w", err)
	}
	return out, cursor, nil
}

// eachBlock calls fn with the places after cursor in the blocks that an index names.
func (r *reader) eachBlock(index []byte, cursor uint64, fn func(place) (bool, error)) error {
	if cursor == ^uint64(0) {
		return nil
	}
	first := cursor - min(cursor, maxBlockRecords)
	return r.kv.Scan(index, binary.BigEndian.AppendUint64(slices.Clone(index), first), false, func(k, _ []byte) (bool, error) {
		if len(k) != len(index)+8 {
			return false, damaged("index of blocks")
		}
		start := binary.BigEndian.Uint64(k[len(k)-8:])
		b, err := r.block(start)
		if err != nil {
			return false, err
		}
		for i := range b.Records {
			if start+uint64(i) <= cursor {
				continue
			}
			if more, err := fn(place{start + uint64(i), uint16(i)}); err != nil || !more {
				return false, err
			}
		}
		return true, nil
	})
}
