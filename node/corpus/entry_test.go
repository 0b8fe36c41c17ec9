package corpus

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// entryGen makes entries with cursors from base on, few different hashes among them.
func entryGen(base uint64) *rapid.Generator[entry] {
	return rapid.Custom(func(t *rapid.T) entry {
		e := entry{hash: rapid.OneOf(rapid.Uint64Range(0, 5), rapid.Uint64Range(0, 1<<hashBits-1)).Draw(t, "hash"),
			kind: entryKind(rapid.IntRange(0, int(entryKinds)-1).Draw(t, "kind"))}
		if e.kind == isTomb || e.kind == isHeavy {
			return e
		}
		e.index = rapid.Uint8().Draw(t, "index")
		e.cursor = max(base, uint64(e.index)+1) + rapid.OneOf(rapid.Uint64Range(0, 300), rapid.Uint64Range(0, 1<<46)).Draw(t, "cursor")
		if e.kind == isVersion {
			e.modified = rapid.Uint32().Draw(t, "modified")
		}
		return e
	})
}

func TestPageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Uint64Range(1, 1<<40).Draw(t, "base")
		list := rapid.SliceOf(entryGen(base)).Draw(t, "entries")
		want := slices.Clone(list)
		slices.SortFunc(want, compareEntries)
		want = slices.CompactFunc(want, func(a, b entry) bool { return compareEntries(a, b) == 0 })
		sorted := sortEntries(slices.Clone(list))
		if !slices.EqualFunc(sorted, want, func(a, b entry) bool { return compareEntries(a, b) == 0 }) {
			t.Fatalf("sorted %v", sorted)
		}
		got, err := readPage(nil, appendPage(nil, 0, base, sorted), 0, 1<<hashBits, base)
		if err != nil || !slices.Equal(got, sorted) {
			t.Fatalf("page of %v is %v, %v", sorted, got, err)
		}
		sought := rapid.Uint64Range(0, 6).Draw(t, "sought")
		if len(list) > 0 && rapid.Bool().Draw(t, "one that is there") {
			sought = list[0].hash
		}
		of := slices.DeleteFunc(slices.Clone(sorted), func(e entry) bool { return e.hash != sought })
		found, err := seekPage(nil, appendPage(nil, 0, base, sorted), 0, 1<<hashBits, base, sought)
		if err != nil || !slices.Equal(found, of) {
			t.Fatalf("%v of page of %v is %v, %v", sought, list, found, err)
		}
		it := &logItem{id: 5, previous: 4, entries: list}
		back, err := unpackItem(packItem(it))
		if err != nil || back.id != 5 || back.previous != 4 || !slices.Equal(back.entries, list) {
			t.Fatalf("item of %v is %v, %v", list, back, err)
		}
	})
}

func TestSortEntriesOfOnePage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 300 {
		list := make([]entry, n)
		for i := range list {
			list[i] = entry{hash: 77<<40 + r.Uint64()>>(18+n%40), cursor: r.Uint64N(3) + 1}
		}
		got := sortEntries(slices.Clone(list))
		slices.SortFunc(list, compareEntries)
		if want := slices.Compact(list); !slices.Equal(got, want) {
			t.Fatalf("%d entries: got %v, want %v", n, got, want)
		}
	}
}

// FuzzPage: a page is an error, or is the one way in which its entries are written.
func FuzzPage(f *testing.F) {
	f.Add([]byte{pageVersion}, uint16(0))
	f.Add(appendPage(nil, 1<<40, 7, []entry{{hash: 1<<40 + 3, cursor: 9, index: 2}, {hash: 1<<40 + 3, kind: isTomb}, {hash: 1<<40 + 9, cursor: 7, kind: isVersion, modified: 5}}), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, page uint16) {
		s := segment{Bits: 8, Base: 7}
		first, end := s.bounds(uint64(page % 256))
		list, err := readPage(nil, b, first, end, s.Base)
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) {
				t.Fatalf("error has no class: %v", err)
			}
			return
		}
		for i := range list {
			if s.page(list[i].hash) != uint64(page%256) || i > 0 && compareEntries(list[i-1], list[i]) >= 0 {
				t.Fatalf("entry %d is %+v", i, list[i])
			}
		}
		if again := appendPage(nil, first, s.Base, list); !bytes.Equal(again, b) {
			t.Fatalf("%x was read, and is written as %x", b, again)
		}
	})
}

func FuzzItem(f *testing.F) {
	f.Add(packItem(&logItem{id: 1, previous: 2, entries: []entry{{hash: 3, cursor: 4, index: 1}, {hash: 9, kind: isTomb}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := unpackItem(b)
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) {
				t.Fatalf("error has no class: %v", err)
			}
			return
		}
		back, err := unpackItem(packItem(it))
		if err != nil || !slices.Equal(back.entries, it.entries) {
			t.Fatalf("written again: %v, %v", back, err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(protocol.Encode(&manifest{Log: logState{From: 1, To: 3, Tail: 9}, Segments: []segment{{ID: 4, Bits: 3}}, Merge: []merge{{Sources: []uint64{4}, Target: segment{ID: 5, Bits: 4}, Bits: 3}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		kv := memory{kManifest: b}
		x, err := Open(kv, TinyLimits)
		if err != nil {
			t.Fatal(err)
		}
		// Pages and items are missing: all that may be said is an error, or that nothing is there.
		e, err := x.Get(kv, protocol.RecordID{1})
		if e != nil || err != nil && protocol.Class(err) == "other" {
			t.Fatalf("got %v, %v", e, err)
		}
		if _, err := x.Merge(kv, 10); err != nil && protocol.Class(err) == "other" {
			t.Fatal(err)
		}
	})
}

func TestFilter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 7, 100, 512, 700} {
		list := make([]entry, n)
		s := segment{Bits: 12}
		first, end := s.bounds(1234)
		for i := range list {
			list[i].hash = first + r.Uint64N(end-first)
		}
		f := newFilter(list)
		for i := range list {
			if !f.mayHold(list[i].hash) {
				t.Fatalf("filter of %d does not hold what it was made of", n)
			}
		}
		wrong := 0
		const asked = 100_000
		for range asked {
			if f.mayHold(first + r.Uint64N(end-first)) {
				wrong++
			}
		}
		if wrong > asked/200 {
			t.Errorf("filter of %d entries is wrong in %d of %d cases", n, wrong, asked)
		}
	}
}
