package crypto

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"filippo.io/age"
)

// Lock seals secrets at rest.
type Lock interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// testOnlyWorkFactor, if set by a test of this package, makes scrypt cheap.
var testOnlyWorkFactor int

type passphraseLock string

// PassphraseLock locks with a passphrase (age scrypt).
func PassphraseLock(passphrase []byte) Lock { return passphraseLock(passphrase) }

// String never shows the passphrase.
func (passphraseLock) String() string { return redacted }

// GoString never shows the passphrase.
func (passphraseLock) GoString() string { return redacted }

// Format never shows the passphrase, whatever the verb.
func (passphraseLock) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// MarshalText never shows the passphrase.
func (passphraseLock) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue never shows the passphrase.
func (passphraseLock) LogValue() slog.Value { return slog.StringValue(redacted) }

// Seal implements Lock.
func (p passphraseLock) Seal(plain []byte) ([]byte, error) {
	r, err := age.NewScryptRecipient(string(p))
	if err != nil {
		return nil, fmt.Errorf("preparing passphrase: %w", err)
	}
	if testOnlyWorkFactor > 0 {
		r.SetWorkFactor(testOnlyWorkFactor)
	}
	return encrypt(plain, r)
}

// Open implements Lock.
func (p passphraseLock) Open(sealed []byte) ([]byte, error) {
	id, err := age.NewScryptIdentity(string(p))
	if err != nil {
		return nil, fmt.Errorf("preparing passphrase: %w", err)
	}
	plain, err := decrypt(sealed, id)
	if err != nil {
		return nil, errors.New("the passphrase is wrong, or the file is damaged")
	}
	return plain, nil
}

type keyFileLock struct{ id *Identity }

// NewKeyFile makes the contents of a key file: for nodes that start unattended. Whoever can
// read the file can read the secrets, so its mode must be 0600.
func NewKeyFile() []byte {
	id, err := GenerateIdentity()
	if err != nil {
		panic(err) // only a broken source of randomness
	}
	return []byte("# Opens the keys beside it. Keep it readable by the node's user only.\n" + id.UnsafeString() + "\n")
}

// KeyFileLock locks with a key file's contents.
func KeyFileLock(contents []byte) (Lock, error) {
	for line := range strings.Lines(string(contents)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, err := ParseIdentity(line)
		if err != nil {
			return nil, fmt.Errorf("reading key file: %w", err)
		}
		return keyFileLock{id}, nil
	}
	return nil, errors.New("key file is empty")
}

// Seal implements Lock.
func (k keyFileLock) Seal(plain []byte) ([]byte, error) { return encrypt(plain, k.id.id.Recipient()) }

// Open implements Lock.
func (k keyFileLock) Open(sealed []byte) ([]byte, error) {
	plain, err := decrypt(sealed, oneStanza{k.id.id})
	if err != nil {
		return nil, errors.New("the key file does not open it: it belongs to another node, or the file is damaged")
	}
	return plain, nil
}
