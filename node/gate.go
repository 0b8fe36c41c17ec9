package node

import (
	"errors"
	"slices"
	"sync"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// gate is the only way in. An envelope passes it in this order: decode and verify (done by
// whoever holds the bytes, with crypto.VerifyEnvelope), author, order, store, open, decide,
// index. Storing an envelope and opening it are separate steps with a mark between them, so
// a crash repeats an opening but never skips one.
type gate struct {
	n *Node

	// mu is held by whoever admits or opens.
	mu      sync.Mutex
	waiting map[protocol.FeedID]*waiting // guarded by mu

	// todoMu guards what is still to be opened; it is never held while working.
	todoMu sync.Mutex
	todo   []protocol.FeedID
	again  map[protocol.FeedID]bool // open once more what did not open before

	// heads mirrors the applied heads, for the validator, which must not read the store.
	headsMu sync.RWMutex
	heads   map[protocol.FeedID]uint64
}

// waiting holds entries that came before the ones they follow.
type waiting struct {
	entries map[uint64]*crypto.VerifiedEnvelope
	bytes   int
}

// Bounds on what waits for its predecessors: per feed, and feeds altogether. What does not
// fit is dropped; the sync brings it.
const (
	maxWaitingEntries = 256
	maxWaitingBytes   = 4 << 20
	maxWaitingFeeds   = 64
	admitBytes        = 2 << 20 // one transaction
)

func newGate(n *Node) *gate {
	return &gate{n: n, waiting: map[protocol.FeedID]*waiting{}, again: map[protocol.FeedID]bool{}, heads: map[protocol.FeedID]uint64{}}
}

// head returns the applied head of a feed.
func (g *gate) head(feed protocol.FeedID) uint64 {
	g.headsMu.RLock()
	defer g.headsMu.RUnlock()
	return g.heads[feed]
}

func (g *gate) setHead(feed protocol.FeedID, seq uint64) {
	g.headsMu.Lock()
	defer g.headsMu.Unlock()
	g.heads[feed] = seq
}

// authorize checks that the author of an entry is a node of a member, or was one when it
// made the entry. The errors are of class ErrUnknownAuthor.
func (s *snapshot) authorize(env *crypto.VerifiedEnvelope) (signer, error) {
	sg, ok := s.signers[env.Signing]
	if !ok {
		return sg, protocol.Errorf(protocol.ErrUnknownAuthor, "no card known here lists the node that signed this")
	}
	if !s.members[sg.org] {
		return sg, protocol.Errorf(protocol.ErrUnknownAuthor, "%s is not a member of the network", s.name(sg.org))
	}
	if sg.removed {
		for _, h := range sg.heads {
			if h.Feed == env.Header.Feed && (env.Header.Seq < h.Seq || env.Header.Seq == h.Seq && env.Hash == h.Hash) {
				return sg, nil
			}
		}
		return sg, protocol.Errorf(protocol.ErrUnknownAuthor, "the node that signed this was removed by %s, and this comes after its last entry", s.name(sg.org))
	}
	return sg, nil
}

// Validate judges an envelope that a peer passed on, for forwarding: nil to accept. It reads
// memory only. Classes ErrMalformed, ErrOversize, ErrBadSignature and ErrWrongContext are
// the sender's fault, the others are nobody's.
func (g *gate) validate(data []byte) error {
	s := g.n.snap.Load()
	env, err := crypto.VerifyEnvelope(s.network, data)
	if err != nil {
		return err
	}
	if _, err := s.authorize(env); err != nil {
		return err
	}
	if _, ok := s.topics[env.Topic]; !ok {
		return protocol.Errorf(protocol.ErrNoAgreement, "this node is not in the topic")
	}
	if env.Header.Seq <= g.head(env.Header.Feed) {
		return errStale
	}
	return nil
}

// errStale says that an entry is at or below the applied head.
var errStale = errors.New("held already")

// admission says what became of the envelopes given to admit.
type admission struct {
	Stored  int
	Held    int // already
	Waiting int
	Dropped int   // no room to wait
	Refused error // the first refusal; the rest went on
	Gaps    bool  // something is missing before what came

	Refusals []error // all of them
}

// admit takes verified envelopes in any order, stores those that extend their feeds, opens
// them, and indexes what may be read.
func (g *gate) admit(envs []*crypto.VerifiedEnvelope) (admission, error) {
	var out admission
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(envs) > 0 {
		size, count := 0, 0
		for _, e := range envs {
			if size += len(e.Raw); count > 0 && size > admitBytes {
				break
			}
			count++
		}
		if err := g.admitSome(envs[:count], &out); err != nil {
			return out, err
		}
		envs = envs[count:]
	}
	return out, g.drainLocked()
}

func (g *gate) admitSome(envs []*crypto.VerifiedEnvelope, out *admission) error {
	n := g.n
	n.stateMu.RLock()
	defer n.stateMu.RUnlock()
	s := n.snap.Load()
	grown := map[protocol.FeedID]uint64{}
	before := *out
	err := n.st.Update(func(tx *store.Tx) error {
		clear(grown)
		*out = before
		for _, env := range envs {
			if err := g.admitOne(tx, s, env, out, grown); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for feed, seq := range grown {
		g.setHead(feed, seq)
		if w := g.waiting[feed]; w != nil {
			for at, e := range w.entries {
				if at <= seq {
					w.bytes -= len(e.Raw)
					delete(w.entries, at)
				}
			}
			if len(w.entries) == 0 {
				delete(g.waiting, feed)
			}
		}
		g.enqueue(feed)
	}
	return nil
}

// admitOne stores one envelope, and those that waited for it.
func (g *gate) admitOne(tx *store.Tx, s *snapshot, env *crypto.VerifiedEnvelope, out *admission, grown map[protocol.FeedID]uint64) error {
	refuse := func(err error) error {
		if out.Refused == nil {
			out.Refused = err
		}
		out.Refusals = append(out.Refusals, err)
		g.n.log.Debug("refusing an entry", "feed", env.Header.Feed, "seq", env.Header.Seq, "err", err)
		return nil
	}
	if _, err := s.authorize(env); err != nil {
		return refuse(err)
	}
	if _, ok := s.topics[env.Topic]; !ok {
		return refuse(protocol.Errorf(protocol.ErrNoAgreement, "this node is not in the topic of the entry"))
	}
	if env.Signing == g.n.keys.Signing.Public() && env.Header.Seq > g.head(env.Header.Feed) {
		// Only the gate out appends to own feeds. An own entry that is not held here means
		// that this store was rolled back.
		g.n.log.Error("an entry of this node's own feed came from outside: was its data restored from a backup?", "feed", env.Header.Feed, "seq", env.Header.Seq)
		return refuse(protocol.Errorf(protocol.ErrBrokenChain, "entry of this node's own feed is not held here"))
	}
	feed, err := tx.Feed(env.Header.Feed)
	if err != nil {
		return err
	}
	if feed == nil {
		feed = &store.Feed{ID: env.Header.Feed, Origin: env.Origin}
		if err := tx.PutFeed(feed); err != nil {
			return err
		}
	}
	if env.Header.Seq > feed.Seq+1 {
		out.Gaps = true
		if g.hold(env) {
			out.Waiting++
		} else {
			out.Dropped++
		}
		return nil
	}
	for env != nil {
		added, err := tx.Append(env)
		if err != nil {
			if errors.Is(err, protocol.ErrBrokenChain) || errors.Is(err, store.ErrFork) {
				return refuse(err)
			}
			return err
		}
		if !added {
			out.Held++
			return nil
		}
		out.Stored++
		grown[env.Header.Feed] = env.Header.Seq
		if w := g.waiting[env.Header.Feed]; w != nil {
			env = w.entries[env.Header.Seq+1]
		} else {
			env = nil
		}
	}
	return nil
}

// hold keeps an entry until the ones before it have come. It reports false if there is no
// room for it.
func (g *gate) hold(env *crypto.VerifiedEnvelope) bool {
	w := g.waiting[env.Header.Feed]
	if w == nil {
		if len(g.waiting) >= maxWaitingFeeds {
			return false
		}
		w = &waiting{entries: map[uint64]*crypto.VerifiedEnvelope{}}
		g.waiting[env.Header.Feed] = w
	}
	if w.entries[env.Header.Seq] != nil {
		return true
	}
	if len(w.entries) >= maxWaitingEntries || w.bytes+len(env.Raw) > maxWaitingBytes {
		return false
	}
	w.entries[env.Header.Seq] = env
	w.bytes += len(env.Raw)
	return true
}

// openAll opens what was stored and not opened before the node stopped.
func (g *gate) openAll() error {
	err := g.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			g.setHead(f.ID, f.Seq)
			if f.Opened < f.Seq {
				g.enqueue(f.ID)
			}
			return nil
		})
	})
	if err == nil {
		err = g.reopenEarly()
	}
	if err != nil {
		return err
	}
	return g.drain()
}

