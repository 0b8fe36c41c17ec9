package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// CardLife is how long a card that this node signs stays fresh, in milliseconds, and
// cardRenewal how long before its end a running node renews it.
const (
	CardLife    = 30 * 24 * 3600 * 1000
	cardRenewal = 15 * 24 * 3600 * 1000
	nodeLife    = 366 * 24 * 3600 * 1000
)

// InitRequest founds an organisation with one node.
type InitRequest struct {
	Dir        string // data directory; must not hold keys yet
	RootFile   string // where the root key goes, to be moved off the machine; must not exist
	Name       string
	Kind       protocol.OrgKind
	Country    string // ISO 3166-1 alpha-2; empty: international
	Contact    string
	Addrs      []string // announced multiaddrs; may be set later
	Passphrase []byte   // empty: a key file with mode 0600 in the data directory
	// Op is the operational key, where it is in a token; nil: one is made, and kept with the others.
	Op crypto.OpSigner
}

// Identity is an organisation with one node, made in memory.
type Identity struct {
	Keys *Keys
	Card protocol.SignedCard
	Root crypto.RootPrivate // this and Next: not where a ceremony has them
	Next crypto.RootPrivate // committed to, for the first root rotation
}

// NewIdentity makes the keys and the first card of an organisation.
func NewIdentity(r InitRequest) (*Identity, error) {
	root, next := crypto.GenerateRoot(), crypto.GenerateRoot()
	nextSet := protocol.RootSet{Keys: []protocol.RootKey{next.Public()}, Threshold: 1}
	inc := protocol.Inception{Version: 1, Name: r.Name, Kind: r.Kind, Country: r.Country,
		Root: protocol.RootSet{Keys: []protocol.RootKey{root.Public()}, Threshold: 1}, Next: nextSet.Hash()}
	rand.Read(inc.Nonce[:])
	if err := inc.Validate(); err != nil {
		return nil, err
	}
	op := r.Op
	if op == nil {
		op = crypto.GenerateOp()
	}
	epoch := protocol.Encode(&protocol.RootEpoch{Version: 1, Org: inc.ID(), Epoch: 1, Op: op.Public(), Issued: uint64(nowMillis())})
	sig, err := root.Sign(protocol.ContextRootEpoch, protocol.NoNetwork, epoch)
	if err != nil {
		return nil, fmt.Errorf("signing root epoch: %w", err)
	}
	ident, err := newIdentity(inc, protocol.Signed{Statement: epoch, Sigs: []protocol.KeySignature{{Key: root.Public(), Sig: sig}}}, op, r.Contact, r.Addrs)
	if err != nil {
		return nil, err
	}
	ident.Root, ident.Next = root, next
	return ident, nil
}

// Init founds an organisation on disk: keys, first card, store. The root key goes into a
// file of its own. Nothing is overwritten.
func Init(r InitRequest) (*Identity, error) {
	for _, path := range []string{filepath.Join(r.Dir, keyDir, nodeFile), filepath.Join(r.Dir, keyDir, foundingFile), r.RootFile} {
		if _, err := os.Stat(path); err == nil {
			return nil, fmt.Errorf("%s exists already; an organisation is founded once, choose another --dir", path)
		}
	}
	if err := CheckRestored(r.Dir); err != nil {
		return nil, err
	}
	ident, err := NewIdentity(r)
	if err != nil {
		return nil, err
	}
	lock, err := makeLock(r.Dir, r.Passphrase)
	if err != nil {
		return nil, err
	}
	if err := writeDurable(r.RootFile, rootFileText(r, ident)); err != nil {
		return nil, err
	}
	if err := writeKeys(r.Dir, lock, ident.Keys); err != nil {
		return nil, err
	}
	n, err := Open(Config{Dir: r.Dir, Keys: ident.Keys})
	if err != nil {
		return nil, err
	}
	return ident, errors.Join(n.putOwnCard(&ident.Card), n.Close())
}

// writeKeys writes the keys that there are.
func writeKeys(dir string, lock crypto.Lock, k *Keys) error {
	if k.Op != nil {
		if err := writeOp(dir, lock, k.Org, k.Op); err != nil {
			return err
		}
	}
	return writeSealed(filepath.Join(dir, keyDir, nodeFile), lock, k.secrets())
}

func rootFileText(r InitRequest, ident *Identity) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Root keys of %s\n# %s\n# Made %s.\n", strings.ReplaceAll(r.Name, "\n", " "), ident.Keys.Org, time.Now().UTC().Format(time.RFC3339))
	b.WriteString("# Move this file off the machine, to a safe. Whoever has it is the organisation;\n" +
		"# without it no operational key can ever be replaced. 'entente ceremony adopt' divides it among several people.\n")
	fmt.Fprintf(&b, "root: %s\nnext: %s\n", ident.Root.UnsafeString(), ident.Next.UnsafeString())
	return []byte(b.String())
}
