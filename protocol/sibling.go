package protocol

import (
	"bytes"
	"fmt"
)

// What nodes of one organisation say to one another (SPEC "Siblings"). It goes over a sync
// stream between two nodes that stand on the same card, or in a carried file for that
// organisation, and nowhere else: it holds keys, and who is trusted.

// ContextNodeRequest is the signing context of NodeRequest, signed by the node's signing key.
const ContextNodeRequest Context = "entente/node-request/v1"

// NodeRequest is how a new node asks to be put on its organisation's card. It travels as a
// Signed with one signature by the entry's signing key; the binding in the entry proves that
// the other key takes part.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type NodeRequest struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Org     OrgID
	Entry   NodeEntry // as it is to stand on the card; not_before and not_after are the card's to say
}

// Validate checks ranges and bounds.
func (r *NodeRequest) Validate() error {
	if r.Version != 1 {
		return unknownVersion("node request", r.Version, 1)
	}
	if r.Entry.Node == NodeID(r.Entry.Signing) {
		return malformed("node request uses one key twice")
	}
	return r.Entry.validate()
}

// NodeRequestName is what the words of a request are made of, to be compared by phone:
// SHA-256("entente/node-request-name/v1" || 0x00 || statement).
func NodeRequestName(statement []byte) Hash {
	return Hash(digest("entente/node-request-name/v1", statement))
}

// SiblingSecret keys the hints of grants to nodes of the publisher's own organisation:
// SHA-256("entente/siblings/v1" || 0x00 || org). It is no secret; that an organisation's own
// nodes get its keys is known to everybody who knows its card.
func SiblingSecret(org OrgID) [32]byte { return digest("entente/siblings/v1", org[:]) }

// SiblingKind is the kind of a sibling item.
type SiblingKind uint8

// The kinds. Items form a set; two of one kind and name are joined by the rule of their type.
const (
	SiblingAgreementItem   SiblingKind = 1
	SiblingPinItem         SiblingKind = 2
	SiblingTopicItem       SiblingKind = 3
	SiblingSecretItem      SiblingKind = 4
	SiblingKeyItem         SiblingKind = 5
	SiblingErasureItem     SiblingKind = 6
	SiblingPublicationItem SiblingKind = 7
	SiblingAddrsItem       SiblingKind = 8

	SiblingMandateItem SiblingKind = 10
	SiblingOriginItem  SiblingKind = 11
	SiblingRequestItem SiblingKind = 12
	SiblingPersonItem  SiblingKind = 13
	SiblingSecondItem  SiblingKind = 14
	SiblingHoldItem    SiblingKind = 20
	SiblingRecipients  SiblingKind = 15
	SiblingErasureAsks SiblingKind = 21
	SiblingRulesItem   SiblingKind = 9
)

// SiblingItem is one thing that nodes of an organisation hold in common.
//
// Growth: a new kind of item is a new SiblingKind, left out by nodes that do not know it.
type SiblingItem struct {
	_       struct{} `cbor:",toarray"`
	Kind    SiblingKind
	Content []byte // encoded structure of the kind
}

// Format keeps every verb from showing the content, which may be a key.
func (i SiblingItem) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "sibling item of kind %d", i.Kind) }

// Hash names the item in the set: SHA-256("entente/sibling/v1" || 0x00 || kind || content).
func (i *SiblingItem) Hash() Hash {
	return Hash(digest("entente/sibling/v1", []byte{byte(i.Kind)}, i.Content))
}

// Validate checks bounds.
func (i *SiblingItem) Validate() error {
	if len(i.Content) == 0 || len(i.Content) > MaxSiblingItem {
		return oversize("sibling item has %d bytes, 1 to %d are read", len(i.Content), MaxSiblingItem)
	}
	return nil
}

