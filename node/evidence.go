package node

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// evidence mirrors in memory what is held of fork proofs and erases, for comparing with
// peers.
type evidence struct {
	mu     sync.RWMutex
	forks  map[protocol.FeedID]*crypto.Fork
	erases map[protocol.Hash]protocol.FeedID
	direct map[protocol.Hash]protocol.TopicID // of erases: the topic, if it is a direct one
	count  map[protocol.FeedID]int            // erases by feed
}

func newEvidence() *evidence {
	return &evidence{forks: map[protocol.FeedID]*crypto.Fork{}, erases: map[protocol.Hash]protocol.FeedID{}, direct: map[protocol.Hash]protocol.TopicID{}, count: map[protocol.FeedID]int{}}
}

func (e *evidence) fork(feed protocol.FeedID) *crypto.Fork {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.forks[feed]
}

func (e *evidence) allForks() []*crypto.Fork {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.SortedFunc(maps.Values(e.forks), func(a, b *crypto.Fork) int { return bytes.Compare(a.Feed[:], b.Feed[:]) })
}

// hashes lists all of it.
func (e *evidence) hashes() []protocol.Hash {
	return e.hashesOf(func(protocol.TopicID) bool { return true })
}

// hashesOf lists what is about topics that may be told of.
func (e *evidence) hashesOf(shares func(protocol.TopicID) bool) (out []protocol.Hash) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, f := range e.forks {
		if shares(f.Origin.Topic) {
			out = append(out, f.Hash())
		}
	}
	for h := range e.erases {
		if shares(e.direct[h]) { // zero for the others: no topic has that id, and it is none of direct ones
			out = append(out, h)
		}
	}
	return out
}

// sharesErase reports whether an erase is held, of a topic that may be told of.
func (e *evidence) sharesErase(h protocol.Hash, shares func(protocol.TopicID) bool) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, held := e.erases[h]
	return held && shares(e.direct[h])
}

// addErase notes an erase. The caller holds mu.
func (e *evidence) addErase(h protocol.Hash, o *protocol.Origin, feed protocol.FeedID) {
	e.erases[h] = feed
	e.count[feed]++
	if o.Topic.Direct() {
		e.direct[h] = o.Topic
	}
}

func (e *evidence) holds(erase protocol.Hash) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, ok := e.erases[erase]
	return ok
}

// eraseDoc is an author's erase as it is kept. It stays for ever: whoever comes with an old
// copy is told by it.
type eraseDoc struct {
	_       struct{} `cbor:",toarray"`
	Signed  protocol.SignedErase
	Applied bool
}

// loadEvidence reads fork proofs and erases, and goes on with what was not applied when the
// process ended.
func (n *Node) loadEvidence() error {
	network := n.snap.Load().network
	var due []protocol.SignedErase
	err := n.st.View(func(tx *store.Tx) error {
		err := scanDocs(tx, kindFork, func(_ []byte, p *protocol.ForkProof) error {
			f, err := crypto.VerifyFork(network, p)
			if err == nil {
				n.evidence.forks[f.Feed] = f
			}
			return err
		})
		if err != nil {
			return err
		}
		return scanDocs(tx, kindErase, func(h []byte, d *eraseDoc) error {
			var e protocol.Erase
			if err := protocol.Decode(d.Signed.Statement, protocol.MaxStatementSize, &e); err != nil {
				return err
			}
			n.evidence.addErase(protocol.Hash(h), &e.Origin, e.Origin.FeedID(network))
			if !d.Applied {
				due = append(due, d.Signed)
			}
			return nil
		})
	})
	for i := range due {
		if err == nil {
			err = n.applyOnce(&due[i], true) // it may not be in the journal yet
		}
	}
	for _, f := range n.evidence.allForks() {
		if err == nil {
			err = n.freeze(f)
		}
	}
	return err
}

