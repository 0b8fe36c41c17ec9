package node

import (
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Anew is an agreement as a draft in which an organisation that was founded anew stands where it stood before.
type Anew struct {
	ID    protocol.AgreementID // the one that is signed
	Draft protocol.Agreement
}

// AgreementsAnew returns drafts of what has to be signed anew where an organisation lost its root: of each
// agreement that counts and of which was is a party, with is in its place. They begin now, or when the signed one
// does, and end with it. The oldest comes first.
func (n *Node) AgreementsAnew(was, is protocol.OrgID) ([]Anew, error) {
	if was == is {
		return nil, protocol.Errorf(protocol.ErrMalformed, "the card is of the organisation whose agreements these are; give the card of the one that was founded in its place")
	}
	now := uint64(nowMillis())
	var out []Anew
	list := n.Agreements()
	slices.Reverse(list)
	for i := range list {
		a := &list[i]
		switch a.State {
		case AgreementInForce, AgreementNotYet, AgreementSuspended:
		default:
			continue
		}
		if !slices.Contains(a.Doc.Parties, was) {
			continue
		}
		if slices.Contains(a.Doc.Parties, is) {
			return nil, fmt.Errorf("both organisations are parties of agreement %s; draft that one by hand", a.ID.Short())
		}
		d := policy.InPlace(&a.Doc, was, is)
		d.Previous, d.NotBefore = protocol.AgreementID{}, max(d.NotBefore, now-now%1000)
		out = append(out, Anew{ID: a.ID, Draft: *d})
	}
	return out, nil
}
