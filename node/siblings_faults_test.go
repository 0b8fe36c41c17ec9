package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/disk"
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

// takes gives items to a node and returns the generations that this made.
func takes(t *testing.T, n *Node, kind protocol.SiblingKind, contents ...any) uint64 {
	t.Helper()
	before := n.snap.Load().generation
	var raws [][]byte
	for _, c := range contents {
		raws = append(raws, protocol.Encode(&protocol.SiblingItem{Kind: kind, Content: protocol.Encode(c)}))
	}
	if err := n.takeSiblingItems(raws); err != nil {
		t.Fatal(err)
	}
	return n.snap.Load().generation - before
}

func agreementItem(t *testing.T, n *Node, id protocol.AgreementID) *protocol.SiblingAgreement {
	t.Helper()
	doc := n.snap.Load().agreements[id].doc
	return &protocol.SiblingAgreement{Proposer: doc.Proposer, Signed: doc.Signed, Rejections: sortedSet(doc.Rejections), Terminations: sortedSet(doc.Terminations)}
}

// TestSiblingAgreementsJoin: signatures that came to different siblings come together, what
// says nothing new changes nothing, and an ending is one of that agreement by a party of it.
func TestSiblingAgreementsJoin(t *testing.T) {
	nodes := testNetwork(t, "Police", "Vendor", "Bank", "Stranger")
	police, vendor, bank, stranger := nodes[0], nodes[1], nodes[2], nodes[3]
	for _, n := range nodes[1:] {
		trustEachOther(t, police, n)
	}
	trustEachOther(t, vendor, bank)
	doc := testAgreement(police, vendor, protocol.TLPAmber, "*")
	doc.Parties = append(doc.Parties, bank.Org())
	sortOrgs(doc.Parties)
	id, err := police.Propose(doc)
	if err != nil {
		t.Fatal(err)
	}
	carry(t, police, vendor, bank)
	second := testSibling(t, police)
	shareSets(t, police, second)
	compareWith(t, second, police)
	for _, n := range []*Node{vendor, bank} {
		if err := n.Countersign(id); err != nil {
			t.Fatal(err)
		}
	}
	one, other := agreementItem(t, vendor, id), agreementItem(t, bank, id)
	takes(t, police, protocol.SiblingAgreementItem, one)
	takes(t, second, protocol.SiblingAgreementItem, other)
	compareWith(t, second, police)
	compareWith(t, police, second)
	for _, n := range []*Node{police, second} {
		if a, err := n.Agreement(id); err != nil || a.State != AgreementInForce {
			t.Errorf("signatures that came to different siblings make the agreement %s, %v", a.State, err)
		}
	}
	if !sameSiblings(t, police, second) {
		t.Error("siblings do not end up with the same agreement")
	}

	// An ending of another agreement, and one by who is no party.
	elsewhere := agree(t, police, stranger, protocol.TLPAmber, "*")
	if err := stranger.Terminate(elsewhere, "over", 0); err != nil {
		t.Fatal(err)
	}
	forged := agreementItem(t, police, id)
	forged.Terminations = agreementItem(t, stranger, elsewhere).Terminations
	takes(t, police, protocol.SiblingAgreementItem, forged)
	term, err := crypto.SignTermination(&protocol.Termination{Version: 1, Network: police.snap.Load().network, Agreement: id, Org: stranger.Org(), At: 1, Effective: 1}, stranger.keys.Op)
	if err != nil {
		t.Fatal(err)
	}
	forged.Terminations = [][]byte{protocol.Encode(&term)}
	takes(t, police, protocol.SiblingAgreementItem, forged)
	if a, _ := police.Agreement(id); a.State != AgreementInForce {
		t.Errorf("an agreement is %s by what does not end it", a.State)
	}

	// A party that says the end in many ways, other ones to each sibling.
	many := func(from int) *protocol.SiblingAgreement {
		item := agreementItem(t, police, id)
		item.Terminations = nil
		for i := range protocol.MaxParties {
			term, err := crypto.SignTermination(&protocol.Termination{Version: 1, Network: police.snap.Load().network, Agreement: id, Org: bank.Org(), At: uint64(from + i), Effective: uint64(from + i)}, bank.keys.Op)
			if err != nil {
				t.Fatal(err)
			}
			item.Terminations = append(item.Terminations, protocol.Encode(&term))
		}
		item.Terminations = sortedSet(item.Terminations)
		return item
	}
	takes(t, police, protocol.SiblingAgreementItem, many(1000))
	old := agreementItem(t, second, id)
	if made := takes(t, police, protocol.SiblingAgreementItem, old); made != 0 {
		t.Errorf("what says nothing new makes %d generations", made)
	}
	takes(t, second, protocol.SiblingAgreementItem, many(2000))
	compareWith(t, second, police)
	compareWith(t, police, second)
	if !sameSiblings(t, police, second) {
		t.Error("many endings by one party keep siblings different for ever")
	}
	a, _ := police.Agreement(id)
	if a.State != AgreementInForce || a.Terminated.At != 1000 {
		t.Errorf("the agreement of three is %s after one left at %+v", a.State, a.Terminated)
	}
	if a.Life.Between(police.Org(), bank.Org(), 1000) || !a.Life.Between(police.Org(), vendor.Org(), uint64(nowMillis())) {
		t.Error("who left is still in it, or the others are not")
	}
}

