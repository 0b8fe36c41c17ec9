package node

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// bodyHeld reports whether a node holds the sealed body of an entry.
func bodyHeld(t testing.TB, n *Node, place protocol.EntryRef) (has bool) {
	t.Helper()
	if err := n.st.View(func(tx *store.Tx) (err error) { has, err = tx.Has(place.Feed, place.Seq); return err }); err != nil {
		t.Fatal(err)
	}
	return has
}

// areDue checks how many records are still to be erased for everybody, as a node sees it.
func areDue(t testing.TB, n *Node, want int) {
	t.Helper()
	if left, err := n.pendingErasures(); err != nil || left != want {
		t.Errorf("%d records are left to be erased at %s, want %d; %v", left, n.ID(), want, err)
	}
}

// closeTopic has a node begin another feed, as after a fork or a restore.
func closeTopic(t testing.TB, n *Node) {
	t.Helper()
	f := ownTopic(t, n)
	if err := n.st.Update(func(tx *store.Tx) error {
		_, err := n.closeFeed(tx, f.Origin.Topic, f.Origin.Incarnation, "test")
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestI5EveryCopyIsErased: a record that was sealed anew stands in two entries; its author erases
// it from both, its readers and relays keep neither body, and what shared them is kept once.
func TestI5EveryCopyIsErased(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
	first := protocol.EntryRef{Feed: rec.Feed, Seq: rec.To}
	closeTopic(t, author)
	if err := author.resealEntry(Caller{}, rec.Feed, rec.To, "c2"); err != nil {
		t.Fatal(err)
	}
	f := ownTopic(t, author)
	second := protocol.EntryRef{Feed: f.ID, Seq: f.Seq}
	syncBoth(t, nodes...)
	for _, n := range nodes {
		if !bodyHeld(t, n, first) || !bodyHeld(t, n, second) {
			t.Fatal("the record does not stand in two entries")
		}
	}
	rep, err := author.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, author, "198.51.100.1")}, Reason: protocol.EraseLegal})
	if err != nil || rep.Erased != 1 || rep.Entries != 2 || rep.Signed != 2 || rep.Resealed != 1 || rep.Local != 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	syncBoth(t, nodes...)
	for _, n := range nodes {
		if bodyHeld(t, n, first) || bodyHeld(t, n, second) {
			t.Errorf("%s keeps a sealed copy of what was erased", n.snap.Load().name(n.org))
		}
	}
	for _, n := range nodes[:2] {
		if reads(t, n, "198.51.100.1") || !reads(t, n, "198.51.100.2") {
			t.Errorf("%s reads what was erased, or lost what shared its entries", n.snap.Load().name(n.org))
		}
	}
	areDue(t, author, 0)
}

// TestI5ReaderDestroysEveryCopy: a reader erases for itself, wherever the record came from.
func TestI5ReaderDestroysEveryCopy(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n", green)
	closeTopic(t, author)
	if err := author.resealEntry(Caller{}, rec.Feed, rec.To, "c2"); err != nil {
		t.Fatal(err)
	}
	f := ownTopic(t, author)
	syncBoth(t, nodes...)
	eraseValue(t, reader, "198.51.100.1")
	for _, place := range []protocol.EntryRef{{Feed: rec.Feed, Seq: rec.To}, {Feed: f.ID, Seq: f.Seq}} {
		if bodyHeld(t, reader, place) {
			t.Errorf("the reader keeps the sealed body of entry %d", place.Seq)
		}
	}
	if !reads(t, author, "198.51.100.1") {
		t.Error("the author lost its record")
	}
}

