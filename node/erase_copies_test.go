package node

import (
	"testing"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// TestI1DueInATopicThatWasLeft: a node left the topic of an entry out of which a record is due; what
// shares the entry is sealed anew in that topic, and there for its readers once the node is back.
func TestI1DueInATopicThatWasLeft(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, first)
	meet(t, first, second)
	eraseValue(t, first, "203.0.113.1")
	if err := first.LeaveTopic("c2"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	shareErases(t, first, partner)
	carryNew(t, second, partner) // it had not got it
	if err := first.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	carryNew(t, first, partner)
	if err := first.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if f.Origin.Topic == protocol.NewTopicID(first.snap.Load().network, "") {
				t.Errorf("a feed of no topic was begun, %d entries", f.Seq)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	if reads(t, partner, "203.0.113.1") || !reads(t, partner, "203.0.113.2") {
		t.Error("the partner reads what was erased, or lost what was with it")
	}
}
