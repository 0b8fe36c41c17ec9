package corpus

import (
	"testing"

	"pgregory.net/rapid"
)

// countingBlocks counts the blocks that are read.
type countingBlocks struct {
	memory
	blocks int
}

func (kv *countingBlocks) Get(key []byte) ([]byte, error) {
	if string(key[:2]) == kBlock {
		kv.blocks++
	}
	return kv.memory.Get(key)
}

// TestAt: records are found under their cursors, whatever is asked for, and a block is read once.
func TestAt(t *testing.T) {
	kv := &countingBlocks{memory: memory{}}
	blocks := 0
	for b := range 12 {
		block := Block{Feed: [32]byte{1}, Seq: uint64(b + 1), Topic: "c2", Publisher: alice, Received: uint64(b)}
		for i := range 1 + b {
			block.Records = append(block.Records, record(indicator(t, b*100+i, 0, "[ipv4-addr:value = '198.51.100.1']"), alice))
		}
		add(t, kv, block, len(block.Records))
		blocks++
	}
	x := reopened(kv)
	all, _, err := Since(kv, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	here := map[uint64]Entry{}
	for _, e := range all {
		here[e.Cursor] = e
	}
	rapid.Check(t, func(t *rapid.T) {
		var cursors []uint64
		for c := range uint64(len(all) + 5) {
			if rapid.Bool().Draw(t, "ask") {
				cursors = append(cursors, c)
			}
		}
		kv.blocks = 0
		got, err := x.At(kv, cursors)
		if err != nil || len(got) != len(cursors) {
			t.Fatalf("%d of %d, %v", len(got), len(cursors), err)
		}
		for i, c := range cursors {
			e, ok := here[c]
			if (got[i] != nil) != ok || ok && got[i].Record != e.Record {
				t.Fatalf("cursor %d: %v, want %v", c, got[i], ok)
			}
		}
		if kv.blocks > blocks {
			t.Fatalf("%d blocks were read, of %d", kv.blocks, blocks)
		}
	})
}
