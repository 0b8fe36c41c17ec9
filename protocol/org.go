package protocol

import (
	"bytes"
	"slices"
	"strings"
)

// OrgKind says what an organisation is. Agreements and onward rules refer to kinds.
type OrgKind string

// The kinds of organisation.
const (
	KindVendor     OrgKind = "vendor"
	KindPolice     OrgKind = "police"
	KindCERT       OrgKind = "cert"
	KindGovernment OrgKind = "government"
	KindFinance    OrgKind = "finance"
	KindOperator   OrgKind = "operator"
	KindResearch   OrgKind = "research"
	KindRelay      OrgKind = "relay"
	KindOther      OrgKind = "other"
)

var orgKinds = []OrgKind{KindVendor, KindPolice, KindCERT, KindGovernment, KindFinance,
	KindOperator, KindResearch, KindRelay, KindOther}

// OrgKinds lists the kinds of organisation.
func OrgKinds() []OrgKind { return slices.Clone(orgKinds) }

// Valid reports whether k is a known kind.
func (k OrgKind) Valid() bool { return slices.Contains(orgKinds, k) }

// ParseOrgKind reads a kind.
func ParseOrgKind(s string) (OrgKind, error) {
	if k := OrgKind(strings.ToLower(s)); k.Valid() {
		return k, nil
	}
	var names []string
	for _, k := range orgKinds {
		names = append(names, string(k))
	}
	return "", malformed("unknown kind of organisation %q; use one of %s", clip(s), strings.Join(names, ", "))
}

// RootSet is a set of root keys of which Threshold must sign.
//
// Growth: none; it is hashed and committed to before it is used.
type RootSet struct {
	_         struct{}  `cbor:",toarray"`
	Keys      []RootKey // sorted
	Threshold uint8     // 1..len(Keys)
}

// Hash commits to a root set before it is used (pre-rotation).
func (s *RootSet) Hash() Hash { return Hash(digest("entente/root-set/v1", Encode(s))) }

// Validate checks order and bounds.
func (s *RootSet) Validate() error {
	if len(s.Keys) == 0 || len(s.Keys) > MaxRootKeys {
		return oversize("root set has %d keys, 1 to %d are allowed", len(s.Keys), MaxRootKeys)
	}
	if s.Threshold == 0 || int(s.Threshold) > len(s.Keys) {
		return malformed("root threshold %d does not fit %d keys", s.Threshold, len(s.Keys))
	}
	if !isSortedSet(s.Keys, func(a, b RootKey) int { return bytes.Compare(a[:], b[:]) }) {
		return malformed("root keys must be sorted and free of duplicates")
	}
	return nil
}

// Inception is what an organisation is founded on; its hash is the OrgID. It never changes.
//
// Growth: a new Version; it is hashed, so what an organisation was founded on never changes.
type Inception struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Name    string
	Kind    OrgKind
	Country string // ISO 3166-1 alpha-2; empty: international
	Root    RootSet
	Next    Hash // of the root set that will follow
	Nonce   [16]byte
}

// ID returns the OrgID: SHA-256("entente/org/v1" || 0x00 || encoded inception).
func (i *Inception) ID() OrgID { return OrgID(digest("entente/org/v1", Encode(i))) }

// Validate checks ranges and bounds.
func (i *Inception) Validate() error {
	if i.Version != 1 {
		return unknownVersion("inception", i.Version, 1)
	}
	if err := checkFounder(i.Name, i.Kind, i.Country); err != nil {
		return err
	}
	return i.Root.Validate()
}

func checkFounder(name string, kind OrgKind, country string) error {
	if strings.TrimSpace(name) == "" || strings.Contains(name, "\n") {
		return malformed("organisation needs a name of one line")
	}
	if err := checkText("organisation name", name, MaxNameSize); err != nil {
		return err
	}
	if !kind.Valid() {
		return malformed("unknown kind of organisation %q", clip(string(kind)))
	}
	if country != "" && !IsCountry(country) {
		return malformed("country %q is not ISO 3166-1 alpha-2", clip(country))
	}
	return nil
}

