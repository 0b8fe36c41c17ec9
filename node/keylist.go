package node

import (
	"encoding/hex"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// KeyList is the keys of an organisation as its card states them, and those of this node. It shows
// public keys only.
type KeyList struct {
	Org  protocol.OrgID `json:"organisation"`
	Root RootInfo       `json:"root"`
	Op   OpInfo         `json:"operational"`
	Node NodeKeys       `json:"node"`
	// Retired are operational keys that ended, the last one first.
	Retired    []RetiredInfo  `json:"retired"`
	Token      *TokenInfo     `json:"token,omitempty"` // where the operational key is kept in one
	Identities []IdentityInfo `json:"age_identities"`
	Expiries   []Expiry       `json:"expiries"`
}

// RootInfo is the root set in force. Its keys are on no node.
type RootInfo struct {
	Set       int       `json:"set"` // root rotations before it
	Threshold int       `json:"threshold"`
	Keys      []RootRef `json:"keys"`
	// Next is the hash of the set that will follow: a thief of the present one cannot choose it.
	Next protocol.Hash `json:"next"`
	// Rotations is how many root rotations are left.
	Rotations int `json:"rotations_left"`
}

// RootRef names a root key.
type RootRef struct {
	Key         string `json:"key"` // in hexadecimal digits
	Fingerprint string `json:"fingerprint"`
}

// OpInfo is the operational key in force.
type OpInfo struct {
	Key   string    `json:"key"`
	Epoch string    `json:"root_epoch"`
	Since time.Time `json:"since"` // when its root epoch was asked for
	Here  bool      `json:"here"`  // this node has it
	Void  bool      `json:"void"`  // this node has another one, which ended
}

// RetiredInfo is an operational key that ended.
type RetiredInfo struct {
	Key    string    `json:"key"`
	Reason string    `json:"reason"` // rotated: what it signed stands; compromised: it does not
	At     time.Time `json:"at"`
}

// NodeKeys are this node's own.
type NodeKeys struct {
	Node     protocol.NodeID `json:"node"`
	Signing  string          `json:"signing"`
	NotAfter *time.Time      `json:"not_after,omitempty"` // of its entry on the card; nil: it is not on it
}

// KeyList lists them. Where the operational key is in a token, that is asked.
func (n *Node) KeyList() (*KeyList, error) {
	c := n.OwnCard()
	if c == nil {
		return nil, ErrNotEnrolled
	}
	e := c.RootEpoch
	out := &KeyList{Org: n.org,
		Root:    RootInfo{Set: len(c.Rotations), Threshold: int(c.Root.Threshold), Keys: []RootRef{}, Next: c.Next, Rotations: protocol.MaxRotations - len(c.Rotations)},
		Op:      OpInfo{Key: hex.EncodeToString(e.Op[:]), Epoch: protocol.EpochText(e.Epoch), Since: millis(e.Issued), Here: n.op() != nil, Void: n.keys.Op != nil && n.op() == nil},
		Node:    NodeKeys{Node: n.ID()},
		Retired: []RetiredInfo{}, Token: n.tokenInfo(), Identities: n.Identities(), Expiries: n.Expiries()}
	for _, k := range c.Root.Keys {
		out.Root.Keys = append(out.Root.Keys, RootRef{hex.EncodeToString(k[:]), crypto.Fingerprint(k)})
	}
	for i := len(e.Retired) - 1; i >= 0; i-- {
		r := e.Retired[i]
		out.Retired = append(out.Retired, RetiredInfo{hex.EncodeToString(r.Key[:]), reasonOf(r.Reason), millis(r.At)})
	}
	signing := n.keys.Signing.Public()
	out.Node.Signing = hex.EncodeToString(signing[:])
	if entry := c.Node(n.ID()); entry != nil {
		at := millis(entry.NotAfter)
		out.Node.NotAfter = &at
	}
	return out, nil
}
