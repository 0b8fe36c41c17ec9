package store

import (
	"fmt"

	"github.com/entente-mesh/entente/protocol"
)

// Feed is what a node holds of one feed: everything from entry 1 to its head.
type Feed struct {
	_        struct{} `cbor:",toarray"`
	ID       protocol.FeedID
	Origin   protocol.Origin
	Seq      uint64        // of the head; 0: no entry yet
	Hash     protocol.Hash // of the head; what the next entry names as previous
	Opened   uint64        // entries up to this one were gone through by the reader
	SealedAt uint64        // Unix milliseconds: the latest time that an opened entry states
	Bytes    uint64        // of all entries together, as they travel
	Lacking  uint64        // entries whose body is not held and was not erased
	Evicted  uint64        // entries whose body was given up to make room
	Frozen   uint64        // lowest seq known to be forked, 0 if none: what is there or later does not count
}

// Good returns the last entry that counts: the head, or what is before a fork.
func (f *Feed) Good() uint64 {
	if f.Frozen != 0 {
		return min(f.Seq, f.Frozen-1)
	}
	return f.Seq
}

// Feed returns what is held of a feed, nil if it is unknown. The result is the caller's.
func (tx *Tx) Feed(id protocol.FeedID) (*Feed, error) {
	f := new(Feed)
	ok, err := tx.getStruct(feedKey(spaceFeed, id), f)
	if err != nil {
		return nil, fmt.Errorf("reading feed %s: %w", id.Short(), err)
	}
	if !ok {
		return nil, nil
	}
	if f.ID != id || f.Opened > f.Seq {
		return nil, protocol.Errorf(protocol.ErrMalformed, "record of feed %s is damaged", id.Short())
	}
	return f, nil
}

// PutFeed makes a feed known, or stores its Opened, SealedAt and Frozen, which only falls. The head moves by Append
// and CommitStaged alone: a Feed with another head than the stored one is refused.
func (tx *Tx) PutFeed(f *Feed) error {
	if err := tx.writable(); err != nil {
		return err
	}
	old, err := tx.Feed(f.ID)
	if err != nil {
		return err
	}
	if old == nil {
		old = &Feed{ID: f.ID, Origin: f.Origin}
	}
	switch {
	case f.Seq != old.Seq || f.Hash != old.Hash || f.Bytes != old.Bytes || f.Origin != old.Origin || f.Lacking != old.Lacking || f.Evicted != old.Evicted:
		return fmt.Errorf("putting feed %s: its head is at %d, not at %d", f.ID.Short(), old.Seq, f.Seq)
	case old.Frozen != 0 && (f.Frozen == 0 || f.Frozen > old.Frozen):
		return fmt.Errorf("putting feed %s: it is frozen from entry %d on", f.ID.Short(), old.Frozen)
	case f.Opened > f.Seq:
		return fmt.Errorf("putting feed %s: opened to %d of %d entries", f.ID.Short(), f.Opened, f.Seq)
	}
	tx.putFeed(f)
	return nil
}

func (tx *Tx) putFeed(f *Feed) { tx.setStruct(feedKey(spaceFeed, f.ID), f) }

// Feeds calls fn with every feed, in the order of their ids, until fn returns an error,
// which Feeds returns. The Feed is fn's.
func (tx *Tx) Feeds(fn func(*Feed) error) error {
	return tx.scan([]byte{spaceFeed}, nil, false, func(_, v []byte) (bool, error) {
		f := new(Feed)
		if err := decodeStruct(v, f); err != nil {
			return false, fmt.Errorf("reading feeds: %w", err)
		}
		return true, fn(f)
	})
}
