package protocol

import (
	"crypto/sha256"
	"encoding/binary"
)

// EntryKind says what an envelope's body is.
type EntryKind uint8

// The kinds of feed entry.
const (
	EntryRecords  EntryKind = 1 // age file with epoch stanzas, over a padded Body
	EntryGrant    EntryKind = 2 // encoded GrantBody
	EntryWithdraw EntryKind = 3 // age file with epoch stanzas, over a padded WithdrawBody
	EntryLetter   EntryKind = 4 // age file of one recipient, over a padded Letter
)

// String returns the name of the kind.
func (k EntryKind) String() string {
	switch k {
	case EntryRecords:
		return "records"
	case EntryGrant:
		return "grant"
	case EntryWithdraw:
		return "withdraw"
	case EntryLetter:
		return "letter"
	}
	return "unknown"
}

// Suite1 is the only suite in use: Ed25519, SHA-256, age with epoch stanzas
// (HKDF-SHA256, ChaCha20-Poly1305), grants by age1pq (ML-KEM-768 with X25519).
// 0x02 is reserved for a suite with hybrid post-quantum signatures.
const Suite1 = 1

// Origin says whose feed an envelope belongs to: it stands beside the header so that a
// FeedID can be checked without having been announced. It holds no organisation's name.
//
// Growth: none; it enters the FeedID. Another layout would be another kind of feed.
type Origin struct {
	_           struct{} `cbor:",toarray"`
	Signing     SigningKey
	Incarnation uint64
	Topic       TopicID
}

// FeedID returns SHA-256("entente/feed/v1" || 0x00 || network || signing key || incarnation
// as 8 bytes big-endian || topic).
func (o *Origin) FeedID(network NetworkID) FeedID {
	return FeedID(digest("entente/feed/v1", network[:], o.Signing[:], be64(o.Incarnation), o.Topic[:]))
}

// Header is the clear part of a feed entry, and what is signed. Nothing in it means
// anything to an outsider.
//
// Growth: a new layout is a new Version; the meaning of signed bytes never changes.
type Header struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8    // 1
	Suite    uint8    // Suite1
	Kind     EntryKind
	Feed     FeedID
	Seq      uint64 // from 1
	Previous Hash   // EntryHash of the entry before; zero for the first
	BodyHash Hash   // SHA-256 of the sealed body
	BodySize uint32
}

// Validate checks ranges and bounds.
func (h *Header) Validate() error {
	switch {
	case h.Version != 1:
		return unknownVersion("envelope", h.Version, 1)
	case h.Suite != Suite1:
		return unknownVersion("suite of the envelope", uint8(h.Suite), uint8(Suite1))
	case h.Kind < EntryRecords || h.Kind > EntryLetter:
		return malformed("envelope of unknown kind %d", h.Kind)
	case h.Seq == 0 || h.Seq > MaxSeq:
		return malformed("envelope has seq %d, out of range", h.Seq)
	case (h.Seq == 1) != h.Previous.IsZero():
		return malformed("only the first entry of a feed has no entry before it")
	case h.BodySize == 0 || h.BodySize > MaxBodySize:
		return oversize("envelope states a body of %d bytes, 1 to %d are allowed", h.BodySize, MaxBodySize)
	}
	return nil
}

// Envelope is a feed entry as it travels and is stored.
//
// Growth: with the Header's Version, which a reader looks at first.
type Envelope struct {
	_      struct{} `cbor:",toarray"`
	Origin Origin
	Header []byte // encoded Header
	Sig    Signature
	Body   []byte
}

// EntryHash is the hash that chains a feed: SHA-256("entente/entry/v1" || 0x00 || encoded
// header). The body is bound by the header, so the chain holds when a body is erased.
func EntryHash(header []byte) Hash { return Hash(digest("entente/entry/v1", header)) }

// HashBody returns the SHA-256 of a sealed body.
func HashBody(body []byte) Hash { return Hash(sha256.Sum256(body)) }

// DecodeEnvelope reads an envelope strictly and checks everything that needs no key and no
// state: bounds, canonical encoding, that the feed follows from the origin, that the body
// is the one that the header names. The signature is crypto.VerifyEnvelope's.
func DecodeEnvelope(network NetworkID, data []byte) (*Envelope, *Header, error) {
	e, h, err := decodeEnvelope(network, data)
	switch {
	case err != nil:
		return nil, nil, err
	case len(e.Body) != int(h.BodySize):
		return nil, nil, malformed("envelope has a body of %d bytes, its header states %d", len(e.Body), h.BodySize)
	case HashBody(e.Body) != h.BodyHash:
		return nil, nil, malformed("envelope's body is not the one its header names")
	}
	return e, h, nil
}

