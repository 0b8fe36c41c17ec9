package hsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// Token is a key in a token, with the session that it is used in. One goroutine uses it.
type Token interface {
	Public() (protocol.OpKey, error) // read from the token
	Sign(message []byte) ([]byte, error)
}

// Sentinels with which a Token fails otherwise than for now.
var (
	ErrWrongPIN = errors.New("the token does not take the PIN")
	ErrWrongKey = errors.New("no such key")
)

func failed(err error) *Answer {
	a := &Answer{Version: 1, Status: Failed, Text: strings.ToValidUTF8(err.Error(), "?")}
	switch {
	case errors.Is(err, ErrWrongPIN):
		a.Status = WrongPIN
	case errors.Is(err, ErrWrongKey):
		a.Status = WrongKey
	case protocol.Class(err) != "other":
		a.Status = Refused
	}
	if len(a.Text) > maxText {
		a.Text = strings.ToValidUTF8(a.Text[:maxText], "")
	}
	return a
}

// Serve is the helper's side: it answers what comes on r until that ends, or something fails. open logs in
// and finds the key, or makes it.
func Serve(r io.Reader, w io.Writer, open func(o *Open) (Token, error)) error {
	var o Open
	if err := readFrame(r, &o); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return errors.Join(err, writeFrame(w, failed(err)))
	}
	t, err := open(&o)
	var public protocol.OpKey
	if err == nil {
		public, err = t.Public()
	}
	if err == nil && o.Key.Public != (protocol.OpKey{}) && o.Key.Public != public {
		err = fmt.Errorf("the key in the token is %x, not %x, which signed for this organisation: %w", public[:], o.Key.Public[:], ErrWrongKey)
	}
	if err != nil {
		return errors.Join(err, writeFrame(w, failed(err)))
	}
	if err := writeFrame(w, &Answer{Version: 1, Bytes: public[:]}); err != nil {
		return err
	}
	for {
		var ask Ask
		if err := readFrame(r, &ask); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return errors.Join(err, writeFrame(w, failed(err)))
		}
		b, err := answer(t, public, &ask)
		if err != nil {
			return errors.Join(err, writeFrame(w, failed(err)))
		}
		if err := writeFrame(w, &Answer{Version: 1, Bytes: b}); err != nil {
			return err
		}
	}
}

func answer(t Token, public protocol.OpKey, ask *Ask) ([]byte, error) {
	if ask.Kind == AskCheck {
		now, err := t.Public()
		if err == nil && now != public {
			err = fmt.Errorf("the token has another key now: %w", ErrWrongKey)
		}
		return now[:], err
	}
	sig, err := t.Sign(protocol.SigningBytes(ask.Context, ask.Network, ask.Statement))
	if err != nil {
		return nil, err
	}
	if len(sig) != len(protocol.Signature{}) {
		return nil, fmt.Errorf("the token made a signature of %d bytes; is the key an Ed25519 key?", len(sig))
	}
	// A signature that went wrong can give the key away.
	if err := crypto.Verify(public, ask.Context, ask.Network, ask.Statement, protocol.Signature(sig)); err != nil {
		return nil, errors.New("the token made a signature that does not verify")
	}
	return sig, nil
}

// maxPIN bounds a PIN, in bytes.
const maxPIN = 256

// ReadPIN reads a PIN from a file that only its owner may read, or, as "credential:NAME", from a
// credential that systemd passed on. A PIN never stands on a command line or in the environment.
func ReadPIN(where string) (string, error) {
	path := where
	if name, ok := strings.CutPrefix(where, "credential:"); ok {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" || name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			return "", fmt.Errorf("there is no credential %q: systemd passes it on with LoadCredentialEncrypted=%s:FILE in the unit", name, name)
		}
		path = filepath.Join(dir, name)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading the PIN: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the PIN: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s, which is to hold the PIN, is not a file", path)
	case info.Mode().Perm()&(0o077&^fs.FileMode(0o040)) != 0 || info.Mode().Perm()&0o040 != 0 && path == where:
		// systemd shows a credential to the unit's group too.
		return "", fmt.Errorf("the PIN in %s can be read by others (mode %o); run chmod 600 on it", path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPIN+2))
	if err != nil {
		return "", fmt.Errorf("reading the PIN: %w", err)
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 || len(b) > maxPIN {
		return "", fmt.Errorf("%s does not hold a PIN of 1 to %d bytes", path, maxPIN)
	}
	return string(b), nil
}
