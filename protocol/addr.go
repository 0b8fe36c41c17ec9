package protocol

import (
	"slices"
	"strings"
)

// An address of a node is a multiaddress of one of three forms:
//
//	/ip4/192.0.2.1/tcp/4401                                   direct, without /p2p
//	/ip4/192.0.2.1/tcp/443/p2p/12D3KooW…/p2p-circuit          by way of one relay
//	/p2p-circuit                                              RelayHere: none; the node is a relay
//
// What stands for a host and a port in the first two is the transport's to read.

// RelayHere, among the addresses of a node, says that it relays for the nodes of the network.
const RelayHere = "/p2p-circuit"

// RelayedAddr returns the address by way of a relay that listens at a direct address.
func RelayedAddr(direct string, relay NodeID) string {
	return direct + "/p2p/" + relay.String() + RelayHere
}

// SplitRelayed returns what RelayedAddr was given; ok is false for addresses of other forms.
func SplitRelayed(addr string) (direct string, relay NodeID, ok bool) {
	rest, ok := strings.CutSuffix(addr, RelayHere)
	if !ok {
		return "", NodeID{}, false
	}
	i := strings.LastIndex(rest, "/p2p/")
	if i <= 0 {
		return "", NodeID{}, false
	}
	relay, err := ParseNodeID(rest[i+len("/p2p/"):])
	if err != nil || relay.String() != rest[i+len("/p2p/"):] || checkDirect(rest[:i]) != nil {
		return "", NodeID{}, false
	}
	return rest[:i], relay, true
}

func checkAddr(a string) error {
	switch _, _, relayed := SplitRelayed(a); {
	case a == RelayHere, relayed:
		return nil
	case strings.Contains(a+"/", RelayHere+"/"):
		return malformed("address %q is not one by way of a relay: one hop at most, as /ip4/192.0.2.1/tcp/443/p2p/12D3KooW…/p2p-circuit", clip(a))
	}
	return checkDirect(a)
}

func checkDirect(a string) error {
	if !strings.HasPrefix(a, "/") {
		return malformed("address %q is not a multiaddr", clip(a))
	}
	if slices.ContainsFunc(strings.Split(a, "/"), func(c string) bool { return c == "p2p" || c == "ipfs" || c == "p2p-circuit" }) {
		return malformed("address %q names a peer; leave out its /p2p/ part", clip(a))
	}
	return nil
}
