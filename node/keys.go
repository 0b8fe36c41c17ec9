package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/hsm"
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

	times map[string]identityTimes // of Identities, by recipient
	dir   string                   // where node.key is; empty: in memory
	lock  crypto.Lock              // seals it
	read  os.FileInfo              // of the file as it was read
}

// identityTimes say how an age identity stands; Unix milliseconds.
type identityTimes struct {
	_         struct{} `cbor:",toarray"`
	Made      uint64   // 0: not known
	Until     uint64   // when it may be destroyed; 0: it stands on the card, or is to
	Suspected bool     // it was made because somebody else may have the one before
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
	Version    uint8    // 2
	Org        protocol.OrgID
	Host       [32]byte
	Signing    [32]byte
	Identities []identitySecret // the present one first
	Store      [32]byte
}

type identitySecret struct {
	_      struct{} `cbor:",toarray"`
	Secret string
	Times  identityTimes
}

// nodeSecrets1 is what node.key held before identities turned over.
type nodeSecrets1 struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8    // 1
	Org        protocol.OrgID
	Host       [32]byte
	Signing    [32]byte
	Identities []string
	Store      [32]byte
}

// opReference is what op.key holds instead where the operational key is in a token: where it is.
type opReference struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 2
	Org     protocol.OrgID
	Key     hsm.Reference
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
	if AwaitsFounding(dir) {
		return nil, ErrNotFounded
	}
	path := filepath.Join(dir, keyDir, nodeFile)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	ns, err := readNodeSecrets(path, lock)
	if err != nil {
		return nil, err
	}
	k := &Keys{Org: ns.Org, Host: crypto.NodeFromSeed(ns.Host), Signing: crypto.SigningFromSeed(ns.Signing), Store: ns.Store,
		times: map[string]identityTimes{}, dir: dir, lock: lock, read: info}
	if err := k.take(ns); err != nil {
		return nil, err
	}
	if k.Op, err = loadOp(filepath.Join(dir, keyDir, opFile), lock, ns.Org); err != nil {
		return nil, err
	}
	if t, ok := k.Op.(*hsm.Signer); ok {
		err = t.Remember(filepath.Join(dir, keyDir, hsm.RefusalFile), ns.Store)
	}
	return k, err
}

