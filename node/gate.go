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

	// sealed holds what was appended to an own feed and is about to be opened, by its seq.
	sealedMu sync.Mutex
	sealed   map[protocol.EntryRef]*openedBody

	// heads mirrors the applied heads, for the validator, which must not read the store.
	headsMu sync.RWMutex
	heads   map[protocol.FeedID]uint64
	grown   broadcast // a head moved
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
	return &gate{n: n, sealed: map[protocol.EntryRef]*openedBody{}, waiting: map[protocol.FeedID]*waiting{}, again: map[protocol.FeedID]bool{}, heads: map[protocol.FeedID]uint64{}}
}

// head returns the applied head of a feed.
func (g *gate) head(feed protocol.FeedID) uint64 {
	g.headsMu.RLock()
	defer g.headsMu.RUnlock()
	return g.heads[feed]
}

// feeds counts the feeds of which something is held.
func (g *gate) feeds() int {
	g.headsMu.RLock()
	defer g.headsMu.RUnlock()
	return len(g.heads)
}

// held counts the entries that are held of all feeds.
func (g *gate) held() (count uint64) {
	g.headsMu.RLock()
	defer g.headsMu.RUnlock()
	for _, seq := range g.heads {
		count += seq
	}
	return count
}

func (g *gate) setHead(feed protocol.FeedID, seq uint64) {
	g.headsMu.Lock()
	defer g.headsMu.Unlock()
	g.heads[feed] = seq
	g.grown.notify()
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

// validate judges an envelope that a peer passed on in a topic, for forwarding: nil to
// accept. It reads memory only. Classes ErrMalformed, ErrOversize, ErrBadSignature and
// ErrWrongContext are the sender's fault, the others are nobody's. An entry that is stale
// may be evidence of a fork, and is returned with errStale to be looked at later.
func (g *gate) validate(topic protocol.TopicID, data []byte) (*crypto.VerifiedEnvelope, error) {
	s := g.n.snap.Load()
	env, err := crypto.VerifyEnvelope(s.network, data)
	if err != nil {
		return nil, err
	}
	if env.Topic != topic {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "envelope of one topic was gossiped in another")
	}
	if _, err := s.authorize(env); err != nil {
		return nil, err
	}
	if _, ok := s.topics[env.Topic]; !ok {
		return nil, protocol.Errorf(protocol.ErrNoAgreement, "this node is not in the topic")
	}
	if env.Header.Seq <= g.head(env.Header.Feed) {
		return env, errStale
	}
	if err := g.n.inQuota(s, s.signers[env.Signing].org, int64(len(data))); err != nil {
		return nil, err
	}
	if f := g.n.evidence.fork(env.Header.Feed); f != nil && env.Header.Seq >= f.Seq {
		return nil, errFrozen
	}
	return env, nil
}

// errFrozen says that an entry comes after a fork of its feed.
var errFrozen = errors.New("its feed was forked by its author before this entry")

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
	Broken  []broken
	forks   []error

	Refusals []error // all of them
}

