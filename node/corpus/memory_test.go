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
