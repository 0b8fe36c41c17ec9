package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// The index finds entries by whom and what they are about, so that what is read grows with the
// answer and not with the log. It is written in the transaction of its entry. It says nothing that
// the log does not: names in it are HMACs under the log's secret, and those of an entry whose details
// are erased go with them. It is no part of the account: it can be made anew at any time, is not
// carried over, and what it finds is held against the entry.
//
//	v log               the index is whole
//	x log name number   an entry, by the name of something that it is about
//	y log day           the lowest and the highest number of an entry of that day

const (
	kWhole   = 'v'
	kPosting = 'x'
	kDay     = 'y'
)

// axis is by what an entry is found.
type axis byte

const (
	byOrg       axis = 'o' // but for the log's own organisation, which nearly all are about
	byAgreement axis = 'a'
	byPerson    axis = 'p'
	byRecord    axis = 'r'
	byPlace     axis = 'e' // of records that are not named one by one
	byDecision  axis = 'd' // a decision that a publication refers to
	byKind      axis = 'k'
	byErased    axis = 'z' // details were erased
	byWide      axis = 'w' // about more than is indexed: such an entry is looked at for every name
)

const (
	// maxPostings is by how many names an entry is found; one with more is found by byWide.
	maxPostings = MaxIDs + 128
	// placeLevels is how a range of envelopes is divided: into blocks of 2^0 to 2^16, each a name.
	placeLevels = 17
	// indexStep is how many keys are written at once where the index is made anew.
	indexStep = 20_000
)

// posting returns the beginning of the keys of what is about something.
func (l *Log) posting(by axis, what ...[]byte) []byte {
	m := hmac.New(sha256.New, l.Secret[:])
	m.Write([]byte{'i', byte(by)})
	for _, w := range what {
		m.Write(w)
	}
	return key(kPosting, l.Log, m.Sum(nil)[:16])
}

func (l *Log) kindPosting(k Kind) []byte { return l.posting(byKind, []byte{byte(k)}) }

// block names an aligned block of 2^level envelopes.
func (l *Log) block(feed protocol.FeedID, level uint, seq uint64) []byte {
	return l.posting(byPlace, feed[:], []byte{byte(level)}, number(seq>>level))
}

// postings returns the names by which an entry is found, but for its kind.
func (l *Log) postings(d *Details) [][]byte {
	var out [][]byte
	for _, o := range append([]protocol.OrgID{d.By}, d.Orgs...) {
		if o != l.Org && !o.IsZero() {
			out = append(out, l.posting(byOrg, o[:]))
		}
	}
	for i := range d.Agreements {
		out = append(out, l.posting(byAgreement, d.Agreements[i][:]))
	}
	if d.Person != "" {
		out = append(out, l.posting(byPerson, []byte(d.Person)))
	}
	out = l.ofRecords(out, &d.Records)
	for i := range d.Parts {
		p := &d.Parts[i]
		if out = append(out, l.posting(byDecision, number(p.Decision))); len(out) > 2*maxPostings {
			break // it is wide
		}
		out = l.ofRecords(out, &p.Records)
	}
	slices.SortFunc(out, bytes.Compare)
	out = slices.CompactFunc(out, bytes.Equal)
	if len(out) <= maxPostings {
		return out
	}
	out = [][]byte{l.posting(byWide)}
	if d.Person != "" {
		out = append(out, l.posting(byPerson, []byte(d.Person)))
	}
	return out
}

func (l *Log) ofRecords(out [][]byte, r *RecordSet) [][]byte {
	for i := range r.IDs {
		out = append(out, l.posting(byRecord, r.IDs[i][:]))
	}
	if len(r.IDs) > 0 {
		return out
	}
	for _, p := range r.Places {
		for seq := p.From; seq <= p.To && len(out) <= 2*maxPostings; {
			level := uint(0)
			for level < placeLevels-1 && seq&(1<<level) == 0 && seq+1<<(level+1)-1 <= p.To {
				level++
			}
			out = append(out, l.block(p.Feed, level, seq))
			seq += 1 << level
		}
	}
	return out
}

