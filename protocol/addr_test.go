package protocol_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func TestAddrForms(t *testing.T) {
	relay := protocol.NodeID{1, 2, 3}
	id := relay.String()
	for _, tt := range []struct {
		addr string
		ok   bool
	}{
		{"/ip4/192.0.2.1/udp/4401/quic-v1", true},
		{"/dns4/relay.example.org/tcp/443/p2p/" + id + "/p2p-circuit", true},
		{protocol.RelayHere, true},
		{"192.0.2.1:4401", false},
		{"/ip4/192.0.2.1/tcp/4401/p2p/" + id, false},
		{"/ip4/192.0.2.1/tcp/4401/ipfs/" + id, false},
		{"/ip4/192.0.2.1/tcp/443/p2p-circuit", false},
		{"/p2p/" + id + "/p2p-circuit", false},
		{"/ip4/192.0.2.1/tcp/443/p2p/" + id + "/p2p-circuit/p2p/" + id, false},
		{"/ip4/192.0.2.1/tcp/443/p2p/" + id + "/p2p-circuit/p2p/" + id + "/p2p-circuit", false},
		{"/ip4/192.0.2.1/tcp/443/p2p/" + id[:len(id)-1] + "/p2p-circuit", false},
		{"/ip4/192.0.2.1/tcp/443/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N/p2p-circuit", false},
		{"/p2p-circuit/", false},
		{"/p2p-circuit/p2p/" + id, false},
	} {
		err := (&protocol.SiblingAddrs{Addrs: []string{tt.addr}}).Validate()
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v, want ok %v", tt.addr, err, tt.ok)
		}
	}
}

// TestRelayedAddrSplits: an address by way of a relay names the relay and where it listens, and
// nothing else reads as one.
func TestRelayedAddrSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var relay protocol.NodeID
		copy(relay[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "relay"))
		direct := "/dns4/" + rapid.StringMatching(`[a-z]{3,12}\.example`).Draw(t, "host") + "/tcp/443"
		addr := protocol.RelayedAddr(direct, relay)
		d, r, ok := protocol.SplitRelayed(addr)
		if !ok || d != direct || r != relay {
			t.Fatalf("%s splits into %q, %s, %v", addr, d, r, ok)
		}
		i := rapid.IntRange(0, len(addr)-1).Draw(t, "cut")
		if _, _, ok := protocol.SplitRelayed(addr[:i]); ok {
			t.Fatalf("%s reads as an address by way of a relay", addr[:i])
		}
		if _, _, ok := protocol.SplitRelayed(protocol.RelayedAddr(addr, relay)); ok {
			t.Fatal("two hops read as an address by way of a relay")
		}
	})
}
