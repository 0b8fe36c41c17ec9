package corpus

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// holds reports whether any value of a key space, wrapped values that were not destroyed
// among them, holds text once it is unpacked.
func (m memory) holds(text string) bool {
	for k, v := range m {
		if strings.HasPrefix(k, "destroyed") || m["destroyed"+string(v)] != nil {
			continue
		}
		if strings.Contains(string(v), text) {
			return true
		}
		if plain, err := m.Unwrap([]byte(k), v); err == nil {
			if b, err := unpackBlock(plain); err == nil && strings.Contains(string(protocol.Encode(b)), text) {
				return true
			}
		}
	}
	return false
}

func blockOf(t testing.TB, seq uint64, from, n int) Block {
	b := Block{Feed: protocol.FeedID{9}, Seq: seq, Topic: "botnets", Publisher: alice, Received: 1000}
	for i := from; i < from+n; i++ {
		b.Records = append(b.Records, NewRecord{Record: protocol.RecordID{byte(i), byte(i >> 8), 7}, Originator: alice,
			Object: indicator(t, i, 1, fmt.Sprintf("[domain-name:value = 'host-%d.example']", i))})
	}
	return b
}

func TestEraseLeavesNothing(t *testing.T) {
	kv := memory{}
	if _, err := addBlock(kv, blockOf(t, 1, 0, 10)); err != nil {
		t.Fatal(err)
	}
	gone := protocol.RecordID{3, 0, 7}
	n, err := erase(kv, []protocol.RecordID{gone, {250}}, alice, protocol.EraseLegal, 5)
	if err != nil || len(n) != 1 {
		t.Fatalf("erased %d: %v", len(n), err)
	}
	if kv.holds("host-3.example") {
		t.Error("what the record said is still stored")
	}
	if !kv.holds("host-4.example") {
		t.Error("its neighbour is gone too")
	}
	for _, id := range []protocol.RecordID{gone, {250}} {
		if e, err := get(kv, id); e != nil || err != nil {
			t.Errorf("got %v, %v", e, err)
		}
	}
	list, _, err := search(kv, Query{Value: "host-3.example"})
	if err != nil || len(list) != 0 {
		t.Errorf("found %d: %v", len(list), err)
	}
	all, _, err := Since(kv, 0, 100)
	if err != nil || len(all) != 9 || all[3].Cursor != 5 {
		t.Errorf("%d records are left: %v", len(all), err)
	}
	if c, err := Count(kv); err != nil || c.Records != 9 || c.ByType["indicator"] != 9 {
		t.Errorf("counted %+v, %v", c, err)
	}
	// Neither comes back, from another feed either.
	b := blockOf(t, 8, 3, 1)
	b.Records = append(b.Records, NewRecord{Record: protocol.RecordID{250}, Originator: alice, Object: indicator(t, 250, 1, "[domain-name:value = 'late.example']")})
	if n, err := addBlock(kv, b); err != nil || n != 0 {
		t.Errorf("added %d of what was erased: %v", n, err)
	}
}

func TestTakeOutMayComeBack(t *testing.T) {
	kv := memory{}
	if _, err := addBlock(kv, blockOf(t, 1, 0, 300)); err != nil { // two blocks
		t.Fatal(err)
	}
	if _, err := addBlock(kv, blockOf(t, 2, 300, 5)); err != nil {
		t.Fatal(err)
	}
	in, err := InEnvelope(kv, protocol.FeedID{9}, 1)
	if err != nil || len(in) != 300 {
		t.Fatalf("%d records in the envelope: %v", len(in), err)
	}
	if n, others, err := takeOut(kv, protocol.FeedID{9}, 1); err != nil || n != 300 || len(others) != 0 {
		t.Fatalf("took out %d: %v", n, err)
	}
	if kv.holds("host-17.example") || !kv.holds("host-302.example") {
		t.Error("the wrong records are gone")
	}
	if n, err := addBlock(kv, blockOf(t, 3, 0, 300)); err != nil || n != 300 {
		t.Fatalf("added %d again: %v", n, err)
	}
	if c, err := Count(kv); err != nil || c.Records != 305 {
		t.Errorf("counted %+v, %v", c, err)
	}
}

