package taxii

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// tokens makes and reads the values of next. One is the cursor that a page ended with, sealed:
// AES-256-GCM(key, nonce, cursor (8 bytes big-endian), bound to), after its nonce (12 bytes), all in
// base64url without padding. A client cannot read from it how much there is that it may not see, nor
// make one; and the server keeps none of them.
type tokens struct{ aead cipher.AEAD }

// newTokens takes a key of 32 bytes.
func newTokens(key []byte) (*tokens, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of paging: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key of paging: %w", err)
	}
	return &tokens{aead}, nil
}

func (t *tokens) seal(cursor uint64, bound string) string {
	b := make([]byte, t.aead.NonceSize(), 64)
	rand.Read(b)
	b = t.aead.Seal(b, b, binary.BigEndian.AppendUint64(nil, cursor), []byte(bound))
	return base64.RawURLEncoding.EncodeToString(b)
}

// errToken is for a next that was not given for what is asked now.
var errToken = errors.New("next was not given by this server for this collection and these match fields; begin again without it, with added_after")

func (t *tokens) open(s, bound string) (cursor uint64, err error) {
	if len(s) > 128 {
		return 0, errToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != t.aead.NonceSize()+8+t.aead.Overhead() {
		return 0, errToken
	}
	plain, err := t.aead.Open(nil, b[:t.aead.NonceSize()], b[t.aead.NonceSize():], []byte(bound))
	if err != nil {
		return 0, errToken
	}
	return binary.BigEndian.Uint64(plain), nil
}
