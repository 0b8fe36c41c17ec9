package node

import (
	"context"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// TEMPORARY: the lead's foundation; never committed.
type ChangeKind string

const (
	ChangeAdded     ChangeKind = "added"
	ChangeWithdrawn ChangeKind = "withdrawn"
	ChangeRestored  ChangeKind = "restored"
	ChangeErased    ChangeKind = "erased"
	ChangeGone      ChangeKind = "gone"
)

type Change struct {
	Cursor uint64            `json:"cursor"`
	Kind   ChangeKind        `json:"kind"`
	At     time.Time         `json:"at"`
	ID     protocol.RecordID `json:"id"`
	Record *Record           `json:"record,omitempty"`
}
type View struct{ Name string }

func (n *Node) View(name string) (*View, error)         { return &View{name}, nil }
func (n *Node) CursorAt(t time.Time) (uint64, error)     { return 1 << 62, nil }
func (r *Reader) Changes(view *View, after uint64, limit int) ([]Change, uint64, error) {
	recs, err := r.n.Records(after, limit)
	var out []Change
	next := after
	see := r.sees("export")
	for i := range recs {
		next = recs[i].Cursor
		if see(&recs[i]) {
			out = append(out, Change{Cursor: recs[i].Cursor, Kind: ChangeAdded, At: recs[i].Received, ID: recs[i].ID, Record: &recs[i]})
		}
	}
	return out, next, err
}
func (r *Reader) Follow(ctx context.Context, view *View, after uint64, detail string, send func(*Change) error, idle func()) error {
	return nil
}
