package node

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// testSibling makes another node of an organisation, enrolled and in its topics.
func testSibling(t testing.TB, of *Node) *Node {
	t.Helper()
	n := enrolledNode(t, of)
	compareWith(t, n, of)
	return n
}

// enrolledNode makes another node of an organisation, which heard nothing of it yet.
func enrolledNode(t testing.TB, of *Node) *Node {
	t.Helper()
	keys, req, err := NewNode(of.Org(), nil)
	if err != nil {
		t.Fatal(err)
	}
	inv, err := of.ApproveNode(&req.Signed, strings.Join(req.Words(), " "))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if _, err := n.Enrol(inv); err != nil {
		t.Fatal(err)
	}
	return n
}

// compareWith makes n take from a sibling what it lacks of what only siblings hold.
func compareWith(t testing.TB, n, sibling *Node) {
	t.Helper()
	if _, err := n.compareSiblings(context.Background(), func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		if err := m.Validate(); err != nil {
			return nil, err
		}
		a, _, err := sibling.serveSiblings(n.ID(), m)
		if err == nil {
			err = a.Validate()
		}
		return a, err
	}); err != nil {
		t.Fatal(err)
	}
}

// siblingWorld is an organisation with two nodes, its partner, and an agreement each way.
func siblingWorld(t testing.TB) (first, second, partner *Node) {
	t.Helper()
	nodes := testNetwork(t, "Police", "Partner")
	first, partner = nodes[0], nodes[1]
	agree(t, first, partner, protocol.TLPAmber, "*")
	agree(t, partner, first, protocol.TLPAmber, "*")
	second = testSibling(t, first)
	shareSets(t, first, partner, second)
	shareSets(t, partner, second)
	carryNew(t, first, second)
	carryNew(t, partner, second)
	compareWith(t, second, first)
	return first, second, partner
}

// TestI1SiblingByHand: a new node on a network with no connection reads what its organisation
// may read, from one carried file; a partner's file brings it nothing of the kind.
func TestI1SiblingByHand(t *testing.T) {
	t.Parallel()
	first, _, partner := siblingWorld(t)
	publishList(t, partner, "198.51.100.1\n", amber())
	publishList(t, first, "203.0.113.1\n", amber())
	carryNew(t, partner, first)
	third := enrolledNode(t, first)
	var file bytes.Buffer
	packed, err := first.Pack(context.Background(), &file, PackRequest{To: first.Org()})
	if err != nil || packed.Siblings == 0 {
		t.Fatalf("packed %d things that siblings hold, %v", packed.Siblings, err)
	}
	seen, err := third.InspectCarried(context.Background(), bytes.NewReader(file.Bytes()))
	if err != nil || seen.Siblings != packed.Siblings || !seen.Whole {
		t.Errorf("inspecting finds %d of %d things, %v", seen.Siblings, packed.Siblings, err)
	}
	got, err := third.Apply(context.Background(), bytes.NewReader(file.Bytes()))
	if err != nil || got.Partial() {
		t.Fatalf("applied %+v, %v", got, err)
	}
	if !reads(t, third, "198.51.100.1") || !reads(t, third, "203.0.113.1") || !sameSiblings(t, first, third) {
		t.Error("a file from its sibling does not give a new node what the organisation may read")
	}

	// A node that asks first, and knows no topic yet, gets all of them.
	fourth := enrolledNode(t, first)
	var ask, answer bytes.Buffer
	if _, err := fourth.RequestPack(context.Background(), &ask, first.Org()); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Pack(context.Background(), &answer, PackRequest{Request: &ask}); err != nil {
		t.Fatal(err)
	}
	if got, err := fourth.Apply(context.Background(), &answer); err != nil || got.Partial() || !reads(t, fourth, "198.51.100.1") {
		t.Errorf("the answer to a new node's request brings %+v, %v", got, err)
	}

	// What a partner says of what siblings hold is refused: here it packs for the organisation
	// what its own nodes hold, as if it were one of them.
	shareSets(t, first, partner)
	p := &packer{ctx: context.Background(), n: partner, v: &view{n: partner, serving: true}}
	var forged bytes.Buffer
	if _, err := p.write(&forged, &protocol.CarryHeader{Version: 1, Kind: protocol.CarryPack, To: first.Org()}, p.writeSiblings); err != nil {
		t.Fatal(err)
	}
	before := fingerprint(t, third)
	got, err = third.Apply(context.Background(), &forged)
	if err != nil || len(got.Refused) != 1 || got.Refused[0].What != "sibling item" || got.Refused[0].Class != "unknown-author" {
		t.Errorf("a partner's file with such things: %+v, %v", got, err)
	}
	if fingerprint(t, third) != before {
		t.Error("a partner's file changed what only siblings say")
	}
	var toPartner bytes.Buffer
	if packed, err := first.Pack(context.Background(), &toPartner, PackRequest{To: partner.Org()}); err != nil || packed.Siblings != 0 {
		t.Errorf("a file for a partner holds %d things that only siblings hold, %v", packed.Siblings, err)
	}
}

