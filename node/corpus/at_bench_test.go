//go:build unix

package corpus_test

import (
	"fmt"
	"testing"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
)

// blocksRead counts the blocks that are read.
type blocksRead struct {
	corpus.KV
	count int
}

func (kv *blocksRead) Get(key []byte) ([]byte, error) {
	if len(key) > 2 && string(key[:2]) == "cb" {
		kv.count++
	}
	return kv.KV.Get(key)
}

// BenchmarkAt reads a page of 1,000 records of a list that holds every record, every tenth or every
// hundredth of the corpus, beside a walk over as many records as they come, and says how many blocks
// each read.
func BenchmarkAt(b *testing.B) {
	st := benchStore(b)
	x := openIndex(b, st)
	const total = 100_000
	for n := 0; n < total; n += perTransaction {
		err := st.Update(func(tx *store.Tx) error {
			for m := n; m < n+perTransaction; m += perEnvelope {
				p, err := x.Prepare(envelope(m))
				if err == nil {
					_, err = x.Add(tx, p)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	page := func(b *testing.B, read func(kv corpus.KV) (int, error)) {
		blocks := 0
		for b.Loop() {
			err := st.View(func(tx *store.Tx) error {
				kv := &blocksRead{KV: tx}
				got, err := read(kv)
				if err == nil && got != 1000 {
					err = fmt.Errorf("read %d records", got)
				}
				blocks = kv.count
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(blocks), "blocks/op")
	}
	b.Run("walk", func(b *testing.B) {
		page(b, func(kv corpus.KV) (int, error) {
			list, _, err := corpus.Since(kv, 0, 1000)
			return len(list), err
		})
	})
	for _, every := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("every=%d", every), func(b *testing.B) {
			var cursors []uint64
			for i := range 1000 {
				cursors = append(cursors, uint64(1+i*every))
			}
			page(b, func(kv corpus.KV) (int, error) {
				list, err := x.At(kv, cursors)
				got := 0
				for _, e := range list {
					if e != nil {
						got++
					}
				}
				return got, err
			})
		})
	}
}
