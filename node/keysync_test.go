package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// secondNode makes another node of an organisation, that knows what the first one knows of
// cards, roster, topics and agreements and holds no entry and no key. The card that lists it
// stays to be handed out.
func secondNode(t testing.TB, first *Node) *Node {
	t.Helper()
	id, err := crypto.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	k := &Keys{Org: first.Org(), Op: first.keys.Op, Host: crypto.GenerateNode(), Signing: crypto.GenerateSigning(), Identities: []*crypto.Identity{id}}
	now := uint64(nowMillis())
	c := first.OwnCard().Card
	c.Serial, c.Issued, c.FreshUntil = c.Serial+1, now, now+CardLife
	c.Nodes = append(slices.Clone(c.Nodes), protocol.NodeEntry{Node: k.Host.Public(), Signing: k.Signing.Public(), Recipient: id.Recipient(),
		NotBefore: now, NotAfter: now + nodeLife, Binding: crypto.BindNode(k.Org, k.Host, k.Signing)})
	signed, err := crypto.SignCard(&c, first.keys.Op)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.putOwnCard(&signed); err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Keys: k})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	err = n.change(func(tx *store.Tx) error {
		return first.st.View(func(from *store.Tx) error {
			for _, kind := range []string{kindCard, kindRoster, kindPin, kindAgreement, kindTopic, kindSecret, kindSetting} {
				if err := from.Scan([]byte(kind), nil, false, func(k, v []byte) (bool, error) { return true, tx.Set(k, v) }); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func askKeysOf(t testing.TB, author, reader *Node, feed protocol.FeedID) []protocol.Withheld {
	t.Helper()
	a, err := author.serveKeys(reader.ID(), reader.Org(), &protocol.SyncMessage{Version: 1, Kind: protocol.SyncKeys, Hashes: []protocol.Hash{protocol.Hash(feed)}})
	if err != nil {
		t.Fatal(err)
	}
	return a.Withheld
}

// TestI1RetiredKeysOnRequest: a node that came to its organisation later, with no sibling
// that could give it keys, gets those of epochs that are not used any more when it asks. Its
// organisation had them already; who is in no agreement any more gets none.
func TestI1RetiredKeysOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Reader")
		author, reader := nodes[0], nodes[1]
		id := agree(t, author, reader, protocol.TLPGreen, "*")
		publishList(t, author, "198.51.100.1\n", green)
		time.Sleep(8 * 24 * time.Hour) // beyond MaxEpochAge
		publishList(t, author, "198.51.100.2\n", green)
		feed := ownTopic(t, author).ID
		late := secondNode(t, reader)
		shareSets(t, reader, author)
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		carryNew(t, author, late)
		if !reads(t, late, "198.51.100.2") || reads(t, late, "198.51.100.1") {
			t.Fatal("want the record of the epoch in use, and not the other one, before anything is asked")
		}
		if w := askKeysOf(t, author, late, feed); len(w) != 1 || w[0] != (protocol.Withheld{Envelopes: 1, Reason: protocol.WithheldSoon}) {
			t.Fatalf("asked for keys, the author says %+v", w)
		}
		before := ownTopic(t, author).Seq
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		carryNew(t, author, late)
		if !reads(t, late, "198.51.100.1") {
			t.Error("a record under a retired key was not read after it was asked for")
		}
		if w := askKeysOf(t, author, late, feed); len(w) != 0 {
			t.Errorf("asked again, the author says %+v", w)
		}
		if err := author.grantLate(); err != nil || ownTopic(t, author).Seq != before+1 {
			t.Errorf("the retired key took %d entries, want one: %v", ownTopic(t, author).Seq-before, err)
		}
		// After the end of the agreement another node of the reader gets nothing.
		third := secondNode(t, reader)
		shareSets(t, reader, author)
		if err := author.Terminate(id, "over", 0); err != nil {
			t.Fatal(err)
		}
		if w := askKeysOf(t, author, third, feed); len(w) != 1 || w[0].Reason != protocol.WithheldNoAgreement {
			t.Errorf("after the end of the agreement the author says %+v", w)
		}
		author.asked.add(feed, keyRequest{node: third.ID(), org: third.Org()})
		before = ownTopic(t, author).Seq
		if err := author.grantLate(); err != nil || ownTopic(t, author).Seq != before {
			t.Errorf("a key was granted after the end of the agreement: %v", err)
		}
	})
}

// What cannot be granted any more is not promised: keys of a closed feed, and those that went
// to more nodes than an organisation may list one after the other.
func TestKeysThatAreGrantedToNobody(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	f := ownTopic(t, author)
	late := secondNode(t, reader)
	shareSets(t, reader, author)
	err := author.st.Update(func(tx *store.Tx) error {
		eps, err := tx.Epochs(f.ID)
		if err != nil {
			return err
		}
		eps[0].Retired = true
		for i := range maxAskedGrants {
			eps[0].Grant(reader.Org(), store.Granted{Node: protocol.NodeID{1, byte(i)}})
		}
		return tx.PutEpoch(f.ID, eps[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := askKeysOf(t, author, late, f.ID); len(w) != 1 || w[0].Reason != protocol.WithheldNodes {
		t.Errorf("after too many nodes the author says %+v", w)
	}
	author.asked.add(f.ID, keyRequest{node: late.ID(), org: late.Org()})
	if err := author.grantLate(); err != nil || ownTopic(t, author).Seq != f.Seq {
		t.Errorf("the bound does not hold: %v", err)
	}
	if err := author.st.Update(func(tx *store.Tx) error {
		_, err := author.closeFeed(tx, f.Origin.Topic, f.Origin.Incarnation, "test")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if w := askKeysOf(t, author, late, f.ID); len(w) != 1 || w[0].Reason != protocol.WithheldClosed {
		t.Errorf("of a closed feed the author says %+v", w)
	}
}

// TestRoomToAskIsOfEach: what one organisation of an audience has itself given again and again leaves the
// others what is theirs.
func TestRoomToAskIsOfEach(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Greedy")
	author, reader, greedy := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	agree(t, author, greedy, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	f := ownTopic(t, author)
	if err := author.st.Update(func(tx *store.Tx) error {
		eps, err := tx.Epochs(f.ID)
		if err != nil {
			return err
		}
		eps[0].Retired = true
		for i := range 2 * maxAskedGrants { // as much as both have together
			eps[0].Grant(greedy.Org(), store.Granted{Node: protocol.NodeID{1, byte(i), byte(i >> 8)}})
		}
		return tx.PutEpoch(f.ID, eps[0])
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of   *Node
		want string
	}{{greedy, protocol.WithheldNodes}, {reader, protocol.WithheldSoon}} {
		late := secondNode(t, c.of)
		shareSets(t, c.of, author)
		if w := askKeysOf(t, author, late, f.ID); len(w) != 1 || w[0].Reason != c.want {
			t.Errorf("a later node of %s is told %+v, want %q", c.of.snap.Load().name(c.of.Org()), w, c.want)
		}
	}
	before := ownTopic(t, author).Seq
	if err := author.grantLate(); err != nil || ownTopic(t, author).Seq != before+1 {
		t.Errorf("%d entries of grants, want the one: %v", ownTopic(t, author).Seq-before, err)
	}
}

// TestKeysOfAnOlderPublisher: a publisher that does not know how to grant again is asked what it knows, nothing
// lost is taken to be settled by that, and the other feeds are asked about as well.
func TestKeysOfAnOlderPublisher(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	feed, broken := ownTopic(t, author).ID, protocol.FeedID{9}
	if err := reader.st.Update(func(tx *store.Tx) error { return noteLostGrant(tx, feed, 1) }); err != nil {
		t.Fatal(err)
	}
	net := &network{n: reader, askedKeys: map[protocol.FeedID]time.Time{}}
	var asked []protocol.SyncKind
	ask := func(m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		switch {
		case m.Hashes[0] == protocol.Hash(broken):
			return nil, errors.New("the stream broke off")
		case asked == nil || m.Kind == protocol.SyncKeysAgain:
			asked = append(asked, m.Kind)
			return nil, fmt.Errorf("asking peer: %w", mesh.ErrNotUnderstood)
		}
		asked = append(asked, m.Kind)
		return author.serveKeys(reader.ID(), reader.Org(), m)
	}
	_, err := net.askOf([]protocol.FeedID{broken, feed}, ask)
	if err == nil || strings.Count(err.Error(), "asking for keys of") != 1 {
		t.Errorf("what failed of one feed: %v", err)
	}
	if !slices.Equal(asked, []protocol.SyncKind{protocol.SyncKeysAgain, protocol.SyncKeys}) {
		t.Errorf("asked with kinds %v", asked)
	}
	if m, lost, err := reader.askFor(feed); err != nil || lost != 1 || m.Kind != protocol.SyncKeysAgain {
		t.Errorf("%d, kind %d, %v: what an older publisher does not grant again is taken to be settled", lost, m.Kind, err)
	}
}
