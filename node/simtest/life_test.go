package simtest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestI1AwayNodeCatchesUp: a node that was away gets every envelope that it lacks, also
// when the publisher has gone meanwhile.
func TestI1AwayNodeCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 5 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		publisher, away := w.Nodes[1], w.Nodes[3]
		w.Agree(publisher, away, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		publish(t, publisher, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		w.Until("the first record is there", func() bool { return finds(t, away, "198.51.100.1") })
		away.Down()
		for i := 2; i < 40; i++ {
			publish(t, publisher, "c2", fmt.Sprintf("198.51.100.%d\n", i), policy.Flags{TLP: protocol.TLPGreen})
		}
		time.Sleep(time.Minute)
		if finds(t, away, "198.51.100.20") {
			t.Fatal("a node that is down has received something")
		}
		publisher.Down()
		away.Up()
		w.Until("the node has caught up by way of others", func() bool {
			for i := 1; i < 40; i++ {
				if !finds(t, away, fmt.Sprintf("198.51.100.%d", i)) {
					return false
				}
			}
			return true
		})
		publisher.Up()
	})
}

// TestI2AfterTermination: what is appended after the publisher committed the end of an
// agreement opens for the former partner never; what it had stays.
func TestI2AfterTermination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 4 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		publisher, former, partner := w.Nodes[1], w.Nodes[2], w.Nodes[3]
		id := w.Agree(publisher, former, protocol.TLPAmber, "*")
		w.Agree(publisher, partner, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		publish(t, publisher, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		w.Until("both read", func() bool { return finds(t, former, "198.51.100.1") && finds(t, partner, "198.51.100.1") })
		// The former partner does not even hear of the end before the next record is out.
		w.Cut(func(from, to int) bool { return from == 2 || to == 2 })
		if err := publisher.Terminate(id, "end of the exercise", 0); err != nil {
			t.Fatal(err)
		}
		publish(t, publisher, "c2", "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
		w.Cut(nil)
		w.Until("the partner reads the next record, and the former partner holds it", func() bool {
			return finds(t, partner, "198.51.100.2") && envelopes(t, former) == envelopes(t, publisher)
		})
		w.Until("the former partner knows of the end", func() bool {
			a, err := former.Agreement(id)
			return err == nil && a.State == node.AgreementTerminated
		})
		time.Sleep(10 * time.Minute)
		if finds(t, former, "198.51.100.2") {
			t.Error("the former partner reads what came after the end")
		}
		if !finds(t, former, "198.51.100.1") {
			t.Error("the former partner lost what it had")
		}
	})
}

// TestRemovedMember: a member that a steward removed is disconnected, and gets no envelope
// that was appended afterwards.
func TestRemovedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 4 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		publisher, removed := w.Nodes[1], w.Nodes[2]
		joinAll(t, w, "c2")
		publish(t, publisher, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		w.Until("all hold the first", func() bool { return envelopes(t, removed) == envelopes(t, publisher) })
		held := envelopes(t, removed)
		if err := w.Nodes[0].RemoveMember(removed.Org(), "test"); err != nil {
			t.Fatal(err)
		}
		w.Until("nobody is connected with it", func() bool {
			for i, n := range w.Nodes {
				for _, p := range n.Peers() {
					if i != 2 && p.Org.ID == removed.Org() && (p.Member || len(p.Nodes) > 0 && p.Nodes[0].Connected) {
						return false
					}
				}
			}
			return true
		})
		publish(t, publisher, "c2", "198.51.100.2\n", policy.Flags{TLP: protocol.TLPGreen})
		time.Sleep(5 * time.Minute)
		if envelopes(t, w.Nodes[3]) != envelopes(t, publisher) {
			t.Error("a member does not hold the second record")
		}
		if envelopes(t, removed) != held {
			t.Error("the removed member received another envelope")
		}
	})
}