// sameSiblings reports whether two nodes hold the same in common, but for the rules that each says that
// it has in force: the other hears of those when they compare in turn.
func sameSiblings(t testing.TB, a, b *Node) bool {
	t.Helper()
	var sets [2][]protocol.Hash
	for i, n := range []*Node{a, b} {
		set, err := n.siblingSet()
		if err != nil {
			t.Fatal(err)
		}
		for h, ref := range set.refs {
			if ref.kind != protocol.SiblingRulesItem {
				sets[i] = append(sets[i], h)
			}
		}
		slices.SortFunc(sets[i], func(x, y protocol.Hash) int { return slices.Compare(x[:], y[:]) })
	}
	return slices.Equal(sets[0], sets[1])
}

// wholeSiblings reports whether two nodes would find nothing more to tell each other.
func wholeSiblings(t testing.TB, a, b *Node) bool {
	t.Helper()
	x, err := a.siblingSet()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.siblingSet()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Equal(x.parts, y.parts)
}

// meet makes siblings compare until they hold the same.
func meet(t testing.TB, a, b *Node) {
	t.Helper()
	for range 3 {
		carryNew(t, a, b)
		carryNew(t, b, a)
		compareWith(t, a, b)
		compareWith(t, b, a)
	}
	if !wholeSiblings(t, a, b) {
		t.Fatal("siblings that compared do not hold the same")
	}
}

func theRecord(t testing.TB, n *Node, value string) Record {
	t.Helper()
	recs, _, err := n.Search(Query{Value: value})
	if err != nil || len(recs) != 1 {
		t.Fatalf("%d records of %s, %v", len(recs), value, err)
	}
	return recs[0]
}

func amber() policy.Flags { return policy.Flags{TLP: protocol.TLPAmber} }

// TestI2RemovedSiblingOpensNothingNew: what is published after a node was removed does not
// open for it, even if every byte reaches it; the others lose nothing.
func TestI2RemovedSiblingOpensNothingNew(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, partner, "198.51.100.1\n", amber())
	publishList(t, first, "203.0.113.1\n", amber())
	carryNew(t, partner, second)
	carryNew(t, first, second)
	if !reads(t, second, "198.51.100.1") || !reads(t, second, "203.0.113.1") {
		t.Fatal("a node on the card does not read what its organisation may read")
	}
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner, second)
	publishList(t, partner, "198.51.100.2\n", amber())
	publishList(t, first, "203.0.113.2\n", amber())
	carryNew(t, partner, second)
	carryNew(t, first, second)
	carryNew(t, partner, first)
	carryNew(t, first, partner)
	if reads(t, second, "198.51.100.2") || reads(t, second, "203.0.113.2") {
		t.Error("a removed node opens what was published afterwards")
	}
	if !reads(t, first, "198.51.100.2") || !reads(t, partner, "203.0.113.2") {
		t.Error("a removal takes something from those who stayed")
	}
	if _, _, err := first.serveSiblings(second.ID(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncSiblings, Hashes: make([]protocol.Hash, siblingParts)}); !errors.Is(err, protocol.ErrUnknownAuthor) {
		t.Errorf("a removed node is answered as a sibling: %v", err)
	}
	if _, err := second.Publish(context.Background(), PublishRequest{Topic: "c2", Items: readList(t, "203.0.113.3\n"), Flags: amber()}); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("a removed node publishes: %v", err)
	}
	if st, err := second.Status(); err != nil || !slices.ContainsFunc(st.Problems, func(p Problem) bool { return strings.Contains(p.Text, "not on its organisation's card") }) {
		t.Errorf("a removed node does not say so: %v", err)
	}
}

