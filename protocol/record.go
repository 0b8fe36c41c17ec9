package protocol

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// BatchStatement is what an originator signs: the Merkle root over records made together.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning. Another
// way of signing is another Suite.
type BatchStatement struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Suite      uint8    // Suite1
	Originator OrgID
	Card       CardOrder  // the originator's card that listed Signing
	Signing    SigningKey // of the originator's node
	Count      uint32
	Root       Hash
	Signed     uint64 // Unix milliseconds
	// Behalf is the mandate under which the originator publishes on behalf of its principal; none,
	// or one. It is not the principal's signature under the records.
	Behalf []OrgSigned
	// Origin is an OriginCommitment, 32 bytes, where the originator withholds from whom it had the
	// one record of the batch; empty: it made the records.
	Origin []byte
}

// Validate checks ranges and bounds.
func (b *BatchStatement) Validate() error {
	switch {
	case b.Version != 1:
		return unknownVersion("batch", b.Version, 1)
	case b.Suite != Suite1:
		return unknownVersion("suite of the batch", uint8(b.Suite), uint8(Suite1))
	case b.Count == 0 || b.Count > MaxRecordsPerBatch:
		return oversize("batch has %d records, 1 to %d are allowed", b.Count, MaxRecordsPerBatch)
	case len(b.Behalf) > 1:
		return oversize("batch carries %d mandates, at most one is allowed", len(b.Behalf))
	case len(b.Origin) != 0 && len(b.Origin) != len(Hash{}):
		return malformed("batch commits to its origin with %d bytes, %d or none are allowed", len(b.Origin), len(Hash{}))
	case len(b.Origin) != 0 && (b.Count != 1 || len(b.Behalf) != 0):
		return malformed("a batch whose origin is withheld holds one record, and is published on behalf of nobody")
	}
	return nil
}

// Item is a record in a body. In a whole batch items stand in order, with Salt and Path
// empty: salts follow from the seed. In a part each has its own.
//
// Growth: with Body, of which it is a part; it has no version of its own.
type Item struct {
	_        struct{} `cbor:",toarray"`
	Index    uint32   // in the batch
	Handling uint16   // index into the body's handlings
	Object   []byte   // the STIX object, byte for byte
	Salt     []byte   // 16 bytes, or empty
	Path     []Hash   // inclusion path, from the leaf up; or empty
}

// BatchPart is a batch, or some of its records, inside a body.
//
// Growth: with Body, of which it is a part; it has no version of its own.
type BatchPart struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte   // encoded BatchStatement
	Sig       Signature
	Seed      []byte // 32 bytes: the whole batch is here; empty: a part
	Items     []Item
	Hops      []Hop // who passed it on, from the first; empty: its originator published it
}

// Hop is a HopStatement with its signature.
//
// Growth: with Body, of which it is a part; it has no version of its own.
type Hop struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte   // encoded HopStatement
	Sig       Signature
}

// Hash returns SHA-256 of the statement, which the next hop names.
func (h *Hop) Hash() Hash { return sha256.Sum256(h.Statement) }

// HopStatement is what an organisation signs that passes records of a batch on: from whom it had
// them is what the hop before says, or the batch itself. The last hop is the publisher.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type HopStatement struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8    // 1
	Org      OrgID
	Signing  SigningKey // of its node
	Batch    Hash       // SHA-256 of the encoded BatchStatement
	Previous Hash       // SHA-256 of the statement of the hop before; zero: there is none
	At       uint64     // Unix milliseconds
}

// Validate checks the version.
func (h *HopStatement) Validate() error {
	if h.Version != 1 {
		return unknownVersion("hop", h.Version, 1)
	}
	return nil
}

// Body is the plaintext of an EntryRecords envelope, before compression and padding.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Body struct {
	_             struct{} `cbor:",toarray"`
	Version       uint8    // 1
	SealedAt      uint64   // Unix milliseconds; never falls within a feed
	RetentionDays uint32   // of all records in it; 0: the agreement's
	Handlings     [][]byte // encoded Handling, each distinct
	Batches       []BatchPart
}

// Validate checks ranges and bounds.
func (b *Body) Validate() error {
	switch {
	case b.Version != 1:
		return unknownVersion("body", b.Version, 1)
	case len(b.Handlings) == 0 || len(b.Handlings) > MaxHandlingsPerBody:
		return oversize("body has %d handlings, 1 to %d are allowed", len(b.Handlings), MaxHandlingsPerBody)
	case len(b.Batches) == 0 || len(b.Batches) > MaxBatchesPerBody:
		return oversize("body has %d batches, 1 to %d are allowed", len(b.Batches), MaxBatchesPerBody)
	}
	for i := range b.Batches {
		if err := b.Batches[i].validate(len(b.Handlings)); err != nil {
			return err
		}
	}
	return nil
}

