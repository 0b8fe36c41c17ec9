package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// memory is an ordered key space in memory.
type memory map[string][]byte

func (m memory) Get(k []byte) ([]byte, error) { return bytes.Clone(m[string(k)]), nil }
func (m memory) Set(k, v []byte) error {
	m[string(k)] = append([]byte{}, v...)
	return nil
}
func (m memory) Wrap(what, v []byte) ([]byte, error) { return append(bytes.Clone(what), v...), nil }
func (m memory) Unwrap(what, w []byte) ([]byte, error) {
	if v, ok := bytes.CutPrefix(w, what); ok && m["destroyed"+string(w)] == nil {
		return v, nil
	}
	return nil, protocol.Errorf(protocol.ErrMalformed, "destroyed, or another value")
}
func (m memory) Destroy(w []byte) error { return m.Set([]byte("destroyed"+string(w)), nil) }
func (m memory) Retire(w []byte) error  { return m.Destroy(w) }
func (m memory) Delete(k []byte) error  { delete(m, string(k)); return nil }
func (m memory) Scan(prefix, from []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	keys := slices.Sorted(maps.Keys(m))
	if reverse {
		slices.Reverse(keys)
	}
	for _, k := range keys {
		if !strings.HasPrefix(k, string(prefix)) || from != nil && (!reverse && k < string(from) || reverse && k > string(from)) {
			continue
		}
		if more, err := fn([]byte(k), m[k]); err != nil || !more {
			return err
		}
	}
	return nil
}

var alice, bob = protocol.OrgID{1}, protocol.OrgID{2}

