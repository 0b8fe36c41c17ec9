package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
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
			eps[0].Granted = append(eps[0].Granted, store.Granted{Node: protocol.NodeID{1, byte(i)}})
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
