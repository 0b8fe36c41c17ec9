package corpus

import (
	"fmt"
	"math/bits"
	"slices"
	"sort"
)

// DefaultBudget is how many entries a step of Merge moves, about: 1 MB.
const DefaultBudget = 100_000

// maxFlush bounds the entries that one step takes out of the log: 5 MB.
const maxFlush = 500_000

// Merge does a step of what keeps the index small: it removes what is still to be forgotten,
// makes the log a segment, or moves about budget entries of several segments into one. Nothing
// that can be found changes. More says that there is something left to do. Each step stands in
// a transaction of its own, and the next one goes on from there, also after a crash.
func (x *Index) Merge(kv KV, budget int) (more bool, err error) {
	m, err := readManifest(kv)
	if err != nil {
		return false, err
	}
	switch {
	case m.forgetting():
		err = x.forgetMore(kv, m, budget)
	case x.logIsFull(m):
		err = x.flush(kv, m)
	default:
		x.plan(m)
		if len(m.Merge) == 0 {
			return false, nil
		}
		err = x.step(kv, m, budget)
	}
	if err == nil {
		err = m.write(kv)
	}
	if err != nil {
		return false, fmt.Errorf("merging the index: %w", err)
	}
	x.keepOnly(m)
	return x.due(m), nil
}

// Due reports whether Merge has something to do.
func (x *Index) Due(kv KV) (bool, error) {
	m, err := readManifest(kv)
	return err == nil && x.due(m), err
}

// Forgetting reports whether entries of what was erased, or taken out, are still to be removed from
// the index. Steps of Merge do that before all else.
func (x *Index) Forgetting(kv KV) (bool, error) {
	m, err := readManifest(kv)
	return err == nil && m.forgetting(), err
}

func (m *manifest) forgetting() bool { return m.Forget[0] < m.Forget[1] }

func (x *Index) due(m *manifest) bool {
	if m.forgetting() || x.logIsFull(m) || len(m.Merge) > 0 {
		return true
	}
	return x.sources(m) != nil
}

func (x *Index) logIsFull(m *manifest) bool {
	return m.Log.Entries >= uint64(x.limits.Log) || m.Log.To-m.Log.From >= uint64(x.limits.Items)
}

// flush makes the items of the log, or as many of the first ones as may be, a segment.
func (x *Index) flush(kv KV, m *manifest) error {
	list := make([]entry, 0, min(m.Log.Entries, maxFlush)+1)
	at := m.Log.From
	for ; at < m.Log.To && len(list) < maxFlush; at++ {
		wrapped, it, err := readItem(kv, at)
		if err != nil {
			return err
		}
		list = append(list, it.entries...)
		if err := drop(kv, itemKey(at), wrapped); err != nil {
			return err
		}
	}
	m.Log.From = at
	if m.Log.Entries -= min(m.Log.Entries, uint64(len(list))); at == m.Log.To {
		m.Log.Entries, m.Log.Tail = 0, 0
	}
	list = sortEntries(list)
	s := x.newSegment(uint64(len(list)), leastCursor(list))
	if err := x.fill(kv, &s, 0, 1<<s.Bits, list); err != nil {
		return err
	}
	m.Segments = append(m.Segments, s)
	return nil
}

// fill writes the pages of a segment from one to, but not including, another. list is all that
// stands in them, sorted.
func (x *Index) fill(kv KV, s *segment, from, to uint64, list []entry) error {
	list, err := x.splitHeavy(kv, list)
	if err != nil {
		return err
	}
	filters := x.filtersOf(s)
	for n := from; n < to; n++ {
		first, end := s.bounds(n)
		count := sort.Search(len(list), func(i int) bool { return list[i].hash >= end })
		if err := putPage(kv, pageKey(s.ID, n), first, s.Base, list[:count]); err != nil {
			return err
		}
		made := newFilter(list[:count])
		filters.of(n).Store(&made)
		list = list[count:]
	}
	return nil
}