// admit takes verified envelopes in any order, stores those that extend their feeds, opens
// them, and indexes what may be read.
func (g *gate) admit(envs []*crypto.VerifiedEnvelope) (admission, error) {
	var out admission
	if err := g.n.room.check(); err != nil {
		return out, err
	}
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
	for _, fork := range out.forks {
		if err := g.n.foundFork(fork); err != nil {
			return out, err
		}
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
	bytes := map[protocol.OrgID]int64{}
	err := n.st.Update(func(tx *store.Tx) error {
		clear(grown)
		clear(bytes)
		*out = before
		for _, env := range envs {
			if err := g.admitOne(tx, s, env, out, grown, bytes); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	n.room.add(bytes)
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
func (g *gate) admitOne(tx *store.Tx, s *snapshot, env *crypto.VerifiedEnvelope, out *admission, grown map[protocol.FeedID]uint64, bytes map[protocol.OrgID]int64) error {
	refuse := func(err error) error {
		if out.Refused == nil {
			out.Refused = err
		}
		out.Refusals = append(out.Refusals, err)
		g.n.log.Debug("refusing an entry", "feed", env.Header.Feed, "seq", env.Header.Seq, "err", err)
		return nil
	}
	sg, err := g.mayEnter(s, env, bytes)
	if err != nil {
		return refuse(err)
	}
	if env.Signing == g.n.keys.Signing.Public() {
		// Only the gate out appends to the feed in use. An own entry that is not held here
		// means that this store went back in time: the feed is closed, and takes what it lost.
		if err := g.n.sawOwn(tx, &env.Origin, env.Header.Feed, env.Header.Seq); err != nil {
			return err
		}
	}
	feed, err := tx.Feed(env.Header.Feed)
	if err != nil {
		return err
	}
	if feed == nil {
		if err := g.n.roomForFeed(tx, &env.Origin); err != nil {
			return refuse(err)
		}
		feed = &store.Feed{ID: env.Header.Feed, Origin: env.Origin}
		if f := g.n.evidence.fork(feed.ID); f != nil {
			feed.Frozen = f.Seq
		}
		if err := tx.PutFeed(feed); err != nil {
			return err
		}
		g.n.noteDirect(feed)
	}
	if feed.Frozen != 0 && env.Header.Seq >= feed.Frozen {
		return refuse(errFrozen)
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
		switch {
		case errors.Is(err, store.ErrFork):
			out.forks = append(out.forks, err)
			return refuse(err)
		case errors.Is(err, protocol.ErrBrokenChain):
			out.Broken = append(out.Broken, broken{Feed: env.Header.Feed, From: 1, To: env.Header.Seq - 1})
			return refuse(err)
		case err != nil:
			return err
		}
		if !added {
			out.Held++
			if !env.Skeleton() {
				return g.reopenBody(tx, env)
			}
			return nil
		}
		out.Stored++
		bytes[sg.org] += int64(len(env.Raw))
		grown[env.Header.Feed] = env.Header.Seq
		next := env.Header.Seq + 1
		if w := g.waiting[env.Header.Feed]; w != nil && (feed.Frozen == 0 || next < feed.Frozen) {
			env = w.entries[next]
		} else {
			env = nil
		}
		if env != nil {
			// What waited for the entry is judged like what came by itself: its node may have been
			// removed meanwhile, and with it the entry.
			if _, err := g.mayEnter(s, env, bytes); err != nil {
				return refuse(err)
			}
		}
	}
	return nil
}

// mayEnter judges an entry by what is known now: by whom it is, whether this node is in its topic,
// and how much its organisation has here. bytes is what came of each organisation in this
// transaction.
func (g *gate) mayEnter(s *snapshot, env *crypto.VerifiedEnvelope, bytes map[protocol.OrgID]int64) (signer, error) {
	sg, err := s.authorize(env)
	if err != nil {
		return sg, err
	}
	if _, ok := s.topics[env.Topic]; !ok {
		if env.Topic.Direct() {
			return sg, s.notInDirect(env.Topic)
		}
		return sg, protocol.Errorf(protocol.ErrNoAgreement, "this node is not in the topic of the entry")
	}
	if d := s.directs[env.Topic]; d != nil && d.Author != env.Signing {
		return sg, protocol.Errorf(protocol.ErrUnknownAuthor, "entry of a direct topic is not by the node that states it")
	}
	if err := g.n.inQuota(s, sg.org, bytes[sg.org]+int64(len(env.Raw))); err != nil {
		g.n.room.over.Add(1)
		return sg, err
	}
	return sg, nil
}

// reopenBody marks a feed to be gone through again if a body came that was awaited.
func (g *gate) reopenBody(tx *store.Tx, env *crypto.VerifiedEnvelope) error {
	state, _, err := tx.EntryState(env.Header.Feed, env.Header.Seq)
	if err != nil || state != store.AwaitingBody {
		return err
	}
	g.reopenFeed(env.Header.Feed)
	return markAgain(tx, env.Header.Feed)
}

// reopenFeed marks a feed to be gone through again.
func (g *gate) reopenFeed(feed protocol.FeedID) {
	g.todoMu.Lock()
	g.again[feed] = true
	g.todoMu.Unlock()
	g.enqueue(feed)
}

// roomForFeed bounds the feeds of one node in one topic: a node that signs makes as many as
// it likes, at no cost.
func (n *Node) roomForFeed(tx *store.Tx, o *protocol.Origin) error {
	open, all := 0, 0
	err := tx.Feeds(func(f *store.Feed) error {
		if f.Origin.Signing != o.Signing || f.Origin.Topic != o.Topic {
			return nil
		}
		all++
		if h := n.heads.get(f.ID); f.Frozen == 0 && (h == nil || !h.Closed) {
			open++
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case all >= protocol.MaxFeedsPerNode:
		return protocol.Errorf(protocol.ErrOversize, "its author has %d feeds in this topic, at most %d are held", all, protocol.MaxFeedsPerNode)
	case open >= protocol.MaxOpenIncarnations && o.Signing != n.keys.Signing.Public():
		return protocol.Errorf(protocol.ErrOversize, "its author has %d open feeds in this topic, at most %d are held; it has to close the older ones", open, protocol.MaxOpenIncarnations)
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
			g.setHead(f.ID, f.Good())
			g.n.noteDirect(f)
			if f.Opened < f.Good() {
				g.enqueue(f.ID)
			}
			return nil
		})
	})
	if err == nil {
		err = errors.Join(g.reopenEarly(), g.reopenMarked())
	}
	if err != nil {
		return err
	}
	return g.drain()
}

// sealedHere returns what an entry holds that was sealed here a moment ago; nil for any other.
func (g *gate) sealedHere(env *crypto.VerifiedEnvelope) *openedBody {
	g.sealedMu.Lock()
	defer g.sealedMu.Unlock()
	b := g.sealed[protocol.EntryRef{Feed: env.Header.Feed, Seq: env.Header.Seq}]
	if b == nil || b.hash != env.Hash {
		return nil
	}
	return b
}

// openSealed is openFeed for entries that were sealed here.
func (g *gate) openSealed(feed protocol.FeedID, seq uint64, sealed map[uint64]*openedBody) error {
	g.sealedMu.Lock()
	for at, b := range sealed {
		g.sealed[protocol.EntryRef{Feed: feed, Seq: at}] = b
	}
	g.sealedMu.Unlock()
	defer func() {
		g.sealedMu.Lock()
		defer g.sealedMu.Unlock()
		for at := range sealed {
			delete(g.sealed, protocol.EntryRef{Feed: feed, Seq: at})
		}
	}()
	return g.openFeed(feed, seq)
}

// openFeed opens what was appended to a feed.
func (g *gate) openFeed(feed protocol.FeedID, seq uint64) error {
	g.setHead(feed, seq)
	g.enqueue(feed)
	return g.drain()
}

// markAgain marks a feed to be gone through again in the transaction that keeps what may open
// entries of it: a crash before that is done must not forget it. reopenMarked makes it due.
func markAgain(tx *store.Tx, feed protocol.FeedID) error {
	return tx.Set(append([]byte(kindAgain), feed[:]...), nil)
}

// markParties marks the feeds of organisations: an agreement that is signed by all now may
// open grants that meant nothing before.
func (n *Node) markParties(tx *store.Tx, orgs []protocol.OrgID) error {
	s := n.snap.Load()
	return tx.Feeds(func(f *store.Feed) error {
		if sg, ok := s.signers[f.Origin.Signing]; ok && sg.org != n.org && slices.Contains(orgs, sg.org) {
			return markAgain(tx, f.ID)
		}
		return nil
	})
}

// reopenMarked makes the marked feeds due. The caller drains.
func (g *gate) reopenMarked() error {
	return g.n.st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte(kindAgain), nil, false, func(k, _ []byte) (bool, error) {
			if id := k[len(kindAgain):]; len(id) == len(protocol.FeedID{}) {
				g.reopenFeed(protocol.FeedID(id))
			}
			return true, nil
		})
	})
}

// goneThrough takes the mark off a feed.
func (g *gate) goneThrough(feed protocol.FeedID) error {
	key := append([]byte(kindAgain), feed[:]...)
	marked := false
	err := g.n.st.View(func(tx *store.Tx) error {
		v, err := tx.Get(key)
		marked = v != nil
		return err
	})
	if err != nil || !marked {
		return err
	}
	return g.n.st.Update(func(tx *store.Tx) error { return tx.Delete(key) })
}

// reopenEarly marks the feeds with entries that could not be judged when they came.
func (g *gate) reopenEarly() error {
	return g.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			seqs, err := tx.EntriesIn(f.ID, store.AwaitingKey)
			if err != nil || len(seqs) == 0 {
				return err
			}
			g.reopenFeed(f.ID)
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
		err := g.open(feed, again)
		if err == nil && again {
			err = g.goneThrough(feed)
		}
		if err != nil {
			if again {
				g.reopenFeed(feed)
			}
			g.enqueue(feed) // it stays due
			return err
		}
	}
	if opened {
		g.n.changes.notify()
		g.n.wakeDue()
	}
	return nil
}
