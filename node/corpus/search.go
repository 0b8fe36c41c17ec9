package corpus

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol/stix"
)

// Query asks for records. All conditions that are set must hold.
type Query struct {
	// Value is an observable as somebody may write it (see stix.Canonical), or a STIX id.
	// A host is found in URLs and with ports too, an address also in a CIDR around it.
	Value string
	Kind  stix.Kind // of the observable; with Value, what Value is to be read as
	Type  string    // STIX type
	Topic string
	Since uint64 // Unix milliseconds: received then or later
	After uint64 // cursor: what came after it
	Limit int    // at most so many; 0: DefaultLimit

	All              bool // all versions, not the newest ones only
	IncludeWithdrawn bool
}

// DefaultLimit is the limit of a query that sets none.
const DefaultLimit = 100

// Search returns the records that q asks for, in the order in which they came, and where
// to go on: a cursor for q.After, or 0 if that was all. Revoked objects are returned, and
// marked. A query for a Kind without a Value goes through all records.
func (x *Index) Search(kv KV, q Query) ([]Entry, uint64, error) {
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	r := x.reader(kv)
	var out []Entry
	next := uint64(0)
	err := r.candidates(&q, func(p place) (bool, error) {
		e, err := r.entry(p)
		if err != nil || e == nil {
			return true, err
		}
		ok, err := r.matches(&q, e)
		if err != nil || !ok {
			return true, err
		}
		if len(out) == q.Limit {
			next = out[len(out)-1].Cursor
			return false, nil
		}
		out = append(out, *e)
		return true, nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("searching: %w", err)
	}
	return out, next, nil
}

// candidates calls fn with places in rising order, among them all that q asks for.
func (r *reader) candidates(q *Query, fn func(place) (bool, error)) error {
	if q.Value != "" {
		places, err := r.withValue(q)
		if err != nil {
			return err
		}
		for _, p := range places {
			if more, err := fn(p); err != nil || !more {
				return err
			}
		}
		return nil
	}
	after := q.After
	if q.Since > 0 {
		first, err := r.firstSince(q.Since)
		if err != nil || first == 0 {
			return err
		}
		after = max(after, first-1)
	}
	index := []byte(kBlock)
	switch {
	case q.Type != "":
		index = hashKey(kType, q.Type)
	case q.Topic != "":
		index = hashKey(kTopic, q.Topic)
	}
	return r.eachBlock(index, after, fn)
}

// firstSince returns the lowest cursor of the blocks received at a time or later, 0 if
// there are none. Clocks may be set back, so that need not be the first one received.
func (r *reader) firstSince(ms uint64) (first uint64, err error) {
	from := binary.BigEndian.AppendUint64([]byte(kReceived), ms)
	err = r.kv.Scan([]byte(kReceived), from, false, func(k, _ []byte) (bool, error) {
		if len(k) != len(kReceived)+16 {
			return false, damaged("index of times")
		}
		if c := binary.BigEndian.Uint64(k[len(k)-8:]); first == 0 || c < first {
			first = c
		}
		return true, nil
	})
	return first, err
}

// FirstSince returns the lowest cursor of the records received at a time, Unix milliseconds, or
// later; 0 if there are none.
func FirstSince(kv KV, ms uint64) (uint64, error) { return newReader(kv).firstSince(ms) }

// withValue lists the places of the records that q.Value may be found in, rising, and notes what
// was looked up.
func (r *reader) withValue(q *Query) (list []place, err error) {
	f, err := r.finder()
	if err != nil {
		return nil, err
	}
	have, err := readLengths(r.kv)
	if err != nil {
		return nil, err
	}
	if r.asked, err = q.lookups(func(p netip.Prefix) bool { b, bit := have.bit(p); return *b&bit != 0 }); err != nil {
		return nil, err
	}
	var hashes []uint64
	for i := range r.asked {
		hashes = append(hashes, r.x.observableHash(&r.asked[i]))
	}
	if strings.Contains(q.Value, "--") {
		hashes = append(hashes, r.x.stixHash(q.Value))
	}
	slices.Sort(hashes)
	all, err := f.find(slices.Compact(hashes))
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].cursor > q.After {
			list = append(list, all[i].place())
		}
	}
	slices.SortFunc(list, func(a, b place) int { return cmp.Compare(a.cursor, b.cursor) })
	return slices.Compact(list), nil
}

// lookups lists the observables that a search for q.Value looks up. Of the networks around an address
// those of a length that occurs.
func (q *Query) lookups(occurs func(netip.Prefix) bool) ([]stix.Observable, error) {
	o, ok := stix.Canonical(q.Value)
	switch {
	case q.Kind != "" && (!ok || o.Kind != q.Kind):
		return []stix.Observable{{Kind: q.Kind, Value: q.Value}}, nil
	case q.Kind != "":
		return around([]stix.Observable{o}, o, occurs)
	}
	// A file may have any name, one like a domain's too: resume.pdf.
	list := []stix.Observable{{Kind: stix.Filename, Value: q.Value}}
	if !ok {
		return list, nil
	}
	if o != list[0] {
		list = append(list, o)
	}
	return around(list, o, occurs)
}

// around adds the networks around an address.
func around(list []stix.Observable, o stix.Observable, occurs func(netip.Prefix) bool) ([]stix.Observable, error) {
	if o.Kind != stix.IPv4 && o.Kind != stix.IPv6 {
		return list, nil
	}
	addr, err := netip.ParseAddr(o.Value)
	if err != nil {
		return nil, fmt.Errorf("reading address: %w", err)
	}
	kind := stix.IPv4CIDR
	if addr.Is6() {
		kind = stix.IPv6CIDR
	}
	for bits := range addr.BitLen() {
		p, err := addr.Prefix(bits)
		if err != nil {
			return nil, fmt.Errorf("reading address: %w", err)
		}
		if occurs(p) {
			list = append(list, stix.Observable{Kind: kind, Value: p.String()})
		}
	}
	return list, nil
}

// matches checks the conditions. An index of hashes did not check that of a value.
func (r *reader) matches(q *Query, e *Entry) (bool, error) {
	switch {
	case q.Type != "" && e.Type != q.Type,
		q.Topic != "" && e.Topic != q.Topic,
		e.Received < q.Since,
		e.Cursor <= q.After,
		e.Withdrawn && !q.IncludeWithdrawn:
		return false, nil
	}
	if q.Value != "" && e.StixID != q.Value || q.Value == "" && q.Kind != "" {
		o, err := stix.Parse(e.Object)
		if err != nil {
			return false, fmt.Errorf("reading object %s: %w", e.StixID, err)
		}
		if !slices.ContainsFunc(searchable(stix.Observables(o)), func(ob stix.Observable) bool {
			return q.Value == "" && ob.Kind == q.Kind || slices.Contains(r.asked, ob)
		}) {
			return false, nil
		}
	}
	if q.All {
		return true, nil
	}
	return r.newest(e)
}
