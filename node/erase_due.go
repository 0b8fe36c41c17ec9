package node

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// What this organisation erased and an entry of its own still holds, sealed, is due: whoever
// answers for the entry seals anew what shares it, and signs its erase. A record may be due in
// several entries: it was sealed anew after a fork, a restore, or the removal of a node, or it
// came back after it had been erased.

// due is a dueDoc with its place.
type due struct {
	key    []byte
	record protocol.RecordID
	place  protocol.EntryRef
	reason protocol.EraseReason
}

func (n *Node) putDue(tx *store.Tx, record protocol.RecordID, feed protocol.FeedID, seq uint64, reason protocol.EraseReason) error {
	n.due.Store(true)
	return putDoc(tx, kindDue, append(entryKey(feed, seq), record[:]...), &dueDoc{Reason: reason})
}

// wakeDue lets a running node look after what became due, and after requests that can be confirmed.
func (n *Node) wakeDue() {
	if net := n.net.Load(); net != nil && (n.due.Load() || n.asking.Load()) {
		net.wake()
	}
}

func eachDue(tx *store.Tx, fn func(due) error) error {
	return scanDocs(tx, kindDue, func(id []byte, d *dueDoc) error {
		if len(id) != 72 {
			return protocol.Errorf(protocol.ErrMalformed, "a record to be erased is kept under a key of %d bytes", len(id))
		}
		feed, seq := splitEntryKey(id[:40])
		return fn(due{key: slices.Clone(id), record: protocol.RecordID(id[40:]), place: protocol.EntryRef{Feed: feed, Seq: seq}, reason: d.Reason})
	})
}

// pendingErasures counts the records that were erased here, and not yet by everybody.
func (n *Node) pendingErasures() (count int, err error) {
	records := map[protocol.RecordID]bool{}
	err = n.st.View(func(tx *store.Tx) error {
		return eachDue(tx, func(d due) error { records[d.record] = true; return nil })
	})
	return len(records), err
}

// dueAction is what is to be done about a due record.
type dueAction int

const (
	dueWaits   dueAction = iota // for another node, or for what an entry holds to be sealed anew
	dueSettled                  // it was erased for everybody
	dueReseal                   // what shares its entry is to be sealed anew, and its erase to be signed
	dueName                     // the entry is gone everywhere and the record, which was thought to survive, is not
)

// judgeDue tells what is to be done about a due record.
func (n *Node) judgeDue(tx *store.Tx, s *snapshot, d *due) (dueAction, error) {
	f, err := tx.Feed(d.place.Feed)
	if err != nil || f == nil {
		return dueWaits, err
	}
	has, err := tx.Has(d.place.Feed, d.place.Seq)
	if err != nil {
		return dueWaits, err
	}
	answers := n.answersFor(s, &f.Origin)
	if has {
		if !answers {
			return dueWaits, nil
		}
		if d.place.Seq <= f.Good() {
			return dueReseal, nil
		}
		// It counts nowhere. What people want to keep of it is sealed anew before it goes.
		if done, err := wasSealedAnew(tx, d.place.Feed, d.place.Seq); err != nil || !done {
			return dueWaits, err
		}
		return dueReseal, nil
	}
	tomb, err := tx.Erased(d.place.Feed, d.place.Seq)
	if err != nil {
		return dueWaits, err
	}
	named, err := corpus.ErasedBy(tx, d.record, n.org)
	switch {
	case err != nil:
		return dueWaits, err
	case named, tomb != nil && tomb.Local() && tomb.Reason == protocol.EraseExpired:
		return dueSettled, nil
	case tomb == nil || tomb.Local():
		return dueWaits, nil
	}
	e, err := eraseOf(tx, tomb.Statement)
	switch {
	case err != nil || e == nil:
		return dueWaits, err
	case len(e.Records) == 0:
		return dueSettled, nil // the whole entry
	case answers:
		return dueName, nil
	}
	return dueWaits, nil
}

// eraseOf returns a signed erase that is held; nil if it is not.
func eraseOf(tx *store.Tx, h protocol.Hash) (*protocol.Erase, error) {
	var d eraseDoc
	if ok, err := getDoc(tx, kindErase, h[:], &d); err != nil || !ok {
		return nil, err
	}
	e := new(protocol.Erase)
	return e, protocol.Decode(d.Signed.Statement, protocol.MaxStatementSize, e)
}

// settleDue does what is due and this node's to do. What waits for others stays. The caller
// holds n.erasing.
func (n *Node) settleDue(rep *EraseReport, told map[protocol.OrgID]bool) (failed error) {
	n.due.Store(false)
	tried := map[dueKey]bool{} // so that it ends whatever fails
	for {
		reseal, name, settled, err := n.sortDue(tried)
		for part := range slices.Chunk(settled, 10_000) { // one transaction does not take any number
			if err == nil {
				err = n.st.Update(func(tx *store.Tx) error {
					for _, k := range part {
						if err := tx.Delete(append([]byte(kindDue), k...)); err != nil {
							return err
						}
					}
					return nil
				})
			}
		}
		if err != nil || len(reseal)+len(name) == 0 {
			return errors.Join(failed, err)
		}
		for _, p := range reseal {
			if err := n.eraseOwn(p, p.reason, rep, told); err != nil && !errors.Is(err, ErrNotEnrolled) { // a node that was removed is answered for
				failed = errors.Join(failed, err) // the others are not kept waiting
			}
		}
		for _, p := range name {
			failed = errors.Join(failed, n.eraseNamed(p))
		}
	}
}

// dueKey names one step: what is done at once.
type dueKey struct {
	place protocol.EntryRef
	what  dueAction
}