// Open decodes the content: a pointer to the structure of the kind, nil for a kind that is not
// known.
func (i *SiblingItem) Open() (any, error) {
	var v any
	switch i.Kind {
	case SiblingAgreementItem:
		v = new(SiblingAgreement)
	case SiblingPinItem:
		v = new(SiblingPin)
	case SiblingTopicItem:
		v = new(SiblingTopic)
	case SiblingSecretItem:
		v = new(SiblingTopicSecret)
	case SiblingKeyItem:
		v = new(SiblingKey)
	case SiblingErasureItem:
		v = new(SiblingErasure)
	case SiblingPublicationItem:
		v = new(SiblingPublication)
	case SiblingAddrsItem:
		v = new(SiblingAddrs)
	case SiblingMandateItem:
		v = new(SiblingMandate)
	case SiblingOriginItem:
		v = new(SiblingOrigin)
	case SiblingRequestItem:
		v = new(SiblingRequest)
	case SiblingHoldItem:
		v = new(SiblingHold)
	case SiblingErasureAsks:
		v = new(SiblingErasureAsk)
	case SiblingRulesItem:
		v = new(SiblingRules)
	case SiblingRecipients:
		v = new(SiblingRecipient)
	case SiblingPersonItem:
		v = new(SiblingPerson)
	case SiblingSecondItem:
		v = new(SiblingSecond)
	default:
		return nil, nil
	}
	return v, Decode(i.Content, MaxSiblingItem, v)
}

// SiblingAgreement is an agreement with its whole life. Two of one agreement join by union.
//
// Growth: with SiblingItem; another layout is another SiblingKind. So for the types below.
type SiblingAgreement struct {
	_            struct{} `cbor:",toarray"`
	Proposer     OrgID
	Signed       []byte   // encoded SignedAgreement
	Rejections   [][]byte // encoded OrgSigned, sorted
	Terminations [][]byte // encoded OrgSigned, sorted
	Suspensions  [][]byte // encoded OrgSigned, sorted
	Complete     uint64   // when all had signed, as first seen, Unix milliseconds; 0: not yet
}

// Validate checks bounds.
func (a *SiblingAgreement) Validate() error {
	if len(a.Rejections) > MaxParties || len(a.Terminations) > 2*MaxParties || len(a.Suspensions) > MaxParties {
		return oversize("agreement of a sibling lists more than %d endings", MaxParties)
	}
	if !isSortedSet(a.Rejections, bytes.Compare) || !isSortedSet(a.Terminations, bytes.Compare) || !isSortedSet(a.Suspensions, bytes.Compare) {
		return malformed("endings of an agreement must be sorted and free of duplicates")
	}
	return nil
}

// SiblingPin says that an organisation was trusted, or that this was taken back. The later
// one counts; of two of one time the one that takes it back.
type SiblingPin struct {
	_       struct{} `cbor:",toarray"`
	Org     OrgID
	At      uint64 // Unix milliseconds
	Trusted bool
}

// SiblingTopic says that the organisation's nodes are in a topic, or left it. The later one
// counts; of two of one time the one that is in.
type SiblingTopic struct {
	_    struct{} `cbor:",toarray"`
	Name string
	At   uint64 // Unix milliseconds
	In   bool
}

// Validate checks bounds.
func (t *SiblingTopic) Validate() error { return checkToken("topic", t.Name) }

// SiblingTopicSecret is the topic secret of one period.
type SiblingTopicSecret struct {
	_      struct{} `cbor:",toarray"`
	Period uint32
	Secret [32]byte
}

// Format keeps every verb from showing the secret.
func (s SiblingTopicSecret) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "topic secret of period %d (secret)", s.Period)
}

// SiblingKey is an epoch key of a feed, received or own. Of two of one feed and number that
// differ in the key, each node keeps its own.
type SiblingKey struct {
	_        struct{} `cbor:",toarray"`
	Feed     FeedID
	Number   uint64
	Key      [32]byte
	Audience []OrgID // sorted; only of feeds of the organisation itself
}

// Validate checks bounds.
func (k *SiblingKey) Validate() error {
	if len(k.Audience) > MaxSiblingAudience {
		return oversize("key of a sibling names %d organisations, at most %d", len(k.Audience), MaxSiblingAudience)
	}
	if !isSortedSet(k.Audience, OrgID.Compare) {
		return malformed("audience of a key must be sorted and free of duplicates")
	}
	return nil
}

