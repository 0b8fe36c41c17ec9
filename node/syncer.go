package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Gossip is the fast path; comparing with a peer is the truth. A node compares when a peer
// connects, when gossip dropped or lacked something, and every Config.SyncEvery.

// syncDebounce gathers what makes a comparison due.
const syncDebounce = 250 * time.Millisecond

// keepSynced runs comparisons, one at a time, until ctx ends. By the clock it compares with
// peers of two organisations, so that no single one decides what this node knows.
//
// While authors say that there is more than is held here, it compares again, less and less often,
// now with who told of it, now with another: who passed a head on may not have had the entries yet.
func (net *network) keepSynced(ctx context.Context) {
	var again <-chan time.Time
	var lacking uint64
	var fresh time.Time // when it last began to compare often
	lag, tries := syncDebounce, 0
	every := net.n.cfg.SyncEvery
	// A node that listens nowhere compares more often at first: it is called by way of a relay, and others that
	// came up behind one at the same time say only now where they can be reached.
	pace := every
	if len(net.n.ways.listen) == 0 {
		pace = min(firstSyncs, every)
	}
	jittered := func() time.Time { return time.Now().Add(pace - pace/8 + rand.N(pace/4)) }
	due := jittered() // nothing that comes in between puts it off
	for {
		tick := time.NewTimer(time.Until(due))
		var peers []protocol.NodeID
		timed := false
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case peer := <-net.syncs:
			peers = append(peers, peer)
		case <-again:
			peers = net.somePeers(1)
			if t := net.teller.Load(); t != nil && tries%2 == 0 && !net.stalls(*t) {
				peers = []protocol.NodeID{*t}
			}
			tries++
		case <-net.dirty:
			if sleep(ctx, syncDebounce) != nil {
				tick.Stop()
				return
			}
			if peers = net.takeTellers(); len(peers) == 0 {
				peers = net.somePeers(1)
			}
		case <-tick.C:
			pace = min(2*pace, every)
			timed, due = true, jittered()
			peers = net.somePeers(2)
			for _, more := range append(net.connectedSiblings(), net.directPeer()...) {
				if !slices.Contains(peers, more) {
					peers = append(peers, more)
				}
			}
		}
		tick.Stop()
		held := net.n.gate.held()
		for _, peer := range peers {
			if err := net.syncWith(ctx, peer, timed); err != nil && ctx.Err() == nil {
				net.n.counters.syncFailed.Add(1)
				net.n.log.Debug("comparing with a peer failed", "node", peer, "err", err)
			}
		}
		was := lacking
		lacking, again = net.n.lacking(), nil
		if net.n.gate.held() != held || lacking != was && time.Since(fresh) > every/4 {
			lag, tries, fresh = syncDebounce, 0, time.Now()
		}
		if lacking > 0 {
			again = time.After(lag)
			lag = min(2*lag, 4*every)
		}
	}
}

// firstSyncs is after how long a node that listens nowhere compares by the clock for the first time after it came
// up; twice as long each time after, up to Config.SyncEvery.
const firstSyncs = 4 * time.Second

// A peer that was waited for longer than stalling in one comparison, and sent fewer than slowRate
// bytes of entries a second meanwhile, is not compared with for stalledFor because it told of
// entries: it could keep a node busy, and from all others, by saying that it has more. By chance
// and by the clock it is compared with like any.
const (
	stalling   = 10 * time.Second
	slowRate   = 4 << 10
	stalledFor = time.Hour
)

// waitedFor is how long one peer was waited for in a comparison, and what came.
type waitedFor struct {
	time  time.Duration
	bytes int
}

func (w *waitedFor) add(took time.Duration, a *protocol.SyncMessage) {
	w.time += took
	if a != nil {
		for _, raw := range a.Envelopes {
			w.bytes += len(raw)
		}
	}
}

func (w *waitedFor) stalled() bool {
	return w.time > stalling && float64(w.bytes) < slowRate*w.time.Seconds()
}