// splitHeavy puts the entries of hashes that have many into lists of their own, and a mark in
// their place. What it returns is list's space.
func (x *Index) splitHeavy(kv KV, list []entry) ([]entry, error) {
	out := list[:0]
	for len(list) > 0 {
		count := 1
		for count < len(list) && list[count].hash == list[0].hash {
			count++
		}
		run := list[:count]
		list = list[count:]
		if count <= x.limits.Heavy {
			out = append(out, run...)
			continue
		}
		marks := []entry{{hash: run[0].hash, kind: isHeavy}}
		var places []entry
		for _, e := range run {
			if e.kind == isTomb {
				marks = append(marks, e)
			} else if e.kind != isHeavy {
				places = append(places, e)
			}
		}
		for part := range slices.Chunk(places, maxHeavyList) {
			if err := putPage(kv, heavyKey(&part[0]), part[0].hash, part[0].cursor, part); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(marks, compareEntries)
		out = append(out, marks...)
	}
	return out, nil
}

func drop(kv KV, key, wrapped []byte) error {
	if err := kv.Retire(wrapped); err != nil {
		return err
	}
	return kv.Delete(key)
}

func leastCursor(list []entry) uint64 {
	least := uint64(maxCursor)
	for i := range list {
		if list[i].cursor != 0 {
			least = min(least, list[i].cursor)
		}
	}
	return least
}

func (x *Index) newSegment(entries, base uint64) segment {
	pages := (entries + uint64(x.limits.Page) - 1) / uint64(x.limits.Page)
	return segment{ID: randomID(), Entries: entries, Base: base, Bits: uint8(min(bits.Len64(max(pages, 1)-1), maxSegmentBits))}
}

// class sorts segments by how large they are: those of one are merged.
func (x *Index) class(s *segment) (class int) {
	for n := s.Entries; n >= uint64(x.limits.Fanout); n /= uint64(x.limits.Fanout) {
		class++
	}
	return class
}

// sources lists the segments that are to be merged next: the oldest ones of the smallest size of
// which there are enough.
func (x *Index) sources(m *manifest) []segment {
	classes := map[int][]segment{}
	least := -1
	for i := range m.Segments {
		s := &m.Segments[i]
		if !slices.ContainsFunc(m.Merge, func(p merge) bool { return slices.Contains(p.Sources, s.ID) }) {
			c := x.class(s)
			classes[c] = append(classes[c], *s)
		}
	}
	for c, list := range classes {
		if len(list) >= x.limits.Fanout && (least < 0 || c < least) {
			least = c
		}
	}
	if least < 0 {
		return nil
	}
	return classes[least][:x.limits.Fanout]
}

// plan begins a merge, if there are enough segments for one. Others may be under way: a large
// one takes long, and small segments must not pile up meanwhile.
func (x *Index) plan(m *manifest) {
	list := x.sources(m)
	if list == nil {
		return
	}
	p := merge{Bits: maxSegmentBits}
	entries, base := uint64(0), uint64(maxCursor)
	for i := range list {
		p.Sources = append(p.Sources, list[i].ID)
		p.Bits = min(p.Bits, list[i].Bits)
		entries += list[i].Entries
		base = min(base, list[i].Base)
	}
	p.Target = x.newSegment(entries, base)
	for i := range list { // limits may have been others when they were made
		p.Target.Bits = max(p.Target.Bits, list[i].Bits)
	}
	m.Merge = append(m.Merge, p)
}

// step moves parts of the smallest merge under way. A part is what one page of the smallest
// source, and all that belongs beside it, makes: as sources are of about a size, it is not much.
func (x *Index) step(kv KV, m *manifest, budget int) error {
	which := 0
	for i := range m.Merge {
		if m.Merge[i].Target.Entries < m.Merge[which].Target.Entries {
			which = i
		}
	}
	p := &m.Merge[which]
	var sources []segment
	for i := range m.Segments {
		if slices.Contains(p.Sources, m.Segments[i].ID) {
			sources = append(sources, m.Segments[i])
		}
	}
	width := uint64(1) << (p.Target.Bits - p.Bits) // of a part, in pages of the target
	for moved := 0; moved < budget && p.Done < 1<<p.Bits; p.Done++ {
		list, err := x.takePart(kv, p, sources)
		if err != nil {
			return err
		}
		moved += len(list) + 1
		if err := x.fill(kv, &p.Target, p.Done*width, (p.Done+1)*width, sortEntries(list)); err != nil {
			return err
		}
	}
	if p.Done < 1<<p.Bits {
		return nil
	}
	m.Segments = slices.DeleteFunc(m.Segments, func(s segment) bool { return slices.Contains(p.Sources, s.ID) })
	m.Segments = append(m.Segments, p.Target)
	m.Merge = slices.Delete(m.Merge, which, which+1)
	return nil
}

// takePart takes the next part of a merge out of its sources.
func (x *Index) takePart(kv KV, p *merge, sources []segment) (list []entry, err error) {
	for i := range sources {
		s := &sources[i]
		filters := x.filtersOf(s)
		width := uint64(1) << (s.Bits - p.Bits)
		for n := p.Done * width; n < (p.Done+1)*width; n++ {
			var wrapped []byte
			if wrapped, list, err = readSegment(kv, s, n, list); err != nil {
				return nil, err
			}
			if err := drop(kv, pageKey(s.ID, n), wrapped); err != nil {
				return nil, err
			}
			filters.of(n).Store(nil) // it is made again for who still needs it
		}
	}
	return list, nil
}
