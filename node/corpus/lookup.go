package corpus

import (
	"bytes"
	"slices"
	"sort"
)

// finder looks hashes up in one state of the index.
type finder struct {
	x     *Index
	kv    KV
	m     *manifest
	table *table
	pages map[uint64]*openPage // by segment: the page that was read last
}

type openPage struct {
	number uint64
	list   []entry
}

func (x *Index) finder(kv KV) (*finder, error) {
	m, err := readManifest(kv)
	if err != nil {
		return nil, err
	}
	return x.finderOf(kv, m)
}

func (x *Index) finderOf(kv KV, m *manifest) (*finder, error) {
	t, err := x.table(kv, &m.Log)
	if err != nil {
		return nil, err
	}
	return &finder{x: x, kv: kv, m: m, table: t, pages: map[uint64]*openPage{}}, nil
}

// find returns what the index holds of hashes, which rise. What it finds may be of something
// else with that hash: whoever asks looks at the record. The lists of heavy hashes are followed.
func (f *finder) find(hashes []uint64) ([]found, error) {
	list := f.table.find(nil, hashes, f.m.Log.To)
	for i := range f.m.Segments {
		var err error
		if list, err = f.inSegment(list, &f.m.Segments[i], hashes); err != nil {
			return nil, err
		}
	}
	for i := range f.m.Merge {
		var err error
		if list, err = f.inSegment(list, &f.m.Merge[i].Target, hashes); err != nil {
			return nil, err
		}
	}
	var heavy []int
	for i := range list {
		if list[i].kind == isHeavy {
			heavy = append(heavy, list[i].which)
		}
	}
	if len(heavy) == 0 {
		return list, nil
	}
	list = slices.DeleteFunc(list, func(e found) bool { return e.kind == isHeavy })
	slices.Sort(heavy)
	for _, which := range slices.Compact(heavy) {
		err := f.kv.Scan(heavyPrefix(hashes[which]), nil, false, func(k, v []byte) (bool, error) {
			entries, err := readHeavy(f.kv, bytes.Clone(k), bytes.Clone(v))
			for _, e := range entries {
				list = append(list, found{which: which, entry: e})
			}
			return true, err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// findOne returns the places that one hash stands for, in rising order.
func (f *finder) findOne(hash uint64) ([]found, error) {
	list, err := f.find([]uint64{hash})
	slices.SortFunc(list, func(a, b found) int { return compareEntries(a.entry, b.entry) })
	return slices.CompactFunc(list, func(a, b found) bool { return compareEntries(a.entry, b.entry) == 0 }), err
}

func (f *finder) inSegment(list []found, s *segment, hashes []uint64) ([]found, error) {
	filters := f.x.filtersOf(s)
	merging := len(f.m.Merge) > 0
	for which, hash := range hashes {
		if merging && !f.m.holds(s, hash) {
			continue
		}
		n := s.page(hash)
		filter := filters.of(n)
		if have := filter.Load(); have != nil && !have.mayHold(hash) {
			continue
		}
		if open := f.pages[s.ID]; len(hashes) < wholePage && (open == nil || open.number != n) {
			var err error
			if list, err = f.seek(list, s, n, which, hash); err != nil {
				return nil, err
			}
			continue
		}
		page, err := f.page(s, n)
		if err != nil {
			return nil, err
		}
		if filter.Load() == nil {
			made := newFilter(page)
			filter.Store(&made)
		}
		i := sort.Search(len(page), func(i int) bool { return page[i].hash >= hash })
		for ; i < len(page) && page[i].hash == hash; i++ {
			list = append(list, found{which: which, entry: page[i]})
		}
	}
	return list, nil
}

// wholePage is for how many hashes whole pages are read, and filters made: those that rise often
// follow each other in one. Who looks for fewer does not wait for that; see Warm.
const wholePage = 8

// seek appends what a page of a segment holds of one hash, and reads no further.
func (f *finder) seek(list []found, s *segment, n uint64, which int, hash uint64) ([]found, error) {
	_, plain, err := readWrapped(f.kv, pageKey(s.ID, n))
	if err != nil {
		return nil, err
	}
	first, end := s.bounds(n)
	var buf [4]entry
	entries, err := seekPage(buf[:0], plain, first, end, s.Base, hash)
	for _, e := range entries {
		list = append(list, found{which: which, entry: e})
	}
	return list, err
}

// page reads a page of a segment.
func (f *finder) page(s *segment, n uint64) ([]entry, error) {
	open := f.pages[s.ID]
	if open == nil {
		open = &openPage{number: ^uint64(0)}
		f.pages[s.ID] = open
	}
	if open.number == n {
		return open.list, nil
	}
	_, list, err := readSegment(f.kv, s, n, open.list[:0])
	open.number, open.list = n, list
	if err != nil {
		open.number, open.list = ^uint64(0), nil
	}
	return list, err
}

// readSegment reads a page, as it is wrapped too, and appends its entries.
func readSegment(kv KV, s *segment, n uint64, list []entry) (wrapped []byte, _ []entry, err error) {
	wrapped, plain, err := readWrapped(kv, pageKey(s.ID, n))
	if err != nil {
		return nil, nil, err
	}
	first, end := s.bounds(n)
	list, err = readPage(list, plain, first, end, s.Base)
	return wrapped, list, err
}
