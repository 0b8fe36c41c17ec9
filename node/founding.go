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

// ErrNotFounded is returned where a data directory holds a founding request that was not answered yet.
var ErrNotFounded = errors.New("the organisation of this data directory is not founded yet: take the founding request to the ceremony, and give what it makes to 'entente init --founding FILE'")

// FoundingInit asks for an organisation to be founded.
type FoundingInit struct {
	Dir        string // data directory; must not hold keys yet
	Name       string
	Kind       protocol.OrgKind
	Country    string // ISO 3166-1 alpha-2; empty: international
	Passphrase []byte // empty: a key file with mode 0600 in the data directory
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
	op := crypto.GenerateOp()
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
	return req, writeSealed(filepath.Join(r.Dir, keyDir, foundingFile), lock, &foundingSecrets{Version: 1, Request: signed, Op: op.UnsafeSeed()})
}

// AwaitsFounding reports whether a data directory holds a founding request and no node yet.
func AwaitsFounding(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, keyDir, foundingFile))
	_, node := os.Stat(filepath.Join(dir, keyDir, nodeFile))
	return err == nil && errors.Is(node, fs.ErrNotExist)
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
	if _, err := os.Stat(filepath.Join(r.Dir, keyDir, nodeFile)); err == nil {
		return nil, fmt.Errorf("%s holds a node already; choose another --dir", r.Dir)
	}
	path := filepath.Join(r.Dir, keyDir, foundingFile)
	var s foundingSecrets
	if err := readSealed(path, r.Lock, &s); err != nil {
		return nil, err
	}
	op := crypto.OpFromSeed(s.Op)
	if f.Epoch.Op != op.Public() {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the founding is of another request than the one of this data directory")
	}
	ident, err := newIdentity(f.Inception, f.File.RootEpoch, op, r.Contact, r.Addrs)
	if err != nil {
		return nil, err
	}
	if err := writeKeys(r.Dir, r.Lock, ident.Keys); err != nil {
		return nil, err
	}
	n, err := Open(Config{Dir: r.Dir, Keys: ident.Keys})
	if err != nil {
		return nil, err
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

// newIdentity makes a first node of an organisation whose first root epoch is signed, and its card.
func newIdentity(inc protocol.Inception, epoch protocol.Signed, op crypto.OpSigner, contact string, addrs []string) (*Identity, error) {
	id, err := crypto.GenerateIdentity()
	if err != nil {
		return nil, fmt.Errorf("generating age identity: %w", err)
	}
	k := &Keys{Org: inc.ID(), Op: op, Host: crypto.GenerateNode(), Signing: crypto.GenerateSigning(), Identities: []*crypto.Identity{id}, times: madeNow(id)}
	rand.Read(k.Store[:])
	now := uint64(nowMillis())
	card := &protocol.Card{Version: 1, Inception: protocol.Encode(&inc), RootEpoch: epoch,
		Serial: 1, Contact: contact, Issued: now, FreshUntil: now + CardLife,
		Nodes: []protocol.NodeEntry{{Node: k.Host.Public(), Signing: k.Signing.Public(), Recipient: id.Recipient(),
			NotBefore: now, NotAfter: now + nodeLife, Addrs: addrs,
			Binding: crypto.BindNode(inc.ID(), k.Host, k.Signing)}}}
	signed, err := crypto.SignCard(card, op)
	if err != nil {
		return nil, fmt.Errorf("signing card: %w", err)
	}
	if _, err := crypto.VerifyCard(&signed); err != nil {
		return nil, err
	}
	return &Identity{Keys: k, Card: signed}, nil
}
