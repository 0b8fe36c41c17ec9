package taxii

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

func newList(topic string) *list {
	return newCatalog(nil).get("x", topic, node.TopicView(topic))
}

// TestListFollowsChanges: whatever becomes of records, a list holds those that are there and not
// withdrawn, under the cursor by which a poller that read on is given them, and no other.
func TestListFollowsChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newList("c2")
		records := map[uint64]*node.Record{} // by the cursor under which each came
		now := map[uint64]uint64{}           // those that the list is to hold: by that, their cursor in it
		cursor := uint64(0)
		change := func(kind node.ChangeKind, rec *node.Record) {
			cursor += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
			if kind == node.ChangeAdded {
				rec.Cursor = cursor
				records[cursor] = rec
			}
			copied := *rec
			l.take([]node.Change{{Cursor: cursor, Kind: kind, At: time.UnixMicro(int64(cursor)), ID: rec.ID, Record: &copied}}, cursor)
		}
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			some := slices.Sorted(maps.Keys(records))
			switch k := rapid.IntRange(0, 4).Draw(t, "kind"); {
			case k <= 1 || len(some) == 0:
				topic := rapid.SampledFrom([]string{"c2", "c2", "other"}).Draw(t, "topic")
				rec := &node.Record{StixID: fmt.Sprintf("indicator--%d", rapid.IntRange(1, 4).Draw(t, "object")), Topic: topic,
					Originator: node.OrgRef{ID: protocol.OrgID{byte(rapid.IntRange(1, 2).Draw(t, "by"))}}}
				change(node.ChangeAdded, rec)
				if topic == "c2" {
					now[cursor] = cursor
				}
			default:
				rec := records[rapid.SampledFrom(some).Draw(t, "record")]
				if rec.Withdrawn = !rec.Withdrawn; rec.Withdrawn {
					change(node.ChangeWithdrawn, rec)
					delete(now, rec.Cursor)
				} else {
					change(node.ChangeRestored, rec)
					if rec.Topic == "c2" {
						now[rec.Cursor] = cursor
					}
				}
			}
			want := map[uint64]uint64{}
			for at, c := range now {
				want[c] = at
			}
			after := rapid.Uint64Range(0, cursor).Draw(t, "after")
			got, size := map[uint64]uint64{}, rapid.IntRange(1, 5).Draw(t, "page")
			for c := after; ; {
				page, next := l.from(c, size, func(uint16, *node.Record) bool { return true })
				for _, p := range page {
					if p.cursor <= c {
						t.Fatalf("%d comes after %d", p.cursor, c)
					}
					got[p.cursor], c = p.at, p.cursor
				}
				if next == 0 {
					break
				}
			}
			maps.DeleteFunc(want, func(c, _ uint64) bool { return c <= after })
			if !maps.Equal(got, want) {
				t.Fatalf("after %d: %v, want %v", after, got, want)
			}
			for _, rec := range records {
				versions := map[uint64]bool{}
				for _, p := range l.versions(objectKey(rec)) {
					versions[p.at] = true
				}
				for at, other := range records {
					if same := other.StixID == rec.StixID && other.Originator.ID == rec.Originator.ID; versions[at] != (same && now[at] != 0) {
						t.Fatalf("record %d: versions %v, and %d is one: %v", rec.Cursor, versions, at, same)
					}
				}
				if p := l.placesOf([]node.Record{*rec}); (len(p) == 1) != (now[rec.Cursor] != 0) || len(p) == 1 && p[0].cursor != now[rec.Cursor] {
					t.Fatalf("record %d stands at %v, want %d", rec.Cursor, p, now[rec.Cursor])
				}
			}
		}
	})
}

// TestListMadeLater: a list that is made of what there is now is the one that followed.
func TestListMadeLater(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	for i := range 5 {
		w.post(c, indicator(i, 0), indicator(i, 1), observable(i))
	}
	w.ask("tip", "DELETE", c+"objects/"+id(2)+"/", nil)
	before, _ := w.all("siem", c+"objects/", "match[version]=all", 3)
	w.serve()
	if after, _ := w.all("siem", c+"objects/", "match[version]=all", 4); !slices.Equal(before, after) || len(before) != 13 {
		t.Errorf("%v became %v", before, after)
	}
}

