package simtest

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// peerNode is what a node says of another.
func peerNode(n, other *Node) (out node.PeerNode) {
	for _, p := range n.Peers() {
		for _, e := range p.Nodes {
			if e.Node == other.Keys.Host.Public() {
				return e
			}
		}
	}
	return out
}

func gossipCounts(t *testing.T, n *Node) node.GossipStatus {
	t.Helper()
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	return st.Gossip
}

// foreign signs an envelope whose header is not one of version 1, which crypto refuses to.
func (l *Log) foreign(header any) []byte {
	enc := protocol.Encode(header)
	return protocol.Encode(&protocol.Envelope{Origin: l.Origin, Header: enc, Sig: l.sign(protocol.ContextEnvelope, enc), Body: []byte("body")})
}

// foreignHead signs a head that is not one of version 1.
func (l *Log) foreignHead(h *protocol.Head) protocol.Signed {
	enc := protocol.Encode(h)
	return protocol.Signed{Statement: enc, Sigs: []protocol.KeySignature{{Key: l.p.Keys.Signing.Public(), Sig: l.sign(protocol.ContextHead, enc)}}}
}

func (l *Log) sign(c protocol.Context, statement []byte) protocol.Signature {
	seed := l.p.Keys.Signing.UnsafeSeed()
	return protocol.Signature(ed25519.Sign(ed25519.NewKeyFromSeed(seed[:]), protocol.SigningBytes(c, l.p.Network, statement)))
}

// laterHeader is a header as a later version may have it.
type laterHeader struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Fields  protocol.Header
	Extra   []byte
}

// TestMixedVersions: a crowd of nodes of today, one that speaks the next version as well, and one
// that speaks the next one alone. The first works as ever; the second is not connected, and
// said so. What either says in a later version is refused where it is said, is passed on by
// nobody, and costs no honest node anything.
func TestMixedVersions(t *testing.T) {
	notShort(t)
	synctest.Test(t, func(t *testing.T) {
		size := crowd()
		w := meshOf(t, size+2)
		defer w.Close()
		honest := w.Nodes[:size]
		tr := newTraffic(w, honest[1:3], honest[3:6])
		both, next := w.Puppet(w.Nodes[size], 3, 1), w.Puppet(w.Nodes[size+1], 3)
		both.DialAll(honest)
		both.Subscribe(honest, "c2", protocol.NoticeTopic)
		for _, n := range honest {
			if err := next.Dial(n); err == nil {
				t.Fatalf("%s and a node of the next version said hello", n.Name)
			}
		}
		tr.publish(2)
		log := both.Log("c2", 1)
		raws := log.Fill(3, 400)
		both.Gossip(honest[0], "c2", raws...)
		w.Until("the one that speaks both is heard, and hears", func() bool {
			return tr.read() && len(both.Heard("c2")) > 0 && both.Asked(protocol.SyncDigest) > 0 &&
				everyNode(honest, func(n *Node) bool { return of(t, n, log.Feed()).Held == 3 && peerNode(n, both.Node).Connected })
		})
		w.Until("everybody tells that the one of the next version is not understood", func() bool {
			return everyNode(honest, func(n *Node) bool {
				p := peerNode(n, next.Node)
				return !p.Connected && strings.Contains(p.Problem, "3")
			})
		})
		st, err := honest[0].Status()
		if err != nil || st.Incompatible != 1 || !hasProblem(st, "version") {
			t.Errorf("status tells of %d incompatible nodes: %+v, %v", st.Incompatible, st.Problems, err)
		}
		if len(next.Heard("c2"))+next.Asked(protocol.SyncDigest) > 0 {
			t.Error("something was said to the node of the next version in a version that it does not speak")
		}
		if p := peerNode(honest[0], both.Node); p.Problem != "" {
			t.Errorf("of the one that speaks both it is said: %s", p.Problem)
		}

		// Messages of a later version, rightly signed, to one node.
		before := gossipCounts(t, honest[0]).Later
		w.Ended(honest)
		h := protocol.Header{Version: 2, Suite: 1, Kind: protocol.EntryRecords, Feed: log.Feed(), Seq: 4, Previous: log.Entries[2].Hash, BodyHash: protocol.HashBody([]byte("body")), BodySize: 4}
		suite := h
		suite.Version, suite.Suite = 1, 2
		both.Gossip(honest[0], "c2", log.foreign(&h), log.foreign(&suite), log.foreign(&laterHeader{Version: 2, Fields: h}))
		both.Gossip(honest[0], protocol.NoticeTopic, protocol.Encode(&protocol.Notice{Version: 2, Heads: []protocol.Signed{log.Head(nil)}}),
			notice(log.foreignHead(&protocol.Head{Version: 2, Network: both.Network, Origin: log.Origin, Seq: 3, Hash: log.Entries[2].Hash, Counter: 1 << 60})))
		w.Until("they are passed over", func() bool { return gossipCounts(t, honest[0]).Later == before+5 })
		if st, err := honest[0].Status(); err != nil || !hasProblem(st, "5 messages of a later version") {
			t.Errorf("status does not tell of messages that are not understood: %v, %v", st.Problems, err)
		}
		for _, m := range []*protocol.SyncMessage{{Kind: 13}, {Kind: 200}} {
			if a, err := both.Ask(honest[0], m); err == nil {
				t.Errorf("a request of kind %d was answered with one of kind %d", m.Kind, a.Kind)
			}
		}
		tr.publish(2)
		w.Until("honest traffic goes on", func() bool { return tr.read() && same(t, honest) })
		time.Sleep(2 * time.Minute)
		for _, n := range honest {
			if g := gossipCounts(t, n); g.Rejected > 0 || n != honest[0] && g.Later > 0 {
				t.Errorf("%s was given a message of a later version by an honest node", n.Name)
			}
			if f := of(t, n, log.Feed()); f.Held != 3 {
				t.Errorf("%s holds %d entries of the feed", n.Name, f.Held)
			}
		}
		if n := w.Ended(honest); n > 0 {
			t.Errorf("%d connections among honest nodes ended", n)
		}

		// Its people go back to a version that the others know: it is a member like any other.
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
		next.Node.Up()
		w.Until("it has everything, and nobody who is connected with it complains any more", func() bool {
			connected := 0
			fine := everyNode(honest, func(n *Node) bool {
				p := peerNode(n, next.Node)
				if p.Connected {
					connected++
				}
				return !p.Connected || p.Problem == ""
			})
			return fine && connected > 0 && envelopes(t, next.Node) == envelopes(t, honest[0])
		})
	})
}

