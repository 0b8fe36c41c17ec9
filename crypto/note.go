package crypto

import (
	"bytes"
	"crypto/ed25519"
	"errors"

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
