package corpus

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Get returns a record, withdrawn or not; nil if it is not here.
func Get(kv KV, record protocol.RecordID) (*Entry, error) { return newReader(kv).get(record) }

func (r *reader) get(record protocol.RecordID) (*Entry, error) {
	v, err := r.kv.Get(append([]byte(kRecord), record[:]...))
	if err != nil || v == nil {
		return nil, err
	}
	p, err := placeOf(v)
	if err != nil {
		return nil, err
	}
	e, err := r.entry(p)
	if err == nil && e != nil && e.Record != record {
		return nil, damaged("another record stands in the place of %s", record.Short())
	}
	return e, err
}

// placeOf reads where a record stands.
func placeOf(v []byte) (place, error) {
	if len(v) != 10 {
		return place{}, damaged("the place of a record has %d bytes", len(v))
	}
	return place{binary.BigEndian.Uint64(v), binary.BigEndian.Uint16(v[8:])}, nil
}

// ByStixID returns all versions of an object, from all originators, withdrawn ones
// included: the latest modified first, and of one time the one that came first.
func ByStixID(kv KV, id string) ([]Entry, error) {
	r := newReader(kv)
	vs, err := r.versions(id)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, v := range vs {
		e, err := r.entry(v.place)
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

type version struct {
	place
	modified uint64
}

// versions lists the places of the versions of an object, in the order of arrival.
func (r *reader) versions(id string) (list []version, err error) {
	err = r.kv.Scan(hashKey(kStix, id), nil, false, func(k, v []byte) (bool, error) {
		if len(k) != len(kStix)+24 || len(v) != 10 {
			return false, damaged("index of STIX ids")
		}
		list = append(list, version{
			place:    place{binary.BigEndian.Uint64(k[len(k)-8:]), binary.BigEndian.Uint16(v[8:])},
			modified: binary.BigEndian.Uint64(v),
		})
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading versions of %q: %w", id, err)
	}
	return list, nil
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
		if v.modified <= e.modified {
			continue
		}
		other, err := r.entry(v.place)
		if err != nil {
			return false, err
		}
		if other != nil && other.Originator == e.Originator && other.StixID == e.StixID && !other.Withdrawn {
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
