package stix

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Kind says what an observable is.
type Kind string

// The kinds. One with a port is the pair "host:port"; a cidr has its host bits cleared.
const (
	IPv4       Kind = "ipv4"
	IPv6       Kind = "ipv6"
	IPv4CIDR   Kind = "ipv4-cidr"
	IPv6CIDR   Kind = "ipv6-cidr"
	IPv4Port   Kind = "ipv4-port"
	IPv6Port   Kind = "ipv6-port"
	Domain     Kind = "domain"
	DomainPort Kind = "domain-port"
	URL        Kind = "url"
	Email      Kind = "email"
	MD5        Kind = "md5"
	SHA1       Kind = "sha1"
	SHA256     Kind = "sha256"
	SHA512     Kind = "sha512"
	Filename   Kind = "filename"
)

// Kinds lists the kinds.
func Kinds() []Kind {
	return []Kind{IPv4, IPv6, IPv4CIDR, IPv6CIDR, IPv4Port, IPv6Port, Domain, DomainPort, URL, Email, MD5, SHA1, SHA256, SHA512, Filename}
}

// Observable is a value that can be seen on a network or a machine, in canonical form: equal
// observables have equal values.
type Observable struct {
	Kind  Kind
	Value string
}

// maxValue bounds an observable, in bytes.
const maxValue = 4096

// Canonical recognises what value is and puts it into canonical form:
//
//   - defanged notation is undone (hxxp, [.], (.), [:], [at] and their like);
//   - hashes, domains, e-mail addresses, and scheme and host of URLs are lower-cased;
//     international names become punycode; a dot at the end of a name is dropped;
//   - IPv6 is written as RFC 5952 has it; an IPv4-mapped address is IPv4; a CIDR loses its
//     host bits, and one that covers a single address is that address;
//   - a host with a path but no scheme is a URL and gets "http://";
//   - the path of a URL is kept as it is, and so is a file name.
//
// Canonical of a canonical value is the same observable. ok is false if value is none.
func Canonical(value string) (o Observable, ok bool) {
	if len(value) > 4*maxValue {
		return Observable{}, false
	}
	s := refang(strings.TrimSpace(value))
	if s == "" || len(s) > maxValue || !printable(s) {
		return Observable{}, false
	}
	for _, try := range []func(string) (Observable, bool){
		asURL, asHash, asAddr, asBare, asEmail, asHostPort, asName,
	} {
		if o, ok = try(s); ok {
			return o, len(o.Value) <= maxValue
		}
	}
	return Observable{}, false
}

// Host returns the address or name that a URL or a host with a port points at; ok is false
// for other kinds.
func (o Observable) Host() (host Observable, ok bool) {
	s := o.Value
	switch o.Kind {
	case IPv4Port, IPv6Port, DomainPort:
	case URL:
		_, s, _ = strings.Cut(s, "://")
		if i := strings.IndexAny(s, "/?#"); i >= 0 {
			s = s[:i]
		}
		s = s[strings.LastIndexByte(s, '@')+1:]
	default:
		return Observable{}, false
	}
	name, _, _ := splitPort(s)
	if host, ok = asAddr(strings.Trim(name, "[]")); ok {
		return host, true
	}
	return asName(name)
}

var defanged = strings.NewReplacer(
	"[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "[DOT]", ".",
	"[:]", ":", "[://]", "://", "[:/]", ":/", "[/]", "/", "[@]", "@", "[at]", "@", "(at)", "@", "[AT]", "@")

// refang undoes the notations that keep people from clicking.
func refang(s string) string {
	for range 64 { // each round shortens s; nested brackets are nobody's notation
		if !strings.ContainsAny(s, "[({") {
			break
		}
		next := defanged.Replace(s)
		if next == s {
			break
		}
		s = next
	}
	if i := strings.IndexByte(s, ':'); i > 0 && i <= len("hxxps[") {
		written := strings.TrimSuffix(s[:i], "[")
		if scheme, ok := schemes[strings.ToLower(written)]; ok {
			s = scheme + s[len(written):]
		}
	}
	return s
}

// schemes are the ways in which people write schemes, in lower case.
var schemes = map[string]string{
	"http": "http", "hxxp": "http", "htxp": "http", "hxtp": "http",
	"https": "https", "hxxps": "https", "htxps": "https", "hxtps": "https",
	"fxp": "ftp",
}

