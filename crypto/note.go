package crypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/entente-mesh/entente/protocol"
)

// Checkpoints of audit logs are signed notes, as other transparency logs', so that others' tools
// verify them. What is signed is the text of the note itself, without the context and the network
// that every other signature of this project begins with. The two cannot be taken for each other:
// the text of a note never holds a zero byte, and SigningBytes always does.

// NoteSigner returns a signer of notes under a name, with a node's signing key.
func (k SigningPrivate) NoteSigner(name string) (note.Signer, error) {
	v, err := NoteVerifier(name, k.Public())
	if err != nil {
		return nil, err
	}
	return noteSigner{k, v}, nil
}

type noteSigner struct {
	key      SigningPrivate
	verifier note.Verifier
}

func (s noteSigner) Name() string    { return s.verifier.Name() }
func (s noteSigner) KeyHash() uint32 { return s.verifier.KeyHash() }

func (s noteSigner) Sign(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("a note holds a zero byte, and could be taken for another statement")
	}
	return ed25519.Sign(s.key.private(), text), nil
}

// NoteKey returns the text form of a node's signing key for the verifiers of notes under a name.
func NoteKey(name string, key protocol.SigningKey) (string, error) {
	return note.NewEd25519VerifierKey(name, key[:])
}

// NoteVerifier returns the verifier of notes that a node signs under a name.
func NoteVerifier(name string, key protocol.SigningKey) (note.Verifier, error) {
	text, err := NoteKey(name, key)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(text)
}

// Cosignatures are those of C2SP tlog-cosignature, version 1: over the time and the text of a
// checkpoint, with an algorithm byte of their own, so that one is never taken for the signature of
// a log.

const (
	algCosignature  = 4
	cosignatureSize = 8 + ed25519.SignatureSize
)

func cosignedText(at uint64, text []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), text...)
}

func cosignerHash(name string, key protocol.SigningKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', algCosignature})
	h.Write(key[:])
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Cosigner returns a signer of cosignatures under a name, at a time in Unix seconds.
func (k SigningPrivate) Cosigner(name string, at uint64) note.Signer { return cosigner{k, name, at} }

type cosigner struct {
	key  SigningPrivate
	name string
	at   uint64
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return cosignerHash(c.name, c.key.Public()) }

func (c cosigner) Sign(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("a checkpoint holds a zero byte, and could be taken for another statement")
	}
	return append(binary.BigEndian.AppendUint64(nil, c.at), ed25519.Sign(c.key.private(), cosignedText(c.at, text))...), nil
}

// CosignVerifier returns the verifier of a node's cosignatures under a name.
func CosignVerifier(name string, key protocol.SigningKey) note.Verifier {
	return cosignVerifier{name, key}
}

type cosignVerifier struct {
	name string
	key  protocol.SigningKey
}

func (v cosignVerifier) Name() string    { return v.name }
func (v cosignVerifier) KeyHash() uint32 { return cosignerHash(v.name, v.key) }

func (v cosignVerifier) Verify(text, sig []byte) bool {
	return len(sig) == cosignatureSize && ed25519.Verify(v.key[:], cosignedText(binary.BigEndian.Uint64(sig), text), sig[8:])
}
