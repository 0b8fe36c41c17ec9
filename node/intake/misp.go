package intake

import "github.com/entente-mesh/entente/node/misp/core"

// readMISP reads one event or several, in any of the forms that MISP exports.
func readMISP(b *builder, data []byte, orgs core.Orgs) error {
	return core.Read(data, func(e *core.Event) { b.addEvent(e, orgs) }, func(p core.Problem) { b.problem(p.Line, "%s", p.Text) })
}

func (b *builder) addEvent(e *core.Event, orgs core.Orgs) (deleted []string) {
	if b.Title == "" {
		b.Title = e.Title()
	}
	got := core.Convert(e, orgs)
	for _, m := range got.Made {
		b.add(Item{Object: m.Object, Handling: m.Handling, Line: m.Line, Value: m.Value, Converted: true})
	}
	for _, p := range got.Problems {
		b.problem(p.Line, "%s", p.Text)
	}
	b.Notes = append(b.Notes, got.Notes...)
	return got.Deleted
}

// FromMISP returns the items of an event. The ids are of what is deleted in MISP, and to be withdrawn
// if it was published.
func FromMISP(name string, e *core.Event, orgs core.Orgs) (res *Result, deleted []string) {
	b := newBuilder(name, MISP)
	deleted = b.addEvent(e, orgs)
	b.finish(nil)
	return &b.Result, deleted
}
