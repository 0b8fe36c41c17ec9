package simtest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/x/simlibp2p"

	"github.com/entente-mesh/entente/protocol"
)

// TestI1LateJoiner: an organisation joins a network of twenty after hundreds of envelopes. It
// holds every one of them, also of what others may read; it reads nothing of what was sealed
// before there was an agreement with it, and from the agreement on everything.
func TestI1LateJoiner(t *testing.T) {
	j := long(t, 21)
	synctest.Test(t, func(t *testing.T) {
		w := meshOf(t, 20)
		defer w.Close()
		author, partner := w.Nodes[3], w.Nodes[5]
		tr := newTraffic(w, []*Node{author, w.Nodes[7]}, []*Node{partner})
		tr.publish(110)
		w.Until("hundreds of envelopes are everywhere", func() bool { return same(t, w.Nodes) && tr.read() })
		late := w.Add("Late", "police", "TH")
		w.Invite(late)
		late.Up()
		if err := late.JoinTopic("c2"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		w.Until("the newcomer holds everything", func() bool { return same(t, w.Nodes) && envelopes(t, late) >= 220 })
		j.note("the newcomer held %d envelopes after %v", envelopes(t, late), time.Since(start).Round(time.Second))
		w.Agree(author, late, protocol.TLPAmber, "*")
		for i := range 5 {
			publish(t, author, "c2", fmt.Sprintf("203.0.113.%d\n", i), green)
		}
		w.Until("it reads what is sealed from the agreement on", func() bool {
			for i := range 5 {
				if !finds(t, late, fmt.Sprintf("203.0.113.%d", i)) {
					return false
				}
			}
			return same(t, w.Nodes)
		})
		time.Sleep(time.Minute)
		for _, v := range tr.values {
			if finds(t, late, v) {
				t.Fatalf("it reads %s, which was sealed before there was an agreement", v)
			}
		}
	})
}

// TestI1SlowReader: one reader of twenty has a line of 256 kbit/s, and everybody publishes more
// than fits through it. What others drop for it is counted and fetched later: it ends with everything. Nobody
// else waits for it.
func TestI1SlowReader(t *testing.T) {
	j := long(t, 20)
	synctest.Test(t, func(t *testing.T) {
		w := New(t)
		w.Settled = true
		defer w.Close()
		for i := range 20 {
			w.Bandwidth = 0
			if i == 12 {
				w.Bandwidth = simlibp2p.OneMbps / 4
			}
			w.Add(fmt.Sprintf("Org %d", i), "cert", "")
		}
		w.Network()
		joinAll(t, w, "c2")
		slow := w.Nodes[12]
		fast := append(append([]*Node{}, w.Nodes[:12]...), w.Nodes[13:]...)
		tr := newTraffic(w, fast[1:4], []*Node{fast[5], slow})
		tr.publish(1)
		w.Until("all is well", func() bool { return tr.read() && same(t, w.Nodes) })
		start := time.Now()
		tr.publish(330)
		w.soon(30*time.Second, "the others have everything", func() bool { return same(t, fast) && tr.readBy(fast[5]) })
		others := time.Since(start)
		if same(t, w.Nodes) {
			t.Error("the slow reader has everything as soon as the others: it was not slow")
		}
		w.Until("the slow reader has everything", func() bool { return tr.read() && same(t, w.Nodes) })
		var dropped uint64
		for _, n := range w.Nodes {
			dropped += gossipCounts(t, n).Dropped
		}
		j.note("the others had %d records after %v, the slow one after %v; %d messages were dropped in queues", len(tr.values), others, time.Since(start).Round(time.Second), dropped)
		if dropped == 0 {
			t.Error("no queue overflowed, so nothing was shown")
		}
	})
}
