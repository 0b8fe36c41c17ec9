package node

import (
	"testing"
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