// What several envelopes hold is noted, whichever came first, and whichever was set aside.
func TestCopies(t *testing.T) {
	kv := memory{}
	feed := protocol.FeedID{9}
	seqs := func(list []Copy) (out []uint64) {
		for _, c := range list {
			out = append(out, c.Seq)
		}
		return out
	}
	id := protocol.RecordID{4, 0, 7}
	for _, seq := range []uint64{5, 2, 5, 7} { // one of them twice
		if _, err := addBlock(kv, blockOf(t, seq, 0, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := copiesIn(kv, id); err != nil || !slices.Equal(seqs(list), []uint64{5, 2, 7}) {
		t.Errorf("copies in %v, %v; want where it is kept from, 5, then 2 and 7", seqs(list), err)
	}
	n, others, err := takeOut(kv, feed, 5)
	if err != nil || n != 10 || len(others) != 2 || others[0].Seq != 2 || others[1].Seq != 7 {
		t.Fatalf("took out %d, others %v, %v", n, others, err)
	}
	if _, err := addBlock(kv, blockOf(t, 7, 0, 10)); err != nil {
		t.Fatal(err)
	}
	if list, err := copiesIn(kv, id); err != nil || !slices.Equal(seqs(list), []uint64{7, 2, 5}) {
		t.Errorf("copies in %v, %v; want 7, 2 and 5", seqs(list), err)
	}
	meant, err := erase(kv, []protocol.RecordID{id}, Locally, protocol.EraseLegal, 1)
	if err != nil || !slices.Equal(seqs(meant), []uint64{7, 2, 5}) || !meant[2].Meant {
		t.Errorf("an erasure goes for %v, %v", meant, err)
	}
	for _, c := range meant {
		if err := ForgetCopy(kv, c); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := copiesIn(kv, id); err != nil || len(list) != 0 {
		t.Errorf("copies in %v, %v after all were destroyed", seqs(list), err)
	}
	// One that comes after it was erased is reported, with the reason.
	if n, gone, err := addKnowing(kv, blockOf(t, 8, 4, 2)); err != nil || n != 0 || len(gone) != 1 || gone[0] != (Gone{id, protocol.EraseLegal}) {
		t.Errorf("added %d, erased before %v, %v", n, gone, err)
	}
}

// A corpus in which records come, are erased and come again in any order shows what a plain
// map shows.
func TestEraseAsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kv := memory{}
		held, erased := map[int]bool{}, map[int]bool{}
		for seq := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			from, n := rapid.IntRange(0, 20).Draw(rt, "from"), rapid.IntRange(1, 8).Draw(rt, "count")
			if rapid.Bool().Draw(rt, "add") {
				if _, err := addBlock(kv, blockOf(t, uint64(seq+1), from, n)); err != nil {
					rt.Fatal(err)
				}
				for i := from; i < from+n; i++ {
					held[i] = held[i] || !erased[i]
				}
				continue
			}
			var ids []protocol.RecordID
			for i := from; i < from+n; i++ {
				ids = append(ids, protocol.RecordID{byte(i), 0, 7})
				delete(held, i)
				erased[i] = true
			}
			if _, err := erase(kv, ids, Locally, protocol.EraseRequest, 1); err != nil {
				rt.Fatal(err)
			}
		}
		want := 0
		for i := range 30 {
			if held[i] {
				want++
			}
			list, _, err := search(kv, Query{Value: fmt.Sprintf("host-%d.example", i)})
			if err != nil || (len(list) == 1) != held[i] {
				rt.Fatalf("record %d: found %d, held %v: %v", i, len(list), held[i], err)
			}
		}
		if c, err := Count(kv); err != nil || int(c.Records) != want {
			rt.Fatalf("counted %d, want %d: %v", c.Records, want, err)
		}
	})
}

