package protocoltest

import (
	"encoding/hex"
	"fmt"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// SealedVector is a vector of something sealed. Sealing is random, so these are made once
// and kept; what must come of opening them stands beside.
type SealedVector struct {
	Name    string `json:"name"`
	Spec    string `json:"spec"`
	Comment string `json:"comment"`
	Message string `json:"message"` // "body" or "grant"
	Bytes   string `json:"bytes"`   // hex: the body of the envelope
	// Where the reader finds it, and what the reader has.
	Network   string `json:"network"`             // hex, as everything below
	Feed      string `json:"feed"`                //
	Seq       uint64 `json:"seq"`                 //
	Kind      uint8  `json:"kind"`                // of the entry
	EpochKey  string `json:"epoch_key,omitempty"` // body
	Publisher string `json:"publisher,omitempty"` // grant
	Node      string `json:"node,omitempty"`      // grant: the reader's
	Identity  string `json:"identity,omitempty"`  // grant: the reader's age identity
	Secret    string `json:"secret,omitempty"`    // grant: of the agreement
	Expect    string `json:"expect"`
	Plain     string `json:"plain,omitempty"`      // body, if ok
	Epoch     uint64 `json:"epoch,omitempty"`      // grant, if ok
	Key       string `json:"opened_key,omitempty"` // grant, if ok
}

func unhex32(s string) (out [32]byte, err error) {
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != 32 {
		err = fmt.Errorf("%d bytes, want 32", len(b))
	}
	copy(out[:], b)
	return out, err
}

// Open opens v and returns it with what came of it.
func (v SealedVector) Open() (SealedVector, error) {
	v.Expect, v.Plain, v.Epoch, v.Key = "", "", 0, ""
	data, err := hex.DecodeString(v.Bytes)
	if err != nil {
		return v, err
	}
	var fixed [6][32]byte
	for i, s := range []string{v.Network, v.Feed, v.EpochKey, v.Publisher, v.Node, v.Secret} {
		if s == "" {
			continue
		}
		if fixed[i], err = unhex32(s); err != nil {
			return v, err
		}
	}
	network, feed := protocol.NetworkID(fixed[0]), protocol.FeedID(fixed[1])
	if v.Message == "body" {
		h := protocol.Header{Version: 1, Suite: protocol.Suite1, Kind: protocol.EntryKind(v.Kind), Feed: feed, Seq: v.Seq}
		plain, _, err := crypto.OpenBody(h.SealContext(network), feed, v.Seq, []crypto.EpochKey{crypto.EpochKeyOf(fixed[2])}, data)
		v.Expect, v.Plain = protocol.Class(err), hex.EncodeToString(plain)
		return v, nil
	}
	var body protocol.GrantBody
	if err := protocol.Decode(data, protocol.MaxBodySize, &body); err != nil {
		v.Expect = protocol.Class(err)
		return v, nil
	}
	id, err := crypto.ParseIdentity(v.Identity)
	if err != nil {
		return v, err
	}
	ep, err := crypto.OpenGrant(network, protocol.OrgID(fixed[3]), feed, v.Seq, protocol.NodeID(fixed[4]), []*crypto.Identity{id}, [][32]byte{fixed[5]}, &body)
	if v.Expect = protocol.Class(err); err == nil {
		key := ep.Key.UnsafeBytes()
		v.Epoch, v.Key = ep.Number, hex.EncodeToString(key[:])
	}
	return v, nil
}

// MakeSealed makes the sealed vectors anew; each time other bytes come out.
func MakeSealed() []SealedVector {
	alice, bob := Alice(), Bob()
	network, a := Network().ID(), Agreement()
	feed := alice.Entry(1, protocol.Hash{}, []byte("x")).Header.Feed
	other := bob.Entry(1, protocol.Hash{}, []byte("x")).Header.Feed
	key := [32]byte{0x11, 0x22, 0x33}
	x := func(b [32]byte) string { return hex.EncodeToString(b[:]) }
	h := protocol.Header{Version: 1, Suite: protocol.Suite1, Kind: protocol.EntryRecords, Feed: feed, Seq: 2}
	plain := protocol.Encode(alice.Body())
	sealed := must(crypto.SealBody(h.SealContext(network), feed, 2, []crypto.EpochKey{crypto.EpochKeyOf(key), crypto.EpochKeyOf([32]byte{9})}, plain))
	body := SealedVector{Spec: "Bodies", Message: "body", Bytes: hex.EncodeToString(sealed), Network: x(network), Feed: x(feed), Seq: 2,
		Kind: uint8(protocol.EntryRecords), EpochKey: x(key)}
	id := must(crypto.GenerateIdentity())
	node := bob.Host.Public()
	granted := must(crypto.SealGrants(network, alice.Org, feed, 1, 1, crypto.EpochKeyOf(key), []crypto.GrantTo{{Secret: a.Secret, Node: node, Recipient: id.Recipient()}}))
	grant := SealedVector{Spec: "Epochs and grants", Message: "grant", Bytes: hex.EncodeToString(granted), Network: x(network), Feed: x(feed), Seq: 1,
		Kind: uint8(protocol.EntryGrant), Publisher: x(alice.Org), Node: x(node), Identity: id.UnsafeString(), Secret: x(a.Secret)}
	var gb protocol.GrantBody
	if err := protocol.Decode(granted, protocol.MaxBodySize, &gb); err != nil {
		panic(err)
	}
	gb.Slots[0].Hint = crypto.GrantHint(a.Secret, other, 1, node)
	moved := hex.EncodeToString(protocol.Encode(&gb))
	var out []SealedVector
	add := func(v SealedVector, name, comment, class string, change func(*SealedVector)) {
		v.Name, v.Comment = name, comment
		if change != nil {
			change(&v)
		}
		v = must(v.Open())
		if v.Expect != class {
			panic(fmt.Sprintf("sealed vector %q: got %s, meant %s", name, v.Expect, class))
		}
		out = append(out, v)
	}
	add(body, "body", "A body under two epoch keys, opened with one of them.", "ok", nil)
	add(body, "body with another key", "No stanza is for it.", "not-in-audience", func(v *SealedVector) { v.EpochKey = x([32]byte{1}) })
	add(body, "body at another seq", "The hints depend on the place.", "not-in-audience", func(v *SealedVector) { v.Seq = 3 })
	add(body, "body in another feed", "Lifted by another author.", "not-in-audience", func(v *SealedVector) { v.Feed = x(other) })
	add(body, "body of another kind", "The wrap key depends on the kind.", "wrong-context", func(v *SealedVector) { v.Kind = uint8(protocol.EntryWithdraw) })
	add(body, "body of another network", "The wrap key depends on the network.", "wrong-context", func(v *SealedVector) { v.Network = x([32]byte{1}) })
	add(grant, "grant", "The key of epoch 1 for Bob's node.", "ok", nil)
	add(grant, "grant for another node", "No hint is for it.", "not-in-audience", func(v *SealedVector) { v.Node = x(alice.Host.Public()) })
	add(grant, "grant under another agreement", "The hint depends on the agreement's secret.", "not-in-audience", func(v *SealedVector) { v.Secret = x([32]byte{1}) })
	add(grant, "grant moved to another feed", "The hint was made anew; what is inside says where it belongs.", "wrong-context",
		func(v *SealedVector) { v.Feed, v.Bytes = x(other), moved })
	add(grant, "grant of another publisher", "The same.", "wrong-context", func(v *SealedVector) { v.Publisher = x(bob.Org) })
	return out
}
