package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Submission is objects that somebody, or something, hands in to be published.
type Submission struct {
	Topic  string
	Items  []intake.Item
	Flags  policy.Flags // handling where the source states none; it narrows what the source states
	Source string       // where it comes from, for the audit: "taxii siem"
}

// SubmitState is what became of an object that was handed in.
type SubmitState string

// The states.
const (
	SubmitPublished SubmitState = "published"
	SubmitHeld      SubmitState = "held"    // this organisation published the same object already, for the same
	SubmitRefused   SubmitState = "refused" // by the reason
)

// SubmitResult is what became of one object.
type SubmitResult struct {
	StixID string            `json:"stix_id"`
	ID     protocol.RecordID `json:"id,omitzero"` // of the record, if it is published
	State  SubmitState       `json:"state"`
	Reason string            `json:"reason,omitempty"`
}

// Submitted says what became of a submission.
type Submitted struct {
	Results []SubmitResult // one for each item, in order
	Receipt *Receipt       // nil: nothing was published
}

// maxSubmitTries bounds how often a submission is decided anew because agreements changed meanwhile.
const maxSubmitTries = 5

// Submit publishes what is handed in, through the gate that all records pass: what may go out goes,
// and of the rest it is said why not. What this organisation published already, byte for byte, in the
// same topic and with the same handling, is not published again. When it returns without an error,
// what it says was published is durable; with an error, nothing was published.
func (n *Node) Submit(ctx context.Context, who *rules.Principal, sub Submission) (*Submitted, error) {
	c := CallerOf(ctx)
	if c.Person == "" && who != nil {
		c.Person = who.ID
	}
	if sub.Source != "" {
		c.Purpose = sub.Source
	}
	ctx = WithCaller(ctx, c)
	for try := 1; ; try++ {
		out, err := n.submit(ctx, who, &sub)
		if !errors.Is(err, ErrStale) || try == maxSubmitTries || ctx.Err() != nil {
			return out, err
		}
	}
}

func (n *Node) submit(ctx context.Context, who *rules.Principal, sub *Submission) (*Submitted, error) {
	out := &Submitted{Results: make([]SubmitResult, len(sub.Items))}
	if err := n.KeepCreated(sub.Items); err != nil {
		return nil, err
	}
	left, places, same, err := n.notHeld(sub, out.Results)
	if err != nil {
		return nil, err
	}
	if len(left) == 0 {
		return out, n.checkTopic(n.snap.Load(), sub.Topic)
	}
	req := PublishRequest{Topic: sub.Topic, Items: left, Flags: sub.Flags}
	plan, err := n.Plan(req)
	if err != nil {
		return nil, err
	}
	if err := n.MayPublish(who, plan); err != nil {
		return nil, err
	}
	req.Generation = plan.Generation
	if plan.Records > 0 {
		if out.Receipt, err = n.Publish(ctx, req); err != nil {
			return nil, err
		}
		plan = out.Receipt.Plan
	}
	refused := map[int]string{}
	for _, r := range plan.Refused {
		refused[r.Index] = r.Reason
	}
	at := 0
	for i := range left {
		res := &out.Results[places[i]]
		if why, ok := refused[i]; ok {
			res.State, res.Reason = SubmitRefused, why
			continue
		}
		if at >= len(out.Receipt.Records) {
			return nil, fmt.Errorf("the receipt names %d records, and more were published", len(out.Receipt.Records))
		}
		res.State, res.ID = SubmitPublished, out.Receipt.Records[at]
		at++
	}
	for i, first := range same {
		res := &out.Results[i]
		if of := &out.Results[first]; of.State == SubmitRefused {
			*res = *of
		} else {
			res.State, res.ID, res.Reason = SubmitHeld, of.ID, "it stands in the same submission before"
		}
	}
	return out, nil
}

// notHeld returns the items that this organisation has not published yet, and their places, and says of
// the others that it has. same are those that stand in the submission before, with the same bytes and
// handling, and the places of the first: what becomes of that becomes of them.
func (n *Node) notHeld(sub *Submission, results []SubmitResult) (left []intake.Item, places []int, same map[int]int, err error) {
	type told struct{ raw, handling string }
	seen := map[told]int{} // objects of this submission
	err = n.viewIndex(func(tx *store.Tx) error {
		find := n.index.ByStixIDs(tx)
		left, places, same = nil, nil, map[int]int{}
		clear(seen)
		for i := range sub.Items {
			it := &sub.Items[i]
			results[i] = SubmitResult{StixID: it.Object.ID}
			stated := it.Handling
			stated.Normalise()
			as := told{string(it.Object.Raw), string(protocol.Encode(&stated))}
			if first, ok := seen[as]; ok {
				same[i] = first
				continue
			}
			h, err := policy.Narrow(it.Handling, sub.Flags)
			if err == nil {
				h.Normalise()
				versions, verr := find(it.Object.ID)
				if verr != nil {
					return verr
				}
				for v := range versions {
					e := &versions[v]
					if e.Originator == n.org && e.Publisher == n.org && e.Topic == sub.Topic && !e.Withdrawn && bytes.Equal(e.Object, it.Object.Raw) &&
						bytes.Equal(protocol.Encode(&e.Handling), protocol.Encode(&h)) {
						results[i].State, results[i].ID, results[i].Reason = SubmitHeld, e.Record, "it is published already"
						break
					}
				}
			}
			if results[i].State == "" {
				seen[as] = i
				left, places = append(left, *it), append(places, i)
			}
		}
		return nil
	})
	return left, places, same, err
}
