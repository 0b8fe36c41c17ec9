package crypto

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/entente-mesh/entente/protocol"
)

// EpochKey is the key of one audience in one feed for a time. It does not print.
type EpochKey struct{ secret }

// EpochKeyOf makes an epoch key of its bytes.
func EpochKeyOf(b [32]byte) EpochKey { return EpochKey{secret{seed: b}} }

// UnsafeBytes returns the key, for the store.
func (k EpochKey) UnsafeBytes() [32]byte { return k.seed }

// A body is an age file whose header holds 1, 2, 4 or 8 stanzas of our own:
//
//	-> entente/epoch base64(hint, 8 bytes) base64(salt, 16 bytes)
//	base64(ChaCha20-Poly1305(wrap key, nonce 0, file key))
//
//	wrap key = HKDF-SHA256(epoch key, salt, "entente/wrap/v1" || 0x00 || seal context)
//
// The seal context (protocol.Header.SealContext) binds the body to network, feed, seq, kind,
// version and suite: age has no associated data, and a body must not open in another
// author's envelope. Every salt is fresh, so a wrap key is used once and its nonce may be 0.
const (
	stanzaType = "entente/epoch"
	hintSize   = 8
	saltSize   = 16
	wrapInfo   = "entente/wrap/v1\x00"
)

var b64 = base64.RawStdEncoding.Strict()

// RecordHint tells the holders of key, and nobody else, that a stanza is for them:
// HMAC-SHA256(key, "entente/hint/v1" || 0x00 || feed || seq as 8 bytes)[:8].
func RecordHint(key EpochKey, feed protocol.FeedID, seq uint64) (hint [hintSize]byte) {
	m := hmac.New(sha256.New, key.seed[:])
	m.Write([]byte("entente/hint/v1\x00"))
	m.Write(feed[:])
	m.Write(binary.BigEndian.AppendUint64(nil, seq))
	copy(hint[:], m.Sum(nil))
	return hint
}

func wrapAEAD(key EpochKey, salt, context []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, key.seed[:], salt, wrapInfo+string(context), chacha20poly1305.KeySize)
}

// epochRecipient wraps a file key for every epoch of an audience.
type epochRecipient struct {
	context []byte
	feed    protocol.FeedID
	seq     uint64
	keys    []EpochKey
}

// Wrap implements age.Recipient.
func (r *epochRecipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	s, _, err := r.WrapWithLabels(fileKey)
	return s, err
}

// WrapWithLabels implements age.RecipientWithLabels. The label keeps a body from ever being
// sealed to a classical recipient as well.
func (r *epochRecipient) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	slots := 1
	for slots < len(r.keys) {
		slots *= 2
	}
	stanzas := make([]*age.Stanza, slots)
	for i := range stanzas {
		var hint [hintSize]byte
		salt := make([]byte, saltSize)
		rand.Read(salt)
		body := make([]byte, len(fileKey)+chacha20poly1305.Overhead)
		if i < len(r.keys) {
			hint = RecordHint(r.keys[i], r.feed, r.seq)
			k, err := wrapAEAD(r.keys[i], salt, r.context)
			if err != nil {
				return nil, nil, err
			}
			aead, err := chacha20poly1305.New(k)
			if err != nil {
				return nil, nil, err
			}
			body = aead.Seal(body[:0], make([]byte, chacha20poly1305.NonceSize), fileKey, nil)
		} else {
			rand.Read(hint[:])
			rand.Read(body)
		}
		stanzas[i] = &age.Stanza{Type: stanzaType, Args: []string{b64.EncodeToString(hint[:]), b64.EncodeToString(salt)}, Body: body}
	}
	return stanzas, []string{"postquantum"}, shuffle(stanzas)
}

// shuffle hides which slots are dummies.
func shuffle[T any](s []T) error {
	for i := len(s) - 1; i > 0; i-- {
		j, err := rand.Int(rand.Reader, big.NewInt(int64(i+1)))
		if err != nil {
			return err
		}
		s[i], s[int(j.Int64())] = s[int(j.Int64())], s[i]
	}
	return nil
}

// epochIdentity opens a body with one of several epoch keys.
type epochIdentity struct {
	epochRecipient
	used int
}

// Unwrap implements age.Identity.
func (id *epochIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	hints, salts, err := readStanzas(stanzas)
	if err != nil {
		return nil, err
	}
	for i, k := range id.keys {
		own := RecordHint(k, id.feed, id.seq)
		for j := range hints {
			if hints[j] != own {
				continue
			}
			wk, err := wrapAEAD(k, salts[j], id.context)
			if err != nil {
				return nil, err
			}
			aead, err := chacha20poly1305.New(wk)
			if err != nil {
				return nil, err
			}
			fileKey, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), stanzas[j].Body, nil)
			if err != nil {
				return nil, protocol.Errorf(protocol.ErrWrongContext, "body is sealed for another place, or was changed")
			}
			id.used = i
			return fileKey, nil
		}
	}
	return nil, age.ErrIncorrectIdentity
}

