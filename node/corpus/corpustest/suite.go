package corpustest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Open returns what reads the corpus of a world: each call of reader gives one that is up with the world.
type Open func(t testing.TB, w *World) (reader func() corpus.Reader, done func())

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Run("Cases", func(t *testing.T) { cases(t, open) })
	t.Run("Histories", func(t *testing.T) { histories(t, open) })
}

// Organisations of the suite.
var (
	Alice = protocol.OrgID{1}
	Bob   = protocol.OrgID{2}
	Carol = protocol.OrgID{3}
)

// Indicator makes an indicator of a pattern, modified so many milliseconds after the start of 2026.
func Indicator(n, modified int, pattern string) *stix.Object {
	p, _ := json.Marshal(pattern)
	return object(fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-%012d","created":"2025-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:%02d.%03dZ","pattern":%s,"pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}`,
		n, modified/1000, modified%1000, p))
}

func object(raw string) *stix.Object {
	o, err := stix.Parse([]byte(raw))
	if err != nil {
		panic(err)
	}
	return o
}

// objects are what records of the suite hold. What others write is among them: values that no index can
// hold, texts that no database likes.
var objects = func() (list []*stix.Object) {
	for i, p := range []string{
		"[url:value = 'http://203.0.113.9:8080/gate.php']",
		"[ipv4-addr:value = '198.51.100.7']",
		"[ipv4-addr:value = '198.51.100.0/24']",
		"[ipv4-addr:value = '198.51.0.0/16']",
		"[domain-name:value = 'c2.example.net']",
		"[file:name = 'resume.pdf']",
		"[file:name = '\x00odd\x00.exe']",
		"[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']",
		"[ipv6-addr:value = '2001:db8::/32'] OR [ipv6-addr:value = '2001:db8::1']",
		"[domain-name:value = 'c2.example.net'] OR [email-addr:value = 'a@c2.example.net']",
		"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '198.51.100.9' AND network-traffic:dst_port = 443]",
		"[url:value = 'http://long.example/" + strings.Repeat("a", 3000) + "']",
		"[url:value = 'http://long.example/" + strings.Repeat("a", 3000) + "b']",
	} {
		list = append(list, Indicator(i, 0, p))
	}
	for modified := range 6 { // versions of one object, some in one second
		list = append(list, Indicator(50, modified*modified*300, "[domain-name:value = 'versions.example']"))
	}
	return append(list,
		Indicator(50, 300, "[domain-name:value = 'beside.example']"), // another one of the same time
		object(`{"type":"ipv6-addr","spec_version":"2.1","id":"ipv6-addr--00000000-0000-4000-8000-000000000007","value":"2001:db8::1"}`),
		object(`{"type":"domain-name","spec_version":"2.1","id":"domain-name--00000000-0000-4000-8000-000000000008","value":"C2.Example.NET."}`),
		object(`{"type":"note","spec_version":"2.1","id":"note--00000000-0000-4000-8000-000000000009","created":"1901-01-01T00:00:00Z","modified":"9999-12-31T23:59:59.999999999Z","content":"\u0000 \ud800 é","labels":["a\u0000b","é"],"confidence":70,"x":1e400,"object_refs":["indicator--00000000-0000-4000-8000-000000000001"]}`),
		object(`{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-000000000010","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","sighting_of_ref":"indicator--00000000-0000-4000-8000-000000000001","count":3}`),
		object(`{"type":"relationship","spec_version":"2.1","id":"relationship--00000000-0000-4000-8000-000000000011","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","relationship_type":"indicates","source_ref":"indicator--00000000-0000-4000-8000-000000000001","target_ref":"malware--00000000-0000-4000-8000-000000000012"}`),
		object(`{"type":"malware","spec_version":"2.1","id":"malware--00000000-0000-4000-8000-000000000012","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","revoked":true,"name":"x","is_family":true}`),
	)
}()

// originators are those who may have made the record of an object: the versions of one have two.
func originatorOf(i int) protocol.OrgID {
	if i%4 == 3 {
		return Bob
	}
	return Alice
}

// IDOf returns the id of the record of an object of the suite.
func IDOf(i int) protocol.RecordID { return protocol.RecordID{byte(i + 1), 5} }

// Objects returns how many there are.
func Objects() int { return len(objects) }