// takeForks keeps fork proofs that a peer sent, or that were found here. Of one feed the one
// with the lowest seq counts, and of one seq the one with the lowest hash, so that all nodes
// end up with the same.
func (n *Node) takeForks(proofs []protocol.ForkProof) (out taken, err error) {
	s := n.snap.Load()
	for i := range proofs {
		f, err := crypto.VerifyFork(s.network, &proofs[i])
		if err != nil {
			n.log.Warn("leaving out a fork proof", "err", err)
			out.left++
			continue
		}
		_, known := s.signers[f.Origin.Signing]
		if !known || f.Origin.Topic.Direct() && s.directs[f.Origin.Topic] == nil {
			out.left++ // its author's card may still come, or what says who may be told of it
			continue
		}
		kept, err := n.takeFork(f)
		if err != nil {
			return out, err
		}
		if kept {
			out.kept++
		}
	}
	return out, nil
}

func (n *Node) takeFork(f *crypto.Fork) (bool, error) {
	if !n.evidence.addFork(f) {
		return false, nil
	}
	n.log.Error("a feed was forked by its author: it signed two entries of one number; what comes from there on is set aside",
		"feed", f.Feed, "seq", f.Seq, "org", n.snap.Load().signers[f.Origin.Signing].org)
	if err := n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindFork, f.Feed[:], &f.ForkProof) }); err != nil {
		return false, err
	}
	if err := n.freeze(f); err != nil {
		return false, err
	}
	n.notice(&protocol.Notice{Version: 1, Forks: []protocol.ForkProof{f.ForkProof}})
	n.changes.notify()
	return true, nil
}

// addFork takes a proof if it says more than the one that is held. The proofs of one signing
// key are bounded: a node makes a feed with every incarnation it likes.
func (e *evidence) addFork(f *crypto.Fork) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.forks[f.Feed]
	if old != nil {
		x, y := old.Hash(), f.Hash()
		if f.Seq > old.Seq || f.Seq == old.Seq && compareHash(y, x) >= 0 {
			return false
		}
	} else {
		same := 0
		for _, o := range e.forks {
			if o.Origin.Signing == f.Origin.Signing {
				same++
			}
		}
		if same >= protocol.MaxFeedsPerNode {
			return false
		}
	}
	e.forks[f.Feed] = f
	return true
}

// freeze stops a forked feed before the fork: what was taken over from there on is taken out
// and set aside. Its entries stay in the store, as evidence. The organisation is not banned;
// a restored backup looks the same.
func (n *Node) freeze(fork *crypto.Fork) error {
	if err := n.endFeed(fork.Feed, fork.Seq, forkReason, fmt.Sprintf("its author signed two entries %d of this feed", fork.Seq)); err != nil {
		return err
	}
	if fork.Origin.Signing == n.keys.Signing.Public() {
		return n.ownFork(fork)
	}
	return nil
}

// forkReason is the reason noted for entries after a fork.
const forkReason = "forked"

// setAside takes what an entry held out of the corpus, and says why.
func (n *Node) setAside(tx *store.Tx, feed protocol.FeedID, seq uint64, reason, text string) error {
	state, was, err := tx.EntryState(feed, seq)
	if err != nil || state == store.Quarantined && was == reason {
		return err
	}
	f, err := tx.Feed(feed)
	if err != nil || f == nil {
		return err
	}
	gone, others, err := n.index.TakeOut(tx, feed, seq, uint64(nowMillis()))
	if err == nil {
		err = errors.Join(n.index.TakeBack(tx, feed, seq, uint64(nowMillis())), n.takeFrom(tx, others))
	}
	if err != nil || state == store.Erased {
		return err // there is no body to set aside; what survived an erasure was still shown
	}
	s := n.snap.Load()
	place := entryKey(feed, seq)
	if err := clearQuarantine(tx, place); err != nil {
		return err
	}
	q := quarantineDoc{Feed: feed, Seq: seq, Publisher: s.signers[f.Origin.Signing].org, Topic: s.topics[f.Origin.Topic],
		Reason: reason, Text: fmt.Sprintf("%s; %d records of this entry are set aside", text, gone), At: uint64(nowMillis())}
	if err := putDoc(tx, kindQuarantine, append(place, be64(0)...), &q); err != nil {
		return err
	}
	return tx.SetEntryState(feed, seq, store.Quarantined, reason)
}

