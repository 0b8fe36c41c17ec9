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
	Counts   []GrantCount     // own epochs only: how many of Granted went to whom; none, and not written: release 0.1 did not count
}

// GrantCount says how often a key went to nodes of an organisation, each recipient of a node for itself.
type GrantCount struct {
	_     struct{} `cbor:",toarray"`
	Org   protocol.OrgID
	Count uint32
}

type (
	epoch02 Epoch
	epoch01 struct {
		_        struct{} `cbor:",toarray"`
		Number   uint64
		Key      [32]byte
		Audience []protocol.OrgID
		Granted  []Granted
		Created  uint64
		Used     uint64
		Retired  bool
		First    uint64
		Removed  protocol.Hash
	}
)

// epochOf01 is how the array of an epoch01 begins.
const epochOf01 = 0x89

// MarshalCBOR implements cbor.Marshaler.
func (e Epoch) MarshalCBOR() ([]byte, error) {
	if len(e.Counts) == 0 {
		return protocol.Encode(&epoch01{Number: e.Number, Key: e.Key, Audience: e.Audience, Granted: e.Granted, Created: e.Created,
			Used: e.Used, Retired: e.Retired, First: e.First, Removed: e.Removed}), nil
	}
	return protocol.Encode((*epoch02)(&e)), nil
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (e *Epoch) UnmarshalCBOR(b []byte) error {
	if len(b) == 0 || b[0] != epochOf01 {
		return protocol.DecodeOwn(b, (*epoch02)(e))
	}
	var old epoch01
	err := protocol.DecodeOwn(b, &old)
	*e = Epoch{Number: old.Number, Key: old.Key, Audience: old.Audience, Granted: old.Granted, Created: old.Created,
		Used: old.Used, Retired: old.Retired, First: old.First, Removed: old.Removed}
	return err
}

// Count returns how often the key went to nodes of an organisation.
func (e *Epoch) Count(org protocol.OrgID) int {
	for _, c := range e.Counts {
		if c.Org == org {
			return int(c.Count)
		}
	}
	return 0
}

// Grant notes that a node of an organisation was given the key.
func (e *Epoch) Grant(org protocol.OrgID, g Granted) {
	e.Granted = append(e.Granted, g)
	for i := range e.Counts {
		if e.Counts[i].Org == org {
			e.Counts[i].Count++
			return
		}
	}
	e.Counts = append(e.Counts, GrantCount{Org: org, Count: 1})
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
