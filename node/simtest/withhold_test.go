package simtest

import (
	"crypto/rand"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// TestI3WithholdingIsShown: a node hears for a while of nobody but a member that withholds. It
// passes on what the author signed of its head, and gives nothing, or entries without bodies;
// it claims entries that do not exist, and answers with what was not asked. Whatever it does,
// the node says what it lacks, never calls the feed complete, and believes in no entry that
// no author signed. Then it hears of the others again, and has everything.
func TestI3WithholdingIsShown(t *testing.T) {
	notShort(t)
	synctest.Test(t, func(t *testing.T) {
		size := crowd()
		w := meshOf(t, size+1)
		defer w.Close()
		honest, author, alone := w.Nodes[:size], w.Nodes[2], w.Nodes[9]
		tr := newTraffic(w, []*Node{author}, []*Node{alone, honest[5]})
		p := w.Puppet(w.Nodes[size])
		p.DialAll(honest)
		tr.publish(3)
		w.Until("all hold the first records", func() bool { return tr.read() && same(t, honest) })
		w.Cut(func(from, to int) bool { return from == alone.index && to < size || to == alone.index && from < size })
		tr.publish(5)
		feed := feedOf(t, author)
		w.Until("the others hold the rest", func() bool { return of(t, honest[5], feed).Complete && tr.readBy(honest[5]) })
		held := of(t, alone, feed).Held
		want := of(t, author, feed).Held
		if want != held+5 {
			t.Fatalf("the author wrote %d entries, of which one who was cut off holds %d", want, held)
		}
		var raws [][]byte
		var heads []protocol.Signed
		w.Until("the author has signed how much there is", func() bool {
			_, raws, heads = p.Everything(honest[5])
			heads = slices.DeleteFunc(heads, func(s protocol.Signed) bool {
				h, err := crypto.VerifyHead(p.Network, &s)
				return err != nil || h.Origin.FeedID(p.Network) != feed || h.Seq < want
			})
			return len(heads) == 1
		})
		var entries []*crypto.VerifiedEnvelope
		for _, raw := range raws {
			if e, err := crypto.VerifyEntry(p.Network, raw); err == nil && e.Header.Feed == feed {
				entries = append(entries, e)
			}
		}
		if uint64(len(entries)) != want {
			t.Fatalf("an honest node served %d entries of %d", len(entries), want)
		}

		const (
			nothing = iota // knows the head, and gives nothing
			skeletons
			invents // entries that there are not
			confuses
		)
		var mode atomic.Int32
		p.Answer = func(from *Node, m *protocol.SyncMessage) *protocol.SyncMessage {
			a := p.AnswerHonestly(from, m)
			last := entries[len(entries)-1]
			switch m.Kind {
			case protocol.SyncHeads:
				a.Heads = heads
			case protocol.SyncFrontier:
				a.Frontier = []protocol.FrontierEntry{{Origin: last.Origin, Seq: last.Header.Seq, Hash: last.Hash}}
				if mode.Load() == invents {
					a.Frontier[0].Seq += 1000
					rand.Read(a.Frontier[0].Hash[:])
				}
			case protocol.SyncPull:
				switch mode.Load() {
				case skeletons:
					for _, r := range m.Pull {
						for seq := r.From; seq < r.From+uint64(r.Count) && seq <= want; seq++ {
							a.Envelopes = append(a.Envelopes, entries[seq-1].Stripped().Raw)
						}
					}
				case confuses:
					a.Envelopes = [][]byte{entries[0].Raw, entries[0].Raw, entries[want-1].Raw, {1, 2, 3}}
				}
			}
			return a
		}
		// say is what the node must say in each mode.
		say := func(what string, ok func() bool) {
			t.Helper()
			before := p.Asked(protocol.SyncFrontier)
			w.Until("the node has compared with the one who "+what, func() bool { return p.Asked(protocol.SyncFrontier) > before+1 && ok() })
			f := of(t, alone, feed)
			if f.Complete || f.Missing != 5 || f.Since == nil || f.Head != want {
				t.Errorf("with one who %s, it says that it holds %d of %d, lacks %d since %v; complete: %v", what, f.Held, f.Head, f.Missing, f.Since, f.Complete)
			}
			st, err := alone.Status()
			if err != nil || st.Missing < 5 || st.Gaps == 0 {
				t.Errorf("with one who %s, status tells of %d missing in %d feeds, %v", what, st.Missing, st.Gaps, err)
			}
		}
		p.Gossip(alone, protocol.NoticeTopic, notice(heads...))
		w.Until("the node knows of the head", func() bool { return of(t, alone, feed).Head == want })
		say("gives nothing", func() bool { return of(t, alone, feed).Held == held })
		mode.Store(invents)
		say("invents entries", func() bool { return of(t, alone, feed).Held == held })
		mode.Store(confuses)
		say("answers with something else", func() bool { return of(t, alone, feed).Held == held })
		mode.Store(skeletons)
		say("withholds bodies", func() bool { return of(t, alone, feed).Bodies == 5 })
		if tr.readBy(alone) {
			t.Error("it finds records whose bodies it was never given")
		}
		w.Cut(nil)
		w.Until("it has everything, and says so", func() bool { return tr.read() && same(t, honest) })
		time.Sleep(2 * time.Minute) // the puppet goes on to withhold
		if f := of(t, alone, feed); !f.Complete || f.Missing > 0 {
			t.Errorf("in the end it lacks %d entries", f.Missing)
		}
	})
}

// feedOf returns the one feed that a node wrote in topic c2.
func feedOf(t *testing.T, n *Node) (id protocol.FeedID) {
	t.Helper()
	for feed, f := range feeds(t, n, "c2") {
		if f.Own {
			return feed
		}
	}
	t.Fatalf("%s has no feed", n.Name)
	return id
}
