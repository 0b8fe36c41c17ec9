package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// TestI7RestoredNodeSignsNoSecondCard: data that is put back from before a card was signed in it
// comes up with that card: it signs no other of the same order, and no later one that forgets
// which node was removed.
func TestI7RestoredNodeSignsNoSecondCard(t *testing.T) {
	a, d, c := onDisk(t, "A")
	b, _, _ := onDisk(t, "B")
	intoOneNetwork(t, []*Node{a, b})
	second, _, _ := enrolOnDisk(t, a)
	old := d.Backup(simData)
	if _, err := a.RemoveNode(second.ID(), true); err != nil {
		t.Fatal(err)
	}
	last := a.OwnCard()
	shareSets(t, a, b)
	d.Restore(old, simData)
	d.Restart()
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.OwnCard(); got.Hash != last.Hash {
		t.Fatalf("it comes up with card %d, and signed card %d before its data was put back", got.Serial, last.Serial)
	}
	if err := n.renewCard(func(*protocol.Card) bool { return true }); err != nil {
		t.Fatal(err)
	}
	shareSets(t, n, b)
	got := b.Card(n.Org())
	if got.Serial != last.Serial+1 || b.snap.Load().conflicts[n.Org()] != 0 || len(got.Nodes) != 1 ||
		!slices.ContainsFunc(got.Removed, func(r protocol.RemovedNode) bool { return r.Node == second.ID() }) {
		t.Errorf("its next card is %+v, conflict: %v", got.Card, b.snap.Load().conflicts)
	}
}

// TestCardOutlivesACrash cuts the power at every step of removing a node: what is there after the
// restart is one card or the other, and no card of an order is signed twice.
func TestCardOutlivesACrash(t *testing.T) {
	t.Parallel()
	a, d, c := onDisk(t, "A")
	intoOneNetwork(t, []*Node{a})
	second, _, _ := enrolOnDisk(t, a)
	before := a.OwnCard().Serial
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	cutAtEveryStep(t, c, d, func(n *Node) {
		if _, err := n.RemoveNode(second.ID(), true); err != nil {
			panic(err)
		}
	}, func(n *Node, cut int) {
		card := n.OwnCard()
		if removed := len(card.Removed) == 1; card.Serial > before+1 || removed != (card.Serial == before+1) || n.snap.Load().conflicts[n.Org()] != 0 {
			t.Errorf("cut at step %d, the card is %d (before: %d), the node removed: %v", cut, card.Serial, before, removed)
		}
	})
}

// TestDamagedAnchoredCardIsNone: what stands beside the data directory in place of a card, and is
// none, or another's, or older, changes nothing.
func TestDamagedAnchoredCardIsNone(t *testing.T) {
	a, d, c := onDisk(t, "A")
	other, _, _ := onDisk(t, "B")
	intoOneNetwork(t, []*Node{a, other})
	first := a.OwnCard().Signed
	if err := a.renewCard(func(*protocol.Card) bool { return true }); err != nil {
		t.Fatal(err)
	}
	last := a.OwnCard()
	next := last.Card
	next.Serial++
	forged, err := crypto.SignCard(&next, other.op())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"nothing": {}, "noise": []byte(strings.Repeat("x", 100)), "another's": protocol.Encode(&other.OwnCard().Signed),
		"an older one": protocol.Encode(&first), "a forged one": protocol.Encode(&forged),
	} {
		if err := disk.Replace(d, simAnchor+"/card", content); err != nil {
			t.Fatal(err)
		}
		c.Disk = copyOf(d)
		n, err := Open(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n.OwnCard().Hash != last.Hash {
			t.Errorf("%s: the card is %d now", name, n.OwnCard().Serial)
		}
	}
}