// TestI4RemovedFeedsEndWhereTheCardSays: nodes that held different parts of what a removed
// node wrote hold the same once they have the card; what came after counts again when a
// sibling seals it anew.
func TestI4RemovedFeedsEndWhereTheCardSays(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	rec := publishList(t, second, "203.0.113.1\n", amber())
	carryNew(t, second, first)
	carryNew(t, second, partner)
	compareWith(t, first, second)
	publishList(t, second, "203.0.113.2\n203.0.113.3\n", amber())
	carryNew(t, second, partner) // the first node does not see it in time
	rep, err := first.RemoveNode(second.ID(), false)
	if err != nil || len(rep.Heads) != 1 || rep.Heads[0].Seq != rec.To {
		t.Fatalf("removal ends %+v, want one feed at %d; %v", rep, rec.To, err)
	}
	shareSets(t, first, partner, second)
	if reads(t, partner, "203.0.113.2") || !reads(t, partner, "203.0.113.1") {
		t.Error("the partner does not count the entries that the card counts, and only those")
	}
	feed := protocol.FeedID(rep.Heads[0].Feed)
	for _, n := range []*Node{first, partner} {
		list, err := n.Feeds()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(f FeedStatus) bool { return f.Feed == feed })
		if i < 0 || list[i].Held != rec.To || list[i].Digest != rep.Heads[0].Hash || !list[i].Complete || !list[i].Removed || list[i].Forked != 0 || list[i].Silent {
			t.Errorf("%s shows the removed node's feed as %+v", n.snap.Load().name(n.org), list[i])
		}
	}
	q, err := partner.Quarantine("")
	if err != nil || !slices.ContainsFunc(q, func(x Quarantined) bool { return x.Reason == removedReason }) {
		t.Errorf("what came after is not in quarantine: %v, %v", q, err)
	}
	if a, err := first.gate.admit(entries(t, second)); err != nil || a.Refused == nil {
		t.Errorf("later entries of a removed node are admitted: %+v, %v", a, err)
	}

	// The removed node's disk turned out to be good: its later entries are brought to a
	// sibling, which publishes them again. Here they came to it before the removal.
	third, fourth, other := siblingWorld(t)
	publishList(t, fourth, "203.0.113.1\n", amber())
	carryNew(t, fourth, third)
	publishList(t, fourth, "203.0.113.2\n203.0.113.3\n", amber())
	carryNew(t, fourth, other)
	carryNew(t, fourth, third)
	meet(t, third, fourth)
	late := theRecord(t, third, "203.0.113.2").ID
	if _, err := third.RemoveNode(fourth.ID(), false); err != nil {
		t.Fatal(err)
	}
	card := third.OwnCard().Card
	card.Serial++
	card.Removed = slices.Clone(card.Removed)
	card.Removed[0].Heads = nil // nothing of it counts: it was stolen long ago
	resign(t, third, &card)
	if reads(t, third, "203.0.113.2") {
		t.Fatal("what counts nowhere is shown")
	}
	addPerson(t, third, "alice", rules.RoleAdmin)
	addPerson(t, third, "bob", rules.RoleReader) // who was an admin when he asked
	if count, err := third.ResealRemoved(as(t.Context(), "bob", rules.Administer), fourth.ID()); !errors.Is(err, ErrForbidden) || count != 0 || reads(t, third, "203.0.113.2") {
		t.Errorf("%d entries sealed anew by who lost the role, %v", count, err)
	}
	if count, err := third.ResealRemoved(as(t.Context(), "alice", rules.Administer), fourth.ID()); err != nil || count != 2 {
		t.Fatalf("%d entries sealed anew, %v; want 2", count, err)
	}
	account, err := third.Audit(t.Context(), AuditQuery{Kind: "publish"})
	if err != nil || !slices.ContainsFunc(account, func(e AuditEntry) bool { return e.Act == "seal anew" && e.Person == "alice" }) {
		t.Errorf("nobody sealed it anew: %+v, %v", account, err)
	}
	shareSets(t, third, other)
	carryNew(t, third, other)
	for _, n := range []*Node{third, other} {
		if got := theRecord(t, n, "203.0.113.2"); got.ID != late {
			t.Errorf("a record that was sealed anew changed its id")
		}
	}
	if count, err := third.ResealRemoved(t.Context(), fourth.ID()); err != nil || count != 0 {
		t.Errorf("sealed anew a second time: %d, %v", count, err)
	}
}

