package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestSurvivorsWaitForAFreshCard: a reader that was away for a month, so that its card is not
// fresh, does not lose what shared an entry with a record that is erased meanwhile.
func TestSurvivorsWaitForAFreshCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Reader")
		author, reader := nodes[0], nodes[1]
		trustEachOther(t, author, reader)
		doc := testAgreement(author, reader, protocol.TLPAmber, "*")
		doc.NotAfter += 100 * 24 * 3600 * 1000
		agreeOn(t, author, reader, doc)
		rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
		time.Sleep(31 * 24 * time.Hour)
		if err := author.change(func(*store.Tx) error { return nil }); err != nil { // as it does every hour
			t.Fatal(err)
		}
		if _, err := author.Erase(context.Background(), EraseRequest{Records: rec.Records[:1], Reason: protocol.EraseLegal}); err != nil {
			t.Fatal(err)
		}
		shareErases(t, author, reader)
		carryNew(t, author, reader)
		if err := reader.renewCard(func(*protocol.Card) bool { return false }); err != nil {
			t.Fatal(err)
		}
		shareSets(t, reader, author)
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		carryNew(t, author, reader)
		if reads(t, reader, "198.51.100.1") || !reads(t, reader, "198.51.100.2") {
			t.Error("the reader reads what was erased, or not what survived")
		}
	})
}

// shareErases gives the erases that from holds to another.
func shareErases(t *testing.T, from, to *Node) {
	t.Helper()
	items, err := (&view{n: from}).Items(from.evidence.hashes())
	if err == nil {
		_, err = to.takeErases(items.Erases)
	}
	if err != nil {
		t.Fatal(err)
	}
}
