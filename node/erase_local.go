package node

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// What this organisation erases for itself, what its journal says, and what expires.

// publishedBySiblings counts the records that other nodes of this organisation published.
func (n *Node) publishedBySiblings(ids []protocol.RecordID) (count int, err error) {
	s := n.snap.Load()
	err = n.viewIndex(func(tx *store.Tx) error {
		count = 0
		for _, id := range ids {
			e, err := n.getEntry(tx, id)
			if err != nil {
				return err
			}
			f, err := tx.Feed(e.Feed)
			if err != nil {
				return err
			}
			if f != nil && s.signers[f.Origin.Signing].org == n.org {
				count++
			}
		}
		return nil
	})
	return count, err
}

// eraseLocally destroys records of others for this organisation alone, at all of its nodes.
func (n *Node) eraseLocally(ids []protocol.RecordID, reason protocol.EraseReason, c Caller) (int, error) {
	ids, err := n.noteErasures(ids, reason, uint64(nowMillis()), "erase here", c)
	if err != nil {
		return 0, err
	}
	err = n.carryOutErasures()
	if net := n.net.Load(); err == nil && net != nil {
		net.tellSiblings()
	}
	return len(ids), err
}

// noteErasures keeps an erasure of any number of records, to be carried out: all of it or nothing. It
// returns them sorted, each once.
func (n *Node) noteErasures(ids []protocol.RecordID, reason protocol.EraseReason, at uint64, act string, c Caller) ([]protocol.RecordID, error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b protocol.RecordID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	return ids, n.st.Update(func(tx *store.Tx) error {
		for part := range slices.Chunk(ids, protocol.MaxErasedRecords) {
			if err := noteErasure(tx, &protocol.SiblingErasure{Records: part, Reason: reason, At: at}); err != nil {
				return err
			}
		}
		return n.auditErase(tx, c, n.org, act, ids, reason, nil)
	})
}

// carryOutErasures does what erasures by this organisation say that were not done here yet:
// asked for here, or at a sibling. Records that this node answers for are erased for
// everybody. It goes on at the next start if the process ends before it is done.
func (n *Node) carryOutErasures() error {
	n.erasing.Lock()
	defer n.erasing.Unlock()
	type open struct {
		id   []byte
		item protocol.SiblingErasure
		doc  erasureDoc
	}
	var list []open
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindErasure, func(id []byte, d *erasureDoc) error {
			if d.Done {
				return nil
			}
			x := open{id: slices.Clone(id), doc: *d}
			if err := protocol.Decode(d.Item, protocol.MaxSiblingItem, &x.item); err != nil {
				return err
			}
			list = append(list, x)
			return nil
		})
	})
	for i := range list {
		err = errors.Join(err, n.carryOut(list[i].id, &list[i].doc, &list[i].item)) // the others are not kept waiting
	}
	err = errors.Join(err, n.settleDue(&EraseReport{}, map[protocol.OrgID]bool{}))
	n.forgetIndex()
	if len(list) > 0 {
		n.changes.notify()
	}
	return err
}

// tryErasures is carryOutErasures where nobody waits for it: what cannot be done now, as while
// the disk is full, is tried again, and keeps a node neither from starting nor from comparing.
func (n *Node) tryErasures() {
	if n.usable() != nil {
		return // it seals survivors anew, and which of them were erased since is not known yet
	}
	if err := errors.Join(n.carryOutErasures(), n.endHolds()); err != nil {
		n.log.Error("carrying out an erasure by this organisation failed; it is tried again", "err", err)
		n.counters.failed.Add(1)
	}
	n.confirmErased()
}

// carryOut takes the records of one erasure out of the corpus. Of what this organisation
// published the sealed bodies stay, and are due, until they are erased for everybody: whoever
// answers for them seals the survivors anew from them.
func (n *Node) carryOut(id []byte, doc *erasureDoc, e *protocol.SiblingErasure) error {
	if n.anchor != nil {
		if err := n.anchor.Append(anchor.Erasure{Local: []anchor.LocalErase{{Records: e.Records, Reason: e.Reason, At: e.At}}}); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(e.Records, 64) {
		if err := n.eraseHere(part, e.Reason); err != nil {
			return err
		}
	}
	doc.Done = true
	return n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindErasure, id, doc) })
}

// eraseHere takes some records out of the corpus, whoever they are of.
func (n *Node) eraseHere(ids []protocol.RecordID, reason protocol.EraseReason) error {
	if reason == protocol.EraseExpired {
		reason = protocol.EraseRequest // somebody's word, which no entry that expires by itself makes good
	}
	if err := n.eraseMost(ids, corpus.Locally, reason, nil); err != nil {
		return err
	}
	return n.st.Update(func(tx *store.Tx) error {
		return errors.Join(n.eraseRecords(tx, ids, corpus.Locally, reason, nil), n.eraseSetAside(tx, ids, reason))
	})
}

// eraseSetAside destroys the bodies of the entries of others in which some records stand that were set
// aside.
func (n *Node) eraseSetAside(tx *store.Tx, ids []protocol.RecordID, reason protocol.EraseReason) error {
	found := map[protocol.EntryRef]bool{}
	if err := scanDocs(tx, kindQuarantine, func(_ []byte, q *quarantineDoc) error {
		if q.Publisher != n.org && slices.Contains(ids, q.Record) {
			found[protocol.EntryRef{Feed: q.Feed, Seq: q.Seq}] = true
		}
		return nil
	}); err != nil {
		return err
	}
	for at := range found {
		if err := eraseWhole(tx, at, reason); err != nil {
			return err
		}
	}
	return nil
}