func (net *network) noteStalled(peer protocol.NodeID) {
	net.mu.Lock()
	defer net.mu.Unlock()
	maps.DeleteFunc(net.stalled, func(_ protocol.NodeID, at time.Time) bool { return time.Since(at) > stalledFor })
	net.stalled[peer] = time.Now()
}

func (net *network) stalls(peer protocol.NodeID) bool {
	net.mu.Lock()
	defer net.mu.Unlock()
	at, ok := net.stalled[peer]
	return ok && time.Since(at) < stalledFor
}

// told notes who told of entries that are not held here, and makes a comparison with it due.
func (net *network) told(by protocol.NodeID) {
	net.teller.Store(&by)
	stalls := net.stalls(by)
	net.mu.Lock()
	if len(net.tellers) < maxTellers && !stalls {
		net.tellers[by] = true
	}
	net.mu.Unlock()
	net.markDirty()
}

// maxTellers bounds the peers that are compared with at once because they told of entries.
const maxTellers = 8

func (net *network) takeTellers() []protocol.NodeID {
	net.mu.Lock()
	defer net.mu.Unlock()
	list := slices.Collect(maps.Keys(net.tellers))
	clear(net.tellers)
	return list
}

// syncSoon makes a comparison with a peer due.
func (net *network) syncSoon(peer protocol.NodeID) {
	select {
	case net.syncs <- peer:
	default:
		net.markDirty()
	}
}

// connectedSiblings lists the connected nodes of this organisation.
func (net *network) connectedSiblings() (out []protocol.NodeID) {
	for _, p := range net.mesh.Peers() {
		if p.Org == net.n.org {
			out = append(out, p.Node)
		}
	}
	return out
}

// tellSiblings makes connected siblings look here for what changed: a comparison tells them
// that the two differ.
func (net *network) tellSiblings() {
	for _, sibling := range net.connectedSiblings() {
		net.syncSoon(sibling)
	}
}

// syncSibling compares what only the nodes of one organisation hold.
func (net *network) syncSibling(ctx context.Context, peer protocol.NodeID) error {
	equal, err := net.n.compareSiblings(ctx, func(ctx context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		return net.mesh.Ask(ctx, peer, m)
	})
	if err != nil {
		return fmt.Errorf("comparing with a node of this organisation: %w", err)
	}
	net.mu.Lock()
	net.siblings[peer] = siblingMark{at: time.Now(), equal: equal}
	net.mu.Unlock()
	if !equal {
		net.n.changes.notify()
	}
	return nil
}

// newDifference notes how a sibling's set differs, and reports whether it did otherwise when it
// last asked. Two that never hold the same, as while one is of a newer version, would
// otherwise make each other compare without end.
func (net *network) newDifference(sibling protocol.NodeID, differ protocol.Hash) bool {
	net.mu.Lock()
	defer net.mu.Unlock()
	if net.differed[sibling] == differ {
		return false
	}
	if net.differed == nil {
		net.differed = map[protocol.NodeID]protocol.Hash{}
	}
	net.differed[sibling] = differ
	return true
}

// siblingMark is how the last comparison with a sibling ended.
type siblingMark struct {
	at    time.Time
	equal bool // it held nothing that was not held here
}

// somePeers chooses peers of different organisations.
func (net *network) somePeers(count int) (out []protocol.NodeID) {
	peers := net.mesh.Peers()
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	orgs := map[protocol.OrgID]bool{}
	for _, p := range peers {
		if len(out) < count && !orgs[p.Org] {
			orgs[p.Org] = true
			out = append(out, p.Node)
		}
	}
	return out
}

// syncTimeout bounds one comparison with one peer; what is left is done by the next.
const syncTimeout = 5 * time.Minute