// NewRecord makes the record of an object of the suite.
func NewRecord(i int) corpus.NewRecord {
	h := protocol.Handling{Version: 1, TLP: protocol.TLP(1 + i%4), Personal: protocol.PersonalData(i % 4), RetentionDays: uint32(i % 3 * 30)}
	if i%2 == 0 {
		h.PAP, h.Countries, h.Purposes, h.Excluded = protocol.PAP(1+i%4), []string{"DE", "SG"}, []string{"incident-response"}, []protocol.OrgID{Carol}
	}
	r := corpus.NewRecord{Record: IDOf(i), Originator: originatorOf(i), Handling: h, Object: objects[i], Agreement: protocol.AgreementID{byte(i)}, Term: i, Text: "why\x00"}
	if i%5 == 0 {
		r.Form = corpus.Form{Principal: Carol, Mandate: protocol.MandateID{1}, Withheld: i%10 == 0}
	}
	return r
}

// BlockOf makes a block of objects of the suite. Topic, publisher and time follow from seq.
func BlockOf(seq uint64, list ...int) corpus.Block {
	b := corpus.Block{Feed: protocol.FeedID{7}, Seq: seq, Topic: []string{"c2", "victims"}[seq%2], Publisher: []protocol.OrgID{Alice, Bob, Carol}[seq%3],
		Received: 1_700_000_000_000 + seq*37%11*1000, SealedAt: seq}
	for _, i := range list {
		b.Records = append(b.Records, NewRecord(i))
	}
	return b
}

func cases(t *testing.T, open Open) {
	w := NewWorld(t, 1, "")
	defer w.Close()
	w.Add(BlockOf(2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12))
	w.Add(BlockOf(3, 20, 21, 22, 23, 24, 25))
	w.Withdraw(corpus.Withdrawal{Record: IDOf(9), By: originatorOf(9), Reason: "wrong\x00", At: 5, Feed: protocol.FeedID{7}, Seq: 4})
	current, done := open(t, w)
	defer done()
	reader := current()
	long := "http://long.example/" + strings.Repeat("a", 3000)
	for _, tc := range []struct {
		q    corpus.Query
		want []int
	}{
		{corpus.Query{Value: "hxxp://203[.]0[.]113[.]9:8080/gate.php"}, []int{0}},
		{corpus.Query{Value: "203.0.113.9"}, []int{0}},
		{corpus.Query{Value: "198.51.100.7"}, []int{1, 2, 3}},
		{corpus.Query{Value: "198.51.100.200"}, []int{2, 3}},
		{corpus.Query{Value: "198.51.7.1"}, []int{3}},
		{corpus.Query{Value: "198.51.100.0/24"}, []int{2}},
		{corpus.Query{Value: "198.52.0.0"}, nil},
		{corpus.Query{Value: "198.51.100.9"}, []int{2, 3, 10}},
		{corpus.Query{Value: "198.51.100.9:443"}, []int{10}},
		{corpus.Query{Value: "C2.Example.NET."}, []int{4, 21}},
		{corpus.Query{Value: "C2.Example.NET.", IncludeWithdrawn: true}, []int{4, 9, 21}},
		{corpus.Query{Value: "resume.pdf"}, []int{5}},
		{corpus.Query{Value: "resume.pdf", Kind: stix.Domain}, nil},
		{corpus.Query{Value: "\x00odd\x00.exe"}, []int{6}},
		{corpus.Query{Value: "\ufffdodd\ufffd.exe"}, nil},
		{corpus.Query{Value: "D41D8CD98F00B204E9800998ECF8427E"}, []int{7}},
		{corpus.Query{Value: "2001:0db8:0:0::1"}, []int{8, 20}},
		{corpus.Query{Value: "2001:db8::2"}, []int{8}},
		{corpus.Query{Value: long}, []int{11}},
		{corpus.Query{Value: long + "b"}, []int{12}},
		{corpus.Query{Value: long + "c"}, nil},
		{corpus.Query{Value: "long.example"}, []int{11, 12}},
		{corpus.Query{Value: "indicator--00000000-0000-4000-8000-000000000003"}, []int{3}},
		{corpus.Query{Value: "nothing.example.net"}, nil},
		{corpus.Query{Value: "' OR true --"}, nil},
		{corpus.Query{Type: "ipv6-addr"}, []int{20}},
		{corpus.Query{Topic: "victims"}, []int{20, 21, 22, 23, 24, 25}},
		{corpus.Query{Topic: "c2", Type: "ipv6-addr"}, nil},
		{corpus.Query{Kind: stix.Filename}, []int{5, 6}},
		{corpus.Query{Kind: stix.MD5, Topic: "victims"}, nil},
		{corpus.Query{Type: "indicator", After: 11}, []int{11, 12}},
		{corpus.Query{After: 1<<64 - 1}, nil},
		{corpus.Query{Type: "indicator", Limit: 2}, []int{0, 1}},
		{corpus.Query{Since: 1_700_000_000_000 + 2*37%11*1000 + 1, Type: "indicator"}, nil},
		{corpus.Query{Since: 1_700_000_000_000 + 2*37%11*1000, Type: "indicator", Limit: 1}, []int{0}},
	} {
		list, next, err := reader.Search(t.Context(), tc.q)
		var got []int
		for i := range list {
			got = append(got, int(list[i].Record[0])-1)
		}
		if err != nil || !slices.Equal(got, tc.want) {
			q := tc.q
			q.Value = q.Value[:min(len(q.Value), 60)]
			t.Errorf("%+v: found %v, %v; want %v", q, got, err, tc.want)
		}
		if (next != 0) != (tc.q.Limit > 0) {
			t.Errorf("%+v: goes on from %d", tc.q, next)
		}
	}
	e, err := reader.Get(t.Context(), IDOf(23))
	if err != nil || e == nil || !bytes.Equal(e.Object, objects[23].Raw) {
		t.Errorf("an object is not byte for byte what it was: %v", err)
	}
	if e, err := reader.Get(t.Context(), IDOf(19)); e != nil || err != nil {
		t.Errorf("a record that is not there is %v, %v", e, err)
	}
}

