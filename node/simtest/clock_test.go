package simtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestWrongClocks: of six organisations one is a year ahead, and one by less than a node takes for wrong while it is alone. Both
// sign and publish nothing, and say why; the others, to which two of five lie, go on.
func TestWrongClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		defer w.Close()
		w.Settled = true
		w.Config = func(c *node.Config) {
			c.ClockAhead = []time.Duration{4: 365 * 24 * time.Hour, 5: 20 * 24 * time.Hour}[len(w.Nodes)]
		}
		for _, name := range []string{"A", "B", "C", "D", "Year", "Weeks"} {
			w.Add(name, "cert", "")
		}
		year, weeks := w.Nodes[4], w.Nodes[5]
		publish := func(n *Node, value string) error {
			in, err := intake.Read("list", strings.NewReader(value+"\n"), intake.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = n.Publish(context.Background(), node.PublishRequest{Topic: "c2", Items: in.Items, Flags: policy.Flags{TLP: protocol.TLPGreen}})
			return err
		}
		w.Network()
		joinAll(t, w, "c2")
		for _, n := range []*Node{year, weeks} {
			w.Until(n.Name+" says that its clock is wrong", func() bool { return problem(t, n, "clock-contradicted") })
			serial := n.OwnCard().Serial
			if err := publish(n, "198.51.100.1"); !errors.Is(err, node.ErrClockDoubted) || !strings.Contains(err.Error(), "ahead of those of") {
				t.Errorf("%s published: %v", n.Name, err)
			}
			time.Sleep(5 * time.Minute) // heads are stated, and what waits is sent
			if n.OwnCard().Serial != serial {
				t.Errorf("%s signed a card", n.Name)
			}
			for _, o := range w.Nodes[:4] {
				feeds, err := o.Feeds()
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range feeds {
					if f.Org.ID == n.Org() && f.Held > 0 {
						t.Errorf("%s published %d entries in %s", n.Name, f.Held, f.Topic)
					}
				}
			}
		}
		w.Agree(w.Nodes[0], w.Nodes[1], protocol.TLPAmber, "*")
		if err := publish(w.Nodes[0], "198.51.100.2"); err != nil {
			t.Fatal(err)
		}
		w.untilFinds(w.Nodes[1], "198.51.100.2")
		for _, n := range w.Nodes[:4] {
			for _, kind := range []string{"clock-contradicted", "clock-unconfirmed"} {
				if problem(t, n, kind) {
					t.Errorf("%s: two of five lie, and it has %s", n.Name, kind)
				}
			}
		}
	})
}

func problem(t *testing.T, n *Node, kind string) bool {
	t.Helper()
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(st.Problems, func(p node.Problem) bool { return p.Kind == kind })
}
