package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// A node's own feed must never fork, whatever happens to its data directory. Where its
// feeds stood is kept in an anchor beside it; what the anchor does not confirm is not gone
// on with: the feed is closed, and a new one begun under a new incarnation. What stands in
// the closed one stays good, and what it lost here comes back from peers.

// incarnationDoc says which feed of a topic this node appends to, and which it did before.
type incarnationDoc struct {
	_           struct{} `cbor:",toarray"`
	Incarnation uint64
	Closed      []closedFeed
}

// closedFeed is an own feed to which nothing is appended any more.
type closedFeed struct {
	_           struct{} `cbor:",toarray"`
	Incarnation uint64
	Why         string
	At          uint64 // Unix milliseconds
	Resealed    bool   // what it held and a fork made void stands in the next one
}

func randomIncarnation() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// origin returns the origin of an own feed.
func (n *Node) origin(topic protocol.TopicID, incarnation uint64) protocol.Origin {
	return protocol.Origin{Signing: n.keys.Signing.Public(), Incarnation: incarnation, Topic: topic}
}

// ownFeed returns the feed that this node appends to in a topic, and makes one if there is
// none.
func (n *Node) ownFeed(tx *store.Tx, network protocol.NetworkID, topic protocol.TopicID) (*store.Feed, error) {
	var inc incarnationDoc
	ok, err := getDoc(tx, kindFeedNumber, topic[:], &inc)
	if err != nil {
		return nil, err
	}
	if !ok {
		inc.Incarnation = randomIncarnation()
		if err := putDoc(tx, kindFeedNumber, topic[:], &inc); err != nil {
			return nil, err
		}
	}
	origin := n.origin(topic, inc.Incarnation)
	id := origin.FeedID(network)
	f, err := tx.Feed(id)
	if err == nil && f == nil {
		f = &store.Feed{ID: id, Origin: origin}
		err = tx.PutFeed(f)
	}
	return f, err
}

// closeFeed closes the own feed of a topic, if it is the one that is appended to, and begins
// another.
func (n *Node) closeFeed(tx *store.Tx, topic protocol.TopicID, incarnation uint64, why string) (bool, error) {
	var inc incarnationDoc
	ok, err := getDoc(tx, kindFeedNumber, topic[:], &inc)
	if err != nil || !ok || inc.Incarnation != incarnation {
		return false, err
	}
	inc.Closed = append(inc.Closed, closedFeed{Incarnation: incarnation, Why: why, At: uint64(nowMillis())})
	inc.Incarnation = randomIncarnation()
	n.log.Warn("an own feed is closed and another begun", "topic", topic, "why", why)
	return true, putDoc(tx, kindFeedNumber, topic[:], &inc)
}

// openAnchor opens the anchor and compares it with the store. What it does not confirm is
// closed before anything can be appended to it.
func (n *Node) openAnchor(dir string) error {
	var a *anchor.Anchor
	var err error
	if n.cfg.Disk != nil {
		a, err = anchor.OpenSimulated(n.cfg.Disk, dir, n.ID(), protocol.Hash{})
	} else {
		a, err = anchor.Open(dir, n.ID())
	}
	if err != nil {
		return err
	}
	n.anchor = a
	network := n.snap.Load().network
	var closed []string
	err = n.st.Update(func(tx *store.Tx) error {
		closed = nil
		var topics []protocol.TopicID
		var incs []uint64
		err := scanDocs(tx, kindFeedNumber, func(id []byte, inc *incarnationDoc) error {
			topics, incs = append(topics, protocol.TopicID(id)), append(incs, inc.Incarnation)
			return nil
		})
		for i, topic := range topics {
			if err != nil {
				return err
			}
			origin := n.origin(topic, incs[i])
			f, ferr := tx.Feed(origin.FeedID(network))
			if ferr != nil {
				return ferr
			}
			why := n.unanchored(f)
			switch {
			case why != "":
				closed = append(closed, why)
			case a.State() == anchor.Good:
				continue
			default: // it has no entries here; where this data was copied from it may have some since
				why = a.State().String()
			}
			_, err = n.closeFeed(tx, topic, incs[i], why)
		}
		if err == nil && len(closed) > 0 {
			var before restoredDoc
			if _, err := getDoc(tx, kindSetting, []byte("restored"), &before); err != nil {
				return err
			}
			// A journal that was not complete before is not by what happens later.
			waits := before.At != 0 && !before.Done && !before.Anchored
			err = putDoc(tx, kindSetting, []byte("restored"), &restoredDoc{At: uint64(nowMillis()), Why: closed[0], Anchored: a.State() == anchor.Good && !waits, Listed: listed(n.OwnCard())})
		}
		return err
	})
	if err == nil && a.State() != anchor.Good {
		// A journal from the beginning on, also an empty one, says that nothing else was erased:
		// a crash that closes a feed later on is then not taken for a restored backup.
		if len(closed) == 0 {
			err = a.BeginJournal()
		}
		err = errors.Join(err, a.Begin())
	}
	return err
}

