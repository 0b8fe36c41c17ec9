package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// Keys are a node's secrets, unlocked.
type Keys struct {
	Org        protocol.OrgID
	Op         crypto.OpSigner // nil where the operational key is kept elsewhere
	Host       crypto.NodePrivate
	Signing    crypto.SigningPrivate
	Identities []*crypto.Identity // the present one first
	Store      [32]byte           // encrypts the store at rest
}

// The key files in a data directory.
const (
	keyDir      = "keys"
	lockFile    = "lock.key" // only where no passphrase is used; mode 0600
	opFile      = "op.key"
	nodeFile    = "node.key"
	privateMode = 0o600
)

// nodeSecrets is what node.key holds, sealed by the lock.
type nodeSecrets struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Org        protocol.OrgID
	Host       [32]byte
	Signing    [32]byte
	Identities []string
	Store      [32]byte
}

// opSecrets is what op.key holds, sealed by the lock.
type opSecrets struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Org     protocol.OrgID
	Op      [32]byte
}

// OpenLock returns the lock of a data directory: the passphrase if one is given, else the
// key file beside the keys. It refuses a key file that others may read.
func OpenLock(dir string, passphrase []byte) (crypto.Lock, error) {
	if len(passphrase) > 0 {
		return crypto.PassphraseLock(passphrase), nil
	}
	path := filepath.Join(dir, keyDir, lockFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the keys in %s are locked with a passphrase; set ENTENTE_PASSPHRASE_FILE, or run in a terminal", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s can be read by others (mode %o); run chmod 600 on it", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	return crypto.KeyFileLock(b)
}

// NeedsPassphrase reports whether the keys of dir have no key file.
func NeedsPassphrase(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, keyDir, lockFile))
	return errors.Is(err, fs.ErrNotExist)
}

// LoadKeys reads and unlocks the keys of a data directory. A missing operational key is not
// an error: a node runs without it, and can neither sign agreements nor renew its card.
func LoadKeys(dir string, lock crypto.Lock) (*Keys, error) {
	var ns nodeSecrets
	if err := readSealed(filepath.Join(dir, keyDir, nodeFile), lock, &ns); err != nil {
		return nil, err
	}
	k := &Keys{Org: ns.Org, Host: crypto.NodeFromSeed(ns.Host), Signing: crypto.SigningFromSeed(ns.Signing), Store: ns.Store}
	for _, s := range ns.Identities {
		id, err := crypto.ParseIdentity(s)
		if err != nil {
			return nil, fmt.Errorf("reading node keys: %w", err)
		}
		k.Identities = append(k.Identities, id)
	}
	var ops opSecrets
	err := readSealed(filepath.Join(dir, keyDir, opFile), lock, &ops)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return nil, err
	case ops.Org != ns.Org:
		return nil, errors.New("the operational key belongs to another organisation than the node key")
	}
	k.Op = crypto.OpFromSeed(ops.Op)
	return k, nil
}

func readSealed(path string, lock crypto.Lock, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading keys: %w", err)
	}
	plain, err := lock.Open(b)
	if err != nil {
		return fmt.Errorf("unlocking %s: %w", path, err)
	}
	if err := errors.Join(protocol.LaterVersion(plain, 1), protocol.Decode(plain, 1<<20, v)); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

func writeSealed(path string, lock crypto.Lock, v any) error {
	sealed, err := lock.Seal(protocol.Encode(v))
	if err != nil {
		return fmt.Errorf("sealing keys: %w", err)
	}
	return writeDurable(path, sealed)
}

// writeDurable writes a file that must be there after a power failure, and never half: to a
// temporary name, synced, renamed, and the directory synced.
func writeDurable(path string, data []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, privateMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
