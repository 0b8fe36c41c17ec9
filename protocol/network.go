package protocol

import "strings"

// Genesis founds a network; its hash is the NetworkID. It is signed by the operational key
// of the founder.
//
// Growth: a new Version; it is hashed, so what a network was founded on never changes.
type Genesis struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8    // 1
	Name     string
	Founder  OrgID
	Stewards []OrgID // sorted; may remove members; the founder is one
	Created  uint64  // Unix milliseconds
	Nonce    [16]byte
}

// ID returns the NetworkID: SHA-256("entente/network/v1" || 0x00 || encoded genesis).
func (g *Genesis) ID() NetworkID { return NetworkID(digest("entente/network/v1", Encode(g))) }

// Validate checks ranges and bounds.
func (g *Genesis) Validate() error {
	if g.Version != 1 {
		return unknownVersion("genesis", g.Version, 1)
	}
	if strings.TrimSpace(g.Name) == "" || strings.Contains(g.Name, "\n") {
		return malformed("network needs a name of one line")
	}
	if len(g.Stewards) == 0 || len(g.Stewards) > MaxStewards {
		return oversize("network has %d stewards, 1 to %d are allowed", len(g.Stewards), MaxStewards)
	}
	if !isSortedSet(g.Stewards, OrgID.Compare) {
		return malformed("stewards must be sorted and free of duplicates")
	}
	return checkText("network name", g.Name, MaxNameSize)
}

// StatementKind is the kind of a roster statement.
type StatementKind uint8

// The roster statements. They form a set: no order, no consensus; a removal wins over any
// sponsorship issued before it.
const (
	StatementSponsorship StatementKind = 1
	StatementRemoval     StatementKind = 2
	StatementTopicSecret StatementKind = 3
	StatementGenesis     StatementKind = 4
)

// RosterStatement is a statement of the roster as it travels: signed with the operational
// key of one organisation.
//
// Growth: a new kind of statement is a new StatementKind, left out by nodes that do not know it.
type RosterStatement struct {
	_         struct{} `cbor:",toarray"`
	Kind      StatementKind
	Statement []byte // encoded Genesis, Sponsorship, Removal or TopicSecret
	Signer    OrgID
	Key       OpKey
	Sig       Signature
}

// Hash names the statement in the sets that peers exchange.
func (s *RosterStatement) Hash() Hash {
	return Hash(digest("entente/roster/v1", []byte{byte(s.Kind)}, s.Signer[:], s.Statement))
}

// Validate checks ranges and bounds.
func (s *RosterStatement) Validate() error {
	if s.Kind < StatementSponsorship || s.Kind > StatementGenesis {
		return malformed("roster statement of unknown kind %d", s.Kind)
	}
	if len(s.Statement) > MaxStatementSize {
		return oversize("roster statement has %d bytes, at most %d", len(s.Statement), MaxStatementSize)
	}
	return nil
}

// Sponsorship brings a newcomer into the network: an invitation, bound to the invitee and
// to its card, used once, expiring.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Sponsorship struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Sponsor OrgID
	Invitee OrgID
	Card    Hash // the invitee's card when it was invited
	Issued  uint64
	Expires uint64 // first contact must come before
	Nonce   [16]byte
}

// Validate checks ranges and bounds.
func (s *Sponsorship) Validate() error {
	if s.Version != 1 {
		return unknownVersion("sponsorship", s.Version, 1)
	}
	if s.Expires <= s.Issued || s.Expires-s.Issued > MaxInvitationLife {
		return malformed("invitation must be valid for more than 0 and at most 30 days")
	}
	return nil
}

// Removal takes a member out of the network. Only a steward may issue it.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Removal struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Steward OrgID
	Removed OrgID
	At      uint64
	Reason  string
}

// Validate checks ranges and bounds.
func (r *Removal) Validate() error {
	if r.Version != 1 {
		return unknownVersion("removal", r.Version, 1)
	}
	return checkText("reason", r.Reason, MaxTextSize)
}

// TopicSecret gives members the secret from which topic names on the wire are derived, for
// one period. A steward opens a period; any member may share an open period's secret with
// a newcomer, recognised by Commitment.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type TopicSecret struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Network    NetworkID
	Issuer     OrgID
	Period     uint32 // from 1
	Commitment Hash   // SHA-256("entente/topic-secret/v1" || 0x00 || secret)
	Created    uint64
	Shares     []SecretShare
}

// SecretShare is the secret sealed to one node.
//
// Growth: with TopicSecret, of which it is a part; it has no version of its own.
type SecretShare struct {
	_      struct{} `cbor:",toarray"`
	Node   NodeID
	Sealed []byte // age file of one post-quantum recipient
}

// Validate checks ranges and bounds.
func (t *TopicSecret) Validate() error {
	if t.Version != 1 {
		return unknownVersion("topic secret", t.Version, 1)
	}
	if t.Period == 0 {
		return malformed("period of the topic secret out of range")
	}
	if len(t.Shares) > MaxSecretShares {
		return oversize("topic secret has %d shares, at most %d", len(t.Shares), MaxSecretShares)
	}
	for _, s := range t.Shares {
		if len(s.Sealed) > MaxGrantSize {
			return oversize("share of a topic secret has %d bytes, at most %d", len(s.Sealed), MaxGrantSize)
		}
	}
	return nil
}

// CommitTopicSecret returns the commitment to secret.
func CommitTopicSecret(secret [32]byte) Hash {
	return Hash(digest("entente/topic-secret/v1", secret[:]))
}

// Invite is the file that an invitation travels in: what a newcomer needs to find the
// network and to be let in. It holds no secret in clear.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Invite struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Invitee    OrgID
	Bootstrap  []Bootstrap
	Cards      []SignedCard
	Statements []RosterStatement
}

// Bootstrap is a node to call first.
//
// Growth: with Invite, of which it is a part; it has no version of its own.
type Bootstrap struct {
	_     struct{} `cbor:",toarray"`
	Node  NodeID
	Addrs []string
}

// Validate checks ranges and bounds.
func (i *Invite) Validate() error {
	if i.Version != 1 {
		return unknownVersion("invitation", i.Version, 1)
	}
	if len(i.Bootstrap) > MaxAddrs || len(i.Cards) > MaxSetItems || len(i.Statements) > MaxSetItems {
		return oversize("invitation holds too many entries")
	}
	for _, b := range i.Bootstrap {
		if err := checkAddrs(b.Addrs); err != nil {
			return err
		}
	}
	return nil
}

// Hello is all that a peer that is not known may say: who it is, and who invited it.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Hello struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Network    NetworkID
	Card       SignedCard
	Statements []RosterStatement // the sponsorship, and those of its sponsors up to the founder
}

// Validate checks ranges and bounds.
func (h *Hello) Validate() error {
	if h.Version != 1 {
		return unknownVersion("hello", h.Version, 1)
	}
	if len(h.Statements) > 16 {
		return oversize("hello holds %d statements, at most 16", len(h.Statements))
	}
	return nil
}