// Format keeps every verb from showing the key.
func (k SiblingKey) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "epoch %d of feed %s (secret)", k.Number, k.Feed.Short())
}

// SiblingErasure says that the organisation erased records for itself. The node that
// published one of them erases it for everybody.
type SiblingErasure struct {
	_       struct{}   `cbor:",toarray"`
	Records []RecordID // sorted
	Reason  EraseReason
	At      uint64 // Unix milliseconds
}

// Validate checks bounds.
func (e *SiblingErasure) Validate() error {
	switch {
	case e.Reason < EraseExpired || e.Reason > EraseError:
		return malformed("erasure of a sibling has unknown reason %d", e.Reason)
	case len(e.Records) == 0 || len(e.Records) > MaxErasedRecords:
		return oversize("erasure of a sibling names %d records, 1 to %d are allowed", len(e.Records), MaxErasedRecords)
	case !isSortedSet(e.Records, func(a, b RecordID) int { return bytes.Compare(a[:], b[:]) }):
		return malformed("records of an erasure must be sorted and free of duplicates")
	}
	return nil
}

// SiblingPublication says for whom an entry of the organisation was sealed. Of two, the older
// one counts.
type SiblingPublication struct {
	_             struct{} `cbor:",toarray"`
	Feed          FeedID
	Seq           uint64
	Orgs          []OrgID // sorted
	Topic         string
	At            uint64 // Unix milliseconds
	RetentionDays uint32
}

// Validate checks bounds.
func (p *SiblingPublication) Validate() error {
	if p.Seq == 0 || p.Seq > MaxSeq {
		return malformed("publication of a sibling has seq out of range")
	}
	if len(p.Orgs) > MaxSiblingAudience {
		return oversize("publication of a sibling names %d organisations, at most %d are allowed", len(p.Orgs), MaxSiblingAudience)
	}
	if !isSortedSet(p.Orgs, OrgID.Compare) {
		return malformed("readers of a publication must be sorted and free of duplicates")
	}
	return checkToken("topic", p.Topic)
}

// SiblingAddrs says where a node of the organisation listens, for the card; the later one
// counts.
type SiblingAddrs struct {
	_     struct{} `cbor:",toarray"`
	Node  NodeID
	At    uint64 // Unix milliseconds
	Addrs []string
}

// Validate checks bounds.
func (a *SiblingAddrs) Validate() error { return checkAddrs(a.Addrs) }

// Recipient is the age recipient that a node wants to stand on its organisation's card. The node's signing
// key signs it, in the context of the same name, so that no sibling has grants of another sealed to itself.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse.
type Recipient struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Org       OrgID
	Node      NodeID
	At        uint64 // Unix milliseconds
	Recipient string
	Suspected bool // somebody else may have the identity of the one before
}

// Validate checks ranges and bounds.
func (r *Recipient) Validate() error {
	if r.Version != 1 {
		return malformed("recipient of version %d is not known; upgrade this node to read it", r.Version)
	}
	return checkRecipient(r.Recipient)
}

// SiblingRecipient tells the sibling with the operational key which recipient is to stand on the card. Of
// two of one node the later counts, of one time the one with the lower encoding.
type SiblingRecipient struct {
	_         struct{} `cbor:",toarray"`
	Node      NodeID
	Statement []byte // encoded Recipient, of this node
	Sig       Signature
}

// Validate checks bounds.
func (r *SiblingRecipient) Validate() error {
	if len(r.Statement) > MaxRecipientSize+1<<10 {
		return oversize("statement of an age recipient has %d bytes, at most %d", len(r.Statement), MaxRecipientSize+1<<10)
	}
	return nil
}

// SiblingHold is a legal hold of the organisation. Two of one id join to the one that ended, of two
// that ended to the one that ended earlier, of one time to the one with the lower encoding.
type SiblingHold struct {
	_         struct{} `cbor:",toarray"`
	ID        [32]byte // random
	Record    RecordID // what is held: a record,
	Value     string   // or what mentions a value,
	From      OrgID    // or what an organisation made or sent; the others are zero
	Authority string   // on whose word
	Reason    string
	Person    string // who set it; empty: not stated
	At        uint64 // Unix milliseconds
	Until     uint64 // Unix milliseconds; 0: until it is released
	Ended     uint64 // Unix milliseconds; 0: it stands
	EndPerson string // who released it; empty: its time was over
	EndReason string
}

