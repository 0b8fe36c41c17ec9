package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

func (b *logbook) append(kind audit.Kind, d *audit.Details) (n uint64) {
	b.t.Helper()
	b.update(func(tx *store.Tx) (err error) { n, err = b.log.Append(tx, kind, d); return err })
	return n
}

func (b *logbook) reindex() {
	b.t.Helper()
	if err := b.log.Reindex(func(fn func(audit.KV) error) error { return b.st.Update(func(tx *store.Tx) error { return fn(tx) }) }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *logbook) selected(q *audit.Query) (out []uint64) {
	b.t.Helper()
	if err := b.st.View(func(tx *store.Tx) error {
		out = nil
		return b.log.Select(tx, q, func(e *audit.Entry) (bool, error) { out = append(out, e.Number); return true, nil })
	}); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *logbook) indexed() bool {
	b.t.Helper()
	v := b.verify()
	clean(b.t, v)
	return v.Index == ""
}

// naive is what a query selects, by reading all.
func (b *logbook) naive(q *audit.Query) (out []uint64) {
	b.t.Helper()
	names := func(d *audit.Details) bool {
		sets := []audit.RecordSet{d.Records}
		for _, p := range d.Parts {
			sets = append(sets, p.Records)
		}
		for _, s := range sets {
			for _, id := range s.IDs {
				if id == q.Record {
					return true
				}
			}
			for _, p := range s.Places {
				for _, at := range q.At {
					if len(s.IDs) == 0 && at.Feed == p.Feed && at.Seq >= p.From && at.Seq <= p.To {
						return true
					}
				}
			}
		}
		return false
	}
	if err := b.st.View(func(tx *store.Tx) error {
		return b.log.Each(tx, 0, func(e *audit.Entry) (bool, error) {
			d := e.Details
			ok := e.Number >= q.Low && (q.Kind == 0 || q.Kind == e.Leaf.Kind) && (!q.Erased || d == nil)
			details := q.Org != protocol.OrgID{} || q.Agreement != protocol.AgreementID{} || q.Record != protocol.RecordID{} || q.Person != "" || q.Decision != nil
			if d == nil {
				ok = ok && !details && uint64(e.Leaf.Day+1)*day > q.From && (q.To == 0 || uint64(e.Leaf.Day)*day < q.To)
			} else {
				ok = ok && d.At >= q.From && (q.To == 0 || d.At < q.To) && (q.Person == "" || q.Person == d.Person) &&
					(q.Org == protocol.OrgID{} || d.By == q.Org || slices.Contains(d.Orgs, q.Org)) &&
					(q.Agreement == protocol.AgreementID{} || slices.Contains(d.Agreements, q.Agreement)) &&
					(q.Record == protocol.RecordID{} || names(d)) &&
					(q.Decision == nil || slices.ContainsFunc(d.Parts, func(p audit.Part) bool { return p.Decision == *q.Decision }))
			}
			if ok {
				out = append(out, e.Number)
			}
			return true, nil
		})
	}); err != nil {
		b.t.Fatal(err)
	}
	slices.Reverse(out)
	return out
}

func drawSet(t *rapid.T) audit.RecordSet {
	var s audit.RecordSet
	if rapid.Bool().Draw(t, "named") {
		for range rapid.IntRange(1, 4).Draw(t, "ids") {
			s.IDs = append(s.IDs, protocol.RecordID{rapid.Byte().Draw(t, "id") % 6})
		}
	}
	s.Count = uint64(len(s.IDs))
	for range rapid.IntRange(0, 2).Draw(t, "places") {
		from := rapid.Uint64Range(1, 300).Draw(t, "from")
		s.Places = append(s.Places, audit.Place{Feed: protocol.FeedID{rapid.Byte().Draw(t, "feed") % 2}, From: from, To: from + rapid.Uint64Range(0, 300).Draw(t, "long")})
	}
	return s
}

// TestIndexFindsWhatReadingAllFinds: whatever is appended, erased, carried over and made anew, and
// whatever is asked.
func TestIndexFindsWhatReadingAllFinds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newLogbook(t)
		org := func() protocol.OrgID { return protocol.OrgID{rapid.Byte().Draw(rt, "org") % 4} }
		for range rapid.IntRange(1, 12).Draw(rt, "entries") {
			d := &audit.Details{At: day*rapid.Uint64Range(1, 6).Draw(rt, "day") + 5, By: org(), Person: rapid.SampledFrom([]string{"", "alice", "bob"}).Draw(rt, "person"), Records: drawSet(rt)}
			for range rapid.IntRange(0, 3).Draw(rt, "orgs") {
				d.Orgs = append(d.Orgs, org())
			}
			if rapid.IntRange(0, 30).Draw(rt, "wide") == 0 {
				for i := range 1500 {
					d.Orgs = append(d.Orgs, protocol.OrgID{9, byte(i >> 8), byte(i)})
				}
			}
			for range rapid.IntRange(0, 2).Draw(rt, "agreements") {
				d.Agreements = append(d.Agreements, protocol.AgreementID{rapid.Byte().Draw(rt, "agreement") % 3})
			}
			for range rapid.IntRange(0, 2).Draw(rt, "parts") {
				d.Parts = append(d.Parts, audit.Part{Decision: rapid.Uint64Range(0, 4).Draw(rt, "decision"), Records: drawSet(rt)})
			}
			n := b.append(audit.Kind(rapid.IntRange(2, 13).Draw(rt, "kind")), d)
			if rapid.IntRange(0, 5).Draw(rt, "erase") == 0 {
				if _, err := b.erase(rapid.Uint64Range(1, n).Draw(rt, "which")); err != nil && !strings.Contains(err.Error(), "details stay") {
					rt.Fatal(err)
				}
			}
		}
		check := func() {
			for range 4 {
				q := &audit.Query{Low: rapid.Uint64Range(0, 3).Draw(rt, "low"), Erased: rapid.IntRange(0, 7).Draw(rt, "erased") == 0}
				maybe := func(what string, fn func()) {
					if rapid.IntRange(0, 2).Draw(rt, what) == 0 {
						fn()
					}
				}
				maybe("by org", func() { q.Org = org() })
				maybe("by agreement", func() { q.Agreement = protocol.AgreementID{rapid.Byte().Draw(rt, "agreement") % 3} })
				maybe("by person", func() { q.Person = "alice" })
				maybe("by kind", func() { q.Kind = audit.Kind(rapid.IntRange(1, 14).Draw(rt, "kind")) })
				maybe("by decision", func() { n := rapid.Uint64Range(0, 4).Draw(rt, "decision"); q.Decision = &n })
				maybe("by record", func() {
					q.Record = protocol.RecordID{1 + rapid.Byte().Draw(rt, "id")%5}
					q.At = []protocol.EntryRef{{Feed: protocol.FeedID{1}, Seq: rapid.Uint64Range(1, 600).Draw(rt, "seq")}}
				})
				maybe("from", func() { q.From = rapid.Uint64Range(1, 7*day).Draw(rt, "from") })
				maybe("to", func() { q.To = rapid.Uint64Range(1, 7*day).Draw(rt, "to") })
				if got, want := b.selected(q), b.naive(q); !slices.Equal(got, want) {
					rt.Fatalf("%+v: the index finds %v, reading all %v", q, got, want)
				}
			}
		}
		check()
		if !b.indexed() {
			rt.Fatal("the index does not agree with the log")
		}
		b = carryOver(t, b)
		if b.indexed() {
			rt.Fatal("the index was carried over")
		}
		check() // by reading all
		b.reindex()
		check()
		if !b.indexed() {
			rt.Fatal("the index that was made anew does not agree with the log")
		}
	})
}

