package simtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// onDisks gives every node to come a disk in memory, so that it can be closed and opened anew:
// months pass at no cost while nobody runs.
func onDisks(w *World) {
	w.Config = func(c *node.Config) { c.Dir, c.Anchor, c.Disk = "sim/data", "sim/data.anchor", &disk.Disk{} }
}

// sleepAll closes all nodes, lets time pass, and brings them up again.
func (w *World) sleepAll(d time.Duration) {
	w.T.Helper()
	for _, p := range w.puppets {
		if err := p.Close(); err != nil {
			w.T.Fatal(err)
		}
	}
	w.puppets = nil
	for _, n := range w.Nodes {
		n.Down()
	}
	for _, n := range w.Nodes {
		if err := n.Node.Close(); err != nil {
			w.T.Fatal(err)
		}
	}
	time.Sleep(d)
	for _, n := range w.Nodes {
		n.Open()
	}
	for _, n := range w.Nodes {
		n.Up()
	}
}

// captured is what a puppet kept of all that was ever said to it.
type captured struct {
	items   []*protocol.SyncMessage
	entries [][]byte
	heads   []protocol.Signed
	notices [][]byte
}

func (p *Puppet) capture(nodes []*Node) (c captured) {
	p.w.T.Helper()
	for _, n := range nodes {
		items, entries, heads := p.Everything(n)
		c.items, c.heads = append(c.items, items...), append(c.heads, heads...)
		c.entries = append(c.entries, entries...)
	}
	for _, h := range p.Heard(protocol.NoticeTopic) {
		c.notices = append(c.notices, h.Data)
	}
	return c
}

// serveOld makes the puppet answer whoever compares with what it kept.
func (p *Puppet) serveOld(c captured) {
	p.w.T.Helper()
	var front []protocol.FrontierEntry
	byFeed := map[protocol.FeedID][]*crypto.VerifiedEnvelope{}
	for _, raw := range c.entries {
		e, err := crypto.VerifyEntry(p.Network, raw)
		if err != nil {
			p.w.T.Fatal(err)
		}
		byFeed[e.Header.Feed] = append(byFeed[e.Header.Feed], e)
	}
	for _, list := range byFeed {
		last := list[len(list)-1]
		front = append(front, protocol.FrontierEntry{Origin: last.Origin, Seq: last.Header.Seq, Hash: last.Hash})
	}
	var cards []protocol.SignedCard
	var roster []protocol.RosterStatement
	for _, m := range c.items {
		cards, roster = append(cards, m.Cards...), append(roster, m.Roster...)
	}
	p.Answer = func(from *Node, m *protocol.SyncMessage) *protocol.SyncMessage {
		a := p.AnswerHonestly(from, m)
		switch m.Kind {
		case protocol.SyncDigest:
			a.Sets = protocol.Hash{1} // so that they are listed
		case protocol.SyncList:
			// Names that nobody holds, as many as there are things to say: they are asked for, and
			// what comes in answer is not what they name.
			for i := len(m.Hashes); len(m.Hashes) == 0 && i < len(cards)+len(roster); i++ {
				a.Hashes = append(a.Hashes, protocol.Hash{1, byte(i >> 8), byte(i)})
			}
		case protocol.SyncFetch:
			for _, h := range m.Hashes {
				if i := int(h[1])<<8 | int(h[2]); h[0] == 1 && i < len(cards) {
					a.Cards = append(a.Cards, cards[i])
				} else if h[0] == 1 && i < len(cards)+len(roster) {
					a.Roster = append(a.Roster, roster[i-len(cards)])
				}
			}
		case protocol.SyncFrontier:
			a.Frontier = front
		case protocol.SyncPull:
			for _, r := range m.Pull {
				for _, e := range byFeed[r.Feed] {
					if e.Header.Seq >= r.From && e.Header.Seq < r.From+uint64(r.Count) && len(a.Envelopes) < protocol.MaxPullEntries {
						a.Envelopes = append(a.Envelopes, e.Raw)
					}
				}
			}
		case protocol.SyncHeads:
			a.Heads = c.heads
		}
		return a
	}
}

// replay gossips all of it again.
func (p *Puppet) replay(c captured, nodes []*Node) {
	p.w.T.Helper()
	for _, n := range nodes {
		p.Gossip(n, "c2", c.entries...)
		p.Gossip(n, protocol.ControlTopic, c.entries...)
		p.Gossip(n, protocol.NoticeTopic, c.notices...)
		for _, h := range c.heads {
			p.Gossip(n, protocol.NoticeTopic, notice(h))
		}
	}
}