// model is what a corpus should show: a list.
type model struct {
	held        []*holding
	last        uint64 // cursor
	tombs       map[int][]protocol.OrgID
	withdrawals map[int][]corpus.Withdrawal
}

type holding struct {
	object int
	block  corpus.Block
	index  int
	cursor uint64
	stamp  uint64
}

func (h *holding) record() *corpus.NewRecord { return &h.block.Records[h.index] }

func (m *model) has(i int) bool {
	return slices.ContainsFunc(m.held, func(h *holding) bool { return h.object == i })
}

func (m *model) erased(i int, originator, publisher protocol.OrgID) bool {
	return slices.ContainsFunc(m.tombs[i], func(by protocol.OrgID) bool { return by == corpus.Locally || by == originator || by == publisher })
}

// add returns an error if cursors do not rise. What they are is the corpus' own.
func (m *model) add(w *World, b corpus.Block, list []int) error {
	for n, i := range list {
		if m.has(i) || m.erased(i, originatorOf(i), b.Publisher) {
			continue
		}
		e, err := w.Embedded().Get(w.t.Context(), IDOf(i))
		if err != nil || e == nil || e.Cursor <= m.last || e.Stamp == 0 {
			return fmt.Errorf("object %d was added and is %+v, %w; the last cursor was %d", i, e, err, m.last)
		}
		m.last = e.Cursor
		m.held = append(m.held, &holding{i, b, n, e.Cursor, e.Stamp})
	}
	return nil
}

func (m *model) erase(by protocol.OrgID, i int) {
	m.tombs[i] = append(m.tombs[i], by)
	m.held = slices.DeleteFunc(m.held, func(h *holding) bool {
		return h.object == i && m.erased(i, originatorOf(i), h.block.Publisher)
	})
}

func (m *model) takeOut(seq uint64) {
	m.held = slices.DeleteFunc(m.held, func(h *holding) bool { return h.block.Seq == seq })
}

// withdrawal returns the one that counts for a holding; nil if none does.
func (m *model) withdrawal(h *holding) *corpus.Withdrawal {
	for _, by := range []protocol.OrgID{originatorOf(h.object), h.block.Publisher, h.record().Form.Principal} {
		for i := range m.withdrawals[h.object] {
			if w := &m.withdrawals[h.object][i]; w.By == by {
				return w
			}
		}
	}
	return nil
}

// entry is what a reader should return of a holding.
func (m *model) entry(h *holding) corpus.Entry {
	r := h.record()
	o := r.Object
	e := corpus.Entry{Record: r.Record, Feed: h.block.Feed, Seq: h.block.Seq, Index: h.index, Topic: h.block.Topic, Originator: r.Originator, Publisher: h.block.Publisher,
		Handling: r.Handling, Object: o.Raw, StixID: o.ID, Type: o.Type, Received: h.block.Received, SealedAt: h.block.SealedAt, Cursor: h.cursor, Stamp: h.stamp, Revoked: o.Revoked,
		Agreement: r.Agreement, Term: r.Term, Text: r.Text, Form: r.Form}
	if !o.Modified.IsZero() && o.Modified.Year() < 2200 {
		e.Modified = uint64(o.Modified.UnixMilli())
	} else if !o.Modified.IsZero() {
		e.Modified = (1<<63 - 1) / 1_000_000
	}
	if w := m.withdrawal(h); w != nil {
		e.Withdrawn, e.WithdrawReason, e.WithdrawnAt = true, w.Reason, w.At
	}
	return e
}

