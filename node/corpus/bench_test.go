//go:build unix

package corpus_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// benchRecords is how many records BenchmarkLookup looks up in.
var benchRecords = flag.Int("records", 1_000_000, "records in the corpus of BenchmarkLookup")

const (
	perEnvelope    = 1000
	perTransaction = 4000
)

func benchStore(b *testing.B) *store.Store {
	b.Helper()
	st, err := store.Open(store.Config{Dir: b.TempDir(), Key: [32]byte{1}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	return st
}

func openIndex(b testing.TB, st *store.Store) (x *corpus.Index) {
	b.Helper()
	if err := st.Update(func(tx *store.Tx) (err error) { x, err = corpus.Open(tx, corpus.Limits{}); return err }); err != nil {
		b.Fatal(err)
	}
	return x
}

func hostOf(n int) string { return fmt.Sprintf("host-%d.example-%d.net", n, n%977) }

// envelope makes the block of an envelope of indicators of hosts, from the n-th on. Observables
// are read before, as STIX is.
func envelope(n int) corpus.Block {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := corpus.Block{Feed: protocol.FeedID{1}, Seq: uint64(n/perEnvelope + 1), Topic: "c2", Publisher: protocol.OrgID{1}, Received: uint64(n)}
	for i := n; i < n+perEnvelope; i++ {
		o := stix.NewIndicator(stix.Observable{Kind: stix.Domain, Value: hostOf(i)}, at)
		b.Records = append(b.Records, corpus.NewRecord{Record: sha256.Sum256(o.Raw), Originator: protocol.OrgID{1},
			Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}, Object: o, Text: "agreement", Observables: stix.Observables(o)})
	}
	return b
}

func addAll(st *store.Store, x *corpus.Index, blocks []corpus.Block) error {
	var list []*corpus.Prepared
	for _, block := range blocks {
		p, err := x.Prepare(block)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	due := false
	err := st.Update(func(tx *store.Tx) (err error) {
		for _, p := range list {
			if _, err := x.Add(tx, p); err != nil {
				return err
			}
		}
		due, err = x.Due(tx)
		return err
	})
	for range 2 {
		if err == nil && due {
			err = st.Update(func(tx *store.Tx) (err error) { due, err = x.Merge(tx, corpus.DefaultBudget); return err })
		}
	}
	return err
}

// BenchmarkAdd adds records, 1,000 an envelope and 4,000 a transaction, merging as a node does, one
// thing after another. The baseline writes the same objects to a store of the same kind, 1,000
// a transaction and each under a key of its own, and nothing else. An iteration is a transaction
// of 4,000 records.
func BenchmarkAdd(b *testing.B) {
	run := func(b *testing.B, add func([]corpus.Block) error) {
		var ready [][]corpus.Block
		var cpu time.Duration
		n := 0
		for b.Loop() {
			if len(ready) == 0 {
				b.StopTimer()
				for range 2 {
					var blocks []corpus.Block
					for range perTransaction / perEnvelope {
						blocks = append(blocks, envelope(n))
						n += perEnvelope
					}
					ready = append(ready, blocks)
				}
				b.StartTimer()
			}
			before := cpuTime()
			if err := add(ready[0]); err != nil {
				b.Fatal(err)
			}
			cpu += cpuTime() - before
			ready = ready[1:]
		}
		records := float64(b.N) * perTransaction
		b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(float64(cpu.Nanoseconds())/records, "cpu-ns/record")
	}
	b.Run("corpus", func(b *testing.B) {
		st := benchStore(b)
		x := openIndex(b, st)
		run(b, func(blocks []corpus.Block) error { return addAll(st, x, blocks) })
	})
	b.Run("badger", func(b *testing.B) {
		st := benchStore(b)
		run(b, func(blocks []corpus.Block) error {
			for _, block := range blocks {
				if err := putRaw(st, block); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// cpuTime returns the time of processors that this process took: on a machine that does other
// things too it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func putRaw(st *store.Store, block corpus.Block) error {
	return st.Update(func(tx *store.Tx) error {
		for i := range block.Records {
			rec := &block.Records[i]
			if err := tx.Set(rec.Record[:], rec.Object.Raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkLookup looks observables up in a corpus of a million records (-records), half of which
// are not there; the baseline gets as many keys from a store of as many raw objects.
func BenchmarkLookup(b *testing.B) {
	measure := func(b *testing.B, fn func(n int) error) {
		var took, cpu []time.Duration
		r := rand.New(rand.NewPCG(1, 2))
		for b.Loop() {
			start, before := time.Now(), cpuTime()
			if err := fn(r.IntN(2 * *benchRecords)); err != nil {
				b.Fatal(err)
			}
			took, cpu = append(took, time.Since(start)), append(cpu, cpuTime()-before)
		}
		slices.Sort(took)
		slices.Sort(cpu)
		b.ReportMetric(float64(cpu[len(cpu)*99/100].Nanoseconds())/1e3, "p99-cpu-µs")
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
	}
	b.Run("corpus", func(b *testing.B) {
		st := benchStore(b)
		x := openIndex(b, st)
		for n := 0; n < *benchRecords; n += perTransaction {
			var blocks []corpus.Block
			for at := n; at < n+perTransaction; at += perEnvelope {
				blocks = append(blocks, envelope(at))
			}
			if err := addAll(st, x, blocks); err != nil {
				b.Fatal(err)
			}
		}
		full := heap()
		start := time.Now()
		x = openIndex(b, st)
		opening := time.Since(start)
		start = time.Now()
		if err := addAll(st, x, []corpus.Block{envelope(*benchRecords)}); err != nil {
			b.Fatal(err)
		}
		first := time.Since(start)
		measure(b, func(n int) error {
			return st.View(func(tx *store.Tx) error {
				list, _, err := x.Search(tx, corpus.Query{Value: hostOf(n)})
				if err == nil && (len(list) == 1) != (n < *benchRecords+perEnvelope) {
					err = fmt.Errorf("found %d of %d", len(list), n)
				}
				return err
			})
		})
		b.ReportMetric(full, "heap-MB")
		b.ReportMetric(opening.Seconds()*1e3, "open-ms")
		b.ReportMetric(first.Seconds()*1e3, "first-add-ms")
	})
	b.Run("badger", func(b *testing.B) {
		st := benchStore(b)
		var ids []protocol.RecordID
		for n := 0; n < *benchRecords; n += perEnvelope {
			block := envelope(n)
			if err := putRaw(st, block); err != nil {
				b.Fatal(err)
			}
			for i := range block.Records {
				ids = append(ids, block.Records[i].Record)
			}
		}
		measure(b, func(n int) error {
			return st.View(func(tx *store.Tx) error {
				key := protocol.RecordID{1, 2, byte(n), byte(n >> 8), byte(n >> 16)}
				if n < len(ids) {
					key = ids[n]
				}
				_, err := tx.Get(key[:])
				return err
			})
		})
	})
}

// heap returns the memory in use after a collection, in MB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}
