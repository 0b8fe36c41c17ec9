package format

import (
	"bufio"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol/stix"
)

// rpzWriter writes a zone of DNS response policies (draft-vixie-dnsop-dns-rpz): NXDOMAIN for each
// name and all that is below it, and for answers with one of the addresses. All names are relative,
// so that the zone has the name under which it is loaded.
type rpzWriter struct{}

// zoneRoom is what is left for the name of the zone in the 255 octets of a name (RFC 1035, 3.1),
// with the last octet of the root.
const zoneRoom = 64

func (rpzWriter) begin(w *bufio.Writer, o *Options) error {
	_, err := fmt.Fprintf(w, "; Response policies by Entente, of %s.\n$TTL 300\n@ SOA localhost. nobody.invalid. %d 600 300 604800 300\n@ NS localhost.\n", o.View, o.Serial)
	return err
}

func (rpzWriter) write(w *bufio.Writer, it *gather.Item, _ *warninglist.Hit) error {
	name, ok := rpzName(it.Observable)
	if !ok {
		return fmt.Errorf("%s %q has no name in a response policy zone", it.Kind, it.Value)
	}
	if _, err := w.WriteString(name + " CNAME .\n"); err != nil {
		return err
	}
	if it.Kind != stix.Domain {
		return nil
	}
	_, err := w.WriteString("*." + name + " CNAME .\n")
	return err
}

func (rpzWriter) end(w *bufio.Writer, summary []string) error { return comments(w, ";", summary) }

// rpzName returns the owner name of a value in a zone.
func rpzName(o stix.Observable) (string, bool) {
	if o.Kind == stix.Domain {
		return rpzDomain(o.Value)
	}
	p, ok := prefixOf(o)
	if !ok {
		return "", false
	}
	return rpzAddress(p), true
}

func rpzDomain(name string) (string, bool) {
	octets := len("*") + 1
	for label := range strings.SplitSeq(name, ".") {
		// Labels of the form rpz-… are triggers and actions: a domain that is named so would be one.
		if len(label) == 0 || len(label) > 63 || strings.HasPrefix(label, "rpz-") {
			return "", false
		}
		for i := range len(label) {
			if c := label[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return "", false
			}
		}
		octets += 1 + len(label)
	}
	return name, octets <= 255-zoneRoom
}

// rpzAddress writes a network as a trigger: its length, and the parts of its address turned round; of
// IPv6, zz is what :: is (RFC 5952 says where that stands).
func rpzAddress(p netip.Prefix) string {
	sep, text := ".", p.Addr().String()
	if !p.Addr().Is4() {
		sep = ":"
		// The marker of zeros is a part of its own, at either end too.
		switch {
		case text == "::":
			text = "zz"
		case strings.HasPrefix(text, "::"):
			text = "zz:" + text[2:]
		case strings.HasSuffix(text, "::"):
			text = text[:len(text)-2] + ":zz"
		default:
			text = strings.Replace(text, "::", ":zz:", 1)
		}
	}
	parts := strings.Split(text, sep)
	var b strings.Builder
	b.WriteString(strconv.Itoa(p.Bits()))
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString("." + parts[i])
	}
	return b.String() + ".rpz-ip"
}

// prefixOf reads an address or a network, strictly: no zone, no host bits, no IPv4 in IPv6.
func prefixOf(o stix.Observable) (netip.Prefix, bool) {
	switch o.Kind {
	case stix.IPv4, stix.IPv6:
		a, err := netip.ParseAddr(o.Value)
		ok := err == nil && a.Zone() == "" && !a.Is4In6() && a.Is4() == (o.Kind == stix.IPv4)
		return netip.PrefixFrom(a, a.BitLen()), ok
	case stix.IPv4CIDR, stix.IPv6CIDR:
		p, err := netip.ParsePrefix(o.Value)
		return p, err == nil && p == p.Masked() && !p.Addr().Is4In6() && p.Addr().Is4() == (o.Kind == stix.IPv4CIDR)
	}
	return netip.Prefix{}, false
}