var present = []byte{1}

// indexEntry adds an entry to the index; nil details were erased.
func (l *Log) indexEntry(kv KV, n uint64, leaf *Leaf, d *Details) (keys int, err error) {
	list := [][]byte{l.kindPosting(leaf.Kind)}
	if d == nil {
		list = append(list, l.posting(byErased))
	} else {
		list = append(list, l.postings(d)...)
	}
	for _, p := range list {
		if err := kv.Set(append(p, number(n)...), present); err != nil {
			return 0, err
		}
	}
	at := key(kDay, l.Log, binary.BigEndian.AppendUint32(nil, leaf.Day))
	b, err := kv.Get(at)
	if err != nil {
		return 0, err
	}
	from, to := n, n
	if len(b) == 16 {
		from, to = min(n, binary.BigEndian.Uint64(b)), max(n, binary.BigEndian.Uint64(b[8:]))
	}
	return len(list) + 1, kv.Set(at, append(number(from), number(to)...))
}

// unindexEntry takes from the index what the details of an entry say.
func (l *Log) unindexEntry(kv KV, n uint64, d *Details) error {
	err := kv.Set(append(l.posting(byErased), number(n)...), present)
	for _, p := range l.postings(d) {
		err = errors.Join(err, kv.Delete(append(p, number(n)...)))
	}
	return err
}

// Indexed reports whether the index is whole. Where it is not, entries are found by reading all.
func (l *Log) Indexed(kv KV) (bool, error) {
	b, err := kv.Get(key(kWhole, l.Log))
	return b != nil, err
}