// unanchored tells why the anchor does not confirm where an own feed stands; empty if it
// does. A feed without entries needs no confirmation, unless the anchor knows of some.
func (n *Node) unanchored(f *store.Feed) string {
	if n.anchor == nil || f == nil {
		return ""
	}
	m, ok := n.anchor.Mark(f.ID)
	switch {
	case n.anchor.State() != anchor.Good && f.Seq > 0:
		return n.anchor.State().String()
	case !ok && f.Seq > 0:
		return "the anchor does not know this feed"
	case ok && m.Seq > f.Seq:
		return fmt.Sprintf("the data is older than its anchor: it ends at entry %d, and entry %d was appended", f.Seq, m.Seq)
	case ok && (m.Seq < f.Seq || m.Hash != f.Hash):
		return "the data and its anchor went different ways"
	}
	return ""
}

// errClosed is returned by a commit if the own feed was closed meanwhile; the append is then
// done in the next one.
var errClosed = fmt.Errorf("own feed was closed: %w", errGeneration)

// checkAnchor closes the feed that is about to be appended to if its anchor does not confirm
// it.
func (n *Node) checkAnchor(f *store.Feed) error {
	why := n.unanchored(f)
	if why == "" {
		return nil
	}
	if err := n.st.Update(func(tx *store.Tx) error {
		_, err := n.closeFeed(tx, f.Origin.Topic, f.Origin.Incarnation, why)
		return err
	}); err != nil {
		return err
	}
	return errClosed
}

// setAnchor makes it durable, outside of the store, where an own feed is about to stand.
func (n *Node) setAnchor(f *store.Feed) error {
	if n.anchor == nil {
		return nil
	}
	return n.anchor.Set(anchor.Mark{Feed: f.ID, Seq: f.Seq, Hash: f.Hash})
}

// sawOwn is told of an entry or a head of an own feed that a peer has. If it is above what
// is held here of the feed that is appended to, the store went back in time: the feed is
// closed.
func (n *Node) sawOwn(tx *store.Tx, origin *protocol.Origin, feed protocol.FeedID, seq uint64) error {
	f, err := tx.Feed(feed)
	if err != nil || f != nil && seq <= f.Seq {
		return err
	}
	closed, err := n.closeFeed(tx, origin.Topic, origin.Incarnation, fmt.Sprintf("a peer holds entry %d, which this node signed and does not have", seq))
	if err != nil || !closed {
		return err
	}
	return putDoc(tx, kindSetting, []byte("restored"), &restoredDoc{At: uint64(nowMillis()), Why: "a peer holds later entries of this node's own feed than its store", Listed: listed(n.OwnCard())})
}

