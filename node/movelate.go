package node

import (
	"context"
	"errors"
	"slices"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// moveLate seals anew, in the feed in use, what a closed own feed holds whose key somebody
// has not been given yet: nothing is appended to a closed feed any more, grants neither. In
// the feed in use the key waits for what it waited for, a fresh card as a rule. Readers
// recognise what they have.
func (n *Node) moveLate(ctx context.Context) error {
	if n.usable() != nil {
		return nil // what was erased since must not be sealed anew
	}
	s := n.snap.Load()
	for id, topic := range s.topics {
		if topic == protocol.ControlTopic || !n.hasFeed(id) {
			continue
		}
		var inc incarnationDoc
		err := n.st.View(func(tx *store.Tx) (err error) {
			_, err = getDoc(tx, kindFeedNumber, id[:], &inc)
			return err
		})
		for _, c := range inc.Closed {
			if err == nil {
				o := n.origin(id, c.Incarnation)
				err = n.moveLateOf(ctx, s, o.FeedID(s.network), topic)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) moveLateOf(ctx context.Context, s *snapshot, feed protocol.FeedID, topic string) error {
	var left leftPart
	err := n.st.View(func(tx *store.Tx) error {
		f, err := tx.Feed(feed)
		if err != nil || f == nil {
			return err
		}
		set, err := loadEpochs(tx, feed)
		if err != nil {
			return err
		}
		if from := n.neverGranted(s, set); from != 0 {
			left, err = leftOf(tx, feed, topic, from, f.Good())
		}
		return err
	})
	if err == nil {
		_, err = n.sealAnew(ctx, []leftPart{left})
	}
	return err
}

// leftPart is what is to be sealed anew of one feed, by seq.
type leftPart struct {
	feed                 protocol.FeedID
	topic                string
	records, withdrawals []uint64
}

// leftOf lists those entries of a feed of this organisation, in a range, that were neither erased
// nor sealed anew yet: records that it published, and withdrawals.
func leftOf(tx *store.Tx, feed protocol.FeedID, topic string, from, to uint64) (leftPart, error) {
	left := leftPart{feed: feed, topic: topic}
	for seq := from; seq <= to; seq++ {
		done, err := wasSealedAnew(tx, feed, seq)
		if err != nil {
			return left, err
		}
		has, err := tx.Has(feed, seq)
		if err != nil {
			return left, err
		}
		if done || !has {
			continue
		}
		kind, err := entryKind(tx, feed, seq)
		if err != nil {
			return left, err
		}
		var doc publishedDoc
		published, err := getDoc(tx, kindPublished, entryKey(feed, seq), &doc)
		switch {
		case err != nil:
			return left, err
		case kind == protocol.EntryWithdraw:
			left.withdrawals = append(left.withdrawals, seq)
		case kind == protocol.EntryRecords && published && !doc.Expired: // a sibling may have told of another history
			left.records = append(left.records, seq)
		}
	}
	return left, nil
}

// wasSealedAnew reports whether what an entry of this organisation holds was repeated in another.
func wasSealedAnew(tx *store.Tx, feed protocol.FeedID, seq uint64) (bool, error) {
	v, err := tx.Get(append([]byte(kindLate), entryKey(feed, seq)...))
	return v != nil, err
}

func noteSealedAnew(tx *store.Tx, feed protocol.FeedID, seq uint64) error {
	return tx.Set(append([]byte(kindLate), entryKey(feed, seq)...), nil)
}

// sealAnew repeats entries of feeds that are not appended to, or that ended before them, in the
// feed in use. What one of them withdraws may stand in another, so the withdrawals come after all
// records. It returns how many it repeated.
func (n *Node) sealAnew(ctx context.Context, list []leftPart) (count int, err error) {
	for _, p := range list {
		for _, seq := range p.records {
			if err = errors.Join(err, ctx.Err()); err == nil {
				if err = n.resealEntry(CallerOf(ctx), p.feed, seq, p.topic); err == nil {
					count++
				}
			}
		}
	}
	for _, p := range list {
		for _, seq := range p.withdrawals {
			if err = errors.Join(err, ctx.Err()); err == nil {
				var did bool
				if did, err = n.withdrawAgain(ctx, p.feed, seq); did {
					count++
				}
			}
		}
	}
	return count, err
}

// neverGranted returns from which entry on a feed holds what is sealed for an organisation
// none of whose nodes was given the key, and with which an agreement is in force; 0: nothing.
func (n *Node) neverGranted(s *snapshot, set *epochSet) (from uint64) {
	a := &appender{n: n, snap: s, epochs: set}
	for _, ep := range set.all {
		for _, org := range ep.Audience {
			card := s.cards[org]
			if _, ok := a.secretWith(org); !ok || card == nil || ep.Used == 0 {
				continue
			}
			got := slices.ContainsFunc(ep.Granted, func(g store.Granted) bool { return card.Node(g.Node) != nil })
			if !got && (from == 0 || ep.First < from) {
				from = max(ep.First, 1)
			}
		}
	}
	return from
}

func entryKind(tx *store.Tx, feed protocol.FeedID, seq uint64) (protocol.EntryKind, error) {
	raw, err := tx.Skeleton(feed, seq)
	if err != nil || raw == nil {
		return 0, err
	}
	var e protocol.Envelope
	var h protocol.Header
	err = errors.Join(protocol.Decode(raw, protocol.MaxEnvelopeSize, &e), protocol.Decode(e.Header, protocol.MaxHeaderSize, &h))
	return h.Kind, err
}

// withdrawAgain repeats a withdrawal in the feed in use. It reports whether there was anything to
// be withdrawn.
func (n *Node) withdrawAgain(ctx context.Context, feed protocol.FeedID, seq uint64) (bool, error) {
	env, plain, _, err := n.ownPlain(feed, seq)
	if errors.Is(err, protocol.ErrNotInAudience) && env.Signing != n.keys.Signing.Public() {
		return false, nil // its key may come
	}
	var body protocol.WithdrawBody
	if err == nil {
		err = protocol.Decode(plain, protocol.MaxPlainSize, &body)
	}
	if err != nil && !errors.Is(err, protocol.ErrNotInAudience) {
		return false, err // otherwise its key was lost with the tail of a store that was restored
	}
	var left, forward []protocol.RecordID // others were erased since
	waits := false                        // for an agreement with who published it on this organisation's behalf
	s := n.snap.Load()
	partners := s.partners(n.org, uint64(nowMillis()))
	err = n.viewIndex(func(tx *store.Tx) error {
		left, forward, waits = nil, nil, false
		for _, id := range body.Records {
			e, err := n.index.Get(tx, id)
			if err != nil {
				return err
			}
			switch {
			case e == nil:
			case e.Originator == n.org && e.Publisher == n.org:
				left = append(left, id)
			case e.Form.Principal == n.org && e.Originator != n.org: // its agent is told, and tells the others
				if partners[e.Originator] != nil {
					left = append(left, id)
				} else {
					waits = waits || s.members[e.Originator]
				}
			case e.Withdrawn: // by its originator; it was passed on, and so is that
				forward = append(forward, id)
			}
		}
		return nil
	})
	if err == nil && len(forward)+len(body.Exclusions) > 0 {
		err = n.st.Update(func(tx *store.Tx) error {
			for _, id := range forward {
				if err := n.noteForward(tx, id, body.Reason); err != nil {
					return err
				}
			}
			return n.tellAgain(tx, body.Exclusions)
		})
	}
	if err == nil && len(left) > 0 {
		err = n.Withdraw(ctx, left, body.Reason)
	}
	if err != nil || waits {
		return false, err
	}
	// A crash in between withdraws twice, which changes nothing.
	return len(left) > 0, n.st.Update(func(tx *store.Tx) error { return noteSealedAnew(tx, feed, seq) })
}
