package corpus

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// past is a key space of which everything that was ever written can be read, as on a disk from
// which nothing is wiped, until its key is destroyed.
type past struct {
	memory
	written map[string]string // by what was wrapped: under which key
	retired [][]byte
}

func (p *past) Set(k, v []byte) error {
	p.written[string(v)] = string(k)
	return p.memory.Set(k, v)
}

func (p *past) Retire(w []byte) error {
	p.retired = append(p.retired, bytes.Clone(w))
	return nil
}

func (p *past) Destroy(w []byte) error {
	for _, r := range append(p.retired, w) {
		if err := p.memory.Destroy(r); err != nil {
			return err
		}
	}
	p.retired = nil
	return nil
}

// Wrap makes different values of the same ones, as a key of its own for each does.
func (p *past) Wrap(what, v []byte) ([]byte, error) {
	return fmt.Appendf(nil, "%s%06d%s", what, len(p.written), v), nil
}

func (p *past) Unwrap(what, w []byte) ([]byte, error) {
	v, err := p.memory.Unwrap(what, w)
	if err == nil {
		v = v[6:]
	}
	return v, err
}

// entries lists all entries of records that can still be read, with where they were written.
func (p *past) entries(t *testing.T, x *Index) (list []entry) {
	t.Helper()
	m, err := readManifest(p)
	if err != nil {
		t.Fatal(err)
	}
	for w, key := range p.written {
		if !slices.Contains([]string{kLog, kPage, kHeavy, kForget}, key[:2]) {
			continue
		}
		plain, err := p.Unwrap([]byte(key), []byte(w))
		if err != nil {
			continue // destroyed
		}
		switch key[:2] {
		case kLog:
			it, err := unpackItem(plain)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, it.entries...)
		case kHeavy:
			more, err := readHeavy(p, []byte(key), []byte(w))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, more...)
		case kForget:
			t.Fatalf("what is to be forgotten is still written down: %v", m.Forget)
		case kPage:
			// Pages of segments that are not there any more are not destroyed yet, maybe: their bounds
			// are unknown, and their first hash and base with them.
			for _, s := range m.all() {
				if string(pageKey(s.ID, 0)[:10]) == key[:10] {
					n := uint64(key[17]) | uint64(key[16])<<8
					first, end := s.bounds(n)
					more, err := readPage(nil, plain, first, end, s.Base)
					if err != nil {
						t.Fatal(err)
					}
					list = append(list, more...)
					plain = nil
				}
			}
			if plain != nil && len(p.retired) == 0 {
				t.Fatal("a page of a segment that is gone can be read")
			}
		}
	}
	return list
}

// TestErasedIsNotInTheIndex: nothing that was ever written, and can be read still, says of an
// erased record by what it was found; of its neighbours it does.
func TestErasedIsNotInTheIndex(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &past{memory: memory{}, written: map[string]string{}}
		x, err := Open(p, TinyLimits)
		must := func(err error) {
			t.Helper()
			if err != nil {
				rt.Fatal(err)
			}
		}
		must(err)
		const count = 120
		for from := 0; from < count; from += 12 {
			b := blockOf(t, uint64(from+1), from, 12)
			for i := range b.Records {
				b.Records[i].Object = indicator(t, from+i, 1, fmt.Sprintf("[domain-name:value = 'host-%d.example'] OR [domain-name:value = 'hot.example']", from+i))
			}
			prepared, err := x.Prepare(b)
			must(err)
			_, err = x.Add(p, prepared)
			must(err)
			for range rapid.IntRange(0, 3).Draw(rt, "merges") {
				_, err := x.Merge(p, rapid.IntRange(1, 50).Draw(rt, "budget"))
				must(err)
			}
		}
		gone := map[uint64]bool{} // cursors
		for range rapid.IntRange(1, 3).Draw(rt, "erasures") {
			first := rapid.IntRange(0, count-1).Draw(rt, "first")
			var list []protocol.RecordID
			for i := first; i < min(count, first+rapid.IntRange(1, 20).Draw(rt, "records")); i++ {
				list = append(list, protocol.RecordID{byte(i), byte(i >> 8), 7})
				gone[uint64(i+1)] = true
			}
			_, err := x.Erase(p, list, Locally, protocol.EraseRequest, 1)
			must(err)
			for more := rapid.Bool().Draw(rt, "merge"); more; {
				more, err = x.Merge(p, 30)
				must(err)
			}
		}
		for m, err := readManifest(p); m.Forget[0] < m.Forget[1]; m, err = readManifest(p) {
			must(err)
			_, err := x.Merge(p, 30)
			must(err)
		}
		seen := map[uint64]bool{}
		for _, e := range p.entries(t, x) {
			if gone[e.cursor] {
				rt.Fatalf("an entry of an erased record is left: %+v", e)
			}
			seen[e.cursor] = true
		}
		for c := uint64(1); c <= count; c++ {
			if !gone[c] && !seen[c] {
				rt.Fatalf("no entry of record %d is left", c)
			}
		}
		for k := range p.memory {
			if strings.HasPrefix(k, kForget) {
				rt.Fatal("a list of what is to be forgotten is left")
			}
		}
	})
}

// TestAllOfAHeavyHashIsErased: when nobody says any more what many said, its mark is gone too.
func TestAllOfAHeavyHashIsErased(t *testing.T) {
	p := &past{memory: memory{}, written: map[string]string{}}
	x, err := Open(p, TinyLimits)
	if err != nil {
		t.Fatal(err)
	}
	settle := func() {
		t.Helper()
		for more := true; more; {
			if more, err = x.Merge(p, 50); err != nil {
				t.Fatal(err)
			}
		}
	}
	var all []protocol.RecordID
	marked := false
	for seq := range 12 {
		b := Block{Feed: protocol.FeedID{9}, Seq: uint64(seq + 1), Topic: "c2", Publisher: alice}
		for i := range 10 {
			id := protocol.RecordID{byte(seq), byte(i), 7}
			all = append(all, id)
			b.Records = append(b.Records, NewRecord{Record: id, Originator: alice, Object: indicator(t, 10*seq+i, 1, "[domain-name:value = 'hot.example']")})
		}
		prepared, err := x.Prepare(b)
		if err == nil {
			_, err = x.Add(p, prepared)
		}
		if err != nil {
			t.Fatal(err)
		}
		settle()
		if list, _, err := x.Search(p, Query{Value: "hot.example", Limit: 1000}); err != nil || len(list) != 10*(seq+1) {
			t.Fatalf("found %d of %d: %v", len(list), 10*(seq+1), err)
		}
		marked = marked || slices.ContainsFunc(p.entries(t, x), func(e entry) bool { return e.kind == isHeavy })
	}
	if !marked {
		t.Error("nothing is heavy")
	}
	for part := range slices.Chunk(all, 17) {
		if _, err := x.Erase(p, part, Locally, protocol.EraseRequest, 1); err != nil {
			t.Fatal(err)
		}
		settle()
	}
	for _, e := range p.entries(t, x) {
		if e.kind != isTomb {
			t.Errorf("left: %+v", e)
		}
	}
}
