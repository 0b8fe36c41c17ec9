package simtest

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// addSibling makes another node of an organisation: requested, approved by the node with the
// operational key, and enrolled. It is not up yet.
func (w *World) addSibling(of *Node, name string) *Node {
	w.T.Helper()
	keys, req, err := node.NewNode(of.Org(), nil)
	if err != nil {
		w.T.Fatal(err)
	}
	inv, err := of.ApproveNode(&req.Signed, strings.Join(req.Words(), " "))
	if err != nil {
		w.T.Fatal(err)
	}
	n := w.place(name)
	n.begin(keys, nil)
	if _, err := n.Enrol(inv); err != nil {
		w.T.Fatal(err)
	}
	return n
}

func recordID(t *testing.T, n *Node, value string) protocol.RecordID {
	t.Helper()
	recs, _, err := n.Search(node.Query{Value: value})
	if err != nil || len(recs) != 1 {
		t.Fatalf("%s finds %d records of %s: %v", n.Name, len(recs), value, err)
	}
	return recs[0].ID
}

func (w *World) untilFinds(n *Node, values ...string) {
	w.T.Helper()
	w.Until(n.Name+" finds "+strings.Join(values, ", "), func() bool {
		for _, v := range values {
			if !finds(w.T, n, v) {
				return false
			}
		}
		return true
	})
}

// TestI1NewSiblingReadsAll: a node that is added to an organisation reads what the
// organisation may read: what partners published before it was there, under keys that were
// retired since, and what its siblings published, seen by them only.
func TestI1NewSiblingReadsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		vendor, police := w.Add("Vendor", "vendor", "DE"), w.Add("Police", "police", "TH")
		w.Add("Relay", "relay", "")
		w.Network()
		w.Agree(vendor, police, protocol.TLPAmber, "*")
		w.Agree(police, vendor, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		publish(t, vendor, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPAmber})
		publish(t, police, "c2", "203.0.113.1\n", policy.Flags{TLP: protocol.TLPAmber})
		publish(t, police, "c2", "203.0.113.2\n", policy.Flags{TLP: protocol.TLPRed}) // for nobody else
		w.untilFinds(police, "198.51.100.1")
		w.untilFinds(vendor, "203.0.113.1")
		for _, n := range w.Nodes {
			n.Down()
		}
		time.Sleep(8 * 24 * time.Hour) // the keys of then are used no more
		for _, n := range w.Nodes {
			n.Up()
		}
		publish(t, vendor, "c2", "198.51.100.2\n", policy.Flags{TLP: protocol.TLPAmber})
		w.untilFinds(police, "198.51.100.2")
		gone := recordID(t, police, "198.51.100.2")
		if _, err := police.Erase(context.Background(), node.EraseRequest{Records: []protocol.RecordID{gone}, Reason: protocol.EraseLegal}); err != nil {
			t.Fatal(err)
		}

		second := w.addSibling(police, "Police 2")
		second.Up()
		w.untilFinds(second, "198.51.100.1", "203.0.113.1", "203.0.113.2")
		time.Sleep(5 * time.Minute)
		if finds(t, second, "198.51.100.2") {
			t.Error("the new node shows what its organisation erased for itself")
		}
		if got, want := len(second.Agreements()), len(police.Agreements()); got != want || want != 2 {
			t.Errorf("the new node knows %d agreements, its sibling %d, want 2", got, want)
		}
		topics, err := second.Topics()
		if err != nil || len(topics) != 1 || topics[0].Name != "c2" {
			t.Errorf("the new node is in %v, %v, want c2", topics, err)
		}
		for _, p := range second.Peers() {
			if p.Org.ID == vendor.Org() && !p.Trusted {
				t.Error("the new node does not trust whom its organisation trusts")
			}
		}
		for _, o := range second.OwnNodes() {
			if o.Node == police.ID() && (!o.Connected || !o.Same) {
				t.Errorf("the siblings do not hold the same: %+v", o)
			}
		}

		// From now on each publishes in feeds of its own, and both read the same.
		publish(t, vendor, "c2", "198.51.100.3\n", policy.Flags{TLP: protocol.TLPAmber})
		publish(t, second, "c2", "203.0.113.3\n", policy.Flags{TLP: protocol.TLPAmber})
		publish(t, police, "c2", "203.0.113.4\n", policy.Flags{TLP: protocol.TLPAmber})
		for _, n := range []*Node{police, second} {
			w.untilFinds(n, "198.51.100.3", "203.0.113.3", "203.0.113.4")
		}
		w.untilFinds(vendor, "203.0.113.3", "203.0.113.4")
		if finds(t, vendor, "203.0.113.2") {
			t.Error("the partner reads what was for nobody")
		}
		w.Until("the sibling's publication is explained here too", func() bool {
			x, err := police.Explain(recordID(t, police, "203.0.113.3"), nil)
			return err == nil && len(x.Readers) == 1 && x.Readers[0].Org.ID == vendor.Org()
		})
	})
}

// TestI2RemovedNodeGetsNoKey: a node that is removed from the card is not admitted any more,
// opens nothing that is published afterwards, and what it writes counts nowhere.
func TestI2RemovedNodeGetsNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		vendor, police := w.Add("Vendor", "vendor", "DE"), w.Add("Police", "police", "TH")
		w.Add("Relay", "relay", "")
		w.Network()
		w.Agree(vendor, police, protocol.TLPAmber, "*")
		w.Agree(police, vendor, protocol.TLPAmber, "*")
		joinAll(t, w, "c2")
		second := w.addSibling(police, "Police 2")
		second.Up()
		w.Until("the new node is in the topic", func() bool { l, _ := second.Topics(); return len(l) == 1 })
		publish(t, second, "c2", "203.0.113.1\n", policy.Flags{TLP: protocol.TLPAmber})
		publish(t, vendor, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPAmber})
		w.untilFinds(police, "198.51.100.1", "203.0.113.1")
		w.untilFinds(vendor, "203.0.113.1")
		w.untilFinds(second, "198.51.100.1")

		if _, err := police.RemoveNode(second.ID(), false); err != nil {
			t.Fatal(err)
		}
		w.Until("the vendor knows of the removal", func() bool {
			for _, p := range vendor.Peers() {
				if p.Org.ID == police.Org() {
					return len(p.Nodes) == 1
				}
			}
			return false
		})
		publish(t, vendor, "c2", "198.51.100.2\n", policy.Flags{TLP: protocol.TLPAmber})
		publish(t, police, "c2", "203.0.113.2\n", policy.Flags{TLP: protocol.TLPAmber})
		w.untilFinds(police, "198.51.100.2")
		w.untilFinds(vendor, "203.0.113.2")
		time.Sleep(10 * time.Minute)
		if finds(t, second, "198.51.100.2") || finds(t, second, "203.0.113.2") {
			t.Error("a removed node reads what was published after its removal")
		}
		if st, err := second.Status(); err != nil || st.Connected != 0 {
			t.Errorf("the removed node is connected with %d peers (%v)", st.Connected, err)
		}
		for _, n := range []*Node{vendor, police} {
			if !finds(t, n, "203.0.113.1") {
				t.Errorf("%s does not show any more what the node published before it was removed", n.Name)
			}
		}
	})
}
