package corpus

// Warm makes the filters of about budget pages that have none, as after opening, and reports
// whether there are more. Until it is done a search reads a page of each segment, of which most hold
// nothing of what is looked for; what is found is the same. kv is only read. To be called again after
// an error, with a newer state: pages may have been written anew, or merged, meanwhile.
func (x *Index) Warm(kv KV, budget int) (more bool, err error) {
	m, err := readManifest(kv)
	if err != nil {
		return false, err
	}
	var list []entry
	for _, s := range m.all() {
		filters := x.filtersOf(&s)
		for n := range uint64(1) << s.Bits {
			first, _ := s.bounds(n)
			// What a merge moved elsewhere, or is still to bring here, stands in no page.
			if !m.holds(&s, first) || filters.has(n) {
				continue
			}
			if budget--; budget < 0 {
				return true, nil
			}
			if _, list, err = readSegment(kv, &s, n, list[:0]); err != nil {
				return true, err
			}
			made := newFilter(list)
			filters.of(n).CompareAndSwap(nil, &made)
		}
	}
	return false, nil
}

// has reports whether there is a filter of a page, and makes room for none.
func (f filters) has(page uint64) bool {
	g := f[page>>filterGroupBits].Load()
	return g != nil && g[page%(1<<filterGroupBits)].Load() != nil
}
