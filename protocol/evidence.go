package protocol

import (
	"bytes"
)

// What stands here is clear, unordered and content-addressed: it travels by gossip, as a
// Notice, and in the sets that peers compare. Nothing in it means anything to an outsider.

// SignedHeader is an encoded Header with its signature: an entry without its body.
//
// Growth: with ForkProof, of which it is a part; the Header has a version of its own.
type SignedHeader struct {
	_      struct{} `cbor:",toarray"`
	Header []byte
	Sig    Signature
}

// ForkProof proves that the author of a feed signed two different entries with one seq.
// Whoever has it can verify it, with nothing but the network's id.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type ForkProof struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Origin  Origin
	A, B    SignedHeader // A's entry hash is the lower one, so that a fork has one proof
}

// NewForkProof makes the proof of two entries of one feed, in either order.
func NewForkProof(network NetworkID, origin Origin, a, b SignedHeader) *ForkProof {
	x, y := EntryHash(a.Header), EntryHash(b.Header)
	if bytes.Compare(x[:], y[:]) > 0 {
		a, b = b, a
	}
	return &ForkProof{Version: 1, Network: network, Origin: origin, A: a, B: b}
}

// Headers reads both headers strictly and checks that they contradict each other. The
// signatures are crypto.VerifyFork's.
func (p *ForkProof) Headers() (a, b *Header, err error) {
	a, b = new(Header), new(Header)
	if err := Decode(p.A.Header, MaxHeaderSize, a); err != nil {
		return nil, nil, err
	}
	if err := Decode(p.B.Header, MaxHeaderSize, b); err != nil {
		return nil, nil, err
	}
	feed := p.Origin.FeedID(p.Network)
	x, y := EntryHash(p.A.Header), EntryHash(p.B.Header)
	switch {
	case p.Version != 1:
		return nil, nil, unknownVersion("fork proof", p.Version, 1)
	case a.Feed != feed || b.Feed != feed:
		return nil, nil, Errorf(ErrWrongContext, "fork proof holds an entry of another feed")
	case a.Seq != b.Seq:
		return nil, nil, malformed("fork proof holds entries %d and %d, which do not contradict each other", a.Seq, b.Seq)
	case bytes.Compare(x[:], y[:]) >= 0:
		return nil, nil, malformed("fork proof holds one entry twice, or its entries in the wrong order")
	}
	return a, b, nil
}

// Validate checks bounds.
func (p *ForkProof) Validate() error {
	if p.Version != 1 {
		return unknownVersion("fork proof", p.Version, 1)
	}
	if len(p.A.Header) > MaxHeaderSize || len(p.B.Header) > MaxHeaderSize {
		return oversize("fork proof holds a header of more than %d bytes", MaxHeaderSize)
	}
	return nil
}

// Hash returns SHA-256("entente/fork/v1" || 0x00 || encoded proof): its name in the sets.
func (p *ForkProof) Hash() Hash { return Hash(digest("entente/fork/v1", Encode(p))) }

// EraseReason says why something was erased, in classes that tell nothing of a case.
type EraseReason uint8

// The reasons.
const (
	EraseExpired EraseReason = 1 // its retention ended
	EraseRequest EraseReason = 2 // by its author's decision
	EraseLegal   EraseReason = 3 // by order of a court or an authority, or a right of a person
	EraseError   EraseReason = 4 // it should never have been shared
)

var eraseReasons = [...]string{"", "expired", "request", "legal", "error"}

// String returns the name of the reason.
func (r EraseReason) String() string {
	if int(r) < len(eraseReasons) && r != 0 {
		return eraseReasons[r]
	}
	return "unknown"
}

// ParseEraseReason reads the name of a reason.
func ParseEraseReason(s string) (EraseReason, error) {
	for i, name := range eraseReasons {
		if i > 0 && s == name {
			return EraseReason(i), nil
		}
	}
	return 0, malformed("reason %q is not known; one of expired, request, legal, error", clip(s))
}

// ErasedEntry names an entry whose body is erased.
//
// Growth: with Erase, of which it is a part; it has no version of its own.
type ErasedEntry struct {
	_    struct{} `cbor:",toarray"`
	Seq  uint64
	Hash Hash // EntryHash
}

