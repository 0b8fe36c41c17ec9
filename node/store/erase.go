package store

import (
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Tomb is what is kept of an entry whose body was erased. It stands under a key of its own,
// and is looked at whenever the entry is read, served or taken in.
type Tomb struct {
	_         struct{}      `cbor:",toarray"`
	Statement protocol.Hash // of the SignedErase; zero: this organisation erased it for itself
	Reason    protocol.EraseReason
	At        uint64 // Unix milliseconds: when it was erased here
}

// Local reports whether the body was erased by this organisation for itself. Others may
// still hold it, and are told that it is withheld here.
func (t *Tomb) Local() bool { return t.Statement.IsZero() }

// Erased returns the tomb of an entry, nil if it was not erased.
func (tx *Tx) Erased(feed protocol.FeedID, seq uint64) (*Tomb, error) {
	t := new(Tomb)
	ok, err := tx.getStruct(placeKey(spaceTomb, feed, seq), t)
	if err != nil {
		return nil, fmt.Errorf("reading tomb of entry %d of feed %s: %w", seq, feed.Short(), err)
	}
	if !ok {
		return nil, nil
	}
	return t, nil
}

// Erase destroys the body of an entry, held or still to come, and puts a tomb in its place.
// Its header stays, so that the chain holds. An author's erase takes the place of a local
// one; otherwise the first one stays. done is false if nothing changed.
func (tx *Tx) Erase(feed protocol.FeedID, seq uint64, tomb *Tomb) (done bool, err error) {
	if err := tx.writable(); err != nil {
		return false, err
	}
	old, err := tx.Erased(feed, seq)
	if err != nil || old != nil && (!old.Local() || tomb.Local()) {
		return false, err
	}
	tx.setStruct(placeKey(spaceTomb, feed, seq), tomb)
	f, err := tx.Feed(feed)
	if err != nil || f == nil || seq > f.Seq {
		return true, err
	}
	skeleton, wrapped, err := tx.stored(feed, seq)
	if err != nil {
		return false, err
	}
	if len(wrapped) > 0 {
		if err := tx.Destroy(wrapped); err != nil {
			return false, err
		}
		f.Bytes -= bodyBytes(skeleton, wrapped)
	}
	v := appendSkeleton(nil, skeleton)
	tx.set(placeKey(spaceEntry, feed, seq), v)
	lackKey := placeKey(spaceLack, feed, seq)
	lacking, err := tx.get(lackKey)
	if err != nil {
		return false, err
	}
	switch {
	case lacking == nil:
	case len(lacking) == 0:
		f.Lacking--
		tx.put(lackKey, nil)
	default:
		f.Evicted--
		tx.put(lackKey, nil)
	}
	tx.putFeed(f)
	return true, nil
}

// The values under spaceLack.
var (
	isLacking = []byte{}
	isEvicted = []byte{1}
)

// Evict gives up the body of an entry to make room, and returns how many bytes that were. It
// does not count as lacking until Want.
func (tx *Tx) Evict(feed protocol.FeedID, seq uint64) (bytes uint64, err error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	f, err := tx.Feed(feed)
	if err != nil || f == nil || seq == 0 || seq > f.Seq {
		return 0, err
	}
	skeleton, wrapped, err := tx.stored(feed, seq)
	if err != nil || len(wrapped) == 0 {
		return 0, err
	}
	if err := tx.Destroy(wrapped); err != nil {
		return 0, err
	}
	bytes = bodyBytes(skeleton, wrapped)
	tx.set(placeKey(spaceEntry, feed, seq), appendSkeleton(nil, skeleton))
	tx.set(placeKey(spaceLack, feed, seq), isEvicted)
	f.Bytes -= bytes
	f.Evicted++
	tx.putFeed(f)
	return bytes, nil
}

// Want makes a body that was evicted count as lacking: it is needed after all.
func (tx *Tx) Want(feed protocol.FeedID, seq uint64) error {
	v, err := tx.get(placeKey(spaceLack, feed, seq))
	if err != nil || len(v) == 0 {
		return err
	}
	f, err := tx.Feed(feed)
	if err != nil || f == nil {
		return err
	}
	tx.set(placeKey(spaceLack, feed, seq), isLacking)
	f.Evicted--
	f.Lacking++
	tx.putFeed(f)
	return nil
}

// Lacking lists the entries of a feed whose bodies are not held and were not erased, rising,
// at most limit of them.
func (tx *Tx) Lacking(feed protocol.FeedID, limit int) (seqs []uint64, err error) {
	err = tx.scan(feedKey(spaceLack, feed), nil, false, func(k, v []byte) (bool, error) {
		if len(seqs) >= limit {
			return false, nil
		}
		if len(v) == 0 {
			seqs = append(seqs, numberOf(k))
		}
		return true, nil
	})
	return seqs, err
}

// Has reports whether the body of an entry is held.
func (tx *Tx) Has(feed protocol.FeedID, seq uint64) (bool, error) {
	f, err := tx.Feed(feed)
	if err != nil || f == nil || seq == 0 || seq > f.Seq {
		return false, err
	}
	tomb, err := tx.Erased(feed, seq)
	if err != nil || tomb != nil {
		return false, err
	}
	_, wrapped, err := tx.stored(feed, seq)
	return len(wrapped) > 0, err
}

// Absent lists the entries of a feed whose bodies are not held, evicted ones among them, and
// were not erased by their author: at most limit of them, rising.
func (tx *Tx) Absent(feed protocol.FeedID, limit int) (seqs []uint64, err error) {
	err = tx.scan(feedKey(spaceLack, feed), nil, false, func(k, _ []byte) (bool, error) {
		seqs = append(seqs, numberOf(k))
		return len(seqs) < limit, nil
	})
	if err != nil {
		return nil, err
	}
	// What this organisation erased for itself it does not hold either.
	err = tx.scan(feedKey(spaceTomb, feed), nil, false, func(k, v []byte) (bool, error) {
		var t Tomb
		if err := decodeStruct(v, &t); err != nil {
			return false, err
		}
		if t.Local() {
			seqs = append(seqs, numberOf(k))
		}
		return len(seqs) < 2*limit, nil
	})
	slices.Sort(seqs)
	if len(seqs) > limit {
		seqs = seqs[:limit]
	}
	return seqs, err
}

// States calls fn with the entries of a feed, from one to another, that have a state noted.
func (tx *Tx) States(feed protocol.FeedID, from, to uint64, fn func(seq uint64, state EntryState)) error {
	return tx.scan(feedKey(spaceState, feed), placeKey(spaceState, feed, from), false, func(k, v []byte) (bool, error) {
		seq := numberOf(k)
		if seq > to {
			return false, nil
		}
		var d stateDoc
		if err := decodeStruct(v, &d); err != nil {
			return false, err
		}
		fn(seq, d.State)
		return true, nil
	})
}