// loadOp reads the operational key, or where it is; nil: there is none.
func loadOp(path string, lock crypto.Lock, org protocol.OrgID) (crypto.OpSigner, error) {
	plain, err := unlock(path, lock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ops opSecrets
	var ref opReference
	if err := protocol.LaterVersion(plain, 2); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	err = protocol.Decode(plain, maxKeyFile, &ops)
	switch {
	case err == nil && ops.Version == 1:
		ref.Org = ops.Org
	case protocol.Decode(plain, maxKeyFile, &ref) == nil && ref.Version == 2:
		err = nil
	default:
		return nil, fmt.Errorf("reading %s: it is of no version that this program reads: %w", path, errors.Join(err, protocol.ErrMalformed))
	}
	switch {
	case err != nil:
		return nil, err
	case ref.Org != org:
		return nil, errors.New("the operational key belongs to another organisation than the node key")
	case ref.Version == 2:
		return hsm.New(ref.Key)
	}
	return crypto.OpFromSeed(ops.Op), nil
}

// writeOp writes an operational key, or where it is, so that LoadKeys finds it.
func writeOp(dir string, lock crypto.Lock, org protocol.OrgID, op crypto.OpSigner) error {
	return writeOpTo(filepath.Join(dir, keyDir, opFile), lock, org, op)
}

func writeOpTo(path string, lock crypto.Lock, org protocol.OrgID, op crypto.OpSigner) error {
	switch op := op.(type) {
	case crypto.OpPrivate:
		return writeSealed(path, lock, &opSecrets{Version: 1, Org: org, Op: op.UnsafeSeed()})
	case *hsm.Signer:
		return writeSealed(path, lock, &opReference{Version: 2, Org: org, Key: op.Reference()})
	}
	return errors.New("the operational key cannot be written: it is kept elsewhere")
}

// maxKeyFile bounds what a key file holds.
const maxKeyFile = 1 << 20

// readNodeSecrets reads node.key, of either version.
func readNodeSecrets(path string, lock crypto.Lock) (*nodeSecrets, error) {
	plain, err := unlock(path, lock)
	if err != nil {
		return nil, err
	}
	if err := protocol.LaterVersion(plain, 2); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	ns := new(nodeSecrets)
	err = protocol.Decode(plain, maxKeyFile, ns)
	var old nodeSecrets1
	if err != nil && protocol.Decode(plain, maxKeyFile, &old) == nil && old.Version == 1 {
		ns, err = &nodeSecrets{Version: 2, Org: old.Org, Host: old.Host, Signing: old.Signing, Store: old.Store}, nil
		for _, s := range old.Identities {
			ns.Identities = append(ns.Identities, identitySecret{Secret: s})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if ns.Version != 2 {
		return nil, fmt.Errorf("reading %s: %w", path, protocol.ErrMalformed)
	}
	return ns, nil
}

// take takes the identities of a key file.
func (k *Keys) take(ns *nodeSecrets) error {
	k.Identities, k.times = nil, map[string]identityTimes{}
	for _, s := range ns.Identities {
		id, err := crypto.ParseIdentity(s.Secret)
		if err != nil {
			return fmt.Errorf("reading node keys: %w", err)
		}
		k.Identities = append(k.Identities, id)
		k.times[id.Recipient()] = s.Times
	}
	if len(k.Identities) == 0 {
		return fmt.Errorf("%s holds no age identity; it is not one that this program wrote", filepath.Join(k.dir, keyDir, nodeFile))
	}
	return nil
}

// again reads the identities once more if the file was replaced since: who waited for the store may have
// read it before another process, which had the store, turned them over.
func (k *Keys) again() error {
	if k.read == nil {
		return nil
	}
	path := filepath.Join(k.dir, keyDir, nodeFile)
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading keys: %w", err)
	}
	if os.SameFile(info, k.read) && info.ModTime().Equal(k.read.ModTime()) {
		return nil
	}
	ns, err := readNodeSecrets(path, k.lock)
	if err != nil {
		return err
	}
	k.read = info
	return k.take(ns)
}

// secrets is what node.key is to hold.
func (k *Keys) secrets() *nodeSecrets {
	ns := &nodeSecrets{Version: 2, Org: k.Org, Host: k.Host.UnsafeSeed(), Signing: k.Signing.UnsafeSeed(), Store: k.Store}
	for _, id := range k.Identities {
		ns.Identities = append(ns.Identities, identitySecret{Secret: id.UnsafeString(), Times: k.times[id.Recipient()]})
	}
	return ns
}

// setIdentities makes others the identities of this node: on disk first, so that what a card names
// can be opened after a crash. The former file is replaced as a whole.
func (k *Keys) setIdentities(list []*crypto.Identity, times map[string]identityTimes) error {
	next := *k
	next.Identities, next.times = list, times
	if k.lock != nil {
		if err := writeSealed(filepath.Join(k.dir, keyDir, nodeFile), k.lock, next.secrets()); err != nil {
			return err
		}
	}
	k.Identities, k.times = list, times
	return nil
}

func unlock(path string, lock crypto.Lock) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	plain, err := lock.Open(b)
	if err != nil {
		return nil, fmt.Errorf("unlocking %s: %w", path, err)
	}
	return plain, nil
}

func readSealed(path string, lock crypto.Lock, v any) error {
	plain, err := unlock(path, lock)
	if err != nil {
		return err
	}
	if err := errors.Join(protocol.LaterVersion(plain, 1), protocol.Decode(plain, maxKeyFile, v)); err != nil {
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
