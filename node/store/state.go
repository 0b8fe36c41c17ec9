package store

import (
	"fmt"

	"github.com/entente-mesh/entente/protocol"
)

// EntryState says what became of an entry when it was opened.
type EntryState uint8

// The states of an entry.
const (
	Pending      EntryState = iota // not gone through yet
	Applied                        // taken over
	NotForUs                       // sealed for others, as far as is known
	AwaitingKey                    // not to be opened or judged yet: a key, a card, an agreement or its time is still to come
	Quarantined                    // arrived and is not to be used, or not all of it
	AwaitingBody                   // came without its body
	Erased                         // its body was erased
)

var stateNames = [...]string{"pending", "applied", "not-for-us", "awaiting-key", "quarantined", "awaiting-body", "erased"}

// String returns the name of the state.
func (s EntryState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("unknown(%d)", uint8(s))
}

type stateDoc struct {
	_      struct{} `cbor:",toarray"`
	State  EntryState
	Reason string
}

func indexKey(feed protocol.FeedID, state EntryState, seq uint64) []byte {
	k := append(feedKey(spaceIndex, feed), byte(state))
	for shift := 56; shift >= 0; shift -= 8 {
		k = append(k, byte(seq>>shift))
	}
	return k
}

func (s EntryState) indexed() bool { return s != Pending && s != Applied && s != Erased }

// SetEntryState notes what became of an entry and why; a reason, in the words of who asks,
// may be empty. Pending forgets what was noted.
func (tx *Tx) SetEntryState(feed protocol.FeedID, seq uint64, state EntryState, reason string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if state > Erased {
		return fmt.Errorf("setting entry state: %s", state)
	}
	old, _, err := tx.EntryState(feed, seq)
	if err != nil {
		return err
	}
	if old.indexed() && old != state {
		tx.put(indexKey(feed, old, seq), nil)
	}
	if state == Pending {
		tx.put(placeKey(spaceState, feed, seq), nil)
		return nil
	}
	if state.indexed() {
		tx.set(indexKey(feed, state, seq), nil)
	}
	tx.setStruct(placeKey(spaceState, feed, seq), &stateDoc{State: state, Reason: reason})
	return nil
}

// EntryState returns what became of an entry, and why; Pending if nothing was noted.
func (tx *Tx) EntryState(feed protocol.FeedID, seq uint64) (EntryState, string, error) {
	var d stateDoc
	if _, err := tx.getStruct(placeKey(spaceState, feed, seq), &d); err != nil {
		return Pending, "", fmt.Errorf("reading state of entry %d of feed %s: %w", seq, feed.Short(), err)
	}
	if d.State > Erased {
		return Pending, "", protocol.Errorf(protocol.ErrMalformed, "state of entry %d of feed %s is damaged", seq, feed.Short())
	}
	return d.State, d.Reason, nil
}

// EntriesIn lists the entries of a feed that are in a state, rising. For Pending,
// Applied and Erased it goes through all entries of the feed.
func (tx *Tx) EntriesIn(feed protocol.FeedID, state EntryState) (seqs []uint64, err error) {
	if state.indexed() {
		prefix := append(feedKey(spaceIndex, feed), byte(state))
		err = tx.scan(prefix, nil, false, func(k, _ []byte) (bool, error) {
			seqs = append(seqs, numberOf(k))
			return true, nil
		})
		return seqs, err
	}
	f, err := tx.Feed(feed)
	if err != nil || f == nil {
		return nil, err
	}
	next := uint64(1) // what has no state noted up to the head is pending
	err = tx.scan(feedKey(spaceState, feed), nil, false, func(k, v []byte) (bool, error) {
		var d stateDoc
		if err := decodeStruct(v, &d); err != nil {
			return false, err
		}
		seq := numberOf(k)
		for ; state == Pending && next < seq && next <= f.Seq; next++ {
			seqs = append(seqs, next)
		}
		next = seq + 1
		if d.State == state {
			seqs = append(seqs, seq)
		}
		return true, nil
	})
	for ; state == Pending && next <= f.Seq; next++ {
		seqs = append(seqs, next)
	}
	return seqs, err
}
