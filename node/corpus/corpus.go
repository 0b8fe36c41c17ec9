package corpus

import (
	"encoding/binary"
	"fmt"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// KV is the ordered key space that a corpus lives in, all of it under keys that begin with
// "c". The transactions of node/store are such spaces.
type KV interface {
	// Get returns nil if there is no such key. The slice is the caller's.
	Get(key []byte) ([]byte, error)
	// Set keeps neither slice.
	Set(key, value []byte) error
	Delete(key []byte) error
	// Scan calls fn with the keys that have prefix, in order or in reverse, beginning at
	// from if it is not nil. k and v are valid during the call; fn may read.
	Scan(prefix, from []byte, reverse bool, fn func(k, v []byte) (more bool, err error)) error
	// Wrap encrypts a value under a key of its own, and Unwrap decrypts it; what says which
	// value it is. Destroy makes it unreadable for ever, wherever copies of it are left.
	Wrap(what, value []byte) ([]byte, error)
	Unwrap(what, wrapped []byte) ([]byte, error)
	Destroy(wrapped []byte) error
	// Retire is Destroy, but may be done later: not before those who read an older state are
	// done, and at the latest when something is destroyed.
	Retire(wrapped []byte) error
}

// Block is the accepted records of one opened envelope.
type Block struct {
	Feed      protocol.FeedID
	Seq       uint64
	Topic     string
	Publisher protocol.OrgID
	Received  uint64 // Unix milliseconds
	SealedAt  uint64 // by its publisher, Unix milliseconds: what it is judged by
	Records   []NewRecord
}

// NewRecord is a record on its way into the corpus.
type NewRecord struct {
	Record     protocol.RecordID
	Originator protocol.OrgID
	Handling   protocol.Handling
	Object     *stix.Object
	Agreement  protocol.AgreementID // that lets us read it; zero: our own
	Term       int                  // of the agreement, from 1; 0: our own
	Text       string               // the reason in a sentence
	Expires    uint64               // Unix milliseconds: to be erased then; 0: never
	Form       Form
	// Observables are those of Object (stix.Observables), if they are known; nil: they are read
	// from it.
	Observables []stix.Observable
}

// Form is how a record was published, if not by who made it in its own name.
type Form struct {
	_         struct{}           `cbor:",toarray"`
	Principal protocol.OrgID     // on whose behalf its originator published it; zero: on its own
	Mandate   protocol.MandateID // under which; zero: none
	Withheld  bool               // its originator had it of another, and does not say of whom
}

// Entry is a record as it is read from the corpus. All slices are the caller's.
type Entry struct {
	Record     protocol.RecordID
	Feed       protocol.FeedID
	Seq        uint64 // of the envelope in its feed
	Index      int    // in the block that Add was given
	Topic      string
	Originator protocol.OrgID
	Publisher  protocol.OrgID
	Handling   protocol.Handling
	Object     []byte // the STIX object as its author wrote it
	StixID     string
	Type       string
	Modified   uint64 // Unix milliseconds, rounded down; 0: the object states none
	Received   uint64 // Unix milliseconds
	SealedAt   uint64 // by the publisher of the entry, Unix milliseconds; 0: not known
	Cursor     uint64 // place in the order of arrival, from 1; never given twice
	Stamp      uint64 // when it came, Unix microseconds, but rising with Cursor whatever the clock does
	Revoked    bool   // by the object itself (STIX 3.6)

	Withdrawn      bool
	WithdrawReason string
	WithdrawnAt    uint64 // Unix milliseconds; 0 if not withdrawn

	Agreement protocol.AgreementID // that lets us read it; zero: our own
	Term      int
	Text      string // why we may read it
	Form      Form

	modified uint64 // nanoseconds: what versions are compared by
	inBlock  uint16
}

// The prefixes of keys; see the package comment.
const (
	kBlock      = "cb"
	kSalt       = "cs"
	kManifest   = "ci"
	kLog        = "co"
	kPage       = "ca"
	kHeavy      = "ch"
	kForget     = "cf"
	kType       = "ct"
	kTopic      = "cp"
	kReceived   = "cm"
	kWithdrawal = "cw"
	kLengths    = "cl"
	kCounters   = "cn"
	kTypeCount  = "cy"
	kEnvelope   = "ce"
	kErased     = "cx"
	kExpiry     = "cz"
	kCopy       = "cd"
	kWithdraws  = "cv"
	kChange     = "cg"
)

func damaged(format string, args ...any) error {
	return protocol.Errorf(protocol.ErrMalformed, "corpus is damaged: "+format, args...)
}

type counters struct {
	Next    uint64 // cursor
	Records uint64
	Stamp   uint64 // the last one given
}

func readCounters(kv KV) (c counters, err error) {
	b, err := kv.Get([]byte(kCounters))
	switch {
	case err != nil:
		return c, fmt.Errorf("reading counters: %w", err)
	case b == nil:
		return counters{Next: 1}, nil
	case len(b) != 24:
		return c, damaged("counters have %d bytes", len(b))
	}
	return counters{Next: binary.BigEndian.Uint64(b), Records: binary.BigEndian.Uint64(b[8:]), Stamp: binary.BigEndian.Uint64(b[16:])}, nil
}

func (c counters) write(kv KV) error {
	b := binary.BigEndian.AppendUint64(nil, c.Next)
	b = binary.BigEndian.AppendUint64(b, c.Records)
	return kv.Set([]byte(kCounters), binary.BigEndian.AppendUint64(b, c.Stamp))
}

// Counts says how much a corpus holds, all versions and withdrawn records included.
type Counts struct {
	Records uint64
	Cursor  uint64            // no record has a higher one
	ByType  map[string]uint64 // by STIX type
}

// Count returns how much the corpus holds. The cost depends on the number of types only.
func Count(kv KV) (Counts, error) {
	c, err := readCounters(kv)
	if err != nil {
		return Counts{}, err
	}
	out := Counts{Records: c.Records, Cursor: max(c.Next, 1) - 1, ByType: map[string]uint64{}}
	err = kv.Scan([]byte(kTypeCount), nil, false, func(k, v []byte) (bool, error) {
		if len(v) != 8 {
			return false, damaged("count of a type has %d bytes", len(v))
		}
		out.ByType[string(k[len(kTypeCount):])] = binary.BigEndian.Uint64(v)
		return true, nil
	})
	return out, err
}

func countType(kv KV, typ string, change int64) error {
	n := uint64(0)
	key := []byte(kTypeCount + typ)
	b, err := kv.Get(key)
	if err != nil {
		return err
	}
	if b != nil {
		if len(b) != 8 {
			return damaged("count of a type has %d bytes", len(b))
		}
		n = binary.BigEndian.Uint64(b)
	}
	if n += uint64(change); n == 0 {
		return kv.Delete(key)
	}
	return kv.Set(key, binary.BigEndian.AppendUint64(nil, n))
}
