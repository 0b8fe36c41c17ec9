package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mr-tron/base58"
)

// The identifiers of the protocol. Each kind has its own Go type and its own text prefix,
// so that one can never be read as another. The text form is the prefix, a colon, and
// 36 bytes in lower-case base32 without padding (RFC 4648, section 6): the 32 bytes of the
// identifier and the first 4 bytes of SHA-256(prefix || ":" || identifier) as a checksum.
type (
	// OrgID is the SHA-256 of an organisation's inception statement.
	OrgID [32]byte
	// NetworkID is the SHA-256 of a network's genesis statement.
	NetworkID [32]byte
	// TopicID names a topic of one network; see NewTopicID.
	TopicID [32]byte
	// FeedID names one node incarnation's feed in one topic; see Origin.FeedID.
	FeedID [32]byte
	// AgreementID is the SHA-256 of an agreement's canonical bytes.
	AgreementID [32]byte
	// MandateID is the SHA-256 of a mandate's encoding.
	MandateID [32]byte
	// RecordID is the leaf hash of a record in its batch.
	RecordID [32]byte
	// Hash is any other SHA-256 of the protocol: of an entry, a body, a card, a statement.
	Hash [32]byte

	// NodeID is the Ed25519 public key of a node's libp2p host; its text form is the
	// libp2p peer ID.
	NodeID [32]byte

	// RootKey, OpKey and SigningKey are Ed25519 public keys: of an organisation kept off
	// line, of its daily business, and of one node's feeds.
	RootKey    [32]byte
	OpKey      [32]byte
	SigningKey [32]byte

	// Signature is an Ed25519 signature over SigningBytes.
	Signature [64]byte
)

var textEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func formatID(prefix string, b [32]byte) string {
	sum := sha256.Sum256(append([]byte(prefix+":"), b[:]...))
	return prefix + ":" + textEncoding.EncodeToString(append(b[:], sum[:4]...))
}

func parseID(prefix, s string) (id [32]byte, err error) {
	rest, ok := strings.CutPrefix(s, prefix+":")
	if !ok {
		return id, malformed("%q does not begin with %q", clip(s), prefix+":")
	}
	raw, err := textEncoding.DecodeString(rest)
	if err != nil || len(raw) != 36 {
		return id, malformed("%q is not a whole %s identifier", clip(s), prefix)
	}
	copy(id[:], raw)
	if formatID(prefix, id) != s {
		return [32]byte{}, malformed("%q has a wrong checksum; was it typed or cut?", clip(s))
	}
	return id, nil
}

// shortID is for people: enough to tell the members of one network apart, never for
// comparing in code.
func shortID(prefix string, b [32]byte) string {
	return prefix + ":" + textEncoding.EncodeToString(b[:])[:10]
}

// Compare orders identifiers by their bytes.
func (id OrgID) Compare(other OrgID) int { return bytes.Compare(id[:], other[:]) }

// IsZero reports whether id is unset.
func (id OrgID) IsZero() bool { return id == OrgID{} }

// String returns the text form with prefix "org".
func (id OrgID) String() string { return formatID("org", id) }

// Short returns a shortened form for display.
func (id OrgID) Short() string { return shortID("org", id) }

