package warninglist

import "strings"

// builtIn begins the names of the lists that are always there.
const builtIn = "built-in: "

const (
	suffixList = builtIn + "public suffixes"
	wideList   = builtIn + "networks that are too wide"
)

// widest are the shortest prefixes that are put out, of IPv4 and IPv6: a /12 is a million
// addresses, and more than a registry gives to anybody today; a /24 is 256 times what it gives to a
// provider. One mistaken report must not cut off a continent.
var widest = [2]int{12, 24}

// specialPurpose are the blocks of the IANA IPv4 and IPv6 Special-Purpose Address Registries
// (RFC 6890; iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry), and
// multicast (RFC 5771, RFC 4291).
const specialPurpose = `
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32
::/128 ::1/128 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2002::/16
2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 ff00::/8`

// resolvers are addresses of public DNS resolvers, as their operators publish them: Google, Cloudflare,
// Quad9, OpenDNS, AdGuard, CleanBrowsing, Level 3, Verisign, Yandex, Control D.
const resolvers = `
8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844 2001:4860:4860::64 2001:4860:4860::6464
1.1.1.1 1.0.0.1 1.1.1.2 1.0.0.2 1.1.1.3 1.0.0.3 2606:4700:4700::1111 2606:4700:4700::1001 2606:4700:4700::1112
2606:4700:4700::1002 2606:4700:4700::1113 2606:4700:4700::1003 2606:4700:4700::64 2606:4700:4700::6400
9.9.9.9 149.112.112.112 9.9.9.10 149.112.112.10 9.9.9.11 149.112.112.11 2620:fe::fe 2620:fe::9 2620:fe::10
2620:fe::fe:10 2620:fe::11 2620:fe::fe:11
208.67.222.222 208.67.220.220 208.67.222.123 208.67.220.123 2620:119:35::35 2620:119:53::53
94.140.14.14 94.140.15.15 94.140.14.15 94.140.15.16 94.140.14.140 94.140.14.141 2a10:50c0::ad1:ff 2a10:50c0::ad2:ff
185.228.168.9 185.228.169.9 4.2.2.1 4.2.2.2 4.2.2.3 4.2.2.4 4.2.2.5 4.2.2.6 64.6.64.6 64.6.65.6
77.88.8.8 77.88.8.1 76.76.2.0 76.76.10.0`

// roots are the addresses of the root name servers (iana.org/domains/root/servers): without them no
// resolver works.
const roots = `
198.41.0.4 170.247.170.2 192.33.4.12 199.7.91.13 192.203.230.10 192.5.5.241 192.112.36.4 198.97.190.53
192.36.148.17 192.58.128.30 193.0.14.129 199.7.83.42 202.12.27.33
2001:503:ba3e::2:30 2801:1b8:10::b 2001:500:2::c 2001:500:2d::d 2001:500:a8::e 2001:500:2f::f 2001:500:12::d0d
2001:500:1::53 2001:7fe::53 2001:503:c27::2:30 2001:7fd::1 2001:500:9f::42 2001:dc3::35`

// localNames are special-use domain names (RFC 6761 and its registry) that mean something on a local
// network. Those that can mean nothing, as .example, harm nobody.
const localNames = `localhost local home.arpa arpa internal resolver.arpa`

const resolverNames = `dns.google one.one.one.one cloudflare-dns.com dns.quad9.net dns.adguard-dns.com dns.opendns.com root-servers.net`

// emptyFiles are the hashes of a file of no bytes.
const emptyFiles = `d41d8cd98f00b204e9800998ecf8427e da39a3ee5e6b4b0d3255bfef95601890afd80709
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e`

func builtIns() []*List {
	list := func(name, typ, entries string) *List {
		return &List{Name: builtIn + name, Type: typ, Version: 1, Entries: strings.Fields(entries)}
	}
	return []*List{
		list("special-purpose addresses", "cidr", specialPurpose),
		list("public resolvers", "cidr", resolvers),
		list("root name servers", "cidr", roots),
		list("local names", "hostname", localNames),
		list("names of resolvers", "hostname", resolverNames),
		list("empty files", "string", emptyFiles),
	}
}

// BuiltIn describes the lists that are always there, with their entries; those that are rules have
// none.
func BuiltIn() []*List {
	return append(builtIns(),
		&List{Name: suffixList, Type: "hostname", Version: 1, Description: "top-level names, and names under which the public may register others (publicsuffix.org)"},
		&List{Name: wideList, Type: "cidr", Version: 1, Description: "networks wider than /12 (IPv4) or /24 (IPv6)"})
}