// TestNotLookedAt: for what nobody asked for, and what is not there for the reader, nothing is read.
func TestNotLookedAt(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	for i := range 5 {
		w.post(c, indicator(i, 0), observable(i))
	}
	w.rules(`@id("own") forbid (principal in Role::"sink", action == Action::"read", resource) when { resource.kind == "indicator" };`)
	catalog := newCatalog(w.n)
	l := catalog.get("x", "c2", node.TopicView("c2"))
	if err := catalog.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		reader *node.Reader
		f      filter
		places int
	}{
		{"all", w.n.Reader(nil), filter{}, 10},
		{"a type", w.n.Reader(nil), filter{types: []string{"ipv4-addr"}}, 5},
		{"no type", w.n.Reader(nil), filter{types: []string{"nothing"}}, 0},
		{"what may be seen", w.n.Reader(w.n.PersonOf("siem")), filter{}, 5},
		{"what may not be seen", w.n.Reader(w.n.PersonOf("siem")), filter{types: []string{"indicator"}}, 0},
	} {
		tt.f.limit, tt.f.last = 10, true
		q := newSearch(t.Context(), &tt.f, tt.reader, l)
		if places, next := l.from(0, 100, q.wants); len(places) != tt.places || next != 0 {
			t.Errorf("%s: %d places, want %d", tt.name, len(places), tt.places)
		}
		if got, next, err := q.page(0); err != nil || next != 0 || len(got) != tt.places {
			t.Errorf("%s: %d objects, want %d (%v)", tt.name, len(got), tt.places, err)
		}
	}
	// The reader is nil: it would be asked if anything were looked at.
	q := newSearch(t.Context(), &filter{limit: 10, last: true, specs: []string{"2.0"}}, nil, l)
	if got, next, err := q.page(0); len(got) != 0 || next != 0 || err != nil {
		t.Errorf("version 2.0: %v, %d, %v", got, next, err)
	}
}

// TestPageOfBytes: a page ends where its objects are large enough, but has one.
func TestPageOfBytes(t *testing.T) {
	w := newWorld(t, "c2")
	c := w.collection("c2")
	size := len(indicator(0, 0))
	for i := range 5 {
		w.post(c, indicator(i, 0))
	}
	catalog := newCatalog(w.n)
	l := catalog.get("x", "c2", node.TopicView("c2"))
	if err := catalog.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, ids := range [][]string{nil, {id(0), id(1), id(2), id(3), id(4)}} {
		for room, want := range map[int]int{1: 1, 2*size + 1: 2, 5 * size: 5} {
			var got []string
			for after, pages := uint64(0), 0; ; pages++ {
				q := newSearch(t.Context(), &filter{limit: 10, last: true, ids: ids}, w.n.Reader(nil), l)
				q.room = room
				out, next, err := q.page(after)
				if err != nil || len(out) == 0 || len(out) > want || pages == 0 && len(out) != want || pages > 5 {
					t.Fatalf("%d bytes: %d objects, %v", room, len(out), err)
				}
				for _, o := range out {
					got = append(got, o.rec.StixID)
				}
				if after = next; next == 0 {
					break
				}
			}
			wantIDs(t, fmt.Sprintf("pages of %d bytes", room), got, 0, 1, 2, 3, 4)
		}
	}
}

// TestListForgottenMeanwhile: a list that a request goes by is brought in step although another one,
// which knows of other views, had it forgotten.
func TestListForgottenMeanwhile(t *testing.T) {
	w := newWorld(t, "c2")
	w.post(w.collection("c2"), indicator(1, 0))
	catalog := newCatalog(w.n)
	l := catalog.get("x", "c2", node.TopicView("c2"))
	catalog.keepOnly(map[string]bool{})
	if err := catalog.sync(t.Context(), l); err != nil || len(l.items) != 1 {
		t.Errorf("%d records, %v", len(l.items), err)
	}
}

