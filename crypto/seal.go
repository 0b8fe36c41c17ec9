package crypto

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"filippo.io/age"

	"github.com/entente-mesh/entente/protocol"
)

// Identity is a node's age identity: post-quantum hybrid, ML-KEM-768 with X25519. It does
// not print; Recipient is its public half.
type Identity struct{ id *age.HybridIdentity }

// GenerateIdentity makes an identity.
func GenerateIdentity() (*Identity, error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, fmt.Errorf("generating age identity: %w", err)
	}
	return &Identity{id}, nil
}

// ParseIdentity reads what UnsafeString wrote.
func ParseIdentity(s string) (*Identity, error) {
	id, err := age.ParseHybridIdentity(strings.TrimSpace(s))
	if err != nil {
		return nil, errors.New("not an age post-quantum identity") // the cause could hold the secret
	}
	return &Identity{id}, nil
}

// Recipient returns the public half, "age1pq1...".
func (i *Identity) Recipient() string { return i.id.Recipient().String() }

// UnsafeString returns the secret, for sealed storage.
func (i *Identity) UnsafeString() string { return i.id.String() }

// String never shows the secret.
func (*Identity) String() string { return redacted }

// GoString never shows the secret.
func (*Identity) GoString() string { return redacted }

// Format never shows the secret, whatever the verb.
func (*Identity) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// MarshalText never shows the secret.
func (*Identity) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue never shows the secret.
func (*Identity) LogValue() slog.Value { return slog.StringValue(redacted) }

// sealFloor is the least padded plaintext of what is sealed to one recipient; a grant's is
// below it, so all grants have one length.
const sealFloor = 512

// SealTo seals plain, padded, to one post-quantum recipient.
func SealTo(recipient string, plain []byte) ([]byte, error) {
	r, err := age.ParseHybridRecipient(recipient)
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "reading age recipient: %v", err)
	}
	return encrypt(padded(plain, sealFloor), r)
}

// SealToEach seals plain, padded, to many post-quantum recipients, with a stanza for each, as age
// does it for who wants nothing else. Nothing in the protocol does: each recipient costs every
// sealed body some 1.6 kB and a tenth of a millisecond (SPEC "Audiences"). It is here so that this
// can be measured.
func SealToEach(recipients []string, plain []byte) ([]byte, error) {
	to := make([]age.Recipient, len(recipients))
	for i, text := range recipients {
		r, err := age.ParseHybridRecipient(text)
		if err != nil {
			return nil, protocol.Errorf(protocol.ErrMalformed, "reading age recipient: %v", err)
		}
		to[i] = r
	}
	return encrypt(padded(plain, sealFloor), to...)
}

// OpenSealed opens what SealTo made: an age file of exactly one stanza. The error is of
// class ErrNotInAudience if it is for somebody else.
func (i *Identity) OpenSealed(sealed []byte) ([]byte, error) {
	if len(sealed) > protocol.MaxBodySize {
		return nil, protocol.Errorf(protocol.ErrOversize, "sealed message has %d bytes, at most %d", len(sealed), protocol.MaxBodySize)
	}
	b, err := decrypt(sealed, oneStanza{i.id})
	if err != nil {
		return nil, err
	}
	return unpadded(b, sealFloor)
}

// oneStanza refuses files of several recipients before any of them is tried: trying costs
// a decapsulation each.
type oneStanza struct{ id *age.HybridIdentity }

// Unwrap implements age.Identity.
func (o oneStanza) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "sealed message has %d recipients, exactly 1 is allowed", len(stanzas))
	}
	return o.id.Unwrap(stanzas)
}
