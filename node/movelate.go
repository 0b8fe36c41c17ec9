package node

import (
	"context"
	"errors"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/corpus"
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
		if topic == protocol.ControlTopic || !n.hasFeed(s, topic) {
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
	var records, withdrawals []uint64
	err := n.st.View(func(tx *store.Tx) error {
		f, err := tx.Feed(feed)
		if err != nil || f == nil {
			return err
		}
		set, err := loadEpochs(tx, feed)
		if err != nil {
			return err
		}
		from := n.neverGranted(s, set)
		if from == 0 {
			return nil
		}
		for seq := from; seq <= f.Good(); seq++ {
			place := entryKey(feed, seq)
			done, err := tx.Get(append([]byte(kindLate), place...))
			if err != nil {
				return err
			}
			has, err := tx.Has(feed, seq)
			if err != nil {
				return err
			}
			if done != nil || !has {
				continue
			}
			kind, err := entryKind(tx, feed, seq)
			if err != nil {
				return err
			}
			var doc publishedDoc
			published, err := getDoc(tx, kindPublished, place, &doc)
			switch {
			case err != nil:
				return err
			case kind == protocol.EntryWithdraw:
				withdrawals = append(withdrawals, seq)
			case published && !doc.Expired:
				records = append(records, seq)
			}
		}
		return nil
	})
	for _, seq := range records {
		if err = errors.Join(err, ctx.Err()); err == nil {
			err = n.resealEntry(feed, seq, topic)
		}
	}
	for _, seq := range withdrawals {
		if err = errors.Join(err, ctx.Err()); err == nil {
			err = n.withdrawAgain(ctx, feed, seq)
		}
	}
	return err
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

// withdrawAgain repeats a withdrawal in the feed in use.
func (n *Node) withdrawAgain(ctx context.Context, feed protocol.FeedID, seq uint64) error {
	r, raws, err := n.newReader(feed, []uint64{seq})
	if err != nil || r == nil {
		return err
	}
	env, err := crypto.VerifyEntry(r.s.network, raws[0])
	if err != nil {
		return err
	}
	plain, err := r.plain(env)
	var body protocol.WithdrawBody
	if err == nil {
		err = protocol.Decode(plain, protocol.MaxPlainSize, &body)
	}
	if err != nil && !errors.Is(err, protocol.ErrNotInAudience) {
		return err // otherwise its key was lost with the tail of a store that was restored
	}
	var left []protocol.RecordID // others were erased since
	err = n.st.View(func(tx *store.Tx) error {
		for _, id := range body.Records {
			e, err := corpus.Get(tx, id)
			if err != nil {
				return err
			}
			if e != nil {
				left = append(left, id)
			}
		}
		return nil
	})
	if err == nil && len(left) > 0 {
		err = n.Withdraw(ctx, left, body.Reason)
	}
	if err != nil {
		return err
	}
	// A crash in between withdraws twice, which changes nothing.
	return n.st.Update(func(tx *store.Tx) error { return tx.Set(append([]byte(kindLate), entryKey(feed, seq)...), nil) })
}
