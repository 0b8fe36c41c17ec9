package crypto

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

func newTestIdentity(t testing.TB) *Identity {
	t.Helper()
	id, err := GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestGrantReachesItsNode: an epoch key reaches the node that it is for, at its place, and no other.
func TestGrantReachesItsNode(t *testing.T) {
	network, publisher, feed := protocol.NetworkID{1}, protocol.OrgID{2}, protocol.FeedID{3}
	id, other := newTestIdentity(t), newTestIdentity(t)
	node, secret := protocol.NodeID{4}, [32]byte{5}
	key := EpochKeyOf([32]byte{6})
	raw, err := SealGrants(network, publisher, feed, 7, 8, key, []GrantTo{
		{Secret: [32]byte{9}, Node: protocol.NodeID{9}, Recipient: other.Recipient()},
		{Secret: secret, Node: node, Recipient: id.Recipient()},
		{Secret: secret, Node: protocol.NodeID{10}, Recipient: other.Recipient()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > protocol.MaxBodySize {
		t.Errorf("entry has %d bytes", len(raw))
	}
	var body protocol.GrantBody
	if err := protocol.Decode(raw, protocol.MaxBodySize, &body); err != nil {
		t.Fatal(err)
	}
	if len(body.Slots) != 4 {
		t.Errorf("three grants are %d slots, want 4: a power of two", len(body.Slots))
	}
	ep, err := OpenGrant(network, publisher, feed, 7, node, []*Identity{other, id}, [][32]byte{{1}, secret}, &body)
	if err != nil || ep.Number != 8 || ep.Key.UnsafeBytes() != key.UnsafeBytes() {
		t.Fatalf("got %+v, %v", ep, err)
	}
	for name, open := range map[string]func() (*Epoch, error){
		"another node": func() (*Epoch, error) {
			return OpenGrant(network, publisher, feed, 7, protocol.NodeID{11}, []*Identity{id}, [][32]byte{secret}, &body)
		},
		"another feed": func() (*Epoch, error) {
			return OpenGrant(network, publisher, protocol.FeedID{4}, 7, node, []*Identity{id}, [][32]byte{secret}, &body)
		},
		"another seq": func() (*Epoch, error) {
			return OpenGrant(network, publisher, feed, 8, node, []*Identity{id}, [][32]byte{secret}, &body)
		},
		"another agreement": func() (*Epoch, error) {
			return OpenGrant(network, publisher, feed, 7, node, []*Identity{id}, [][32]byte{{6}}, &body)
		},
		"another identity": func() (*Epoch, error) {
			return OpenGrant(network, publisher, feed, 7, node, []*Identity{other}, [][32]byte{secret}, &body)
		},
	} {
		if _, err := open(); !errors.Is(err, protocol.ErrNotInAudience) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whoever knows the hint cannot move the grant: what it is bound to stands inside.
	moved := protocol.GrantBody{Version: 1, Slots: []protocol.GrantSlot{{}}}
	for _, s := range body.Slots {
		if s.Hint == GrantHint(secret, feed, 7, node) {
			moved.Slots[0].Sealed = s.Sealed
		}
	}
	moved.Slots[0].Hint = GrantHint(secret, protocol.FeedID{4}, 7, node)
	if _, err := OpenGrant(network, publisher, protocol.FeedID{4}, 7, node, []*Identity{id}, [][32]byte{secret}, &moved); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("a grant moved to another feed: %v", err)
	}
	moved.Slots[0].Hint = GrantHint(secret, feed, 7, node)
	if _, err := OpenGrant(protocol.NetworkID{2}, publisher, feed, 7, node, []*Identity{id}, [][32]byte{secret}, &moved); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("a grant of another network: %v", err)
	}
	if _, err := OpenGrant(network, protocol.OrgID{3}, feed, 7, node, []*Identity{id}, [][32]byte{secret}, &moved); !errors.Is(err, protocol.ErrWrongContext) {
		t.Errorf("a grant of another publisher: %v", err)
	}
	if _, err := SealGrants(network, publisher, feed, 1, 1, key, nil); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("a grant to nobody: %v", err)
	}
	full := make([]GrantTo, protocol.MaxGrantsPerEntry)
	for i := range full {
		full[i] = GrantTo{Node: protocol.NodeID{byte(i)}, Recipient: id.Recipient()}
	}
	if raw, err = SealGrants(network, publisher, feed, 1, 1, key, full); err != nil || len(raw) > protocol.MaxBodySize {
		t.Errorf("a full entry has %d bytes, %v", len(raw), err)
	}
}

func TestSealTo(t *testing.T) {
	id, other := newTestIdentity(t), newTestIdentity(t)
	sealed, err := SealTo(id.Recipient(), []byte("letter"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := id.OpenSealed(sealed); err != nil || string(plain) != "letter" {
		t.Errorf("got %q, %v", plain, err)
	}
	if _, err := other.OpenSealed(sealed); !errors.Is(err, protocol.ErrNotInAudience) {
		t.Errorf("opened by another: %v", err)
	}
	for i := 0; i < len(sealed); i += 11 {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		if plain, err := id.OpenSealed(b); err == nil {
			t.Errorf("byte %d altered: opened as %q", i, plain)
		}
	}
	for _, r := range []string{"", "age1pq1", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"} {
		if _, err := SealTo(r, nil); err == nil {
			t.Errorf("sealed to %q, which is no post-quantum recipient", r)
		}
	}
}

func TestLocks(t *testing.T) {
	testOnlyWorkFactor = 10
	defer func() { testOnlyWorkFactor = 0 }()
	keyFile := NewKeyFile()
	kf, err := KeyFileLock(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	wrongFile, err := KeyFileLock(NewKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]Lock{
		"passphrase": {PassphraseLock([]byte("correct horse")), PassphraseLock([]byte("incorrect horse"))},
		"key file":   {kf, wrongFile},
	} {
		sealed, err := pair[0].Seal([]byte("the secret"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, []byte("secret")) {
			t.Errorf("%s: the secret is readable", name)
		}
		if plain, err := pair[0].Open(sealed); err != nil || string(plain) != "the secret" {
			t.Errorf("%s: got %q, %v", name, plain, err)
		}
		if _, err := pair[1].Open(sealed); err == nil {
			t.Errorf("%s: the wrong one opens it", name)
		}
		if _, err := pair[0].Open(sealed[:len(sealed)-1]); err == nil {
			t.Errorf("%s: opened although truncated", name)
		}
	}
	if _, err := KeyFileLock([]byte("no key")); err == nil {
		t.Error("a file without a key is a lock")
	}
}

// TestSecretsNeverPrint: whatever formats a value that holds a secret shows none of it.
func TestSecretsNeverPrint(t *testing.T) {
	seed := [32]byte{}
	for i := range seed {
		seed[i] = 0x41 + byte(i%16)
	}
	root, err := ParseRoot("entente-root-secret:" + hex.EncodeToString(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	id := newTestIdentity(t)
	age := id.UnsafeString()
	values := map[string]any{"root": root, "op": OpFromSeed(seed), "signing": SigningFromSeed(seed), "host": NodeFromSeed(seed),
		"epoch key": EpochKeyOf(seed), "identity": id, "passphrase": PassphraseLock([]byte(seed[:])),
		"struct": struct{ Key SigningPrivate }{SigningFromSeed(seed)}, "slice": []EpochKey{EpochKeyOf(seed)}}
	leaks := []string{string(seed[:8]), hex.EncodeToString(seed[:8]), strings.ToUpper(hex.EncodeToString(seed[:8])), fmt.Sprint(seed[:4])[1:12], age[:30]}
	for name, v := range values {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+" ", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		for _, leak := range leaks {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%s prints %q: %s", name, leak, out.String())
			}
		}
	}
}

// TestSealToEach: every recipient opens it where it is the only one; a node takes no file of several.
func TestSealToEach(t *testing.T) {
	a, b := newTestIdentity(t), newTestIdentity(t)
	one, err := SealToEach([]string{a.Recipient()}, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.OpenSealed(one); err != nil || string(got) != "plain" {
		t.Errorf("opened %q, %v", got, err)
	}
	two, err := SealToEach([]string{a.Recipient(), b.Recipient()}, []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if more := len(two) - len(one); more < 1500 || more > 1700 {
		t.Errorf("a recipient more takes %d bytes", more)
	}
	if _, err := b.OpenSealed(two); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a file of two recipients: %v", err)
	}
}
