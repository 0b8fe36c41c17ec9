package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// These tests run nodes that are never on line: the test carries what one appended to the
// other's gate, and so decides what arrives, in which order and in which shape.

func testNode(t testing.TB, name string) *Node {
	t.Helper()
	ident, err := NewIdentity(InitRequest{Name: name, Kind: "cert"})
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

// testNetwork makes nodes that are members of one network and in the topic "c2".
func testNetwork(t testing.TB, names ...string) []*Node {
	t.Helper()
	var nodes []*Node
	for _, name := range names {
		nodes = append(nodes, testNode(t, name))
	}
	intoOneNetwork(t, nodes)
	return nodes
}

// intoOneNetwork makes nodes members of one network and takes them into the topic "c2".
func intoOneNetwork(t testing.TB, nodes []*Node) {
	t.Helper()
	if _, err := nodes[0].CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes[1:] {
		inv, err := nodes[0].Invite(&n.OwnCard().Signed, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Join(inv); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		shareSets(t, n, nodes...)
		if err := n.JoinTopic("c2"); err != nil {
			t.Fatal(err)
		}
	}
}

// shareSets gives the cards and roster statements of n to the others.
func shareSets(t testing.TB, n *Node, others ...*Node) {
	t.Helper()
	s := n.snap.Load()
	var cards []protocol.SignedCard
	var roster []protocol.RosterStatement
	for _, c := range s.cards {
		cards = append(cards, c.Signed)
	}
	for _, st := range s.statements {
		roster = append(roster, *st)
	}
	for _, o := range others {
		if o != n {
			if err := (&view{n: o}).TakeItems(&protocol.SyncMessage{Cards: cards, Roster: roster}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// entries returns what a node holds of the feeds that it wrote.
func entries(t testing.TB, n *Node) (out []*crypto.VerifiedEnvelope) {
	t.Helper()
	s := n.snap.Load()
	err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if f.Origin.Signing != n.keys.Signing.Public() {
				return nil
			}
			return tx.Range(f.ID, 1, 1<<20, 1<<30, func(raw []byte) error {
				e, err := crypto.VerifyEntry(s.network, slices.Clone(raw))
				out = append(out, e)
				return err
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// carry gives everything that from wrote to the gates of the others.
func carry(t testing.TB, from *Node, to ...*Node) {
	t.Helper()
	for _, n := range to {
		if a, err := n.gate.admit(entries(t, from)); err != nil || a.Refused != nil || a.Gaps {
			t.Fatalf("admitting: %+v, %v", a, err)
		}
	}
}

// agree signs an agreement by which from may send to.
func agree(t testing.TB, from, to *Node, tlp protocol.TLP, countries ...string) protocol.AgreementID {
	t.Helper()
	trustEachOther(t, from, to)
	return agreeOn(t, from, to, testAgreement(from, to, tlp, countries...))
}

func trustEachOther(t testing.TB, from, to *Node) {
	t.Helper()
	for _, pair := range [][2]*Node{{from, to}, {to, from}} {
		card := pair[1].OwnCard()
		if _, err := pair[0].Trust(&card.Signed, strings.Join(crypto.Words(card.Org), " ")); err != nil {
			t.Fatal(err)
		}
	}
}

// agreeOn signs an agreement between two nodes that trust each other.
func agreeOn(t testing.TB, from, to *Node, doc protocol.Agreement) protocol.AgreementID {
	t.Helper()
	id, err := from.Propose(doc)
	if err != nil {
		t.Fatal(err)
	}
	carry(t, from, to)
	if err := to.Countersign(id); err != nil {
		t.Fatal(err)
	}
	carry(t, to, from)
	if a, err := from.Agreement(id); err != nil || a.State != AgreementInForce {
		t.Fatalf("agreement is %s, %v", a.State, err)
	}
	return id
}

func testAgreement(from, to *Node, tlp protocol.TLP, countries ...string) protocol.Agreement {
	now := uint64(nowMillis())
	doc := protocol.Agreement{Title: "Test", Parties: []protocol.OrgID{from.Org(), to.Org()}, NotBefore: now - 1000, NotAfter: now + 1e9,
		Terms: []protocol.Term{{From: from.Org(), To: to.Org(), Topics: []string{"*"}, Kinds: []string{"*"}, TLP: tlp, Countries: countries, Personal: protocol.PersonalAll}}}
	slices.SortFunc(doc.Parties, protocol.OrgID.Compare)
	return doc
}

func publishList(t testing.TB, n *Node, list string, f policy.Flags) *Receipt {
	t.Helper()
	rec, err := n.Publish(context.Background(), PublishRequest{Topic: "c2", Items: readList(t, list), Flags: f})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func readList(t testing.TB, list string) []intake.Item {
	t.Helper()
	in, err := intake.Read("list", strings.NewReader(list), intake.Options{})
	if err != nil || len(in.Problems) > 0 {
		t.Fatal(err, in.Problems)
	}
	return in.Items
}

func reads(t testing.TB, n *Node, value string) bool {
	t.Helper()
	recs, _, err := n.Search(Query{Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return len(recs) > 0
}

// fingerprint is a hash over the whole key space of a node's documents and corpus, and its
// feeds: two equal ones mean that nothing changed.
func fingerprint(t testing.TB, n *Node) string {
	t.Helper()
	h := sha256.New()
	err := n.st.View(func(tx *store.Tx) error {
		err := tx.Scan(nil, nil, false, func(k, v []byte) (bool, error) {
			fmt.Fprintf(h, "%x=%x\n", k, v)
			return true, nil
		})
		return errors.Join(err, tx.Feeds(func(f *store.Feed) error {
			fmt.Fprintf(h, "%x %d %x %d\n", f.ID, f.Seq, f.Hash, f.Opened)
			return nil
		}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func wordsOf(org protocol.OrgID) string { return strings.Join(crypto.Words(org), " ") }

// carryNew is carry for what the other does not hold yet.
func carryNew(t testing.TB, from, to *Node) {
	t.Helper()
	heads := map[protocol.FeedID]uint64{}
	front, err := (&view{n: to}).Frontier()
	if err != nil {
		t.Fatal(err)
	}
	for i := range front {
		heads[(&view{n: to}).FeedOf(&front[i].Origin)] = front[i].Seq
	}
	theirs, err := (&view{n: from}).Frontier()
	if err != nil {
		t.Fatal(err)
	}
	for i := range theirs {
		feed := (&view{n: from}).FeedOf(&theirs[i].Origin)
		raws, err := (&view{n: from}).Range(feed, heads[feed]+1, 1<<20, 1<<30)
		if err == nil && len(raws) > 0 {
			_, err = (&view{n: to}).TakeEntries(raws)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// judge is the validator's verdict on an envelope gossiped in the topic that it is of.
func judge(n *Node, raw []byte) error {
	topic := protocol.NewTopicID(n.snap.Load().network, "c2")
	var e protocol.Envelope
	if protocol.Decode(raw, protocol.MaxEnvelopeSize, &e) == nil {
		topic = e.Origin.Topic
	}
	_, err := n.gate.validate(topic, raw)
	return err
}
