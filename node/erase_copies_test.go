package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// TestI5ManyCopiesStopNothing: who seals the same records anew hundreds of times, and erases
// them, keeps no reader from erasing, from comparing, nor from starting.
func TestI5ManyCopiesStopNothing(t *testing.T) {
	t.Parallel()
	author := testNode(t, "Author")
	reader, d, c := onDisk(t, "Reader")
	intoOneNetwork(t, []*Node{author, reader})
	agree(t, author, reader, protocol.TLPGreen, "*")
	var list strings.Builder
	for i := range 500 {
		fmt.Fprintf(&list, "198.51.%d.%d\n", i/250, 1+i%250)
	}
	rec := publishList(t, author, list.String(), green)
	if rec.Envelopes != 2 { // with the grant
		t.Fatalf("%d envelopes", rec.Envelopes)
	}
	carryNew(t, author, reader)
	// As if it had opened that many entries: sealing them takes long.
	f := ownTopic(t, author)
	o := f.Origin
	o.Incarnation++
	other := o.FeedID(author.snap.Load().network)
	if err := reader.st.Update(func(tx *store.Tx) error { return tx.PutFeed(&store.Feed{ID: other, Origin: o}) }); err != nil {
		t.Fatal(err)
	}
	const copies = 220
	for seq := range uint64(copies) {
		if err := reader.st.Update(func(tx *store.Tx) error {
			for _, id := range rec.Records {
				if err := tx.Set(slices.Concat([]byte("cd"), id[:], entryKey(other, seq+1)), nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := crypto.SignErase(&protocol.Erase{Version: 1, Network: author.snap.Load().network, Origin: f.Origin, Reason: protocol.EraseRequest, At: 1,
		Entries: []protocol.ErasedEntry{{Seq: rec.To, Hash: entryHashAt(t, author, rec.Feed, rec.To)}}}, author.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.takeErases([]protocol.SignedErase{signed}); err != nil {
		t.Errorf("taking the erase: %v", err)
	}
	if reads(t, reader, "198.51.0.1") || bodyHeld(t, reader, protocol.EntryRef{Feed: rec.Feed, Seq: rec.To}) {
		t.Error("what was erased is read, or its sealed body was kept")
	}
	if err := reader.st.View(func(tx *store.Tx) error {
		for seq := range uint64(copies) {
			if tomb, err := tx.Erased(other, seq+1); err != nil || tomb == nil {
				return fmt.Errorf("a sealed copy in entry %d was kept: %w", seq+1, err)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	c.Disk = d
	if reader, err = Open(c); err != nil {
		t.Fatalf("the reader does not start: %v", err)
	}
	reader.Close()
}

func entryHashAt(t testing.TB, n *Node, feed protocol.FeedID, seq uint64) (h protocol.Hash) {
	t.Helper()
	if err := n.st.View(func(tx *store.Tx) (err error) { h, err = n.hashAt(tx, feed, seq); return err }); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestManyDueRecordsAreSettled: a sibling erased for everybody, while this node was off line, more
// records than one transaction takes.
func TestManyDueRecordsAreSettled(t *testing.T) {
	t.Parallel()
	first, second, _ := siblingWorld(t)
	rec := publishList(t, second, "203.0.113.1\n", amber())
	carryNew(t, second, first)
	const count = 120_000
	rng := rand.NewChaCha8([32]byte{1})
	for range count / 4000 {
		if err := first.st.Update(func(tx *store.Tx) error {
			for range 4000 {
				var id protocol.RecordID
				rng.Read(id[:])
				if err := first.putDue(tx, id, rec.Feed, rec.To, protocol.EraseLegal); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := crypto.SignErase(&protocol.Erase{Version: 1, Network: second.snap.Load().network, Origin: ownTopic(t, second).Origin, Reason: protocol.EraseLegal, At: 1,
		Entries: []protocol.ErasedEntry{{Seq: rec.To, Hash: entryHashAt(t, second, rec.Feed, rec.To)}}}, second.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.takeErases([]protocol.SignedErase{signed}); err != nil {
		t.Fatal(err)
	}
	if err := first.carryOutErasures(); err != nil {
		t.Fatal(err)
	}
	areDue(t, first, 0)
}

// TestI1DueInATopicThatWasLeft: a node left the topic of an entry out of which a record is due; what
// shares the entry is sealed anew in that topic, and there for its readers once the node is back.
func TestI1DueInATopicThatWasLeft(t *testing.T) {
	t.Parallel()
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

// TestI5VoidEntryOfWhichNothingIsLeft: all records of an entry that counts nowhere were erased
// before it was sealed anew; it goes too, and nothing stays due.
func TestI5VoidEntryOfWhichNothingIsLeft(t *testing.T) {
	_, second, _ := siblingWorld(t)
	rec := publishList(t, second, "203.0.113.1\n", amber())
	id := theRecord(t, second, "203.0.113.1").ID
	if _, err := second.takeForks([]protocol.ForkProof{forkAt(t, second, rec.Feed, rec.To)}); err != nil {
		t.Fatal(err)
	}
	takes(t, second, protocol.SiblingErasureItem, &protocol.SiblingErasure{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal, At: uint64(nowMillis())})
	areDue(t, second, 1)
	if err := second.resealForked(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := second.carryOutErasures(); err != nil {
		t.Fatal(err)
	}
	if left, err := second.pendingErasures(); err != nil || left != 0 || bodyHeld(t, second, protocol.EntryRef{Feed: rec.Feed, Seq: rec.To}) {
		t.Errorf("%d records stay due, or the sealed body was kept, %v", left, err)
	}
}

// forkAt makes the proof of a fork of an own feed.
func forkAt(t testing.TB, n *Node, feed protocol.FeedID, seq uint64) protocol.ForkProof {
	t.Helper()
	for _, e := range entries(t, n) {
		if e.Header.Feed == feed && e.Header.Seq == seq {
			p, err := crypto.ForkOf(n.snap.Load().network, e.Stripped().Raw, forkOf(t, n, e, "other").Stripped().Raw)
			if err != nil {
				t.Fatal(err)
			}
			return *p
		}
	}
	t.Fatal("no such entry")
	return protocol.ForkProof{}
}

// TestI1WithdrawalInAnotherForkedFeed: two feeds of an author are forked; what it withdrew in one
// of them of what it published in the other it withdraws again, whichever comes first.
func TestI1WithdrawalInAnotherForkedFeed(t *testing.T) {
	t.Parallel()
	for range 6 { // the order of feeds is by their random ids
		nodes := testNetwork(t, "Author", "Reader")
		author, reader := nodes[0], nodes[1]
		agree(t, author, reader, protocol.TLPGreen, "*")
		rec := publishList(t, author, "198.51.100.1\n", green)
		closeTopic(t, author)
		if err := author.Withdraw(context.Background(), rec.Records, "wrong"); err != nil {
			t.Fatal(err)
		}
		f := ownTopic(t, author)
		proofs := []protocol.ForkProof{forkAt(t, author, rec.Feed, rec.To), forkAt(t, author, f.ID, f.Seq)}
		if _, err := author.takeForks(proofs); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.takeForks(proofs); err != nil {
			t.Fatal(err)
		}
		if err := author.resealForked(context.Background()); err != nil {
			t.Fatal(err)
		}
		syncBoth(t, nodes...)
		for _, n := range nodes {
			if recs, _, err := n.Search(Query{Value: "198.51.100.1", Withdrawn: true}); err != nil || len(recs) != 1 || !recs[0].Withdrawn {
				t.Errorf("%s does not show the record as withdrawn: %+v, %v", n.snap.Load().name(n.org), recs, err)
			}
		}
	}
}

// TestI1SiblingTakesNoReadersAway: a sibling that was taken over says of an own entry, in a feed that
// was closed, that it was for nobody; what is withdrawn or sealed anew reaches its readers.
func TestI1SiblingTakesNoReadersAway(t *testing.T) {
	first, _, partner := siblingWorld(t)
	rec := publishList(t, first, "203.0.113.1\n203.0.113.2\n203.0.113.3\n", amber())
	carryNew(t, first, partner)
	closeTopic(t, first)
	takes(t, first, protocol.SiblingPublicationItem, &protocol.SiblingPublication{Feed: rec.Feed, Seq: rec.To, Orgs: []protocol.OrgID{}, Topic: "c2", At: 1})
	id := theRecord(t, first, "203.0.113.2").ID
	if err := first.Withdraw(context.Background(), []protocol.RecordID{id}, "wrong"); err != nil {
		t.Fatal(err)
	}
	eraseValue(t, first, "203.0.113.1")
	shareErases(t, first, partner)
	carryNew(t, first, partner)
	if reads(t, partner, "203.0.113.1") || !reads(t, partner, "203.0.113.3") {
		t.Error("the partner did not get what was sealed anew")
	}
	if recs, _, err := partner.Search(Query{Value: "203.0.113.2", Withdrawn: true}); err != nil || len(recs) != 1 || !recs[0].Withdrawn {
		t.Errorf("the partner was not told of a withdrawal: %+v, %v", recs, err)
	}
}

// TestI1SurvivorsAreNotLeftToARemovedNode: a node that was taken over sealed for nobody what its
// sibling published, and said that it was for the partner; it is no place for survivors.
func TestI1SurvivorsAreNotLeftToARemovedNode(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, first, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, first, second)
	meet(t, first, second)
	place := theRecord(t, second, "203.0.113.2")
	body, doc, _, err := second.ownBody(place.Feed, place.Seq)
	if err != nil {
		t.Fatal(err)
	}
	rest, kinds, err := second.without(body, func(id protocol.RecordID) bool { return id != place.ID })
	if err != nil {
		t.Fatal(err)
	}
	if err := second.append("c2", func(a *appender) error {
		nobody := doc
		nobody.Orgs = nil
		_, err := a.resealAll(rest, &nobody, kinds, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f := ownTopic(t, second)
	carryNew(t, second, first)
	takes(t, first, protocol.SiblingPublicationItem, &protocol.SiblingPublication{Feed: f.ID, Seq: f.Seq, Orgs: []protocol.OrgID{partner.Org()}, Topic: "c2", At: 1})
	compareWith(t, first, second)
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	eraseValue(t, first, "203.0.113.1")
	shareSets(t, first, partner)
	shareErases(t, first, partner)
	carryNew(t, first, partner)
	if reads(t, partner, "203.0.113.1") || !reads(t, partner, "203.0.113.2") {
		t.Error("the partner reads what was erased, or lost what was with it")
	}
}

// TestI5ErasedAsExpired: only what expires is erased for that reason. What a sibling erases and says
// so of is erased for everybody like anything else, and what shares its entry is kept.
func TestI5ErasedAsExpired(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	meet(t, first, second)
	id := theRecord(t, first, "203.0.113.1").ID
	if _, err := first.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseExpired}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a person erases what expired: %v", err)
	}
	takes(t, first, protocol.SiblingErasureItem, &protocol.SiblingErasure{Records: []protocol.RecordID{id}, Reason: protocol.EraseExpired, At: 1})
	compareWith(t, second, first)
	shareErases(t, second, partner)
	carryNew(t, second, partner)
	if reads(t, partner, "203.0.113.1") || reads(t, second, "203.0.113.1") || !reads(t, partner, "203.0.113.2") {
		t.Error("what was erased is read, or what was with it is lost")
	}
}

// sealFor has a node append an entry with records of others' entries, whoever made them.
func sealFor(t testing.TB, n *Node, bodies []*protocol.Body, orgs ...protocol.OrgID) protocol.EntryRef {
	t.Helper()
	joined := &protocol.Body{Version: 1}
	for _, b := range bodies {
		first := uint16(len(joined.Handlings))
		joined.Handlings = append(joined.Handlings, b.Handlings...)
		for _, part := range b.Batches {
			for i := range part.Items {
				part.Items[i].Handling += first
			}
			joined.Batches = append(joined.Batches, part)
		}
	}
	if err := n.append("c2", func(a *appender) error {
		keys, err := a.keysFor(orgs)
		if err != nil {
			return err
		}
		joined.SealedAt = a.sealedAt
		h := a.header(protocol.EntryRecords)
		sealed, err := crypto.SealBody(h.SealContext(a.snap.network), h.Feed, h.Seq, keys, protocol.Encode(joined))
		if err != nil {
			return err
		}
		return a.add(protocol.EntryRecords, sealed)
	}); err != nil {
		t.Fatal(err)
	}
	f := ownTopic(t, n)
	return protocol.EntryRef{Feed: f.ID, Seq: f.Seq}
}

func bodyOf(t testing.TB, n *Node, feed protocol.FeedID, seq uint64) *protocol.Body {
	t.Helper()
	_, plain, _, err := n.ownPlain(feed, seq)
	body := new(protocol.Body)
	if err == nil {
		err = protocol.Decode(plain, protocol.MaxPlainSize, body)
	}
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestI1PartnerErasesWhatAnotherPublished: a partner sends an organisation its own record back,
// ahead of the entry that it was published in, and erases it; it is read from there.
func TestI1PartnerErasesWhatAnotherPublished(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	rec := publishList(t, second, "203.0.113.1\n", amber())
	carryNew(t, second, partner)
	back := sealFor(t, partner, []*protocol.Body{bodyOf(t, partner, rec.Feed, rec.To)}, first.Org())
	front, err := (&view{n: partner}).Range(back.Feed, 1, 1<<20, 1<<30)
	if err == nil {
		_, err = (&view{n: first}).TakeEntries(front)
	}
	if err != nil || !reads(t, first, "203.0.113.1") || theRecord(t, first, "203.0.113.1").Feed != back.Feed {
		t.Fatalf("the record did not come by way of the partner: %v", err)
	}
	carryNew(t, second, first)
	compareWith(t, first, second)
	signed, err := crypto.SignErase(&protocol.Erase{Version: 1, Network: partner.snap.Load().network, Origin: ownTopic(t, partner).Origin, Reason: protocol.EraseRequest, At: 1,
		Entries: []protocol.ErasedEntry{{Seq: back.Seq, Hash: entryHashAt(t, partner, back.Feed, back.Seq)}}, Records: rec.Records}, partner.keys.Signing)
	if err == nil {
		_, err = first.takeErases([]protocol.SignedErase{signed})
	}
	if err == nil {
		err = first.gate.drain()
	}
	if err != nil || bodyHeld(t, first, back) {
		t.Errorf("the partner's own entry was kept: %v", err)
	}
	if !reads(t, first, "203.0.113.1") {
		t.Error("a partner erased what another organisation published")
	}
}

// TestI1TakenFromAnEntryThatIsNotAllGood: the other entry that holds a record holds one, too, that
// is not to be used here.
func TestI1TakenFromAnEntryThatIsNotAllGood(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n", green)
	other := publishList(t, author, "198.51.100.2\n", amber())
	good, bad := bodyOf(t, author, rec.Feed, rec.To), bodyOf(t, author, other.Feed, other.To)
	syncBoth(t, nodes...)
	closeTopic(t, author)
	second := sealFor(t, author, []*protocol.Body{good, bad}, reader.Org())
	syncBoth(t, nodes...)
	if got := theRecord(t, reader, "198.51.100.1"); got.Feed != rec.Feed || reads(t, reader, "198.51.100.2") {
		t.Fatalf("the record is shown from feed %s", got.Feed)
	}
	if err := reader.endFeed(rec.Feed, rec.To, forkReason, "test"); err != nil {
		t.Fatal(err)
	}
	if err := reader.gate.drain(); err != nil {
		t.Fatal(err)
	}
	if !reads(t, reader, "198.51.100.1") || theRecord(t, reader, "198.51.100.1").Feed != second.Feed {
		t.Error("the record was lost with the entry that does not count")
	}
}

// TestI1EraseOfANodeThatNoCardNames: an erase that was kept and not applied yet, by a node that no
// card names any more, speaks for nobody.
func TestI1EraseOfANodeThatNoCardNames(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n", green)
	syncBoth(t, nodes...)
	keys, _, err := NewNode(author.Org(), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := protocol.Origin{Topic: ownTopic(t, author).Origin.Topic, Signing: keys.Signing.Public(), Incarnation: 1}
	signed, err := crypto.SignErase(&protocol.Erase{Version: 1, Network: reader.snap.Load().network, Origin: o, Reason: protocol.EraseRequest, At: 1,
		Entries: []protocol.ErasedEntry{{Seq: 1, Hash: protocol.Hash{1}}}, Records: rec.Records}, keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.applyOnce(&signed, true); err != nil {
		t.Fatal(err)
	}
	if !reads(t, reader, "198.51.100.1") {
		t.Error("a node that no card names erased what an organisation published")
	}
}

// TestErasesThatNobodyWouldKeepAreRefused: nobody is told that a record was erased where no node
// would keep the statement that says so.
func TestErasesThatNobodyWouldKeepAreRefused(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
	author.evidence.mu.Lock()
	author.evidence.count[rec.Feed] = protocol.MaxErasesPerFeed
	author.evidence.mu.Unlock()
	_, err := author.Erase(context.Background(), EraseRequest{Records: rec.Records[:1], Reason: protocol.EraseRequest})
	if !errors.Is(err, protocol.ErrOversize) || !reads(t, author, "198.51.100.1") {
		t.Errorf("erasing says %v", err)
	}
	author.evidence.mu.Lock()
	author.evidence.count[rec.Feed]--
	author.evidence.mu.Unlock()
	if _, err := author.Erase(context.Background(), EraseRequest{Records: rec.Records[:1], Reason: protocol.EraseRequest}); err != nil || reads(t, author, "198.51.100.1") {
		t.Errorf("the last one that fits: %v", err)
	}
}

// TestAccountsOfAnotherHistory: a node was restored, and a sibling tells for whom it published an
// entry of the history that was lost. In the one that counts a grant stands there, which is not
// sealed anew.
func TestAccountsOfAnotherHistory(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	agree(t, nodes[0], nodes[1], protocol.TLPAmber, "*")
	rec := publishList(t, nodes[0], "198.51.100.1\n", green)
	if rec.Grants == 0 || rec.To-rec.From != 1 {
		t.Fatalf("the publication is %+v: this tests nothing", rec)
	}
	account := publishedDoc{Orgs: []protocol.OrgID{nodes[1].org}, Topic: "c2", At: 1}
	var left leftPart
	err := nodes[0].st.Update(func(tx *store.Tx) (err error) {
		if err = putDoc(tx, kindPublished, entryKey(rec.Feed, rec.From), &account); err == nil {
			left, err = leftOf(tx, rec.Feed, "c2", rec.From, rec.To)
		}
		return err
	})
	if err != nil || len(left.records) != 1 || left.records[0] != rec.To {
		t.Errorf("to be sealed anew are %v, %v; want %d", left.records, err, rec.To)
	}
}

// TestI1SurvivorsOfAnErasureGoToWhoMayHaveThem: what shares an envelope with an erased record is sealed
// anew; an organisation that is excluded from one of them since gets the others.
func TestI1SurvivorsOfAnErasureGoToWhoMayHaveThem(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	vendor, police, cert := testNode(t, "Vendor"), testNode(t, "Police"), testNode(t, "Cert")
	intoOneNetwork(t, []*Node{vendor, police, cert})
	for _, to := range []*Node{police, cert} {
		agree(t, vendor, to, protocol.TLPAmber, "*")
	}
	publishList(t, vendor, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", amber())
	carryNew(t, vendor, police) // the CERT is away
	entry := heldRecord(t, vendor, "198.51.100.1")
	if heldRecord(t, vendor, "198.51.100.3").Seq != entry.Seq {
		t.Fatal("they do not share an envelope")
	}
	if err := vendor.Exclude(ctx, []protocol.RecordID{entry.ID}, []protocol.OrgID{cert.Org()}); err != nil {
		t.Fatal(err)
	}
	if _, err := vendor.Erase(ctx, EraseRequest{Records: []protocol.RecordID{heldRecord(t, vendor, "198.51.100.3").ID}, Reason: protocol.EraseError}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []*Node{police, cert} {
		shareErases(t, vendor, to)
		carryNew(t, vendor, to)
	}
	for _, c := range []struct {
		n      *Node
		value  string
		should bool
	}{{police, "198.51.100.1", true}, {police, "198.51.100.2", true}, {police, "198.51.100.3", false},
		{cert, "198.51.100.1", false}, {cert, "198.51.100.2", true}, {cert, "198.51.100.3", false}} {
		wantReads(t, c.n, c.value, c.should)
	}
}

// TestI1SurvivorsGoToWhoMayHaveThem: what shares an envelope with what is erased reaches a reader who
// has not read it yet, though an exclusion or an amendment keeps other records of it from that reader.
func TestI1SurvivorsGoToWhoMayHaveThem(t *testing.T) {
	vendor, police, id := twoNodes(t)
	items := readList(t, "203.0.113.1\n203.0.113.2\n203.0.113.3\n203.0.113.4\n")
	for i := range items {
		items[i].Handling.TLP = protocol.TLPGreen
	}
	items[3].Handling.TLP = protocol.TLPAmber
	rec, err := vendor.Publish(t.Context(), PublishRequest{Topic: "c2", Items: items})
	if err != nil || rec.Envelopes-rec.Grants != 1 {
		t.Fatalf("%+v, %v", rec, err)
	}
	if err := vendor.Exclude(t.Context(), []protocol.RecordID{recordOf(t, vendor, "203.0.113.2")}, []protocol.OrgID{police.Org()}); err != nil {
		t.Fatal(err)
	}
	draft := testAgreement(vendor, police, protocol.TLPGreen, "*")
	draft.Previous = id
	next, err := vendor.Propose(draft)
	if err != nil {
		t.Fatal(err)
	}
	carryControl(t, vendor, police)
	if err := police.Countersign(next); err != nil {
		t.Fatal(err)
	}
	carryControl(t, police, vendor)
	eraseValue(t, vendor, "203.0.113.3")
	carryNew(t, vendor, police)
	for value, want := range map[string]bool{"203.0.113.1": true, "203.0.113.2": false, "203.0.113.3": false, "203.0.113.4": false} {
		wantReads(t, police, value, want)
		wantReads(t, vendor, value, value != "203.0.113.3")
	}
}
