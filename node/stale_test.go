package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
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

// TestKeysOfAClosedFeedAreNotLost: a feed is closed, by a crash or a restore, while a reader
// waits for its key; what it holds comes to that reader in the next one, with what was
// withdrawn meanwhile.
func TestKeysOfAClosedFeedAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Reader")
		author, reader := nodes[0], nodes[1]
		trustEachOther(t, author, reader)
		doc := testAgreement(author, reader, protocol.TLPAmber, "*")
		doc.NotAfter += 100 * 24 * 3600 * 1000
		agreeOn(t, author, reader, doc)
		time.Sleep(31 * 24 * time.Hour)
		// The author has not noticed yet that the card ended: it counts the reader in.
		rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", policy.Flags{TLP: protocol.TLPGreen, RetentionDays: 10})
		if err := author.Withdraw(context.Background(), rec.Records[1:2], "wrong"); err != nil {
			t.Fatal(err)
		}
		s := author.snap.Load()
		topic := protocol.NewTopicID(s.network, "c2")
		// One whose key was lost, as what a restored store gets back from peers.
		if err := author.append("c2", func(a *appender) error {
			h := a.header(protocol.EntryWithdraw)
			w := &protocol.WithdrawBody{Version: 1, SealedAt: a.sealedAt, Reason: "lost", Records: rec.Records[:1]}
			sealed, err := crypto.SealBody(h.SealContext(s.network), h.Feed, h.Seq, []crypto.EpochKey{crypto.EpochKeyOf([32]byte{9})}, protocol.Encode(w))
			if err != nil {
				return err
			}
			return a.add(protocol.EntryWithdraw, sealed)
		}); err != nil {
			t.Fatal(err)
		}
		err := author.st.Update(func(tx *store.Tx) error {
			f, err := author.ownFeed(tx, s.network, topic)
			if err == nil {
				_, err = author.closeFeed(tx, topic, f.Origin.Incarnation, "test")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * 24 * time.Hour)
		if err := reader.renewCard(func(*protocol.Card) bool { return false }); err != nil {
			t.Fatal(err)
		}
		shareSets(t, reader, author)
		for range 2 { // the second time nothing is left to do
			if err := author.grantLate(); err != nil {
				t.Fatal(err)
			}
			if err := author.moveLate(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		carryNew(t, author, reader)
		recs, _, err := reader.Search(Query{Limit: 10, Withdrawn: true})
		if err != nil || len(recs) != 3 {
			t.Fatalf("the reader shows %d records, %v", len(recs), err)
		}
		for _, r := range recs {
			if r.Withdrawn != (r.ID == rec.Records[1]) {
				t.Errorf("record %v is withdrawn: %v", r.ID, r.Withdrawn)
			}
		}
		if got := ownTopic(t, author).Seq; got > 4 {
			t.Errorf("the next feed has %d entries", got)
		}
		// Seven days are left of ten, not ten again.
		time.Sleep(7*24*time.Hour + time.Minute)
		if err := reader.expire(); err != nil {
			t.Fatal(err)
		}
		if recs, _, err := reader.Search(Query{Limit: 10, Withdrawn: true}); err != nil || len(recs) != 0 {
			t.Errorf("%d records are shown past their retention, %v", len(recs), err)
		}
	})
}

// TestKeyComesAfterAnotherPartyLeft: who waits for a key gets it also when the agreement with
// another of its audience ended meanwhile, and nothing is published any more.
func TestKeyComesAfterAnotherPartyLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Leaver", "Reader")
		author, leaver, reader := nodes[0], nodes[1], nodes[2]
		var ids []protocol.AgreementID
		for _, n := range nodes[1:] {
			trustEachOther(t, author, n)
			doc := testAgreement(author, n, protocol.TLPAmber, "*")
			doc.NotAfter += 100 * 24 * 3600 * 1000
			ids = append(ids, agreeOn(t, author, n, doc))
		}
		time.Sleep(31 * 24 * time.Hour)
		publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		if err := author.Terminate(ids[0], "test", 0); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes[1:] {
			if err := n.renewCard(func(*protocol.Card) bool { return false }); err != nil {
				t.Fatal(err)
			}
			shareSets(t, n, author)
		}
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		carryNew(t, author, reader)
		carryNew(t, author, leaver)
		if !reads(t, reader, "198.51.100.1") || reads(t, leaver, "198.51.100.1") {
			t.Errorf("the reader reads it: %v, who left: %v", reads(t, reader, "198.51.100.1"), reads(t, leaver, "198.51.100.1"))
		}
	})
}

// TestI1LateKeyOfWhatIsForNobodyElse: what was published for no other organisation while the
// own card was not fresh is read by a sibling that had it before it was given the key.
func TestI1LateKeyOfWhatIsForNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := testNetwork(t, "Police", "Other")[0]
		second := testSibling(t, first)
		time.Sleep(31 * 24 * time.Hour)
		if err := first.change(func(*store.Tx) error { return nil }); err != nil { // as it does every hour
			t.Fatal(err)
		}
		publishList(t, first, "203.0.113.1\n", policy.Flags{TLP: protocol.TLPGreen})
		carryNew(t, first, second)
		if reads(t, second, "203.0.113.1") {
			t.Fatal("a key went out against a card that is not fresh")
		}
		if err := first.renewCard(func(*protocol.Card) bool { return false }); err != nil {
			t.Fatal(err)
		}
		if err := first.grantLate(); err != nil {
			t.Fatal(err)
		}
		carryNew(t, first, second)
		if !reads(t, second, "203.0.113.1") {
			t.Error("the sibling was given the key, and does not read what it had before")
		}
	})
}
