package corpus

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// entry says of one hash where something with that hash stands.
type entry struct {
	hash     uint64 // hashBits of them
	cursor   uint64 // of the record; 0 in a mark
	modified uint32 // of a version: seconds since 1970, see coarse
	index    uint8  // of the record in its block
	kind     entryKind
}

type entryKind uint8

const (
	isPlace   entryKind = iota // of a record, by its id or an observable
	isVersion                  // of a record, by its STIX id
	isTomb                     // somebody erased the record with that id, here or still to come
	isHeavy                    // there is a list of places with that hash (see heavyKey)
	entryKinds
)

const (
	// hashBits is how much is kept of a hash. Of 2^25 entries, one in 2^23 lookups finds one
	// that only looks like what was asked for, and reads a block in vain.
	hashBits = 48
	// maxCursor bounds cursors: at 100,000 records a second, for 45 years.
	maxCursor = 1<<47 - 1
)

func (e *entry) place() place { return place{e.cursor, uint16(e.index)} }

func compareEntries(a, b entry) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.cursor, b.cursor), cmp.Compare(a.kind, b.kind))
}

// coarse rounds a time in nanoseconds down to what an entry keeps of it. It never falls while
// the time rises.
func coarse(nanoseconds uint64) uint32 { return uint32(min(nanoseconds/1e9, 1<<32-1)) }

// sortEntries sorts entries and removes those that stand in it twice. Hashes are spread evenly,
// so that they are first thrown into as many heaps as leave few to each. The bits that all hashes
// begin with, as those of a page, tell no heaps apart.
func sortEntries(list []entry) []entry {
	if len(list) > 32 {
		list = heapEntries(list)
	} else {
		slices.SortFunc(list, compareEntries)
	}
	return slices.CompactFunc(list, func(a, b entry) bool { return a.hash == b.hash && compareEntries(a, b) == 0 })
}