// BenchmarkList says how much memory a list takes for each record.
func BenchmarkList(b *testing.B) {
	const records = 200_000
	recs := make([]node.Record, records)
	for i := range recs {
		recs[i] = node.Record{StixID: id(i), Topic: "c2", Cursor: uint64(i + 1)}
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := newList("c2")
		for i := range recs {
			l.add(&recs[i], recs[i].Cursor)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(l)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/records, "B/record")
}

// BenchmarkPage answers for pages of 1,000 objects, beside the walk over as many changes that the
// node itself makes.
func BenchmarkPage(b *testing.B) {
	w := newWorld(b, "c2")
	c := w.collection("c2")
	const records = 20_000
	for i := 0; i < records; i += 1000 {
		var list []string
		for j := range 1000 {
			list = append(list, indicator(i+j, 0))
		}
		w.post(c, list...)
	}
	w.get(c)
	b.Run("walk", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if got, _, err := w.n.Changes(uint64(i*1000%records), 1000); err != nil || len(got) != 1000 {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("page", func(b *testing.B) {
		catalog := newCatalog(w.n)
		l := catalog.get("x", "c2", node.TopicView("c2"))
		if err := catalog.sync(b.Context()); err != nil {
			b.Fatal(err)
		}
		reader := w.n.Reader(nil)
		for i := 0; b.Loop(); i++ {
			q := newSearch(b.Context(), &filter{limit: 1000, last: true}, reader, l)
			if got, _, err := q.page(uint64(i * 1000 % records)); err != nil || len(got) != 1000 {
				b.Fatal(len(got), err)
			}
		}
	})
}

// FuzzFilter: no query stops the server, and what it reads of one it reads of what it wrote of it.
func FuzzFilter(f *testing.F) {
	for _, q := range []string{"", "added_after=2026-01-01T00:00:00Z&limit=5", "match[version]=first,2016-01-01T01:01:01.000Z,last&match[id]=b,a", "match[spec_version]=2.1&next=x", "%zz", "match[type]=,"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		got, err := readFilter(q, matchObjects)
		if err != nil {
			return
		}
		if got.limit < 1 || got.limit > limitBound || len(got.ids) > maxValues || got.all && (got.first || len(got.values) > 0) || !got.all && !got.first && !got.last && len(got.values) == 0 {
			t.Errorf("%q became %+v", q, got)
		}
		if again, err := readFilter(q, matchObjects); err != nil || again.canonical() != got.canonical() {
			t.Errorf("%q is read in two ways", q)
		}
	})
}

// TestTokens: a value of next opens to the cursor that it was made of, for what it was made for, and
// nothing else opens.
func TestTokens(t *testing.T) {
	key := make([]byte, 32)
	tokens, err := newTokens(key)
	if err != nil {
		t.Fatal(err)
	}
	key[0] = 1
	other, err := newTokens(key)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		cursor, bound := rapid.Uint64().Draw(t, "cursor"), rapid.String().Draw(t, "bound")
		s := tokens.seal(cursor, bound)
		if got, err := tokens.open(s, bound); err != nil || got != cursor {
			t.Fatalf("got %d, %v", got, err)
		}
		if _, err := tokens.open(s, bound+"x"); err == nil {
			t.Fatal("it opens for something else")
		}
		if _, err := other.open(s, bound); err == nil {
			t.Fatal("it opens under another key")
		}
		b := []byte(s)
		i := rapid.IntRange(0, len(b)-1).Draw(t, "place")
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		if _, err := tokens.open(string(b), bound); err == nil {
			t.Fatal("it opens although it was changed")
		}
		if _, err := tokens.open(rapid.String().Draw(t, "any"), bound); err == nil {
			t.Fatal("anything opens")
		}
	})
	if _, err := newTokens(key[:31]); err == nil {
		t.Error("a short key is taken")
	}
}
