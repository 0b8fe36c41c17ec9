package reconcile

import (
	"bytes"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds on one request, and on one comparison.
const (
	fetchItems = 32 // cards of up to 64 KiB, so an answer stays below protocol.MaxFrameSize
	pullFeeds  = 64
	// probeWindow is how many entries are compared at a time where two nodes hold different
	// entries of one feed.
	probeWindow = 32
	// maxPages bounds the pages of a list or a frontier that are read in one comparison.
	maxPages = 64
	// Budget is how many bytes of entries one comparison takes; what is left is for the
	// next, with another peer perhaps.
	Budget = 256 << 20
)

// Lack is a range of entries that a peer claims to have and that is not held here, or not
// with its body.
type Lack struct {
	Feed     protocol.FeedID
	From, To uint64 // first and last seq
}

// Event is what happened: exactly one field is set.
type Event struct {
	Start    *Start                     // first of all
	Answer   *protocol.SyncMessage      // to the last Ask
	Missing  []protocol.Hash            // after Effect.List: those of its hashes that are not held; empty, not nil, if none
	Took     bool                       // after Effect.TakeItems and TakeHeads
	Compared *Compared                  // after Effect.Compare
	Taken    *Taken                     // after Effect.TakeEntries
	Diverged map[protocol.FeedID]uint64 // after Effect.Probe: the lowest seq at which what is held differs
}

// Start says what is held.
type Start struct {
	Sets   protocol.Hash   // DigestSets of what is held
	Feeds  protocol.Hash   // DigestFeeds of what is held
	Bodies []Lack          // entries that are held without their bodies
	Parts  []protocol.Hash // PartDigests of what is held
	Heads  bool            // exchange signed heads too
}

// Compared says what a page of a peer's frontier means here.
type Compared struct {
	Lacking []Lack
	Differ  []Lack // what is held at To differs from what the peer holds
}

// Taken says what became of entries.
type Taken struct {
	Heads  map[protocol.FeedID]uint64 // the heads held now of the feeds asked for
	Broken []Lack                     // the peer's entries do not follow the one held at To
	Bytes  int
}

// Effect is what to do: exactly one field is set.
type Effect struct {
	Ask         *protocol.SyncMessage
	List        []protocol.Hash          // which of these are not held?
	TakeItems   *protocol.SyncMessage    // keep its cards, roster statements, fork proofs, erases and direct topics
	Compare     []protocol.FrontierEntry // what of this is lacking?
	TakeEntries [][]byte                 // verify and admit
	Probe       [][]byte                 // verify, and compare with what is held
	TakeHeads   []protocol.Signed
	Done        *Done
	Err         error // the peer broke the protocol; the comparison is over
}

// Done says how a comparison ended.
type Done struct {
	Unfinished bool // the budget was used up; compare again
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
	probing
	takingProbe
	heads
	takingHeads
	done
)

// Machine is one comparison with one peer. The zero value is ready. It is not safe for
// concurrent use.
type Machine struct {
	phase    phase
	start    Start
	feeds    bool // the frontiers differ
	pages    int
	after    protocol.Hash // last hash of the page read
	more     bool
	missing  []protocol.Hash
	fetched  []protocol.Hash // asked for, in flight
	head     *protocol.FrontierEntry
	lacking  []Lack
	asked    int // the first so many of lacking are in flight
	bodies   []Lack
	pullBody bool // what is in flight are bodies
	differ   []Lack
	probes   []Lack // in flight
	probed   int
	bytes    int
}

// Step takes an event and returns the effect to bring about next.
func (m *Machine) Step(e Event) Effect {
	switch m.phase {
	case starting:
		if e.Start == nil {
			return m.fail("comparison was not started")
		}
		m.start = *e.Start
		m.bodies = m.start.Bodies
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
		if a := e.Answer; a == nil || a.Kind != protocol.SyncItems || len(a.Cards)+len(a.Roster)+len(a.Forks)+len(a.Erases)+len(a.Directs) > len(m.fetched) {
			return m.unexpected(e)
		}
		m.phase = takingItems
		return Effect{TakeItems: e.Answer}
	case takingItems:
		return m.fetch()
	case frontier:
		return m.frontierCame(e)
	case comparing:
		if e.Compared == nil {
			return m.fail("comparison gave nothing")
		}
		m.lacking = append(m.lacking, e.Compared.Lacking...)
		m.differ = append(m.differ, e.Compared.Differ...)
		if m.more && m.pages < maxPages {
			return m.askFrontier()
		}
		return m.pull()
	case pulling:
		if a := e.Answer; a == nil || a.Kind != protocol.SyncEntries {
			return m.unexpected(e)
		}
		m.phase = takingEntries
		return Effect{TakeEntries: orEmpty(e.Answer.Envelopes)}
	case takingEntries:
		if e.Taken == nil {
			return m.fail("taking entries gave nothing")
		}
		m.bytes += e.Taken.Bytes
		m.differ = append(m.differ, e.Taken.Broken...)
		m.advance(e.Taken.Heads)
		return m.pull()
	case probing:
		if a := e.Answer; a == nil || a.Kind != protocol.SyncEntries {
			return m.unexpected(e)
		}
		m.phase = takingProbe
		return Effect{Probe: orEmpty(e.Answer.Envelopes)}
	case takingProbe:
		for _, p := range m.probes {
			// All of the window differs: the fork is further down.
			if low, ok := e.Diverged[p.Feed]; ok && low == p.From && low > 1 {
				m.differ = append(m.differ, Lack{Feed: p.Feed, From: 1, To: low - 1})
			}
		}
		return m.probe()
	case heads:
		if a := e.Answer; a == nil || a.Kind != protocol.SyncHeads {
			return m.unexpected(e)
		}
		m.phase = takingHeads
		return Effect{TakeHeads: orEmpty(e.Answer.Heads)}
	case takingHeads:
		return m.end()
	}
	return m.fail("comparison is over")
}

// orEmpty makes an empty list of none, so that the field of the effect is set.
func orEmpty[T any](list []T) []T {
	if list == nil {
		list = []T{}
	}
	return list
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

func (m *Machine) end() Effect {
	m.phase = done
	return Effect{Done: &Done{Unfinished: len(m.lacking)+len(m.bodies) > 0}}
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
	return Effect{List: orEmpty(a.Hashes)}
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
		return m.pull()
	}
	m.pages, m.head = 0, nil
	return m.askFrontier()
}

// askFrontier asks for the heads of the feeds in those parts that differ.
func (m *Machine) askFrontier() Effect {
	m.pages++
	msg := &protocol.SyncMessage{Kind: protocol.SyncFrontier, Hashes: m.start.Parts}
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
	return Effect{Compare: orEmpty(a.Frontier)}
}

// pull asks for what is lacking: entries first, then bodies, then what is needed to find
// where two histories part.
func (m *Machine) pull() Effect {
	list := &m.lacking
	if m.pullBody = len(m.lacking) == 0; m.pullBody {
		list = &m.bodies
	}
	m.asked = min(len(*list), pullFeeds)
	if m.asked == 0 || m.bytes >= Budget {
		return m.probe()
	}
	msg := &protocol.SyncMessage{Kind: protocol.SyncPull}
	for _, l := range (*list)[:m.asked] {
		msg.Pull = append(msg.Pull, protocol.PullRange{Feed: l.Feed, From: l.From,
			Count: uint32(min(l.To-l.From+1, protocol.MaxPullEntries))})
	}
	return m.ask(pulling, msg)
}

// advance moves the ranges that were asked for on to the heads held now. If any of them
// advanced, the others were perhaps cut off by the budget of the answer, and are asked for
// again; if none did, the peer has nothing for them. Bodies are asked for once.
func (m *Machine) advance(heads map[protocol.FeedID]uint64) {
	if m.pullBody {
		m.bodies = m.bodies[m.asked:]
		return
	}
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

// maxProbes bounds the windows that are compared in one comparison.
const maxProbes = 64

// probe asks for the entries below a place where two histories differ.
func (m *Machine) probe() Effect {
	n := min(len(m.differ), pullFeeds)
	if n == 0 || m.probed >= maxProbes {
		if m.start.Heads {
			return m.ask(heads, &protocol.SyncMessage{Kind: protocol.SyncHeads})
		}
		return m.end()
	}
	m.probed++
	msg := &protocol.SyncMessage{Kind: protocol.SyncPull}
	m.probes = nil
	for _, d := range m.differ[:n] {
		p := Lack{Feed: d.Feed, From: max(d.From, 1), To: d.To}
		if p.To-p.From >= probeWindow {
			p.From = p.To - probeWindow + 1
		}
		m.probes = append(m.probes, p)
		msg.Pull = append(msg.Pull, protocol.PullRange{Feed: p.Feed, From: p.From, Count: uint32(p.To - p.From + 1)})
	}
	m.differ = m.differ[n:]
	return m.ask(probing, msg)
}
