package node

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// TestI2RemovedSiblingThatWasNeverGranted: a node that had its keys from its siblings only,
// because the publisher never saw it on the card, opens nothing new once it is removed.
func TestI2RemovedSiblingThatWasNeverGranted(t *testing.T) {
	first, _, partner := siblingWorld(t)
	publishList(t, partner, "198.51.100.1\n", amber())
	publishList(t, first, "203.0.113.1\n", amber())
	carryNew(t, partner, first)
	third := testSibling(t, first) // of which the partner hears nothing
	shareSets(t, partner, third)
	carryNew(t, first, third)
	carryNew(t, partner, third)
	compareWith(t, third, first)
	if !reads(t, third, "198.51.100.1") || !reads(t, third, "203.0.113.1") {
		t.Fatal("a new node does not read what its organisation may read")
	}
	if _, err := first.RemoveNode(third.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	publishList(t, partner, "198.51.100.2\n", amber())
	publishList(t, first, "203.0.113.2\n", amber())
	carryNew(t, partner, third)
	carryNew(t, first, third)
	if reads(t, third, "198.51.100.2") || reads(t, third, "203.0.113.2") {
		t.Error("a removed node opens what was published afterwards with a key that its siblings gave it")
	}
}

// TestSiblingsThatStayDifferent: two that can never hold the same do not compare without end.
func TestSiblingsThatStayDifferent(t *testing.T) {
	first, second, _ := siblingWorld(t)
	net := &network{n: first, syncs: make(chan protocol.NodeID, 8), dirty: make(chan struct{}, 1), siblings: map[protocol.NodeID]siblingMark{}}
	ask := func(m byte) {
		t.Helper()
		parts := make([]protocol.Hash, siblingParts)
		parts[0][0] = m
		if _, err := net.serve(context.Background(), second.ID(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncSiblings, Hashes: parts}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		ask(1)
	}
	if len(net.syncs) != 1 {
		t.Errorf("asked three times with the same difference, it compares %d times on its own account, want once", len(net.syncs))
	}
	ask(2)
	if len(net.syncs) != 2 {
		t.Error("what changed at a sibling is not looked at")
	}
}

// TestRemovedFeedsEndAfterACrash: a crash between ending a feed and setting aside what came
// after is made good at the next start.
func TestRemovedFeedsEndAfterACrash(t *testing.T) {
	first, second, partner := siblingWorld(t)
	rec := publishList(t, second, "203.0.113.1\n", amber())
	carryNew(t, second, first)
	publishList(t, second, "203.0.113.2\n", amber())
	carryNew(t, second, partner)
	if _, err := first.RemoveNode(second.ID(), true); err != nil {
		t.Fatal(err)
	}
	// What a crash leaves of it: the card, and the feed's end.
	card := first.OwnCard()
	if _, err := partner.changeState(func(tx *store.Tx) error { return partner.keepCard(tx, card) }); err != nil {
		t.Fatal(err)
	}
	if err := partner.st.Update(func(tx *store.Tx) error {
		f, err := tx.Feed(rec.Feed)
		if err == nil {
			f.Frozen = rec.To + 1
			err = tx.PutFeed(f)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := partner.endRemoved(); err != nil { // as at a start
		t.Fatal(err)
	}
	if reads(t, partner, "203.0.113.2") || !reads(t, partner, "203.0.113.1") {
		t.Error("what a removed node wrote after its end is shown after a crash")
	}
}

// TestCardChangesDoNotOverwriteEachOther: nodes that are approved at the same time all stand
// on the card, and a renewal takes nobody off it or puts anybody back.
func TestCardChangesDoNotOverwriteEachOther(t *testing.T) {
	n := testNode(t, "Police")
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		r := requestOf(t, n.Org())
		wg.Go(func() {
			if _, err := n.ApproveNode(&r.Signed, strings.Join(r.Words(), " ")); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := n.renewCard(func(c *protocol.Card) bool { return true }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := n.OwnCard(); len(got.Nodes) != 9 || got.Order.Serial != 17 {
		t.Errorf("the card lists %d nodes of 9 at version %d of 17", len(got.Nodes), got.Order.Serial)
	}
}