// syncWith compares with a peer and takes what is lacking here. The peer compares with us
// on its own account.
func (net *network) syncWith(ctx context.Context, peer protocol.NodeID, heads bool) error {
	org, ok := net.known(peer)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	net.n.counters.syncs.Add(1)
	var waited waitedFor
	defer func() {
		if waited.stalled() {
			net.noteStalled(peer)
		}
	}()
	done, err := net.n.compare(ctx, peer, org, heads, func(ctx context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		asked := time.Now()
		a, err := net.mesh.Ask(ctx, peer, m)
		waited.add(time.Since(asked), a)
		if err == nil {
			net.noteClaims(peer, a.Frontier)
		}
		return a, err
	})
	if err != nil {
		return err
	}
	net.n.counters.synced.Store(nowMillis())
	if done.Unfinished {
		net.markDirty()
	}
	if org == net.n.org {
		if err := net.syncSibling(ctx, peer); err != nil {
			return err
		}
	}
	return errors.Join(net.n.heardFrom(peer, org), net.askKeys(ctx, peer), net.askReceipts(ctx, peer, org), net.askCosign(ctx, peer, org))
}

// compareAgain is how often a node that waits to hear of erasures compares with a peer to take
// what it left out: a newer card comes after what it verifies, or before.
const compareAgain = 3

// compare compares with a peer. What is left out of the sets, as an erase that the key of a
// card on its way signed, the next comparison brings; a node that waits to hear of erasures
// counts none as heard before.
func (n *Node) compare(ctx context.Context, peer protocol.NodeID, org protocol.OrgID, heads bool, ask reconcile.Asker) (done *reconcile.Done, err error) {
	for range compareAgain {
		v := &view{n: n, peer: peer, org: org}
		done, err = reconcile.Run(ctx, v, heads, ask)
		if err != nil || n.usable() == nil || v.got.kept == 0 || v.got.left == 0 {
			break
		}
	}
	return done, err
}

// noteClaims remembers what a peer says that it holds and this node does not.
func (net *network) noteClaims(peer protocol.NodeID, front []protocol.FrontierEntry) {
	network := net.n.snap.Load().network
	for i := range front {
		feed := front[i].Origin.FeedID(network)
		net.n.heads.claims(peer, feed, front[i].Seq, net.n.gate.head(feed))
	}
}

// serve answers a peer's request.
func (net *network) serve(_ context.Context, remote protocol.NodeID, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
	org, ok := net.known(remote)
	if !ok {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "peer is not a member of the network")
	}
	switch m.Kind {
	case protocol.SyncSiblings, protocol.SyncSiblingFetch:
		a, differ, err := net.n.serveSiblings(remote, m)
		if !differ.IsZero() && net.newDifference(remote, differ) {
			net.syncSoon(remote)
		}
		return a, err
	case protocol.SyncKeys, protocol.SyncKeysAgain:
		return net.n.serveKeys(remote, org, m)
	case protocol.SyncReceipts:
		return net.n.serveReceipts(org, m)
	case protocol.SyncCosign:
		return net.n.serveCosign(remote, org, m)
	case protocol.SyncDirect:
		return net.serveDirect(remote, m)
	}
	return reconcile.Answer(&view{n: net.n, org: org, serving: true}, m)
}

// view is the node as package reconcile sees it, for a peer: of direct feeds it shows what the
// peer's organisation is on the roster of.
type view struct {
	n       *Node
	peer    protocol.NodeID // that is compared with
	org     protocol.OrgID  // of the peer; zero: nobody's, and no direct feed is shown
	serving bool
	got     taken // of the sets, in this comparison
}

// SetHashes lists the cards, roster statements, fork proofs, erases and direct topics that are held
// and that the peer may be told of.
func (v *view) SetHashes() ([]protocol.Hash, error) {
	s := v.n.snap.Load()
	var out []protocol.Hash
	for org, c := range s.cards {
		if s.rostered(org) {
			out = append(out, c.Hash)
		}
	}
	for h := range s.statements {
		out = append(out, h)
	}
	for id, d := range s.directs {
		if s.shares(id, v.org) {
			out = append(out, d.hash)
		}
	}
	return append(out, v.n.evidence.hashesOf(v.shares(s))...), nil
}

// shares tells of which topics the peer may be told.
func (v *view) shares(s *snapshot) func(protocol.TopicID) bool {
	return func(topic protocol.TopicID) bool { return s.shares(topic, v.org) }
}

