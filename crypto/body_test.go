package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func key(b byte) EpochKey { return EpochKeyOf([32]byte{b, 1}) }

func TestBodyOpensForExactlyItsAudience(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, protocol.MaxStanzas).Draw(t, "epochs")
		var keys []EpochKey
		for i := range n {
			keys = append(keys, key(byte(i)))
		}
		plain := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "plain")
		h := protocol.Header{Version: 1, Suite: 1, Kind: protocol.EntryRecords, Feed: protocol.FeedID{3}, Seq: 9}
		ctx := h.SealContext(protocol.NetworkID{1})
		sealed, err := SealBody(ctx, h.Feed, h.Seq, keys, plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			got, used, err := OpenBody(ctx, h.Feed, h.Seq, []EpochKey{key(200), k}, sealed)
			if err != nil || used != 1 || !bytes.Equal(got, plain) {
				t.Fatalf("got %d bytes, candidate %d, %v", len(got), used, err)
			}
		}
		if _, _, err := OpenBody(ctx, h.Feed, h.Seq, []EpochKey{key(100)}, sealed); !errors.Is(err, protocol.ErrNotInAudience) {
			t.Fatalf("a stranger's key: got %v", err)
		}
		i := rapid.IntRange(0, len(sealed)-1).Draw(t, "flip")
		sealed[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, _, err := OpenBody(ctx, h.Feed, h.Seq, keys, sealed); err == nil {
			t.Fatalf("a flipped bit at %d was not noticed: %d bytes", i, len(got))
		}
	})
}

func TestBodyDoesNotOpenElsewhere(t *testing.T) {
	h := protocol.Header{Version: 1, Suite: 1, Kind: protocol.EntryRecords, Feed: protocol.FeedID{3}, Seq: 9}
	net := protocol.NetworkID{1}
	sealed, err := SealBody(h.SealContext(net), h.Feed, h.Seq, []EpochKey{key(1)}, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(h *protocol.Header, n *protocol.NetworkID){
		"feed":    func(h *protocol.Header, _ *protocol.NetworkID) { h.Feed = protocol.FeedID{4} },
		"seq":     func(h *protocol.Header, _ *protocol.NetworkID) { h.Seq++ },
		"kind":    func(h *protocol.Header, _ *protocol.NetworkID) { h.Kind = protocol.EntryWithdraw },
		"suite":   func(h *protocol.Header, _ *protocol.NetworkID) { h.Suite = 2 },
		"version": func(h *protocol.Header, _ *protocol.NetworkID) { h.Version = 2 },
		"network": func(_ *protocol.Header, n *protocol.NetworkID) { n[0]++ },
	} {
		h, net := h, net
		change(&h, &net)
		// With the hint of the true place too, so that the key derivation alone must refuse.
		for _, seq := range []uint64{h.Seq, 9} {
			for _, feed := range []protocol.FeedID{h.Feed, {3}} {
				if _, _, err := OpenBody(h.SealContext(net), feed, seq, []EpochKey{key(1)}, sealed); err == nil {
					t.Errorf("another %s: opened", name)
				}
			}
		}
	}
}

func TestGrant(t *testing.T) {
	id, err := GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	net, pub, feed, node, secret := protocol.NetworkID{1}, protocol.OrgID{2}, protocol.FeedID{3}, protocol.NodeID{4}, [32]byte{5}
	for _, n := range []int{1, 3} {
		to := []GrantTo{{Secret: secret, Node: node, Recipient: id.Recipient()}}
		for i := 1; i < n; i++ {
			other, _ := GenerateIdentity()
			to = append(to, GrantTo{Secret: [32]byte{9}, Node: protocol.NodeID{byte(i), 9}, Recipient: other.Recipient()})
		}
		enc, err := SealGrants(net, pub, feed, 7, 2, key(1), to)
		if err != nil {
			t.Fatal(err)
		}
		var body protocol.GrantBody
		if err := protocol.Decode(enc, protocol.MaxBodySize, &body); err != nil {
			t.Fatal(err)
		}
		for _, s := range body.Slots {
			if len(s.Sealed) != len(body.Slots[0].Sealed) {
				t.Error("grants differ in length: dummies can be told")
			}
		}
		ep, err := OpenGrant(net, pub, feed, 7, node, []*Identity{id}, [][32]byte{{1}, secret}, &body)
		if err != nil || ep.Number != 2 || ep.Key.UnsafeBytes() != key(1).UnsafeBytes() {
			t.Fatalf("got %v, %v", ep, err)
		}
		if _, err := OpenGrant(net, pub, feed, 8, node, []*Identity{id}, [][32]byte{secret}, &body); !errors.Is(err, protocol.ErrNotInAudience) {
			t.Errorf("another seq: got %v", err)
		}
		// A member that knows the secret and copies the grant under the hint of another place.
		forged := body
		forged.Slots = append([]protocol.GrantSlot(nil), body.Slots...)
		for i := range forged.Slots {
			if forged.Slots[i].Hint == GrantHint(secret, feed, 7, node) {
				forged.Slots[i].Hint = GrantHint(secret, protocol.FeedID{8}, 7, node)
			}
		}
		if _, err := OpenGrant(net, pub, protocol.FeedID{8}, 7, node, []*Identity{id}, [][32]byte{secret}, &forged); !errors.Is(err, protocol.ErrWrongContext) {
			t.Errorf("lifted into another feed: got %v", err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	id, err := GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	op := OpFromSeed([32]byte(bytes.Repeat([]byte("K"), 32)))
	for _, v := range []any{op, &op, EpochKeyOf([32]byte(bytes.Repeat([]byte("K"), 32))), id, PassphraseLock([]byte("KKKKKKKK"))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if got := fmt.Sprintf(verb, v); got != redacted {
				t.Errorf("%T with %s prints %q", v, verb, got)
			}
		}
	}
}

func TestPadme(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<20).Draw(t, "n")
		p := padme(n)
		if p < n || p > n+n/8+1 {
			t.Fatalf("padme(%d) = %d", n, p)
		}
		b := bytes.Repeat([]byte{7}, n%4096)
		got, err := unpadded(padded(b, 64), 64)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	})
}

func TestLock(t *testing.T) {
	testOnlyWorkFactor = 10
	file, err := KeyFileLock(NewKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	other, err := KeyFileLock(NewKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]Lock{
		"passphrase": {PassphraseLock([]byte("right")), PassphraseLock([]byte("wrong"))},
		"key file":   {file, other},
	} {
		sealed, err := pair[0].Seal([]byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pair[0].Open(sealed); err != nil || string(got) != "secret" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if _, err := pair[1].Open(sealed); err == nil {
			t.Errorf("%s: the wrong one opens", name)
		}
	}
}
