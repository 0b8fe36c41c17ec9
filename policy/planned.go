package policy

import (
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Planned returns the state as it would be if an agreement were signed by all and in force at a
// time, Unix milliseconds, in the place of the one that it amends, if it amends any: for the
// question what would be if it were signed. The state itself is not changed. The agreement must be
// valid but for its network and secret; it is in force at that time even if it begins later.
func (s *State) Planned(doc *protocol.Agreement, at uint64) *State {
	plan := *doc
	plan.NotBefore = min(plan.NotBefore, at)
	planned := Agreement{ID: NewID(doc), Doc: &plan}
	var agreements []Agreement
	for _, a := range s.Agreements {
		switch {
		case a.ID == planned.ID:
			continue
		case a.ID == doc.Previous && !doc.Previous.IsZero():
			// What a party said of an agreement goes for what amends it.
			planned.Ends, planned.Pauses = slices.Clone(a.Ends), slices.Clone(a.Pauses)
			a.Superseded = 1
		}
		agreements = append(agreements, a)
	}
	return NewState(s.Self, s.Generation, s.Orgs, append(agreements, planned)).WithLocal(s.Local)
}

// Concerned lists, sorted, the organisations to which an agreement lets one send, or from which it
// lets it receive.
func Concerned(doc *protocol.Agreement, self protocol.OrgID) (to, from []protocol.OrgID) {
	for i := range doc.Terms {
		switch t := &doc.Terms[i]; self {
		case t.From:
			to = append(to, t.To)
		case t.To:
			from = append(from, t.From)
		}
	}
	slices.SortFunc(to, protocol.OrgID.Compare)
	slices.SortFunc(from, protocol.OrgID.Compare)
	return slices.Compact(to), slices.Compact(from)
}