// LogValue logs the short form.
func (id OrgID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText implements encoding.TextMarshaler with the text form.
func (id OrgID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the checksum is verified.
func (id *OrgID) UnmarshalText(b []byte) (err error) { *id, err = ParseOrgID(string(b)); return err }

// ParseOrgID reads the text form; the checksum is verified.
func ParseOrgID(s string) (OrgID, error) { id, err := parseID("org", s); return OrgID(id), err }

// String returns the text form with prefix "net".
func (id NetworkID) String() string { return formatID("net", id) }

// Short returns a shortened form for display.
func (id NetworkID) Short() string { return shortID("net", id) }

// LogValue logs the short form.
func (id NetworkID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText implements encoding.TextMarshaler with the text form.
func (id NetworkID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the checksum is verified.
func (id *NetworkID) UnmarshalText(b []byte) error {
	v, err := parseID("net", string(b))
	*id = v
	return err
}

// String returns the text form with prefix "feed".
func (id FeedID) String() string { return formatID("feed", id) }

// Short returns a shortened form for display.
func (id FeedID) Short() string { return shortID("feed", id) }

// LogValue logs the short form.
func (id FeedID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText implements encoding.TextMarshaler with the text form.
func (id FeedID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the checksum is verified.
func (id *FeedID) UnmarshalText(b []byte) error {
	v, err := parseID("feed", string(b))
	*id = v
	return err
}

// String returns the text form with prefix "topic".
func (id TopicID) String() string { return formatID("topic", id) }

// LogValue logs a short form.
func (id TopicID) LogValue() slog.Value { return slog.StringValue(shortID("topic", id)) }

// String returns the text form with prefix "agr".
func (id AgreementID) String() string { return formatID("agr", id) }

// IsZero reports whether id is unset.
func (id AgreementID) IsZero() bool { return id == AgreementID{} }

// Short returns a shortened form for display.
func (id AgreementID) Short() string { return shortID("agr", id) }

// LogValue logs the short form.
func (id AgreementID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText implements encoding.TextMarshaler with the text form.
func (id AgreementID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the checksum is verified.
func (id *AgreementID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseAgreementID(string(b))
	return err
}

// ParseAgreementID reads the text form; the checksum is verified.
func ParseAgreementID(s string) (AgreementID, error) {
	id, err := parseID("agr", s)
	return AgreementID(id), err
}

// String returns the text form with prefix "mdt".
func (id MandateID) String() string { return formatID("mdt", id) }

// IsZero reports whether id is unset.
func (id MandateID) IsZero() bool { return id == MandateID{} }

// Short returns a shortened form for display.
func (id MandateID) Short() string { return shortID("mdt", id) }

// LogValue logs the short form.
func (id MandateID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText implements encoding.TextMarshaler with the text form.
func (id MandateID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the checksum is verified.
func (id *MandateID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseMandateID(string(b))
	return err
}

// ParseMandateID reads the text form; the checksum is verified.
func ParseMandateID(s string) (MandateID, error) {
	id, err := parseID("mdt", s)
	return MandateID(id), err
}

// String returns the text form with prefix "rec".
func (id RecordID) String() string { return formatID("rec", id) }

// Short returns a shortened form for display.
func (id RecordID) Short() string { return shortID("rec", id) }

// LogValue logs the short form.
func (id RecordID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText implements encoding.TextMarshaler with the text form.
func (id RecordID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the checksum is verified.
func (id *RecordID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseRecordID(string(b))
	return err
}

// ParseRecordID reads the text form; the checksum is verified.
func ParseRecordID(s string) (RecordID, error) {
	id, err := parseID("rec", s)
	return RecordID(id), err
}

// Short returns a shortened form for display.
func (h Hash) Short() string { return shortID("sha256", h) }

// String returns the text form with prefix "sha256".
func (h Hash) String() string { return formatID("sha256", h) }

// IsZero reports whether h is unset.
func (h Hash) IsZero() bool { return h == Hash{} }

// peerIDPrefix makes a libp2p peer ID of an Ed25519 key: an identity multihash (0x00, 36
// bytes) over the protobuf of the key (libp2p specs, peer-ids).
var peerIDPrefix = []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// String returns the libp2p peer ID, "12D3KooW...".
func (id NodeID) String() string {
	return base58.Encode(append(bytes.Clone(peerIDPrefix), id[:]...))
}

// Compare orders node identifiers by their bytes.
func (id NodeID) Compare(other NodeID) int { return bytes.Compare(id[:], other[:]) }

// LogValue logs the peer ID.
func (id NodeID) LogValue() slog.Value { return slog.StringValue(id.String()) }

// MarshalText implements encoding.TextMarshaler with the peer ID.
func (id NodeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *NodeID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseNodeID(string(b))
	return err
}

// ParseNodeID reads a libp2p peer ID of an Ed25519 key.
func ParseNodeID(s string) (id NodeID, err error) {
	if len(s) > 64 {
		return id, malformed("%q is not a peer ID", clip(s))
	}
	raw, err := base58.Decode(s)
	if err != nil || len(raw) != 38 || !bytes.HasPrefix(raw, peerIDPrefix) {
		return id, malformed("%q is not the peer ID of an Ed25519 key", clip(s))
	}
	copy(id[:], raw[6:])
	return id, nil
}

// NewTopicID returns the id of the topic called name in network:
// SHA-256("entente/topic/v1" || 0x00 || network || name).
func NewTopicID(network NetworkID, name string) TopicID {
	return TopicID(digest("entente/topic/v1", network[:], []byte(name)))
}

// digest hashes parts under a domain-separating context: SHA-256(context || 0x00 || parts).
// Callers keep every part but the last at a fixed length.
func digest(context string, parts ...[]byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(context))
	h.Write([]byte{0})
	for _, p := range parts {
		h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func clip(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%.77s...", s)
	}
	return s
}
