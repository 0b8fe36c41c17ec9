package store

import (
	"fmt"

	"github.com/entente-mesh/entente/protocol"
)

// Epoch is an epoch key of a feed, own or received, with what its publisher keeps about it.
// It is secret; String does not show the key.
type Epoch struct {
	_        struct{} `cbor:",toarray"`
	Number   uint64
	Key      [32]byte
	Audience []protocol.OrgID // sorted; own epochs only
	Granted  []Granted        // own epochs only: the nodes that the key went to
	Created  uint64           // Unix milliseconds
	Used     uint64           // envelopes sealed with it
	Retired  bool             // not to be used again for sealing
	First    uint64           // seq of the first entry sealed with it, or of its first grant
	Removed  protocol.Hash    // own epochs only: which nodes its organisations had removed when it was made
}

// Granted says that a node was given an epoch key, under which recipient.
type Granted struct {
	_         struct{} `cbor:",toarray"`
	Node      protocol.NodeID
	Recipient protocol.Hash // SHA-256 of the node's age recipient
}

// String returns the number of the epoch.
func (e *Epoch) String() string { return fmt.Sprintf("epoch %d (secret)", e.Number) }

// GoString returns what String does.
func (e *Epoch) GoString() string { return e.String() }

// Format keeps every verb from showing the key.
func (e Epoch) Format(f fmt.State, _ rune) { fmt.Fprint(f, e.String()) }

// PutEpoch stores an epoch of a feed, in place of the one of its number.
func (tx *Tx) PutEpoch(feed protocol.FeedID, e *Epoch) error {
	if err := tx.writable(); err != nil {
		return err
	}
	tx.setStruct(placeKey(spaceEpoch, feed, e.Number), e)
	return nil
}

// Epoch returns an epoch of a feed, nil if it is not held.
func (tx *Tx) Epoch(feed protocol.FeedID, number uint64) (*Epoch, error) {
	e := new(Epoch)
	ok, err := tx.getStruct(placeKey(spaceEpoch, feed, number), e)
	if err != nil || !ok {
		return nil, err
	}
	return e, nil
}

// EachEpoch calls fn with every epoch that is held, also of feeds that are not.
func (tx *Tx) EachEpoch(fn func(feed protocol.FeedID, e *Epoch) error) error {
	return tx.scan([]byte{spaceEpoch}, nil, false, func(k, v []byte) (bool, error) {
		e := new(Epoch)
		if err := decodeStruct(v, e); err != nil {
			return false, fmt.Errorf("reading epochs: %w", err)
		}
		return true, fn(protocol.FeedID(k[1:33]), e)
	})
}

// Epochs returns all epochs of a feed by rising number. They are the caller's.
func (tx *Tx) Epochs(feed protocol.FeedID) (list []*Epoch, err error) {
	err = tx.scan(feedKey(spaceEpoch, feed), nil, false, func(_, v []byte) (bool, error) {
		e := new(Epoch)
		if err := decodeStruct(v, e); err != nil {
			return false, fmt.Errorf("reading epochs of feed %s: %w", feed.Short(), err)
		}
		list = append(list, e)
		return true, nil
	})
	return list, err
}
