package postgres_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/corpus/corpustest"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// benchRecords is how many records the benchmark searches in.
var benchRecords = flag.Int("records", 100_000, "records in the corpora of BenchmarkCorpora")

func hostOf(n int) string { return fmt.Sprintf("host-%d.example-%d.net", n, n%977) }

func benchBlock(from, count int) corpus.Block {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := corpus.Block{Feed: protocol.FeedID{1}, Seq: uint64(from + 1), Topic: "c2", Publisher: corpustest.Alice, Received: 1_700_000_000_000 + uint64(from)}
	for i := from; i < from+count; i++ {
		o := stix.NewIndicator(stix.Observable{Kind: stix.Domain, Value: hostOf(i)}, at)
		if i%100 == 0 {
			o = stix.NewIndicator(stix.Observable{Kind: stix.IPv4CIDR, Value: fmt.Sprintf("10.%d.%d.0/24", i/100/256%256, i/100%256)}, at)
		}
		b.Records = append(b.Records, corpus.NewRecord{Record: sha256.Sum256(o.Raw), Originator: corpustest.Alice,
			Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}, Object: o, Text: "agreement"})
	}
	return b
}

// BenchmarkCorpora fills the embedded corpus, on a disk, has the database follow, and searches both: an
// iteration is one of each search in each.
func BenchmarkCorpora(b *testing.B) {
	s := sharedServer(b)
	url := newDatabase(b, s)
	w := corpustest.NewWorld(b, 1, filepath.Join(b.TempDir(), "w"))
	defer w.Close()
	begun := time.Now()
	for from := 0; from < *benchRecords; from += 1000 {
		w.Add(benchBlock(from, min(1000, *benchRecords-from)))
	}
	embedded := time.Since(begun)
	m := newMirror(b, url, w)
	defer m.Close()
	begun = time.Now()
	catchUp(b, m)
	followed := time.Since(begun)
	sql(b, url, `ANALYZE entente.records, entente.observables, entente.holdings`)
	random := rand.New(rand.NewPCG(1, 2))
	times := map[string][]time.Duration{}
	for b.Loop() {
		n := random.IntN(*benchRecords)
		for name, q := range map[string]corpus.Query{
			"host":    {Value: hostOf(n)},
			"address": {Value: fmt.Sprintf("10.0.%d.9", n%100)},
			"page":    {Type: "indicator", After: uint64(n), Limit: 100},
		} {
			for which, r := range map[string]corpus.Reader{"embedded": w.Embedded(), "postgres": m} {
				begun := time.Now()
				if _, _, err := r.Search(b.Context(), q); err != nil {
					b.Fatal(err)
				}
				times[which+"-"+name] = append(times[which+"-"+name], time.Since(begun))
			}
		}
	}
	for name, list := range times {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds()), name+"-p50-µs")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), name+"-p99-µs")
	}
	b.ReportMetric(float64(*benchRecords)/embedded.Seconds(), "embedded-records/s")
	b.ReportMetric(float64(*benchRecords)/followed.Seconds(), "postgres-records/s")
	b.ReportMetric(0, "ns/op")
}