// flat is all that an entry says, to be compared.
func flat(e *corpus.Entry) string {
	return fmt.Sprintf("%x %x/%d/%d %q %x %x %x %s %s %s %d %d %d %d %d %v %v %q %d %x %d %q %+v", e.Record, e.Feed, e.Seq, e.Index, e.Topic, e.Originator, e.Publisher,
		protocol.Encode(&e.Handling), e.Object, e.StixID, e.Type, e.Modified, e.Received, e.SealedAt, e.Cursor, e.Stamp, e.Revoked, e.Withdrawn, e.WithdrawReason, e.WithdrawnAt,
		e.Agreement, e.Term, e.Text, e.Form)
}

func (m *model) search(q corpus.Query) (out []*holding, next uint64) {
	limit := q.Limit
	if limit <= 0 {
		limit = corpus.DefaultLimit
	}
	asked, err := q.Lookups()
	if err != nil {
		panic(err)
	}
	for _, h := range m.held {
		o := h.record().Object
		found := corpus.FoundBy(o)
		switch {
		case q.Value != "" && o.ID != q.Value && !slices.ContainsFunc(found, func(ob stix.Observable) bool { return slices.Contains(asked, ob) }),
			q.Value == "" && q.Kind != "" && !slices.ContainsFunc(found, func(ob stix.Observable) bool { return ob.Kind == q.Kind }),
			q.Type != "" && o.Type != q.Type, q.Topic != "" && h.block.Topic != q.Topic,
			h.block.Received < q.Since, h.cursor <= q.After,
			!q.IncludeWithdrawn && m.withdrawal(h) != nil,
			!q.All && slices.ContainsFunc(m.held, func(n *holding) bool {
				return n.record().Object.ID == o.ID && n.record().Object.Modified.After(o.Modified) && originatorOf(n.object) == originatorOf(h.object) && m.withdrawal(n) == nil
			}):
			continue
		}
		if len(out) == limit {
			return out, out[limit-1].cursor
		}
		out = append(out, h)
	}
	return out, 0
}

func (m *model) same(what string, got []corpus.Entry, want []*holding) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range got {
		e := m.entry(want[i])
		if g, w := flat(&got[i]), flat(&e); g != w {
			return fmt.Errorf("%s: record %d is\n%s\nwant\n%s", what, i, g, w)
		}
	}
	return nil
}

// check compares a reader with the model: everything, and a query.
func (m *model) check(ctx context.Context, r corpus.Reader, q corpus.Query, limit int) error {
	list, next, err := r.Search(ctx, q)
	if err != nil {
		return err
	}
	want, at := m.search(q)
	if err := m.same(fmt.Sprintf("search %+v", q), list, want); err != nil || next != at {
		return fmt.Errorf("search %+v goes on from %d, want %d: %w", q, next, at, err)
	}
	cursor, all := uint64(0), []corpus.Entry(nil)
	for {
		page, next, err := r.Since(ctx, cursor, limit)
		if err != nil {
			return err
		}
		if all = append(all, page...); next == cursor {
			break
		}
		cursor = next
	}
	if err := m.same("since", all, m.held); err != nil {
		return err
	}
	byType := map[string]uint64{}
	for _, h := range m.held {
		byType[h.record().Object.Type]++
	}
	n, err := r.Count(ctx)
	if err != nil || n.Records != uint64(len(m.held)) || !maps.Equal(n.ByType, byType) || len(m.held) > 0 && n.Cursor < m.held[len(m.held)-1].cursor {
		return fmt.Errorf("counts %+v, want %d records, %v: %w", n, len(m.held), byType, err)
	}
	return nil
}

// one compares what a reader says of one object.
func (m *model) one(ctx context.Context, r corpus.Reader, i int) error {
	var want []*holding
	e, err := r.Get(ctx, IDOf(i))
	if err != nil {
		return err
	}
	var got []corpus.Entry
	if e != nil {
		got = append(got, *e)
	}
	for _, h := range m.held {
		if h.object == i {
			want = append(want, h)
		}
	}
	if err := m.same("get", got, want); err != nil {
		return err
	}
	want = nil
	for _, h := range m.held {
		if h.record().Object.ID == objects[i].ID {
			want = append(want, h)
		}
	}
	slices.SortStableFunc(want, func(a, b *holding) int {
		return cmp.Or(b.record().Object.Modified.Compare(a.record().Object.Modified), cmp.Compare(a.cursor, b.cursor))
	})
	got, err = r.ByStixID(ctx, objects[i].ID)
	if err != nil {
		return err
	}
	return m.same("versions", got, want)
}

