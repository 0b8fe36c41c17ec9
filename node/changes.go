package node

import (
	"context"
	"errors"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// ChangeKind says what became of a record.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAdded     ChangeKind = "added"
	ChangeWithdrawn ChangeKind = "withdrawn" // the record is still shown, and marked
	ChangeRestored  ChangeKind = "restored"  // its withdrawal does not count any more
	ChangeErased    ChangeKind = "erased"    // for ever: who has copies is to destroy them
	ChangeGone      ChangeKind = "gone"      // set aside, as its entry was; it may come again as added, under another cursor
)

// Change is something that happened to a record that this organisation may read. Cursors rise, are
// never given twice, and stay good for ever: across restarts, and in a backup.
type Change struct {
	Cursor uint64            `json:"cursor"`
	Kind   ChangeKind        `json:"kind"`
	At     time.Time         `json:"at"` // in microseconds; rises with Cursor, whatever the clock does
	ID     protocol.RecordID `json:"id"`
	Record *Record           `json:"record,omitempty"` // as it stands now; nil if it was erased or is gone

	class *Record // of what was erased or is gone: who may learn of it
}

// About returns what rules look at: the record, or, if that is gone, what is kept of it, with the cursor
// under which it came and without object and STIX id.
func (c *Change) About() *Record {
	if c.Record != nil {
		return c.Record
	}
	return c.class
}

func stampTime(stamp uint64) time.Time {
	if stamp == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(stamp)).UTC()
}

// Changes returns at most limit changes after a cursor, in order, and the cursor to go on from: the
// one given if there is nothing more for now. Records that came and are gone again are not among them.
func (n *Node) Changes(after uint64, limit int) (list []Change, next uint64, err error) {
	if err := n.usable(); err != nil {
		return nil, 0, err
	}
	s := n.snap.Load()
	err = n.viewIndex(func(tx *store.Tx) error {
		list = nil
		found, at, err := n.index.Changes(tx, after, limit)
		if err != nil {
			return err
		}
		next = at
		reader := n.recordReader(tx, s)
		for i := range found {
			c, err := reader.change(&found[i])
			if err != nil {
				return err
			}
			list = append(list, c)
		}
		return nil
	})
	return list, next, err
}

func (r *recordReader) change(c *corpus.Change) (Change, error) {
	out := Change{Cursor: c.Cursor, Kind: ChangeKind(c.Kind.String()), At: stampTime(c.Stamp), ID: c.Record}
	if c.Entry != nil {
		rec, err := r.record(c.Entry)
		out.Record = &rec
		return out, err
	}
	out.class = &Record{ID: c.Record, Cursor: c.Class.Added, Type: c.Class.Type, Topic: c.Class.Topic, Originator: r.s.ref(c.Class.Originator), Publisher: r.s.ref(c.Class.Publisher), handling: &c.Class.Handling}
	if c.Class.Principal != (protocol.OrgID{}) {
		out.class.OnBehalf = &BehalfView{Principal: r.s.ref(c.Class.Principal)}
	}
	return out, nil
}

// CursorAt returns the greatest cursor whose time is not later than t; 0 if there is none.
func (n *Node) CursorAt(t time.Time) (cursor uint64, err error) {
	if t.UnixMicro() <= 0 {
		return 0, nil
	}
	err = n.viewIndex(func(tx *store.Tx) (err error) {
		cursor, err = corpus.CursorAt(tx, uint64(t.UnixMicro()))
		return err
	})
	return cursor, err
}

// Changes is Node.Changes of what the reader may read and export, and a view holds; nil: all. Of a
// record that is gone it tells whoever might have read it. There may be more although none are
// returned: who wants all goes on from next until it stays.
func (r *Reader) Changes(view *View, after uint64, limit int) (list []Change, next uint64, err error) {
	all, next, err := r.n.Changes(after, limit)
	see := r.sees(rules.Export)
	for i := range all {
		c := &all[i]
		about := c.About()
		if see(about) && view.holds(about, c.Record == nil) {
			list = append(list, *c)
		}
	}
	return list, next, err
}

// changesPage is how many changes a stream reads at a time.
const changesPage = 256

// Follow gives send all changes after a cursor that the reader may see and a view holds, in order, and
// goes on with those that come until ctx ends. Idle is called whenever there are no more for now. What
// it gives is noted as a hand-out, which detail describes: of what, for whom; who comes back with the same
// detail goes on with the same hand-out.
func (r *Reader) Follow(ctx context.Context, view *View, after uint64, detail string, send func(*Change) error, idle func()) error {
	if err := r.n.usable(); err != nil {
		return err
	}
	h, err := r.n.handOn(ctx, handoutStream, detail, after)
	if err != nil {
		return err
	}
	sent := uint64(0)
	for {
		changed := r.n.Changed()
		for {
			page, next, err := r.Changes(view, after, changesPage)
			if err == nil {
				err = h.reach(page)
			}
			for i := range page {
				if err == nil {
					err = send(&page[i])
					sent++
				}
				if err != nil {
					return errors.Join(err, h.end(page[i].Cursor, sent))
				}
			}
			if err != nil {
				return errors.Join(err, h.end(after, sent))
			}
			if next == after || ctx.Err() != nil {
				break
			}
			after = next
		}
		idle()
		select {
		case <-ctx.Done():
			return h.end(after, sent)
		case <-changed:
		}
	}
}
