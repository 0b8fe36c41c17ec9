package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Erases of authors, own and received, are applied here.

// takeErases keeps and applies erases that a peer sent.
func (n *Node) takeErases(list []protocol.SignedErase) (out taken, err error) {
	for i := range list {
		if n.evidence.holds(list[i].Hash()) {
			continue
		}
		e, err := n.verifyErase(&list[i])
		if err != nil {
			n.log.Debug("leaving out an erase", "err", err)
			out.left++
			continue
		}
		if s := n.snap.Load(); e.Origin.Topic.Direct() && s.directs[e.Origin.Topic] == nil {
			out.left++ // what says who may be told of it may still come
			continue
		}
		if err := n.applyErase(&list[i]); err != nil {
			return out, err
		}
		out.kept++
	}
	return out, nil
}

// verifyErase checks that an erase is signed by the node whose feed it is, or by its
// organisation.
func (n *Node) verifyErase(signed *protocol.SignedErase) (*protocol.Erase, error) {
	s := n.snap.Load()
	e, err := crypto.VerifyErase(s.network, signed, func(signing protocol.SigningKey, key protocol.OpKey) bool {
		c := s.cards[s.signers[signing].org]
		return c != nil && c.OpKeyValid(key)
	})
	if err != nil {
		return nil, err
	}
	sg, ok := s.signers[e.Origin.Signing]
	if !ok || !s.rostered(sg.org) {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "no card known here lists the node whose entries this erases")
	}
	return e, nil
}

// applyErase destroys what an erase names. It is safe to do it again, and goes on at the next
// start if the process ends before it is done.
func (n *Node) applyErase(signed *protocol.SignedErase) error { return n.applyOnce(signed, false) }

// applyOnce is applyErase; again says that the process ended before it was done.
func (n *Node) applyOnce(signed *protocol.SignedErase, again bool) error {
	return n.applyBy(signed, again, Caller{})
}

// applyBy is applyOnce on behalf of a caller.
func (n *Node) applyBy(signed *protocol.SignedErase, again bool, c Caller) error {
	var e protocol.Erase
	if err := protocol.Decode(signed.Statement, protocol.MaxStatementSize, &e); err != nil {
		return err
	}
	s := n.snap.Load()
	h, feed := signed.Hash(), e.Origin.FeedID(s.network)
	by := s.signers[e.Origin.Signing].org
	if by == corpus.Locally { // no card names its signer any more; that erases its entries, and speaks for nobody
		by = protocol.OrgID(e.Origin.Signing)
	}
	n.evidence.mu.Lock()
	_, held := n.evidence.erases[h]
	full := !held && n.evidence.count[feed] >= protocol.MaxErasesPerFeed
	if !held && !full {
		n.evidence.addErase(h, &e.Origin, feed)
	}
	n.evidence.mu.Unlock()
	if full {
		n.log.Warn("leaving out an erase: its feed has too many", "feed", feed)
		return nil
	}
	if n.anchor != nil && (!held || again) {
		if err := n.anchor.Append(anchor.Erasure{Signed: []protocol.SignedErase{*signed}}); err != nil {
			return err
		}
	}
	err := n.st.Update(func(tx *store.Tx) error { return n.putErase(tx, c, signed) })
	for part := range slices.Chunk(e.Records, 64) {
		if err == nil {
			err = n.eraseMost(part, by, e.Reason, func(tx *store.Tx) (map[protocol.EntryRef]bool, error) { return n.entriesOf(tx, feed, &e) })
		}
		if err == nil {
			err = n.st.Update(func(tx *store.Tx) error {
				here, err := n.entriesOf(tx, feed, &e)
				if err != nil {
					return err
				}
				return n.eraseRecords(tx, part, by, e.Reason, here)
			})
		}
	}
	if err == nil {
		var later bool
		if later, err = n.saveSurvivors(s, feed, &e); later {
			return err
		}
	}
	for _, x := range e.Entries {
		if err == nil {
			err = n.eraseEntry(feed, x, h, by, &e)
		}
	}
	if err == nil {
		err = n.st.Update(func(tx *store.Tx) error {
			return putDoc(tx, kindErase, h[:], &eraseDoc{Signed: *signed, Applied: true})
		})
	}
	if err != nil {
		return fmt.Errorf("applying an erase: %w", err)
	}
	n.forgetIndex()
	n.counters.erased.Add(1)
	n.changes.notify()
	n.wakeDue()
	return nil
}

