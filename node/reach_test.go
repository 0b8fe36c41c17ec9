package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/mesh"
	"github.com/entente-mesh/entente/protocol"
)

func TestWaysAreRead(t *testing.T) {
	self, relay := protocol.NodeID{1}, protocol.NodeID{2}
	via := "/dns4/relay.example.org/tcp/443/p2p/" + relay.String()
	for _, tt := range []struct {
		name   string
		cfg    Config
		want   string // part of the error; empty: none
		listen []string
	}{
		{"nothing", Config{}, "", DefaultListen},
		{"nowhere", Config{Listen: []string{NoListen}}, "", nil},
		{"beside a proxy", Config{Proxy: "http://proxy.example.org:3128"}, "", nil},
		{"beside a proxy, where it is told to", Config{Proxy: "http://proxy.example.org:3128", Listen: []string{"/ip4/0.0.0.0/tcp/4401"}}, "", []string{"/ip4/0.0.0.0/tcp/4401"}},
		{"a proxy that is none", Config{Proxy: "proxy.example.org"}, "reading --proxy", nil},
		{"by a relay", Config{Via: []string{via, "/ip4/192.0.2.1/tcp/443/p2p/" + relay.String()}}, "", DefaultListen},
		{"by a relay without a name", Config{Via: []string{"/ip4/192.0.2.1/tcp/443"}}, "reading --via", nil},
		{"by itself", Config{Via: []string{"/ip4/192.0.2.1/tcp/443/p2p/" + self.String()}}, "this node itself", nil},
		{"announced with its own name", Config{Announce: []string{"/ip4/192.0.2.1/tcp/443/p2p/" + self.String()}}, "", DefaultListen},
		{"announced as another", Config{Announce: []string{"/ip4/192.0.2.1/tcp/443/p2p/" + relay.String()}}, "reading --announce", nil},
		{"a relay that does not listen", Config{Relay: true, Listen: []string{NoListen}}, "has to listen", nil},
	} {
		r, err := newWays(&tt.cfg, self)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			continue
		}
		if err != nil {
			continue
		}
		if !slices.Equal(r.listen, tt.listen) {
			t.Errorf("%s: it listens at %v", tt.name, r.listen)
		}
		if len(tt.cfg.Via) == 2 && (len(r.via) != 1 || len(r.via[0].Addrs) != 2) {
			t.Errorf("%s: two addresses of one relay read as %+v", tt.name, r.via)
		}
		if len(tt.cfg.Announce) > 0 && r.public[0] != "/ip4/192.0.2.1/tcp/443" {
			t.Errorf("%s: %v stands on the card", tt.name, r.public)
		}
	}
}

// TestAddrsByRelay: few addresses of a relay are told, public ones first, and each is one that a
// card may hold.
func TestAddrsByRelay(t *testing.T) {
	n := testNode(t, "Alice")
	relay := protocol.NodeID{2}
	r := &ways{via: []mesh.Relay{{Node: relay, Addrs: []string{"/ip4/10.0.0.1/tcp/443", "/ip4/10.0.0.2/tcp/443", "/ip4/10.0.0.3/tcp/443",
		"/ip4/8.8.8.8/tcp/443", "/ip4/8.8.8.8/tcp/443", "/dns4/" + strings.Repeat("a", 240) + "/tcp/443"}}}}
	got := r.addrsBy(n.snap.Load(), relay)
	if len(got) != addrsPerRelay || got[0] != protocol.RelayedAddr("/ip4/8.8.8.8/tcp/443", relay) {
		t.Errorf("addresses are %v", got)
	}
	if err := (&protocol.SiblingAddrs{Addrs: got}).Validate(); err != nil {
		t.Error(err)
	}
}
