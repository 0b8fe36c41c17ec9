package mesh

import (
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/entente-mesh/entente/protocol"
)

// CheckListen says why a node cannot listen on an address; nil if it can. Whether the address is
// this machine's, and free, shows when it does.
func CheckListen(s string) error {
	a, err := parseAnyAddr(s)
	if err != nil {
		return err
	}
	if names := namesOf(a); !slices.Equal(names[1:], []string{"tcp"}) && !slices.Equal(names[1:], []string{"udp", "quic-v1"}) || !strings.HasPrefix(names[0], "ip") {
		return protocol.Errorf(protocol.ErrMalformed, "a node does not listen on %q; write an address of this machine, as /ip4/0.0.0.0/udp/4401/quic-v1 or /ip4/0.0.0.0/tcp/4401", s)
	}
	return nil
}

// CheckAnnounce says why an address cannot stand on a card; nil if it can.
func CheckAnnounce(s string) error {
	a, err := parseAnyAddr(s)
	if err != nil {
		return err
	}
	switch names := namesOf(a); {
	case len(names) < 2 || !strings.HasPrefix(names[0], "ip") && !strings.HasPrefix(names[0], "dns"),
		names[1] != "tcp" && names[1] != "udp", names[1] == "udp" && !slices.Contains(names, "quic-v1"):
		return protocol.Errorf(protocol.ErrMalformed, "nobody can dial %q; write a name or an address with a port, as /dns/node.example.org/udp/4401/quic-v1 or /ip4/192.0.2.1/tcp/4401", s)
	}
	if v, err := a.ValueForProtocol(ma.P_IP4); err == nil && v == "0.0.0.0" {
		return protocol.Errorf(protocol.ErrMalformed, "%q is no address that others reach; write the one that they do, as /ip4/192.0.2.1/tcp/4401", s)
	}
	if v, err := a.ValueForProtocol(ma.P_IP6); err == nil && v == "::" {
		return protocol.Errorf(protocol.ErrMalformed, "%q is no address that others reach; write the one that they do, as /ip6/2001:db8::1/tcp/4401", s)
	}
	return nil
}

// parseAnyAddr is parseAddr where it is not known yet whose the address is.
func parseAnyAddr(s string) (ma.Multiaddr, error) {
	var node protocol.NodeID
	if a, err := ma.NewMultiaddr(s); err == nil && len(s) <= protocol.MaxAddrSize {
		_, id := peer.SplitAddr(a)
		node, _ = nodeOf(id)
	}
	return parseAddr(node, s)
}

func namesOf(a ma.Multiaddr) (names []string) {
	for _, p := range a.Protocols() {
		names = append(names, p.Name)
	}
	return names
}
