package crypto

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// secret is an Ed25519 seed that neither prints nor compares.
type secret struct {
	_    [0]func() // makes == a compile error
	seed [32]byte
	full ed25519.PrivateKey // of seed, which takes as long to make as a signature; nil: not made
}

const redacted = "(secret)"

// String never shows the secret.
func (secret) String() string { return redacted }

// GoString never shows the secret.
func (secret) GoString() string { return redacted }

// Format never shows the secret, whatever the verb.
func (secret) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// MarshalText never shows the secret.
func (secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue never shows the secret.
func (secret) LogValue() slog.Value { return slog.StringValue(redacted) }

func newSecret() (s secret) {
	rand.Read(s.seed[:]) // never fails: crypto/rand.Read crashes the program instead
	return s
}

// signing returns the secret ready to sign.
func (s secret) signing() secret {
	s.full = s.private()
	return s
}

func (s secret) private() ed25519.PrivateKey {
	if s.full != nil {
		return s.full
	}
	return ed25519.NewKeyFromSeed(s.seed[:])
}

func (s secret) public() (pub [32]byte) {
	copy(pub[:], s.private().Public().(ed25519.PublicKey))
	return pub
}

func (s secret) sign(c protocol.Context, n protocol.NetworkID, statement []byte) (sig protocol.Signature) {
	copy(sig[:], ed25519.Sign(s.private(), protocol.SigningBytes(c, n, statement)))
	return sig
}

// RootPrivate is an organisation's root key: it lives off line and signs root epochs.
type RootPrivate struct{ secret }

// OpPrivate is an organisation's operational key: it signs cards, agreements, the roster.
type OpPrivate struct{ secret }

// SigningPrivate is a node's signing key: it signs envelopes, heads and batches.
type SigningPrivate struct{ secret }

// NodePrivate is the key of a node's libp2p host.
type NodePrivate struct{ secret }

// OpSigner is an operational key, in memory or in a hardware module.
type OpSigner interface {
	Public() protocol.OpKey
	Sign(c protocol.Context, n protocol.NetworkID, statement []byte) (protocol.Signature, error)
}

// GenerateRoot makes a root key.
func GenerateRoot() RootPrivate { return RootPrivate{newSecret().signing()} }

// GenerateOp makes an operational key.
func GenerateOp() OpPrivate { return OpPrivate{newSecret().signing()} }

// GenerateSigning makes a node's signing key.
func GenerateSigning() SigningPrivate { return SigningPrivate{newSecret().signing()} }

// GenerateNode makes a host key.
func GenerateNode() NodePrivate { return NodePrivate{newSecret().signing()} }

// OpFromSeed, SigningFromSeed and NodeFromSeed make keys of seeds read from disk.
func OpFromSeed(seed [32]byte) OpPrivate { return OpPrivate{secret{seed: seed}.signing()} }

// SigningFromSeed makes a signing key of a seed.
func SigningFromSeed(seed [32]byte) SigningPrivate {
	return SigningPrivate{secret{seed: seed}.signing()}
}

// NodeFromSeed makes a host key of a seed.
func NodeFromSeed(seed [32]byte) NodePrivate { return NodePrivate{secret{seed: seed}.signing()} }

// Public returns the public key.
func (k RootPrivate) Public() protocol.RootKey { return k.public() }

// Public returns the public key.
func (k OpPrivate) Public() protocol.OpKey { return k.public() }

// Public returns the public key.
func (k SigningPrivate) Public() protocol.SigningKey { return k.public() }

// Public returns the node id.
func (k NodePrivate) Public() protocol.NodeID { return k.public() }

// Sign signs a statement. It never fails; the error is for signers outside the process.
func (k RootPrivate) Sign(c protocol.Context, n protocol.NetworkID, statement []byte) (protocol.Signature, error) {
	return k.sign(c, n, statement), nil
}

// Sign signs a statement. It never fails; the error is for signers outside the process.
func (k OpPrivate) Sign(c protocol.Context, n protocol.NetworkID, statement []byte) (protocol.Signature, error) {
	return k.sign(c, n, statement), nil
}

// UnsafeSeed returns the secret, for writing it to sealed storage.
func (k OpPrivate) UnsafeSeed() [32]byte { return k.seed }

// UnsafeSeed returns the secret, for writing it to sealed storage.
func (k SigningPrivate) UnsafeSeed() [32]byte { return k.seed }

// UnsafeSeed returns the secret, for the libp2p host and for sealed storage.
func (k NodePrivate) UnsafeSeed() [32]byte { return k.seed }

const rootSecretPrefix = "entente-root-secret:"

// UnsafeString returns the secret as text, for the file that is moved off the machine.
func (k RootPrivate) UnsafeString() string { return rootSecretPrefix + hex.EncodeToString(k.seed[:]) }

// ParseRoot reads what UnsafeString wrote.
func ParseRoot(s string) (RootPrivate, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), rootSecretPrefix)
	raw, err := hex.DecodeString(rest)
	if !ok || err != nil || len(raw) != 32 {
		return RootPrivate{}, fmt.Errorf("not a root secret: one begins with %q", rootSecretPrefix)
	}
	return RootPrivate{secret{seed: [32]byte(raw)}.signing()}, nil
}

// Verify checks a signature over a statement in its context. The error is of class
// ErrBadSignature.
func Verify(key [32]byte, c protocol.Context, n protocol.NetworkID, statement []byte, sig protocol.Signature) error {
	signed := protocol.SigningBytes(c, n, statement)
	kept := goodSignatures.Load()
	var name [32]byte
	if kept != nil {
		if name = signatureName(key, signed, sig); kept.has(name) {
			return nil
		}
	}
	if !ed25519.Verify(key[:], signed, sig[:]) {
		return protocol.Errorf(protocol.ErrBadSignature, "signature over %s does not verify", c)
	}
	if kept != nil {
		kept.put(name)
	}
	return nil
}
