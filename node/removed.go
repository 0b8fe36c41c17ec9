package node

import (
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// The card that removes a node says which entries of it count. What comes after them is
// refused; what was taken before the card came is taken out again, so that all who hold the
// card hold the same of the node.

// removedReason is the reason noted for entries after the last that counts.
const removedReason = "removed"

// lastOf returns up to which seq entries of a feed count: all of them, unless its node was
// removed.
func (s *snapshot) lastOf(o *protocol.Origin, feed protocol.FeedID) uint64 {
	sg := s.signers[o.Signing]
	if !sg.removed {
		return protocol.MaxSeq
	}
	for _, h := range sg.heads {
		if h.Feed == feed {
			return h.Seq
		}
	}
	return 0
}

// endRemoved ends the feeds of removed nodes where their organisations' cards say. It is safe
// to do it again.
func (n *Node) endRemoved() error {
	s := n.snap.Load()
	ends := map[protocol.FeedID]uint64{}
	again := map[protocol.FeedID]bool{} // a crash may have come between ending it and setting aside
	err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			last := s.lastOf(&f.Origin, f.ID)
			if f.Seq > last {
				ends[f.ID], again[f.ID] = last, f.Frozen != 0 && f.Frozen <= last+1
			}
			return nil
		})
	})
	for feed, last := range ends {
		if err != nil {
			break
		}
		if !again[feed] {
			n.log.Warn("a node was removed by its organisation; what it wrote after its last entry that counts is set aside", "feed", feed, "last", last)
		}
		err = n.endFeed(feed, last+1, removedReason, fmt.Sprintf("its organisation removed the node that wrote this, and counts its entries up to %d", last))
	}
	return err
}

// endFeed ends a feed before an entry: what was taken over from there on is taken out and set
// aside, with a reason. Its entries stay in the store, as evidence.
func (n *Node) endFeed(feed protocol.FeedID, at uint64, reason, text string) error {
	var from, last uint64
	err := n.st.Update(func(tx *store.Tx) error {
		f, err := tx.Feed(feed)
		if err != nil || f == nil {
			return err
		}
		last = f.Opened
		from = at
		if f.Frozen != 0 && f.Frozen <= at {
			from = f.Frozen
			return nil
		}
		f.Frozen = at
		return tx.PutFeed(f)
	})
	if err != nil || last == 0 {
		return err
	}
	for seq := from; seq <= last; seq++ {
		if err := n.st.Update(func(tx *store.Tx) error { return n.setAside(tx, feed, seq, reason, text) }); err != nil {
			return fmt.Errorf("setting aside entry %d of feed %s: %w", seq, feed.Short(), err)
		}
	}
	n.forgetIndex()
	return nil
}

// removesMore reports whether a snapshot has removed nodes that another had not, or ends them
// elsewhere.
func (s *snapshot) removesMore(than *snapshot) bool {
	for k, sg := range s.signers {
		if sg.removed && (than == nil || !than.signers[k].removed || !slices.Equal(sg.heads, than.signers[k].heads)) {
			return true
		}
	}
	return false
}