func hasProblem(st *node.Status, text string) bool {
	for _, p := range st.Problems {
		if strings.Contains(p.Text, text) {
			return true
		}
	}
	return false
}

// previousWire is what the release before this one speaks.
var previousWire = []string{"/entente/hello/1", "/entente/sync/1", "/entente/gossip/1"}

// TestPreviousAndPresent: organisations of which some speak what the release before this one did, and others
// what this one does, with a sibling of the other kind each: agreements, records, withdrawals, erasures and
// what siblings hold in common come across, whichever side says it; who was away catches up from either.
func TestPreviousAndPresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		previous := true
		w.Config = func(c *node.Config) {
			c.Program, c.Wire.Speaks = "entente 0.2", nil
			c.Wire.Keeps = []string{"/entente/gossip/1", "/entente/hello/2", "/entente/sync/2"} // as if the next release dropped the rest
			if previous {
				c.Program, c.Wire.Speaks = "", previousWire
			}
		}
		older := w.Add("Older Vendor", "vendor", "DE")
		relay := w.Add("Older Relay", "relay", "")
		previous = false
		present := w.Add("Present Police", "police", "TH")
		w.Network()
		w.Agree(older, present, protocol.TLPAmber, "*")
		w.Agree(present, older, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		sibling := w.addSibling(older, "Present Vendor 2") // speaks more than its sibling
		previous = true
		late := w.addSibling(present, "Older Police 2") // speaks less
		for _, n := range []*Node{sibling, late} {
			n.Up()
			w.Until("the new node is in the topic of its sibling", func() bool {
				topics, err := n.Topics()
				return err == nil && len(topics) == 1
			})
		}
		all := []*Node{older, present, sibling, late}
		amber := policy.Flags{TLP: protocol.TLPAmber}
		for i, n := range all {
			publish(t, n, "c2", fmt.Sprintf("198.51.100.%d\n203.0.113.%d\n192.0.2.%d\n", i, i, i), amber)
		}
		for _, n := range all {
			for i := range all {
				w.untilFinds(n, fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("203.0.113.%d", i))
			}
		}
		for i, n := range all {
			if err := n.Withdraw(t.Context(), []protocol.RecordID{recordID(t, n, fmt.Sprintf("203.0.113.%d", i))}, "a mistake"); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Erase(t.Context(), node.EraseRequest{Records: []protocol.RecordID{recordID(t, n, fmt.Sprintf("192.0.2.%d", i))}, Reason: protocol.EraseRequest}); err != nil {
				t.Fatal(err)
			}
		}
		w.Until("what was withdrawn and erased is nowhere", func() bool {
			return everyNode(all, func(n *Node) bool {
				for i := range all {
					if finds(t, n, fmt.Sprintf("203.0.113.%d", i)) || finds(t, n, fmt.Sprintf("192.0.2.%d", i)) {
						return false
					}
				}
				return true
			})
		})

		// Who was away catches up.
		for i, n := range []*Node{older, present} {
			n.Down()
			publish(t, all[1-i], "c2", fmt.Sprintf("198.51.100.%d\n", 100+i), amber)
			n.Up()
			w.untilFinds(n, fmt.Sprintf("198.51.100.%d", 100+i))
		}
		for _, n := range append(all, relay) {
			st, err := n.Status()
			if err != nil || st.Gossip.Rejected+st.Gossip.Later > 0 || st.Incompatible > 0 || st.Forked > 0 {
				t.Errorf("%s: gossip %+v, %d incompatible, %d forked, %v", n.Name, st.Gossip, st.Incompatible, st.Forked, err)
			}
		}
		if p := peerNode(present, older); p.Program != "" || len(p.Speaks) != 3 || !strings.Contains(p.Ends, "entente/hello") {
			t.Errorf("of the older one it is said: %+v", p)
		}
		if p := peerNode(present, sibling); p.Connected && (p.Program != "entente 0.2" || len(p.Capabilities) == 0 || p.Ends != "") {
			t.Errorf("of the present one it is said: %+v", p)
		}

		w.Until("status warns of those that fall behind", func() bool {
			st, err := present.Status()
			return err == nil && hasProblem(st, "before the last two releases")
		})
	})
}