// restoredDoc notes that the store went back in time. Until it is known what was erased
// since, nothing is shown or served.
type restoredDoc struct {
	_     struct{} `cbor:",toarray"`
	At    uint64   // Unix milliseconds
	Why   string
	Heard []protocol.OrgID // organisations with which the erasures were compared since
	Done  bool
	// Anchored says that the anchor stayed where it was: the journal beside it holds all that
	// was erased here.
	Anchored bool
	// Listed are the nodes that the own card named then; none, and not written: release 0.1 did not note them.
	Listed []protocol.NodeID
}

type (
	restoredDoc02 restoredDoc
	restoredDoc01 struct {
		_        struct{} `cbor:",toarray"`
		At       uint64
		Why      string
		Heard    []protocol.OrgID
		Done     bool
		Anchored bool
	}
)

// MarshalCBOR implements cbor.Marshaler.
func (d restoredDoc) MarshalCBOR() ([]byte, error) {
	if len(d.Listed) == 0 {
		return protocol.Encode(&restoredDoc01{At: d.At, Why: d.Why, Heard: d.Heard, Done: d.Done, Anchored: d.Anchored}), nil
	}
	return protocol.Encode((*restoredDoc02)(&d)), nil
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (d *restoredDoc) UnmarshalCBOR(b []byte) error {
	var old restoredDoc01
	if protocol.DecodeOwn(b, &old) == nil {
		*d = restoredDoc{At: old.At, Why: old.Why, Heard: old.Heard, Done: old.Done, Anchored: old.Anchored}
		return nil
	}
	return protocol.DecodeOwn(b, (*restoredDoc02)(d))
}

// listed returns the nodes that a card names.
func listed(c *crypto.Card) (nodes []protocol.NodeID) {
	if c != nil {
		for _, e := range c.Nodes {
			nodes = append(nodes, e.Node)
		}
	}
	return nodes
}

// ErrRestored is returned where something is asked of a store that went back in time, and it
// is not known yet what was erased since.
var ErrRestored = errors.New("this data was restored from an earlier state, and what was erased since is not known yet: bring the node up and let it compare with two other organisations, or run 'entente up --accept-restored'")

// loadRestored reads whether the store went back in time. The journal of erasures, if there
// is one beside the data directory that stayed there, ends the wait: all that was erased here
// stands in it. It
// is compared with the store in any case: a node that appended nothing since its backup finds
// its feeds where its anchor has them, and goes back in time all the same.
func (n *Node) loadRestored() error {
	var d restoredDoc
	err := n.st.View(func(tx *store.Tx) error {
		_, err := getDoc(tx, kindSetting, []byte("restored"), &d)
		return err
	})
	had := false
	if err == nil && n.anchor != nil {
		had, err = n.replayJournal()
	}
	if err != nil || d.At == 0 || d.Done {
		return err
	}
	n.restored.Store(&d)
	if had && d.Anchored || n.cfg.AcceptRestored {
		return n.endRestored()
	}
	n.log.Error("this data was restored from an earlier state; nothing is shown or served until it is known what was erased since", "why", d.Why)
	return nil
}

func (n *Node) endRestored() error {
	d := n.restored.Load()
	if d == nil {
		return nil
	}
	if n.anchor != nil {
		if err := n.anchor.BeginJournal(); err != nil {
			return err
		}
	}
	done := *d
	done.Done = true
	if err := n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindSetting, []byte("restored"), &done) }); err != nil {
		return err
	}
	n.restored.Store(nil)
	n.changes.notify()
	return nil
}

// heardFrom is told that the sets were compared with a peer to the end. A sibling that came to
// the card after the store went back in time may know no more than it got from here.
func (n *Node) heardFrom(peer protocol.NodeID, org protocol.OrgID) error {
	if d := n.restored.Load(); d != nil && org == n.org {
		own := n.OwnCard()
		if own == nil || own.Node(peer) == nil {
			return nil
		}
		// The entry of one that was there already may have begun anew since: its age identity was suspected.
		if own.Node(peer).NotBefore >= d.At && !slices.Contains(d.Listed, peer) {
			return nil
		}
	}
	return n.heardErasures(org)
}