// eraseWhole destroys the body of an entry that was set aside, here only.
func eraseWhole(tx *store.Tx, at protocol.EntryRef, reason protocol.EraseReason) error {
	if _, err := tx.Erase(at.Feed, at.Seq, &store.Tomb{Reason: reason, At: uint64(nowMillis())}); err != nil {
		return err
	}
	return errors.Join(clearQuarantine(tx, entryKey(at.Feed, at.Seq)), tx.SetEntryState(at.Feed, at.Seq, store.Erased, reason.String()))
}

// replayJournal applies those erasures of the journal beside the data directory that the
// store does not know.
func (n *Node) replayJournal() (bool, error) {
	var list []anchor.Erasure
	had, err := n.anchor.Erasures(func(e *anchor.Erasure) error { list = append(list, *e); return nil })
	for i := range list {
		for j := range list[i].Ended {
			if err == nil {
				err = n.replayEnd(&list[i].Ended[j])
			}
		}
		for j := range list[i].Released {
			if err == nil {
				err = n.replayReleased(&list[i].Released[j])
			}
		}
		for j := range list[i].Signed {
			signed := &list[i].Signed[j]
			if err == nil && !n.evidence.holds(signed.Hash()) {
				if _, verr := n.verifyErase(signed); verr != nil {
					n.log.Warn("leaving out an erasure of the journal", "err", verr)
					continue
				}
				err = n.applyErase(signed)
			}
		}
		for j := range list[i].Local {
			l := &list[i].Local[j]
			known := true
			if err == nil {
				err = n.st.View(func(tx *store.Tx) error {
					for _, id := range l.Records {
						gone, err := corpus.Erased(tx, id)
						if known = known && gone; err != nil {
							return err
						}
					}
					return nil
				})
			}
			if known {
				continue
			}
			var ids []protocol.RecordID
			if err == nil {
				ids, err = n.noteErasures(l.Records, l.Reason, l.At, "erase again, as the journal says", Caller{})
			}
			for part := range slices.Chunk(ids, 64) {
				if err == nil {
					err = n.eraseHere(part, l.Reason)
				}
			}
		}
	}
	return had, err
}

// expire erases what its retention says is over: own entries for everybody, by a signed
// statement, and records in the corpus here, by the agreement under which they are read.
func (n *Node) expire() error {
	now := n.passedClock() // what a wrong clock erases does not come back, and what has ended waits for no clock
	for {
		var next []protocol.RecordID
		places := 0
		err := n.st.View(func(tx *store.Tx) (err error) { next, places, err = corpus.NextExpired(tx, now, 64); return err })
		if err == nil {
			err = n.eraseMost(next, corpus.Locally, protocol.EraseExpired, nil)
		}
		if err != nil {
			return err
		}
		if places == 0 {
			n.forgetIndex()
			break
		}
		err = n.st.Update(func(tx *store.Tx) error {
			ids, err := corpus.Expired(tx, now, places)
			if err == nil && len(ids) > 0 {
				err = n.auditErase(tx, Caller{}, n.org, "erase here", ids, protocol.EraseExpired, nil)
			}
			if err != nil {
				return err
			}
			return n.eraseRecords(tx, ids, corpus.Locally, protocol.EraseExpired, nil)
		})
		if err != nil {
			return err
		}
	}
	return n.expireOwn(now)
}

func (n *Node) expireOwn(now uint64) error {
	type due struct {
		origin  protocol.Origin
		entries []protocol.ErasedEntry
		places  [][]byte
	}
	byFeed := map[protocol.FeedID]*due{}
	s := n.snap.Load()
	err := n.st.View(func(tx *store.Tx) error {
		return endedPublished(tx, now, func(id []byte) error {
			feed, seq := splitEntryKey(id)
			f, err := tx.Feed(feed)
			if err != nil || f == nil || !n.answersFor(s, &f.Origin) {
				return err
			}
			skeleton, err := tx.Skeleton(feed, seq)
			if err != nil || skeleton == nil {
				return err
			}
			var env protocol.Envelope
			if err := protocol.Decode(skeleton, protocol.MaxEnvelopeSize, &env); err != nil {
				return err
			}
			if byFeed[feed] == nil {
				byFeed[feed] = &due{origin: f.Origin}
			}
			b := byFeed[feed]
			b.entries = append(b.entries, protocol.ErasedEntry{Seq: seq, Hash: protocol.EntryHash(env.Header)})
			b.places = append(b.places, slices.Clone(id))
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, feed := range slices.SortedFunc(maps.Keys(byFeed), func(a, b protocol.FeedID) int { return bytes.Compare(a[:], b[:]) }) {
		b := byFeed[feed]
		slices.SortFunc(b.entries, func(x, y protocol.ErasedEntry) int { return cmp.Compare(x.Seq, y.Seq) })
		for part := range slices.Chunk(b.entries, protocol.MaxErasedEntries) {
			e := &protocol.Erase{Version: 1, Network: n.snap.Load().network, Origin: b.origin, Entries: part, Reason: protocol.EraseExpired, At: now}
			if err := n.signErase(e); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(b.places, 1000) {
			if err := n.st.Update(func(tx *store.Tx) error {
				for _, id := range part {
					var d publishedDoc
					if _, err := getDoc(tx, kindPublished, id, &d); err != nil {
						return err
					}
					d.Expired = true
					if err := putPublished(tx, id, &d); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// expiresAt returns when a record is to be erased here: by its own retention, and by that of
// the term under which it is read; 0 for never.
func expiresAt(received uint64, days ...uint32) (at uint64) {
	for _, d := range days {
		if t := received + uint64(d)*uint64(24*time.Hour/time.Millisecond); d != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at
}