// openFeed opens what was appended to a feed.
func (g *gate) openFeed(feed protocol.FeedID, seq uint64) error {
	g.setHead(feed, seq)
	g.enqueue(feed)
	return g.drain()
}

// reopen marks the feeds of organisations to be gone through again: a new agreement may
// open grants that meant nothing before. The caller drains.
func (g *gate) reopen(orgs []protocol.OrgID) error {
	s := g.n.snap.Load()
	return g.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if sg, ok := s.signers[f.Origin.Signing]; ok && sg.org != g.n.org && slices.Contains(orgs, sg.org) {
				g.todoMu.Lock()
				g.again[f.ID] = true
				g.todoMu.Unlock()
				g.enqueue(f.ID)
			}
			return nil
		})
	})
}

// reopenEarly marks the feeds with entries that could not be judged when they came.
func (g *gate) reopenEarly() error {
	return g.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			seqs, err := tx.EntriesIn(f.ID, store.AwaitingKey)
			if err != nil || len(seqs) == 0 {
				return err
			}
			g.todoMu.Lock()
			g.again[f.ID] = true
			g.todoMu.Unlock()
			g.enqueue(f.ID)
			return nil
		})
	})
}

func (g *gate) enqueue(feed protocol.FeedID) {
	g.todoMu.Lock()
	defer g.todoMu.Unlock()
	if !slices.Contains(g.todo, feed) {
		g.todo = append(g.todo, feed)
	}
}

func (g *gate) next() (feed protocol.FeedID, again, ok bool) {
	g.todoMu.Lock()
	defer g.todoMu.Unlock()
	if len(g.todo) == 0 {
		return feed, false, false
	}
	feed = g.todo[0]
	g.todo = g.todo[1:]
	again = g.again[feed]
	delete(g.again, feed)
	return feed, again, true
}

// drain opens everything that is to be opened.
func (g *gate) drain() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.drainLocked()
}

func (g *gate) drainLocked() error {
	opened := false
	for {
		feed, again, ok := g.next()
		if !ok {
			break
		}
		opened = true
		if err := g.open(feed, again); err != nil {
			g.enqueue(feed) // it stays due
			return err
		}
	}
	if opened {
		g.n.changes.notify()
	}
	return nil
}