// TestI1WhatIsSetAsideIsTakenFromElsewhere: a reader has a record from two entries; the one that
// it shows it from turns out not to count.
func TestI1WhatIsSetAsideIsTakenFromElsewhere(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n", green)
	syncBoth(t, nodes...)
	closeTopic(t, author)
	if err := author.resealEntry(Caller{}, rec.Feed, rec.To, "c2"); err != nil {
		t.Fatal(err)
	}
	f := ownTopic(t, author)
	syncBoth(t, nodes...)
	if got := theRecord(t, reader, "198.51.100.1"); got.Feed != rec.Feed {
		t.Fatalf("the record is shown from feed %s", got.Feed)
	}
	if err := reader.endFeed(rec.Feed, rec.To, forkReason, "test"); err != nil {
		t.Fatal(err)
	}
	if err := reader.gate.drain(); err != nil {
		t.Fatal(err)
	}
	if got := theRecord(t, reader, "198.51.100.1"); got.Feed != f.ID || got.Seq != f.Seq {
		t.Errorf("the record is shown from entry %d of feed %s", got.Seq, got.Feed)
	}
	// It is erased from there, and the body that was set aside goes too.
	eraseValue(t, author, "198.51.100.1")
	syncBoth(t, nodes...)
	if reads(t, reader, "198.51.100.1") || bodyHeld(t, reader, protocol.EntryRef{Feed: rec.Feed, Seq: rec.To}) {
		t.Error("what was erased is read, or its sealed copy was kept where it had been set aside")
	}
}

// TestI5WhatComesAfterItWasErased: a node hears from a sibling that a record of a third was erased
// before it holds the entry. It erases it for everybody once it answers for the entry.
func TestI5WhatComesAfterItWasErased(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	third := enrolledNode(t, first)
	shareSets(t, first, partner, second, third)
	shareSets(t, partner, third)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, partner)
	compareWith(t, third, first)
	carryNew(t, second, third)
	compareWith(t, third, second)
	eraseValue(t, third, "203.0.113.1")
	compareWith(t, first, third)
	carryNew(t, second, first)
	compareWith(t, first, second)
	areDue(t, first, 1)
	if reads(t, first, "203.0.113.1") {
		t.Fatal("the node reads what was erased before it came")
	}
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner, third)
	shareErases(t, first, partner)
	carryNew(t, first, partner)
	if reads(t, partner, "203.0.113.1") || !reads(t, partner, "203.0.113.2") || !reads(t, first, "203.0.113.2") {
		t.Error("the partner reads what was erased, or somebody lost what was with it")
	}
	areDue(t, first, 0)
	shareErases(t, first, third)
	if err := third.carryOutErasures(); err != nil {
		t.Fatal(err)
	}
	areDue(t, third, 0)
}

// TestI5WhatWasThoughtToSurvive: a node erases one record, and what it sealed anew of the others
// is lost with it. Another of them, that its organisation erased, is named all the same.
func TestI5WhatWasThoughtToSurvive(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n203.0.113.3\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	meet(t, first, second)
	eraseValue(t, second, "203.0.113.1")
	shareErases(t, second, first)
	shareErases(t, second, partner)
	eraseValue(t, first, "203.0.113.2")
	areDue(t, first, 1)
	if !reads(t, partner, "203.0.113.2") {
		t.Fatal("the partner lost what was thought to survive")
	}
	if _, err := first.RemoveNode(second.ID(), true); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	shareErases(t, first, partner)
	if reads(t, partner, "203.0.113.2") || !reads(t, partner, "203.0.113.3") {
		t.Error("the partner reads what was erased, or lost what was with it")
	}
	areDue(t, first, 0)
}