// values are what is asked for.
var values = []string{"", "", "203.0.113.9", "198.51.100.7", "198.51.100.9", "198.51.7.1", "c2.example.net", "versions.example", "resume.pdf", "2001:db8::1", "2001:db8::9",
	"indicator--00000000-0000-4000-8000-000000000050", "indicator--00000000-0000-4000-8000-000000000001", "long.example", "a@c2.example.net"}

func drawQuery(t *rapid.T) corpus.Query {
	q := corpus.Query{Value: rapid.SampledFrom(values).Draw(t, "value"), IncludeWithdrawn: rapid.Bool().Draw(t, "withdrawn"), All: rapid.Bool().Draw(t, "all"),
		Limit: rapid.IntRange(0, 5).Draw(t, "limit")}
	some := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	if some("by type") {
		q.Type = rapid.SampledFrom([]string{"indicator", "ipv6-addr", "note", "tool"}).Draw(t, "type")
	}
	if some("by topic") {
		q.Topic = rapid.SampledFrom([]string{"c2", "victims", "other"}).Draw(t, "topic")
	}
	if some("by kind") {
		q.Kind = rapid.SampledFrom([]stix.Kind{stix.Domain, stix.IPv4, stix.Filename, stix.URL}).Draw(t, "kind")
	}
	if some("since") {
		q.Since = 1_700_000_000_000 + rapid.Uint64Range(0, 11).Draw(t, "since")*1000
	}
	if some("after") {
		q.After = rapid.Uint64Range(1, 40).Draw(t, "after")
	}
	return q
}

// histories gives a corpus whatever history, and compares what it shows with a list after each step.
func histories(t *testing.T, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		w := NewWorld(t, 1, "")
		defer w.Close()
		reader, done := open(t, w)
		defer done()
		m := &model{tombs: map[int][]protocol.OrgID{}, withdrawals: map[int][]corpus.Withdrawal{}}
		one := rapid.IntRange(0, len(objects)-1)
		orgs := rapid.SampledFrom([]protocol.OrgID{Alice, Bob, Carol})
		seq := uint64(0)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			for range rapid.IntRange(1, 3).Draw(rt, "changes") {
				seq++
				switch rapid.SampledFrom([]string{"add", "add", "add", "withdraw", "take back", "erase", "take out", "open"}).Draw(rt, "step") {
				case "add":
					list := rapid.SliceOfNDistinct(one, 1, 10, func(i int) int { return i }).Draw(rt, "objects")
					b := BlockOf(seq, list...)
					w.Add(b)
					if err := m.add(w, b, list); err != nil {
						rt.Fatal(err)
					}
				case "withdraw":
					i := one.Draw(rt, "object")
					d := corpus.Withdrawal{Record: IDOf(i), By: orgs.Draw(rt, "by"), Reason: fmt.Sprintf("wrong\x00 %d", seq), At: seq, Feed: protocol.FeedID{8}, Seq: seq}
					w.Withdraw(d)
					m.withdrawals[i] = append(m.withdrawals[i], d)
				case "take back":
					at := rapid.Uint64Range(1, seq).Draw(rt, "entry")
					for i, list := range m.withdrawals {
						if slices.ContainsFunc(list, func(d corpus.Withdrawal) bool { return d.Seq == at }) {
							w.TakeBack(protocol.FeedID{8}, at)
							m.withdrawals[i] = slices.DeleteFunc(list, func(d corpus.Withdrawal) bool { return d.Seq == at })
						}
					}
				case "erase":
					i, by := one.Draw(rt, "object"), rapid.SampledFrom([]protocol.OrgID{corpus.Locally, Alice, Bob, Carol}).Draw(rt, "by")
					w.Erase(by, IDOf(i))
					m.erase(by, i)
				case "take out":
					at := rapid.Uint64Range(1, seq).Draw(rt, "entry")
					w.TakeOut(protocol.FeedID{7}, at)
					m.takeOut(at)
				case "open":
					w.Close()
					w.Open()
				}
			}
			r := reader()
			if err := m.check(t.Context(), r, drawQuery(rt), rapid.IntRange(1, 7).Draw(rt, "page")); err != nil {
				rt.Fatal(err)
			}
			if err := m.one(t.Context(), r, one.Draw(rt, "asked")); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