func readStanzas(stanzas []*age.Stanza) (hints [][hintSize]byte, salts [][]byte, err error) {
	if n := len(stanzas); n == 0 || n > protocol.MaxStanzas || n&(n-1) != 0 {
		return nil, nil, protocol.Errorf(protocol.ErrMalformed, "body has %d stanzas; 1, 2, 4 or 8 are allowed", n)
	}
	for _, s := range stanzas {
		if s.Type != stanzaType || len(s.Args) != 2 || len(s.Body) != 32 {
			return nil, nil, protocol.Errorf(protocol.ErrMalformed, "body has a stanza that is not %s", stanzaType)
		}
		hint, err1 := b64.DecodeString(s.Args[0])
		salt, err2 := b64.DecodeString(s.Args[1])
		if err1 != nil || err2 != nil || len(hint) != hintSize || len(salt) != saltSize {
			return nil, nil, protocol.Errorf(protocol.ErrMalformed, "stanza has a hint or salt of the wrong form")
		}
		hints, salts = append(hints, [hintSize]byte(hint)), append(salts, salt)
	}
	return hints, salts, nil
}

// SealBody compresses, pads and seals a plaintext for the holders of keys, 1 to MaxStanzas
// of them, and binds it to context. The error is of class ErrOversize if the result would
// not fit an envelope.
func SealBody(context []byte, feed protocol.FeedID, seq uint64, keys []EpochKey, plain []byte) ([]byte, error) {
	if len(keys) == 0 || len(keys) > protocol.MaxStanzas {
		return nil, protocol.Errorf(protocol.ErrMalformed, "a body is sealed for 1 to %d epochs, not %d", protocol.MaxStanzas, len(keys))
	}
	if len(plain) > protocol.MaxPlainSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "body has %d bytes before compression, at most %d", len(plain), protocol.MaxPlainSize)
	}
	padded := padded(compress(plain), protocol.PaddingFloor)
	if len(padded) > protocol.MaxBodySize {
		return nil, protocol.Errorf(protocol.ErrOversize, "body has %d bytes when compressed, at most %d fit", len(padded), protocol.MaxBodySize)
	}
	sealed, err := encrypt(padded, &epochRecipient{context: context, feed: feed, seq: seq, keys: keys})
	if err == nil && len(sealed) > protocol.MaxBodySize {
		return nil, protocol.Errorf(protocol.ErrOversize, "sealed body has %d bytes, at most %d", len(sealed), protocol.MaxBodySize)
	}
	return sealed, err
}

// OpenBody opens a body with the candidate whose hint it carries, and returns the plaintext
// and the index of that candidate. The error is of class ErrNotInAudience if none is there.
func OpenBody(context []byte, feed protocol.FeedID, seq uint64, candidates []EpochKey, sealed []byte) (plain []byte, used int, err error) {
	id := &epochIdentity{epochRecipient: epochRecipient{context: context, feed: feed, seq: seq, keys: candidates}}
	padded, err := decrypt(sealed, id)
	if err != nil {
		return nil, 0, err
	}
	z, err := unpadded(padded, protocol.PaddingFloor)
	if err != nil {
		return nil, 0, err
	}
	plain, err = decompress(z)
	return plain, id.used, err
}

// BodyHints returns the hints of a sealed body, dummies among them.
func BodyHints(sealed []byte) ([][hintSize]byte, error) {
	var r hintReader
	if _, err := decrypt(sealed, &r); r.hints == nil {
		return nil, err
	}
	return r.hints, nil
}

// hintReader is an identity that opens nothing and remembers the hints it was shown.
type hintReader struct{ hints [][hintSize]byte }

// Unwrap implements age.Identity.
func (r *hintReader) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	hints, _, err := readStanzas(stanzas)
	if err != nil {
		return nil, err
	}
	r.hints = hints
	return nil, age.ErrIncorrectIdentity
}

func encrypt(plain []byte, to ...age.Recipient) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(len(plain) + 2<<10) // the header takes less than two of ours
	w, err := age.Encrypt(&buf, to...)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return buf.Bytes(), nil
}

// decrypt reads a whole age file; nothing is returned of one that does not verify to its
// end. Errors are of class ErrNotInAudience, or of the class that the identity found, or
// ErrMalformed.
func decrypt(sealed []byte, id age.Identity) ([]byte, error) {
	// Of what it reads as a stream age keeps two chunks of 64 KiB, and whoever reads does not know
	// how much will come.
	r, size, err := age.DecryptReaderAt(bytes.NewReader(sealed), int64(len(sealed)), id)
	if err == nil {
		plain := make([]byte, size)
		if _, err = io.ReadFull(io.NewSectionReader(r, 0, size), plain); err == nil {
			return plain, nil
		}
	}
	var none *age.NoIdentityMatchError
	switch {
	case protocol.Class(err) != "other":
		return nil, err
	case errors.As(err, &none):
		return nil, protocol.Errorf(protocol.ErrNotInAudience, "sealed for others")
	}
	return nil, protocol.Errorf(protocol.ErrMalformed, "opening: %v", err)
}