func (p *BatchPart) validate(handlings int) error {
	if len(p.Items) == 0 || len(p.Items) > MaxRecordsPerBatch {
		return oversize("batch has %d records here, 1 to %d are allowed", len(p.Items), MaxRecordsPerBatch)
	}
	if len(p.Hops) > MaxHops {
		return oversize("batch was passed on by %d organisations, at most %d are allowed", len(p.Hops), MaxHops)
	}
	whole := len(p.Seed) == 32
	if !whole && len(p.Seed) != 0 {
		return malformed("batch seed has %d bytes, 32 or none are allowed", len(p.Seed))
	}
	for i := range p.Items {
		it := &p.Items[i]
		switch {
		case int(it.Handling) >= handlings:
			return malformed("record refers to a handling that is not there")
		case len(it.Object) == 0 || len(it.Object) > MaxObjectSize:
			return oversize("object has %d bytes, 1 to %d are allowed", len(it.Object), MaxObjectSize)
		case whole && (it.Index != uint32(i) || len(it.Salt) != 0 || len(it.Path) != 0):
			return malformed("a whole batch holds its records in order, without salts and paths")
		case !whole && (len(it.Salt) != 16 || len(it.Path) > 16):
			return malformed("a part of a batch holds a salt and a path for each record")
		case i > 0 && it.Index <= p.Items[i-1].Index:
			return malformed("records of a batch must be in order")
		}
	}
	return nil
}

// ExclusionStatement is an originator's word, after it published records, that they are to go to
// some organisations no more, by any path.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type ExclusionStatement struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Network    NetworkID
	Originator OrgID
	Signing    SigningKey // of the originator's node
	Records    []RecordID // sorted
	Excluded   []OrgID    // sorted
	At         uint64     // Unix milliseconds
}

// Validate checks ranges, order and bounds.
func (x *ExclusionStatement) Validate() error {
	switch {
	case x.Version != 1:
		return unknownVersion("exclusion", x.Version, 1)
	case len(x.Records) == 0 || len(x.Records) > MaxExcludedRecords:
		return oversize("exclusion names %d records, 1 to %d are allowed", len(x.Records), MaxExcludedRecords)
	case len(x.Excluded) == 0 || len(x.Excluded) > MaxNamedOrgs:
		return oversize("exclusion names %d organisations, 1 to %d are allowed", len(x.Excluded), MaxNamedOrgs)
	case !isSortedSet(x.Records, func(a, b RecordID) int { return Hash(a).compare(Hash(b)) }), !isSortedSet(x.Excluded, OrgID.Compare):
		return malformed("exclusion must list records and organisations sorted and free of duplicates")
	}
	return nil
}

// Exclusion is an ExclusionStatement with its signature: whoever passed the records on passes it
// on unchanged.
//
// Growth: with WithdrawBody, of which it is a part; it has no version of its own.
type Exclusion struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte   // encoded ExclusionStatement
	Sig       Signature
}

// Hash returns SHA-256 of the statement.
func (x *Exclusion) Hash() Hash { return sha256.Sum256(x.Statement) }

// ExclusionAckStatement is the word of an organisation to which an exclusion was told that it has it,
// and to whom it told it in turn. It goes back the way that the exclusion came, to the originator.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type ExclusionAckStatement struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Exclusion Hash // of the statement
	Org       OrgID
	Signing   SigningKey // of the node of Org that told
	Told      []OrgID    // sorted: for whom this node sealed it so far
	More      uint32     // how many others, where Told is full
	At        uint64     // Unix milliseconds
}

// Validate checks ranges, order and bounds.
func (a *ExclusionAckStatement) Validate() error {
	switch {
	case a.Version != 1:
		return unknownVersion("acknowledgement", a.Version, 1)
	case len(a.Told) > MaxAckTold || a.More > 0 && len(a.Told) < MaxAckTold:
		return oversize("acknowledgement names %d organisations, at most %d are allowed, and others only where those are named", len(a.Told), MaxAckTold)
	case !isSortedSet(a.Told, OrgID.Compare):
		return malformed("acknowledgement must list organisations sorted and free of duplicates")
	}
	return nil
}

// ExclusionAck is an ExclusionAckStatement with its signature.
//
// Growth: with ExclusionAcks, of which it is a part; it has no version of its own.
type ExclusionAck struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte   // encoded ExclusionAckStatement
	Sig       Signature
}

