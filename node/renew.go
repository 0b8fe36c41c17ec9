package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Renew proposes an agreement once more, until a later end, Unix milliseconds: the same but for its
// dates. It begins when the one that it renews ends, so that whatever is said and done under that
// stays under it until then; where that has ended already, it begins at once.
func (n *Node) Renew(id protocol.AgreementID, until uint64) (protocol.AgreementID, error) {
	s := n.snap.Load()
	a := s.agreements[id]
	if a == nil {
		return protocol.AgreementID{}, fmt.Errorf("no agreement %s is known here: %w", id.Short(), ErrNotFound)
	}
	now := uint64(nowMillis())
	if err := s.lives[id].May(policy.ActAmend, n.org, now); err != nil {
		return protocol.AgreementID{}, err
	}
	next := a.Agreement.Agreement
	next.Previous, next.NotBefore, next.NotAfter = id, max(a.NotAfter, now), until
	if until <= next.NotBefore {
		return protocol.AgreementID{}, fmt.Errorf("a renewal ends later than what it renews, which is in force until %s", millis(a.NotAfter).Format(time.DateOnly))
	}
	next.Parties, next.Terms = slices.Clone(next.Parties), slices.Clone(next.Terms)
	return n.Propose(next)
}

// Amendment returns a draft that amends an agreement and changes nothing yet, for a person to edit.
// It takes the place of the other from now on, not from its beginning: what was shared before is
// judged by what was agreed then.
func (n *Node) Amendment(id protocol.AgreementID) (*protocol.Agreement, error) {
	s := n.snap.Load()
	a := s.agreements[id]
	if a == nil {
		return nil, fmt.Errorf("no agreement %s is known here: %w", id.Short(), ErrNotFound)
	}
	now := uint64(nowMillis())
	if err := s.lives[id].May(policy.ActAmend, n.org, now); err != nil {
		return nil, err
	}
	next := a.Agreement.Agreement
	next.Previous, next.NotBefore = id, max(a.NotBefore, now-now%1000)
	return &next, nil
}

// CheckDraft looks for what a person should see in a draft before it is signed: contradictions, what
// no record can pass, and whether this organisation may amend what it amends.
func (n *Node) CheckDraft(draft *protocol.Agreement) []policy.Finding {
	s := n.snap.Load()
	out := append(policy.CheckAgreement(draft, uint64(nowMillis())), policy.CheckHolders(draft, s.policy.Orgs)...)
	if err := n.mayAmend(s, draft, true); err != nil {
		out = append(out, policy.Finding{Severity: policy.SeverityError, Text: "it cannot amend the agreement that it names: " + err.Error()})
	}
	return out
}
