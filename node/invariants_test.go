package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

var green = policy.Flags{TLP: protocol.TLPGreen}

// ownTopic returns an own feed of the topic c2.
func ownTopic(t testing.TB, n *Node) (f *store.Feed) {
	t.Helper()
	s := n.snap.Load()
	err := n.st.Update(func(tx *store.Tx) (err error) {
		f, err = n.ownFeed(tx, s.network, protocol.NewTopicID(s.network, "c2"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// feedAt returns the status of a feed at a node.
func feedAt(t testing.TB, n *Node, feed protocol.FeedID) FeedStatus {
	t.Helper()
	list, err := n.Feeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Feed == feed {
			return f
		}
	}
	t.Fatalf("feed %s is not known", feed.Short())
	return FeedStatus{}
}

// lastHeads returns the signed heads of a node as it states them now.
func lastHeads(t testing.TB, n *Node) []protocol.Signed {
	t.Helper()
	heads, err := n.signHeads()
	if err != nil {
		t.Fatal(err)
	}
	return heads
}

// syncBoth compares nodes with each other until nothing changes any more.
func syncBoth(t testing.TB, nodes ...*Node) {
	t.Helper()
	for range 2 * len(nodes) {
		for _, a := range nodes {
			for _, b := range nodes {
				if a != b {
					syncFrom(t, a, b)
				}
			}
		}
	}
}

// recordOf returns the id of the record of a value.
func recordOf(t testing.TB, n *Node, value string) protocol.RecordID {
	t.Helper()
	recs, _, err := n.Search(Query{Value: value})
	if err != nil || len(recs) != 1 {
		t.Fatalf("found %d records of %s: %v", len(recs), value, err)
	}
	return recs[0].ID
}

func TestI3GapIsNeverComplete(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	for _, ip := range []string{"198.51.100.1\n", "198.51.100.2\n", "198.51.100.3\n"} {
		publishList(t, author, ip, green)
	}
	feed := ownTopic(t, author).ID
	all := entries(t, author)
	topic := slices.DeleteFunc(slices.Clone(all), func(e *crypto.VerifiedEnvelope) bool { return e.Header.Feed != feed })
	first := topic[:2]
	if _, err := reader.gate.admit(first); err != nil {
		t.Fatal(err)
	}
	if f := feedAt(t, reader, feed); f.Complete || !f.Unknown {
		t.Errorf("without any head of its author the feed is shown as complete: %+v", f)
	}
	if _, gap, err := reader.takeHeads(lastHeads(t, author)); err != nil || !gap {
		t.Fatalf("gap %v, %v", gap, err)
	}
	f := feedAt(t, reader, feed)
	if f.Complete || f.Missing != uint64(len(topic)-2) || f.Head != uint64(len(topic)) || f.Since == nil || f.Org.ID != author.Org() {
		t.Errorf("the gap is shown as %+v", f)
	}
	st, err := reader.Status()
	if err != nil || st.Gaps == 0 || st.Missing == 0 {
		t.Errorf("status does not tell of the gap: %+v, %v", st, err)
	}
	// A peer that serves the entry without its body does not close the gap.
	stripped := make([]*crypto.VerifiedEnvelope, len(topic))
	for i, e := range topic {
		stripped[i] = e.Stripped()
	}
	if _, err := reader.gate.admit(stripped); err != nil {
		t.Fatal(err)
	}
	if f := feedAt(t, reader, feed); f.Complete || f.Bodies != uint64(len(topic)-2) || f.Missing != f.Bodies {
		t.Errorf("missing bodies are shown as %+v", f)
	}
	if reads(t, reader, "198.51.100.3") {
		t.Error("a record was read out of nothing")
	}
	syncFrom(t, reader, author)
	if f := feedAt(t, reader, feed); !f.Complete || f.Since != nil || f.Digest != feedAt(t, author, feed).Digest {
		t.Errorf("after the sync the feed is %+v", f)
	}
	for _, ip := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		if !reads(t, reader, ip) {
			t.Errorf("%s is not there", ip)
		}
	}
}

// An author that was restored closes its feed below what it stated before. What it stated is
// missing all the same.
func TestI3ClosedHeadHidesNoGap(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Late Reader")
	author := nodes[0]
	publishList(t, author, "198.51.100.1\n", green)
	f := ownTopic(t, author)
	var heads []protocol.Signed
	for _, h := range []*protocol.Head{
		{Version: 1, Network: author.snap.Load().network, Origin: f.Origin, Seq: f.Seq + 5, Hash: protocol.Hash{1}, Counter: 1 << 50},
		{Version: 1, Network: author.snap.Load().network, Origin: f.Origin, Seq: f.Seq, Hash: f.Hash, Counter: 1<<50 + 1, Closed: true},
	} {
		s, err := crypto.SignHead(h, author.keys.Signing)
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, s)
	}
	for _, reader := range nodes[1:] {
		carryNew(t, author, reader)
		for _, s := range heads {
			if fresh, _, err := reader.takeHeads([]protocol.Signed{s}); err != nil || fresh != 1 {
				t.Fatal(fresh, err)
			}
			if fresh, _, err := reader.takeHeads([]protocol.Signed{s}); err != nil || fresh != 0 {
				t.Fatal("a head is new twice", err)
			}
		}
		if st := feedAt(t, reader, f.ID); st.Complete || st.Missing != 5 || !st.Closed {
			t.Errorf("the gap is shown as %+v", st)
		}
		slices.Reverse(heads) // the other hears them in the other order
	}
}

// Forged, foreign and old heads make no gap.
func TestI3HeadsRefuse(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	f := ownTopic(t, author)
	head := func(change func(h *protocol.Head), key crypto.SigningPrivate) protocol.Signed {
		h := &protocol.Head{Version: 1, Network: author.snap.Load().network, Origin: f.Origin, Seq: f.Seq + 5, Hash: protocol.Hash{1}, Counter: 1 << 50}
		change(h)
		s, err := crypto.SignHead(h, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, s := range map[string]protocol.Signed{
		"signed by another":   head(func(*protocol.Head) {}, mallory.keys.Signing),
		"of another network":  head(func(h *protocol.Head) { h.Network = protocol.NetworkID{1} }, author.keys.Signing),
		"of a topic not held": head(func(h *protocol.Head) { h.Origin.Topic = protocol.TopicID{9} }, author.keys.Signing),
		"of a stranger": func() protocol.Signed {
			k := crypto.GenerateSigning()
			return head(func(h *protocol.Head) { h.Origin.Signing = k.Public() }, k)
		}(),
	} {
		if fresh, gap, err := reader.takeHeads([]protocol.Signed{s}); gap || fresh > 0 {
			t.Errorf("a head %s counts: %v", name, err)
		}
	}
	if fresh, _, err := reader.takeHeads([]protocol.Signed{head(func(*protocol.Head) {}, author.keys.Signing)}); fresh != 1 || err != nil {
		t.Fatalf("the author's head: %d, %v", fresh, err)
	}
	if fresh, _, _ := reader.takeHeads([]protocol.Signed{head(func(h *protocol.Head) { h.Counter = 5; h.Seq = 1 }, author.keys.Signing)}); fresh != 0 {
		t.Error("an older head takes the place of a newer one")
	}
	closed := head(func(h *protocol.Head) { h.Counter, h.Closed, h.Seq, h.Hash = 1, true, f.Seq, f.Hash }, author.keys.Signing)
	if fresh, _, _ := reader.takeHeads([]protocol.Signed{closed}); fresh != 1 || !feedAt(t, reader, f.ID).Closed {
		t.Error("the last word about a feed does not count")
	}
}

// fork makes an entry that contradicts one of a node's own.
func forkOf(t testing.TB, n *Node, e *crypto.VerifiedEnvelope, body string) *crypto.VerifiedEnvelope {
	t.Helper()
	other, err := crypto.SignEnvelope(n.snap.Load().network, e.Origin, protocol.EntryRecords, e.Header.Seq, e.Header.Previous, []byte(body), n.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

func TestI4ForkIsProvedAndFrozen(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "One", "Two", "Three")
	author, one, two, three := nodes[0], nodes[1], nodes[2], nodes[3]
	for _, n := range nodes[1:] {
		agree(t, author, n, protocol.TLPGreen, "*")
	}
	publishList(t, author, "198.51.100.1\n", green)
	syncBoth(t, nodes...)
	feed := ownTopic(t, author).ID
	publishList(t, author, "198.51.100.2\n", green)
	publishList(t, author, "198.51.100.3\n", green)
	all := slices.DeleteFunc(entries(t, author), func(e *crypto.VerifiedEnvelope) bool { return e.Header.Feed != feed })
	// The author shows one history to One, and another to Two, both longer than the fork.
	held := feedAt(t, one, feed).Held
	branch := []*crypto.VerifiedEnvelope{forkOf(t, author, all[held], "another history")}
	for range 40 {
		last := branch[len(branch)-1]
		next, err := crypto.SignEnvelope(author.snap.Load().network, last.Origin, protocol.EntryRecords, last.Header.Seq+1, last.Hash, []byte("and on"), author.keys.Signing)
		if err != nil {
			t.Fatal(err)
		}
		branch = append(branch, next)
	}
	for n, list := range map[*Node][]*crypto.VerifiedEnvelope{one: all, two: branch} {
		if _, err := n.gate.admit(list); err != nil {
			t.Fatal(err)
		}
	}
	if !reads(t, one, "198.51.100.3") {
		t.Fatal("the first history was not taken")
	}
	syncBoth(t, one, two, three)
	var proofs [][]byte
	for _, n := range []*Node{one, two, three} {
		f := n.evidence.fork(feed)
		if f == nil {
			t.Fatalf("no proof of the fork at %s", n.OwnCard().Inception.Name)
		}
		enc := protocol.Encode(&f.ForkProof)
		proofs = append(proofs, enc)
		if len(enc) > protocol.MaxForkProofSize || f.Seq != held+1 {
			t.Errorf("the proof has %d bytes and is about entry %d, want %d", len(enc), f.Seq, held+1)
		}
		st := feedAt(t, n, feed)
		if st.Forked != held+1 || st.Held != held || st.Digest != feedAt(t, one, feed).Digest {
			t.Errorf("after the fork the feed is %+v", st)
		}
		if reads(t, n, "198.51.100.2") || reads(t, n, "198.51.100.3") {
			t.Error("what comes after the fork is read")
		}
		if !reads(t, n, "198.51.100.1") {
			t.Error("what came before the fork is not read")
		}
		status, err := n.Status()
		if err != nil || status.Forked != 1 || !slices.ContainsFunc(status.Problems, func(p Problem) bool { return strings.Contains(p.Text, "forked") }) {
			t.Errorf("the operator is not told: %+v, %v", status, err)
		}
		if !n.snap.Load().members[author.Org()] {
			t.Error("the organisation was banned")
		}
	}
	if !bytes.Equal(proofs[0], proofs[1]) || !bytes.Equal(proofs[1], proofs[2]) {
		t.Error("the nodes hold different proofs")
	}
	if q, err := one.Quarantine(""); err != nil || len(q) == 0 || q[0].Reason != forkReason {
		t.Errorf("quarantine is %+v, %v", q, err)
	}
	// Later entries do not count, however they come.
	if a, err := one.gate.admit(branch[1:3]); err != nil || a.Stored != 0 || !errors.Is(a.Refused, errFrozen) {
		t.Errorf("%+v, %v", a, err)
	}
	if err := judge(three, branch[5].Raw); !errors.Is(err, errFrozen) {
		t.Errorf("the validator says %v", err)
	}
	// The author learns of it, closes the feed, and seals anew what it acknowledged.
	syncFrom(t, author, one)
	if err := author.resealForked(context.Background()); err != nil {
		t.Fatal(err)
	}
	if next := ownTopic(t, author); next.ID == feed || next.Seq == 0 {
		t.Fatalf("the author goes on in feed %s at %d", next.ID.Short(), next.Seq)
	}
	syncBoth(t, nodes...)
	for _, n := range []*Node{one, two, three} {
		for _, ip := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
			if !reads(t, n, ip) {
				t.Errorf("%s was acknowledged, and is lost at %s", ip, n.OwnCard().Inception.Name)
			}
		}
	}
	before := ownTopic(t, author).Seq
	if err := author.resealForked(context.Background()); err != nil || ownTopic(t, author).Seq != before {
		t.Errorf("it is sealed again and again: %v", err)
	}
}

func TestI4ForgedProofsBlameNobody(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	network := author.snap.Load().network
	e := entries(t, author)[len(entries(t, author))-1]
	forged, err := crypto.SignEnvelope(network, e.Origin, protocol.EntryRecords, e.Header.Seq, e.Header.Previous, []byte("x"), mallory.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	var a, b protocol.Envelope
	for raw, v := range map[string]*protocol.Envelope{string(e.Raw): &a, string(forged.Raw): &b} {
		if err := protocol.Decode([]byte(raw), protocol.MaxEnvelopeSize, v); err != nil {
			t.Fatal(err)
		}
	}
	p := protocol.NewForkProof(network, e.Origin, protocol.SignedHeader{Header: a.Header, Sig: a.Sig}, protocol.SignedHeader{Header: b.Header, Sig: b.Sig})
	if got, err := reader.takeForks([]protocol.ForkProof{*p}); err != nil || got.kept != 0 || reader.evidence.fork(e.Header.Feed) != nil {
		t.Errorf("a forged proof counts: %+v, %v", got, err)
	}
}

func TestI5ErasedRecordIsGoneEverywhere(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Relay", "Late")
	author, reader, relay, late := nodes[0], nodes[1], nodes[2], nodes[3]
	agree(t, author, reader, protocol.TLPGreen, "*")
	agree(t, author, late, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
	for _, n := range []*Node{reader, relay} {
		syncFrom(t, n, author)
	}
	feed := ownTopic(t, author).ID
	id, kept := recordOf(t, reader, "198.51.100.2"), recordOf(t, reader, "198.51.100.1")
	stale := entries(t, author)
	rep, err := author.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal})
	if err != nil || rep.Erased != 1 || rep.Resealed != 2 || rep.Signed != 1 || len(rep.Told) != 2 || len(rep.Beyond) < 3 {
		t.Fatalf("report is %+v, %v", rep, err)
	}
	check := func(n *Node, when string) {
		t.Helper()
		if reads(t, n, "198.51.100.2") {
			t.Errorf("%s: the erased record is read", when)
		}
		if _, err := n.Find(id.String()); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: the erased record is found: %v", when, err)
		}
		for _, ip := range []string{"198.51.100.1", "198.51.100.3"} {
			if !reads(t, n, ip) {
				t.Errorf("%s: %s is lost, though it was not erased", when, ip)
			}
		}
	}
	check(author, "at its author")
	for _, n := range []*Node{reader, relay, late} {
		syncFrom(t, n, author)
	}
	check(reader, "at a reader")
	check(late, "at a reader that came later")
	if recordOf(t, reader, "198.51.100.1") != kept || recordOf(t, late, "198.51.100.1") != kept {
		t.Error("a survivor has another id now")
	}
	seq := uint64(0)
	for _, e := range stale {
		if e.Header.Feed == feed && e.Header.Kind == protocol.EntryRecords {
			seq = e.Header.Seq
		}
	}
	for _, n := range nodes {
		err := n.st.View(func(tx *store.Tx) error {
			raw, err := tx.Envelope(feed, seq)
			if err == nil {
				_, err = crypto.VerifySkeleton(n.snap.Load().network, raw)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s holds the body: %v", n.OwnCard().Inception.Name, err)
		}
		if st := feedAt(t, n, feed); st.Bodies != 0 {
			t.Errorf("the erased body counts as missing: %+v", st)
		}
	}
	// A peer that was away comes with the old bodies; so does a carried file.
	for _, n := range []*Node{reader, relay, late} {
		if _, err := n.gate.admit(stale); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.st.Update(func(tx *store.Tx) error { return n.markParties(tx, []protocol.OrgID{author.Org()}) }), n.gate.reopenMarked()); err != nil {
			t.Fatal(err)
		}
		if err := n.gate.drain(); err != nil {
			t.Fatal(err)
		}
	}
	check(reader, "after a stale peer")
	check(late, "after a stale peer")
	// Nor by way of another publisher's feed.
	agree(t, reader, late, protocol.TLPGreen, "*")
	if n, err := late.readable(); err != nil || n != 2 {
		t.Errorf("%d records: %v", n, err)
	}
}

// What a node may not erase stays.
func TestI5ErasesRefuse(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Mallory")
	author, reader, mallory := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	id := recordOf(t, reader, "198.51.100.1")
	f := ownTopic(t, author)
	network := author.snap.Load().network
	erase := func(origin protocol.Origin, records ...protocol.RecordID) *protocol.Erase {
		return &protocol.Erase{Version: 1, Network: network, Origin: origin, Reason: protocol.EraseRequest, At: 1,
			Entries: []protocol.ErasedEntry{{Seq: f.Seq, Hash: f.Hash}}, Records: records}
	}
	sign := func(e *protocol.Erase, by *Node) protocol.SignedErase {
		s, err := crypto.SignErase(e, by.keys.Signing)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	own := f.Origin
	own.Signing = mallory.keys.Signing.Public()
	stranger := crypto.GenerateSigning()
	strange := f.Origin
	strange.Signing = stranger.Public()
	byStranger, err := crypto.SignErase(erase(strange), stranger)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		signed protocol.SignedErase
		kept   int
	}{
		"of the author's entry, by another member":       {sign(erase(f.Origin), mallory), 0},
		"of a stranger's feed":                           {byStranger, 0},
		"of the author's record, by way of its own feed": {sign(erase(own, id), mallory), 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := reader.takeErases([]protocol.SignedErase{tc.signed})
			if err != nil || got.kept != tc.kept {
				t.Errorf("%+v, %v", got, err)
			}
			if !reads(t, reader, "198.51.100.1") {
				t.Error("the record is gone")
			}
		})
	}
	if _, err := author.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("an erasure without a reason: %v", err)
	}
	// What a recipient erases is gone at its own nodes only.
	rep, err := reader.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseLegal})
	if err != nil || rep.Local != 1 || rep.Signed != 0 || reads(t, reader, "198.51.100.1") || !reads(t, author, "198.51.100.1") {
		t.Errorf("%+v, %v", rep, err)
	}
	syncBoth(t, author, reader)
	if reads(t, reader, "198.51.100.1") {
		t.Error("what was erased here came back by sync")
	}
}

