package crypto

import (
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Card is a card that verified from its OrgID alone.
type Card struct {
	protocol.Card
	Org       protocol.OrgID
	Inception protocol.Inception
	RootEpoch protocol.RootEpoch
	Root      protocol.RootSet // in force
	Next      protocol.Hash    // of the root set that will follow
	Order     protocol.CardOrder
	Hash      protocol.Hash
	Signed    protocol.SignedCard
}

// BindNode signs, with a node's own keys, that it is a node of org.
func BindNode(org protocol.OrgID, host NodePrivate, signing SigningPrivate) protocol.Binding {
	b := protocol.Encode(&protocol.NodeBinding{Version: 1, Org: org, Node: host.Public(), Signing: signing.Public()})
	return protocol.Binding{Host: host.sign(protocol.ContextNode, protocol.NoNetwork, b), Signing: signing.sign(protocol.ContextNode, protocol.NoNetwork, b)}
}

func verifyBinding(org protocol.OrgID, node protocol.NodeID, signing protocol.SigningKey, b *protocol.Binding) error {
	st := protocol.Encode(&protocol.NodeBinding{Version: 1, Org: org, Node: node, Signing: signing})
	if Verify(node, protocol.ContextNode, protocol.NoNetwork, st, b.Host) != nil || Verify(signing, protocol.ContextNode, protocol.NoNetwork, st, b.Signing) != nil {
		return protocol.Errorf(protocol.ErrBadSignature, "card lists node %s, whose keys did not sign that it belongs to %s", node, org.Short())
	}
	return nil
}

// SignCard signs a card with the operational key of its root epoch.
func SignCard(c *protocol.Card, op OpSigner) (protocol.SignedCard, error) {
	if err := c.Validate(); err != nil {
		return protocol.SignedCard{}, err
	}
	b := protocol.Encode(c)
	sig, err := op.Sign(protocol.ContextCard, protocol.NoNetwork, b)
	return protocol.SignedCard{Statement: b, Sig: sig}, err
}

// VerifyCard verifies a card from the inception statement up: the root rotations in order,
// each committed to by the set before it; the root epoch by the root keys in force; the card
// by the operational key of that epoch; every node on it by the node's own keys. It reads no
// clock: see Fresh.
func VerifyCard(signed *protocol.SignedCard) (*Card, error) {
	c := &Card{Signed: *signed, Hash: signed.Hash()}
	if err := protocol.Decode(signed.Statement, protocol.MaxCardSize, &c.Card); err != nil {
		return nil, fmt.Errorf("reading card: %w", err)
	}
	if err := protocol.Decode(c.Card.Inception, protocol.MaxCardSize, &c.Inception); err != nil {
		return nil, fmt.Errorf("reading inception: %w", err)
	}
	c.Org = c.Inception.ID()
	root, next, err := rootInForce(c)
	if err != nil {
		return nil, err
	}
	c.Root, c.Next = *root, next
	if err := protocol.Decode(c.Card.RootEpoch.Statement, protocol.MaxCardSize, &c.RootEpoch); err != nil {
		return nil, fmt.Errorf("reading root epoch: %w", err)
	}
	if c.RootEpoch.Org != c.Org {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "root epoch belongs to another organisation")
	}
	if r, _ := protocol.EpochParts(c.RootEpoch.Epoch); r != len(c.Rotations) {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "root epoch is of root set %d, and the card has %d root rotations", r, len(c.Rotations))
	}
	if err := verifyThreshold(root, protocol.ContextRootEpoch, &c.Card.RootEpoch); err != nil {
		return nil, fmt.Errorf("root epoch: %w", err)
	}
	if err := Verify(c.RootEpoch.Op, protocol.ContextCard, protocol.NoNetwork, signed.Statement, signed.Sig); err != nil {
		return nil, err
	}
	for i := range c.Nodes {
		if err := verifyBinding(c.Org, c.Nodes[i].Node, c.Nodes[i].Signing, &c.Nodes[i].Binding); err != nil {
			return nil, err
		}
	}
	for i := range c.Card.Removed {
		if err := verifyBinding(c.Org, c.Card.Removed[i].Node, c.Card.Removed[i].Signing, &c.Card.Removed[i].Binding); err != nil {
			return nil, err
		}
	}
	c.Order = protocol.CardOrder{Epoch: c.RootEpoch.Epoch, Serial: c.Serial}
	return c, nil
}

