package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/hsm"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// An organisation that keeps its root keys from the first day on a machine without network is founded
// in two steps: a node makes the operational key and asks; the ceremony gives back what the root keys
// signed. No private key moves (SPEC 40.2).

// foundingFile holds the operational key of an organisation that is not founded yet.
const foundingFile = "founding.key"

// foundingSecrets is what founding.key holds, sealed by the lock.
type foundingSecrets struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Request protocol.Signed
	Op      [32]byte
}

// foundingReference is what founding.key holds instead where the operational key is in a token: where it is.
type foundingReference struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 2
	Request protocol.Signed
	Key     hsm.Reference
}

// loadFounding reads the operational key of an organisation that is not founded yet, or where it is.
func loadFounding(path string, lock crypto.Lock) (crypto.OpSigner, error) {
	plain, err := unlock(path, lock)
	if err != nil {
		return nil, err
	}
	if err := protocol.LaterVersion(plain, 2); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	var ref foundingReference
	if protocol.Decode(plain, maxKeyFile, &ref) == nil && ref.Version == 2 {
		return hsm.New(ref.Key)
	}
	var s foundingSecrets
	if err := protocol.Decode(plain, maxKeyFile, &s); err != nil || s.Version != 1 {
		return nil, fmt.Errorf("reading %s: it is of no version that this program reads: %w", path, errors.Join(err, protocol.ErrMalformed))
	}
	return crypto.OpFromSeed(s.Op), nil
}

// ErrNotFounded is returned where a data directory holds a founding request that was not answered yet.
var ErrNotFounded = errors.New("the organisation of this data directory is not founded yet: take the founding request to the ceremony, and give what it makes to 'entente init --founding FILE'")

// FoundingInit asks for an organisation to be founded.
type FoundingInit struct {
	Dir        string // data directory; must not hold keys yet
	Name       string
	Kind       protocol.OrgKind
	Country    string // ISO 3166-1 alpha-2; empty: international
	Passphrase []byte // empty: a key file with mode 0600 in the data directory
	// Op is the operational key, where it is in a token; nil: one is made, and kept with the others.
	Op *hsm.Signer
}

// RequestFounding makes the operational key of an organisation to be founded, and the request for it.
// Nothing is overwritten.
func RequestFounding(r FoundingInit) (*crypto.FoundingRequest, error) {
	for _, name := range []string{nodeFile, foundingFile} {
		if _, err := os.Stat(filepath.Join(r.Dir, keyDir, name)); err == nil {
			return nil, fmt.Errorf("%s exists already; choose another --dir", filepath.Join(r.Dir, keyDir, name))
		}
	}
	if err := CheckRestored(r.Dir); err != nil {
		return nil, err
	}
	made := crypto.GenerateOp()
	var op crypto.OpSigner = made
	if r.Op != nil {
		op = r.Op
	}
	signed, err := crypto.SignFoundingRequest(&protocol.FoundingRequest{Version: 1, Name: r.Name, Kind: r.Kind, Country: r.Country, Op: op.Public(), Made: uint64(nowMillis())}, op)
	if err != nil {
		return nil, err
	}
	req, err := crypto.VerifyFoundingRequest(&signed)
	if err != nil {
		return nil, err
	}
	lock, err := makeLock(r.Dir, r.Passphrase)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.Dir, keyDir, foundingFile)
	if r.Op != nil {
		return req, writeSealed(path, lock, &foundingReference{Version: 2, Request: signed, Key: r.Op.Reference()})
	}
	return req, writeSealed(path, lock, &foundingSecrets{Version: 1, Request: signed, Op: made.UnsafeSeed()})
}

// FoundingWaits reports whether a data directory holds a founding request that was not answered to the end.
func FoundingWaits(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, keyDir, foundingFile))
	return err == nil
}

// AwaitsFounding reports whether a data directory holds a founding request and no node yet.
func AwaitsFounding(dir string) bool {
	_, node := os.Stat(filepath.Join(dir, keyDir, nodeFile))
	return FoundingWaits(dir) && errors.Is(node, fs.ErrNotExist)
}

// FoundedInit makes the first node of an organisation that a ceremony founded.
type FoundedInit struct {
	Dir      string      // that RequestFounding was called with
	Lock     crypto.Lock // of the keys in Dir
	Founding *protocol.Founding
	Contact  string
	Addrs    []string // announced multiaddrs; may be set later
	By       Caller
}

