package protocol

import (
	"crypto/sha256"
	"strings"
)

// Publishing for another organisation. The principal signs a mandate for the agent; the agent signs
// what it publishes under it as its own, and its batch statement carries the mandate. Nobody signs
// in another's name.

// Mandate lets its agent say of records that it publishes them on behalf of the principal. It lets
// nothing through that the agent's own agreements do not.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type Mandate struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Principal OrgID
	Agent     OrgID
	Topics    []string // sorted, or Any alone
	TLP       TLP      // nothing above it; TLPUnset: no ceiling
	NotBefore uint64   // Unix milliseconds
	NotAfter  uint64   // Unix milliseconds, at most MaxMandateDays after NotBefore
	Number    uint64   // of the principal, not zero; random, so that two of equal words differ
}

// Validate checks ranges, order and bounds.
func (m *Mandate) Validate() error {
	switch {
	case m.Version != 1:
		return unknownVersion("mandate", m.Version, 1)
	case m.Principal == m.Agent:
		return malformed("mandate is given to the organisation that gives it")
	case m.TLP > TLPRed:
		return malformed("mandate holds a TLP out of range")
	case m.Number == 0:
		return malformed("mandate lacks its number")
	case m.NotAfter <= m.NotBefore:
		return malformed("mandate ends before it begins; check until when it is given")
	case m.NotAfter-m.NotBefore > MaxMandateDays*24*3600*1000:
		return malformed("mandate is given for more than %d days; give another when it ends", MaxMandateDays)
	}
	return checkList("topics", m.Topics, MaxMandateTopics, func(s string) error { return checkToken("topic", s) })
}

// Covers returns an ErrWrongContext if the mandate does not cover records of a TLP in a topic that
// were signed at a time, Unix milliseconds.
func (m *Mandate) Covers(topic string, tlp TLP, at uint64) error {
	if !m.Lasts(at) {
		return Errorf(ErrWrongContext, "the mandate is not given for the time at which they were signed")
	}
	if !m.covers(topic) {
		return Errorf(ErrWrongContext, "the mandate does not cover topic %q", topic)
	}
	if m.TLP != TLPUnset && tlp > m.TLP {
		return Errorf(ErrWrongContext, "the mandate goes up to TLP:%s, and they are TLP:%s", strings.ToUpper(m.TLP.String()), strings.ToUpper(tlp.String()))
	}
	return nil
}

// Lasts reports whether the mandate is given for a time, Unix milliseconds.
func (m *Mandate) Lasts(at uint64) bool { return m.NotBefore <= at && at < m.NotAfter }

func (m *Mandate) covers(topic string) bool {
	for _, t := range m.Topics {
		if t == topic || t == Any {
			return true
		}
	}
	return false
}

// NewMandateID returns the id of a mandate: SHA-256 of its encoding.
func NewMandateID(statement []byte) MandateID { return MandateID(sha256.Sum256(statement)) }

// MandateRevocation is a principal's word that a mandate ends, for what is signed from At on.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type MandateRevocation struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Network   NetworkID
	Principal OrgID
	Mandate   MandateID
	At        uint64 // Unix milliseconds
	Reason    string
}

// Validate checks ranges and bounds.
func (r *MandateRevocation) Validate() error {
	if r.Version != 1 {
		return unknownVersion("revocation of a mandate", r.Version, 1)
	}
	if r.At == 0 {
		return malformed("revocation of a mandate does not say when it was made")
	}
	return checkText("reason", r.Reason, MaxTextSize)
}

// MandateFile is a mandate, and its revocation, as they are carried by hand.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type MandateFile struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Mandate OrgSigned
	Revoked []OrgSigned // its revocation, if there is one
}

// Validate checks ranges and bounds.
func (f *MandateFile) Validate() error {
	if f.Version != 1 || len(f.Revoked) > 1 {
		return malformed("the file is not of a mandate that this program reads")
	}
	return nil
}

// OriginCommitment is what a batch says of the origin that it withholds:
// SHA-256("entente/origin/v1" || 0x00 || salt || SHA-256 of the original's encoded BatchStatement ||
// record id of the original). Without the salt it says nothing.
func OriginCommitment(salt [32]byte, batch Hash, record RecordID) Hash {
	return Hash(digest("entente/origin/v1", salt[:], batch[:], record[:]))
}

// OriginProof shows where a record came from whose origin was withheld: who withheld it committed to
// it when it was signed. It holds no object: neither proof nor reader needs it.
//
// Growth: a new layout is a new Version, which nodes that do not know it refuse; fields are
// never removed, reordered or given another meaning.
type OriginProof struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Network NetworkID
	Copy    ProvenRecord // as it was published, the origin withheld
	Origin  ProvenRecord // as its originator signed it
	Salt    [32]byte
	Cards   []SignedCard // of those who signed, as the one who proves holds them; sorted by organisation
}

// ProvenRecord is a record without its object: that it belongs to a batch, who signed that, and who
// passed it on.
//
// Growth: with OriginProof, of which it is a part; it has no version of its own.
type ProvenRecord struct {
	_         struct{} `cbor:",toarray"`
	Record    RecordID
	Index     uint32
	Path      []Hash
	Statement []byte // encoded BatchStatement
	Sig       Signature
	Hops      []Hop
}

// Validate checks ranges and bounds.
func (p *OriginProof) Validate() error {
	switch {
	case p.Version != 1:
		return unknownVersion("proof of an origin", p.Version, 1)
	case len(p.Cards) == 0 || len(p.Cards) > MaxHops+3:
		return oversize("proof of an origin holds %d cards, 1 to %d are read", len(p.Cards), MaxHops+3)
	}
	for _, r := range []*ProvenRecord{&p.Copy, &p.Origin} {
		if len(r.Path) > 16 || len(r.Hops) > MaxHops {
			return oversize("proof of an origin holds a path that is too long")
		}
	}
	return nil
}
