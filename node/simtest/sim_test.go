package simtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// publish publishes a list under one handling.
func publish(t *testing.T, n *Node, topic, list string, f policy.Flags) *node.Receipt {
	t.Helper()
	in, err := intake.Read("list", strings.NewReader(list), intake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := n.Publish(context.Background(), node.PublishRequest{Topic: topic, Items: in.Items, Flags: f})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func finds(t *testing.T, n *Node, value string) bool {
	t.Helper()
	recs, _, err := n.Search(node.Query{Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return len(recs) > 0
}

func envelopes(t *testing.T, n *Node) uint64 {
	t.Helper()
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	if st.Pending > 0 {
		return 0 // held, and not yet opened
	}
	return st.Envelopes
}

func joinAll(t *testing.T, w *World, topic string) {
	t.Helper()
	for _, n := range w.Nodes {
		if err := n.JoinTopic(topic); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(5 * time.Second)
}

// TestI1I2FiftyNodes, with a quarter of them unless the environment asks for large meshes (two hundred run then
// anyway, in another test): a record reaches all who are authorised for it, and opens for none else.
func TestI1I2FiftyNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("so many nodes under the race detector take minutes; the other scenarios run")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		size := 13
		if os.Getenv(meshesEnv) != "" {
			size = 50
		}
		for i := range size {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		publisher := w.Nodes[7]
		world := map[int]bool{1: true, 12: true, 23: true, 34: true, 45: true}
		th := map[int]bool{2: true, 13: true, 24: true, 35: true, 46: true}
		for i := range w.Nodes {
			switch {
			case world[i]:
				w.Agree(publisher, w.Nodes[i], protocol.TLPAmber, "*")
			case th[i]:
				w.Agree(publisher, w.Nodes[i], protocol.TLPAmberStrict, "TH")
			}
		}
		joinAll(t, w, "c2")
		publish(t, publisher, "c2", "198.51.100.1\n", policy.Flags{TLP: protocol.TLPAmber, Countries: []string{"TH"}})
		publish(t, publisher, "c2", "198.51.100.2\n", policy.Flags{TLP: protocol.TLPAmberStrict, Countries: []string{"TH"}})
		publish(t, publisher, "c2", "198.51.100.3\n", policy.Flags{TLP: protocol.TLPGreen, Countries: []string{"VN"}})
		publish(t, publisher, "c2", "198.51.100.4\n", policy.Flags{TLP: protocol.TLPRed})
		want := envelopes(t, publisher)
		w.Until("everybody holds every envelope", func() bool {
			for _, n := range w.Nodes {
				if envelopes(t, n) != want {
					return false
				}
			}
			return true
		})
		for i, n := range w.Nodes {
			own := n == publisher
			for value, may := range map[string]bool{
				"198.51.100.1": own || world[i] || th[i],
				"198.51.100.2": own || th[i],
				"198.51.100.3": own || world[i],
				"198.51.100.4": own,
			} {
				if got := finds(t, n, value); got != may {
					t.Errorf("%s finds %s: %v, want %v", n.Name, value, got, may)
				}
			}
		}
	})
}

// TestI1PartitionAndHeal: what was published on both sides of a partition reaches all who
// are authorised once it heals.
func TestI1PartitionAndHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		for i := range 10 {
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		a, b := w.Nodes[1], w.Nodes[8]
		for _, n := range w.Nodes[2:7] {
			w.Agree(a, n, protocol.TLPAmber, "*")
			w.Agree(b, n, protocol.TLPAmber, "*")
		}
		joinAll(t, w, "c2")
		w.Cut(func(from, to int) bool { return (from < 5) != (to < 5) })
		time.Sleep(time.Minute)
		for k := range 20 {
			publish(t, a, "c2", fmt.Sprintf("198.51.100.%d\n", k), policy.Flags{TLP: protocol.TLPAmber})
			publish(t, b, "c2", fmt.Sprintf("203.0.113.%d\n", k), policy.Flags{TLP: protocol.TLPAmber})
		}
		time.Sleep(time.Minute)
		if !finds(t, w.Nodes[3], "198.51.100.7") || finds(t, w.Nodes[3], "203.0.113.7") || finds(t, w.Nodes[6], "198.51.100.7") {
			t.Fatal("there is no partition")
		}
		w.Cut(nil)
		want := envelopes(t, a) // a's own and what it had
		w.Until("everybody holds everything", func() bool {
			want = max(want, envelopes(t, a))
			for _, n := range w.Nodes {
				if envelopes(t, n) != envelopes(t, b) || envelopes(t, n) < 42 {
					return false
				}
			}
			return true
		})
		for i, n := range w.Nodes {
			for k := range 20 {
				reads := i >= 2 && i < 7
				if got, may := finds(t, n, fmt.Sprintf("198.51.100.%d", k)), reads || n == a; got != may {
					t.Errorf("%s finds record %d of a: %v, want %v", n.Name, k, got, may)
				}
				if got, may := finds(t, n, fmt.Sprintf("203.0.113.%d", k)), reads || n == b; got != may {
					t.Errorf("%s finds record %d of b: %v, want %v", n.Name, k, got, may)
				}
			}
		}
	})
}