// RootRotation replaces the root set. It is signed by the new set's threshold, and the new
// set must be the one that the set before it committed to.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type RootRotation struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Org     OrgID
	Index   uint32 // 1 for the first rotation
	Root    RootSet
	Next    Hash
}

// Validate checks ranges and bounds.
func (r *RootRotation) Validate() error {
	if r.Version != 1 {
		return unknownVersion("root rotation", r.Version, 1)
	}
	if r.Index == 0 || r.Index > MaxRotations {
		return malformed("index of the root rotation out of range")
	}
	return r.Root.Validate()
}

// RetireReason says why an operational key ended. It decides what its old signatures are
// worth: after RetiredRotated they stand, after RetiredCompromised they do not.
type RetireReason uint8

// The reasons.
const (
	RetiredRotated     RetireReason = 1
	RetiredCompromised RetireReason = 2
)

// RetiredKey is an operational key that ended.
//
// Growth: with RootEpoch, of which it is a part; it has no version of its own.
type RetiredKey struct {
	_      struct{} `cbor:",toarray"`
	Key    OpKey
	Reason RetireReason
	At     uint64 // Unix milliseconds
}

// RootEpoch is what the root keys sign: the operational key in force. A higher epoch voids
// all cards of the epochs below it.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type RootEpoch struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Org     OrgID
	Epoch   uint32 // EpochNumber; 1 for the first
	Op      OpKey
	Retired []RetiredKey
	Issued  uint64 // Unix milliseconds
}

// Validate checks ranges and bounds.
func (r *RootEpoch) Validate() error {
	if r.Version != 1 {
		return unknownVersion("root epoch", r.Version, 1)
	}
	if _, n := EpochParts(r.Epoch); n == 0 {
		return malformed("number of the root epoch out of range")
	}
	if len(r.Retired) > MaxRetiredKeys {
		return oversize("root epoch lists %d retired keys, at most %d", len(r.Retired), MaxRetiredKeys)
	}
	for _, k := range r.Retired {
		if k.Reason != RetiredRotated && k.Reason != RetiredCompromised {
			return malformed("retired key has unknown reason %d", k.Reason)
		}
	}
	return nil
}

// NodeEntry is one node of an organisation, on its card.
//
// Growth: with Card, of which it is a part; it has no version of its own.
type NodeEntry struct {
	_         struct{} `cbor:",toarray"`
	Node      NodeID
	Signing   SigningKey
	Recipient string   // age1pq..., the post-quantum hybrid recipient of the node
	NotBefore uint64   // Unix milliseconds
	NotAfter  uint64   // governs admission and new grants, never the verification of entries
	Addrs     []string // as in addr.go: direct, by a relay, or RelayHere
	Binding   Binding
}

// NodeBinding is what a node's own keys sign, so that no organisation can put another's
// node on its card: as its own, or as removed.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type NodeBinding struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Org     OrgID
	Node    NodeID
	Signing SigningKey
}

// Binding is the signatures of a node's keys over its NodeBinding.
//
// Growth: with NodeEntry and RemovedNode, of which it is a part; it has no version of its own.
type Binding struct {
	_       struct{}  `cbor:",toarray"`
	Host    Signature // by the node's peer key
	Signing Signature // by its signing key
}

// RemovedNode is a node that ended, with the last entries of it that count.
//
// Growth: with Card, of which it is a part; it has no version of its own.
type RemovedNode struct {
	_       struct{} `cbor:",toarray"`
	Node    NodeID
	Signing SigningKey
	At      uint64
	Heads   []FeedHead // entries up to these stay valid for ever, later ones are quarantined
	Binding Binding    // as it was on the node's entry
}

// FeedHead is a position in a feed.
//
// Growth: with Card and Termination, of which it is a part; it has no version of its own.
type FeedHead struct {
	_    struct{} `cbor:",toarray"`
	Feed FeedID
	Seq  uint64
	Hash Hash // of the entry at Seq
}

