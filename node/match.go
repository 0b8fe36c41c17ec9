package node

import (
	"errors"
	"slices"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// Patterns are matched where the observations are, by who has them; a node says which patterns can
// match at all.

// MaxMatchValues bounds the values that are asked for at once.
const MaxMatchValues = 1000

// maxPatternsOf bounds the indicators about one value.
const maxPatternsOf = MaxLimit

// PatternsAbout returns the indicators, of those that the reader may search, that compare anything with
// one of some values, or with a network around it.
func (r *Reader) PatternsAbout(values []string) ([]Record, error) {
	if len(values) > MaxMatchValues {
		return nil, protocol.Errorf(protocol.ErrOversize, "%d values are asked for, at most %d are at once", len(values), MaxMatchValues)
	}
	out, seen := []Record{}, map[protocol.RecordID]bool{}
	for _, v := range values {
		list, next, err := r.Search(Query{Value: v, Type: "indicator", Limit: maxPatternsOf})
		if err != nil {
			return nil, err
		}
		if next != 0 {
			return nil, protocol.Errorf(protocol.ErrOversize, "more than %d indicators are about %q", maxPatternsOf, v)
		}
		for i := range list {
			if !seen[list[i].ID] {
				seen[list[i].ID] = true
				out = append(out, list[i])
			}
		}
	}
	return out, nil
}

// OpenPatterns returns indicators whose patterns can match what holds none of the values that they are
// found by: they compare otherwise, with LIKE, a size, or what is not there. It looks at some of the
// corpus, from a cursor on, and returns the one to go on from; zero at the end.
func (r *Reader) OpenPatterns(after uint64) (out []Record, next uint64, err error) {
	list, next, err := r.Search(Query{Type: "indicator", After: after, Limit: MaxLimit})
	if err != nil {
		return nil, 0, err
	}
	out = []Record{}
	for i := range list {
		o, err := stix.Parse(list[i].Object)
		if err != nil {
			return nil, 0, err
		}
		if o.Text("pattern_type") != "stix" {
			continue
		}
		p, err := pattern.Parse(o.Text("pattern"))
		if syntax := new(pattern.SyntaxError); errors.As(err, &syntax) {
			continue // it matches nothing
		}
		if needsAll(p.Root, stix.Observables(o)) {
			out = append(out, list[i])
		}
	}
	return out, next, nil
}

// needsAll reports whether an expression can match observations that hold none of the observables that
// it is found by.
func needsAll(e pattern.Expr, found []stix.Observable) bool {
	switch e := e.(type) {
	case *pattern.Observation:
		return testNeedsAll(e.Test, found)
	case *pattern.Qualified:
		return needsAll(e.Of, found)
	case *pattern.Combined:
		needs := func(p pattern.Expr) bool { return needsAll(p, found) }
		if e.Op == pattern.Or {
			return slices.ContainsFunc(e.Parts, needs)
		}
		return !slices.ContainsFunc(e.Parts, func(p pattern.Expr) bool { return !needs(p) })
	}
	return true
}

func testNeedsAll(t pattern.Test, found []stix.Observable) bool {
	switch t := t.(type) {
	case *pattern.Logic:
		needs := func(p pattern.Test) bool { return testNeedsAll(p, found) }
		if !t.And {
			return slices.ContainsFunc(t.Parts, needs)
		}
		return !slices.ContainsFunc(t.Parts, func(p pattern.Test) bool { return !needs(p) })
	case *pattern.Compare:
		if t.Not || t.Op != pattern.Equal && t.Op != pattern.In && t.Op != pattern.IsSubset {
			return true
		}
		for i := range t.Values {
			if t.Values[i].Kind != pattern.String || !foundBy(t.Values[i].Text, found) {
				return true
			}
		}
		return false
	}
	return true
}

func foundBy(text string, found []stix.Observable) bool {
	if slices.Contains(found, stix.Observable{Kind: stix.Filename, Value: text}) {
		return true
	}
	o, ok := stix.Canonical(text)
	return ok && slices.Contains(found, o)
}
