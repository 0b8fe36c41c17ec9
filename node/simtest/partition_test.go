package simtest

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestI1PartitionOfTwoMinutes: twenty-four nodes are cut in two for two minutes while both
// sides go on to publish: longer than gossip remembers anything. After it heals every node
// holds every entry of every feed, and every reader finds every record.
func TestI1PartitionOfTwoMinutes(t *testing.T) {
	j := long(t, 24)
	synctest.Test(t, func(t *testing.T) {
		w := meshOf(t, 24)
		defer w.Close()
		tr := newTraffic(w, []*Node{w.Nodes[1], w.Nodes[22]}, []*Node{w.Nodes[3], w.Nodes[7], w.Nodes[15], w.Nodes[20]})
		tr.publish(2)
		w.Until("all is well", func() bool { return tr.read() && same(t, w.Nodes) })
		w.Cut(func(from, to int) bool { return (from < 12) != (to < 12) })
		first := len(tr.values)
		for range 12 {
			tr.publish(1)
			time.Sleep(10 * time.Second)
		}
		for i, v := range tr.values[first:] {
			author, far := tr.authors[i%2], tr.readers[3-3*(i%2)]
			if (author.index < 12) != (far.index < 12) && finds(t, far, v) {
				t.Fatalf("%s of %s reached %s across the cut", v, author.Name, far.Name)
			}
		}
		w.Cut(nil)
		w.Until("everything is everywhere", func() bool { return tr.read() && same(t, w.Nodes) })
		j.note("%d records were published during it", len(tr.values)-first)
	})
}

// TestI1Churn: nodes go down and come up all the time, authors among them, while others
// publish. Once they are all up, nothing is lacking anywhere.
func TestI1Churn(t *testing.T) {
	j := long(t, 20)
	synctest.Test(t, func(t *testing.T) {
		w := meshOf(t, 20)
		defer w.Close()
		tr := newTraffic(w, w.Nodes[1:5], w.Nodes[5:8])
		r := rand.New(rand.NewPCG(1, 2))
		away := map[int]bool{}
		turns := 0
		for range 24 {
			// A fifth of the network is away at any time; the founder may be, too.
			for range 2 {
				i := r.IntN(len(w.Nodes))
				switch {
				case away[i]:
					w.Nodes[i].Up()
					delete(away, i)
				case len(away) < 4:
					w.Nodes[i].Down()
					away[i] = true
				}
				turns++
			}
			tr.publish(1) // by those that are down, too: it is durable, and gossiped to nobody
			time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
		}
		for i := range away {
			w.Nodes[i].Up()
		}
		w.Until("everything is everywhere", func() bool { return tr.read() && same(t, w.Nodes) })
		for _, n := range w.Nodes {
			if st, err := n.Status(); err != nil || st.Missing > 0 || st.Gaps > 0 || st.Forked > 0 {
				t.Errorf("%s: %d missing in %d feeds, %d forked, %v", n.Name, st.Missing, st.Gaps, st.Forked, err)
			}
		}
		j.note("%d times a node went or came, %d records", turns, len(tr.values))
	})
}

// TestI1OneWayForever: an author's packets reach nobody but one node, and it hears everybody;
// another one hears nobody but one node. It never heals. Everything gets everywhere, by
// way of others.
func TestI1OneWayForever(t *testing.T) {
	notShort(t)
	synctest.Test(t, func(t *testing.T) {
		w := meshOf(t, crowd())
		defer w.Close()
		mute, deaf := w.Nodes[2], w.Nodes[9]
		tr := newTraffic(w, []*Node{mute, w.Nodes[4]}, []*Node{deaf, w.Nodes[6], w.Nodes[10]})
		tr.publish(1)
		w.Until("all is well", func() bool { return tr.read() && same(t, w.Nodes) })
		w.Cut(func(from, to int) bool {
			return from == mute.index && to != 11 || to == deaf.index && from != 8
		})
		for range 6 {
			tr.publish(2)
			time.Sleep(20 * time.Second)
		}
		w.Until("everything is everywhere, and the cut is still there", func() bool { return tr.read() && same(t, w.Nodes) })
	})
}
