// Package outbound judges the addresses that a node is told to call, by what it fetches and by what it
// delivers: a name may lead anywhere, to the machine itself, to what only its network can reach, to a
// cloud's metadata service. Who dials judges the address that is connected to, for every connection anew; where
// a proxy dials, what can be judged of the name is.
package outbound

import (
	"net/netip"
	"slices"
)

// special are addresses that are global unicast by their looks, and lead elsewhere (IANA's registries of
// special-purpose addresses, RFC 6890), or to another address that they contain.
var special = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10")

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// Local reports whether an address is one of this machine, of its link, or of a private network.
func Local(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}

// Public reports whether an address is one of a host that anybody can reach.
func Public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsGlobalUnicast() && !Local(a) && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
