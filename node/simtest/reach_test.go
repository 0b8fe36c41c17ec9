package simtest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// behindRelays makes a network whose first node is reachable, whose next two are relays, and whose
// others are hidden: packets go between them and relays alone, and where open says so.
func behindRelays(t *testing.T, hidden int, open func(from, to int) bool) *World {
	w := New(t)
	for i := range 3 + hidden {
		w.Config = func(c *node.Config) {
			c.SyncEvery, c.HeadEvery = 3*time.Minute, 3*time.Minute
			switch {
			case i == 1 || i == 2:
				c.Relay = true
			case i >= 3:
				// A private address, so that it looks for relays by itself.
				c.Announce = []string{fmt.Sprintf("/ip4/10.0.0.%d/udp/8000/quic-v1", i)}
			}
		}
		w.Add(fmt.Sprintf("Org %d", i), "cert", "")
	}
	w.Config = nil
	w.Cut(func(from, to int) bool {
		relayed := from >= 3 && to != 1 && to != 2 || to >= 3 && from != 1 && from != 2
		return relayed && !(open != nil && open(from, to))
	})
	if _, err := w.Nodes[0].CreateNetwork("simulation"); err != nil {
		t.Fatal(err)
	}
	w.Nodes[0].Up()
	for _, n := range w.Nodes[1:] {
		if n.index == 3 {
			w.Until("the founder knows the relays", func() bool { return len(relaysOf(w.Nodes[0])) == 2 })
		}
		w.Invite(n)
		n.Up()
	}
	w.Until("everybody knows everybody, and who is hidden is behind both relays", func() bool {
		return everyNode(w.Nodes, func(n *Node) bool {
			st, err := n.Status()
			return err == nil && st.Members == len(w.Nodes) && (n.index < 3 || len(st.Reach.Reservations) == 2)
		})
	})
	return w
}

// relaysOf returns the nodes that a node knows as relays.
func relaysOf(n *Node) (out []protocol.NodeID) {
	for _, p := range n.Peers() {
		for _, pn := range p.Nodes {
			if pn.Relays {
				out = append(out, pn.Node)
			}
		}
	}
	return out
}

// pathTo says how n reaches another node.
func pathTo(n, other *Node) mesh.Path {
	for _, p := range n.Peers() {
		for _, pn := range p.Nodes {
			if pn.Node == other.Keys.Host.Public() {
				return pn.Path
			}
		}
	}
	return ""
}

// TestI1HalfBehindRelays: half of the nodes are reachable by way of relays only, which have no
// agreement with anybody. All is exchanged all the same, also when a relay goes; relays read
// nothing, and cards are not signed anew with every reservation.
func TestI1HalfBehindRelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := behindRelays(t, 3, nil)
		defer w.Close()
		a, b, c, d := w.Nodes[0], w.Nodes[3], w.Nodes[4], w.Nodes[5]
		w.Agree(b, c, protocol.TLPAmber, "*")
		w.Agree(a, d, protocol.TLPAmber, "*")
		w.Agree(d, a, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		publish(t, b, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		publish(t, a, "c2", "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
		publish(t, d, "c2", "198.51.100.3\n", policy.Flags{TLP: protocol.TLPGreen})
		complete := func() bool {
			return finds(t, c, "198.51.100.1") && finds(t, d, "198.51.100.2") && finds(t, a, "198.51.100.3") &&
				everyNode(w.Nodes, func(n *Node) bool { return envelopes(t, n) == envelopes(t, a) })
		}
		w.Until("everything is everywhere", complete)
		// Everything may have come by way of others before these two met.
		w.Until("two hidden nodes reach each other by a relay", func() bool { return pathTo(b, c) == mesh.ByRelay })
		w.Until("a hidden node is reached by a relay", func() bool { return pathTo(a, d) == mesh.ByRelay })
		circuits := 0
		for _, r := range w.Nodes[1:3] {
			st, err := r.Status()
			if err != nil || st.Reach.Relaying == nil || st.Reach.Relaying.Reservations != 3 || st.Records != 0 {
				t.Fatalf("a relay: %+v, %v", st.Reach, err)
			}
			circuits += st.Reach.Relaying.Circuits
		}
		if circuits < 3 { // among the hidden; more, where the founder called them
			t.Errorf("relays forward %d circuits", circuits)
		}
		order := b.OwnCard().Order
		w.Nodes[1].Down()
		time.Sleep(5 * time.Minute)
		publish(t, b, "c2", "198.51.100.4\n", policy.Flags{TLP: protocol.TLPGreen})
		w.Until("it goes on by the other relay", func() bool { return finds(t, c, "198.51.100.4") })
		w.Nodes[1].Up()
		b.Down()
		b.Up()
		time.Sleep(5 * time.Minute)
		if got := b.OwnCard().Order; got != order {
			t.Errorf("the card was signed anew because a relay was away for a while, or the node itself: %v, was %v", got, order)
		}
		w.Nodes[1].Down()
		time.Sleep(5 * time.Minute)
		w.Until("a relay that stays away leaves the card", func() bool {
			e := b.OwnCard().Node(b.ID())
			return !slices.ContainsFunc(e.Addrs, func(addr string) bool {
				_, relay, ok := protocol.SplitRelayed(addr)
				return ok && relay == w.Nodes[1].ID()
			})
		})
		w.Nodes[2].Down()
		time.Sleep(2 * time.Minute)
		st, err := b.Status()
		if err != nil || !slices.ContainsFunc(st.Problems, func(p node.Problem) bool { return p.Text[:12] == "none of 2 re" }) {
			t.Errorf("without any relay the problems are %+v, %v", st.Problems, err)
		}
	})
}

