package corpus

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// indexOnly is a key space that keeps nothing but the index.
type indexOnly struct{ memory }

func (k indexOnly) Set(key, v []byte) error {
	if key[1] == kBlock[1] || key[1] == kEnvelope[1] || key[1] == kReceived[1] {
		return nil
	}
	return k.memory.Set(key, v)
}

func (k indexOnly) Retire([]byte) error { return nil }

// TestSizeOfTheIndex: a record of one observable takes at most 10 bytes of memory once the log is a
// segment, and at most 40 bytes of the key space.
func TestSizeOfTheIndex(t *testing.T) {
	const records = 70_000
	kv := indexOnly{memory{}}
	x, err := Open(kv, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := 0; n < records; n += 1000 {
		b := Block{Feed: protocol.FeedID{1}, Seq: uint64(n), Topic: "c2", Publisher: alice}
		for i := n; i < n+1000; i++ {
			o := stix.NewIndicator(stix.Observable{Kind: stix.Domain, Value: fmt.Sprintf("host-%d.example.net", i)}, at)
			b.Records = append(b.Records, NewRecord{Record: sha256.Sum256(o.Raw), Originator: alice, Object: o})
		}
		p, err := x.Prepare(b)
		if err == nil {
			_, err = x.Add(kv, p)
		}
		if err == nil {
			_, err = x.Merge(kv, DefaultBudget)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := readManifest(kv)
	if err != nil {
		t.Fatal(err)
	}
	inMemory, stored, entries := 0, 0, uint64(0)
	for _, s := range m.Segments {
		entries += s.Entries
		f := x.filtersOf(&s)
		inMemory += len(f) * (8 + 8*len(filterGroup{}))
		for n := range uint64(1) << s.Bits {
			inMemory += 32 * len(*f.of(n).Load())
		}
	}
	for k, v := range kv.memory {
		if k[:2] == kPage {
			stored += len(k) + len(v)
		}
	}
	held := int(entries) / 3
	if held < records/2 || inMemory > 10*held || stored > 40*held {
		t.Errorf("segments with what %d records are found by take %d bytes of memory, and %d stored", held, inMemory, stored)
	}
	t.Logf("%d records: %.1f bytes of memory and %.1f stored for each", held, float64(inMemory)/float64(held), float64(stored)/float64(held))
}

// TestWarm: an index that is opened anew reads a page of each segment for a search, until its
// filters are made; each page is read once for that.
func TestWarm(t *testing.T) {
	kv := &countingKV{memory: memory{}}
	limits := Limits{Log: 300, Items: 1000, Page: 16, Fanout: 8, Heavy: 256, Forget: 400}
	x, err := Open(kv, limits)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const blocks, each = 35, 20
	for n := range blocks {
		b := Block{Feed: protocol.FeedID{1}, Seq: uint64(n), Topic: "c2", Publisher: alice}
		for i := range each {
			o := stix.NewIndicator(stix.Observable{Kind: stix.Domain, Value: fmt.Sprintf("host-%d-%d.example.net", n, i)}, at)
			b.Records = append(b.Records, NewRecord{Record: sha256.Sum256(o.Raw), Originator: alice, Object: o})
		}
		p, err := x.Prepare(b)
		if err == nil {
			_, err = x.Add(kv, p)
		}
		for more := true; err == nil && more; {
			more, err = x.Merge(kv, DefaultBudget)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if x, err = Open(kv, limits); err != nil {
		t.Fatal(err)
	}
	m, err := readManifest(kv)
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	for _, s := range m.all() {
		pages += 1 << s.Bits
	}
	if len(m.all()) < 3 || pages < 20 {
		t.Fatalf("%d segments with %d pages show nothing", len(m.all()), pages)
	}
	search := func(value string, want int) int {
		t.Helper()
		kv.pages = 0
		list, _, err := x.Search(kv, Query{Value: value})
		if err != nil || len(list) != want {
			t.Fatalf("%d records of %s: %v", len(list), value, err)
		}
		return kv.pages
	}
	if n := search("nowhere.example.net", 0); n != 2*len(m.all()) { // of a domain, and of a file of that name
		t.Errorf("a search without filters read %d pages of %d segments, for two hashes", n, len(m.all()))
	}
	kv.pages = 0
	steps := 1
	for more := true; more; steps++ {
		if more, err = x.Warm(kv, 3); err != nil {
			t.Fatal(err)
		}
	}
	if kv.pages != pages || steps < pages/3 {
		t.Errorf("%d steps read %d pages of %d", steps, kv.pages, pages)
	}
	read := 0
	for i := range 100 {
		read += search(fmt.Sprintf("nowhere-%d.example.net", i), 0)
	}
	if read > 10 {
		t.Errorf("a hundred searches for what is nowhere read %d pages", read)
	}
	for i := range each {
		search(fmt.Sprintf("host-%d-%d.example.net", i, i), 1)
	}
}

func (kv *countingKV) Retire([]byte) error { return nil }

// countingKV counts the pages that are read.
type countingKV struct {
	memory
	pages int
}

func (kv *countingKV) Get(key []byte) ([]byte, error) {
	if string(key[:2]) == kPage {
		kv.pages++
	}
	return kv.memory.Get(key)
}
