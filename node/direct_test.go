package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// countryNetwork is testNetwork with organisations of countries.
func countryNetwork(t testing.TB, countries ...string) []*Node {
	t.Helper()
	var nodes []*Node
	for i, c := range countries {
		nodes = append(nodes, countryNode(t, fmt.Sprintf("Org %d of %s", i, c), c))
	}
	intoOneNetwork(t, nodes)
	return nodes
}

func countryNode(t testing.TB, name, country string) *Node {
	t.Helper()
	ident, err := NewIdentity(InitRequest{Name: name, Kind: "cert", Country: country})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// agreeHolders is agree for what only the parties and organisations of countries may hold.
func agreeHolders(t testing.TB, from, to *Node, onward protocol.Onward, countries ...string) protocol.AgreementID {
	t.Helper()
	trustEachOther(t, from, to)
	doc := testAgreement(from, to, protocol.TLPAmber, "*")
	doc.Terms[0].Holders.Countries, doc.Terms[0].Onward = countries, onward
	return agreeOn(t, from, to, doc)
}

// directFeedsOf lists the feeds of direct topics that a node holds, with entries in them.
func directFeedsOf(t testing.TB, n *Node) (out []*store.Feed) {
	t.Helper()
	if err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if f.Origin.Topic.Direct() && f.Seq > 0 {
				out = append(out, f)
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// syncAll compares every node with every other, as often as it takes.
func syncAll(t testing.TB, nodes ...*Node) {
	t.Helper()
	for range 2 {
		for _, n := range nodes {
			for _, peer := range nodes {
				if n != peer {
					syncFrom(t, n, peer)
				}
			}
		}
	}
}

// askAs is what a node answers a node of an organisation.
func askAs(t testing.TB, n *Node, org protocol.OrgID, m *protocol.SyncMessage) *protocol.SyncMessage {
	t.Helper()
	m.Version = 1
	a, err := reconcile.Answer(&view{n: n, org: org, serving: true}, m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestDirectFeed: what not every member may hold reaches its reader in a feed that nobody else is
// told of, given, or stores; what is for others as well goes to them with the same id.
func TestDirectFeed(t *testing.T) {
	t.Parallel()
	nodes := countryNetwork(t, "DE", "FR", "US", "FR")
	author, reader, third, other := nodes[0], nodes[1], nodes[2], nodes[3]
	agreeHolders(t, author, reader, protocol.Onward{}, "DE", "FR")
	agree(t, author, third, protocol.TLPAmber, "*")
	syncAll(t, nodes...)

	rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
	if len(rec.Records) != 2 || len(rec.Parts) != 2 || rec.Parts[0].Roster != nil || len(rec.Parts[1].Roster) != 2 {
		t.Fatalf("receipt: %+v", rec)
	}
	topic := author.directOf(author.snap.Load(), rec.Parts[1].Feed)
	if topic == nil || !slices.Contains(topic.Roster, reader.Org()) || slices.Contains(topic.Roster, third.Org()) || slices.Contains(topic.Roster, other.Org()) {
		t.Fatalf("roster %+v", topic)
	}
	syncAll(t, nodes...)
	for _, n := range nodes {
		if want := n == author || n == reader; (len(directFeedsOf(t, n)) > 0) != want || (len(n.snap.Load().directs) > 0) != want {
			t.Errorf("%s holds the direct feed: %v, want %v", n.OwnCard().Inception.Name, !want, want)
		}
		if want := n != other; reads(t, n, "198.51.100.1") != want {
			t.Errorf("%s reads the record: %v", n.OwnCard().Inception.Name, !want)
		}
	}
	for _, n := range []*Node{reader, third} { // by its own way each
		for i, id := range rec.Records {
			if got := recordOf(t, n, fmt.Sprintf("198.51.100.%d", i+1)); got != id {
				t.Errorf("record %d has the id %s here, and %s at its publisher", i, got, id)
			}
		}
	}
	next := publishList(t, author, "198.51.100.3\n", policy.Flags{TLP: protocol.TLPGreen})
	if next.Parts[1].Feed != rec.Parts[1].Feed {
		t.Error("another direct feed is used for the next record")
	}
}

// TestDirectFeedHostile: a member that is not on the roster and knows the ids gets nothing by any
// request, and stores nothing that it is given.
func TestDirectFeedHostile(t *testing.T) {
	t.Parallel()
	nodes := countryNetwork(t, "DE", "FR", "US", "FR")
	author, reader, third, near := nodes[0], nodes[1], nodes[2], nodes[3] // near might hold it, and is not on the roster
	agreeHolders(t, author, reader, protocol.Onward{}, "DE", "FR")
	rec := publishList(t, author, "198.51.100.1\n198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
	syncAll(t, nodes...)
	eraseValue(t, author, "198.51.100.2")
	syncAll(t, nodes...)
	if !reads(t, reader, "198.51.100.1") || reads(t, reader, "198.51.100.2") {
		t.Fatal("the reader does not read what is left, or still what was erased")
	}
	s := author.snap.Load()
	feed := rec.Parts[0].Feed
	topic := author.directOf(s, feed)
	if topic == nil || !s.shares(topic.id, reader.Org()) || s.shares(topic.id, third.Org()) {
		t.Fatal("it is not in a direct feed for the reader alone")
	}
	hidden := author.evidence.hashesOf(func(id protocol.TopicID) bool { return id == topic.id })
	hidden = append(hidden, topic.hash)
	var entries [][]byte
	if err := author.st.View(func(tx *store.Tx) error {
		return tx.Range(feed, 1, 100, 1<<20, func(raw []byte) error { entries = append(entries, slices.Clone(raw)); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := author.signHeads(); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []*Node{author, reader} {
		for _, row := range []struct {
			org  protocol.OrgID
			told bool
		}{{third.Org(), false}, {near.Org(), false}, {reader.Org(), true}, {protocol.OrgID{}, false}} {
			name := asked.OwnCard().Inception.Name
			saw := func(what string, told bool) {
				t.Helper()
				if told != row.told {
					t.Errorf("%s, asked by %s for %s: told %v", name, s.name(row.org), what, told)
				}
			}
			list := askAs(t, asked, row.org, &protocol.SyncMessage{Kind: protocol.SyncList})
			for _, h := range hidden {
				saw("the list", slices.Contains(list.Hashes, h))
			}
			items := askAs(t, asked, row.org, &protocol.SyncMessage{Kind: protocol.SyncFetch, Hashes: hidden})
			saw("the topic", len(items.Directs) == 1)
			saw("the erase", len(items.Erases) == len(hidden)-1)
			front := askAs(t, asked, row.org, &protocol.SyncMessage{Kind: protocol.SyncFrontier})
			saw("the frontier", slices.ContainsFunc(front.Frontier, func(f protocol.FrontierEntry) bool { return f.Origin.Topic.Direct() }))
			pull := askAs(t, asked, row.org, &protocol.SyncMessage{Kind: protocol.SyncPull, Pull: []protocol.PullRange{{Feed: feed, From: 1, Count: 100}}})
			saw("entries", len(pull.Envelopes) > 0)
			receipts, err := asked.serveReceipts(row.org, &protocol.SyncMessage{Version: 1, Kind: protocol.SyncReceipts, Pull: []protocol.PullRange{{Feed: feed, From: 1, Count: 1}}})
			if err != nil {
				t.Fatal(err)
			}
			saw("receipts", len(receipts.Receipts) > 0)
			heads := askAs(t, asked, row.org, &protocol.SyncMessage{Kind: protocol.SyncHeads})
			if asked == author {
				saw("heads", slices.ContainsFunc(heads.Heads, func(h protocol.Signed) bool {
					x, err := crypto.VerifyHead(s.network, &h)
					return err == nil && x.Origin.Topic.Direct()
				}))
			}
			if row.org == third.Org() {
				if got := askKeysOf(t, asked, third, feed); len(got) > 0 {
					t.Errorf("asked for keys, %s says %+v", name, got)
				}
			}
		}
	}
	// The digests of those who may not know are those of a network without any of it.
	digest := func(n *Node, org protocol.OrgID) protocol.SyncMessage {
		a := askAs(t, n, org, &protocol.SyncMessage{Kind: protocol.SyncDigest})
		return protocol.SyncMessage{Sets: a.Sets, Feeds: a.Feeds}
	}
	if a, b := digest(author, third.Org()), digest(third, author.Org()); a.Sets != b.Sets || a.Feeds != b.Feeds {
		t.Error("the digests differ by what may not be told of")
	}

	// What it is given all the same it refuses: entries, the topic, erases, heads, gossip.
	before := fingerprint(t, third)
	if _, err := (&view{n: third}).TakeEntries(entries); err != nil {
		t.Fatal(err)
	}
	if len(directFeedsOf(t, third)) > 0 {
		t.Error("an entry is stored by who is not on the roster")
	}
	env, err := crypto.VerifyEnvelope(s.network, entries[0])
	if err != nil {
		t.Fatal(err)
	}
	if a, err := third.gate.admit([]*crypto.VerifiedEnvelope{env}); err != nil || !errors.Is(a.Refused, protocol.ErrNoAgreement) {
		t.Errorf("admitting gives %v, %v", a.Refused, err)
	}
	items := askAs(t, author, reader.Org(), &protocol.SyncMessage{Kind: protocol.SyncFetch, Hashes: hidden})
	if err := (&view{n: third}).TakeItems(items); err != nil {
		t.Fatal(err)
	}
	heads, err := author.signHeads(feed)
	if err != nil || len(heads) != 1 {
		t.Fatal(heads, err)
	}
	if fresh, _, err := third.takeHeads(heads); err != nil || fresh > 0 {
		t.Errorf("%d heads taken, %v", fresh, err)
	}
	net := &network{n: third, tellers: map[protocol.NodeID]bool{}, stalled: map[protocol.NodeID]time.Time{}, dirty: make(chan struct{}, 1)}
	told := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncDirect, Directs: items.Directs, Heads: heads, Erases: items.Erases}
	if _, err := net.serveDirect(author.ID(), told); err != nil || len(net.tellers) > 0 {
		t.Errorf("told of a direct feed, it takes it: %v, %v", net.tellers, err)
	}
	told.Heads = slices.Repeat(heads, protocol.MaxNoticeItems+1)
	if _, err := net.serveDirect(author.ID(), told); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("told too much, it says %v", err)
	}
	if fingerprint(t, third) != before {
		t.Error("something of it was stored")
	}
	for what, n := range map[string]*protocol.Notice{"head": {Version: 1, Heads: heads}, "erase": {Version: 1, Erases: items.Erases}} {
		for _, by := range []*Node{third, reader} {
			if _, err := by.readNotice(protocol.Encode(n)); err == nil || what == "head" && !errors.Is(err, protocol.ErrWrongContext) {
				t.Errorf("a gossiped %s is passed on: %v", what, err)
			}
		}
	}
	if err := judge(reader, entries[len(entries)-1]); err == nil {
		t.Error("a gossiped entry is passed on")
	}
	// A topic of which it is on the roster by somebody else's word.
	forged := topic.DirectTopic
	forged.Roster = []protocol.OrgID{author.Org(), third.Org()}
	slices.SortFunc(forged.Roster, protocol.OrgID.Compare)
	signed, err := crypto.SignDirectTopic(&forged, reader.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := third.takeDirects([]protocol.Signed{signed}); err != nil || got.kept > 0 {
		t.Errorf("a topic that its author did not sign is kept: %+v, %v", got, err)
	}
}

// TestDirectOnward: what came under a term that restricts holders is passed on to those only who may
// hold it, in a direct feed that states it, and binds the hop after that, which knows none of the terms.
func TestDirectOnward(t *testing.T) {
	t.Parallel()
	nodes := countryNetwork(t, "DE", "FR", "DE", "US", "FR", "US")
	vendor, police, cert, foreign, bank, far := nodes[0], nodes[1], nodes[2], nodes[3], nodes[4], nodes[5]
	partners := protocol.Onward{Rule: protocol.OnwardPartners}
	agreeHolders(t, vendor, police, partners, "DE", "FR")
	for _, pair := range [][2]*Node{{police, cert}, {police, foreign}, {cert, bank}, {cert, far}} {
		trustEachOther(t, pair[0], pair[1])
		doc := testAgreement(pair[0], pair[1], protocol.TLPAmber, "*")
		doc.Terms[0].Onward = partners
		agreeOn(t, pair[0], pair[1], doc)
	}
	for _, n := range []*Node{police, cert} {
		if err := n.SetRelease(context.Background(), ReleaseAuto, false); err != nil {
			t.Fatal(err)
		}
	}
	syncAll(t, nodes...)
	rec := publishList(t, vendor, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen, Onward: partners})
	for range 3 {
		syncAll(t, nodes...)
		for _, n := range []*Node{police, cert} {
			if err := n.passDue(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, n := range nodes {
		may := n != foreign && n != far
		if reads(t, n, "198.51.100.1") != may {
			t.Errorf("%s reads it: %v", n.OwnCard().Inception.Name, !may)
		}
		if got := len(directFeedsOf(t, n)) > 0; got != may {
			t.Errorf("%s holds it sealed: %v", n.OwnCard().Inception.Name, got)
		}
	}
	for _, row := range []struct {
		by, to *Node
	}{{police, foreign}, {cert, far}} {
		org := row.to.Org()
		x, err := row.by.Explain(rec.Records[0], &org)
		if err != nil || len(x.DoNotPass) != 1 || x.DoNotPass[0].Reason != policy.ReasonHolders {
			t.Errorf("explained: %+v, %v", x, err)
		}
	}
	// Its withdrawal follows, in the same feeds, and is told to nobody else.
	before := map[*Node]uint64{foreign: entriesHeld(foreign), far: entriesHeld(far)}
	if err := vendor.Withdraw(context.Background(), rec.Records, "a mistake"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		syncAll(t, nodes...)
		for _, n := range []*Node{police, cert} {
			if err := n.passDue(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, n := range []*Node{police, cert, bank} {
		if x, err := n.Explain(rec.Records[0], nil); err != nil || !x.Record.Withdrawn {
			t.Errorf("%s: %+v, %v", n.OwnCard().Inception.Name, x, err)
		}
	}
	for n, was := range before {
		if entriesHeld(n) != was {
			t.Errorf("%s was given entries by the withdrawal", n.OwnCard().Inception.Name)
		}
	}
}

func entriesHeld(n *Node) uint64 { return n.gate.held() }

// TestDirectRosterChanges: nothing more is appended for a roster on which somebody stands who may not
// be given it any more; who left is told of nothing, and the others keep what they have.
func TestDirectRosterChanges(t *testing.T) {
	t.Parallel()
	nodes := countryNetwork(t, "DE", "FR", "FR")
	author, stays, leaves := nodes[0], nodes[1], nodes[2]
	for _, n := range []*Node{stays, leaves} {
		agreeHolders(t, author, n, protocol.Onward{}, "DE", "FR")
	}
	first := publishList(t, author, "198.51.100.1\n", green)
	syncAll(t, nodes...)
	if !reads(t, stays, "198.51.100.1") || !reads(t, leaves, "198.51.100.1") || len(first.Parts[0].Roster) != 3 {
		t.Fatalf("it went by %+v", first.Parts)
	}
	if err := author.RemoveMember(leaves.Org(), "left"); err != nil {
		t.Fatal(err)
	}
	shareSets(t, author, stays)
	second := publishList(t, author, "198.51.100.2\n", green)
	if second.Parts[0].Feed == first.Parts[0].Feed || slices.Contains(second.Parts[0].Roster, leaves.Org()) || len(second.Parts[0].Roster) != 2 {
		t.Errorf("it went by %+v", second.Parts)
	}
	// What was in the old feed is withdrawn in one that who is left may hold.
	if err := author.Withdraw(context.Background(), first.Records, "a mistake"); err != nil {
		t.Fatal(err)
	}
	syncAll(t, author, stays)
	if x, err := stays.Explain(first.Records[0], nil); err != nil || !x.Record.Withdrawn {
		t.Errorf("who stayed was not told of the withdrawal: %v", err)
	}
	if !reads(t, stays, "198.51.100.2") {
		t.Error("who stayed does not read the second")
	}
	for _, by := range []*Node{author, stays} {
		front := askAs(t, by, leaves.Org(), &protocol.SyncMessage{Kind: protocol.SyncFrontier})
		if slices.ContainsFunc(front.Frontier, func(f protocol.FrontierEntry) bool { return f.Origin.Topic.Direct() }) {
			t.Errorf("%s tells who left of direct feeds", by.OwnCard().Inception.Name)
		}
	}
}

// TestDirectEraseAfterLeaving: who left the topic still has what it stored destroyed.
func TestDirectEraseAfterLeaving(t *testing.T) {
	nodes := countryNetwork(t, "DE", "FR")
	author, reader := nodes[0], nodes[1]
	agreeHolders(t, author, reader, protocol.Onward{}, "DE", "FR")
	rec := publishList(t, author, "198.51.100.1\n", green)
	syncAll(t, author, reader)
	if err := reader.LeaveTopic("c2"); err != nil {
		t.Fatal(err)
	}
	next := publishList(t, author, "198.51.100.2\n", green)
	eraseValue(t, author, "198.51.100.1")
	syncAll(t, author, reader)
	if reads(t, reader, "198.51.100.1") {
		t.Error("what was erased is shown by who left the topic")
	}
	has := true
	if err := reader.st.View(func(tx *store.Tx) (err error) { has, err = tx.Has(rec.Parts[0].Feed, rec.Parts[0].To); return err }); err != nil || has {
		t.Errorf("the erased body is held: %v, %v", has, err)
	}
	if reader.gate.head(next.Parts[0].Feed) >= next.Parts[0].To {
		t.Error("who left the topic is given what comes after")
	}
}

// TestDirectSiblings: the nodes of an organisation on the roster hold its direct feeds, those that
// come later too, and open what is in them.
func TestDirectSiblings(t *testing.T) {
	t.Parallel()
	nodes := countryNetwork(t, "DE", "FR")
	author, reader := nodes[0], nodes[1]
	agreeHolders(t, author, reader, protocol.Onward{}, "DE", "FR")
	rec := publishList(t, author, "198.51.100.1\n", green)
	second := secondNode(t, reader)
	shareSets(t, reader, author)
	for range 2 {
		syncAll(t, author, reader, second)
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
	}
	if !reads(t, reader, "198.51.100.1") || !reads(t, second, "198.51.100.1") {
		t.Errorf("read by the first %v, by the second %v", reads(t, reader, "198.51.100.1"), reads(t, second, "198.51.100.1"))
	}
	if d := second.directOf(second.snap.Load(), rec.Parts[0].Feed); d == nil {
		t.Error("the second does not know for whom it is")
	}
	beside := secondNode(t, author)
	shareSets(t, author, reader, second)
	syncAll(t, author, beside)
	other := publishList(t, beside, "198.51.100.2\n", green) // in a direct feed of its own
	if other.Parts[0].Roster == nil || other.Parts[0].Feed == rec.Parts[0].Feed {
		t.Errorf("it went by %+v", other.Parts)
	}
	syncAll(t, author, beside, reader, second)
	if !reads(t, reader, "198.51.100.2") || len(directFeedsOf(t, author)) != 2 {
		t.Error("what the other node of its organisation published is not held")
	}
}

// TestDirectRestart: after a restart the feed is gone on with, and served to its roster alone.
func TestDirectRestart(t *testing.T) {
	t.Parallel()
	ident, err := NewIdentity(InitRequest{Name: "Author", Kind: "cert", Country: "DE"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Keys: ident.Keys, Card: &ident.Card, Dir: t.TempDir()}
	author, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	other := countryNode(t, "Reader", "FR")
	third := countryNode(t, "Third", "US")
	intoOneNetwork(t, []*Node{author, other, third})
	agreeHolders(t, author, other, protocol.Onward{}, "DE", "FR")
	first := publishList(t, author, "198.51.100.1\n", green)
	eraseValue(t, author, "198.51.100.1")
	if err := author.Close(); err != nil {
		t.Fatal(err)
	}
	if author, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer author.Close()
	second := publishList(t, author, "198.51.100.2\n", green)
	if second.Parts[0].Feed != first.Parts[0].Feed || second.Parts[0].From <= first.Parts[0].To {
		t.Errorf("after the restart it goes by %+v, before by %+v", second.Parts, first.Parts)
	}
	syncAll(t, author, other, third)
	if !reads(t, other, "198.51.100.2") || len(directFeedsOf(t, third)) > 0 {
		t.Error("it does not reach its reader, or others too")
	}
	if all, seen := len(author.evidence.hashes()), len(askAs(t, author, third.Org(), &protocol.SyncMessage{Kind: protocol.SyncFetch, Hashes: author.evidence.hashes()}).Erases); all != 1 || seen != 0 {
		t.Errorf("%d erases are held, and %d told to who is not on the roster", all, seen)
	}
}

// TestDirectTopicsBounded: of one node's topics no more are kept than the protocol lets it have.
func TestDirectTopicsBounded(t *testing.T) {
	t.Parallel()
	nodes := countryNetwork(t, "DE", "FR")
	author, reader := nodes[0], nodes[1]
	var list []protocol.Signed
	roster := []protocol.OrgID{author.Org(), reader.Org()}
	slices.SortFunc(roster, protocol.OrgID.Compare)
	for i := range protocol.MaxDirectTopics + 3 {
		d := &protocol.DirectTopic{Version: 1, Network: author.snap.Load().network, Author: author.keys.Signing.Public(), Name: "c2", Roster: roster,
			Bounds: []protocol.Bound{{Orgs: roster, Countries: []string{}}}, Nonce: [32]byte{byte(i), byte(i >> 8)}}
		signed, err := crypto.SignDirectTopic(d, author.keys.Signing)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, signed)
	}
	if got, err := reader.takeDirects(list); err != nil || got.kept != protocol.MaxDirectTopics {
		t.Errorf("%d topics are kept, %v", got.kept, err)
	}
	if got, err := reader.takeDirects(list); err != nil || got.kept != 0 {
		t.Errorf("%d more topics are kept, %v", got.kept, err)
	}
}

// TestDirectCarried: a file for who is on the roster brings the topic ahead of what is about it, so
// that one file is enough, and a file for another member brings none of it.
func TestDirectCarried(t *testing.T) {
	nodes := countryNetwork(t, "DE", "FR", "US")
	author, reader, third := nodes[0], nodes[1], nodes[2]
	agreeHolders(t, author, reader, protocol.Onward{}, "DE", "FR")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
	eraseValue(t, author, "198.51.100.1")
	eraseValue(t, author, "198.51.100.2")
	for _, to := range []*Node{reader, third} {
		var file bytes.Buffer
		info, err := author.Pack(context.Background(), &file, PackRequest{To: to.Org(), Topics: []string{"c2"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Apply(context.Background(), &file); err != nil {
			t.Fatal(err)
		}
		may := to == reader
		if got := len(directFeedsOf(t, to)) > 0; got != may || reads(t, to, "198.51.100.3") != may || reads(t, to, "198.51.100.1") {
			t.Errorf("the file for %s brings the direct feed: %v (%+v)", to.OwnCard().Inception.Name, got, info)
		}
		if got := len(to.evidence.hashes()); (got == len(author.evidence.hashes())) != may {
			t.Errorf("%s knows of %d erases", to.OwnCard().Inception.Name, got)
		}
	}
}

// TestDirectBackup: a restored node knows who may hold what is in direct feeds, tells nobody else, and
// goes on in topics of its own.
func TestDirectBackup(t *testing.T) {
	t.Parallel()
	nodes := countryNetwork(t, "DE", "FR", "US")
	author, reader, third := nodes[0], nodes[1], nodes[2]
	agreeHolders(t, author, reader, protocol.Onward{}, "DE", "FR")
	rec := publishList(t, author, "198.51.100.1\n", green)
	key := newOffline(t)
	data := backupOf(t, author, key)
	dir := t.TempDir()
	if _, err := Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: dir, Identities: key.ids}); err != nil {
		t.Fatal(err)
	}
	back := openDir(t, dir, true)
	if d := back.directOf(back.snap.Load(), rec.Parts[0].Feed); d == nil || !slices.Contains(d.Roster, reader.Org()) {
		t.Fatalf("the restored node does not know for whom the feed is: %+v", d)
	}
	shareSets(t, back, reader, third)
	syncAll(t, back, reader, third)
	if !reads(t, back, "198.51.100.1") || len(directFeedsOf(t, reader)) == 0 || len(directFeedsOf(t, third)) > 0 {
		t.Error("what was restored does not reach those on the roster alone")
	}
	next := publishList(t, back, "198.51.100.2\n", green)
	if next.Parts[0].Roster == nil || next.Parts[0].Feed == rec.Parts[0].Feed {
		t.Errorf("the restored node goes on in %+v", next.Parts)
	}
	syncAll(t, back, reader, third)
	if !reads(t, reader, "198.51.100.2") || len(directFeedsOf(t, third)) > 0 {
		t.Error("what the restored node publishes does not reach those on the roster alone")
	}
}
