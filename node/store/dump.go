package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Absence says whether the body of an entry is held.
type Absence uint8

// The values.
const (
	Present Absence = iota // it is held, or was erased
	Lacking                // it is not held, and is asked for
	Evicted                // it was given up to make room
)

// Dumped is an entry with all that is stored of it.
type Dumped struct {
	Seq    uint64
	Raw    []byte // as it travels; without its body if that is not held
	State  EntryState
	Reason string
	Tomb   *Tomb
	Absent Absence
	// Shredded says that its block key was destroyed since the state that is read: the present
	// state says why. Raw has no body then.
	Shredded bool
}

// Dump calls fn with entries of a feed, from one to another, in order. All of them must be held. The entry
// is fn's.
func (tx *Tx) Dump(feed protocol.FeedID, from, to uint64, fn func(*Dumped) error) error {
	states, tombs, absent := map[uint64]stateDoc{}, map[uint64]*Tomb{}, map[uint64]Absence{}
	within := func(space byte, take func(seq uint64, v []byte) error) error {
		return tx.scan(feedKey(space, feed), placeKey(space, feed, from), false, func(k, v []byte) (bool, error) {
			seq := numberOf(k)
			if seq > to {
				return false, nil
			}
			return true, take(seq, v)
		})
	}
	err := errors.Join(
		within(spaceState, func(seq uint64, v []byte) error {
			var d stateDoc
			err := decodeStruct(v, &d)
			states[seq] = d
			return err
		}),
		within(spaceTomb, func(seq uint64, v []byte) error {
			tombs[seq] = new(Tomb)
			return decodeStruct(v, tombs[seq])
		}),
		within(spaceLack, func(seq uint64, v []byte) error {
			absent[seq] = Lacking
			if len(v) > 0 {
				absent[seq] = Evicted
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("reading what became of entries of feed %s: %w", feed.Short(), err)
	}
	next := from
	err = within(spaceEntry, func(seq uint64, v []byte) error {
		if seq != next {
			return protocol.Errorf(protocol.ErrMalformed, "store is damaged: entry %d of feed %s is missing", next, feed.Short())
		}
		next++
		d := &Dumped{Seq: seq, State: states[seq].State, Reason: states[seq].Reason, Tomb: tombs[seq], Absent: absent[seq]}
		skeleton, wrapped, err := splitEntry(v)
		if err != nil {
			return err
		}
		d.Raw = bytes.Clone(skeleton)
		if len(wrapped) > 0 && d.Tomb == nil {
			body, err := tx.Unwrap(placeKey(spaceEntry, feed, seq), slices.Clone(wrapped))
			switch {
			case errors.Is(err, ErrDestroyed):
				d.Shredded = true
			case err != nil:
				return fmt.Errorf("reading entry %d of feed %s: %w", seq, feed.Short(), err)
			default:
				d.Raw = protocol.Join(skeleton, body)
			}
		}
		return fn(d)
	})
	if err == nil && next <= to {
		err = protocol.Errorf(protocol.ErrMalformed, "store is damaged: entry %d of feed %s is missing", next, feed.Short())
	}
	return err
}

// MarkEvicted makes a body that is lacking count as given up to make room: the reverse of
// Want.
func (tx *Tx) MarkEvicted(feed protocol.FeedID, seq uint64) error {
	v, err := tx.get(placeKey(spaceLack, feed, seq))
	if err != nil || v == nil || len(v) > 0 {
		return err
	}
	f, err := tx.Feed(feed)
	if err != nil || f == nil {
		return err
	}
	tx.set(placeKey(spaceLack, feed, seq), isEvicted)
	f.Lacking--
	f.Evicted++
	tx.putFeed(f)
	return nil
}