// ExclusionAcks is what a letter of kind LetterExclusionAcks holds: its sender's own
// acknowledgements, and those that it got from whom it told.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type ExclusionAcks struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Acks    []ExclusionAck
}

// Validate checks bounds.
func (a *ExclusionAcks) Validate() error {
	if a.Version != 1 {
		return unknownVersion("acknowledgements", a.Version, 1)
	}
	if len(a.Acks) == 0 || len(a.Acks) > MaxExclusionAcks {
		return oversize("letter holds %d acknowledgements, 1 to %d are allowed", len(a.Acks), MaxExclusionAcks)
	}
	return nil
}

// WithdrawBody is the plaintext of an EntryWithdraw envelope, before padding.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type WithdrawBody struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8    // 1
	SealedAt uint64
	Reason   string
	Records  []RecordID // sorted; none if there are exclusions
	// Exclusions take records back from some organisations only.
	Exclusions []Exclusion
}

// Validate checks ranges, order and bounds.
func (w *WithdrawBody) Validate() error {
	if w.Version != 1 {
		return unknownVersion("withdrawal", w.Version, 1)
	}
	if len(w.Exclusions) > MaxExclusions {
		return oversize("withdrawal holds %d exclusions, at most %d are allowed", len(w.Exclusions), MaxExclusions)
	}
	if len(w.Records) == 0 && len(w.Exclusions) == 0 || len(w.Records) > MaxWithdrawals {
		return oversize("withdrawal names %d records, 1 to %d are allowed", len(w.Records), MaxWithdrawals)
	}
	if !isSortedSet(w.Records, func(a, b RecordID) int { return Hash(a).compare(Hash(b)) }) {
		return malformed("withdrawn records must be sorted and free of duplicates")
	}
	return checkText("reason", w.Reason, MaxTextSize)
}

func (h Hash) compare(o Hash) int {
	for i := range h {
		if h[i] != o[i] {
			return int(h[i]) - int(o[i])
		}
	}
	return 0
}

// Salt returns the salt of record index in a whole batch:
// SHA-256("entente/salt/v1" || 0x00 || seed || index as 4 bytes big-endian)[:16].
func Salt(seed [32]byte, index uint32) [16]byte {
	d := digest("entente/salt/v1", seed[:], binary.BigEndian.AppendUint32(nil, index))
	return [16]byte(d[:16])
}

// LeafHash returns the record id:
// SHA-256(0x00 || salt || length of handling as 4 bytes big-endian || handling || object).
func LeafHash(salt [16]byte, handling, object []byte) RecordID {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(salt[:])
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(handling))))
	h.Write(handling)
	h.Write(object)
	return RecordID(h.Sum(nil))
}

func nodeHash(left, right Hash) Hash {
	b := make([]byte, 0, 65)
	b = append(b, 1)
	b = append(b, left[:]...)
	b = append(b, right[:]...)
	return sha256.Sum256(b)
}

// MerkleRoot returns the root over leaves (RFC 6962, section 2.1, with the leaf hash above).
// It panics without leaves, which is a programmer's error.
func MerkleRoot(leaves []RecordID) Hash {
	switch len(leaves) {
	case 0:
		panic("protocol: Merkle root of nothing")
	case 1:
		return Hash(leaves[0])
	}
	k := split(len(leaves))
	return nodeHash(MerkleRoot(leaves[:k]), MerkleRoot(leaves[k:]))
}

// InclusionPath returns the path that proves leaf index (RFC 6962, section 2.1.1), from the
// leaf up.
func InclusionPath(leaves []RecordID, index int) []Hash {
	if len(leaves) <= 1 {
		return nil
	}
	k := split(len(leaves))
	if index < k {
		return append(InclusionPath(leaves[:k], index), MerkleRoot(leaves[k:]))
	}
	return append(InclusionPath(leaves[k:], index-k), MerkleRoot(leaves[:k]))
}

// VerifyInclusion reports whether path proves leaf at index of count leaves under root
// (RFC 9162, section 2.1.3.2).
func VerifyInclusion(root Hash, leaf RecordID, index, count uint32, path []Hash) bool {
	if index >= count {
		return false
	}
	fn, sn := index, count-1
	r := Hash(leaf)
	for _, p := range path {
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			r = nodeHash(p, r)
			for fn&1 == 0 && fn != 0 {
				fn >>= 1
				sn >>= 1
			}
		} else {
			r = nodeHash(r, p)
		}
		fn >>= 1
		sn >>= 1
	}
	return sn == 0 && r == root
}

// split returns the largest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }
