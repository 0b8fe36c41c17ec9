package intake

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/protocol/stix"
)

// readJSON reads STIX or MISP, as b.Format says; anyJSON looks which it is.
func readJSON(b *builder, data []byte, orgs core.Orgs) error {
	if b.Format == anyJSON {
		b.Format = STIX
		if core.Is(data) {
			b.Format = MISP
		}
	}
	if b.Format == MISP {
		return readMISP(b, data, orgs)
	}
	return readSTIX(b, data)
}

// readSTIX reads a bundle. Every object becomes an item or a problem; the marking
// definitions among them say what the markings mean.
func readSTIX(b *builder, data []byte) error {
	objects, problems, err := stix.ParseBundle(data)
	if err != nil {
		return err
	}
	for _, p := range problems {
		if p.ID != "" {
			b.problem(p.Line, "%s: %v", shown(p.ID), p.Err)
		} else {
			b.problem(p.Line, "%v", p.Err)
		}
		b.Problems[len(b.Problems)-1].Raw = p.Raw
	}
	markings := stix.NewMarkings(objects)
	notes := map[string]int{}
	b.expect(len(objects))
	for _, o := range objects {
		if found := stix.Validate(o, b.validation); len(found) > 0 {
			b.problem(found[0].Line, "%s: %s", o.ID, violations(found))
			b.Problems[len(b.Problems)-1].Raw = o.Raw
			continue
		}
		h, said, err := markings.Handling(o)
		if err != nil {
			b.problem(o.Line, "%s: %v", o.ID, err)
			b.Problems[len(b.Problems)-1].Raw = o.Raw
			continue
		}
		for _, n := range said {
			notes[n]++
		}
		b.add(Item{Object: o, Handling: h, Line: o.Line})
	}
	slices.SortStableFunc(b.Problems, func(x, y Problem) int { return x.Line - y.Line })
	for _, n := range slices.Sorted(maps.Keys(notes)) {
		b.note("%d objects are %s", notes[n], n)
	}
	return nil
}

// violations says what of the standard an object breaks: the first few sentences.
func violations(list []stix.Violation) string {
	const most = 3
	var out []string
	for i, v := range list {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more; 'entente validate' lists them", len(list)-most))
			break
		}
		out = append(out, v.Error())
	}
	return strings.Join(out, "; ")
}
