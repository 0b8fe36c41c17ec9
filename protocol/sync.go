package protocol

// Messages of the sync stream (SPEC "Sync"). A stream carries length-prefixed frames, each
// one SyncMessage; requests and answers alternate.

// SyncKind is the kind of a sync message.
type SyncKind uint8

// The kinds.
const (
	SyncDigest   SyncKind = 1 // request: Digests; answer: SyncDigest with own
	SyncFrontier SyncKind = 2 // request: Frontier or none; answer: SyncFrontier with own
	SyncPull     SyncKind = 3 // request: Pull; answer: SyncEntries
	SyncEntries  SyncKind = 4
	SyncList     SyncKind = 5 // request: none; answer: SyncList with the hashes of cards and roster statements
	SyncFetch    SyncKind = 6 // request: Hashes; answer: SyncItems
	SyncItems    SyncKind = 7
	SyncError    SyncKind = 8  // answer: Error
	SyncHeads    SyncKind = 9  // request: Notice with own heads; answer: SyncHeads with those that say more
	SyncKeys     SyncKind = 10 // request to a publisher's node: Hashes with one feed; answer: SyncWithheld
	SyncWithheld SyncKind = 11 // answer: Withheld
	SyncReceipts SyncKind = 12 // request: Pull, feeds from an entry on; answer: SyncReceipts with Receipts
	// Between nodes of one organisation only:
	SyncSiblings     SyncKind = 13 // request: Hashes with the digests of 256 parts, and perhaps one to go on from; answer: SyncSiblings with the hashes of items in those that differ
	SyncSiblingFetch SyncKind = 14 // request: Hashes; answer: SyncSiblingItems
	SyncSiblingItems SyncKind = 15 // answer: Envelopes
	// Between partners:
	SyncCosign SyncKind = 16 // request: Envelopes with one encoded CosignRequest; answer: SyncCosign with one encoded CosignAnswer
	// Between those on the roster of a direct topic:
	SyncDirect SyncKind = 17 // request: Directs, Heads, Forks, Erases of direct topics; answer: SyncDirect without anything
	// To a publisher's node, of a reader that does not hold any more what its grants were sealed to:
	SyncKeysAgain SyncKind = 20 // request: Hashes with one feed, Pull with the numbers of the epochs of it whose keys it has; answer: SyncWithheld
)

// SyncFirst is the last kind that release 0.1 knew: of later ones nothing is asked on a stream of
// version 1.
const SyncFirst = SyncDirect

// SyncMessage is one frame. Which fields count follows from Kind; the others are empty.
//
// Growth: a new exchange is a new SyncKind or a new protocol id of the stream; fields are
// never removed, reordered or given another meaning.
type SyncMessage struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Kind      SyncKind
	Sets      Hash            // SyncDigest: over cards and roster statements
	Feeds     Hash            // SyncDigest: over the frontier
	Frontier  []FrontierEntry // SyncFrontier: sorted by feed
	Pull      []PullRange     // SyncPull
	Envelopes [][]byte        // SyncEntries: encoded envelopes, in order of feed and seq; SyncSiblingItems: encoded SiblingItems
	More      bool            // SyncEntries: the answer was cut by a budget; ask again
	Hashes    []Hash          // SyncList, SyncFetch
	Cards     []SignedCard    // SyncItems
	Roster    []RosterStatement
	Forks     []ForkProof   // SyncItems
	Erases    []SignedErase // SyncItems
	Heads     []Signed      // SyncHeads
	Withheld  []Withheld    // SyncWithheld
	Receipts  []Signed      // SyncReceipts, over Receipt
	Error     string
	Directs   []Signed // SyncItems, SyncDirect, over DirectTopic
}

// Withheld says why a publisher does not hand out keys that an organisation lacks.
//
// Growth: with SyncMessage, of which it is a part; it has no version of its own. A reason
// that is not known is shown as text.
type Withheld struct {
	_         struct{} `cbor:",toarray"`
	Envelopes uint64   // sealed under such keys
	Reason    string   // one of the Withheld reasons, or another token
}

// Reasons for which a publisher withholds a key.
const (
	WithheldStaleCard   = "stale-card"   // the reader's card is not fresh
	WithheldNoAgreement = "no-agreement" // no agreement with the reader is in force any more
	WithheldSoon        = "soon"         // it was granted, or is being granted now: it comes with the feed
	WithheldClosed      = "closed-feed"  // its feed was closed, and nothing is appended to it, grants neither
	WithheldNodes       = "many-nodes"   // it went to too many nodes that this organisation listed one after the other
)

// FrontierEntry is the applied head of one feed.
//
// Growth: with SyncMessage, of which it is a part; it has no version of its own.
type FrontierEntry struct {
	_      struct{} `cbor:",toarray"`
	Origin Origin
	Seq    uint64
	Hash   Hash
}

// PullRange asks for the entries of a feed from From on, at most Count of them.
//
// Growth: with SyncMessage, of which it is a part; it has no version of its own.
type PullRange struct {
	_     struct{} `cbor:",toarray"`
	Feed  FeedID
	From  uint64
	Count uint32
}

// Validate checks ranges and bounds.
func (m *SyncMessage) Validate() error {
	switch {
	case m.Version != 1:
		return unknownVersion("sync message", m.Version, 1)
	case m.Kind > SyncKeysAgain || m.Kind > SyncDirect && m.Kind < SyncKeysAgain:
		return Errorf(ErrLaterVersion, "sync message of unknown kind %d: bring this node up to date", m.Kind)
	case m.Kind < SyncDigest:
		return malformed("sync message of unknown kind %d", m.Kind)
	case len(m.Frontier) > MaxFrontier || len(m.Pull) > MaxFrontier ||
		len(m.Envelopes) > MaxPullEntries || len(m.Hashes) > MaxSetItems ||
		len(m.Cards) > MaxSetItems || len(m.Roster) > MaxSetItems ||
		len(m.Forks) > MaxSetItems || len(m.Erases) > MaxSetItems || len(m.Heads) > MaxSetItems ||
		len(m.Withheld) > MaxSetItems || len(m.Receipts) > MaxSetItems || len(m.Directs) > MaxSetItems:
		return oversize("sync message holds too many entries")
	}
	for _, f := range m.Frontier {
		if f.Seq > MaxSeq {
			return malformed("frontier seq out of range")
		}
	}
	for _, p := range m.Pull {
		if p.From == 0 || p.From > MaxSeq || p.Count == 0 || p.Count > MaxPullEntries {
			return malformed("pull range out of bounds")
		}
	}
	for _, w := range m.Withheld {
		if err := checkToken("reason", w.Reason); err != nil {
			return err
		}
	}
	return checkText("error", m.Error, MaxTextSize)
}