// Card is an organisation's description of itself: its full present state, never a change
// to it, so that no missed change matters. It verifies from the OrgID alone. Cards are
// ordered by (root epoch, version). It is signed by the operational key of its root epoch.
//
// Growth: a new field is a new Version; a node refuses a version it does not know and keeps
// the card it has. Fields are never removed, reordered or given another meaning.
type Card struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // of the format: 1
	Inception  []byte   // encoded Inception
	Rotations  []Signed // RootRotation, in order
	RootEpoch  Signed   // RootEpoch
	Serial     uint64   // version of the card within its root epoch, from 1
	Nodes      []NodeEntry
	Removed    []RemovedNode
	Contact    string
	Endpoints  []string
	Issued     uint64 // Unix milliseconds
	FreshUntil uint64 // at most MaxCardLife after Issued
}

// SignedCard is a card's bytes and the operational key's signature over them.
//
// Growth: with the Card's Version, which a reader looks at first.
type SignedCard struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte   // encoded Card
	Sig       Signature
}

// Hash names the card in the sets that peers exchange.
func (c *SignedCard) Hash() Hash { return Hash(digest("entente/card/v1", c.Statement)) }

// CardOrder is the place of a card among an organisation's cards.
//
// Growth: with BatchStatement, of which it is a part; it has no version of its own.
type CardOrder struct {
	_      struct{} `cbor:",toarray"`
	Epoch  uint32
	Serial uint64
}

// Less reports whether o comes before other.
func (o CardOrder) Less(other CardOrder) bool {
	return o.Epoch < other.Epoch || o.Epoch == other.Epoch && o.Serial < other.Serial
}

// Validate checks ranges and bounds; signatures are crypto.VerifyCard's.
func (c *Card) Validate() error {
	switch {
	case c.Version != 1:
		return unknownVersion("card", c.Version, 1)
	case c.Serial == 0:
		return malformed("card serial must be at least 1")
	case len(c.Rotations) > MaxRotations:
		return oversize("card lists %d root rotations, at most %d", len(c.Rotations), MaxRotations)
	case len(c.Nodes) > MaxNodes || len(c.Removed) > MaxRemovedNodes:
		return oversize("card lists too many nodes")
	case len(c.Endpoints) > MaxAddrs:
		return oversize("card lists too many endpoints")
	case c.FreshUntil <= c.Issued || c.FreshUntil-c.Issued > MaxCardLife:
		return malformed("card must be fresh for more than 0 and at most 30 days")
	}
	if err := checkText("contact", c.Contact, MaxTextSize); err != nil {
		return err
	}
	for _, e := range c.Endpoints {
		if err := checkText("endpoint", e, MaxAddrSize); err != nil {
			return err
		}
	}
	seen := map[[32]byte]bool{}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if seen[n.Node] || seen[n.Signing] || n.Node == NodeID(n.Signing) {
			return malformed("card lists a node key twice; every node has keys of its own")
		}
		seen[n.Node], seen[n.Signing] = true, true
		if err := n.validate(); err != nil {
			return err
		}
	}
	for _, r := range c.Removed {
		if len(r.Heads) > MaxFinalHeads {
			return oversize("removed node has %d final heads, at most %d", len(r.Heads), MaxFinalHeads)
		}
		if seen[r.Node] || seen[r.Signing] {
			return malformed("card lists a key both as a node's and as removed")
		}
	}
	return nil
}

func (n *NodeEntry) validate() error {
	if err := checkRecipient(n.Recipient); err != nil {
		return err
	}
	if n.NotAfter <= n.NotBefore {
		return malformed("node entry ends before it begins")
	}
	return checkAddrs(n.Addrs)
}

func checkRecipient(text string) error {
	if len(text) > MaxRecipientSize || !strings.HasPrefix(text, "age1pq1") {
		return malformed("node entry needs a post-quantum age recipient (age1pq1...)")
	}
	return nil
}

func checkAddrs(addrs []string) error {
	if len(addrs) > MaxAddrs {
		return oversize("%d addresses, at most %d", len(addrs), MaxAddrs)
	}
	for _, a := range addrs {
		if err := checkText("address", a, MaxAddrSize); err != nil {
			return err
		}
		if err := checkAddr(a); err != nil {
			return err
		}
	}
	return nil
}