// diskNode opens a node on disk, in a network of one.
func diskNode(t *testing.T, dir string, ident *Identity) *Node {
	t.Helper()
	n, err := Open(Config{Dir: dir, Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// diskAuthor is a node on disk that founded a network and is in topic c2.
func diskAuthor(t *testing.T) (n *Node, dir string, ident *Identity) {
	t.Helper()
	ident, err := NewIdentity(InitRequest{Name: "Author", Kind: protocol.KindVendor})
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "data")
	n = diskNode(t, dir, ident)
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	return n, dir, ident
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
}

func TestI7RestoredDataIsNoticed(t *testing.T) {
	t.Parallel()
	ident, err := NewIdentity(InitRequest{Name: "Author", Kind: protocol.KindVendor})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		between func(t *testing.T, dir, backup string) string // returns where the data is now
		same    bool                                          // the feed goes on
	}{
		{"nothing happened", func(t *testing.T, dir, _ string) string { return dir }, true},
		{"an older state was put back", func(t *testing.T, dir, backup string) string {
			run(t, "rm", "-r", dir)
			run(t, "cp", "-a", backup, dir)
			return dir
		}, false},
		{"an older state was put back, anchor and all", func(t *testing.T, dir, backup string) string {
			run(t, "rm", "-r", dir, dir+".anchor")
			run(t, "cp", "-a", backup, dir)
			run(t, "cp", "-a", backup+".anchor", dir+".anchor")
			return dir
		}, false},
		{"the anchor is gone", func(t *testing.T, dir, _ string) string {
			run(t, "rm", "-r", dir+".anchor")
			return dir
		}, false},
		{"the data was copied elsewhere", func(t *testing.T, dir, _ string) string {
			run(t, "cp", "-a", dir, dir+"2")
			return dir + "2"
		}, false},
		{"data and anchor were copied elsewhere", func(t *testing.T, dir, _ string) string {
			run(t, "cp", "-a", dir, dir+"2")
			run(t, "cp", "-a", dir+".anchor", dir+"2.anchor")
			return dir + "2"
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			dir, backup := filepath.Join(root, "data"), filepath.Join(root, "backup")
			n := diskNode(t, dir, ident)
			if _, err := n.CreateNetwork("test"); err != nil {
				t.Fatal(err)
			}
			if err := n.JoinTopic("c2"); err != nil {
				t.Fatal(err)
			}
			publishList(t, n, "198.51.100.1\n", green)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			run(t, "cp", "-a", dir, backup)
			run(t, "cp", "-a", dir+".anchor", backup+".anchor")
			n = diskNode(t, dir, ident)
			publishList(t, n, "198.51.100.2\n", green)
			last := ownTopic(t, n)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			n = diskNode(t, tc.between(t, dir, backup), ident)
			f := ownTopic(t, n)
			if tc.same != (f.ID == last.ID) {
				t.Fatalf("before the first append the feed is %s, before it was %s", f.ID.Short(), last.ID.Short())
			}
			if tc.same {
				return
			}
			if f.Seq != 0 {
				t.Errorf("the new feed begins at %d", f.Seq)
			}
			// Where the anchor stayed, the journal beside it tells that nothing was erased.
			stayed := tc.name == "an older state was put back"
			if _, _, err := n.Search(Query{Value: "198.51.100.1"}); errors.Is(err, ErrRestored) == stayed {
				t.Errorf("what is shown before it is known what was erased: %v", err)
			}
			publishList(t, n, "198.51.100.3\n", green)
		})
	}
}

// TestI7EmptyFeedIsNotForked: a copy of the data may have been made before the first entry of a feed, and be put back after it.
func TestI7EmptyFeedIsNotForked(t *testing.T) {
	n, dir, ident := diskAuthor(t)
	backup := dir + ".backup"
	first := ownTopic(t, n)
	reopen := func(between ...[]string) {
		t.Helper()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		for _, args := range between {
			run(t, args...)
		}
		n = diskNode(t, dir, ident)
	}
	reopen([]string{"cp", "-a", dir, backup}, []string{"cp", "-a", dir + ".anchor", backup + ".anchor"})
	if f := ownTopic(t, n); f.ID != first.ID {
		t.Errorf("a feed without entries is closed for nothing: %s, was %s", f.ID.Short(), first.ID.Short())
	}
	publishList(t, n, "198.51.100.1\n", green)
	reopen([]string{"rm", "-r", dir, dir + ".anchor"}, []string{"cp", "-a", backup, dir}, []string{"cp", "-a", backup + ".anchor", dir + ".anchor"})
	if f := ownTopic(t, n); f.ID == first.ID || f.Seq != 0 {
		t.Errorf("the feed goes on at entry %d", f.Seq)
	}
	publishList(t, n, "198.51.100.2\n", green)
}

// TestRefusedCommitKeepsTheFeed: what is refused in the transaction of an append was seen by nobody. The feed goes on.
func TestRefusedCommitKeepsTheFeed(t *testing.T) {
	n, dir, ident := diskAuthor(t)
	refuse := func(rec *Receipt) {
		t.Helper()
		if err := n.resealEntry(Caller{Person: "nobody", Right: rules.Administer}, rec.Feed, rec.To, "c2"); !errors.Is(err, ErrForbidden) {
			t.Fatalf("%v, want a refusal", err)
		}
	}
	rec := publishList(t, n, "198.51.100.1\n", green)
	refuse(rec)
	refuse(rec)
	if next := publishList(t, n, "198.51.100.2\n", green); next.Feed != rec.Feed || next.To != rec.To+1 {
		t.Errorf("after a refusal it goes on in %s at %d, was in %s at %d", next.Feed.Short(), next.To, rec.Feed.Short(), rec.To)
	}
	closeTopic(t, n)
	refuse(rec) // the first entry of a feed
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = diskNode(t, dir, ident)
	fresh := ownTopic(t, n)
	if next := publishList(t, n, "198.51.100.3\n", green); next.Feed != fresh.ID || next.To != 1 {
		t.Errorf("it goes on in %s at %d, want %s", next.Feed.Short(), next.To, fresh.ID.Short())
	}
	if _, _, err := n.Search(Query{Value: "198.51.100.1"}); err != nil {
		t.Error(err)
	}
}

// A store that went back in time without its anchor's knowledge is told by the first peer.
func TestI7PeerTellsOfLaterEntries(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	carryNew(t, author, reader)
	f := ownTopic(t, author)
	// What a later state of this node appended, and this one does not have.
	lost, err := crypto.SignEnvelope(author.snap.Load().network, f.Origin, protocol.EntryRecords, f.Seq+1, f.Hash, []byte("appended before the restore"), author.keys.Signing)
	if err != nil {
		t.Fatal(err)
	}
	for name, tell := range map[string]func() error{
		"by an entry": func() error {
			if _, err := reader.gate.admit([]*crypto.VerifiedEnvelope{lost}); err != nil {
				return err
			}
			syncFrom(t, author, reader)
			return nil
		},
	} {
		if err := tell(); err != nil {
			t.Fatal(err)
		}
		next := ownTopic(t, author)
		if next.ID == f.ID {
			t.Fatalf("%s: the feed goes on as if nothing had happened", name)
		}
	}
	if err := author.endRestored(); err != nil {
		t.Fatal(err)
	}
	publishList(t, author, "198.51.100.2\n", green)
	syncBoth(t, author, reader)
	if author.evidence.fork(f.ID) != nil || reader.evidence.fork(f.ID) != nil {
		t.Error("the feed was forked")
	}
	if !reads(t, reader, "198.51.100.1") || !reads(t, reader, "198.51.100.2") {
		t.Error("what was published before or after is not read")
	}
	if got := feedAt(t, author, f.ID).Held; got != f.Seq+1 {
		t.Errorf("of the closed feed %d entries came back, want %d", got, f.Seq+1)
	}
	heads := lastHeads(t, author)
	if _, _, err := reader.takeHeads(heads); err != nil || !feedAt(t, reader, f.ID).Closed {
		t.Errorf("the reader is not told that the feed is closed: %v", err)
	}
}

// A restored store applies the erasures of the journal beside it before it shows anything.
func TestI5JournalOutlivesARestore(t *testing.T) {
	t.Parallel()
	n, dir, ident := diskAuthor(t)
	backup := dir + ".backup"
	publishList(t, n, "198.51.100.1\n198.51.100.2\n", green)
	id := recordOf(t, n, "198.51.100.1")
	n.Close()
	run(t, "cp", "-a", dir, backup)
	n = diskNode(t, dir, ident)
	if _, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
	n.Close()
	run(t, "rm", "-r", dir)
	run(t, "cp", "-a", backup, dir)
	n = diskNode(t, dir, ident)
	if reads(t, n, "198.51.100.1") {
		t.Error("an erased record came back with a backup")
	}
	if n.restored.Load() != nil {
		t.Error("the journal did not end the wait")
	}
	n.Close()
	// Without the journal it says so, and shows nothing.
	run(t, "rm", "-r", dir)
	run(t, "cp", "-a", backup, dir)
	if err := os.Remove(filepath.Join(dir+".anchor", "erasures")); err != nil {
		t.Fatal(err)
	}
	n = diskNode(t, dir, ident)
	if _, err := n.Records(0, 10); !errors.Is(err, ErrRestored) {
		t.Errorf("records are shown: %v", err)
	}
	if st, err := n.Status(); err != nil || st.Restored == "" {
		t.Errorf("status does not say so: %+v, %v", st, err)
	}
}

// TestI1LateKeyOpens: what is sealed under a key that comes later waits, is visible, and
// opens by itself.
func TestI1LateKeyOpens(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader, relay := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	syncFrom(t, relay, author)
	feed := ownTopic(t, author).ID
	// The relay keeps the grant's body back.
	withhold := func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		a, err := reconcile.Answer(&view{n: relay}, m)
		if err != nil {
			return nil, err
		}
		for i, raw := range a.Envelopes {
			if e, err := crypto.VerifyEnvelope(relay.snap.Load().network, raw); err == nil && e.Header.Feed == feed && e.Header.Kind == protocol.EntryGrant {
				a.Envelopes[i] = e.Stripped().Raw
			}
		}
		return a, nil
	}
	if _, err := reconcile.Run(context.Background(), &view{n: reader}, true, withhold); err != nil {
		t.Fatal(err)
	}
	if reads(t, reader, "198.51.100.1") {
		t.Fatal("it was read without its key")
	}
	f := feedAt(t, reader, feed)
	if f.Awaiting != 1 || f.Bodies != 1 || f.Complete {
		t.Errorf("what awaits a key is shown as %+v", f)
	}
	syncFrom(t, reader, author)
	if !reads(t, reader, "198.51.100.1") {
		t.Error("it did not open when the key came")
	}
	if f := feedAt(t, reader, feed); f.Awaiting != 0 || f.Bodies != 0 {
		t.Errorf("afterwards the feed is %+v", f)
	}
}

