package protocol

// GrantBody is the body of an EntryGrant envelope: keys of one epoch, each sealed to one
// node. The number of slots is a power of two, filled up with dummies that look alike.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type GrantBody struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Slots   []GrantSlot
}

// GrantSlot is one grant. Only the node that it is for recognises the hint.
//
// Growth: with GrantBody, of which it is a part; it has no version of its own.
type GrantSlot struct {
	_      struct{} `cbor:",toarray"`
	Hint   [16]byte
	Sealed []byte // age file with exactly one post-quantum recipient, over a GrantPlain
}

// Validate checks ranges and bounds.
func (g *GrantBody) Validate() error {
	if g.Version != 1 {
		return unknownVersion("grant", g.Version, 1)
	}
	n := len(g.Slots)
	if n == 0 || n > MaxGrantsPerEntry || n&(n-1) != 0 {
		return malformed("grant entry has %d slots; a power of two up to %d is allowed", n, MaxGrantsPerEntry)
	}
	for _, s := range g.Slots {
		if len(s.Sealed) == 0 || len(s.Sealed) > MaxGrantSize {
			return oversize("grant has %d bytes, 1 to %d are allowed", len(s.Sealed), MaxGrantSize)
		}
	}
	return nil
}

// GrantPlain is what a grant says. age has no associated data, so everything that the key
// is bound to stands inside, and a reader refuses a grant of which anything differs.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type GrantPlain struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Publisher OrgID
	Feed      FeedID
	Seq       uint64 // of the grant entry
	Epoch     uint64 // number of the epoch in the feed
	Recipient NodeID
	Key       [32]byte
	First     uint64 // first entry sealed under the key, where that was before this grant; else 0
}

// LetterKind says what a letter carries.
type LetterKind uint8

// The kinds of letter.
const (
	LetterProposal       LetterKind = 1  // SignedAgreement with the proposer's signature
	LetterCountersign    LetterKind = 2  // SignedAgreement with more signatures
	LetterRejection      LetterKind = 3  // OrgSigned over a Rejection
	LetterTermination    LetterKind = 4  // OrgSigned over a Termination
	LetterSuspension     LetterKind = 5  // OrgSigned over a Suspension
	LetterRefusal        LetterKind = 6  // Refusal
	LetterErasureRequest LetterKind = 7  // OrgSigned over an ErasureRequest
	LetterErasureAnswer  LetterKind = 8  // OrgSigned over an ErasureAnswer
	LetterExclusionAcks  LetterKind = 9  // ExclusionAcks
	LetterRequest        LetterKind = 12 // InfoRequest
	LetterReply          LetterKind = 13 // InfoReply
	LetterMandate        LetterKind = 10 // OrgSigned over a Mandate
	LetterMandateEnd     LetterKind = 11 // OrgSigned over a MandateRevocation
)

// Refusal tells a publisher that something it published was set aside, and why. It needs no
// signature of its own: a letter is an entry of its sender's feed.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Refusal struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Feed    FeedID   // of the publisher
	Seq     uint64
	Record  RecordID // zero: the whole entry
	Reason  string   // a code, as decisions and errors have them
	Text    string
	At      uint64 // Unix milliseconds: when it was set aside
}

// Validate checks bounds.
func (r *Refusal) Validate() error {
	if r.Version != 1 {
		return unknownVersion("refusal", r.Version, 1)
	}
	if err := checkText("reason", r.Reason, MaxNameSize); err != nil {
		return err
	}
	return checkText("text", r.Text, MaxTextSize)
}

// Letter is what travels from one organisation to another and concerns nobody else:
// proposals, countersignatures, rejections, terminations, suspensions, requests to erase. It is an entry of the sender's
// feed in the control topic, sealed to one node; nobody else learns to whom it goes.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning. A new
// kind of content is a new LetterKind, set aside by nodes that do not know it.
type Letter struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Sender    OrgID
	Feed      FeedID
	Seq       uint64
	Recipient NodeID
	Kind      LetterKind
	Content   []byte
}

// Validate checks ranges and bounds.
func (l *Letter) Validate() error {
	if l.Version != 1 {
		return unknownVersion("letter", l.Version, 1)
	}
	if l.Kind < LetterProposal || l.Kind > LetterReply {
		return malformed("kind of the letter out of range")
	}
	if len(l.Content) > MaxLetterSize {
		return oversize("letter has %d bytes, at most %d", len(l.Content), MaxLetterSize)
	}
	return nil
}

// ControlTopic is the name of the topic that every member is in and letters travel in. It
// cannot be written in a topic's name, so no topic of a person's can collide with it.
const ControlTopic = "!control"
