package crypto

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/entente-mesh/entente/protocol"
)

// Epoch is an epoch key with its place.
type Epoch struct {
	Feed   protocol.FeedID
	Number uint64
	First  uint64 // first entry sealed with it, where that was before the grant; else 0
	Key    EpochKey
}

// GrantHint tells a node that a grant is for it:
// HMAC-SHA256(agreement's secret, "entente/grant/v1" || 0x00 || feed || seq as 8 bytes || node)[:16].
func GrantHint(secret [32]byte, feed protocol.FeedID, seq uint64, node protocol.NodeID) (hint [16]byte) {
	m := hmac.New(sha256.New, secret[:])
	m.Write([]byte("entente/grant/v1\x00"))
	m.Write(feed[:])
	m.Write(binary.BigEndian.AppendUint64(nil, seq))
	m.Write(node[:])
	copy(hint[:], m.Sum(nil))
	return hint
}

// GrantTo is a node that an epoch key goes to.
type GrantTo struct {
	Secret    [32]byte // of an agreement with the node's organisation
	Node      protocol.NodeID
	Recipient string // its age recipient
	First     uint64 // first entry sealed under the key, if any was before the grant; else 0
}

// SealGrants returns the encoded body of a grant entry: one sealed key for each node, filled
// up with dummies to a power of two, in random order. 1 to MaxGrantsPerEntry nodes.
func SealGrants(network protocol.NetworkID, publisher protocol.OrgID, feed protocol.FeedID, seq, epoch uint64, key EpochKey, to []GrantTo) ([]byte, error) {
	if len(to) == 0 || len(to) > protocol.MaxGrantsPerEntry {
		return nil, protocol.Errorf(protocol.ErrOversize, "a grant entry holds 1 to %d grants, not %d", protocol.MaxGrantsPerEntry, len(to))
	}
	slots := 1
	for slots < len(to) {
		slots *= 2
	}
	body := &protocol.GrantBody{Version: 1, Slots: make([]protocol.GrantSlot, slots)}
	for i := range body.Slots {
		plain := protocol.GrantPlain{Version: 1, Network: network, Publisher: publisher, Feed: feed, Seq: seq, Epoch: epoch, First: to[0].First}
		recipient := ""
		if i < len(to) {
			plain.Recipient, plain.Key, plain.First = to[i].Node, key.seed, to[i].First
			body.Slots[i].Hint = GrantHint(to[i].Secret, feed, seq, to[i].Node)
			recipient = to[i].Recipient
		} else {
			rand.Read(body.Slots[i].Hint[:])
			nobody, err := GenerateIdentity()
			if err != nil {
				return nil, err
			}
			recipient = nobody.Recipient()
		}
		sealed, err := SealTo(recipient, protocol.Encode(&plain))
		if err != nil {
			return nil, err
		}
		body.Slots[i].Sealed = sealed
	}
	if err := shuffle(body.Slots); err != nil {
		return nil, err
	}
	return protocol.Encode(body), nil
}

// ErrIdentityGone says that a grant is for a node and sealed to an age identity that it does not hold. It
// is of class ErrNotInAudience.
var ErrIdentityGone = protocol.Errorf(protocol.ErrNotInAudience, "grant is sealed to an age identity that this node does not hold any more")

// OpenGrant finds and opens the grant that is for node: secrets are those of the agreements
// with the publisher. The error is of class ErrNotInAudience if no hint matches, and of
// class ErrWrongContext if the grant says anything but what its place says.
func OpenGrant(network protocol.NetworkID, publisher protocol.OrgID, feed protocol.FeedID, seq uint64, node protocol.NodeID, ids []*Identity, secrets [][32]byte, body *protocol.GrantBody) (*Epoch, error) {
	for _, s := range secrets {
		hint := GrantHint(s, feed, seq, node)
		for i := range body.Slots {
			if body.Slots[i].Hint != hint {
				continue
			}
			return openGrant(ids, body.Slots[i].Sealed, protocol.GrantPlain{Version: 1, Network: network, Publisher: publisher, Feed: feed, Seq: seq, Recipient: node})
		}
	}
	return nil, protocol.Errorf(protocol.ErrNotInAudience, "no grant is for this node")
}

func openGrant(ids []*Identity, sealed []byte, want protocol.GrantPlain) (*Epoch, error) {
	for _, id := range ids {
		plain, err := id.OpenSealed(sealed)
		if errors.Is(err, protocol.ErrNotInAudience) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var g protocol.GrantPlain
		if err := protocol.Decode(plain, protocol.MaxGrantSize, &g); err != nil {
			return nil, err
		}
		want.Epoch, want.Key, want.First = g.Epoch, g.Key, g.First
		if g != want {
			return nil, protocol.Errorf(protocol.ErrWrongContext, "grant was made for another place or another node")
		}
		return &Epoch{Feed: g.Feed, Number: g.Epoch, First: g.First, Key: EpochKeyOf(g.Key)}, nil
	}
	return nil, ErrIdentityGone
}
