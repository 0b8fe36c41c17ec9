package node

import (
	"fmt"
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
	return rootLines(text, "root: ")
}

func rootLines(text, prefix string) (keys []crypto.RootPrivate, err error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), prefix)
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
		return nil, fmt.Errorf("the file holds no line '%s…'; it is the one that 'entente init' wrote beside the data directory", prefix)
	}
	return keys, nil
}

// ParseNextRoots reads the keys that a root file commits to: those that the first root rotation needs.
func ParseNextRoots(text string) (keys []crypto.RootPrivate, err error) {
	return rootLines(text, "next: ")
}

// PromoteRequest gives a node the operational key.
type PromoteRequest struct {
	Dir  string
	Lock crypto.Lock // of the keys in Dir
	Root []crypto.RootPrivate
	// Compromised says that somebody else may have the key so far: what it signed, agreements
	// among it, does not stand any more.
	Compromised bool
	By          Caller
	// Op is the new key, where it is in a token; nil: one is made, and kept with the others. Where the one
	// so far is in a token, that has to be wanted: ToFile.
	Op     crypto.OpSigner
	ToFile bool
}

// Promote makes a new operational key on this node, which must not be running, and has the
// root sign an epoch in which it is in force: where the node that had it is lost or stolen,
// or is to be replaced, and the root keys are at hand. The key so far ends, wherever it is.
func (n *Node) Promote(r PromoteRequest) (*RotationReport, error) {
	op, err := n.newOp(r.Op, r.ToFile)
	if err != nil {
		return nil, err
	}
	req, err := n.rotationRequest(RotationInit{Kind: protocol.RotateOp, Compromised: r.Compromised}, op)
	if err != nil {
		return nil, err
	}
	rot, err := crypto.NewRotation(req)
	if err != nil {
		return nil, err
	}
	for _, k := range r.Root {
		rot.Sign(k)
	}
	return n.applyRotation(RotationApply{Dir: r.Dir, Lock: r.Lock, Rotation: rot, By: r.By}, op)
}