// Validate checks ranges and bounds.
func (h *SiblingHold) Validate() error {
	set := 0
	for _, yes := range []bool{h.Record != RecordID{}, h.Value != "", !h.From.IsZero()} {
		if yes {
			set++
		}
	}
	switch {
	case set != 1:
		return malformed("a legal hold is of one of a record, a value and an organisation")
	case h.ID == [32]byte{} || h.At == 0 || h.Until != 0 && h.Until <= h.At:
		return malformed("a legal hold lacks its id, or ends before it begins")
	case h.Authority == "":
		return malformed("a legal hold does not say on whose authority")
	}
	for what, s := range map[string]string{"value": h.Value, "authority": h.Authority, "reason": h.Reason, "person": h.Person, "person who released it": h.EndPerson, "reason of the release": h.EndReason} {
		if err := checkText(what, s, MaxTextSize); err != nil {
			return err
		}
	}
	return nil
}

// SiblingErasureAsk is a request to erase that the organisation made or got, with the newest answer to
// it. Two of one request join to the answer that counts (ErasureAnswer), the parent that is not zero, and
// the earlier time.
type SiblingErasureAsk struct {
	_       struct{} `cbor:",toarray"`
	Request []byte   // encoded OrgSigned over an ErasureRequest
	Answer  []byte   // encoded OrgSigned over an ErasureAnswer; empty: none yet
	Parent  Hash     // the request that this one passes on; zero: none
	Seen    uint64   // when it was made or came, Unix milliseconds
}

// Validate checks bounds.
func (a *SiblingErasureAsk) Validate() error {
	if len(a.Request) == 0 || len(a.Request) > MaxLetterSize || len(a.Answer) > MaxLetterSize {
		return oversize("a request to erase or its answer has more than %d bytes, or none", MaxLetterSize)
	}
	return nil
}

// SiblingRequest is a request for information that the organisation made or got, with its reply. Two of
// one request join to the earlier reply, of one time to the lower encoding.
type SiblingRequest struct {
	_       struct{} `cbor:",toarray"`
	Request []byte   // encoded InfoRequest
	Reply   []byte   // encoded InfoReply; empty: none yet
	Person  string   // who asked or replied here; empty: nobody here did, or it is not stated
	Seen    uint64   // when it was made or came, Unix milliseconds
}

// Validate checks bounds.
func (r *SiblingRequest) Validate() error {
	if len(r.Request) == 0 || len(r.Request) > MaxLetterSize || len(r.Reply) > MaxLetterSize {
		return oversize("a request or its reply has more than %d bytes, or none", MaxLetterSize)
	}
	return checkText("person", r.Person, MaxNameSize)
}

// SiblingMandate is a mandate that this organisation gave or has, or of which it knows only that it
// was revoked. Two of one id join by union; of two revocations the earlier counts, of two of one time
// the one with the lower encoding.
type SiblingMandate struct {
	_       struct{} `cbor:",toarray"`
	ID      MandateID
	Mandate []OrgSigned // none, or one
	Revoked []OrgSigned // the same
}

// Validate checks bounds.
func (m *SiblingMandate) Validate() error {
	if len(m.Mandate) > 1 || len(m.Revoked) > 1 || len(m.Mandate)+len(m.Revoked) == 0 {
		return malformed("a mandate of a sibling is one mandate, one revocation, or both")
	}
	return nil
}

// SiblingOrigin is where a record came from that this organisation published with its origin
// withheld: what proves it, and what the word of the originator follows to the copy by. Of two of one
// copy the one with the lower encoding counts.
type SiblingOrigin struct {
	_          struct{} `cbor:",toarray"`
	Copy       ProvenRecord
	Origin     ProvenRecord
	Originator OrgID
	Salt       [32]byte
	Topic      string
}
