package policy

import (
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// InPlace returns a copy of an agreement in which one organisation stands wherever another stood: among the
// parties, in the terms, among those to whom may be passed on and who may hold.
func InPlace(a *protocol.Agreement, was, is protocol.OrgID) *protocol.Agreement {
	out := *a
	one := func(o *protocol.OrgID) {
		if *o == was {
			*o = is
		}
	}
	set := func(list []protocol.OrgID) []protocol.OrgID {
		list = slices.Clone(list)
		for i := range list {
			one(&list[i])
		}
		slices.SortFunc(list, protocol.OrgID.Compare)
		return slices.Compact(list)
	}
	out.Parties, out.Terms = set(a.Parties), slices.Clone(a.Terms)
	for i := range out.Terms {
		t := &out.Terms[i]
		one(&t.From)
		one(&t.To)
		t.Onward.Orgs, t.Holders.Orgs = set(t.Onward.Orgs), set(t.Holders.Orgs)
	}
	return &out
}
