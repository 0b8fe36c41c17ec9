package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Carrying by hand (SPEC "Carrying by hand"): what a comparison would send, as a file, for
// networks with no connection. The file is an age file for the nodes of one organisation;
// its plaintext is a sequence of frames:
//
//	+------+--------+-------+   type    1 byte: a CarryFrame
//	| type | length | bytes |   length  4 bytes, big-endian
//	+------+--------+-------+   bytes   as many
//
//	header    a Signed CarryHeader, first
//	messages  encoded SyncMessages, as many as there are; which, and in what order, follows
//	          from the kind of the file
//	trailer   a CarryTrailer, last: without it the file is not whole
//
// The header's signature says who packed, for the eyes of whoever takes the file. Nothing
// else rests on it: every card, statement and envelope is signed by itself.

// ContextCarry is the signing context of CarryHeader, signed by a node's signing key.
const ContextCarry Context = "entente/carry/v1"

// CarryKind says what a carried file is.
type CarryKind uint8

// The kinds.
const (
	// CarryPack holds SyncFrontier messages (where the feeds stood when they were packed),
	// then SyncItems, then, for nodes of the organisation that packed, SyncSiblingItems, then
	// SyncEntries.
	CarryPack CarryKind = 1
	// CarryRequest holds what its sender has, so that a pack need hold only the rest:
	// SyncList messages, then SyncFrontier.
	CarryRequest CarryKind = 2
)

// String returns "pack" or "request".
func (k CarryKind) String() string {
	switch k {
	case CarryPack:
		return "pack"
	case CarryRequest:
		return "request"
	}
	return "unknown"
}

// place orders the messages of a file; zero: it has no place in one of this kind.
func (k CarryKind) place(m SyncKind) int {
	switch {
	case k == CarryPack && m == SyncFrontier, k == CarryRequest && m == SyncList:
		return 1
	case k == CarryPack && m == SyncItems, k == CarryRequest && m == SyncFrontier:
		return 2
	case k == CarryPack && m == SyncSiblingItems:
		return 3
	case k == CarryPack && m == SyncEntries:
		return 4
	}
	return 0
}

// CarryHeader says whose file it is and for whom.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type CarryHeader struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Kind    CarryKind
	Network NetworkID
	From    OrgID // organisation of the node that signed
	To      OrgID // organisation to whose nodes the file is sealed
	Made    uint64
	Answers uint64    // pack: Made of the request that it answers; 0: it leaves nothing out
	Topics  []TopicID // sorted; empty: all that the sender's node is in
}

// Validate checks ranges and bounds.
func (h *CarryHeader) Validate() error {
	switch {
	case h.Version != 1:
		return unknownVersion("carried file", h.Version, 1)
	case h.Kind != CarryPack && h.Kind != CarryRequest:
		return malformed("carried file of unknown kind %d; upgrade this node to read it", h.Kind)
	case h.Kind == CarryRequest && h.Answers != 0:
		return malformed("a request answers nothing")
	case len(h.Topics) > MaxCarryTopics:
		return oversize("carried file names %d topics, at most %d", len(h.Topics), MaxCarryTopics)
	case !isSortedSet(h.Topics, func(a, b TopicID) int { return bytes.Compare(a[:], b[:]) }):
		return malformed("topics of a carried file must be sorted and free of duplicates")
	}
	return nil
}

// CarryTrailer ends a carried file.
//
// Growth: with CarryHeader, whose Version says which trailer follows.
type CarryTrailer struct {
	_         struct{} `cbor:",toarray"`
	Messages  uint64
	Envelopes uint64
	Sum       Hash // SHA-256 over all frames before the trailer, types and lengths included
}

// CarryFrame is the type of a frame.
type CarryFrame uint8

// The types.
const (
	CarryFrameHeader  CarryFrame = 1
	CarryFrameMessage CarryFrame = 2
	CarryFrameTrailer CarryFrame = 3
)

// CarryFrameHead is the length of a frame's type and length.
const CarryFrameHead = 5

// Limit bounds the bytes of a frame of type t; zero: the type is not known.
func (t CarryFrame) Limit() int {
	switch t {
	case CarryFrameHeader:
		return MaxCarryHeaderSize
	case CarryFrameMessage:
		return MaxFrameSize
	case CarryFrameTrailer:
		return MaxCarryTrailerSize
	}
	return 0
}

// ParseCarryHead reads the CarryFrameHead bytes that begin a frame. The errors are of class
// ErrMalformed or ErrOversize.
func ParseCarryHead(head [CarryFrameHead]byte) (t CarryFrame, size int, err error) {
	t = CarryFrame(head[0])
	limit := t.Limit()
	if limit == 0 {
		return t, 0, malformed("carried file holds a frame of unknown type %d; upgrade this node to read it", head[0])
	}
	if n := binary.BigEndian.Uint32(head[1:]); uint64(n) <= uint64(limit) {
		return t, int(n), nil
	}
	return t, 0, oversize("carried file holds a frame of %d bytes, at most %d are read", binary.BigEndian.Uint32(head[1:]), limit)
}

