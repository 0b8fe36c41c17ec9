package source

import (
	"context"
	"errors"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

// nodeHost is a source's node.
type nodeHost struct {
	n   *node.Node
	src *node.Source
}

func (h *nodeHost) submit(ctx context.Context, where string, items []intake.Item) ([]node.SubmitResult, error) {
	who, err := h.n.PrincipalOf(h.src)
	if err != nil {
		return nil, errors.New(err.Error()) // it is no fault of the objects: nothing is set aside for it
	}
	ctx = node.WithCaller(ctx, node.Caller{Person: who.ID})
	// What was erased here counts as held, and not as a dead letter: that would keep it once more.
	erased, err := h.n.ErasedHere(ctx, items)
	if err != nil {
		return nil, errors.New(err.Error())
	}
	out := make([]node.SubmitResult, len(items))
	var left []intake.Item
	var places []int
	for i := range items {
		if erased[i] {
			out[i] = node.SubmitResult{State: node.SubmitHeld, StixID: items[i].Object.ID, Reason: "it was erased here"}
			continue
		}
		left, places = append(left, items[i]), append(places, i)
	}
	if len(left) == 0 {
		return out, nil
	}
	done, err := h.n.Submit(ctx, who, node.Submission{Topic: h.src.Topic, Items: left, Flags: h.src.Flags, Source: "source " + h.src.Name})
	if err != nil {
		return nil, err
	}
	for i := range done.Results {
		out[places[i]] = done.Results[i]
	}
	return out, nil
}

func (h *nodeHost) commit(c *node.SourceCommit) error { return h.n.CommitSource(h.src, c) }

func (h *nodeHost) withdraw(ctx context.Context, ids []protocol.RecordID) (*Withdrawn, error) {
	out, now, err := h.n.WithdrawGone(ctx, h.src, ids)
	return &Withdrawn{out, now}, err
}

func (h *nodeHost) elsewhere(ids map[protocol.RecordID]bool) (map[protocol.RecordID]bool, error) {
	return h.n.KnownElsewhere(h.src.Name, ids)
}
