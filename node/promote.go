package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// op returns the operational key if it is on this machine and in force: a later root epoch
// voids the one before.
func (n *Node) op() crypto.OpSigner {
	if n.keys.Op == nil {
		return nil
	}
	if own := n.OwnCard(); own != nil && own.RootEpoch.Op != n.keys.Op.Public() {
		return nil
	}
	return n.keys.Op
}

// ParseRootFile reads the root keys of a file that Init wrote.
func ParseRootFile(text string) (keys []crypto.RootPrivate, err error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "root: ")
		if !ok {
			continue
		}
		k, err := crypto.ParseRoot(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("reading root key: %w", err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("the file holds no line 'root: …'; it is the one that 'entente init' wrote beside the data directory")
	}
	return keys, nil
}

// PromoteRequest gives a node the operational key.
type PromoteRequest struct {
	Dir  string
	Lock crypto.Lock // of the keys in Dir
	Root []crypto.RootPrivate
	// Compromised says that somebody else may have the key so far: what it signed, agreements
	// among it, does not stand any more.
	Compromised bool
	// Op is the new key, where it is in a token; nil: one is made, and kept with the others.
	Op crypto.OpSigner
}

// Promote makes a new operational key on this node, which must not be running, and has the
// root sign an epoch in which it is in force: where the node that had it is lost or stolen,
// or is to be replaced. The key so far ends, wherever it is.
func (n *Node) Promote(r PromoteRequest) error {
	own := n.OwnCard()
	if own == nil || own.Node(n.ID()) == nil {
		return ErrNotEnrolled
	}
	now := uint64(nowMillis())
	op := r.Op
	if op == nil {
		op = crypto.GenerateOp()
	}
	reason := protocol.RetiredRotated
	if r.Compromised {
		reason = protocol.RetiredCompromised
	}
	e := own.RootEpoch
	e.Retired = append(slices.Clone(e.Retired), protocol.RetiredKey{Key: e.Op, Reason: reason, At: now})
	if len(e.Retired) > protocol.MaxRetiredKeys {
		// One that is not listed is worth what a compromised one is, so those go first.
		i := slices.IndexFunc(e.Retired, func(k protocol.RetiredKey) bool { return k.Reason == protocol.RetiredCompromised })
		e.Retired = slices.Delete(e.Retired, max(i, 0), max(i, 0)+1)
	}
	e.Epoch++
	e.Op, e.Issued = op.Public(), now
	statement := protocol.Encode(&e)
	signed := protocol.Signed{Statement: statement}
	for _, root := range r.Root {
		sig, err := root.Sign(protocol.ContextRootEpoch, protocol.NoNetwork, statement)
		if err != nil {
			return fmt.Errorf("signing root epoch: %w", err)
		}
		signed.Sigs = append(signed.Sigs, protocol.KeySignature{Key: root.Public(), Sig: sig})
	}
	slices.SortFunc(signed.Sigs, func(a, b protocol.KeySignature) int { return slices.Compare(a.Key[:], b.Key[:]) })
	c := own.Card
	c.RootEpoch, c.Serial = signed, 1
	c.Issued, c.FreshUntil = now, now+CardLife
	card, err := crypto.SignCard(&c, op)
	if err != nil {
		return fmt.Errorf("signing card: %w", err)
	}
	// Nothing is written before it is known that everybody will take it.
	if _, err := crypto.VerifyCard(&card); err != nil {
		return fmt.Errorf("the root keys given do not sign for this organisation: %w", err)
	}
	// The key first: a card that names a key that nobody has could not be followed by another.
	if err := writeOp(r.Dir, r.Lock, n.org, op); err != nil {
		return err
	}
	n.keys.Op = op
	if err := n.putOwnCard(&card); err != nil {
		return errors.Join(err, errors.New("the new key is written, and the card is not: run the same again"))
	}
	return nil
}