func object(t testing.TB, raw string) *stix.Object {
	t.Helper()
	o, err := stix.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// indicator makes an indicator of a pattern, modified so many seconds after the start of 2026.
func indicator(t testing.TB, n, modified int, pattern string) *stix.Object {
	t.Helper()
	at := time.Date(2026, 1, 1, 0, 0, modified, 0, time.UTC).Format("2006-01-02T15:04:05.000Z")
	return object(t, fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":%q,"pattern":%q,"pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}`,
		n, at, pattern))
}

var nextRecord byte

func record(o *stix.Object, by protocol.OrgID) NewRecord {
	nextRecord++
	return NewRecord{Record: protocol.RecordID{nextRecord, 7}, Originator: by, Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}, Object: o, Text: "why"}
}

func add(t testing.TB, kv KV, b Block, want int) {
	t.Helper()
	if n, err := addBlock(kv, b); err != nil || n != want {
		t.Fatalf("added %d, %v; want %d", n, err, want)
	}
}

// What follows opens the index anew for each call, so that nothing is found only because it is in
// memory still, and merges a step each time.

func reopen(kv KV) (*Index, error) {
	x, err := Open(kv, TinyLimits)
	if err == nil {
		_, err = x.Merge(kv, 10)
	}
	return x, err
}

func reopened(kv KV) *Index {
	x, err := reopen(kv)
	if err != nil {
		panic(err)
	}
	return x
}

func addKnowing(kv KV, b Block) (int, []Gone, error) {
	x := reopened(kv)
	p, err := x.Prepare(b)
	if err != nil {
		return 0, nil, err
	}
	a, err := x.Add(kv, p)
	return a.Records, a.Erased, err
}

func addBlock(kv KV, b Block) (int, error) {
	n, _, err := addKnowing(kv, b)
	return n, err
}

func get(kv KV, id protocol.RecordID) (*Entry, error) { return reopened(kv).Get(kv, id) }

func search(kv KV, q Query) ([]Entry, uint64, error) {
	x, err := reopen(kv)
	if err != nil {
		return nil, 0, err
	}
	return x.Search(kv, q)
}

func byStixID(kv KV, id string) ([]Entry, error) { return reopened(kv).ByStixID(kv, id) }

func erase(kv KV, ids []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason, at uint64) ([]Copy, error) {
	return reopened(kv).Erase(kv, ids, by, reason, at)
}

func takeOut(kv KV, feed protocol.FeedID, seq uint64) (int, []protocol.EntryRef, error) {
	return reopened(kv).TakeOut(kv, feed, seq, 1)
}

func copiesIn(kv KV, id protocol.RecordID) ([]Copy, error) { return reopened(kv).Copies(kv, id) }

func ids(list []Entry) (out []string) {
	for _, e := range list {
		out = append(out, e.StixID[len(e.StixID)-2:])
	}
	return out
}

func TestSearch(t *testing.T) {
	kv := memory{}
	b := Block{Feed: protocol.FeedID{1}, Seq: 1, Topic: "c2", Publisher: alice, Received: 1000}
	for i, p := range []string{
		"[url:value = 'http://203.0.113.9:8080/gate.php']",
		"[ipv4-addr:value = '198.51.100.7']",
		"[ipv4-addr:value = '198.51.100.0/24']",
		"[domain-name:value = 'c2.example.net']",
		"[file:name = 'resume.pdf']",
		"[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']",
		"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '198.51.100.9' AND network-traffic:dst_port = 443]",
	} {
		b.Records = append(b.Records, record(indicator(t, i, 0, p), alice))
	}
	add(t, kv, b, 7)
	add(t, kv, b, 0)
	late := Block{Feed: protocol.FeedID{1}, Seq: 2, Topic: "victims", Publisher: alice, Received: 5000,
		Records: []NewRecord{record(object(t, `{"type":"ipv6-addr","spec_version":"2.1","id":"ipv6-addr--00000000-0000-4000-8000-000000000007","value":"2001:db8::1"}`), bob)}}
	add(t, kv, late, 1)
	for _, tc := range []struct {
		q    Query
		want string
	}{
		{Query{Value: "hxxp://203[.]0[.]113[.]9:8080/gate.php"}, "[00]"},
		{Query{Value: "203.0.113.9"}, "[00]"},
		{Query{Value: "198.51.100.7"}, "[01 02]"},
		{Query{Value: "198.51.100.200"}, "[02]"},
		{Query{Value: "198.51.100.9"}, "[02 06]"},
		{Query{Value: "198.51.100.9:443"}, "[06]"},
		{Query{Value: "C2.Example.NET."}, "[03]"},
		{Query{Value: "resume.pdf"}, "[04]"},
		{Query{Value: "D41D8CD98F00B204E9800998ECF8427E"}, "[05]"},
		{Query{Value: "2001:0db8:0:0::1"}, "[07]"},
		{Query{Value: "indicator--00000000-0000-4000-8000-000000000003"}, "[03]"},
		{Query{Value: "nothing.example.net"}, "[]"},
		{Query{Type: "ipv6-addr"}, "[07]"},
		{Query{Topic: "victims"}, "[07]"},
		{Query{Topic: "c2", Type: "ipv6-addr"}, "[]"},
		{Query{Since: 2000}, "[07]"},
		{Query{Type: "indicator", After: 5}, "[05 06]"},
		{Query{Type: "indicator", Limit: 2}, "[00 01]"},
		{Query{Kind: stix.Filename}, "[04]"},
	} {
		got, next, err := search(kv, tc.q)
		if err != nil || fmt.Sprint(ids(got)) != tc.want {
			t.Errorf("%+v: got %v, %v; want %s", tc.q, ids(got), err, tc.want)
		}
		if tc.q.Limit == 2 && next == 0 {
			t.Error("there is more, and no cursor says so")
		}
	}
	c, err := Count(kv)
	if err != nil || c.Records != 8 || c.ByType["indicator"] != 7 {
		t.Errorf("counted %+v, %v", c, err)
	}
	e, err := get(kv, late.Records[0].Record)
	if err != nil || e.Originator != bob || e.Publisher != alice || e.Text != "why" || !bytes.Equal(e.Object, late.Records[0].Object.Raw) {
		t.Errorf("got %+v, %v", e, err)
	}
	if e, err := get(kv, protocol.RecordID{0xee}); e != nil || err != nil {
		t.Errorf("got %v, %v for a record that is not there", e, err)
	}
}

// TestVersions: the latest modified of one originator counts; nobody else's is in its place.
func TestVersions(t *testing.T) {
	kv := memory{}
	p := "[domain-name:value = 'c2.example.net']"
	v1, v2, other := record(indicator(t, 1, 1, p), alice), record(indicator(t, 1, 2, p), alice), record(indicator(t, 1, 3, p), bob)
	for i, r := range []NewRecord{v2, v1, other} { // the older one comes later
		add(t, kv, Block{Feed: protocol.FeedID{1}, Seq: uint64(i + 1), Topic: "c2", Publisher: alice, Received: 1, Records: []NewRecord{r}}, 1)
	}
	find := func(q Query) (out []protocol.RecordID) {
		t.Helper()
		q.Value = "c2.example.net"
		list, _, err := search(kv, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			out = append(out, e.Record)
		}
		return out
	}
	if got := find(Query{}); !slices.Equal(got, []protocol.RecordID{v2.Record, other.Record}) {
		t.Errorf("newest are %v", got)
	}
	if got := find(Query{All: true}); len(got) != 3 {
		t.Errorf("all are %v", got)
	}
	if err := reopened(kv).Withdraw(kv, Withdrawal{Record: v2.Record, By: bob, Reason: "not mine", At: 9, Feed: protocol.FeedID{1}, Seq: 9}); err != nil {
		t.Fatal(err)
	}
	if got := find(Query{}); !slices.Contains(got, v2.Record) {
		t.Error("a stranger withdrew a record")
	}
	if err := reopened(kv).Withdraw(kv, Withdrawal{Record: v2.Record, By: alice, Reason: "false positive", At: 9, Feed: protocol.FeedID{1}, Seq: 9}); err != nil {
		t.Fatal(err)
	}
	if got := find(Query{}); !slices.Equal(got, []protocol.RecordID{v1.Record, other.Record}) {
		t.Errorf("with the newest withdrawn: %v", got)
	}
	e, err := get(kv, v2.Record)
	if err != nil || !e.Withdrawn || e.WithdrawReason != "false positive" || e.WithdrawnAt != 9 {
		t.Errorf("withdrawn record is %+v, %v", e, err)
	}
	list, err := byStixID(kv, v1.Object.ID)
	if err != nil || len(list) != 3 || list[0].Record != other.Record || list[2].Record != v1.Record {
		t.Errorf("versions are %v, %v", ids(list), err)
	}
	// A withdrawal may come before its record.
	early := record(indicator(t, 2, 1, "[domain-name:value = 'early.example.net']"), alice)
	if err := reopened(kv).Withdraw(kv, Withdrawal{Record: early.Record, By: alice, Reason: "early", At: 5, Feed: protocol.FeedID{1}, Seq: 5}); err != nil {
		t.Fatal(err)
	}
	add(t, kv, Block{Feed: protocol.FeedID{1}, Seq: 9, Topic: "c2", Publisher: alice, Received: 1, Records: []NewRecord{early}}, 1)
	if got, _, _ := search(kv, Query{Value: "early.example.net"}); len(got) != 0 {
		t.Error("a record that was withdrawn before it came is found")
	}
}

// TestTakeBack: what an entry withdrew that does not count any more is as before, unless another
// entry says so too, whichever came first.
func TestTakeBack(t *testing.T) {
	for first := range uint64(2) {
		kv := memory{}
		if _, err := addBlock(kv, blockOf(t, 1, 0, 3)); err != nil {
			t.Fatal(err)
		}
		feed := protocol.FeedID{1}
		say := func(i byte, seq uint64) {
			t.Helper()
			if err := reopened(kv).Withdraw(kv, Withdrawal{Record: protocol.RecordID{i, 0, 7}, By: alice, Reason: fmt.Sprint("in ", seq), At: seq, Feed: feed, Seq: seq}); err != nil {
				t.Fatal(err)
			}
		}
		back := func(seq uint64) {
			t.Helper()
			if err := reopened(kv).TakeBack(kv, feed, seq, 1); err != nil {
				t.Fatal(err)
			}
		}
		reason := func(i byte) string {
			t.Helper()
			e, err := get(kv, protocol.RecordID{i, 0, 7})
			if err != nil || e == nil || e.Withdrawn != (e.WithdrawReason != "") {
				t.Fatalf("%+v, %v", e, err)
			}
			return e.WithdrawReason
		}
		say(0, 5)
		say(0, 5)
		say(1, 5+first)
		say(1, 6-first)
		say(1, 9)
		say(2, 6)
		back(5)
		if reason(0) != "" || reason(1) == "" || reason(1) == "in 5" || reason(2) != "in 6" {
			t.Errorf("reasons %q, %q, %q after 5 was taken back", reason(0), reason(1), reason(2))
		}
		back(6)
		if reason(1) != "in 9" || reason(2) != "" {
			t.Errorf("reasons %q, %q after 6 was taken back", reason(1), reason(2))
		}
		back(9)
		if reason(1) != "" {
			t.Errorf("reason %q after all were taken back", reason(1))
		}
		for k := range kv {
			if k[:2] == kWithdrawal || k[:2] == kWithdraws {
				t.Errorf("left: %x", k)
			}
		}
	}
}

// TestSinceGivesEverythingOnce: reading on from cursor to cursor, in any steps, gives every
// record once and in order.
func TestSinceGivesEverythingOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kv := memory{}
		var want []protocol.RecordID
		for seq := range rapid.IntRange(0, 6).Draw(rt, "blocks") {
			b := Block{Feed: protocol.FeedID{1}, Seq: uint64(seq + 1), Topic: "c2", Publisher: alice, Received: uint64(seq)}
			for i := range rapid.IntRange(0, 30).Draw(rt, "records") {
				r := record(indicator(t, i, seq, fmt.Sprintf("[domain-name:value = 'h%d.example.net']", i)), alice)
				r.Record = protocol.RecordID{byte(seq), byte(i), 1}
				want = append(want, r.Record)
				b.Records = append(b.Records, r)
			}
			if _, err := addBlock(kv, b); err != nil {
				rt.Fatal(err)
			}
		}
		var got []protocol.RecordID
		for cursor := uint64(0); ; {
			page, next, err := Since(kv, cursor, rapid.IntRange(1, 20).Draw(rt, "limit"))
			if err != nil {
				rt.Fatal(err)
			}
			for _, e := range page {
				got = append(got, e.Record)
			}
			if len(page) == 0 {
				break
			}
			cursor = next
		}
		if !slices.Equal(got, want) {
			rt.Errorf("got %d records, want %d", len(got), len(want))
		}
	})
}

// TestDamageIsAnError: whatever is wrong with a stored value is an error, never a panic.
func TestDamageIsAnError(t *testing.T) {
	whole := memory{}
	add(t, whole, Block{Feed: protocol.FeedID{1}, Seq: 1, Topic: "c2", Publisher: alice, Received: 1, Records: []NewRecord{
		record(indicator(t, 1, 1, "[ipv4-addr:value = '198.51.100.0/24']"), alice), record(indicator(t, 2, 1, "[url:value = 'http://a.example.net/x']"), alice)}}, 2)
	damaged := 0
	for key, v := range whole {
		for cut := range len(v) {
			kv := maps.Clone(whole)
			kv[key] = v[:cut]
			for _, q := range []Query{{Value: "198.51.100.7"}, {Type: "indicator"}, {Value: "a.example.net"}, {Since: 1}} {
				if _, _, err := search(kv, q); err != nil {
					damaged++
					if !errors.Is(err, protocol.ErrMalformed) {
						t.Errorf("key %q cut to %d: %v", key, cut, err)
					}
				}
			}
			_, _ = Count(kv)
			_, _, _ = Since(kv, 0, 10)
		}
	}
	if damaged == 0 {
		t.Error("no damage was noticed")
	}
}

func FuzzBlock(f *testing.F) {
	f.Add(packBlock(&storedBlock{Topic: "c2"}))
	f.Fuzz(func(t *testing.T, v []byte) {
		if b, err := unpackBlock(v); err == nil {
			if _, err := unpackBlock(packBlock(b)); err != nil {
				t.Errorf("packed again: %v", err)
			}
		}
	})
}

// A block that says that it unpacks to more than any block holds is refused before memory is
// taken for it.
func TestBlockOfTooMuch(t *testing.T) {
	packed := packBlock(&storedBlock{Topic: "c2", Classes: []class{{}}, Records: []storedRecord{{Object: make([]byte, maxBlockSize)}}})
	if len(packed) > maxBlockSize/8 {
		t.Fatalf("zeros pack to %d bytes", len(packed))
	}
	if _, err := unpackBlock(packed); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("unpacking says %v", err)
	}
	fits := packBlock(&storedBlock{Topic: "c2", Classes: []class{{}}, Records: []storedRecord{{Object: make([]byte, maxBlockSize/2)}}})
	if _, err := unpackBlock(append(fits[:len(fits):len(fits)], 0)); err == nil {
		t.Error("a block with something behind it unpacks")
	}
	if _, err := unpackBlock(fits); err != nil {
		t.Error(err)
	}
}

func TestChangesOfWithdrawals(t *testing.T) {
	kv := memory{}
	r := record(indicator(t, 1, 0, "[ipv4-addr:value = '198.51.100.1']"), alice)
	add(t, kv, Block{Feed: protocol.FeedID{1}, Seq: 1, Topic: "c2", Publisher: alice, Received: 1, Records: []NewRecord{r}}, 1)
	say := func(by protocol.OrgID, seq uint64) {
		t.Helper()
		if err := reopened(kv).Withdraw(kv, Withdrawal{Record: r.Record, By: by, At: 1 << 60, Noted: 7, Feed: protocol.FeedID{1}, Seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	back := func(seq uint64) {
		t.Helper()
		if err := reopened(kv).TakeBack(kv, protocol.FeedID{1}, seq, 8); err != nil {
			t.Fatal(err)
		}
	}
	say(protocol.OrgID{77}, 10) // counts for nothing
	say(r.Originator, 11)
	say(r.Originator, 12) // a second time
	back(10)
	back(11)
	back(12)
	list, next, err := reopened(kv).Changes(kv, 0, 10)
	var got []string
	for _, c := range list {
		got = append(got, fmt.Sprint(c.Cursor, " ", c.Kind, " ", c.Entry.Withdrawn))
	}
	want := []string{"1 added false", "2 withdrawn false", "3 restored false"} // as it stands now
	if err != nil || next != 3 || !slices.Equal(got, want) {
		t.Errorf("changes are %q, to go on from %d (%v); want %q", got, next, err, want)
	}
	if list[1].Stamp > 1e12 {
		t.Errorf("the clock of who withdrew it set that of the corpus: %d", list[1].Stamp)
	}
}