// TestHolesArePunched: two nodes behind firewalls that let in only what answers begin by way of
// a relay and go on directly; the circuits end.
func TestHolesArePunched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[[2]int]time.Time{} // by whom, of whom, when last
		w := behindRelays(t, 2, func(from, to int) bool {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			if from >= 3 {
				asked[[2]int{from, to}] = now
			}
			return to < 3 || now.Sub(asked[[2]int{to, from}]) < 30*time.Second && !asked[[2]int{to, from}].IsZero()
		})
		defer w.Close()
		a, b := w.Nodes[3], w.Nodes[4]
		w.Agree(a, b, protocol.TLPAmber, "*")
		w.Until("they are connected directly", func() bool { return pathTo(a, b) == mesh.Direct && pathTo(b, a) == mesh.Direct })
		time.Sleep(2 * time.Minute)
		st, err := a.Status()
		if err != nil || st.Reach.ByRelay != 0 {
			t.Errorf("circuits are left: %+v, %v", st.Reach, err)
		}
		joinAll(t, w, "c2")
		publish(t, a, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		w.Until("it is read", func() bool { return finds(t, b, "198.51.100.1") })
	})
}

// TestDeadGossipIsReset: a peer whose gossip stream is dead is connected for two minutes, then
// again, less and less often; it is shown.
func TestDeadGossipIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 3 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		n := w.Nodes[0]
		p := w.Puppet(w.Nodes[2]) // it never subscribes to anything
		if err := p.Dial(n); err != nil {
			t.Fatal(err)
		}
		resets := func() uint64 {
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			return st.Reach.Resets
		}
		time.Sleep(100 * time.Second)
		if got := resets(); got != 0 {
			t.Fatalf("reset %d times before its time", got)
		}
		var ends []time.Duration
		for begin, seen := time.Now(), uint64(0); time.Since(begin) < 20*time.Minute; time.Sleep(time.Second) {
			if got := resets(); got > seen {
				seen = got
				ends = append(ends, time.Since(begin))
			}
			_ = p.Dial(n)
		}
		if len(ends) != 3 || ends[1]-ends[0] < 4*time.Minute || ends[2]-ends[1] < 8*time.Minute {
			t.Errorf("it was reset after %v", ends)
		}
		st, err := n.Status()
		if err != nil || !slices.ContainsFunc(st.Problems, func(p node.Problem) bool { return p.Text[len(p.Text)-17:] == "was reset 3 times" }) {
			t.Errorf("problems are %+v, %v", st.Problems, err)
		}
		for _, other := range w.Nodes[:2] {
			if st, err := other.Status(); err != nil || pathTo(other, w.Nodes[1-other.index]) != mesh.Direct {
				t.Errorf("a peer that gossips was reset too: %+v, %v", st.Reach, err)
			}
		}
	})
}

// TestNewCardIsToldAtOnce: where a node is reached stands on its card. The peers know a new one long before
// they compare.
func TestNewCardIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 3 {
			w.Config = func(c *node.Config) {
				if c.SyncEvery = 10 * time.Hour; i == 2 {
					c.Wire.Speaks = previousWire
				}
			}
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		time.Sleep(time.Minute)
		a := w.Nodes[0]
		for range 3 {
			was := a.OwnCard().Order
			if err := a.RenewNode(node.Caller{}, a.ID()); err != nil {
				t.Fatal(err)
			}
			if a.OwnCard().Order == was {
				t.Fatal("the card did not change")
			}
			w.soon(3*time.Second, "both peers held the new card", func() bool {
				return everyNode(w.Nodes, func(n *Node) bool { return n.Card(a.Org()).Order == a.OwnCard().Order })
			})
			time.Sleep(time.Minute)
		}
	})
}