// sortDue lists what is to be done, entry by entry, of what was not tried yet: first what is to
// be sealed anew.
func (n *Node) sortDue(tried map[dueKey]bool) (reseal, name []*erasePlace, settled [][]byte, err error) {
	s := n.snap.Load()
	at := map[dueKey]*erasePlace{}
	err = n.st.View(func(tx *store.Tx) error {
		return eachDue(tx, func(d due) error {
			what, err := n.judgeDue(tx, s, &d)
			if err != nil {
				return err
			}
			if what == dueSettled {
				settled = append(settled, d.key)
			}
			if what != dueReseal && what != dueName {
				return nil
			}
			key := dueKey{d.place, what}
			if tried[key] {
				return nil
			}
			if at[key] == nil {
				f, err := tx.Feed(d.place.Feed)
				if err != nil {
					return err
				}
				topic, err := topicOf(tx, s, f, d.place.Seq)
				if err != nil {
					return err
				}
				void := d.place.Seq > f.Good()
				if topic == "" && what == dueReseal && !void {
					return nil // nobody knows where the rest would go; it waits until the topic is joined again
				}
				at[key] = &erasePlace{origin: f.Origin, feed: d.place.Feed, seq: d.place.Seq, topic: topic, reason: d.reason, void: void}
			}
			at[key].records = append(at[key].records, d.record)
			return nil
		})
	})
	for key, p := range at {
		if key.what == dueReseal {
			tried[key] = true
			reseal = append(reseal, p)
		}
	}
	for key, p := range at {
		if key.what == dueName && len(reseal) == 0 {
			tried[key] = true
			name = append(name, p)
		}
	}
	order := func(a, b *erasePlace) int {
		return cmp.Or(bytes.Compare(a.feed[:], b.feed[:]), cmp.Compare(a.seq, b.seq))
	}
	slices.SortFunc(reseal, order)
	slices.SortFunc(name, order)
	return reseal, name, settled, err
}

// topicOf returns the topic of an entry of this organisation, which may have left it since: the
// account of for whom it was published says it too. It returns "" if neither does.
func topicOf(tx *store.Tx, s *snapshot, f *store.Feed, seq uint64) (string, error) {
	if topic, in := s.topics[f.Origin.Topic]; in {
		return topic, nil
	}
	var doc publishedDoc
	_, err := getDoc(tx, kindPublished, entryKey(f.ID, seq), &doc)
	if err != nil || protocol.NewTopicID(s.network, doc.Topic) != f.Origin.Topic {
		return "", err
	}
	return doc.Topic, nil
}

// eraseNamed signs the erase of records that another erase of their entry left over, and that
// stand, if anywhere, in entries that nobody holds, or that count nowhere.
func (n *Node) eraseNamed(p *erasePlace) error {
	var survivors []protocol.EntryRef
	var hash protocol.Hash
	err := n.st.View(func(tx *store.Tx) error {
		tomb, err := tx.Erased(p.feed, p.seq)
		if err != nil || tomb == nil {
			return err
		}
		e, err := eraseOf(tx, tomb.Statement)
		if err != nil || e == nil {
			return err
		}
		survivors = e.Survivors
		i := slices.IndexFunc(e.Entries, func(x protocol.ErasedEntry) bool { return x.Seq == p.seq })
		if i < 0 {
			return protocol.Errorf(protocol.ErrMalformed, "entry %d was erased by what does not name it", p.seq)
		}
		hash = e.Entries[i].Hash
		return nil
	})
	if err != nil || hash == (protocol.Hash{}) {
		return err
	}
	for part := range slices.Chunk(p.records, protocol.MaxErasedRecords) {
		if err := n.signErase(&protocol.Erase{Version: 1, Network: n.snap.Load().network, Origin: p.origin, Reason: p.reason, At: uint64(nowMillis()),
			Entries: []protocol.ErasedEntry{{Seq: p.seq, Hash: hash}}, Records: part, Survivors: survivors}); err != nil {
			return err
		}
	}
	return nil
}

// standsElsewhere looks for another entry that holds a record of an own entry as well as this
// one: for the same readers, as long, and in a feed of this node. For whom a node that was removed
// sealed an entry it may have told wrong, and nobody is given a key of it any more.
func (n *Node) standsElsewhere(tx *store.Tx, id protocol.RecordID, p *erasePlace, doc *publishedDoc) (at protocol.EntryRef, yes bool, err error) {
	list, err := n.index.Copies(tx, id)
	if err != nil {
		return at, false, err
	}
	for _, c := range list {
		if c.Feed == p.feed && c.Seq == p.seq {
			continue
		}
		f, err := tx.Feed(c.Feed)
		if err != nil {
			return at, false, err
		}
		if f == nil || c.Seq > f.Good() || f.Origin.Signing != n.keys.Signing.Public() {
			continue
		}
		has, err := tx.Has(c.Feed, c.Seq)
		if err != nil {
			return at, false, err
		}
		var other publishedDoc
		ok, err := getDoc(tx, kindPublished, entryKey(c.Feed, c.Seq), &other)
		if err != nil {
			return at, false, err
		}
		if !has || !ok || other.Expired {
			continue
		}
		lasts := other.RetentionDays == 0 || doc.RetentionDays != 0 && other.end()+dayMillis >= doc.end()
		if lasts && !slices.ContainsFunc(doc.Orgs, func(o protocol.OrgID) bool { return !slices.Contains(other.Orgs, o) }) {
			return protocol.EntryRef{Feed: c.Feed, Seq: c.Seq}, true, nil
		}
	}
	return at, false, nil
}