// entriesOf returns those entries of an erase that are held as it names them: a feed that was
// forked may have others there.
func (n *Node) entriesOf(tx *store.Tx, feed protocol.FeedID, e *protocol.Erase) (map[protocol.EntryRef]bool, error) {
	out := map[protocol.EntryRef]bool{}
	for _, x := range e.Entries {
		hash, err := n.hashAt(tx, feed, x.Seq)
		if err != nil {
			return nil, err
		}
		if hash == x.Hash {
			out[protocol.EntryRef{Feed: feed, Seq: x.Seq}] = true
		}
	}
	return out, nil
}

// saveSurvivors seals the survivors of an erasure anew if this node, which answers for them,
// does not hold the entries in which they stood: its store went back in time after it erased,
// and what it erased comes back to it from others before what it sealed anew, if anybody has
// that. later says that this has to wait, and the destroying of the body with it: nothing is
// sealed before it is known what was erased since, nor while the node is being opened, and
// nothing is shown or served meanwhile.
func (n *Node) saveSurvivors(s *snapshot, feed protocol.FeedID, e *protocol.Erase) (later bool, err error) {
	if len(e.Survivors) == 0 || !n.answersFor(s, &e.Origin) {
		return false, nil
	}
	var due []uint64
	err = n.st.View(func(tx *store.Tx) error {
		lost := false
		for _, ref := range e.Survivors {
			skeleton, err := tx.Skeleton(ref.Feed, ref.Seq)
			if err != nil {
				return err
			}
			lost = lost || skeleton == nil
		}
		for _, x := range e.Entries {
			has, err := tx.Has(feed, x.Seq)
			if err != nil {
				return err
			}
			if hash, err := n.hashAt(tx, feed, x.Seq); err != nil {
				return err
			} else if lost && has && hash == x.Hash {
				due = append(due, x.Seq)
			}
		}
		return nil
	})
	topic, in := s.topics[e.Origin.Topic]
	if err != nil || len(due) == 0 || !in {
		return false, err
	}
	if !n.opened.Load() || n.usable() != nil && !n.waited.Load() {
		return true, nil
	}
	for _, seq := range due {
		if err := n.resealEntry(Caller{}, feed, seq, topic); err != nil && !errors.Is(err, ErrNotEnrolled) {
			n.log.Error("sealing anew what an erasure leaves failed; it is tried again", "err", err)
			n.counters.failed.Add(1)
			return true, nil
		}
	}
	return false, nil
}

// applyLater applies the erasures that had to wait.
func (n *Node) applyLater() error {
	if n.usable() != nil && !n.waited.Load() {
		return nil
	}
	var list []protocol.SignedErase
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindErase, func(_ []byte, d *eraseDoc) error {
			if !d.Applied {
				list = append(list, d.Signed)
			}
			return nil
		})
	})
	for i := range list {
		if err == nil {
			err = n.applyErase(&list[i])
		}
	}
	return err
}

func (n *Node) eraseEntry(feed protocol.FeedID, x protocol.ErasedEntry, statement protocol.Hash, by protocol.OrgID, e *protocol.Erase) error {
	if len(e.Records) == 0 {
		var ids []protocol.RecordID
		if err := n.st.View(func(tx *store.Tx) (err error) {
			if hash, err := n.hashAt(tx, feed, x.Seq); err != nil || hash != x.Hash {
				return err
			}
			ids, err = recordsIn(tx, feed, x.Seq)
			return err
		}); err != nil {
			return err
		}
		if err := n.eraseMost(ids, by, e.Reason, nil); err != nil {
			return err
		}
	}
	return n.st.Update(func(tx *store.Tx) error {
		skeleton, err := tx.Skeleton(feed, x.Seq)
		if err != nil {
			return err
		}
		if skeleton != nil {
			var env protocol.Envelope
			if err := protocol.Decode(skeleton, protocol.MaxEnvelopeSize, &env); err != nil {
				return err
			}
			if protocol.EntryHash(env.Header) != x.Hash {
				return nil // another entry of a feed that was forked
			}
		}
		if _, err := tx.Erase(feed, x.Seq, &store.Tomb{Statement: statement, Reason: e.Reason, At: uint64(nowMillis())}); err != nil {
			return err
		}
		if err := clearQuarantine(tx, entryKey(feed, x.Seq)); err != nil {
			return err
		}
		if skeleton != nil {
			if err := tx.SetEntryState(feed, x.Seq, store.Erased, e.Reason.String()); err != nil {
				return err
			}
		}
		if len(e.Records) > 0 {
			return nil
		}
		// The whole entry goes, without naming what was in it.
		ids, err := recordsIn(tx, feed, x.Seq)
		if err != nil {
			return err
		}
		return n.eraseRecords(tx, ids, by, e.Reason, map[protocol.EntryRef]bool{{Feed: feed, Seq: x.Seq}: true})
	})
}

