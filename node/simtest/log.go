package simtest

import (
	"bytes"
	"crypto/rand"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// Log is a feed that a puppet signs. What stands in it is for the test to say.
type Log struct {
	Origin  protocol.Origin
	Entries []*crypto.VerifiedEnvelope
	p       *Puppet
}

// Log begins a feed of the puppet's own key, and serves it.
func (p *Puppet) Log(topic string, incarnation uint64) *Log {
	l := &Log{p: p, Origin: protocol.Origin{Signing: p.Keys.Signing.Public(), Incarnation: incarnation, Topic: protocol.NewTopicID(p.Network, topic)}}
	p.logs = append(p.logs, l)
	return l
}

// Fork is another history of the same feed: the first count entries are the same.
func (l *Log) Fork(count int) *Log {
	f := &Log{p: l.p, Origin: l.Origin, Entries: slices.Clone(l.Entries[:count])}
	l.p.logs = append(l.p.logs, f)
	return f
}

// Feed is the id of the feed.
func (l *Log) Feed() protocol.FeedID { return l.Origin.FeedID(l.p.Network) }

// Append signs the next entry.
func (l *Log) Append(kind protocol.EntryKind, body []byte) *crypto.VerifiedEnvelope {
	l.p.w.T.Helper()
	var previous protocol.Hash
	if n := len(l.Entries); n > 0 {
		previous = l.Entries[n-1].Hash
	}
	e := l.Sign(kind, uint64(len(l.Entries))+1, previous, body)
	l.Entries = append(l.Entries, e)
	return e
}

// Sign signs an entry of any place, and appends nothing.
func (l *Log) Sign(kind protocol.EntryKind, seq uint64, previous protocol.Hash, body []byte) *crypto.VerifiedEnvelope {
	l.p.w.T.Helper()
	e, err := crypto.SignEnvelope(l.p.Network, l.Origin, kind, seq, previous, body, l.p.Keys.Signing)
	if err != nil {
		l.p.w.T.Fatal(err)
	}
	return e
}

// Fill appends entries that nobody can read, of size bytes each, and returns them encoded.
func (l *Log) Fill(count, size int) (raws [][]byte) {
	for range count {
		body := make([]byte, size)
		rand.Read(body)
		raws = append(raws, l.Append(protocol.EntryRecords, body).Raw)
	}
	return raws
}

// Head signs where the feed stands; change makes it say something else.
func (l *Log) Head(change func(h *protocol.Head)) protocol.Signed {
	l.p.w.T.Helper()
	h := &protocol.Head{Version: 1, Network: l.p.Network, Origin: l.Origin, Seq: uint64(len(l.Entries)), Counter: uint64(time.Now().UnixMilli()),
		At: uint64(time.Now().UnixMilli()), Every: 60}
	if h.Seq > 0 {
		h.Hash = l.Entries[h.Seq-1].Hash
	}
	if change != nil {
		change(h)
	}
	s, err := crypto.SignHead(h, l.p.Keys.Signing)
	if err != nil {
		l.p.w.T.Fatal(err)
	}
	return s
}

// notice encodes heads as they are gossiped in the topic of notices.
func notice(heads ...protocol.Signed) []byte {
	return protocol.Encode(&protocol.Notice{Version: 1, Heads: heads})
}

// AnswerHonestly answers a request as a node would that holds the logs which Show names, and
// nothing else.
func (p *Puppet) AnswerHonestly(from *Node, m *protocol.SyncMessage) *protocol.SyncMessage {
	logs := p.logs
	if p.Show != nil {
		logs = p.Show(from)
	}
	a := &protocol.SyncMessage{Version: 1, Kind: m.Kind}
	switch m.Kind {
	case protocol.SyncDigest:
		rand.Read(a.Feeds[:]) // so that the frontier is read
		a.Sets = m.Sets
	case protocol.SyncFrontier:
		for _, l := range logs {
			if n := len(l.Entries); n > 0 {
				a.Frontier = append(a.Frontier, protocol.FrontierEntry{Origin: l.Origin, Seq: uint64(n), Hash: l.Entries[n-1].Hash})
			}
		}
		id := func(e *protocol.FrontierEntry) []byte { f := e.Origin.FeedID(p.Network); return f[:] }
		slices.SortFunc(a.Frontier, func(x, y protocol.FrontierEntry) int { return bytes.Compare(id(&x), id(&y)) })
	case protocol.SyncPull:
		a.Kind = protocol.SyncEntries
		size := 0
		for _, r := range m.Pull {
			for _, l := range logs {
				if l.Feed() != r.Feed {
					continue
				}
				for seq := r.From; seq < r.From+uint64(r.Count) && seq <= uint64(len(l.Entries)); seq++ {
					if raw := l.Entries[seq-1].Raw; size+len(raw) < protocol.MaxPullBytes && len(a.Envelopes) < protocol.MaxPullEntries {
						a.Envelopes = append(a.Envelopes, raw)
						size += len(raw)
					}
				}
				break
			}
		}
	case protocol.SyncFetch:
		a.Kind = protocol.SyncItems
	case protocol.SyncKeys:
		a.Kind = protocol.SyncWithheld
	}
	return a
}

// Everything asks a node for all that it serves: sets, entries and heads.
func (p *Puppet) Everything(from *Node) (items []*protocol.SyncMessage, entries [][]byte, heads []protocol.Signed) {
	p.w.T.Helper()
	ask := func(m *protocol.SyncMessage) *protocol.SyncMessage {
		p.w.T.Helper()
		a, err := p.Ask(from, m)
		if err != nil {
			p.w.T.Fatalf("%s asks %s: %v", p.Name, from.Name, err)
		}
		return a
	}
	list := ask(&protocol.SyncMessage{Kind: protocol.SyncList})
	for part := range slices.Chunk(list.Hashes, 32) {
		items = append(items, ask(&protocol.SyncMessage{Kind: protocol.SyncFetch, Hashes: part}))
	}
	front := ask(&protocol.SyncMessage{Kind: protocol.SyncFrontier})
	for _, f := range front.Frontier {
		for from := uint64(1); from <= f.Seq; {
			got := ask(&protocol.SyncMessage{Kind: protocol.SyncPull, Pull: []protocol.PullRange{{Feed: f.Origin.FeedID(p.Network), From: from, Count: protocol.MaxPullEntries}}})
			if len(got.Envelopes) == 0 {
				break
			}
			entries = append(entries, got.Envelopes...)
			from += uint64(len(got.Envelopes))
		}
	}
	return items, entries, ask(&protocol.SyncMessage{Kind: protocol.SyncHeads}).Heads
}