// InitFounded makes the first node, and its card. It may be called again after it broke off.
func InitFounded(r FoundedInit) (*Identity, error) {
	f, err := crypto.VerifyFounding(r.Founding)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.Dir, keyDir, foundingFile)
	op, err := loadFounding(path, r.Lock)
	if err != nil {
		return nil, err
	}
	if f.Epoch.Op != op.Public() {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the founding is of another request than the one of this data directory")
	}
	var ident *Identity
	if _, err := os.Stat(filepath.Join(r.Dir, keyDir, nodeFile)); err == nil {
		ident, err = begunIdentity(&r, f, op)
		if err != nil {
			return nil, err
		}
	} else {
		if ident, err = newIdentity(f.Inception, f.File.RootEpoch, op, r.Contact, r.Addrs); err != nil {
			return nil, err
		}
		if err := writeKeys(r.Dir, r.Lock, ident.Keys); err != nil {
			return nil, err
		}
	}
	n, err := Open(Config{Dir: r.Dir, Keys: ident.Keys})
	if err != nil {
		return nil, err
	}
	if own := n.OwnCard(); own != nil { // all that was left to do is to forget the request
		ident.Card = own.Signed
		return ident, errors.Join(n.Close(), os.Remove(path))
	}
	err = n.putOwnCardWith(&ident.Card, func(tx *store.Tx) error {
		d := n.details("found the organisation", r.By)
		d.Text = fmt.Sprintf("by a ceremony: %d of %d root keys have to sign", f.Root.Threshold, len(f.Root.Keys))
		_, err := n.account.Append(tx, audit.OwnKeys, d)
		return err
	})
	if err = errors.Join(err, n.Close()); err != nil {
		return nil, err
	}
	return ident, os.Remove(path)
}

// begunIdentity goes on with the keys that an InitFounded wrote which broke off.
func begunIdentity(r *FoundedInit, f *crypto.Founding, op crypto.OpSigner) (*Identity, error) {
	k, err := LoadKeys(r.Dir, r.Lock)
	if err != nil {
		return nil, err
	}
	if k.Org != f.Org || k.Op == nil || k.Op.Public() != op.Public() {
		return nil, fmt.Errorf("%s holds a node already, which is not of this founding; choose another --dir", r.Dir)
	}
	return firstCard(f.Inception, f.File.RootEpoch, k, r.Contact, r.Addrs)
}

// newIdentity makes a first node of an organisation whose first root epoch is signed, and its card.
func newIdentity(inc protocol.Inception, epoch protocol.Signed, op crypto.OpSigner, contact string, addrs []string) (*Identity, error) {
	id, err := crypto.GenerateIdentity()
	if err != nil {
		return nil, fmt.Errorf("generating age identity: %w", err)
	}
	k := &Keys{Org: inc.ID(), Op: op, Host: crypto.GenerateNode(), Signing: crypto.GenerateSigning(), Identities: []*crypto.Identity{id}, times: madeNow(id)}
	rand.Read(k.Store[:])
	return firstCard(inc, epoch, k, contact, addrs)
}

// firstCard makes the first card of an organisation, which lists the node with the keys k.
func firstCard(inc protocol.Inception, epoch protocol.Signed, k *Keys, contact string, addrs []string) (*Identity, error) {
	now := uint64(nowMillis())
	card := &protocol.Card{Version: 1, Inception: protocol.Encode(&inc), RootEpoch: epoch,
		Serial: 1, Contact: contact, Issued: now, FreshUntil: now + CardLife,
		Nodes: []protocol.NodeEntry{{Node: k.Host.Public(), Signing: k.Signing.Public(), Recipient: k.Identities[0].Recipient(),
			NotBefore: now, NotAfter: now + nodeLife, Addrs: addrs,
			Binding: crypto.BindNode(inc.ID(), k.Host, k.Signing)}}}
	signed, err := crypto.SignCard(card, k.Op)
	if err != nil {
		return nil, fmt.Errorf("signing card: %w", err)
	}
	if _, err := crypto.VerifyCard(&signed); err != nil {
		return nil, err
	}
	return &Identity{Keys: k, Card: signed}, nil
}
