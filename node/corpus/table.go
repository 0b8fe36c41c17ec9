package corpus

import (
	"slices"
	"sync"
)

// table holds the entries of the log by their hashes, as far as they were read or written. It
// is a copy of what stands in the key space, and nothing but that: whoever reads says which
// items of the log stand in the state that it reads, and gets entries of those.
type table struct {
	from uint64 // number of the first item

	mu      sync.RWMutex
	ids     []uint64 // of the items, in order
	entries []tableEntry
	heads   []int32 // by the lowest bits of the hash: 1 + which entry, 0: none
}

type tableEntry struct {
	entry
	item int32 // from the first one on
	next int32 // in the list of a head, as there
}

func newTable(from uint64) *table { return &table{from: from, heads: make([]int32, 1<<10)} }

// holds reports whether the items up to but not including to, of which the last one has an id,
// are in the table. An id is random and names all items ahead of it too, because they were what
// stood there when it was made.
func (t *table) holds(to, tail uint64) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.holdsLocked(to, tail)
}

func (t *table) holdsLocked(to, tail uint64) bool {
	n := to - t.from
	return n == 0 || n <= uint64(len(t.ids)) && t.ids[n-1] == tail
}

// add puts an item in its place. It does nothing if others stand in the table than those ahead
// of it, as after a transaction that was not written; whoever reads then makes the table anew.
func (t *table) add(number uint64, it *logItem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if number-t.from != uint64(len(t.ids)) || !t.holdsLocked(number, it.previous) {
		return
	}
	n := int32(len(t.ids))
	t.ids = append(t.ids, it.id)
	for len(t.heads) < len(t.entries)+len(it.entries) {
		t.grow()
	}
	if n := len(t.entries) + len(it.entries); n > cap(t.entries) {
		t.entries = slices.Grow(t.entries, len(it.entries)+n)
	}
	for _, e := range it.entries {
		head := &t.heads[e.hash&uint64(len(t.heads)-1)]
		t.entries = append(t.entries, tableEntry{e, n, *head})
		*head = int32(len(t.entries))
	}
}

func (t *table) grow() {
	t.heads = make([]int32, 4*len(t.heads))
	for i := range t.entries {
		e := &t.entries[i]
		head := &t.heads[e.hash&uint64(len(t.heads)-1)]
		e.next = *head
		*head = int32(i + 1)
	}
}

// found is an entry that was found for one of several hashes.
type found struct {
	which int // of the hashes
	entry
	item uint64 // of the log that it stands in
}

// find appends what items up to but not including to hold of hashes.
func (t *table) find(list []found, hashes []uint64, to uint64) []found {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.entries) == 0 {
		return list
	}
	for which, hash := range hashes {
		for at := t.heads[hash&uint64(len(t.heads)-1)]; at != 0; {
			e := &t.entries[at-1]
			if e.hash == hash && t.from+uint64(e.item) < to {
				list = append(list, found{which, e.entry, t.from + uint64(e.item)})
			}
			at = e.next
		}
	}
	return list
}