// EntryRef names an entry.
//
// Growth: with Erase, of which it is a part; it has no version of its own.
type EntryRef struct {
	_    struct{} `cbor:",toarray"`
	Feed FeedID
	Seq  uint64
}

// Erase says that the bodies of entries of one feed are to be destroyed wherever they are,
// and that records are never to be shown or served again, whichever way they come. Before it
// is signed, the records that survive of these entries stand in others, durably.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Erase struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Origin    Origin
	Entries   []ErasedEntry // sorted by seq
	Records   []RecordID    // sorted; those erased. May be empty where whole entries expired
	Survivors []EntryRef    // sorted; the entries in which the other records stand now
	Reason    EraseReason
	At        uint64 // Unix milliseconds
}

// Validate checks ranges, order and bounds.
func (e *Erase) Validate() error {
	switch {
	case e.Version != 1:
		return unknownVersion("erase", e.Version, 1)
	case e.Reason < EraseExpired || e.Reason > EraseError:
		return malformed("erase has a reason of unknown class %d", e.Reason)
	case len(e.Entries) == 0 || len(e.Entries) > MaxErasedEntries:
		return oversize("erase names %d entries, 1 to %d are allowed", len(e.Entries), MaxErasedEntries)
	case len(e.Records) > MaxErasedRecords || len(e.Survivors) > MaxSurvivors:
		return oversize("erase names %d records and %d entries of survivors, at most %d and %d", len(e.Records), len(e.Survivors), MaxErasedRecords, MaxSurvivors)
	case !isSortedSet(e.Entries, func(a, b ErasedEntry) int { return compareUint(a.Seq, b.Seq) }),
		!isSortedSet(e.Records, func(a, b RecordID) int { return Hash(a).compare(Hash(b)) }),
		!isSortedSet(e.Survivors, compareEntryRef):
		return malformed("entries, records and survivors of an erase must be sorted and free of duplicates")
	}
	for _, x := range e.Entries {
		if x.Seq == 0 || x.Seq > MaxSeq || x.Hash.IsZero() {
			return malformed("erase names entry %d, out of range", x.Seq)
		}
	}
	for _, s := range e.Survivors {
		if s.Seq == 0 || s.Seq > MaxSeq {
			return malformed("erase names survivors in entry %d, out of range", s.Seq)
		}
	}
	return nil
}

// Normalise sorts what has to be sorted.
func (e *Erase) Normalise() {
	e.Entries = sortedSet(e.Entries, func(a, b ErasedEntry) int { return compareUint(a.Seq, b.Seq) })
	e.Records = sortedSet(e.Records, func(a, b RecordID) int { return Hash(a).compare(Hash(b)) })
	e.Survivors = sortedSet(e.Survivors, compareEntryRef)
}

func compareUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareEntryRef(a, b EntryRef) int {
	if c := bytes.Compare(a.Feed[:], b.Feed[:]); c != 0 {
		return c
	}
	return compareUint(a.Seq, b.Seq)
}

// SignedErase is an Erase with one signature: by the signing key of the feed, or by the
// operational key of its organisation, where the node is no more.
//
// Growth: none; it is signed by what Erase states.
type SignedErase struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte   // encoded Erase
	Key       [32]byte
	Sig       Signature
}

// Hash returns SHA-256("entente/erase-name/v1" || 0x00 || statement): its name in the sets.
func (s *SignedErase) Hash() Hash { return Hash(digest("entente/erase-name/v1", s.Statement)) }

// Notice is what is gossiped beside envelopes, in the topic of notices.
//
// Growth: a new layout is a new Version, which nodes that do not know it ignore.
type Notice struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Heads   []Signed // over Head
	Forks   []ForkProof
	Erases  []SignedErase
}

// Validate checks bounds.
func (n *Notice) Validate() error {
	switch {
	case n.Version != 1:
		return unknownVersion("notice", n.Version, 1)
	case len(n.Heads)+len(n.Forks)+len(n.Erases) == 0:
		return malformed("notice says nothing")
	case len(n.Heads) > MaxNoticeItems || len(n.Forks) > MaxNoticeItems || len(n.Erases) > MaxNoticeItems:
		return oversize("notice holds more than %d statements of a kind", MaxNoticeItems)
	}
	return nil
}

// NoticeTopic is the name of the topic in which notices are gossiped. Like ControlTopic it
// cannot be written in a topic's name; it has no feeds.
const NoticeTopic = "!notices"
