package intake

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// builder gathers a Result.
type builder struct {
	Result
	file       string
	assessment *stix.Assessment
	validation stix.Mode
	seed       maphash.Seed
	seen       map[uint64][]int32 // items by a hash of their bytes
	one        []int32            // memory for what seen holds, which is mostly one item each
}

func newBuilder(file string, format Format) *builder {
	return &builder{file: file, seed: maphash.MakeSeed(), seen: map[uint64][]int32{}, Result: Result{Format: format}}
}

// expect makes room for n items more.
func (b *builder) expect(n int) {
	b.Items = slices.Grow(b.Items, n)
	if len(b.seen) == 0 {
		b.seen = make(map[uint64][]int32, n)
	}
	b.one = make([]int32, 0, n)
}

// again reports whether the same bytes, and so the same STIX id, were added before with the same
// handling. Different bytes under one id are versions, and both are kept; the same ones with another
// handling, as of an observable in two events, are for others, and both are kept.
func (b *builder) again(item *Item) bool {
	raw := item.Object.Raw
	h := maphash.Bytes(b.seed, raw)
	same := b.seen[h]
	for _, i := range same {
		if bytes.Equal(b.Items[i].Object.Raw, raw) && bytes.Equal(protocol.Encode(&b.Items[i].Handling), protocol.Encode(&item.Handling)) {
			return true
		}
	}
	if same == nil {
		b.one = append(b.one, int32(len(b.Items)))
		n := len(b.one)
		b.seen[h] = b.one[n-1 : n : n]
		return false
	}
	b.seen[h] = append(same, int32(len(b.Items)))
	return false
}

// add keeps an item unless it is a duplicate.
func (b *builder) add(item Item) {
	item.Handling.Normalise()
	if b.again(&item) {
		b.Duplicates++
		return
	}
	if item.Value == "" {
		item.observables, item.read = observables(item.Object), item.Object
		if len(item.observables) > 0 {
			item.Value = item.observables[0].Value
		}
	}
	item.Object.Line = item.Line
	b.Items = append(b.Items, item)
}

func (b *builder) problem(line int, format string, args ...any) {
	b.Problems = append(b.Problems, Problem{File: b.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

// finish applies the labels and says what a person should know.
func (b *builder) finish(labels *Labels) {
	if labels != nil {
		matched := 0
		for i := range b.Items {
			if labels.Apply(&b.Items[i]) {
				matched++
			}
		}
		b.note("%d of %d items have a label", matched, len(b.Items))
	}
	if b.Duplicates > 0 {
		b.note("%d entries occur more than once and are counted once", b.Duplicates)
	}
}