// maxTakenFrom bounds the entries that one transaction has gone through again. Who seals a record
// more often than that gains nothing by it.
const maxTakenFrom = 10_000

// takeFrom has entries gone through again: they hold what was taken out of the corpus because
// the entry that it was taken from does not count any more, or its publisher erased it.
func (n *Node) takeFrom(tx *store.Tx, list []protocol.EntryRef) error {
	for _, c := range list[:min(len(list), maxTakenFrom)] {
		f, err := tx.Feed(c.Feed)
		if err != nil {
			return err
		}
		state, _, err := tx.EntryState(c.Feed, c.Seq)
		if err != nil {
			return err
		}
		if f == nil || c.Seq > f.Good() || state != store.Applied && state != store.Quarantined { // of which some may be good
			continue
		}
		if err := tx.SetEntryState(c.Feed, c.Seq, store.AwaitingKey, "it is opened again"); err != nil {
			return err
		}
		if err := markAgain(tx, c.Feed); err != nil {
			return err
		}
		n.gate.reopenFeed(c.Feed)
	}
	return nil
}

// ownFork closes a feed of this node that was forked: by a copy of its data, or one that was
// restored. What this node acknowledged in it after the fork is sealed again in the next one.
func (n *Node) ownFork(fork *crypto.Fork) error {
	return n.st.Update(func(tx *store.Tx) error {
		_, err := n.closeFeed(tx, fork.Origin.Topic, fork.Origin.Incarnation, fmt.Sprintf("there are two entries %d of it: this node's data was copied, or restored from an earlier state", fork.Seq))
		return err
	})
}

// foundFork makes a proof of a fork that was met in the store.
func (n *Node) foundFork(err error) error {
	var fe *store.ForkError
	if !errors.As(err, &fe) {
		return nil
	}
	network := n.snap.Load().network
	p, perr := crypto.ForkOf(network, fe.Held, fe.Other)
	if perr != nil {
		return perr
	}
	f, perr := crypto.VerifyFork(network, p)
	if perr != nil {
		return perr
	}
	_, perr = n.takeFork(f)
	return perr
}

// probe compares entries of a peer with those that are held here.
func (n *Node) probe(raws [][]byte) (map[protocol.FeedID]uint64, error) {
	network := n.snap.Load().network
	low := map[protocol.FeedID]uint64{}
	proofs := map[protocol.FeedID]*store.ForkError{}
	for _, raw := range raws {
		env, err := crypto.VerifyEntry(network, raw)
		if err != nil {
			return nil, fmt.Errorf("peer sent an entry that does not verify: %w", err)
		}
		feed, seq := env.Header.Feed, env.Header.Seq
		var held []byte
		err = n.st.View(func(tx *store.Tx) (err error) { held, err = tx.Skeleton(feed, seq); return err })
		if err != nil {
			return nil, err
		}
		if held == nil {
			continue
		}
		own, err := crypto.VerifySkeleton(network, held)
		if err != nil {
			return nil, err
		}
		if own.Hash == env.Hash {
			continue
		}
		if at, ok := low[feed]; !ok || seq < at {
			low[feed] = seq
			proofs[feed] = &store.ForkError{Feed: feed, Seq: seq, Held: held, Other: env.Stripped().Raw}
		}
	}
	for _, fe := range proofs {
		if err := n.foundFork(fe); err != nil {
			return nil, err
		}
	}
	return low, nil
}

// broken lists where entries of a peer did not follow what is held here.
type broken = reconcile.Lack