// heardErasures is told that the sets were compared with a node of an organisation.
func (n *Node) heardErasures(org protocol.OrgID) error {
	d := n.restored.Load()
	if d == nil || slices.Contains(d.Heard, org) {
		return nil
	}
	next := *d
	next.Heard = append(slices.Clone(d.Heard), org)
	s := n.snap.Load()
	others := len(s.members)
	if s.members[n.org] {
		others--
	}
	n.restored.Store(&next)
	if org == n.org || len(next.Heard) >= min(2, others) {
		return n.endWait()
	}
	return n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindSetting, []byte("restored"), &next) })
}

// endWait ends the wait of a running node. What its organisation erased is carried out before
// anything is shown; what waits to be sealed anew is done now.
func (n *Node) endWait() error {
	if err := n.carryOutErasures(); err != nil {
		n.log.Error("carrying out an erasure by this organisation failed; it is tried again", "err", err)
		n.counters.failed.Add(1)
	}
	n.waited.Store(true)
	err := n.applyLater()
	if err == nil {
		err = n.endRestored()
	}
	n.waited.Store(false)
	if net := n.net.Load(); err == nil && net != nil {
		net.wake()
	}
	return err
}

// usable refuses to show anything of a store that went back in time.
func (n *Node) usable() error {
	if n.restored.Load() != nil {
		return ErrRestored
	}
	return nil
}

// resealForked seals anew, in the feed in use, what this node acknowledged in a feed after a
// place at which it turned out to be forked: readers set those entries aside (I1).
func (n *Node) resealForked(ctx context.Context) error {
	if n.usable() != nil {
		return nil // what was erased since must not be sealed anew
	}
	s := n.snap.Load()
	var list []leftPart
	for _, fork := range n.evidence.allForks() {
		if fork.Origin.Signing != n.keys.Signing.Public() {
			continue
		}
		topic, ok := s.topics[fork.Origin.Topic]
		if !ok || topic == protocol.ControlTopic {
			continue // letters are sent again by who wrote them
		}
		var left leftPart
		if err := n.st.View(func(tx *store.Tx) error {
			f, err := tx.Feed(fork.Feed)
			if err != nil || f == nil {
				return err
			}
			left, err = leftOf(tx, fork.Feed, topic, fork.Seq, f.Seq)
			return err
		}); err != nil {
			return err
		}
		list = append(list, left)
	}
	_, err := n.sealAnew(ctx, list)
	return err
}

// resealEntry seals anew what an entry of this organisation holds, but for what was erased
// since: it is gone from the corpus, and not from the body of an entry that counts nowhere.
func (n *Node) resealEntry(c Caller, feed protocol.FeedID, seq uint64, topic string) error {
	body, doc, _, err := n.ownBody(feed, seq)
	if err != nil {
		return err
	}
	if doc.RetentionDays > 0 && doc.end() <= uint64(nowMillis()) {
		return nil // it is about to be erased
	}
	var failed error
	rest, records, err := n.without(body, func(id protocol.RecordID) (gone bool) {
		failed = errors.Join(failed, n.st.View(func(tx *store.Tx) (err error) { gone, err = corpus.Erased(tx, id, n.org); return err }))
		return gone
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	n.due.Store(true) // what was erased of an entry that counts nowhere waits for this
	if rest == nil {
		return n.st.Update(func(tx *store.Tx) error { return noteSealedAnew(tx, feed, seq) })
	}
	return n.append(topic, func(a *appender) error {
		a.caller = c
		a.onCommit = append(a.onCommit, func(tx *store.Tx) error { return noteSealedAnew(tx, feed, seq) })
		_, err := a.resealAll(rest, &doc, records, n.directOf(a.snap, feed))
		return err
	})
}
