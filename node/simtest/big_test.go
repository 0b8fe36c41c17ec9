package simtest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// TestI1TwoHundredNodes: two hundred nodes are one network. What one publishes is everywhere
// by gossip; what both sides of a partition publish is everywhere once it heals.
func TestI1TwoHundredNodes(t *testing.T) {
	j := long(t, 200)
	var took []time.Duration
	var healed time.Duration
	synctest.Test(t, func(t *testing.T) {
		w := meshOf(t, 200)
		defer w.Close()
		tr := newTraffic(w, []*Node{w.Nodes[3], w.Nodes[150]}, []*Node{w.Nodes[10], w.Nodes[99], w.Nodes[199]})
		tr.publish(1)
		w.Until("the first records are everywhere", func() bool { return tr.read() && held(t, w.Nodes, tr.authors) })
		for range 5 {
			start := time.Now()
			tr.publish(1)
			for !held(t, w.Nodes, tr.authors) {
				time.Sleep(20 * time.Millisecond)
				if time.Since(start) > time.Minute {
					t.Fatal("a minute passed, and not everybody holds what was published")
				}
			}
			took = append(took, time.Since(start))
		}
		w.Cut(func(from, to int) bool { return (from < 100) != (to < 100) })
		for range 4 {
			tr.publish(1)
			time.Sleep(15 * time.Second)
		}
		if held(t, w.Nodes, tr.authors) {
			t.Error("what was published crossed the cut")
		}
		w.Cut(nil)
		start := time.Now()
		w.Until("everything is everywhere", func() bool { return tr.read() && held(t, w.Nodes, tr.authors) })
		healed = time.Since(start)
		w.Until("all say that they have all", func() bool { return same(t, w.Nodes) })
	})
	if len(took) > 0 {
		slices.Sort(took)
		j.note("a record was everywhere after %v to %v of virtual time, and %v after a partition of a minute",
			took[0].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), healed.Round(time.Second))
	}
}

// held reports whether nodes hold all that authors wrote in topic c2. It is cheaper than same.
func held(t *testing.T, nodes, authors []*Node) bool {
	t.Helper()
	type head struct {
		seq    uint64
		digest protocol.Hash
	}
	want := map[protocol.FeedID]head{}
	for _, a := range authors {
		f := of(t, a, feedOf(t, a))
		want[f.Feed] = head{f.Held, f.Digest}
	}
	return everyNode(nodes, func(n *Node) bool {
		for id, h := range want {
			if f := of(t, n, id); f.Held != h.seq || f.Digest != h.digest {
				return false
			}
		}
		return true
	})
}
