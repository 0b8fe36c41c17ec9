package simtest

import (
	"bytes"
	"crypto/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// forgeries are messages that look like a genuine entry, and are not it.
func forgeries(t *testing.T, raw []byte) [][]byte {
	t.Helper()
	forge := func(change func(e *protocol.Envelope)) []byte {
		var e protocol.Envelope
		if err := protocol.Decode(raw, protocol.MaxEnvelopeSize, &e); err != nil {
			t.Fatal(err)
		}
		e.Header, e.Body = bytes.Clone(e.Header), bytes.Clone(e.Body)
		change(&e)
		return protocol.Encode(&e)
	}
	return [][]byte{
		forge(func(e *protocol.Envelope) { e.Body[len(e.Body)-1] ^= 1 }),
		forge(func(e *protocol.Envelope) { e.Body = e.Body[:len(e.Body)-1] }),
		forge(func(e *protocol.Envelope) { e.Body = nil }),
		forge(func(e *protocol.Envelope) { e.Sig[10] ^= 1 }),
		forge(func(e *protocol.Envelope) { e.Header[len(e.Header)-1] ^= 1 }),
		forge(func(e *protocol.Envelope) { e.Origin.Incarnation++ }),
		append(bytes.Clone(raw), 0),
		raw[:len(raw)-1],
		bytes.Repeat([]byte{0xff}, 1000),
	}
}

// TestI1PoisonedIdsSuppressNothing: a member that gets an entry before everybody else forges
// it in every way, so that its name is known and worthless everywhere, and only then lets the
// genuine one through, to one node. It reaches all by gossip, before any comparison could
// bring it; forged evidence against its author is believed by nobody.
func TestI1PoisonedIdsSuppressNothing(t *testing.T) {
	notShort(t)
	synctest.Test(t, func(t *testing.T) {
		size := crowd()
		w := meshOf(t, size+1)
		defer w.Close()
		honest, author, reader := w.Nodes[:size], w.Nodes[2], w.Nodes[7]
		w.Agree(author, reader, protocol.TLPAmber, "*")
		p := w.Puppet(w.Nodes[size])
		p.DialAll(honest)
		p.Subscribe(honest, "c2", protocol.NoticeTopic)
		others := slices.DeleteFunc(slices.Clone(honest), func(n *Node) bool { return n == author })
		w.Until("all are quiet", func() bool { return everyNode(others, func(n *Node) bool { return gossipCounts(t, n).Rejected == 0 }) })
		publish(t, author, "c2", "198.51.100.1\n", green)
		w.Until("the first is everywhere", func() bool { return finds(t, reader, "198.51.100.1") && same(t, honest) })

		// Nobody but the puppet hears the author from now on.
		w.Cut(func(from, to int) bool { return from == author.index && to < size || to == author.index && from < size })
		already := len(p.Heard("c2"))
		rec := publish(t, author, "c2", "198.51.100.2\n", green)
		w.soon(5*time.Second, "the puppet hears the entry", func() bool { return len(p.Heard("c2")) > already })
		genuine := p.Heard("c2")[already].Data
		bad := forgeries(t, genuine)
		for _, n := range others {
			p.Gossip(n, "c2", bad...)
			p.Gossip(n, protocol.NoticeTopic, genuine)
		}
		w.soon(5*time.Second, "everybody has refused the forgeries", func() bool {
			return everyNode(others, func(n *Node) bool { return gossipCounts(t, n).Rejected == uint64(len(bad)+1) })
		})
		for _, n := range others {
			if f := of(t, n, rec.Feed); f.Held != rec.From-1 || f.Missing > 0 {
				t.Fatalf("before the genuine entry came, %s holds %d entries and lacks %d", n.Name, f.Held, f.Missing)
			}
		}
		var compared uint64
		for _, n := range others {
			compared += syncs(t, n)
		}
		p.Gossip(others[len(others)-1], "c2", genuine)
		w.soon(2*time.Second, "the genuine entry is everywhere, and read", func() bool {
			return finds(t, reader, "198.51.100.2") && everyNode(others, func(n *Node) bool { return of(t, n, rec.Feed).Held == rec.To })
		})
		for _, n := range others {
			compared -= syncs(t, n)
		}
		t.Logf("comparisons while it spread: %d", -int64(compared))

		// Evidence that does not verify accuses nobody and erases nothing.
		var e protocol.Envelope
		if err := protocol.Decode(genuine, protocol.MaxEnvelopeSize, &e); err != nil {
			t.Fatal(err)
		}
		header := bytes.Clone(e.Header)
		header[len(header)-1] ^= 1
		a, b := protocol.SignedHeader{Header: e.Header, Sig: e.Sig}, protocol.SignedHeader{Header: header, Sig: e.Sig}
		if x, y := protocol.EntryHash(a.Header), protocol.EntryHash(b.Header); bytes.Compare(x[:], y[:]) > 0 {
			a, b = b, a
		}
		erase := protocol.SignedErase{Statement: protocol.Encode(&protocol.Erase{Version: 1, Network: p.Network, Origin: e.Origin, Reason: protocol.EraseRequest, At: uint64(time.Now().UnixMilli()),
			Entries: []protocol.ErasedEntry{{Seq: rec.To, Hash: protocol.EntryHash(e.Header)}}}), Key: p.Keys.Signing.Public()}
		rand.Read(erase.Sig[:])
		head := p.Log("c2", 1).Head(func(h *protocol.Head) { h.Counter = 7 })
		head.Sigs[0].Key = [32]byte(e.Origin.Signing)
		for _, n := range others {
			p.Gossip(n, protocol.NoticeTopic,
				protocol.Encode(&protocol.Notice{Version: 1, Forks: []protocol.ForkProof{{Version: 1, Network: p.Network, Origin: e.Origin, A: a, B: b}}}),
				protocol.Encode(&protocol.Notice{Version: 1, Erases: []protocol.SignedErase{erase}}),
				notice(head))
		}
		w.Cut(nil)
		w.Until("everybody has refused them", func() bool {
			return everyNode(others, func(n *Node) bool { return gossipCounts(t, n).Rejected == uint64(len(bad)+1+3) })
		})
		w.Until("all hold the same, whole", func() bool { return same(t, honest) })
		for _, n := range honest {
			if f := of(t, n, rec.Feed); f.Forked != 0 || f.Bodies != 0 {
				t.Errorf("%s believes that the feed was forked at %d, and lacks %d bodies", n.Name, f.Forked, f.Bodies)
			}
		}
		if !finds(t, reader, "198.51.100.2") {
			t.Error("the reader lost the record")
		}
	})
}

func syncs(t *testing.T, n *Node) uint64 {
	t.Helper()
	m, err := n.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	return m.Syncs
}