// Whoever neither made a record nor sent it erases nothing by naming it.
func TestEraseByStrangersDoesNotCount(t *testing.T) {
	kv := memory{}
	if _, err := addBlock(kv, blockOf(t, 1, 0, 3)); err != nil {
		t.Fatal(err)
	}
	ids := []protocol.RecordID{{0, 0, 7}, {5, 0, 7}}
	gone, err := erase(kv, ids, bob, protocol.EraseRequest, 1)
	if err != nil || slices.ContainsFunc(gone, func(c Copy) bool { return c.Meant }) {
		t.Errorf("bob erased of alice's records: %v, %v", gone, err)
	}
	if n, err := addBlock(kv, blockOf(t, 2, 5, 1)); err != nil || n != 1 {
		t.Errorf("bob keeps %v from coming", err)
	}
	if e, err := get(kv, ids[0]); e == nil || err != nil {
		t.Errorf("record is %v, %v", e, err)
	}
	if gone, err := erase(kv, ids, alice, protocol.EraseRequest, 1); err != nil || len(gone) != 2 {
		t.Errorf("alice erased %d: %v", len(gone), err)
	}
}

// TestExpired: what is to be erased at a time is listed then, in parts, but for what is gone.
func TestExpired(t *testing.T) {
	kv := memory{}
	b := blockOf(t, 1, 0, 12)
	for i := range b.Records {
		b.Records[i].Expires = uint64(100 * (i % 3)) // never, 100, 200
	}
	if _, err := addBlock(kv, b); err != nil {
		t.Fatal(err)
	}
	if _, err := erase(kv, []protocol.RecordID{{4, 0, 7}}, alice, protocol.EraseLegal, 5); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		now          uint64
		limit        int
		want, places int
	}{{99, 10, 0, 0}, {150, 2, 1, 2}, {150, 10, 2, 2}, {150, 10, 0, 0}, {200, 3, 3, 3}, {300, 3, 1, 1}, {300, 3, 0, 0}} {
		next, places, err := NextExpired(kv, step.now, step.limit)
		if err != nil || len(next) != step.want || places != step.places {
			t.Errorf("%+v: next are %v, %d places, %v", step, next, places, err)
		}
		list, err := Expired(kv, step.now, places)
		if err != nil || !slices.Equal(list, next) {
			t.Errorf("%+v: got %v, %v; they were to be %v", step, list, err, next)
		}
		for _, id := range list {
			if id[0]%3 == 0 || id[0] == 4 || step.now < uint64(100*(id[0]%3)) {
				t.Errorf("%+v: %v is to be erased", step, id)
			}
		}
	}
	for k := range kv {
		if strings.HasPrefix(k, kExpiry) {
			t.Errorf("left: %x", k)
		}
	}
}

// TestSameClass: records of one block share what they have in common only if all of it is.
func TestSameClass(t *testing.T) {
	fields := 0
	var walk func(v reflect.Value, change func())
	base := NewRecord{Originator: alice, Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}}
	other := base
	walk = func(v reflect.Value, change func()) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).Name != "_" {
					walk(v.Field(i), change)
				}
			}
			return
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.String:
			v.SetString("x")
		case reflect.Uint8, reflect.Uint32:
			v.SetUint(v.Uint() + 1)
		default:
			t.Fatalf("a handling has a field of kind %s: sameHandling must look at it, and this test too", v.Kind())
		}
		change()
	}
	walk(reflect.ValueOf(&other.Handling).Elem(), func() {
		fields++
		if sameClass(&base, &other) {
			t.Errorf("%+v is as %+v", other.Handling, base.Handling)
		}
		other = base
	})
	for _, c := range []NewRecord{{Originator: bob, Handling: base.Handling}, {Originator: alice, Handling: base.Handling, Text: "x"},
		{Originator: alice, Handling: base.Handling, Term: 1}, {Originator: alice, Handling: base.Handling, Agreement: protocol.AgreementID{1}},
		{Originator: alice, Handling: base.Handling, Form: Form{Withheld: true}}, {Originator: alice, Handling: base.Handling, Form: Form{Principal: bob}}} {
		if sameClass(&base, &c) {
			t.Errorf("%+v is as %+v", c, base)
		}
	}
	if fields != 14 || !sameClass(&base, &other) {
		t.Errorf("%d fields", fields)
	}
}