// DecodeSkeleton reads an envelope whose body was left out: what stays of an entry when its
// body was erased, or is not held. An envelope with a body is of class ErrMalformed.
func DecodeSkeleton(network NetworkID, data []byte) (*Envelope, *Header, error) {
	e, h, err := decodeEnvelope(network, data)
	if err == nil && len(e.Body) > 0 {
		err = malformed("skeleton of an envelope has a body")
	}
	if err != nil {
		return nil, nil, err
	}
	return e, h, nil
}

// DecodeEntry reads an envelope with its body or without.
func DecodeEntry(network NetworkID, data []byte) (*Envelope, *Header, error) {
	e, h, err := decodeEnvelope(network, data)
	if err != nil || len(e.Body) == 0 {
		return e, h, err
	}
	return DecodeEnvelope(network, data)
}

func decodeEnvelope(network NetworkID, data []byte) (*Envelope, *Header, error) {
	var e Envelope
	if err := Decode(data, MaxEnvelopeSize, &e); err != nil {
		return nil, nil, err
	}
	var h Header
	if err := Decode(e.Header, MaxHeaderSize, &h); err != nil {
		return nil, nil, err
	}
	if e.Origin.FeedID(network) != h.Feed {
		return nil, nil, Errorf(ErrWrongContext, "envelope's feed does not follow from its origin in this network")
	}
	return &e, &h, nil
}

// Strip returns an encoded envelope, whose body has size bytes, without its body: the
// skeleton of the entry. It does not decode; raw must be the one encoding of an envelope.
func Strip(raw []byte, size int) []byte {
	n := len(raw) - size - bytesHead(size)
	return append(append(make([]byte, 0, n+1), raw[:n]...), 0x40)
}

// Join is the reverse of Strip.
func Join(skeleton, body []byte) []byte {
	out := make([]byte, 0, len(skeleton)+len(body)+4)
	out = append(out, skeleton[:len(skeleton)-1]...)
	return append(out, Encode(body)...)
}

// JoinedSize returns the size of what Join makes.
func JoinedSize(skeleton, body int) int { return skeleton - 1 + bytesHead(body) + body }

// bytesHead returns how many bytes CBOR puts before a byte string of n bytes.
func bytesHead(n int) int {
	switch {
	case n < 24:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	}
	return 5
}

// GossipID is the message id on the wire: the first 20 bytes of the SHA-256 of the length of
// the topic's wire name (4 bytes big-endian), that name, and all bytes of the message. An id
// over less would let one bad message suppress the good one, because pubsub marks an id as
// seen before it validates: with forged bytes, or with the genuine ones in another topic.
func GossipID(topic string, data []byte) string {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(topic))))
	h.Write([]byte(topic))
	h.Write(data)
	return string(h.Sum(nil)[:20])
}

// SealContext is what a sealed body is bound to, by way of its keys: network || feed ||
// seq as 8 bytes || kind || version || suite. A body does not open anywhere else.
func (h *Header) SealContext(network NetworkID) []byte {
	b := make([]byte, 0, 75)
	b = append(b, network[:]...)
	b = append(b, h.Feed[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	return append(b, byte(h.Kind), h.Version, h.Suite)
}

// Head is a node's signed statement of where its feed stands, also when nothing happens.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Head struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Origin  Origin
	Seq     uint64
	Hash    Hash
	Counter uint64 // of the statement itself; the higher one counts
	At      uint64 // Unix milliseconds by the signer's clock; informative
	Every   uint32 // seconds in which the signer means to state its next head; 0: it does not say
	Closed  bool   // the signer appends nothing more to this feed
}

// Validate checks ranges.
func (h *Head) Validate() error {
	switch {
	case h.Version != 1:
		return unknownVersion("head", h.Version, 1)
	case h.Seq > MaxSeq:
		return malformed("seq of the head out of range")
	case (h.Seq == 0) != h.Hash.IsZero():
		return malformed("only the head of an empty feed has no hash")
	case h.Every > MaxHeadInterval:
		return malformed("head announces the next one in %d seconds, at most %d", h.Every, MaxHeadInterval)
	}
	return nil
}

// Newer reports whether h says more than o of the same feed: the last word of a closed feed
// counts above all others, then the counter.
func (h *Head) Newer(o *Head) bool {
	if h.Closed != o.Closed {
		return h.Closed
	}
	return h.Counter > o.Counter
}
