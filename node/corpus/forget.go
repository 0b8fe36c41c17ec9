package corpus

import (
	"bytes"
	"maps"
	"slices"
)

// Entries of records that were erased or taken out are removed from the index, and the pages
// that held them are written anew under other keys: a salted hash still says of a value that
// somebody guesses whether it was there. As much of it as fits is done in the transaction that
// erases; what a whole envelope was found by may stand in thousands of pages, and the rest of it
// is then written down, and removed by Merge.

// forgetPart is how many entries are looked for at once.
const forgetPart = 64

// forget removes entries.
func (x *Index) forget(kv KV, list []entry) error {
	if len(list) == 0 {
		return nil
	}
	m, err := readManifest(kv)
	if err != nil {
		return err
	}
	rest, err := x.remove(kv, m, sortEntries(slices.Clone(list)), x.limits.Forget)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return nil
	}
	for part := range slices.Chunk(rest, maxItemEntries) {
		key := forgetKey(m.Forget[1])
		if err := putPage(kv, key, 0, 0, part); err != nil {
			return err
		}
		m.Forget[1]++
	}
	return m.write(kv)
}

func forgetKey(number uint64) []byte { return indexKey(kForget, nil, number) }

// forgetMore goes on with the first of the lists that forget wrote down.
func (x *Index) forgetMore(kv KV, m *manifest, budget int) error {
	key := forgetKey(m.Forget[0])
	wrapped, plain, err := readWrapped(kv, key)
	if err != nil {
		return err
	}
	list, err := readPage(nil, plain, 0, 1<<hashBits, 0)
	if err != nil {
		return err
	}
	rest, err := x.remove(kv, m, list, max(1, budget/x.limits.Page))
	if err != nil {
		return err
	}
	if err := kv.Destroy(wrapped); err != nil {
		return err
	}
	if len(rest) > 0 {
		return putPage(kv, key, 0, 0, rest)
	}
	m.Forget[0]++
	return kv.Delete(key)
}

// remove removes entries, which are sorted, until it wrote so many pages, and returns those that
// are left. What is not there is as if it had been removed.
func (x *Index) remove(kv KV, m *manifest, list []entry, pages int) (rest []entry, err error) {
	t, err := x.table(kv, &m.Log)
	if err != nil {
		return nil, err
	}
	for len(list) > 0 && pages > 0 {
		part := list[:min(len(list), forgetPart, pages)]
		list = list[len(part):]
		hashes := make([]uint64, len(part))
		for i := range part {
			hashes[i] = part[i].hash
		}
		wrote, err := x.removeFromLog(kv, t, m, part, hashes)
		if err != nil {
			return nil, err
		}
		pages -= wrote
		for _, s := range m.all() {
			if wrote, err = x.removeFromSegment(kv, m, &s, part); err != nil {
				return nil, err
			}
			pages -= wrote
		}
		pages--
	}
	return list, nil
}

func holdsEntry(sorted []entry, e entry) bool {
	_, ok := slices.BinarySearchFunc(sorted, e, compareEntries)
	return ok
}

func (x *Index) removeFromLog(kv KV, t *table, m *manifest, part []entry, hashes []uint64) (wrote int, err error) {
	items := map[uint64]bool{}
	for _, e := range t.find(nil, hashes, m.Log.To) {
		if holdsEntry(part, e.entry) {
			items[e.item] = true
		}
	}
	for _, number := range slices.Sorted(maps.Keys(items)) {
		wrapped, it, err := readItem(kv, number)
		if err != nil {
			return wrote, err
		}
		before := len(it.entries)
		if it.entries = slices.DeleteFunc(it.entries, func(e entry) bool { return holdsEntry(part, e) }); len(it.entries) == before {
			continue // it was removed before, and the table does not know
		}
		if err := kv.Destroy(wrapped); err != nil {
			return wrote, err
		}
		if err := putItem(kv, number, it); err != nil {
			return wrote, err
		}
		wrote += 1 + before/x.limits.Page
	}
	return wrote, nil
}

func (x *Index) removeFromSegment(kv KV, m *manifest, s *segment, part []entry) (wrote int, err error) {
	filters := x.filtersOf(s)
	for i := 0; i < len(part); {
		page := s.page(part[i].hash)
		here := part[i : i+1]
		for i++; i < len(part) && s.page(part[i].hash) == page; i++ {
			here = part[i-len(here) : i+1]
		}
		may := filters.of(page).Load()
		if !slices.ContainsFunc(here, func(e entry) bool { return m.holds(s, e.hash) && (may == nil || may.mayHold(e.hash)) }) {
			continue
		}
		wrapped, list, err := readSegment(kv, s, page, nil)
		if err != nil {
			return wrote, err
		}
		remove := slices.Clone(here)
		for _, e := range list {
			if e.kind == isHeavy && slices.ContainsFunc(here, func(h entry) bool { return h.hash == e.hash }) {
				n, left, err := removeFromHeavy(kv, e.hash, here)
				if err != nil {
					return wrote, err
				}
				if wrote += n; !left {
					remove = append(remove, e)
				}
			}
		}
		before := len(list)
		if list = slices.DeleteFunc(list, func(e entry) bool { return slices.Contains(remove, e) }); len(list) == before {
			continue
		}
		if err := kv.Destroy(wrapped); err != nil {
			return wrote, err
		}
		first, _ := s.bounds(page)
		if err := putPage(kv, pageKey(s.ID, page), first, s.Base, list); err != nil {
			return wrote, err
		}
		wrote++
	}
	return wrote, nil
}

// removeFromHeavy removes entries from the lists of a heavy hash. left says that something of it
// is left: if not, its mark goes too.
func removeFromHeavy(kv KV, hash uint64, part []entry) (wrote int, left bool, err error) {
	type change struct {
		key, wrapped []byte
		list         []entry
	}
	var changes []change
	err = kv.Scan(heavyPrefix(hash), nil, false, func(k, v []byte) (bool, error) {
		c := change{key: bytes.Clone(k), wrapped: bytes.Clone(v)}
		list, err := readHeavy(kv, c.key, c.wrapped)
		if err != nil {
			return false, err
		}
		before := len(list)
		if c.list = slices.DeleteFunc(list, func(e entry) bool { return holdsEntry(part, e) }); len(c.list) < before {
			changes = append(changes, c)
		}
		left = left || len(c.list) > 0
		return true, nil
	})
	if err != nil {
		return 0, false, err
	}
	for _, c := range changes {
		if err := kv.Destroy(c.wrapped); err != nil {
			return wrote, left, err
		}
		if err := kv.Delete(c.key); err != nil {
			return wrote, left, err
		}
		if wrote++; len(c.list) == 0 {
			continue
		}
		if err := putPage(kv, heavyKey(&c.list[0]), hash, c.list[0].cursor, c.list); err != nil {
			return wrote, left, err
		}
	}
	return wrote, left, nil
}
