package simtest

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// proofs asks a node for the fork proofs that it holds.
func (p *Puppet) proofs(from *Node) (out []protocol.ForkProof) {
	p.w.T.Helper()
	items, _, _ := p.Everything(from)
	for _, m := range items {
		out = append(out, m.Forks...)
	}
	return out
}

// TestI4TwoHistoriesToTwoHalves: a member shows one history of its feed to each half of a
// network that is cut in two, by gossip and by sync. Each half believes what it sees; when
// they meet, all hold the same proof, byte for byte, set the same entries aside, and
// nobody else's feed is touched.
func TestI4TwoHistoriesToTwoHalves(t *testing.T) {
	notShort(t)
	synctest.Test(t, func(t *testing.T) {
		size := crowd()
		w := meshOf(t, size+1)
		defer w.Close()
		honest := w.Nodes[:size]
		tr := newTraffic(w, []*Node{honest[3], honest[size-1]}, honest[4:7])
		p := w.Puppet(w.Nodes[size])
		p.DialAll(honest)
		left, right := p.Log("c2", 1), (*Log)(nil)
		left.Fill(3, 500)
		right = left.Fork(3)
		left.Fill(4, 500)
		right.Fill(2, 500)
		half := func(n *Node) *Log {
			if n.index < size/2 {
				return left
			}
			return right
		}
		p.Show = func(to *Node) []*Log { return []*Log{half(to)} }
		w.Cut(func(from, to int) bool { return from < size && to < size && (from < size/2) != (to < size/2) })
		for _, n := range honest {
			var raws [][]byte
			for _, e := range half(n).Entries {
				raws = append(raws, e.Raw)
			}
			p.Gossip(n, "c2", raws...)
			p.Gossip(n, protocol.NoticeTopic, notice(half(n).Head(nil)))
		}
		tr.publish(2)
		w.Until("each half holds the history that it was shown", func() bool {
			return everyNode(honest, func(n *Node) bool {
				f, l := of(t, n, left.Feed()), half(n)
				return f.Held == uint64(len(l.Entries)) && f.Digest == l.Entries[len(l.Entries)-1].Hash && f.Forked == 0
			})
		})
		w.Cut(nil)
		w.Until("everybody has frozen the feed before the fork", func() bool {
			return everyNode(honest, func(n *Node) bool {
				f := of(t, n, left.Feed())
				return f.Forked == 4 && f.Held == 3 && f.Digest == left.Entries[2].Hash
			})
		})
		w.Until("honest feeds are the same everywhere, and read", func() bool { return tr.read() && same(t, honest) })
		// Proofs are compared by what each node hands out, not by what it says of itself.
		var want []byte
		w.Until("all hand out the same proof", func() bool {
			want = nil
			return everyNode(honest, func(n *Node) bool {
				forks := p.proofs(n)
				if len(forks) != 1 {
					return false
				}
				b := protocol.Encode(&forks[0])
				if want == nil {
					want = b
				}
				return bytes.Equal(b, want)
			})
		})
		w.Ended(honest) // those that the cut ended
		// What was set aside stays so, however often it is sent again.
		for _, n := range honest {
			p.Gossip(n, "c2", left.Entries[6].Raw, right.Entries[4].Raw)
		}
		time.Sleep(2 * time.Minute)
		for _, n := range honest {
			st, err := n.Status()
			if err != nil {
				t.Fatal(err)
			}
			if f := of(t, n, left.Feed()); f.Held != 3 || st.Forked != 1 {
				t.Errorf("%s holds %d entries of the forked feed, and says that %d feeds were forked", n.Name, f.Held, st.Forked)
			}
		}
		if n := w.Ended(honest); n > 0 {
			t.Errorf("%d connections among honest nodes ended, and nothing was cut", n)
		}
	})
}