// eraseRecords takes records out of the corpus for ever, on the word of an organisation, and
// destroys the bodies of all entries that hold one of them, so that it is not opened from there;
// those in done are destroyed by the caller. The bodies of this organisation's own entries stay,
// and are due: what shares them is sealed anew first.
func (n *Node) eraseRecords(tx *store.Tx, ids []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason, done map[protocol.EntryRef]bool) error {
	if err := n.keepRest(tx, ids, by, reason); err != nil {
		return err
	}
	if (by == corpus.Locally || by == n.org) && reason != protocol.EraseExpired {
		if err := n.noteErasedRecords(tx, ids); err != nil {
			return err
		}
	}
	copies, err := n.index.Erase(tx, ids, by, reason, uint64(nowMillis()))
	if err == nil {
		err = copiesFollow(tx, ids)
	}
	if err != nil {
		return err
	}
	// Who passes a record on does not erase it where others share it: it is read from there.
	var others []protocol.EntryRef
	seen := map[protocol.EntryRef]bool{}
	for _, c := range copies {
		gone, err := n.eraseCopy(tx, c, by, reason, done)
		if err != nil {
			return err
		}
		at := protocol.EntryRef{Feed: c.Feed, Seq: c.Seq}
		if gone || c.Meant || seen[at] {
			continue
		}
		if e, err := n.index.Get(tx, c.Record); err != nil {
			return err
		} else if e == nil {
			seen[at] = true
			others = append(others, at)
		}
	}
	return n.takeFrom(tx, others)
}

// eraseCopy does what eraseRecords does about one copy of a record. gone says that the copy is not
// noted any more.
func (n *Node) eraseCopy(tx *store.Tx, c corpus.Copy, by protocol.OrgID, reason protocol.EraseReason, done map[protocol.EntryRef]bool) (gone bool, err error) {
	f, err := tx.Feed(c.Feed)
	if err != nil {
		return false, err
	}
	var org protocol.OrgID
	if f != nil {
		org = n.snap.Load().signers[f.Origin.Signing].org
	}
	switch {
	case done[protocol.EntryRef{Feed: c.Feed, Seq: c.Seq}]:
	case !c.Meant && org != by:
		return false, nil // of others, who say themselves what becomes of it
	case f != nil && org == n.org && reason != protocol.EraseExpired:
		err = n.putDue(tx, c.Record, c.Feed, c.Seq, reason)
	case f != nil && f.Origin.Signing == n.keys.Signing.Public():
		return false, nil // own entries expire by a statement
	default:
		_, err = tx.Erase(c.Feed, c.Seq, &store.Tomb{Reason: reason, At: uint64(nowMillis())})
	}
	if err == nil {
		err = corpus.ForgetCopy(tx, c)
	}
	return err == nil, err
}

// maxErasedCopies bounds the copies of records that one transaction erases.
const maxErasedCopies = 1000

// eraseMost comes before eraseRecords: it keeps aside what is under a legal hold, and of records with more copies than one transaction
// takes it erases all but the one that each is kept from. Who seals a record makes as many as it likes, and
// must keep nobody from erasing it. What it begins is gone on with at the next start, as what comes
// after it is.
func (n *Node) eraseMost(ids []protocol.RecordID, by protocol.OrgID, reason protocol.EraseReason, here func(tx *store.Tx) (map[protocol.EntryRef]bool, error)) error {
	if err := n.keepAside(ids, by, reason); err != nil {
		return err
	}
	count := 0
	if err := n.st.View(func(tx *store.Tx) error {
		for _, id := range ids {
			more, err := corpus.CountCopies(tx, id)
			if err != nil {
				return err
			}
			if count += more; count > maxErasedCopies {
				break
			}
		}
		return nil
	}); err != nil || count <= maxErasedCopies {
		return err
	}
	for _, id := range ids {
		for more := true; more; {
			if err := n.st.Update(func(tx *store.Tx) error {
				more = false
				var done map[protocol.EntryRef]bool
				list, err := n.index.Others(tx, id, by)
				if err == nil && here != nil {
					done, err = here(tx)
				}
				for i, count := 0, 0; i < len(list) && err == nil && !more; i++ {
					var gone bool
					if gone, err = n.eraseCopy(tx, list[i], by, reason, done); gone {
						count++
					}
					more = count >= maxErasedCopies
				}
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func recordsIn(tx *store.Tx, feed protocol.FeedID, seq uint64) (ids []protocol.RecordID, err error) {
	in, err := corpus.InEnvelope(tx, feed, seq)
	for i := range in {
		ids = append(ids, in[i].Record)
	}
	return ids, err
}