// TestI4WhatWaitedForAnEntryIsJudgedAgain: an entry that came before those that precede it is
// not let in with them if its node was removed meanwhile.
func TestI4WhatWaitedForAnEntryIsJudgedAgain(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n", amber())
	carryNew(t, second, first)
	publishList(t, second, "203.0.113.2\n", amber())
	all := entries(t, second)
	i := slices.IndexFunc(all, func(e *crypto.VerifiedEnvelope) bool { return e.Header.Seq == 3 })
	if i < 0 {
		t.Fatal("a grant, a record and a record are three entries")
	}
	last := all[i]
	if a, err := partner.gate.admit([]*crypto.VerifiedEnvelope{last}); err != nil || a.Waiting != 1 {
		t.Fatalf("the last entry does not wait: %+v, %v", a, err)
	}
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	a, err := partner.gate.admit(slices.DeleteFunc(all, func(e *crypto.VerifiedEnvelope) bool { return e == last }))
	if err != nil || a.Stored != 2 || a.Refused == nil {
		t.Errorf("admitting what precedes it: %+v, %v", a, err)
	}
	partner.st.View(func(tx *store.Tx) error {
		f, err := tx.Feed(last.Header.Feed)
		if err != nil || f.Seq != 2 {
			t.Errorf("the feed is held up to %d, its organisation counts it up to 2; %v", f.Seq, err)
		}
		return nil
	})
}

// TestI5SiblingsErase: what one node of an organisation erases is gone at all of them, and,
// if one of them published it, everywhere; also after the node that published it was removed.
func TestI5SiblingsErase(t *testing.T) {
	first, second, partner := siblingWorld(t)
	publishList(t, second, "203.0.113.1\n203.0.113.2\n203.0.113.3\n", amber())
	publishList(t, partner, "198.51.100.1\n198.51.100.2\n", amber())
	carryNew(t, second, first)
	carryNew(t, partner, first)
	carryNew(t, partner, second)
	carryNew(t, second, partner)
	meet(t, first, second)
	erase := func(n *Node, value string) *EraseReport {
		t.Helper()
		rep, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, n, value).ID}, Reason: protocol.EraseLegal})
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	if rep := erase(first, "198.51.100.1"); rep.Local != 1 || rep.Siblings != 0 || rep.Erased != 1 {
		t.Errorf("erasing a partner's record reports %+v", rep)
	}
	if rep := erase(first, "203.0.113.1"); rep.Siblings != 1 || rep.Local != 0 || rep.Erased != 1 {
		t.Errorf("erasing a sibling's record reports %+v", rep)
	}
	if !reads(t, partner, "203.0.113.1") {
		t.Fatal("a node erased for everybody what another one published")
	}
	meet(t, first, second)
	shareErases(t, second, first)
	shareErases(t, second, partner)
	carryNew(t, second, first)
	carryNew(t, second, partner)
	for _, n := range []*Node{first, second, partner} {
		if reads(t, n, "203.0.113.1") {
			t.Error("an erased record is shown")
		}
		if !reads(t, n, "203.0.113.2") || !reads(t, n, "203.0.113.3") {
			t.Error("what shared an envelope with an erased record was lost")
		}
	}
	if reads(t, second, "198.51.100.1") || !reads(t, second, "198.51.100.2") || !reads(t, partner, "198.51.100.1") {
		t.Error("an erasure for this organisation alone is not what its other node did")
	}

	meet(t, first, second)
	if _, err := first.RemoveNode(second.ID(), false); err != nil {
		t.Fatal(err)
	}
	shareSets(t, first, partner)
	if rep := erase(first, "203.0.113.2"); rep.Signed != 1 || rep.Resealed != 1 {
		t.Errorf("erasing what a removed node published reports %+v", rep)
	}
	shareErases(t, first, partner)
	carryNew(t, first, partner)
	for _, n := range []*Node{first, partner} {
		if reads(t, n, "203.0.113.2") || !reads(t, n, "203.0.113.3") {
			t.Error("the record of a removed node was not erased, or others with it")
		}
	}
}

