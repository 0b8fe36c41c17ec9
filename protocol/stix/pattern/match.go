package pattern

import (
	"errors"
	"iter"
	"slices"
	"time"
)

// Observed is an observation: objects that were seen together, how often, and in which time.
type Observed struct {
	First, Last time.Time
	Count       uint64 // how often; 0 is once
	// Objects are the objects by their ids, as encoding/json reads them, with json.Number or float64.
	Objects map[string]map[string]any
}

func (o *Observed) count() uint64 { return max(o.Count, 1) }

// Seen is an observation that a match consists of, and how often it was needed.
type Seen struct {
	Index int // in the list that was matched
	Times uint64
}

// ErrTooMuch says that it would take too many steps to say whether a pattern matches.
var ErrTooMuch = errors.New("matching the pattern takes too many steps; match it with fewer observations")

// maxSteps bounds the steps of a match: some seconds.
const maxSteps = 5_000_000

// One reports whether an observation passes the test of an observation expression.
func (o *Observation) One(seen *Observed) bool {
	for _, object := range seen.Objects {
		if typ, ok := object["type"].(string); ok && passes(o.Test, seen, typ, object) {
			return true
		}
	}
	return false
}

// Match looks for observations that a pattern matches, of those whose list is given, and returns one
// set of them, in the order of the list; nil if there is none.
func (p *Pattern) Match(list []Observed) ([]Seen, error) {
	m := &match{list: list, used: make([]uint64, len(list)), known: map[*Observation][]int{}}
	for b := range m.bind(p.Root, nil) {
		out := slices.Clone(b)
		slices.SortFunc(out, func(a, b Seen) int { return a.Index - b.Index })
		return out, nil
	}
	if m.steps > maxSteps {
		return nil, ErrTooMuch
	}
	return nil, nil
}

// match is a search for observations. It tries one after the other, and gives up where what it has
// so far cannot become a match.
type match struct {
	list  []Observed
	used  []uint64 // how often each is part of what was bound so far
	known map[*Observation][]int
	steps int
}

// rule reports whether observations, some of those that are bound in the end, may be so.
type rule func(b []Seen) bool

func (m *match) enough() bool {
	m.steps++
	return m.steps <= maxSteps
}

// bind yields the observations that match an expression and are not used, and uses them while it does.
func (m *match) bind(e Expr, ok rule) iter.Seq[[]Seen] {
	switch e := e.(type) {
	case *Observation:
		return m.observed(e, 1, ok)
	case *Combined:
		return m.combined(e.Op, e.Parts, ok)
	case *Qualified:
		return m.qualified(e, ok)
	}
	return func(func([]Seen) bool) {}
}

// observed yields every way to take an observation that passes a test times times.
func (m *match) observed(e *Observation, times uint64, ok rule) iter.Seq[[]Seen] {
	list, known := m.known[e]
	if !known {
		for i := range m.list {
			if m.steps += len(m.list[i].Objects); e.One(&m.list[i]) {
				list = append(list, i)
			}
		}
		m.known[e] = list
	}
	return func(yield func([]Seen) bool) { m.choose(list, times, nil, ok, yield) }
}

// choose takes observations of a list until there are enough, the later ones after the earlier ones,
// and of each as many as there are first.
func (m *match) choose(list []int, times uint64, have []Seen, ok rule, yield func([]Seen) bool) bool {
	if times == 0 {
		return yield(have)
	}
	for at, i := range list {
		if !m.enough() {
			return false
		}
		free := min(m.list[i].count()-m.used[i], times)
		for n := free; n > 0; n-- {
			next := append(have[:len(have):len(have)], Seen{i, n})
			if ok != nil && !ok(next) {
				break // fewer of it are at the same time
			}
			m.used[i] += n
			more := m.choose(list[at+1:], times-n, next, ok, yield)
			if m.used[i] -= n; !more || !m.enough() {
				return false
			}
		}
	}
	return true
}

func (m *match) combined(op Operator, parts []Expr, ok rule) iter.Seq[[]Seen] {
	if len(parts) == 1 {
		return m.bind(parts[0], ok)
	}
	return func(yield func([]Seen) bool) {
		if op == Or {
			for _, p := range parts {
				for b := range m.bind(p, ok) {
					if !yield(b) {
						return
					}
				}
			}
			return
		}
		for last := range m.bind(parts[len(parts)-1], ok) {
			both := func(b []Seen) bool {
				if op == FollowedBy && !m.before(b, last) {
					return false
				}
				return ok == nil || ok(slices.Concat(b, last))
			}
			for b := range m.combined(op, parts[:len(parts)-1], both) {
				if !m.enough() || !yield(slices.Concat(b, last)) {
					return
				}
			}
			if !m.enough() {
				return
			}
		}
	}
}

// before reports whether some observations can have been seen before, or when, others were.
func (m *match) before(a, b []Seen) bool {
	for _, x := range a {
		for _, y := range b {
			if m.list[x.Index].First.After(m.list[y.Index].Last) {
				return false
			}
		}
	}
	return true
}

func (m *match) qualified(q *Qualified, ok rule) iter.Seq[[]Seen] {
	switch {
	case q.Repeats > 0:
		if o, simple := q.Of.(*Observation); simple {
			return m.observed(o, q.Repeats, ok)
		}
		return m.repeated(q.Of, q.Repeats, ok)
	case q.Within > 0:
		long := time.Duration(min(q.Within*float64(time.Second), 1<<62))
		return m.bind(q.Of, func(b []Seen) bool { return m.within(b, long) && (ok == nil || ok(b)) })
	}
	return m.bind(q.Of, func(b []Seen) bool {
		for _, s := range b {
			if o := &m.list[s.Index]; !o.First.Before(q.Stop) || o.Last.Before(q.Start) {
				return false
			}
		}
		return ok == nil || ok(b)
	})
}

// within reports whether observations can have been seen within some time: whether a stretch of that
// length meets them all. The one that begins where the first of them ends meets as many as any.
func (m *match) within(b []Seen, long time.Duration) bool {
	if len(b) == 0 {
		return true
	}
	first := m.list[b[0].Index].Last
	for _, s := range b {
		if t := m.list[s.Index].Last; t.Before(first) {
			first = t
		}
	}
	for _, s := range b {
		if m.list[s.Index].First.After(first.Add(long)) {
			return false
		}
	}
	return true
}

// maxRepeats bounds how often an expression of several observations is repeated.
const maxRepeats = 1000

func (m *match) repeated(e Expr, times uint64, ok rule) iter.Seq[[]Seen] {
	return func(yield func([]Seen) bool) {
		if times > maxRepeats {
			m.steps = maxSteps + 1
			return
		}
		if times == 0 {
			yield(nil)
			return
		}
		for one := range m.bind(e, ok) {
			others := func(b []Seen) bool { return ok == nil || ok(slices.Concat(b, one)) }
			for b := range m.repeated(e, times-1, others) {
				if !m.enough() || !yield(slices.Concat(b, one)) {
					return
				}
			}
			if !m.enough() {
				return
			}
		}
	}
}