// Reindex makes the index of a log anew, in transactions that update runs. Others may append and
// erase meanwhile.
func (l *Log) Reindex(update func(func(KV) error) error) error {
	if err := update(func(kv KV) error { return kv.Delete(key(kWhole, l.Log)) }); err != nil {
		return err
	}
	for _, prefix := range [][]byte{key(kPosting, l.Log), key(kDay, l.Log)} {
		for more := true; more; {
			if err := update(func(kv KV) error {
				var gone [][]byte
				err := kv.Scan(prefix, nil, false, func(k, _ []byte) (bool, error) {
					gone = append(gone, bytes.Clone(k))
					return len(gone) < indexStep, nil
				})
				for _, k := range gone {
					err = errors.Join(err, kv.Delete(k))
				}
				more = len(gone) == indexStep
				return err
			}); err != nil {
				return err
			}
		}
	}
	next := uint64(0)
	for done := false; !done; {
		from := next
		if err := update(func(kv KV) error {
			next = from
			size, err := l.Size(kv)
			for keys := 0; next < size && keys < indexStep && err == nil; next++ {
				var e *Entry
				if e, err = l.Entry(kv, next); errors.Is(err, protocol.ErrMalformed) {
					err = nil // Verify tells of it
					continue
				} else if err == nil {
					var count int
					count, err = l.indexEntry(kv, next, &e.Leaf, e.Details)
					keys += count
				}
			}
			if done = next >= size; err == nil && done {
				err = kv.Set(key(kWhole, l.Log), present)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// Query selects entries. Conditions that are set must all hold. Entries whose details were erased
// are found by kind and day only.
type Query struct {
	Org       protocol.OrgID // whom they concern, or whose act it was
	Agreement protocol.AgreementID
	Record    protocol.RecordID
	At        []protocol.EntryRef // where the record stands, for entries that do not name it
	Person    string
	Decision  *uint64 // that a publication refers to
	Kind      Kind
	Erased    bool   // only those whose details were erased
	From, To  uint64 // Unix milliseconds: from From on, before To; 0: no bound
	Low       uint64 // entries with lower numbers are left out
}

// matches reports whether an entry is one that the query selects.
func (q *Query) matches(e *Entry) bool {
	if q.Kind != 0 && e.Leaf.Kind != q.Kind || q.Erased && e.Details != nil {
		return false
	}
	d := e.Details
	if d == nil { // its day is all that is known
		from, to := uint64(e.Leaf.Day)*dayMillis, uint64(e.Leaf.Day+1)*dayMillis
		return !q.about() && to > q.From && (q.To == 0 || from < q.To)
	}
	return d.At >= q.From && (q.To == 0 || d.At < q.To) && (q.Person == "" || d.Person == q.Person) &&
		(q.Org.IsZero() || d.By == q.Org || slices.Contains(d.Orgs, q.Org)) &&
		(q.Agreement.IsZero() || slices.Contains(d.Agreements, q.Agreement)) &&
		(q.Decision == nil || slices.ContainsFunc(d.Parts, func(p Part) bool { return p.Decision == *q.Decision })) &&
		(q.Record == (protocol.RecordID{}) || q.names(d))
}

// about reports whether a condition is about details.
func (q *Query) about() bool {
	return !q.Org.IsZero() || !q.Agreement.IsZero() || q.Record != (protocol.RecordID{}) || q.Person != "" || q.Decision != nil
}

// names reports whether details name the record, or an envelope that it stands in if they name no
// records.
func (q *Query) names(d *Details) bool {
	in := func(r *RecordSet) bool {
		if len(r.IDs) > 0 {
			return slices.Contains(r.IDs, q.Record)
		}
		return slices.ContainsFunc(r.Places, func(p Place) bool {
			return slices.ContainsFunc(q.At, func(at protocol.EntryRef) bool { return p.Feed == at.Feed && p.From <= at.Seq && at.Seq <= p.To })
		})
	}
	return in(&d.Records) || slices.ContainsFunc(d.Parts, func(p Part) bool { return in(&p.Records) })
}

// lists returns the lists of the index of which an entry must be in one each.
func (l *Log) lists(q *Query) (out [][][]byte) {
	wide := l.posting(byWide)
	if q.Record != (protocol.RecordID{}) {
		list := [][]byte{l.posting(byRecord, q.Record[:]), wide}
		for _, at := range q.At {
			for level := range uint(placeLevels) {
				list = append(list, l.block(at.Feed, level, at.Seq))
			}
		}
		out = append(out, list)
	}
	if q.Decision != nil {
		out = append(out, [][]byte{l.posting(byDecision, number(*q.Decision)), wide})
	}
	if !q.Agreement.IsZero() {
		out = append(out, [][]byte{l.posting(byAgreement, q.Agreement[:]), wide})
	}
	if q.Person != "" {
		out = append(out, [][]byte{l.posting(byPerson, []byte(q.Person))})
	}
	if !q.Org.IsZero() && q.Org != l.Org {
		out = append(out, [][]byte{l.posting(byOrg, q.Org[:]), wide})
	}
	if q.Erased {
		out = append(out, [][]byte{l.posting(byErased)})
	}
	if q.Kind != 0 {
		out = append(out, [][]byte{l.kindPosting(q.Kind)})
	}
	return out
}

// numbers returns the range of numbers in which entries of the query's time stand.
func (l *Log) numbers(kv KV, q *Query) (low, end uint64, err error) {
	size, err := l.Size(kv)
	if err != nil || q.From == 0 && q.To == 0 {
		return q.Low, size, err
	}
	low, end = size, 0
	prefix := key(kDay, l.Log)
	err = kv.Scan(prefix, nil, false, func(k, v []byte) (bool, error) {
		if len(k) != len(prefix)+4 || len(v) != 16 {
			return false, damaged("the days of its index")
		}
		day := uint64(binary.BigEndian.Uint32(k[len(prefix):]))
		if (day+1)*dayMillis > q.From && (q.To == 0 || day*dayMillis < q.To) {
			low, end = min(low, binary.BigEndian.Uint64(v)), max(end, binary.BigEndian.Uint64(v[8:])+1)
		}
		return true, nil
	})
	return max(low, q.Low), end, err
}

// latest returns the highest number below end that stands in any of some lists.
func latest(kv KV, lists [][]byte, end uint64) (n uint64, ok bool, err error) {
	if end == 0 {
		return 0, false, nil
	}
	for _, prefix := range lists {
		err := kv.Scan(prefix, append(bytes.Clone(prefix), number(end-1)...), true, func(k, _ []byte) (bool, error) {
			if len(k) != len(prefix)+8 {
				return false, damaged("its index")
			}
			if at := binary.BigEndian.Uint64(k[len(prefix):]); !ok || at > n {
				n, ok = at, true
			}
			return false, nil
		})
		if err != nil {
			return 0, false, err
		}
	}
	return n, ok, nil
}

// Select calls fn with the entries that the query selects, the newest first, until fn returns false.
func (l *Log) Select(kv KV, q *Query, fn func(*Entry) (bool, error)) error {
	whole, err := l.Indexed(kv)
	if err != nil {
		return err
	}
	low, end, lists := q.Low, uint64(0), [][][]byte(nil)
	if whole {
		low, end, err = l.numbers(kv, q)
		lists = l.lists(q)
	} else {
		end, err = l.Size(kv)
	}
	if err != nil {
		return err
	}
	for end > low {
		// What stands in every list: each in turn says how far down the next one is.
		n := end - 1
		for agreed := 0; agreed < len(lists); {
			for _, list := range lists {
				at, ok, err := latest(kv, list, n+1)
				if err != nil || !ok || at < low {
					return err
				}
				if at == n {
					agreed++
				} else {
					n, agreed = at, 1
				}
				if agreed >= len(lists) {
					break
				}
			}
		}
		e, err := l.Entry(kv, n)
		if err != nil {
			return err
		}
		if q.matches(e) {
			if more, err := fn(e); err != nil || !more {
				return err
			}
		}
		end = n
	}
	return nil
}

// verifyIndex holds the index against the log: by every entry that can be read it has what follows
// of it, and nothing besides.
func (l *Log) verifyIndex(kv KV, out *Verified) error {
	whole, err := l.Indexed(kv)
	if err != nil {
		return err
	}
	if !whole {
		out.Index = "it is not there"
		return nil
	}
	want := uint64(0)
	days := map[uint32][2]uint64{}
	for n := range out.Size {
		e, err := l.Entry(kv, n)
		if err != nil {
			continue // told already
		}
		list := [][]byte{l.kindPosting(e.Leaf.Kind)}
		if e.Details == nil {
			list = append(list, l.posting(byErased))
		} else {
			list = append(list, l.postings(e.Details)...)
		}
		for _, p := range list {
			if b, err := kv.Get(append(p, number(n)...)); err != nil {
				return err
			} else if b == nil {
				out.Index = fmt.Sprintf("entry %d is not found by all that it is about", n)
				return nil
			}
		}
		want += uint64(len(list))
		d, ok := days[e.Leaf.Day]
		if !ok {
			d = [2]uint64{n, n}
		}
		days[e.Leaf.Day] = [2]uint64{min(d[0], n), max(d[1], n)}
	}
	count := uint64(0)
	if err := kv.Scan(key(kPosting, l.Log), nil, false, func(_, _ []byte) (bool, error) { count++; return count <= want, nil }); err != nil {
		return err
	}
	if count != want {
		out.Index = "it finds entries by what they are not about"
		return nil
	}
	for day, d := range days {
		b, err := kv.Get(key(kDay, l.Log, binary.BigEndian.AppendUint32(nil, day)))
		if err != nil {
			return err
		}
		if !bytes.Equal(b, append(number(d[0]), number(d[1])...)) {
			out.Index = "its days are not those of the log"
			return nil
		}
	}
	return nil
}