// Items returns what is held of the sets by hash; unknown ones are left out.
func (v *view) Items(hashes []protocol.Hash) (*protocol.SyncMessage, error) {
	s := v.n.snap.Load()
	m := &protocol.SyncMessage{}
	forks := map[protocol.Hash]*crypto.Fork{}
	for _, f := range v.n.evidence.allForks() {
		if s.shares(f.Origin.Topic, v.org) {
			forks[f.Hash()] = f
		}
	}
	directs := map[protocol.Hash]*directTopic{}
	for id, d := range s.directs {
		if s.shares(id, v.org) {
			directs[d.hash] = d
		}
	}
	byHash := map[protocol.Hash]*crypto.Card{}
	for _, c := range s.cards {
		byHash[c.Hash] = c
	}
	for _, h := range hashes {
		if c := byHash[h]; c != nil && s.rostered(c.Org) {
			m.Cards = append(m.Cards, c.Signed)
		} else if st := s.statements[h]; st != nil {
			m.Roster = append(m.Roster, *st)
		} else if f := forks[h]; f != nil {
			m.Forks = append(m.Forks, f.ForkProof)
		} else if d := directs[h]; d != nil {
			m.Directs = append(m.Directs, d.signed)
		} else if v.n.evidence.sharesErase(h, v.shares(s)) {
			var d eraseDoc
			err := v.n.st.View(func(tx *store.Tx) error { _, err := getDoc(tx, kindErase, h[:], &d); return err })
			if err != nil {
				return nil, err
			}
			if len(d.Signed.Statement) > 0 {
				m.Erases = append(m.Erases, d.Signed)
			}
		}
	}
	return m, nil
}

// TakeItems keeps what a peer sent of the sets. What came before the thing that makes it
// good was left out; the next comparison brings it again.
func (v *view) TakeItems(m *protocol.SyncMessage) error {
	network := v.n.snap.Load().network
	var got taken
	var err error
	if len(m.Cards)+len(m.Roster) > 0 {
		err = v.n.change(func(tx *store.Tx) (err error) {
			got, err = v.n.takeSets(tx, network, m.Cards, m.Roster)
			return err
		})
	}
	for _, take := range []func() (taken, error){
		func() (taken, error) { return v.n.takeDirects(m.Directs) },
		func() (taken, error) { return v.n.takeForks(m.Forks) },
		func() (taken, error) { return v.n.takeErases(m.Erases) },
	} {
		if err != nil {
			return err
		}
		more, terr := take()
		got.kept, got.left, err = got.kept+more.kept, got.left+more.left, terr
	}
	v.got.kept, v.got.left = v.got.kept+got.kept, v.got.left+got.left
	if err == nil && got.kept > 0 {
		if err = v.n.gate.reopenEarly(); err == nil {
			err = v.n.gate.drain()
		}
	}
	if net := v.n.net.Load(); err == nil && net != nil && got.kept > 0 && got.left > 0 {
		net.markDirty()
	}
	return err
}

// Frontier lists the heads of all feeds that are held, of the topics that this node is in.
func (v *view) Frontier() (out []protocol.FrontierEntry, err error) {
	s := v.n.snap.Load()
	err = v.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if _, ok := s.topics[f.Origin.Topic]; !ok || f.Good() == 0 || !s.shares(f.Origin.Topic, v.org) {
				return nil
			}
			e := protocol.FrontierEntry{Origin: f.Origin, Seq: f.Good(), Hash: f.Hash}
			if e.Seq != f.Seq {
				h, err := v.n.hashAt(tx, f.ID, e.Seq)
				if err != nil {
					return err
				}
				e.Hash = h
			}
			out = append(out, e)
			return nil
		})
	})
	return out, err
}

// FeedOf names the feed that an origin has in this network.
func (v *view) FeedOf(o *protocol.Origin) protocol.FeedID { return o.FeedID(v.n.snap.Load().network) }