// A key that could not be granted is asked for, the reason is told, and it is handed out as
// soon as it may be.
func TestI1WithheldKey(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	// When the record is sealed, the author believes that the reader's node has come to its end.
	card := author.snap.Load().cards[reader.Org()]
	ends := card.Nodes[0].NotAfter
	card.Nodes[0].NotAfter = 1
	publishList(t, author, "198.51.100.1\n", green)
	card.Nodes[0].NotAfter = ends
	carryNew(t, author, reader)
	if reads(t, reader, "198.51.100.1") {
		t.Fatal("it was read without a grant")
	}
	feed := ownTopic(t, author).ID
	a, err := author.serveKeys(reader.ID(), reader.Org(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncKeys, Hashes: []protocol.Hash{protocol.Hash(feed)}})
	if err != nil || len(a.Withheld) != 1 || a.Withheld[0].Envelopes != 1 || a.Withheld[0].Reason != protocol.WithheldSoon {
		t.Fatalf("answer is %+v, %v", a, err)
	}
	if err := reader.noteWithheld(feed, a.Withheld); err != nil {
		t.Fatal(err)
	}
	if f := feedAt(t, reader, feed); f.Awaiting != 1 || f.Withheld == "" || f.Org.Name != "Author" {
		t.Errorf("it is shown as %+v", f)
	}
	if a, err := author.serveKeys(author.ID(), author.Org(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncKeys}); err == nil {
		t.Errorf("a request for no feed is answered: %+v", a)
	}
	if err := author.grantLate(); err != nil {
		t.Fatal(err)
	}
	carryNew(t, author, reader)
	if !reads(t, reader, "198.51.100.1") {
		t.Error("it did not open when the key came")
	}
	seq := ownTopic(t, author).Seq
	if err := author.grantLate(); err != nil || ownTopic(t, author).Seq != seq {
		t.Errorf("the key is granted again and again: %v", err)
	}
}