func sortOrgs(list []protocol.OrgID) {
	for i := range list {
		for j := range i {
			if list[i].Compare(list[j]) < 0 {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
}

// TestSiblingSaysNothingOfAnothersPublications: for whom a node published only it says, and no
// other node has what it published expire before its time.
func TestSiblingSaysNothingOfAnothersPublications(t *testing.T) {
	first, second, partner := siblingWorld(t)
	rec := publishList(t, first, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, first, partner)
	before := fingerprint(t, first)
	lie := &protocol.SiblingPublication{Feed: rec.Feed, Seq: rec.To, Orgs: []protocol.OrgID{}, Topic: "c2", At: 1, RetentionDays: 1}
	takes(t, first, protocol.SiblingPublicationItem, lie)
	if fingerprint(t, first) != before {
		t.Error("a sibling changes what a node noted of its own publication")
	}
	// Nor in a feed that was closed, where a node takes the accounts of siblings, for those that
	// it lost.
	if err := first.st.Update(func(tx *store.Tx) error {
		f, err := tx.Feed(rec.Feed)
		if err == nil {
			_, err = first.closeFeed(tx, f.Origin.Topic, f.Origin.Incarnation, "test")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	takes(t, first, protocol.SiblingPublicationItem, lie)
	if err := first.expire(); err != nil || !reads(t, first, "203.0.113.1") {
		t.Errorf("a sibling had expire what a node published: %v", err)
	}

	// What it says of its own does not keep it from being erased after it was removed.
	theirs := publishList(t, second, "203.0.113.3\n203.0.113.4\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	compareWith(t, first, second)
	id := theRecord(t, first, "203.0.113.3").ID
	takes(t, first, protocol.SiblingPublicationItem, &protocol.SiblingPublication{Feed: theirs.Feed, Seq: theirs.To, Orgs: []protocol.OrgID{}, Topic: "c2", At: 1})
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	carryNew(t, first, partner)
	shareErases(t, first, partner)
	if reads(t, first, "203.0.113.3") || reads(t, partner, "203.0.113.3") {
		t.Error("a record is not erased because a sibling that was removed lied about for whom it was")
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

// siblingOnDisk makes a sibling whose power can be cut.
func siblingOnDisk(t *testing.T, of *Node) (*Node, *disk.Disk, Config) {
	t.Helper()
	n, d, c := enrolOnDisk(t, of)
	compareWith(t, n, of)
	return n, d, c
}

// enrolOnDisk makes one that did not compare yet.
func enrolOnDisk(t *testing.T, of *Node) (*Node, *disk.Disk, Config) {
	t.Helper()
	keys, req, err := NewNode(of.Org(), nil)
	if err != nil {
		t.Fatal(err)
	}
	inv, err := of.ApproveNode(&req.Signed, strings.Join(req.Words(), " "))
	if err != nil {
		t.Fatal(err)
	}
	d := new(disk.Disk)
	c := simConfig(keys, d, none)
	n, err := Open(c)
	if err == nil {
		_, err = n.Enrol(inv)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n, d, c
}

// TestI5SiblingErasureOutlivesACrash cuts the power at every step at which a node carries out
// what its sibling erased of its records: they are erased for everybody after the restart.
func TestI5SiblingErasureOutlivesACrash(t *testing.T) {
	t.Parallel()
	first, _, partner := siblingWorld(t)
	n, disks, c := siblingOnDisk(t, first)
	shareSets(t, first, partner)
	shareSets(t, partner, n)
	carryNew(t, first, n)
	carryNew(t, partner, n)
	rec := publishList(t, n, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, n, first)
	compareWith(t, first, n)
	id := theRecord(t, first, "203.0.113.1").ID
	if _, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	cutAtEveryStep(t, c, disks, func(n *Node) { compareWith(t, n, first) }, func(n *Node, cut int) {
		compareWith(t, n, first)
		if err := n.st.View(func(tx *store.Tx) error {
			tomb, err := tx.Erased(rec.Feed, rec.To)
			if err == nil && (tomb == nil || tomb.Local()) {
				t.Errorf("cut at step %d, it is not erased for everybody: %+v", cut, tomb)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if reads(t, n, "203.0.113.1") || !reads(t, n, "203.0.113.2") {
			t.Errorf("cut at step %d, the node does not show what is left, and only that", cut)
		}
	})
}

// TestErasureThatCannotBeSignedStopsNothing: a node that was removed, or whose disk is full,
// starts and compares although it cannot erase for everybody what it published.
func TestErasureThatCannotBeSignedStopsNothing(t *testing.T) {
	first, _, partner := siblingWorld(t)
	n, d, c := siblingOnDisk(t, first)
	shareSets(t, partner, n)
	carryNew(t, first, n)
	publishList(t, n, "203.0.113.1\n203.0.113.2\n", amber())
	id := theRecord(t, n, "203.0.113.1").ID
	erasure := &protocol.SiblingErasure{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal, At: uint64(nowMillis())}
	n.room.full.Store(true)
	takes(t, n, protocol.SiblingErasureItem, erasure)
	n.room.full.Store(false)
	if _, err := first.RemoveNode(n.ID(), true); err != nil {
		t.Fatal(err)
	}
	if err := n.change(func(tx *store.Tx) error { return n.keepCard(tx, first.OwnCard()) }); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	c.Disk = d
	n, err := Open(c)
	if err != nil {
		t.Fatalf("a removed node with an erasure to carry out does not start: %v", err)
	}
	defer n.Close()
	if reads(t, n, "203.0.113.1") {
		t.Error("what the organisation erased is shown")
	}
}

// TestOneBadItemSpoilsNothing: an item that a newer or a damaged sibling sends keeps no other
// out.
func TestOneBadItemSpoilsNothing(t *testing.T) {
	first, _, _ := siblingWorld(t)
	org := protocol.OrgID{7}
	pin := protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingPinItem, Content: protocol.Encode(&protocol.SiblingPin{Org: org, At: 1, Trusted: true})})
	bad := protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingPinItem, Content: []byte{1}})
	if err := first.takeSiblingItems([][]byte{bad, pin}); err != nil && !errors.Is(err, protocol.ErrMalformed) {
		t.Fatal(err)
	}
	if _, ok := first.snap.Load().pins[org]; !ok {
		t.Error("one item that does not decode keeps the others out")
	}
}

// TestJournalOfManyRecords: an erasure in the journal of more records than a statement names
// is replayed in parts.
func TestJournalOfManyRecords(t *testing.T) {
	n, _, c := onDisk(t, "Police")
	var ids []protocol.RecordID
	for i := range protocol.MaxErasedRecords + 1 {
		ids = append(ids, protocol.RecordID{byte(i), byte(i >> 8), 1})
	}
	if err := n.anchor.Append(anchor.Erasure{Local: []anchor.LocalErase{{Records: ids, Reason: protocol.EraseLegal, At: 1}}}); err != nil {
		t.Skip(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := Open(c)
	if err != nil {
		t.Fatalf("the node does not start: %v", err)
	}
	n.Close()
}

// BenchmarkSiblingSet measures what one comparison costs each side before anything differs.
func BenchmarkSiblingSet(b *testing.B) {
	for _, size := range []struct{ publications, keys int }{{1000, 100}, {100000, 10000}} {
		b.Run(fmt.Sprintf("%d-%d", size.publications, size.keys), func(b *testing.B) {
			n := testNode(b, "Police")
			feed := protocol.FeedID{1}
			var items []int
			for i := range max(size.publications, size.keys) {
				items = append(items, i)
			}
			for len(items) > 0 {
				part := items[:min(len(items), 1000)]
				items = items[len(part):]
				if err := n.st.Update(func(tx *store.Tx) error {
					f := &store.Feed{ID: feed}
					err := tx.PutFeed(f)
					for _, i := range part {
						if err == nil && i < size.publications {
							err = putDoc(tx, kindPublished, entryKey(feed, uint64(i+1)), &publishedDoc{Orgs: []protocol.OrgID{{1}, {2}}, Topic: "c2", At: uint64(i)})
						}
						if err == nil && i < size.keys {
							err = tx.PutEpoch(feed, &store.Epoch{Number: uint64(i + 1), Key: [32]byte{byte(i), byte(i >> 8)}, Audience: []protocol.OrgID{{1}, {2}}})
						}
					}
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
			start := time.Now()
			set, err := n.siblingSet()
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("%d items in %v", len(set.refs), time.Since(start))
			var page []protocol.Hash
			for h, ref := range set.refs {
				if ref.kind == protocol.SiblingKeyItem && len(page) < siblingFetch {
					page = append(page, h)
				}
			}
			b.Run("set", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := n.siblingSet(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("fetch", func(b *testing.B) {
				for b.Loop() {
					if a, err := n.siblingItems(set, page); err != nil || len(a.Envelopes) == 0 {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// TestI1RestoredNodeGetsItsKeysFromSiblings: what a node published after its backup was made
// comes back to it, with the keys that only its siblings have.
func TestI1RestoredNodeGetsItsKeysFromSiblings(t *testing.T) {
	first, _, partner := siblingWorld(t)
	n, d, c := siblingOnDisk(t, first)
	shareSets(t, partner, n)
	carryNew(t, first, n)
	backup := d.Backup(simData)
	rec := publishList(t, n, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, n, first)
	compareWith(t, first, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	d.Restore(backup, simData)
	c.Disk, c.AcceptRestored = d, true
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	carryNew(t, first, n)
	compareWith(t, n, first)
	carryNew(t, first, n)
	if !reads(t, n, "203.0.113.1") {
		t.Fatal("a restored node does not read what it published")
	}
	if _, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, n, "203.0.113.1").ID}, Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	if err := n.st.View(func(tx *store.Tx) error {
		tomb, err := tx.Erased(rec.Feed, rec.To)
		if err == nil && (tomb == nil || tomb.Local()) {
			t.Errorf("it does not erase for everybody what it published: %+v", tomb)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !sameSiblings(t, n, first) {
		compareWith(t, first, n)
		compareWith(t, n, first)
		if !sameSiblings(t, n, first) {
			t.Error("a restored node stays different from its sibling")
		}
	}
}

// TestI1SiblingKeysOutliveACrash cuts the power at every step at which a new node takes what
// its sibling holds: it reads all that its organisation may read in the end.
func TestI1SiblingKeysOutliveACrash(t *testing.T) {
	t.Parallel()
	first, _, partner := siblingWorld(t)
	publishList(t, partner, "198.51.100.1\n", amber())
	publishList(t, first, "203.0.113.1\n", amber())
	carryNew(t, partner, first)
	n, disks, c := enrolOnDisk(t, first)
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	shareSets(t, partner, n)
	carryNew(t, first, n)
	carryNew(t, partner, n)
	if reads(t, n, "198.51.100.1") || reads(t, n, "203.0.113.1") {
		t.Fatal("it reads without keys")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	cutAtEveryStep(t, c, disks, func(n *Node) { compareWith(t, n, first) }, func(n *Node, cut int) {
		compareWith(t, n, first)
		if !reads(t, n, "198.51.100.1") || !reads(t, n, "203.0.113.1") {
			t.Errorf("cut at step %d, it does not read all", cut)
		}
	})
}

// TestRemovalSaysWhatACardCannot: of more feeds than a card names, those that would count
// nowhere are not given up without a word.
func TestRemovalSaysWhatACardCannot(t *testing.T) {
	first, second, _ := siblingWorld(t)
	network := first.snap.Load().network
	if err := first.st.Update(func(tx *store.Tx) error {
		for i := range protocol.MaxFinalHeads + 1 {
			o := second.origin(protocol.NewTopicID(network, "c2"), uint64(i))
			env, err := crypto.SignEnvelope(network, o, protocol.EntryRecords, 1, protocol.Hash{}, []byte{1}, second.keys.Signing)
			if err == nil {
				err = tx.PutFeed(&store.Feed{ID: env.Header.Feed, Origin: o})
			}
			if err == nil {
				_, err = tx.Append(env)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	before := first.OwnCard().Hash
	if _, err := first.RemoveNode(second.ID(), false); err == nil || !strings.Contains(err.Error(), "reseal") || first.OwnCard().Hash != before {
		t.Errorf("a node with more feeds than a card names is removed: %v", err)
	}
}

// TestI5ResealBringsNothingErasedBack: what the organisation erased is not published again
// with the rest of what a removed node wrote.
func TestI5ResealBringsNothingErasedBack(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.2\n203.0.113.3\n", amber())
	carryNew(t, second, first)
	meet(t, first, second)
	id := theRecord(t, first, "203.0.113.2").ID
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	card := first.OwnCard().Card
	card.Serial++
	card.Removed = append([]protocol.RemovedNode{}, card.Removed...)
	card.Removed[0].Heads = nil
	resign(t, first, &card)
	takes(t, first, protocol.SiblingErasureItem, &protocol.SiblingErasure{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal, At: 1})
	if count, err := first.ResealRemoved(t.Context(), second.ID()); err != nil || count != 1 {
		t.Fatalf("%d entries sealed anew, %v; want 1", count, err)
	}
	shareSets(t, first, partner)
	carryNew(t, first, partner)
	if reads(t, first, "203.0.113.2") || reads(t, partner, "203.0.113.2") {
		t.Error("a record that the organisation erased comes back")
	}
	if !reads(t, first, "203.0.113.3") || !reads(t, partner, "203.0.113.3") {
		t.Error("what was with it is lost")
	}
}

// TestWhatASiblingSaysCanBeTakenBack: whatever its clock says; and what no clock says is left
// out.
func TestWhatASiblingSaysCanBeTakenBack(t *testing.T) {
	first, second, _ := siblingWorld(t)
	org := protocol.OrgID{7}
	ahead := uint64(nowMillis()) + protocol.MaxClockSkew/2
	takes(t, second, protocol.SiblingPinItem, &protocol.SiblingPin{Org: org, At: ahead, Trusted: true})
	takes(t, second, protocol.SiblingTopicItem, &protocol.SiblingTopic{Name: "more", At: ahead, In: true})
	compareWith(t, first, second)
	if err := errors.Join(first.Untrust(org), first.LeaveTopic("more")); err != nil {
		t.Fatal(err)
	}
	compareWith(t, first, second)
	compareWith(t, second, first)
	for _, n := range []*Node{first, second} {
		s := n.snap.Load()
		if _, ok := s.pins[org]; ok || len(s.topics) != 2 {
			t.Errorf("what was taken back stands again: %v, %v", s.pins, s.topics)
		}
	}
	for _, n := range []*Node{first, second} {
		takes(t, n, protocol.SiblingPinItem, &protocol.SiblingPin{Org: protocol.OrgID{8}, At: 1 << 62, Trusted: true})
		takes(t, n, protocol.SiblingTopicItem, &protocol.SiblingTopic{Name: "ever", At: 1 << 62, In: true})
		if s := n.snap.Load(); len(s.topics) != 2 || s.pins[protocol.OrgID{8}] != 0 {
			t.Error("what could never be taken back is taken")
		}
	}
}

// TestJoiningAgainIsTheLastWord: who joins a topic that the node is in says so after a sibling
// that left it, and had not told yet.
func TestJoiningAgainIsTheLastWord(t *testing.T) {
	first, second, _ := siblingWorld(t)
	if err := first.JoinTopic("more"); err != nil {
		t.Fatal(err)
	}
	compareWith(t, second, first)
	if err := second.LeaveTopic("more"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // times are in milliseconds
	if err := first.JoinTopic("more"); err != nil {
		t.Fatal(err)
	}
	compareWith(t, first, second)
	compareWith(t, second, first)
	for _, n := range []*Node{first, second} {
		if _, ok := n.snap.Load().topics[protocol.NewTopicID(n.snap.Load().network, "more")]; !ok {
			t.Errorf("%s left a topic that was joined after that", n.ID())
		}
	}
}

// TestI5ErasureOutlivesItsPublisher: what a node published that never comes back, and a sibling
// erased, is erased everywhere once that node was removed; what shared its envelope is kept.
func TestI5ErasureOutlivesItsPublisher(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	meet(t, first, second)
	// From here on the second node is lost.
	rep, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, first, "203.0.113.1").ID}, Reason: protocol.EraseLegal})
	if err != nil || rep.Siblings != 1 || reads(t, first, "203.0.113.1") {
		t.Fatalf("%+v, %v", rep, err)
	}
	waiting := func() bool {
		st, err := first.Status()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(st.Problems, func(p Problem) bool { return strings.Contains(p.Text, "not yet everywhere") })
	}
	if !waiting() {
		t.Error("nobody is told that the record is not erased everywhere")
	}
	for range 2 { // trying again changes nothing while the node is on the card
		if err := first.carryOutErasures(); err != nil {
			t.Fatal(err)
		}
	}
	if len(first.evidence.hashes()) != 0 {
		t.Fatal("a node erased for everybody what another one, that may live, published")
	}
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	shareErases(t, first, partner)
	carryNew(t, first, partner)
	for _, n := range []*Node{first, partner} {
		if reads(t, n, "203.0.113.1") || !reads(t, n, "203.0.113.2") {
			t.Error("the record is not erased everywhere, or another was lost with it")
		}
	}
	if waiting() {
		t.Error("the record is told to be somewhere after it was erased everywhere")
	}
}

// TestI5ErasedBeforeItCame: an entry that comes after a record in it was erased here leaves no
// sealed copy of it; what shares the entry is read.
func TestI5ErasedBeforeItCame(t *testing.T) {
	first, second, partner := siblingWorld(t)
	rec := publishList(t, partner, "198.51.100.1\n198.51.100.2\n", amber())
	carryNew(t, partner, first)
	if _, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, first, "198.51.100.1").ID}, Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	compareWith(t, second, first) // the erasure comes to the second node before the entry
	carryNew(t, partner, second)
	if reads(t, second, "198.51.100.1") || !reads(t, second, "198.51.100.2") {
		t.Error("the second node shows what was erased, or lacks what was not")
	}
	if err := second.st.View(func(tx *store.Tx) error {
		for seq := rec.From; seq <= rec.To; seq++ {
			if has, err := tx.Has(rec.Feed, seq); err != nil || has && seq == rec.To {
				t.Errorf("entry %d is held with its body: %v, %v", seq, has, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestI4SurvivorsOfAnErasureEndWithTheirFeed: where a feed ends before an entry of which some
// records were erased, the others are not shown any more either.
func TestI4SurvivorsOfAnErasureEndWithTheirFeed(t *testing.T) {
	first, second, partner := siblingWorld(t)
	rec := publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, partner) // the first node does not see it in time
	if _, err := second.Erase(context.Background(), EraseRequest{Records: rec.Records[:1], Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	shareErases(t, second, partner)
	carryNew(t, second, partner)
	if reads(t, partner, "203.0.113.1") || !reads(t, partner, "203.0.113.2") {
		t.Fatal("the partner does not read what survived, and only that")
	}
	if rep, err := first.RemoveNode(second.ID(), false); err != nil || len(rep.Heads) != 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	shareSets(t, first, partner)
	if reads(t, partner, "203.0.113.2") {
		t.Error("the partner shows a record that counts nowhere, from an entry of which another was erased")
	}
}

// TestI1RemovalErasesNothingTwice: what a sibling erased for everybody before it was removed is
// not erased again from the entry where the survivors stand: partners keep those.
func TestI1RemovalErasesNothingTwice(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	meet(t, first, second)
	if _, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, first, "203.0.113.1").ID}, Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	compareWith(t, second, first)
	for _, n := range []*Node{first, partner} {
		shareErases(t, second, n)
		carryNew(t, second, n)
	}
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	if got := len(first.evidence.hashes()); got != 1 {
		t.Errorf("after the removal there are %d erases, want the one of the removed node", got)
	}
	if _, err := first.siblingSet(); err != nil {
		t.Error(err)
	}
	third := testSibling(t, first)
	shareSets(t, first, partner)
	shareErases(t, first, partner)
	shareErases(t, first, third)
	carryNew(t, first, partner)
	carryNew(t, first, third)
	for _, n := range []*Node{first, partner, third} {
		carryNew(t, partner, n)
		if reads(t, n, "203.0.113.1") || !reads(t, n, "203.0.113.2") {
			t.Error("a node does not read what survived the erasure, and only that")
		}
	}
}

// TestI1SurvivorsOfWhatNobodyToldOf: a sibling was removed that never told for whom it had sealed
// an entry; what shares that with an erased record still goes to those readers.
func TestI1SurvivorsOfWhatNobodyToldOf(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n", amber())
	carryNew(t, second, first)
	meet(t, first, second) // its key, and for whom that is
	publishList(t, second, "203.0.113.2\n203.0.113.3\n", amber())
	carryNew(t, second, first)
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, first, "203.0.113.2").ID}, Reason: protocol.EraseLegal}); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	shareErases(t, first, partner)
	carryNew(t, first, partner)
	if reads(t, partner, "203.0.113.2") || !reads(t, partner, "203.0.113.3") {
		t.Error("the partner does not read what survived the erasure, and only that")
	}
	meetNew := testSibling(t, first) // the account can be told to a sibling
	if !sameSiblings(t, first, meetNew) {
		t.Error("a new sibling does not hold the same")
	}
}
