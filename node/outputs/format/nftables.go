package format

import (
	"bufio"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol/stix"
)

// nftWriter writes sets of the table inet entente for nft -f, which replaces what was in them in one
// transaction. What uses them is the firewall's own: 'ip daddr @v4 drop'.
type nftWriter struct{ sets [4][]addresses }

// addresses are a range, both ends included, with a port or 0.
type addresses struct {
	first, last netip.Addr
	port        uint16
}

// The sets, in the order of nftWriter.sets.
var nftSets = [4]struct{ name, typ string }{
	{"v4", "type ipv4_addr; flags interval;"}, {"v6", "type ipv6_addr; flags interval;"},
	{"v4_port", "type ipv4_addr . inet_service;"}, {"v6_port", "type ipv6_addr . inet_service;"},
}

func (n *nftWriter) begin(w *bufio.Writer, o *Options) error {
	_, err := fmt.Fprintf(w, "# Sets by Entente, of %s.\nadd table inet entente\n", o.View)
	return err
}

func (n *nftWriter) write(_ *bufio.Writer, it *gather.Item, _ *warninglist.Hit) error {
	r, ok := rangeOf(it.Observable)
	if !ok {
		return fmt.Errorf("%s %q is no address for nftables", it.Kind, it.Value)
	}
	set := 0
	if !r.first.Is4() {
		set = 1
	}
	if r.port > 0 {
		set += 2
	}
	n.sets[set] = append(n.sets[set], r)
	return nil
}

func rangeOf(o stix.Observable) (addresses, bool) {
	switch o.Kind {
	case stix.IPv4Port, stix.IPv6Port:
		p, err := netip.ParseAddrPort(o.Value)
		a := p.Addr()
		return addresses{a, a, p.Port()}, err == nil && p.Port() > 0 && a.Zone() == "" && !a.Is4In6() && a.Is4() == (o.Kind == stix.IPv4Port)
	}
	p, ok := prefixOf(o)
	if !ok {
		return addresses{}, false
	}
	return addresses{first: p.Addr(), last: lastOf(p)}, true
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// merged joins ranges that overlap or follow each other: nft refuses overlaps.
func merged(list []addresses) []addresses {
	slices.SortFunc(list, func(a, b addresses) int { return a.first.Compare(b.first) })
	var out []addresses
	for _, r := range list {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if next := last.last.Next(); r.first.Compare(last.last) <= 0 || next.IsValid() && next == r.first {
				if r.last.Compare(last.last) > 0 {
					last.last = r.last
				}
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// nftChunk is how many elements stand in one statement.
const nftChunk = 1024

func (n *nftWriter) end(w *bufio.Writer, summary []string) error {
	for i, set := range nftSets {
		fmt.Fprintf(w, "add set inet entente %s { %s }\nflush set inet entente %s\n", set.name, set.typ, set.name)
		list := n.sets[i]
		if i < 2 {
			list = merged(list)
		}
		for chunk := range slices.Chunk(list, nftChunk) {
			w.WriteString("add element inet entente " + set.name + " {\n")
			for _, r := range chunk {
				w.WriteString("\t" + r.text() + ",\n")
			}
			w.WriteString("}\n")
		}
	}
	return comments(w, "#", summary)
}

func (r *addresses) text() string {
	switch {
	case r.port > 0:
		return r.first.String() + " . " + strconv.Itoa(int(r.port))
	case r.first == r.last:
		return r.first.String()
	}
	var b strings.Builder
	b.WriteString(r.first.String() + "-" + r.last.String())
	return b.String()
}