// Wants returns up to which seq entries of a feed would be admitted here.
func (v *view) Wants(o *protocol.Origin) uint64 {
	s := v.n.snap.Load()
	sg, ok := s.signers[o.Signing]
	if _, in := s.topics[o.Topic]; !ok || !in || !s.members[sg.org] {
		return 0
	}
	if v.org != (protocol.OrgID{}) && !s.shares(o.Topic, v.org) {
		return 0 // who tells of it should not have it, and is not asked
	}
	feed := o.FeedID(s.network)
	last := s.lastOf(o, feed)
	if f := v.n.evidence.fork(feed); f != nil {
		last = min(last, f.Seq-1)
	}
	return last
}

// HashAt returns the hash of an entry that is held.
func (v *view) HashAt(feed protocol.FeedID, seq uint64) (h protocol.Hash, err error) {
	err = v.n.st.View(func(tx *store.Tx) (err error) { h, err = v.n.hashAt(tx, feed, seq); return err })
	return h, err
}

// maxBodies bounds the bodies that are asked for in one comparison.
const maxBodies = 1024

// Bodies lists entries that are held without their bodies.
func (v *view) Bodies() (out []reconcile.Lack, err error) {
	s := v.n.snap.Load()
	err = v.n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error {
			if _, ok := s.topics[f.Origin.Topic]; !ok || f.Lacking == 0 || len(out) >= maxBodies || !s.shares(f.Origin.Topic, v.org) {
				return nil
			}
			seqs, err := tx.Lacking(f.ID, maxBodies)
			for _, seq := range seqs {
				if n := len(out); n > 0 && out[n-1].Feed == f.ID && out[n-1].To+1 == seq {
					out[n-1].To = seq
				} else {
					out = append(out, reconcile.Lack{Feed: f.ID, From: seq, To: seq})
				}
			}
			return err
		})
	})
	return out, err
}

// Heads lists the newest signed heads of all feeds that the peer may be told of.
func (v *view) Heads() ([]protocol.Signed, error) {
	return v.n.heads.all(v.shares(v.n.snap.Load())), nil
}

// TakeHeads keeps those that say more than what is held.
func (v *view) TakeHeads(list []protocol.Signed) error {
	_, gap, err := v.n.takeHeads(list)
	if net := v.n.net.Load(); gap && net != nil {
		net.markDirty()
	}
	return err
}

// Probe compares entries of a peer with those that are held.
func (v *view) Probe(raws [][]byte) (map[protocol.FeedID]uint64, error) { return v.n.probe(raws) }

// Range returns encoded entries of a feed.
func (v *view) Range(feed protocol.FeedID, from uint64, count, maxBytes int) (out [][]byte, err error) {
	if v.serving {
		if err := v.n.usable(); err != nil {
			return nil, nil // nothing is served of what may have been erased since
		}
	}
	err = v.n.st.View(func(tx *store.Tx) error {
		f, err := tx.Feed(feed)
		if err != nil || f == nil || from > f.Good() {
			return err
		}
		count = int(min(uint64(count), f.Good()-from+1))
		return tx.Range(feed, from, count, maxBytes, func(raw []byte) error {
			out = append(out, append([]byte(nil), raw...))
			return nil
		})
	})
	return out, err
}

// TakeEntries verifies and admits entries that a peer sent. What cannot be admitted spoils
// nothing that can: a hostile author must not keep other feeds from coming.
func (v *view) TakeEntries(raws [][]byte) ([]reconcile.Lack, error) {
	network := v.n.snap.Load().network
	envs := make([]*crypto.VerifiedEnvelope, 0, len(raws))
	for _, raw := range raws {
		env, err := crypto.VerifyEntry(network, raw)
		if err != nil {
			return nil, fmt.Errorf("peer sent an entry that does not verify: %w", err)
		}
		envs = append(envs, env)
	}
	a, err := v.take(envs)
	return a.Broken, err
}

// take admits verified entries, whichever way they came: from a peer, or in a carried file.
func (v *view) take(envs []*crypto.VerifiedEnvelope) (admission, error) { return v.n.gate.admit(envs) }
