package node

import (
	"bytes"
	"encoding/binary"
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
	err = n.st.View(func(tx *store.Tx) error {
		for _, id := range ids {
			e, err := getEntry(tx, id)
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
func (n *Node) eraseLocally(ids []protocol.RecordID, reason protocol.EraseReason) (int, error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b protocol.RecordID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	now := uint64(nowMillis())
	if err := n.st.Update(func(tx *store.Tx) error {
		for part := range slices.Chunk(ids, protocol.MaxErasedRecords) {
			if err := noteErasure(tx, &protocol.SiblingErasure{Records: part, Reason: reason, At: now}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	err := n.carryOutErasures()
	if net := n.net.Load(); err == nil && net != nil {
		net.tellSiblings()
	}
	return len(ids), err
}

// carryOutErasures does what erasures by this organisation say that were not done here yet:
// asked for here, or at a sibling. Records that this node answers for are erased for
// everybody. It goes on at the next start if the process ends before it is done.
func (n *Node) carryOutErasures() error {
	n.erasing.Lock()
	defer n.erasing.Unlock()
	type due struct {
		id   []byte
		item protocol.SiblingErasure
		doc  erasureDoc
	}
	var list []due
	err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindErasure, func(id []byte, d *erasureDoc) error {
			if d.Done {
				return nil
			}
			x := due{id: slices.Clone(id), doc: *d}
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
	if err := n.carryOutErasures(); err != nil {
		n.log.Error("carrying out an erasure by this organisation failed; it is tried again", "err", err)
		n.counters.failed.Add(1)
	}
}

// carryOut does what one erasure says. What a sibling published is taken out of the corpus, and
// its sealed body stays until it is erased for everybody: whoever answers for the sibling, once
// it was removed, seals the survivors anew from it.
func (n *Node) carryOut(id []byte, doc *erasureDoc, e *protocol.SiblingErasure) error {
	own, pending, err := n.toErase(e.Records, doc.Places)
	if err != nil {
		return err
	}
	if !slices.Equal(pending, doc.Places) {
		doc.Places = pending
		if err := n.keepErasure(id, doc); err != nil {
			return err
		}
	}
	var rep EraseReport
	for _, p := range own {
		err := n.eraseOwn(p, e.Reason, &rep, map[protocol.OrgID]bool{})
		if err != nil && !errors.Is(err, ErrNotEnrolled) { // a node that was removed is answered for
			return err
		}
	}
	if !doc.Gone {
		// The journal comes after what only this node can do for everybody: at the next start it
		// takes the records out of the corpus, and nobody could tell then where they stand.
		if n.anchor != nil {
			if err := n.anchor.Append(anchor.Erasure{Local: []anchor.LocalErase{{Records: e.Records, Reason: e.Reason, At: e.At}}}); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(e.Records, 64) {
			if err := n.st.Update(func(tx *store.Tx) error { return n.eraseRecords(tx, part, corpus.Locally, e.Reason) }); err != nil {
				return err
			}
		}
	}
	// What was answered for a moment ago is not pending any more.
	if _, pending, err = n.toErase(nil, doc.Places); err != nil {
		return err
	}
	if done := len(pending) == 0; done != doc.Done || !doc.Gone || len(pending) != len(doc.Places) {
		doc.Done, doc.Gone, doc.Places = done, true, pending
		return n.keepErasure(id, doc)
	}
	return nil
}

// pendingErasures counts the records that were erased here, and wait for a sibling to erase
// them everywhere.
func (n *Node) pendingErasures() (count int, err error) {
	err = n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindErasure, func(_ []byte, d *erasureDoc) error { count += len(d.Places); return nil })
	})
	return count, err
}

func (n *Node) keepErasure(id []byte, doc *erasureDoc) error {
	return n.st.Update(func(tx *store.Tx) error { return putDoc(tx, kindErasure, id, doc) })
}

// toErase tells of records that are here, and of places where records stood that are out of
// the corpus, which this node erases for everybody, and which wait for another to do so.
func (n *Node) toErase(records []protocol.RecordID, places []pendingPlace) (own []*erasePlace, pending []pendingPlace, err error) {
	s := n.snap.Load()
	at := map[string]*erasePlace{}
	seen := map[protocol.RecordID]bool{}
	take := func(tx *store.Tx, id protocol.RecordID, ref protocol.EntryRef) error {
		f, err := tx.Feed(ref.Feed)
		if err != nil || f == nil || seen[id] || s.signers[f.Origin.Signing].org != n.org {
			return err // of others: erased here, and that is all
		}
		seen[id] = true
		place, ok, err := n.standsAt(tx, id, ref, false)
		if err != nil {
			return err
		}
		if ok && place != ref {
			// It went there with what shared its entry, or was the one erased then.
			has, err := tx.Has(place.Feed, place.Seq)
			if err != nil {
				return err
			}
			if has {
				if place, ok, err = n.standsAt(tx, id, place, true); err != nil {
					return err
				}
			}
		}
		if !ok {
			place = ref // what a node says of where its records went may not be true
		}
		tomb, err := tx.Erased(place.Feed, place.Seq)
		if err != nil {
			return err
		}
		if tomb != nil && !tomb.Local() {
			var named bool
			if place, named, err = n.survived(tx, id, place, tomb); err != nil || named {
				return err // its publisher did it
			}
		}
		if f, err = tx.Feed(place.Feed); err != nil || f == nil {
			return err
		}
		has, err := tx.Has(place.Feed, place.Seq)
		if err != nil {
			return err
		}
		if !n.answersFor(s, &f.Origin) || !has {
			pending = append(pending, pendingPlace{Record: id, Place: place})
			return nil
		}
		key := string(entryKey(place.Feed, place.Seq))
		if at[key] == nil {
			at[key] = &erasePlace{origin: f.Origin, feed: place.Feed, seq: place.Seq, topic: s.topics[f.Origin.Topic]}
			own = append(own, at[key])
		}
		at[key].records = append(at[key].records, id)
		return nil
	}
	err = n.st.View(func(tx *store.Tx) error {
		for _, id := range records {
			e, err := corpus.Get(tx, id)
			if err != nil {
				return err
			}
			if e != nil {
				if err := take(tx, id, protocol.EntryRef{Feed: e.Feed, Seq: e.Seq}); err != nil {
					return err
				}
			}
		}
		for _, p := range places {
			if err := take(tx, p.Record, p.Place); err != nil {
				return err
			}
		}
		return nil
	})
	return own, pending, err
}

// survived looks for a record in what was sealed anew of an entry that was erased; named says
// that the record itself was erased with it. It returns the entry's own place if what survived
// is not held.
func (n *Node) survived(tx *store.Tx, id protocol.RecordID, place protocol.EntryRef, tomb *store.Tomb) (at protocol.EntryRef, named bool, err error) {
	var d eraseDoc
	if ok, err := getDoc(tx, kindErase, tomb.Statement[:], &d); err != nil || !ok {
		return place, err == nil, err
	}
	var e protocol.Erase
	if err := protocol.Decode(d.Signed.Statement, protocol.MaxStatementSize, &e); err != nil {
		return place, false, err
	}
	if len(e.Records) == 0 || len(e.Survivors) == 0 || slices.Contains(e.Records, id) {
		return place, true, nil
	}
	been := map[protocol.EntryRef]bool{}
	for _, ref := range e.Survivors {
		if at, ok, err := n.follow(tx, id, ref, true, been); err != nil || ok {
			return at, false, err
		}
	}
	return place, false, nil
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
			ids := slices.Clone(l.Records)
			slices.SortFunc(ids, func(a, b protocol.RecordID) int { return bytes.Compare(a[:], b[:]) })
			ids = slices.Compact(ids)
			for part := range slices.Chunk(ids, protocol.MaxErasedRecords) {
				if err == nil {
					err = n.st.Update(func(tx *store.Tx) error {
						return noteErasure(tx, &protocol.SiblingErasure{Records: part, Reason: l.Reason, At: l.At})
					})
				}
			}
			for part := range slices.Chunk(ids, 64) {
				if err == nil {
					err = n.st.Update(func(tx *store.Tx) error { return n.eraseRecords(tx, part, corpus.Locally, l.Reason) })
				}
			}
		}
	}
	return had, err
}

// expire erases what its retention says is over: own entries for everybody, by a signed
// statement, and records in the corpus here, by the agreement under which they are read.
func (n *Node) expire() error {
	now := uint64(nowMillis())
	for {
		count := 0
		err := n.st.Update(func(tx *store.Tx) error {
			ids, err := corpus.Expired(tx, now, 64)
			count = len(ids)
			if err != nil || count == 0 {
				return err
			}
			return n.eraseRecords(tx, ids, corpus.Locally, protocol.EraseExpired)
		})
		if err != nil {
			return err
		}
		if count == 0 {
			break
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
		return scanDocs(tx, kindPublished, func(id []byte, d *publishedDoc) error {
			if d.RetentionDays == 0 || d.Expired || d.end() > now || len(id) != 40 {
				return nil
			}
			feed, seq := protocol.FeedID(id[:32]), binary.BigEndian.Uint64(id[32:])
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
					if err := putDoc(tx, kindPublished, id, &d); err != nil {
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
