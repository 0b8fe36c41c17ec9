package node

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// WhatIf says of one record who may have it under the agreements as they stand at a time, and who
// might if another one were signed: own records from us, received ones passed on by us. Cards and
// members are those of now.
type WhatIf struct {
	Record Record      `json:"record"`
	Own    bool        `json:"own"`
	At     time.Time   `json:"at"`
	Title  string      `json:"planned,omitempty"` // of the agreement that would be signed
	Orgs   []WhatIfOrg `json:"organisations"`
}

// WhatIfOrg is the answer about one organisation.
type WhatIfOrg struct {
	Held    Verdict  `json:"held"`              // by the agreements that are signed
	Planned *Verdict `json:"planned,omitempty"` // with the planned one too
}

// WhatIf decides about a record at a time, Unix milliseconds, and again as if planned, which may be
// nil, were signed and in force then. With only set, what concerns that organisation. Nothing is
// written.
func (n *Node) WhatIf(id protocol.RecordID, only *protocol.OrgID, at uint64, planned *protocol.Agreement) (*WhatIf, error) {
	if err := n.usable(); err != nil {
		return nil, err
	}
	if planned != nil && !slices.Contains(planned.Parties, n.org) {
		return nil, errors.New("this organisation is not a party of the draft")
	}
	s := n.snap.Load()
	var e *corpus.Entry
	if err := n.viewIndex(func(tx *store.Tx) (err error) { e, err = n.getEntry(tx, id); return err }); err != nil {
		return nil, err
	}
	out := &WhatIf{Record: n.record(s, e), Own: e.Publisher == n.org, At: millis(at)}
	subj := &policy.Subject{Originator: e.Originator, Publisher: e.Publisher, Handling: e.Handling, Topic: e.Topic, Kind: e.Type, Confidence: confidenceOf(e.Object), Principal: e.Form.Principal}
	if !out.Own {
		subj.Bounds = n.boundsOf(s, e.Feed)
	}
	decide := func(state *policy.State, org protocol.OrgID) policy.Decision {
		return policy.DecideOnward(state, org, subj, at)
	}
	if out.Own {
		subj.RecordedAt = at
		decide = func(state *policy.State, org protocol.OrgID) policy.Decision {
			return policy.Decide(state, n.org, org, subj, at)
		}
	}
	plan := s.policy
	if planned != nil {
		out.Title, plan = planned.Title, s.policy.Planned(planned, at)
	}
	orgs := slices.Concat(s.policy.Receivers(n.org), plan.Receivers(n.org), e.Handling.Named)
	if only != nil {
		orgs = []protocol.OrgID{*only}
	}
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	for _, o := range slices.Compact(orgs) {
		if o == n.org || o == e.Originator || o == e.Publisher {
			continue
		}
		w := WhatIfOrg{Held: s.verdict(o, decide(s.policy, o))}
		if planned != nil {
			v := s.verdict(o, decide(plan, o))
			w.Planned = &v
		}
		out.Orgs = append(out.Orgs, w)
	}
	slices.SortFunc(out.Orgs, func(a, b WhatIfOrg) int {
		return strings.Compare(a.Held.Org.Name+a.Held.Org.ID.String(), b.Held.Org.Name+b.Held.Org.ID.String())
	})
	return out, nil
}