// counting counts the keys that are read.
type counting struct {
	audit.KV
	read int
}

func (c *counting) Get(k []byte) ([]byte, error) { c.read++; return c.KV.Get(k) }
func (c *counting) Scan(prefix, from []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	c.read++
	return c.KV.Scan(prefix, from, reverse, func(k, v []byte) (bool, error) { c.read++; return fn(k, v) })
}

// TestReadsGrowWithTheAnswer: what is read for a query is the same in a log ten times as long.
func TestReadsGrowWithTheAnswer(t *testing.T) {
	queries := map[string]audit.Query{
		"organisation":  {Org: protocol.OrgID{77}},
		"agreement":     {Agreement: protocol.AgreementID{77}},
		"record":        {Record: protocol.RecordID{77}, At: []protocol.EntryRef{{Feed: protocol.FeedID{77}, Seq: 40}}},
		"person":        {Person: "carol"},
		"kind":          {Kind: audit.Trust},
		"time":          {From: 9 * day, To: 10 * day},
		"both":          {Org: them, Kind: audit.Trust},
		"person, since": {Person: "carol", From: 9 * day},
	}
	reads := map[string][2]int{}
	for round, size := range []int{100, 1000} {
		b := newLogbook(t)
		fill := func(n int) {
			b.update(func(tx *store.Tx) error {
				for i := range n {
					d := &audit.Details{At: day * 2, By: self, Person: "alice", Orgs: []protocol.OrgID{them}, Records: audit.NewRecordSet([]protocol.RecordID{{1, byte(i)}}, true)}
					if _, err := b.log.Append(tx, audit.Disclose, d); err != nil {
						return err
					}
				}
				return nil
			})
		}
		fill(size / 2)
		for i := range 3 {
			b.append(audit.Trust, &audit.Details{At: day*9 + uint64(i), By: self, Person: "carol", Orgs: []protocol.OrgID{them, {77}}, Agreements: []protocol.AgreementID{{77}},
				Records: audit.RecordSet{Count: 9, Places: []audit.Place{{Feed: protocol.FeedID{77}, From: 30, To: 50}}}})
		}
		fill(size / 2)
		for name, q := range queries {
			if err := b.st.View(func(tx *store.Tx) error {
				c, found := &counting{KV: tx}, 0
				err := b.log.Select(c, &q, func(*audit.Entry) (bool, error) { found++; return true, nil })
				if found != 3 {
					t.Errorf("%s: %d entries of 3 are found", name, found)
				}
				r := reads[name]
				r[round] = c.read
				reads[name] = r
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, r := range reads {
		if r[0] != r[1] || r[0] > 300 {
			t.Errorf("%s: %d keys are read in a short log, %d in one ten times as long", name, r[0], r[1])
		}
	}
}

// TestIndexIsVerified: what was changed in it is told, and is not taken for a fault of the account.
func TestIndexIsVerified(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		change     func(tx *store.Tx, b *logbook) error
	}{
		{"gone", "not there", func(tx *store.Tx, b *logbook) error { return tx.Delete(key('v', b.log.Log)) }},
		{"less", "is not found by all", func(tx *store.Tx, b *logbook) error {
			return tx.Scan(key('x', b.log.Log), nil, false, func(k, _ []byte) (bool, error) { return false, tx.Delete(bytes.Clone(k)) })
		}},
		{"more", "what they are not about", func(tx *store.Tx, b *logbook) error {
			return tx.Set(key('x', b.log.Log, append(make([]byte, 16), at(3)...)...), []byte{1})
		}},
		{"days", "its days", func(tx *store.Tx, b *logbook) error {
			return tx.Scan(key('y', b.log.Log), nil, false, func(k, _ []byte) (bool, error) { return false, tx.Set(bytes.Clone(k), bytes.Repeat([]byte{7}, 16)) })
		}},
	} {
		b := newLogbook(t)
		b.add(5)
		if !b.indexed() {
			t.Fatal("the index does not agree with the log")
		}
		b.update(func(tx *store.Tx) error { return tc.change(tx, b) })
		v := b.verify()
		clean(t, v)
		if !strings.Contains(v.Index, tc.says) {
			t.Errorf("%s: %q, want %q", tc.name, v.Index, tc.says)
		}
		b.reindex()
		if !b.indexed() {
			t.Errorf("%s: it is not whole when it was made anew", tc.name)
		}
	}
}

// TestIndexForgets: with the details of an entry goes all that the index said of them.
func TestIndexForgets(t *testing.T) {
	b := newLogbook(t)
	before := snapshot(t, b)
	n := b.append(audit.Disclose, &audit.Details{At: day, By: self, Person: "alice", Orgs: []protocol.OrgID{them}, Agreements: []protocol.AgreementID{{1}},
		Records: audit.NewRecordSet([]protocol.RecordID{{5}, {6}}, true)})
	postings := func() (count int) {
		for k := range snapshot(t, b) {
			if bytes.HasPrefix([]byte(k), key('x', b.log.Log)) && before[k] == nil && k[len(k)-1] == byte(n) {
				count++
			}
		}
		return count
	}
	if got := postings(); got != 6 { // kind, organisation, agreement, person, two records
		t.Fatalf("%d names in the index", got)
	}
	if _, err := b.erase(n); err != nil {
		t.Fatal(err)
	}
	if got := postings(); got != 2 { // kind, and that they were erased
		t.Errorf("%d names are left in the index", got)
	}
	if got := b.selected(&audit.Query{Person: "alice"}); len(got) != 0 {
		t.Errorf("found by a person that was erased: %v", got)
	}
	if got := b.selected(&audit.Query{Erased: true}); !slices.Equal(got, []uint64{n}) {
		t.Errorf("erased entries are %v", got)
	}
}

// TestIndexIsBounded: an entry about very many has few keys, and is found by each of them.
func TestIndexIsBounded(t *testing.T) {
	b := newLogbook(t)
	before := len(snapshot(t, b))
	d := &audit.Details{At: day, By: self, Person: "alice"}
	for i := range 3000 {
		d.Orgs = append(d.Orgs, protocol.OrgID{9, byte(i >> 8), byte(i)})
		d.Parts = append(d.Parts, audit.Part{Records: audit.RecordSet{Places: []audit.Place{{From: 1, To: 1 << 47}}}})
	}
	n := b.append(audit.Decide, d)
	if got := len(snapshot(t, b)) - before; got > 20 {
		t.Errorf("%d keys were written for one entry", got)
	}
	if got := b.selected(&audit.Query{Org: protocol.OrgID{9, 3, 7}}); !slices.Equal(got, []uint64{n}) {
		t.Errorf("found %v", got)
	}
	if !b.indexed() {
		t.Error("the index does not agree with the log")
	}
}

// TestReindexStopped: an index whose making ended in between is not used.
func TestReindexStopped(t *testing.T) {
	b := newLogbook(t)
	b.add(5)
	stop := errors.New("stop")
	steps := 0
	if err := b.log.Reindex(func(fn func(audit.KV) error) error {
		if steps++; steps > 2 {
			return stop
		}
		return b.st.Update(func(tx *store.Tx) error { return fn(tx) })
	}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if got := len(b.selected(&audit.Query{Person: "alice"})); got != 5 {
		t.Errorf("%d entries are found", got)
	}
	b.reindex()
	if got := len(b.selected(&audit.Query{Person: "alice"})); got != 5 || !b.indexed() {
		t.Errorf("%d entries are found", got)
	}
}

// BenchmarkSelect is a query with ten answers in logs of growing length, beside reading all.
func BenchmarkSelect(b *testing.B) {
	for _, size := range []int{1_000, 10_000} {
		book := newLogbook(b)
		for from := 0; from < size; from += 1000 {
			book.update(func(tx *store.Tx) error {
				for i := range 1000 {
					d := &audit.Details{At: day, By: self, Person: "alice", Orgs: []protocol.OrgID{them}}
					if (from+i)%(size/10) == 7 {
						d.Person = "carol"
					}
					if _, err := book.log.Append(tx, audit.Disclose, d); err != nil {
						return err
					}
				}
				return nil
			})
		}
		q := &audit.Query{Person: "carol"}
		b.Run(fmt.Sprintf("index/%d", size), func(b *testing.B) {
			for b.Loop() {
				if len(book.selected(q)) != 10 {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("all/%d", size), func(b *testing.B) {
			for b.Loop() {
				if len(book.naive(q)) != 10 {
					b.Fatal("not found")
				}
			}
		})
	}
}