// CarryEncoder makes the frames of one file: Header once, Message for each message, Trailer
// last. The zero value is ready.
type CarryEncoder struct {
	sum     hash.Hash
	trailer CarryTrailer
}

// Header returns the frame of a signed CarryHeader.
func (e *CarryEncoder) Header(signed *Signed) []byte {
	e.sum = sha256.New()
	return e.frame(CarryFrameHeader, Encode(signed))
}

// Message returns the frame of a message.
func (e *CarryEncoder) Message(m *SyncMessage) []byte {
	e.trailer.Messages++
	e.trailer.Envelopes += uint64(len(m.Envelopes))
	return e.frame(CarryFrameMessage, Encode(m))
}

// Trailer returns the frame that ends the file.
func (e *CarryEncoder) Trailer() []byte {
	e.trailer.Sum = Hash(e.sum.Sum(nil))
	return e.frame(CarryFrameTrailer, Encode(&e.trailer))
}

func (e *CarryEncoder) frame(t CarryFrame, b []byte) []byte {
	f := make([]byte, 0, CarryFrameHead+len(b))
	f = binary.BigEndian.AppendUint32(append(f, byte(t)), uint32(len(b)))
	f = append(f, b...)
	e.sum.Write(f)
	return f
}

// CarryDecoder takes the frames of one file in order, and refuses what has no place there.
// The zero value is ready. After an error the rest of the file is not to be read.
type CarryDecoder struct {
	sum     hash.Hash
	kind    CarryKind
	place   int
	trailer CarryTrailer
	whole   bool
}

// Whole reports whether the trailer came and agrees with all that came before it.
func (d *CarryDecoder) Whole() bool { return d.whole }

// Header takes the first frame. The header is returned as it was signed; the signature is
// crypto.VerifyCarry's to check.
func (d *CarryDecoder) Header(t CarryFrame, b []byte) (*Signed, *CarryHeader, error) {
	if d.sum != nil || t != CarryFrameHeader {
		return nil, nil, malformed("carried file does not begin with its header")
	}
	d.sum = sha256.New()
	d.hash(t, b)
	var signed Signed
	if err := Decode(b, MaxCarryHeaderSize, &signed); err != nil {
		return nil, nil, err
	}
	var h CarryHeader
	if err := Decode(signed.Statement, MaxCarryHeaderSize, &h); err != nil {
		return nil, nil, err
	}
	d.kind = h.Kind
	return &signed, &h, nil
}

// Next takes a frame after the header. It returns nil and no error for the trailer.
func (d *CarryDecoder) Next(t CarryFrame, b []byte) (*SyncMessage, error) {
	switch {
	case d.kind == 0:
		return nil, malformed("carried file does not begin with its header")
	case d.whole:
		return nil, malformed("carried file goes on after its end")
	case t == CarryFrameTrailer:
		return nil, d.end(b)
	case t != CarryFrameMessage:
		return nil, malformed("carried file holds a second header")
	}
	d.hash(t, b)
	var m SyncMessage
	if err := Decode(b, MaxFrameSize, &m); err != nil {
		return nil, err
	}
	place := d.kind.place(m.Kind)
	switch {
	case place == 0:
		return nil, malformed("a %s holds no messages of kind %d", d.kind, m.Kind)
	case place < d.place:
		return nil, malformed("message of kind %d comes too late in a %s", m.Kind, d.kind)
	}
	d.place = place
	d.trailer.Messages++
	d.trailer.Envelopes += uint64(len(m.Envelopes))
	return &m, onlyOwnFields(&m)
}

// onlyOwnFields refuses a message with fields that its kind does not use: they would be
// carried unseen.
func onlyOwnFields(m *SyncMessage) error {
	rest := *m
	rest.Version, rest.Kind, rest.More = 0, 0, false
	switch m.Kind {
	case SyncFrontier:
		rest.Frontier = nil
	case SyncList:
		rest.Hashes = nil
	case SyncEntries, SyncSiblingItems:
		rest.Envelopes = nil
	case SyncItems:
		// What else a set may hold in time to come is for the taker to judge.
		rest = SyncMessage{Sets: m.Sets, Feeds: m.Feeds, Frontier: m.Frontier, Pull: m.Pull, Envelopes: m.Envelopes, Hashes: m.Hashes, Error: m.Error}
	}
	if !bytes.Equal(Encode(&rest), Encode(&SyncMessage{})) {
		return malformed("message of kind %d holds more than such a message does", m.Kind)
	}
	return nil
}

func (d *CarryDecoder) end(b []byte) error {
	var t CarryTrailer
	if err := Decode(b, MaxCarryTrailerSize, &t); err != nil {
		return err
	}
	d.trailer.Sum = Hash(d.sum.Sum(nil))
	if t != d.trailer {
		return malformed("carried file is not what its end says: %d messages and %d envelopes came, %d and %d were packed, or their sum differs",
			d.trailer.Messages, d.trailer.Envelopes, t.Messages, t.Envelopes)
	}
	d.whole = true
	return nil
}

func (d *CarryDecoder) hash(t CarryFrame, b []byte) {
	d.sum.Write(binary.BigEndian.AppendUint32([]byte{byte(t)}, uint32(len(b))))
	d.sum.Write(b)
}