// TestI5ReplayedMonthsLater: a member keeps everything that was said for a day, and says it all
// again two months later, by gossip and by sync: cards, sponsorships, agreements, heads, and
// the entries whose records were erased since. Nothing comes back: not what was erased, not an agreement that was ended,
// not a member that was removed, not an older card or head.
func TestI5ReplayedMonthsLater(t *testing.T) {
	j := long(t, 22)
	synctest.Test(t, func(t *testing.T) {
		w := meshOf(t, 22, onDisks)
		defer w.Close()
		honest, author, reader, former, removed := w.Nodes[:20], w.Nodes[1], w.Nodes[4], w.Nodes[6], w.Nodes[20]
		w.Agree(author, reader, protocol.TLPAmber, "*")
		ended := w.Agree(author, former, protocol.TLPAmber, "*")
		rec := publish(t, author, "c2", "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
		w.Until("both read it", func() bool {
			return finds(t, reader, "198.51.100.2") && finds(t, former, "198.51.100.2") && same(t, honest)
		})
		p := w.Puppet(w.Nodes[21])
		p.DialAll(honest)
		p.Subscribe(honest, "c2", protocol.NoticeTopic, protocol.ControlTopic)
		time.Sleep(2 * time.Minute)
		kept := p.capture([]*Node{author, reader})
		oldCard := author.OwnCard().Order

		if _, err := author.Erase(context.Background(), node.EraseRequest{Records: rec.Records[1:2], Reason: protocol.EraseRequest}); err != nil {
			t.Fatal(err)
		}
		if err := author.Terminate(ended, "over", 0); err != nil {
			t.Fatal(err)
		}
		if err := w.Nodes[0].RemoveMember(removed.Org(), "over"); err != nil {
			t.Fatal(err)
		}
		gone := func() bool {
			a, err := former.Agreement(ended)
			return err == nil && a.State == node.AgreementTerminated && !finds(t, reader, "198.51.100.2") && !finds(t, former, "198.51.100.2") &&
				everyNode(honest, func(n *Node) bool { return !memberOf(n, removed) })
		}
		w.Until("it is gone, ended and removed everywhere", gone)
		removed.Down()
		w.sleepAll(60 * 24 * time.Hour)
		removed.Down()
		w.Until("all are back, with new cards", func() bool {
			return same(t, honest) && everyNode(honest, func(n *Node) bool { c := n.Card(author.Org()); return c != nil && oldCard.Less(c.Order) })
		})
		newCard := author.OwnCard().Order
		p = w.Puppet(w.Nodes[21])
		p.serveOld(kept)
		heads := map[*Node]uint64{}
		for _, n := range honest {
			heads[n] = envelopes(t, n)
		}
		p.DialAll(honest)
		p.Subscribe(honest, "c2", protocol.NoticeTopic, protocol.ControlTopic) // the watchdog resets who shares no topic
		w.Ended(honest)
		p.replay(kept, honest)
		j.note("%d messages of 60 days ago said again to each of 20", len(kept.entries)+len(kept.heads)+len(kept.notices))
		for range 300 {
			time.Sleep(time.Second)
			for _, n := range honest {
				if c := n.Card(author.Org()); c == nil || c.Order != newCard {
					t.Fatalf("%s went back to an older card", n.Name)
				}
			}
		}
		if p.Asked(protocol.SyncFetch) < len(honest) || p.Asked(protocol.SyncHeads) == 0 {
			t.Errorf("old things were asked for %d times and heads %d times: sync was not tried", p.Asked(protocol.SyncFetch), p.Asked(protocol.SyncHeads))
		}
		if !gone() {
			t.Error("something came back")
		}
		for _, n := range honest {
			if got := envelopes(t, n); got != heads[n] {
				t.Errorf("%s holds %d entries, and held %d before the replay", n.Name, got, heads[n])
			}
			if handsOut(p, n, rec.Feed, rec.To) {
				t.Errorf("%s hands out the body that was erased", n.Name)
			}
		}
		// A newcomer is told of the erasure, and then, for a while, of entries by nobody but the
		// one who still has the bodies.
		late := w.Add("Late", "police", "TH")
		w.Invite(late)
		late.Up()
		w.Until("the newcomer knows everybody", func() bool { return author.Card(late.Org()) != nil })
		time.Sleep(2 * time.Minute)
		w.Cut(func(from, to int) bool {
			return from == late.index && to != p.index || to == late.index && from != p.index
		})
		time.Sleep(time.Minute)
		if err := p.Dial(late); err != nil {
			t.Fatal(err)
		}
		if err := late.JoinTopic("c2"); err != nil {
			t.Fatal(err)
		}
		w.Until("the newcomer has the old entries", func() bool { return of(t, late, rec.Feed).Held >= rec.To })
		if handsOut(p, late, rec.Feed, rec.To) {
			t.Error("the newcomer hands out the body that was erased")
		}
		w.Cut(nil)
		if n := w.Ended(honest); n > 0 {
			t.Errorf("%d connections among honest nodes ended", n)
		}
		publish(t, author, "c2", "198.51.100.9\n", green)
		w.Until("life goes on", func() bool {
			return finds(t, reader, "198.51.100.9") && same(t, honest)
		})
		if finds(t, former, "198.51.100.9") {
			t.Error("the former partner reads what came after the end")
		}
	})
}

// handsOut reports whether a node serves the body of an entry.
func handsOut(p *Puppet, n *Node, feed protocol.FeedID, seq uint64) bool {
	p.w.T.Helper()
	a, err := p.Ask(n, &protocol.SyncMessage{Kind: protocol.SyncPull, Pull: []protocol.PullRange{{Feed: feed, From: seq, Count: 1}}})
	if err != nil {
		p.w.T.Fatal(err)
	}
	if len(a.Envelopes) != 1 {
		p.w.T.Fatalf("%s hands out %d entries where one was asked for", n.Name, len(a.Envelopes))
	}
	e, err := crypto.VerifyEntry(p.Network, a.Envelopes[0])
	if err != nil {
		p.w.T.Fatal(err)
	}
	return !e.Skeleton()
}

func memberOf(n, other *Node) bool {
	for _, p := range n.Peers() {
		if p.Org.ID == other.Org() {
			return p.Member
		}
	}
	return false
}
