package hsm

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// A token locks after a few wrong PINs, and a service that does not come up is started again and again.
// So a PIN that was refused is remembered in a file: not the PIN, but a code of it under a key of the node,
// by which a credential that systemd writes anew at each start is known again.

// RefusalFile is what that file is called, among the keys of a node.
const RefusalFile = "pin.refused"

const (
	refusalInfo = "entente/pin-refused/v1"
	maxRefusal  = 256
)

// refusal says that a token refused a PIN.
//
// Growth: with Version.
type refusal struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Code    [32]byte // HMAC-SHA256 of token and PIN
	Changed uint64   // when the file of the PIN was written, Unix milliseconds; 0: it is a credential
}

// Remember has refused PINs be remembered in a file, under a secret of the node that only whoever has its keys
// has. It is called before the signer is used.
func (s *Signer) Remember(path string, secret [32]byte) error {
	key, err := hkdf.Key(sha256.New, secret[:], nil, refusalInfo, sha256.Size)
	s.remember, s.code = path, key
	return err
}

// ForgetRefusal has a PIN that was refused be tried once more, which a person says: that the token has it by now.
// It reports whether there was one.
func ForgetRefusal(path string) (bool, error) {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// present is the PIN that there is now, as a refusal of it would be; nil: it cannot be read, which the helper says.
func (s *Signer) present() *refusal {
	pin, err := ReadPIN(s.ref.PINFile)
	if err != nil {
		return nil
	}
	mac := hmac.New(sha256.New, s.code)
	mac.Write(protocol.Encode([]string{s.ref.Module, s.ref.Token, s.ref.PINFile, pin}))
	r := &refusal{Version: 1, Code: [32]byte(mac.Sum(nil))}
	if !strings.HasPrefix(s.ref.PINFile, "credential:") {
		if info, err := os.Stat(s.ref.PINFile); err == nil {
			r.Changed = uint64(info.ModTime().UnixMilli())
		}
	}
	return r
}

// refused returns an error if the token refused this PIN before.
func (s *Signer) refused(now *refusal) error {
	before := s.pin
	if before == nil && s.remember != "" {
		b, err := readAtMost(s.remember, maxRefusal)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil:
			before = new(refusal)
			err = errors.Join(protocol.LaterVersion(b, 1), protocol.Decode(b, maxRefusal, before))
		}
		if err != nil {
			return fmt.Errorf("%w: %w: which one it refused cannot be read in %s (%v): 'entente key hsm retry' forgets that, and tries the one that there is", ErrAway, ErrWrongPIN, s.remember, err)
		}
	}
	if before == nil || now == nil || *before != *now {
		return nil
	}
	return fmt.Errorf("%w: %w: it refused the one in %s, which is not tried again before another is written there; if the token has been given this one, run 'entente key hsm retry'", ErrAway, ErrWrongPIN, s.ref.PINFile)
}

// note remembers a refusal. Where it cannot be written, this process remembers it.
func (s *Signer) noteRefusal(now *refusal) error {
	if now == nil {
		return nil
	}
	if s.remember != "" {
		err := disk.Replace(disk.OS, s.remember, protocol.Encode(now))
		if err == nil {
			return nil
		}
		s.pin = now
		return fmt.Errorf("this is remembered only while this process runs: %w", err)
	}
	s.pin = now
	return nil
}

// forgetRefusal is called where a PIN was taken.
func (s *Signer) forgetRefusal() {
	s.pin = nil
	if s.remember != "" {
		_ = os.Remove(s.remember) // mostly there is none; one that stays is of a PIN that is not there any more
	}
}

func readAtMost(path string, size int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > size {
		return nil, fmt.Errorf("%s is not what this program wrote", filepath.Base(path))
	}
	return os.ReadFile(path)
}