func asHash(s string) (Observable, bool) {
	var kind Kind
	switch len(s) {
	case 32:
		kind = MD5
	case 40:
		kind = SHA1
	case 64:
		kind = SHA256
	case 128:
		kind = SHA512
	default:
		return Observable{}, false
	}
	for i := range len(s) {
		if !isHex(s[i]) {
			return Observable{}, false
		}
	}
	return Observable{kind, strings.ToLower(s)}, true
}

// asAddr reads an address or a CIDR.
func asAddr(s string) (Observable, bool) {
	// The errors of netip cost more than all else here, so it is asked only about what looks
	// like an address.
	slash := strings.LastIndexByte(s, '/')
	if slash >= 0 && !addrShaped(s[:slash]) || slash < 0 && !addrShaped(strings.Trim(s, "[]")) {
		return Observable{}, false
	}
	if slash >= 0 {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return Observable{}, false
		}
		p = p.Masked()
		switch {
		case p.IsSingleIP():
			return ofAddr(p.Addr())
		case p.Addr().Is4In6():
			return Observable{}, false
		case p.Addr().Is4():
			return Observable{IPv4CIDR, p.String()}, true
		}
		return Observable{IPv6CIDR, p.String()}, true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return Observable{}, false
	}
	return ofAddr(a)
}

// addrShaped reports whether s is of the characters of an address without a zone.
func addrShaped(s string) bool {
	colon, letter := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':':
			colon = true
		case isDigit(c) || c == '.':
		case isHex(c):
			letter = true
		default:
			return false
		}
	}
	return s != "" && (colon || !letter)
}

func ofAddr(a netip.Addr) (Observable, bool) {
	if a = a.Unmap(); a.Is4() {
		return Observable{IPv4, a.String()}, true
	}
	return Observable{IPv6, a.String()}, true
}

// asHostPort reads 192.0.2.1:80, [2001:db8::1]:80 or name.example:80.
func asHostPort(s string) (Observable, bool) {
	name, port, ok := splitPort(s)
	if !ok || port == "" {
		return Observable{}, false
	}
	if host, ok := asAddr(name); ok {
		switch {
		case host.Kind == IPv4 && name[0] != '[':
			return Observable{IPv4Port, host.Value + ":" + port}, true
		case host.Kind == IPv4: // a mapped address in brackets
			return Observable{IPv4Port, host.Value + ":" + port}, true
		case host.Kind == IPv6 && name[0] == '[':
			return Observable{IPv6Port, "[" + host.Value + "]:" + port}, true
		}
		return Observable{}, false
	}
	if host, ok := asName(name); ok && host.Kind == Domain {
		return Observable{DomainPort, host.Value + ":" + port}, true
	}
	return Observable{}, false
}

// splitPort cuts a port off; ok is false if what looks like one is none. No port is fine.
func splitPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", true
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || n == 0 || s[i+1] == '0' || s[i+1] == '+' {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// names maps international names as browsers do, and leaves underscores alone.
var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// asName reads a domain name of at least two labels, underscores allowed, for they occur. A
// name that ends in what is a file's extension and no top-level domain is a file name.
func asName(s string) (Observable, bool) {
	if strings.ContainsAny(s, `/\:@ `) {
		return Observable{}, false
	}
	name := strings.ToLower(s)
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		ascii, err := names.ToASCII(s)
		if err != nil {
			return Observable{}, false
		}
		name = ascii
	}
	name = strings.TrimSuffix(name, ".")
	top := name[strings.LastIndexByte(name, '.')+1:]
	if fileExtensions[top] && len(s) <= 255 {
		return Observable{Filename, s}, name[0] != '.' && !strings.HasSuffix(s, ".")
	}
	if len(top) == len(name) || len(name) > 253 || len(top) < 2 || !strings.ContainsFunc(top, isLetter) {
		return Observable{}, false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return Observable{}, false
		}
	}
	return Observable{Domain, name}, true
}

func validLabel(l string) bool {
	if len(l) == 0 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		if c := l[i]; !(c >= 'a' && c <= 'z' || isDigit(c) || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' }

// printable reports whether s is UTF-8 without white space and control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable)
		}
	}
	return true
}

func unprintable(r rune) bool {
	return r <= ' ' || r == 0x7f || unicode.IsSpace(r) || unicode.IsControl(r)
}

// fileExtensions are extensions that are no top-level domains.
var fileExtensions = set("asp aspx bat bin bmp cmd conf csv dat dll doc docm docx elf exe gif hta htm html " +
	"ini iso jar jpeg jpg js json jsp lnk log msi ocx php png ppt pptx ps1 rar rtf scr sys tmp ttf txt vbs " +
	"xls xlsm xlsx xml yaml yml")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
