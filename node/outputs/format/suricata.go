package format

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol/stix"
)

// suricataWriter writes rules for Suricata 6 and later (docs.suricata.io, Suricata Rules). They only
// alert. A name is looked for with all that is below it, in DNS, in TLS and in HTTP; a URL in HTTP
// alone, since nothing of its path is seen in TLS. Hashes of files stand in lists of their own, which
// filemd5, filesha1 and filesha256 read.
type suricataWriter struct{ used map[uint32]bool }

// The range of signature ids: above a thousand million, where no rule set of the registry
// (sidallocation.org) is, up to the greatest of 32 bits.
const (
	sidFirst = 1_000_000_000
	sidCount = 3_294_967_295
)

// revision is of the text of the rules: a rule of the same signature id has the same text.
const revision = 1

// maxRule bounds a rule, in bytes; Suricata reads 8,192 of a line.
const maxRule = 8000

func (s *suricataWriter) begin(w *bufio.Writer, o *Options) error {
	_, err := fmt.Fprintf(w, "# Rules by Entente, of %s.\n", o.View)
	return err
}

func (s *suricataWriter) write(w *bufio.Writer, it *gather.Item, _ *warninglist.Hit) error {
	rules, ok := suricataRules(it.Observable)
	if !ok {
		return fmt.Errorf("%s %q has no rule", it.Kind, it.Value)
	}
	for _, r := range rules {
		if _, err := fmt.Fprintf(w, "%ssid:%d; rev:%d;)\n", r, s.sid(r), revision); err != nil {
			return err
		}
	}
	return nil
}

// sid derives a signature id of a rule's text. Of two rules that derive the same, one in a thousand
// of a million, the later takes the next derivation; its id changes only when the first leaves.
func (s *suricataWriter) sid(rule string) uint32 {
	for n := 0; ; n++ {
		h := sha256.Sum256([]byte("entente/sid/v1\x00" + strconv.Itoa(n) + "\x00" + rule))
		sid := uint32(sidFirst + binary.BigEndian.Uint64(h[:])%sidCount)
		if !s.used[sid] {
			s.used[sid] = true
			return sid
		}
	}
}

func (s *suricataWriter) end(w *bufio.Writer, summary []string) error {
	return comments(w, "#", summary)
}

// suricataRules returns the rules of a value, each without its signature id and what follows.
func suricataRules(o stix.Observable) (rules []string, ok bool) {
	switch o.Kind {
	case stix.IPv4, stix.IPv6, stix.IPv4CIDR, stix.IPv6CIDR:
		p, ok := prefixOf(o)
		if !ok {
			return nil, false
		}
		addr := p.String() // one address has several spellings
		if p.IsSingleIP() {
			addr = p.Addr().String()
		}
		rules = []string{addressRule("ip", addr, "any", o)}
	case stix.IPv4Port, stix.IPv6Port:
		if _, ok := rangeOf(o); !ok {
			return nil, false
		}
		p := netip.MustParseAddrPort(o.Value)
		for _, proto := range []string{"tcp", "udp"} {
			rules = append(rules, addressRule(proto, p.Addr().String(), strconv.Itoa(int(p.Port())), o))
		}
	case stix.Domain:
		name, ok := rpzDomain(o.Value)
		if !ok {
			return nil, false
		}
		what := "dotprefix; content:\"." + content(name) + "\"; "
		rules = []string{
			"alert dns $HOME_NET any -> any any (msg:\"" + message(o) + "\"; dns.query; " + what + "nocase; endswith; ",
			"alert tls $HOME_NET any -> any any (msg:\"" + message(o) + "\"; flow:established,to_server; tls.sni; " + what + "nocase; endswith; ",
			// http.host is in lower case already, and takes no nocase.
			"alert http $HOME_NET any -> any any (msg:\"" + message(o) + "\"; flow:established,to_server; http.host; " + what + "endswith; ",
		}
	case stix.URL:
		host, port, path, ok := splitURL(o.Value)
		if !ok {
			return nil, false
		}
		rules = []string{fmt.Sprintf("alert http $HOME_NET any -> any %s (msg:%q; flow:established,to_server; http.host; content:%q; bsize:%d; http.uri.raw; content:\"%s\"; bsize:%d; ",
			port, message(o), content(host), len(host), content(path), len(path))}
	default:
		return nil, false
	}
	for _, r := range rules {
		if len(r) > maxRule {
			return nil, false
		}
	}
	return rules, true
}

func addressRule(proto, addr, port string, o stix.Observable) string {
	if strings.Contains(addr, ":") {
		addr = "[" + addr + "]"
	}
	return "alert " + proto + " $HOME_NET any <> " + addr + " " + port + " (msg:\"" + message(o) + "\"; "
}

// message names a value in an alert: what has a meaning in a rule, or is not ASCII, becomes a dot.
func message(o stix.Observable) string {
	v := o.Value
	if len(v) > 200 {
		v = v[:200]
	}
	var b strings.Builder
	b.WriteString("ENTENTE " + string(o.Kind) + " ")
	for i := range len(v) {
		c := v[i]
		if plain(c) || strings.IndexByte("[]?=&%", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_./", c) >= 0
}

// content writes bytes as a pattern: what is not a letter, a digit or one of -_./ as |22|.
func content(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "|%02X|", c)
		}
	}
	return b.String()
}

// splitURL takes a URL of HTTP apart: its host as a client writes it into Host, its port, "any" if it
// names none, and its path with the query. https is taken too, for networks that look inside.
func splitURL(u string) (host, port, path string, ok bool) {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok || scheme != "http" && scheme != "https" {
		return "", "", "", false
	}
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host, path = rest[:end], rest[end:]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	host, port = host[strings.LastIndexByte(host, '@')+1:], "any"
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		n, err := strconv.ParseUint(host[i+1:], 10, 16)
		if err != nil || n == 0 {
			return "", "", "", false
		}
		host, port = host[:i], strconv.FormatUint(n, 10)
	}
	host = strings.ToLower(host)
	if host == "" || strings.ContainsFunc(host, func(r rune) bool { return !plain(byte(min(r, 0x7f))) && !strings.ContainsRune("[]:", r) || r == '/' }) {
		return "", "", "", false
	}
	return host, port, path, true
}