// rootInForce returns the root set in force, and the hash of the one that will follow.
func rootInForce(c *Card) (*protocol.RootSet, protocol.Hash, error) {
	root, next := c.Inception.Root, c.Inception.Next
	for i := range c.Rotations {
		var r protocol.RootRotation
		if err := protocol.Decode(c.Rotations[i].Statement, protocol.MaxCardSize, &r); err != nil {
			return nil, protocol.Hash{}, fmt.Errorf("reading root rotation %d: %w", i+1, err)
		}
		switch {
		case r.Org != c.Org || r.Index != uint32(i+1):
			return nil, protocol.Hash{}, protocol.Errorf(protocol.ErrWrongContext, "root rotation %d belongs to another place", i+1)
		case r.Root.Hash() != next:
			return nil, protocol.Hash{}, protocol.Errorf(protocol.ErrBadSignature, "root rotation %d is not to the keys that were committed to", i+1)
		}
		if err := verifyThreshold(&r.Root, protocol.ContextRootRotation, &c.Rotations[i]); err != nil {
			return nil, protocol.Hash{}, fmt.Errorf("root rotation %d: %w", i+1, err)
		}
		root, next = r.Root, r.Next
	}
	return &root, next, nil
}

// verifyThreshold wants as many distinct keys of the set as its threshold says.
func verifyThreshold(root *protocol.RootSet, context protocol.Context, s *protocol.Signed) error {
	if len(s.Sigs) > protocol.MaxRootKeys {
		return protocol.Errorf(protocol.ErrOversize, "%d signatures, at most %d", len(s.Sigs), protocol.MaxRootKeys)
	}
	good := map[protocol.RootKey]bool{}
	for _, sig := range s.Sigs {
		for _, k := range root.Keys {
			if k == protocol.RootKey(sig.Key) && Verify(sig.Key, context, protocol.NoNetwork, s.Statement, sig.Sig) == nil {
				good[k] = true
			}
		}
	}
	if len(good) < int(root.Threshold) {
		return protocol.Errorf(protocol.ErrBadSignature, "%d of %d root signatures verify, %d are needed", len(good), len(s.Sigs), root.Threshold)
	}
	return nil
}

// Fresh reports whether the card may be acted on at now (Unix milliseconds). Nothing is
// granted against a card that is not fresh.
func (c *Card) Fresh(now uint64) bool {
	return now < c.FreshUntil && c.Issued <= now+protocol.MaxClockSkew
}

// Node returns the entry of a node, or nil.
func (c *Card) Node(id protocol.NodeID) *protocol.NodeEntry {
	for i := range c.Nodes {
		if c.Nodes[i].Node == id {
			return &c.Nodes[i]
		}
	}
	return nil
}

// Lists reports whether the card lists a node's signing key, now or as removed: what such a
// node signed while it was listed stays valid.
func (c *Card) Lists(k protocol.SigningKey) bool {
	for i := range c.Nodes {
		if c.Nodes[i].Signing == k {
			return true
		}
	}
	for i := range c.Removed {
		if c.Removed[i].Signing == k {
			return true
		}
	}
	return false
}

// opKeyEver reports whether k is or was an operational key of the organisation, for whatever reason
// it ended.
func (c *Card) opKeyEver(k protocol.OpKey) bool {
	return k == c.RootEpoch.Op || slices.ContainsFunc(c.RootEpoch.Retired, func(r protocol.RetiredKey) bool { return r.Key == k })
}

// OpKeyValid reports whether signatures by k stand: it is the operational key in force, or
// was replaced in the ordinary way.
func (c *Card) OpKeyValid(k protocol.OpKey) bool {
	if k == c.RootEpoch.Op {
		return true
	}
	for _, r := range c.RootEpoch.Retired {
		if r.Key == k && r.Reason == protocol.RetiredRotated {
			return true
		}
	}
	return false
}
