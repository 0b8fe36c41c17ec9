package reconcile

import (
	"bytes"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds on one request.
const (
	fetchItems = 32 // cards of up to 64 KiB, so an answer stays below protocol.MaxFrameSize
	pullFeeds  = 64
	// maxPages bounds the pages of a list or a frontier that are read in one comparison.
	maxPages = 64
)

// Lack is a range of entries that a peer claims to have and that is not held here.
type Lack struct {
	Feed     protocol.FeedID
	From, To uint64 // first and last seq
}

// Event is what happened: exactly one field is set.
type Event struct {
	Start   *Start                     // first of all
	Answer  *protocol.SyncMessage      // to the last Ask
	Missing []protocol.Hash            // after Effect.List: those of its hashes that are not held; empty, not nil, if none
	Took    bool                       // after Effect.TakeItems
	Lacking []Lack                     // after Effect.Compare; empty, not nil, if none
	Heads   map[protocol.FeedID]uint64 // after Effect.TakeEntries: the heads now held of the feeds asked for
}

// Start says what is held.
type Start struct {
	Sets  protocol.Hash // DigestSets of what is held
	Feeds protocol.Hash // DigestFeeds of what is held
}

// Effect is what to do: exactly one field is set.
type Effect struct {
	Ask         *protocol.SyncMessage
	List        []protocol.Hash          // which of these are not held?
	TakeItems   *protocol.SyncMessage    // keep its cards and roster statements
	Compare     []protocol.FrontierEntry // what of this is lacking?
	TakeEntries [][]byte                 // verify and admit
	Done        bool
	Err         error // the peer broke the protocol; the comparison is over
}

type phase uint8

const (
	starting phase = iota
	digest
	listing
	sifting
	fetching
	takingItems
	frontier
	comparing
	pulling
	takingEntries
	done
)

// Machine is one comparison with one peer. The zero value is ready. It is not safe for
// concurrent use.
type Machine struct {
	phase   phase
	start   Start
	feeds   bool // the frontiers differ
	pages   int
	after   protocol.Hash // last hash of the page read
	more    bool
	missing []protocol.Hash
	fetched []protocol.Hash // asked for, in flight
	head    *protocol.FrontierEntry
	lacking []Lack
	asked   int // the first so many of lacking are in flight
}

// Step takes an event and returns the effect to bring about next.
func (m *Machine) Step(e Event) Effect {
	switch m.phase {
	case starting:
		if e.Start == nil {
			return m.fail("comparison was not started")
		}
		m.start = *e.Start
		return m.ask(digest, &protocol.SyncMessage{Kind: protocol.SyncDigest, Sets: m.start.Sets, Feeds: m.start.Feeds})
	case digest:
		if a := e.Answer; a == nil || a.Kind != protocol.SyncDigest {
			return m.unexpected(e)
		}
		m.feeds = e.Answer.Feeds != m.start.Feeds
		if e.Answer.Sets != m.start.Sets {
			return m.list()
		}
		return m.compareFeeds()
	case listing:
		return m.listed(e)
	case sifting:
		m.missing = append(m.missing, e.Missing...)
		if m.more && m.pages < maxPages {
			return m.list()
		}
		return m.fetch()
	case fetching:
		if a := e.Answer; a == nil || a.Kind != protocol.SyncItems || len(a.Cards)+len(a.Roster) > len(m.fetched) {
			return m.unexpected(e)
		}
		m.phase = takingItems
		return Effect{TakeItems: e.Answer}
	case takingItems:
		return m.fetch()
	case frontier:
		return m.frontierCame(e)
	case comparing:
		m.lacking = append(m.lacking, e.Lacking...)
		if m.more && m.pages < maxPages {
			return m.askFrontier()
		}
		return m.pull()
	case pulling:
		if a := e.Answer; a == nil || a.Kind != protocol.SyncEntries {
			return m.unexpected(e)
		}
		m.phase = takingEntries
		return Effect{TakeEntries: e.Answer.Envelopes}
	case takingEntries:
		m.advance(e.Heads)
		return m.pull()
	}
	return m.fail("comparison is over")
}

func (m *Machine) ask(next phase, msg *protocol.SyncMessage) Effect {
	m.phase = next
	msg.Version = 1
	return Effect{Ask: msg}
}

func (m *Machine) fail(format string, args ...any) Effect {
	m.phase = done
	return Effect{Err: protocol.Errorf(protocol.ErrMalformed, format, args...)}
}

func (m *Machine) unexpected(e Event) Effect {
	kind := protocol.SyncKind(0)
	if e.Answer != nil {
		kind = e.Answer.Kind
	}
	return m.fail("peer answered with a message of kind %d, which does not answer the request", kind)
}

func (m *Machine) list() Effect {
	m.pages++
	msg := &protocol.SyncMessage{Kind: protocol.SyncList}
	if m.pages > 1 {
		msg.Hashes = []protocol.Hash{m.after}
	}
	return m.ask(listing, msg)
}

func (m *Machine) listed(e Event) Effect {
	a := e.Answer
	if a == nil || a.Kind != protocol.SyncList {
		return m.unexpected(e)
	}
	after := m.after
	for i, h := range a.Hashes {
		if (i > 0 || m.pages > 1) && bytes.Compare(h[:], after[:]) <= 0 {
			return m.fail("peer listed hashes out of order")
		}
		after = h
	}
	m.after, m.more = after, a.More && len(a.Hashes) > 0
	m.phase = sifting
	return Effect{List: a.Hashes}
}

// fetch asks for the next of what is missing. Whatever the peer leaves out is not asked
// for again in this comparison.
func (m *Machine) fetch() Effect {
	n := min(len(m.missing), fetchItems)
	if n == 0 {
		return m.compareFeeds()
	}
	m.fetched, m.missing = m.missing[:n], m.missing[n:]
	return m.ask(fetching, &protocol.SyncMessage{Kind: protocol.SyncFetch, Hashes: m.fetched})
}

func (m *Machine) compareFeeds() Effect {
	if !m.feeds {
		m.phase = done
		return Effect{Done: true}
	}
	m.pages, m.head = 0, nil
	return m.askFrontier()
}

func (m *Machine) askFrontier() Effect {
	m.pages++
	msg := &protocol.SyncMessage{Kind: protocol.SyncFrontier}
	if m.head != nil {
		msg.Frontier = []protocol.FrontierEntry{*m.head}
	}
	return m.ask(frontier, msg)
}

func (m *Machine) frontierCame(e Event) Effect {
	a := e.Answer
	if a == nil || a.Kind != protocol.SyncFrontier {
		return m.unexpected(e)
	}
	if n := len(a.Frontier); n > 0 {
		m.head = &a.Frontier[n-1]
	}
	m.more = a.More && len(a.Frontier) > 0
	m.phase = comparing
	return Effect{Compare: a.Frontier}
}

func (m *Machine) pull() Effect {
	m.asked = min(len(m.lacking), pullFeeds)
	if m.asked == 0 {
		m.phase = done
		return Effect{Done: true}
	}
	msg := &protocol.SyncMessage{Kind: protocol.SyncPull}
	for _, l := range m.lacking[:m.asked] {
		msg.Pull = append(msg.Pull, protocol.PullRange{Feed: l.Feed, From: l.From,
			Count: uint32(min(l.To-l.From+1, protocol.MaxPullEntries))})
	}
	return m.ask(pulling, msg)
}

// advance moves the ranges that were asked for on to the heads held now. If any of them
// advanced, the others were perhaps cut off by the budget of the answer, and are asked for
// again; if none did, the peer has nothing for them.
func (m *Machine) advance(heads map[protocol.FeedID]uint64) {
	progress := false
	for i := range m.lacking[:m.asked] {
		l := &m.lacking[i]
		if h := heads[l.Feed]; h >= l.From {
			l.From, progress = h+1, true
		}
	}
	flight := m.lacking[:m.asked]
	rest := slices.Clone(m.lacking[m.asked:])
	if !progress {
		m.lacking = rest
		return
	}
	left := slices.DeleteFunc(slices.Clone(flight), func(l Lack) bool { return l.From > l.To })
	m.lacking = append(left, rest...)
}
