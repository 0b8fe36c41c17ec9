package corpus

import (
	"encoding/binary"
	"fmt"
)

// At returns the records that came under some cursors, which rise; nil where one is gone. Each block
// that holds any of them is read once.
func (x *Index) At(kv KV, cursors []uint64) ([]*Entry, error) {
	out := make([]*Entry, len(cursors))
	r := x.reader(kv)
	var first, end uint64 // the cursors of the block that was read last
	for i, c := range cursors {
		if c < first || c >= end {
			var err error
			if first, end, err = r.blockOf(c); err != nil {
				return nil, fmt.Errorf("reading records: %w", err)
			}
			if c >= end {
				continue
			}
		}
		e, err := r.entry(place{c, uint16(c - first)})
		if err != nil {
			return nil, fmt.Errorf("reading records: %w", err)
		}
		out[i] = e
	}
	return out, nil
}

// blockOf returns the cursors of the last block that begins at one or before it: from first up to,
// and without, end. They are equal if there is none.
func (r *reader) blockOf(cursor uint64) (first, end uint64, err error) {
	err = r.kv.Scan([]byte(kBlock), indexKey(kBlock, nil, cursor), true, func(k, _ []byte) (bool, error) {
		if len(k) != len(kBlock)+8 {
			return false, damaged("index of blocks")
		}
		first = binary.BigEndian.Uint64(k[len(kBlock):])
		b, err := r.block(first)
		if err != nil {
			return false, err
		}
		end = first + uint64(len(b.Records))
		return false, nil
	})
	return first, end, err
}