// TestSiblingsAgreeWhateverTheOrder: trust, topics, addresses, secrets and erasures join to
// the same set, whoever said what first.
func TestSiblingsAgreeWhateverTheOrder(t *testing.T) {
	t.Parallel()
	first := testNode(t, "Police")
	if _, err := first.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	keys, _, err := NewNode(first.Org(), nil)
	if err != nil {
		t.Fatal(err)
	}
	network := first.snap.Load().network
	open := func() *Node {
		n, err := Open(Config{Keys: keys})
		if err == nil {
			err = n.change(func(tx *store.Tx) error {
				return putDoc(tx, kindSetting, []byte("network"), &networkDoc{Network: network})
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	rapid.Check(t, func(rt *rapid.T) {
		a, b := open(), open()
		defer a.Close()
		defer b.Close()
		org := func() protocol.OrgID {
			return protocol.OrgID{byte(rapid.IntRange(1, 2).Draw(rt, "org"))}
		}
		at := func() uint64 { return rapid.Uint64Range(1, 3).Draw(rt, "at") }
		var raws [][]byte
		for range rapid.IntRange(1, 12).Draw(rt, "items") {
			var item protocol.SiblingItem
			switch rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
				item = protocol.SiblingItem{Kind: protocol.SiblingPinItem, Content: protocol.Encode(&protocol.SiblingPin{Org: org(), At: at(), Trusted: rapid.Bool().Draw(rt, "trusted")})}
			case 1:
				item = protocol.SiblingItem{Kind: protocol.SiblingTopicItem, Content: protocol.Encode(&protocol.SiblingTopic{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "topic"), At: at(), In: rapid.Bool().Draw(rt, "in")})}
			case 2:
				item = protocol.SiblingItem{Kind: protocol.SiblingSecretItem, Content: protocol.Encode(&protocol.SiblingTopicSecret{Period: uint32(at()), Secret: [32]byte{byte(at())}})}
			case 3:
				item = protocol.SiblingItem{Kind: protocol.SiblingAddrsItem, Content: protocol.Encode(&protocol.SiblingAddrs{Node: protocol.NodeID(org()), At: at(), Addrs: []string{}})}
			case 4:
				item = protocol.SiblingItem{Kind: protocol.SiblingErasureItem, Content: protocol.Encode(&protocol.SiblingErasure{Records: []protocol.RecordID{protocol.RecordID(org())}, Reason: protocol.EraseLegal, At: at()})}
			case 5:
				p := &protocol.SiblingPublication{Feed: protocol.FeedID(org()), Seq: at(), Orgs: []protocol.OrgID{}, Topic: "a", At: at(), RetentionDays: uint32(at() - 1)}
				item = protocol.SiblingItem{Kind: protocol.SiblingPublicationItem, Content: protocol.Encode(p)}
			}
			raws = append(raws, protocol.Encode(&item))
		}
		for _, raw := range raws {
			if err := a.takeSiblingItems([][]byte{raw}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.takeSiblingItems(rapid.Permutation(raws).Draw(rt, "order")); err != nil {
			t.Fatal(err)
		}
		if err := b.takeSiblingItems(raws); err != nil { // again
			t.Fatal(err)
		}
		if !sameSiblings(t, a, b) {
			rt.Fatal("the same items in another order make another set")
		}
	})
}

// TestSiblingRefusals: what a hostile peer, or a sibling that was taken over, may not say.
func TestSiblingRefusals(t *testing.T) {
	first, second, partner := siblingWorld(t)
	ask := func(m *protocol.SyncMessage, from *Node) error {
		m.Version = 1
		_, _, err := first.serveSiblings(from.ID(), m)
		return err
	}
	zero := func(n int) []protocol.Hash { return make([]protocol.Hash, n) }
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"a partner compares":      {ask(&protocol.SyncMessage{Kind: protocol.SyncSiblings, Hashes: zero(siblingParts)}, partner), protocol.ErrUnknownAuthor},
		"a partner fetches":       {ask(&protocol.SyncMessage{Kind: protocol.SyncSiblingFetch, Hashes: zero(1)}, partner), protocol.ErrUnknownAuthor},
		"the node itself":         {ask(&protocol.SyncMessage{Kind: protocol.SyncSiblings, Hashes: zero(siblingParts)}, first), protocol.ErrUnknownAuthor},
		"too few digests":         {ask(&protocol.SyncMessage{Kind: protocol.SyncSiblings, Hashes: zero(siblingParts - 1)}, second), protocol.ErrMalformed},
		"two to go on from":       {ask(&protocol.SyncMessage{Kind: protocol.SyncSiblings, Hashes: zero(siblingParts + 2)}, second), protocol.ErrMalformed},
		"fetches too much":        {ask(&protocol.SyncMessage{Kind: protocol.SyncSiblingFetch, Hashes: zero(siblingFetch + 1)}, second), protocol.ErrOversize},
		"an item that is none":    {first.takeSiblingItems([][]byte{{0xff}}), protocol.ErrMalformed},
		"an empty item":           {first.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: 2})}), protocol.ErrOversize},
		"content of another kind": {first.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingKeyItem, Content: protocol.Encode(&protocol.SiblingPin{})})}), protocol.ErrMalformed},
		"a reason that is none": {first.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingErasureItem,
			Content: protocol.Encode(&protocol.SiblingErasure{Records: []protocol.RecordID{{1}}, Reason: 9})})}), protocol.ErrMalformed},
		"the control topic": {first.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingTopicItem,
			Content: protocol.Encode(&protocol.SiblingTopic{Name: protocol.ControlTopic, At: 1 << 60})})}), protocol.ErrMalformed},
		"an erasure of nothing": {first.takeSiblingItems([][]byte{protocol.Encode(&protocol.SiblingItem{Kind: protocol.SiblingErasureItem,
			Content: protocol.Encode(&protocol.SiblingErasure{Records: []protocol.RecordID{}, Reason: 1})})}), protocol.ErrOversize},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	before := fingerprint(t, first)
	for name, item := range map[string]protocol.SiblingItem{
		"a kind of a newer node": {Kind: 99, Content: []byte{1}},
		"a topic with a bad name": {Kind: protocol.SiblingTopicItem,
			Content: protocol.Encode(&protocol.SiblingTopic{Name: "a/b*", At: 1 << 60, In: true})},
		"a key of a feed that is not there": {Kind: protocol.SiblingKeyItem, Content: protocol.Encode(&protocol.SiblingKey{Feed: protocol.FeedID{1}, Number: 1, Audience: []protocol.OrgID{}})},
		"an agreement that nobody signed": {Kind: protocol.SiblingAgreementItem, Content: protocol.Encode(&protocol.SiblingAgreement{Signed: []byte{1}, Rejections: [][]byte{},
			Terminations: [][]byte{}})},
	} {
		if err := first.takeSiblingItems([][]byte{protocol.Encode(&item)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if fingerprint(t, first) != before {
			t.Errorf("%s changed the store", name)
		}
	}
	// Keys of this node's own feeds are its own to make.
	rec := publishList(t, first, "203.0.113.9\n", amber())
	held := func() (list []*store.Epoch) {
		if err := first.st.View(func(tx *store.Tx) (err error) { list, err = tx.Epochs(rec.Feed); return err }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	count := len(held())
	item := protocol.SiblingItem{Kind: protocol.SiblingKeyItem, Content: protocol.Encode(&protocol.SiblingKey{Feed: rec.Feed, Number: 77, Audience: []protocol.OrgID{}})}
	if err := first.takeSiblingItems([][]byte{protocol.Encode(&item)}); err != nil || len(held()) != count {
		t.Errorf("a sibling gives a node keys for its own feed: %d, then %d; %v", count, len(held()), err)
	}
}