func heapEntries(list []entry) []entry {
	low, high := list[0].hash, list[0].hash
	for i := range list {
		low, high = min(low, list[i].hash), max(high, list[i].hash)
	}
	shift := max(0, bits.Len64(high-low)-min(bits.Len(uint(len(list)))-2, 16))
	ends := make([]int32, (high-low)>>shift+2)
	for i := range list {
		ends[(list[i].hash-low)>>shift+1]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	heaped := make([]entry, len(list))
	for i := range list {
		at := &ends[(list[i].hash-low)>>shift]
		heaped[*at] = list[i]
		*at++
	}
	start := int32(0)
	for _, end := range ends[:len(ends)-1] {
		heap := heaped[start:end]
		start = end
		if len(heap) > 24 {
			slices.SortFunc(heap, compareEntries)
			continue
		}
		for i := 1; i < len(heap); i++ {
			for j := i; j > 0 && (heap[j].hash < heap[j-1].hash || heap[j].hash == heap[j-1].hash && compareEntries(heap[j], heap[j-1]) < 0); j-- {
				heap[j], heap[j-1] = heap[j-1], heap[j]
			}
		}
	}
	return heaped
}

// A page is its version (1 byte) and its entries, rising by hash, cursor and kind, none twice.
// An entry is: how much its hash is above that of the one ahead of it, or of the first hash of
// the page; (cursor - base) * 4 + kind, or the kind alone of a mark; of those with a cursor the
// index in the block (1 byte); of a version the time of modification (4 bytes big-endian).
// Numbers are unsigned varints of no more bytes than they need.
const pageVersion = 1

// appendPage writes entries in their order. All hashes are first or above, all cursors base
// or above.
func appendPage(b []byte, first, base uint64, list []entry) []byte {
	b = append(b, pageVersion)
	for i := range list {
		e := &list[i]
		b = binary.AppendUvarint(b, e.hash-first)
		b = appendPlace(b, base, e)
		first = e.hash
	}
	return b
}

// readPage reads a page strictly, and appends its entries to list. All hashes are below end.
func readPage(list []entry, b []byte, first, end, base uint64) ([]entry, error) {
	if len(b) == 0 || b[0] != pageVersion {
		return nil, damaged("a page of the index has an unknown version")
	}
	start := len(list)
	hash := first
	for b = b[1:]; len(b) > 0; {
		rise, rest, ok := readUvarint(b)
		if !ok || rise >= end-hash {
			return nil, damaged("a page of the index")
		}
		hash += rise
		e := entry{hash: hash}
		if b, ok = readPlace(rest, base, &e); !ok || len(list) > start && compareEntries(list[len(list)-1], e) >= 0 {
			return nil, damaged("a page of the index")
		}
		list = append(list, e)
	}
	return list, nil
}

// seekPage appends the entries of one hash to list. What stands behind them is not looked at:
// the page was sealed by this node, and is read strictly when it is rewritten.
func seekPage(list []entry, b []byte, first, end, base, hash uint64) ([]entry, error) {
	if len(b) == 0 || b[0] != pageVersion {
		return nil, damaged("a page of the index has an unknown version")
	}
	at := first
	for b = b[1:]; len(b) > 0; {
		rise, rest, ok := readUvarint(b)
		if !ok || rise >= end-at {
			return nil, damaged("a page of the index")
		}
		if at += rise; at > hash {
			break
		}
		e := entry{hash: at}
		if b, ok = readPlace(rest, base, &e); !ok {
			return nil, damaged("a page of the index")
		}
		if at == hash {
			list = append(list, e)
		}
	}
	return list, nil
}

func appendPlace(b []byte, base uint64, e *entry) []byte {
	if e.cursor == 0 {
		return append(b, byte(e.kind))
	}
	b = binary.AppendUvarint(b, (e.cursor-base)<<2|uint64(e.kind))
	b = append(b, e.index)
	if e.kind == isVersion {
		b = binary.BigEndian.AppendUint32(b, e.modified)
	}
	return b
}

func readPlace(b []byte, base uint64, e *entry) (rest []byte, ok bool) {
	v, b, ok := readUvarint(b)
	if !ok {
		return nil, false
	}
	e.kind = entryKind(v & 3)
	if e.kind == isTomb || e.kind == isHeavy {
		return b, v>>2 == 0
	}
	if v>>2 > maxCursor || base > maxCursor || len(b) == 0 {
		return nil, false
	}
	e.cursor, e.index, b = v>>2+base, b[0], b[1:]
	if e.kind == isVersion {
		if len(b) < 4 {
			return nil, false
		}
		e.modified, b = binary.BigEndian.Uint32(b), b[4:]
	}
	return b, e.cursor > uint64(e.index) && e.cursor <= maxCursor // blocks begin with 1
}

func readUvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// An item of the log is its version (1 byte), its own number and that of the item ahead of it
// (8 bytes each, random), the least cursor in it (8 bytes), and its entries in any order: the
// hash (6 bytes), and the rest as in a page.
const (
	itemVersion = 1
	itemHead    = 1 + 8 + 8 + 8
)

type logItem struct {
	id, previous uint64
	entries      []entry
}

func packItem(it *logItem) []byte {
	base := uint64(maxCursor)
	for i := range it.entries {
		if e := &it.entries[i]; e.cursor != 0 {
			base = min(base, e.cursor)
		}
	}
	b := make([]byte, 0, itemHead+len(it.entries)*12)
	b = append(b, itemVersion)
	b = binary.BigEndian.AppendUint64(b, it.id)
	b = binary.BigEndian.AppendUint64(b, it.previous)
	b = binary.BigEndian.AppendUint64(b, base)
	for i := range it.entries {
		e := &it.entries[i]
		b = binary.BigEndian.AppendUint16(b, uint16(e.hash>>32))
		b = binary.BigEndian.AppendUint32(b, uint32(e.hash))
		b = appendPlace(b, base, e)
	}
	return b
}

func unpackItem(b []byte) (*logItem, error) {
	if len(b) < itemHead || b[0] != itemVersion {
		return nil, damaged("an item of the index's log has an unknown version")
	}
	it := &logItem{id: binary.BigEndian.Uint64(b[1:]), previous: binary.BigEndian.Uint64(b[9:])}
	base := binary.BigEndian.Uint64(b[17:])
	it.entries = make([]entry, 0, len(b)/10)
	for b = b[itemHead:]; len(b) > 0; {
		if len(b) < 6 {
			return nil, damaged("an item of the index's log")
		}
		e := entry{hash: uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))}
		var ok bool
		if b, ok = readPlace(b[6:], base, &e); !ok {
			return nil, damaged("an item of the index's log")
		}
		it.entries = append(it.entries, e)
	}
	return it, nil
}