// TestI4WithdrawalsOfARemovedNodeThatDoNotCount: who withdrew with the key of a removed node, after
// its end, withdrew nothing; what its people meant they say again.
func TestI4WithdrawalsOfARemovedNodeThatDoNotCount(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	meet(t, first, second)
	id := theRecord(t, second, "203.0.113.1").ID
	withdrawn := func(n *Node) bool {
		t.Helper()
		recs, _, err := n.Search(Query{Value: "203.0.113.1", Withdrawn: true})
		if err != nil || len(recs) != 1 {
			t.Fatalf("%d records, %v", len(recs), err)
		}
		return recs[0].Withdrawn
	}
	third := enrolledNode(t, first)
	shareSets(t, first, partner, second, third)
	shareSets(t, partner, third)
	carryNew(t, first, third)
	carryNew(t, second, third)
	compareWith(t, third, first)
	compareWith(t, third, second)
	if err := second.Withdraw(context.Background(), []protocol.RecordID{id}, "wrong"); err != nil {
		t.Fatal(err)
	}
	carryNew(t, second, third) // not to the first, which removes it
	carryNew(t, second, partner)
	if !withdrawn(third) || !withdrawn(partner) {
		t.Fatal("the withdrawal is not known")
	}
	if _, err := first.RemoveNode(second.ID(), true); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner, third)
	if withdrawn(third) || withdrawn(partner) || withdrawn(first) {
		t.Error("an entry that does not count withdraws a record")
	}
	count, err := third.ResealRemoved(t.Context(), second.ID())
	if err != nil || count != 1 || !withdrawn(third) {
		t.Errorf("%d entries were repeated, %v", count, err)
	}
	carryNew(t, third, partner)
	if !withdrawn(partner) {
		t.Error("the withdrawal was not repeated for the partner")
	}
}

// TestI1WithdrawalsOutliveAFork: what an author withdrew after a fork of its feed it withdraws again
// in the next.
func TestI1WithdrawalsOutliveAFork(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Other")
	author, reader, other := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	if err := author.Withdraw(context.Background(), []protocol.RecordID{recordOf(t, author, "198.51.100.1")}, "wrong"); err != nil {
		t.Fatal(err)
	}
	f := ownTopic(t, author)
	syncBoth(t, author, reader)
	var prev protocol.Hash
	if err := author.st.View(func(tx *store.Tx) (err error) { prev, err = author.hashAt(tx, f.ID, f.Seq-1); return err }); err != nil {
		t.Fatal(err)
	}
	env, err := crypto.SignEnvelope(author.snap.Load().network, f.Origin, protocol.EntryRecords, f.Seq, prev, []byte{1}, author.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries(t, author) {
		if e.Header.Feed != f.ID || e.Header.Seq < f.Seq {
			if _, err := other.gate.admit([]*crypto.VerifiedEnvelope{e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a, err := other.gate.admit([]*crypto.VerifiedEnvelope{env}); err != nil || a.Refused != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	syncBoth(t, nodes...)
	if fork := author.evidence.fork(f.ID); fork == nil || fork.Seq != f.Seq {
		t.Fatal("the fork was not found")
	}
	if err := author.resealForked(context.Background()); err != nil {
		t.Fatal(err)
	}
	syncBoth(t, nodes...)
	for _, n := range nodes[:2] {
		if recs, _, err := n.Search(Query{Value: "198.51.100.1", Withdrawn: true}); err != nil || len(recs) != 1 || !recs[0].Withdrawn {
			t.Errorf("%s does not show the record as withdrawn: %+v, %v", n.snap.Load().name(n.org), recs, err)
		}
	}
}

// TestI5ReadersThatNobodyKnows: a node was removed before it told for whom it published; what
// shared an entry with an erased record is kept, and the report says for whom.
func TestI5ReadersThatNobodyKnows(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	rep, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, first, "203.0.113.1").ID}, Reason: protocol.EraseLegal})
	if err != nil || rep.Resealed != 1 || !slices.ContainsFunc(rep.Beyond, func(b BeyondRow) bool { return strings.Contains(b.What, "before it told for whom") }) {
		t.Errorf("%+v, %v", rep, err)
	}
	shareSets(t, first, partner)
	shareErases(t, first, partner)
	carryNew(t, first, partner)
	if reads(t, partner, "203.0.113.1") || !reads(t, partner, "203.0.113.2") || !reads(t, first, "203.0.113.2") {
		t.Error("what was erased is read, or what was with it is lost by who had it")
	}
}
