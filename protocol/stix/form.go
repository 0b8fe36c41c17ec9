package stix

import (
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// form is a form that the standard asks of a string.
type form struct {
	fits func(s string) bool
	want string // what is asked for, as one says it
	// should is true where the standard says SHOULD.
	should bool
}

// forms are those that model.txt names. Registries that grow, as IANA's of media types, are not
// compared with: only the form is.
var forms = map[string]*form{
	"lang":     {fits: isLang, want: `a language tag (RFC 5646), as "en" or "pt-BR"`},
	"mime":     {fits: matches(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$`), want: `a media type, as "application/pdf"`},
	"ipv4":     {fits: func(s string) bool { return isNetwork(s, netip.Addr.Is4) }, want: `an IPv4 address, or a network as "198.51.100.0/24"`},
	"ipv6":     {fits: func(s string) bool { return isNetwork(s, netip.Addr.Is6) }, want: `an IPv6 address, or a network as "2001:db8::/32"`},
	"mac":      {fits: matches(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`), want: `six pairs of lower-case hexadecimal digits, as "d2:fb:49:24:37:18"`},
	"domain":   {fits: isDomain, want: "a domain name (RFC 1034, RFC 5890)"},
	"url":      {fits: isURL, want: "a URL (RFC 3986)"},
	"email":    {fits: isEmail, want: `an address (RFC 5322) without the name, as "jane@example.com"`},
	"country":  {fits: protocol.IsCountry, want: `a country of ISO 3166-1, as "TH"`, should: true},
	"cpe":      {fits: isCPE, want: `a CPE 2.3 name, as "cpe:2.3:a:example:word:1.0:*:*:*:*:*:*:*"`},
	"token":    {fits: matches(`^[a-z0-9-]+$`), want: "a-z, 0-9 and '-' only"},
	"words":    {fits: matches(`^[^A-Z_ ]*$`), want: "lower case, with hyphens between words", should: true},
	"selector": {fits: isSelector, want: `a selector, as "description" or "labels.[0]"`},
}

func matches(re string) func(string) bool { return regexp.MustCompile(re).MatchString }

// isLang reports whether s has the form of a language tag (RFC 5646, 2.1).
func isLang(s string) bool {
	for i, part := range strings.Split(s, "-") {
		if len(part) < 1 || len(part) > 8 || i == 0 && (len(part) < 2 && part != "x" && part != "i") {
			return false
		}
		for _, c := range []byte(part) {
			if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (i == 0 || !isDigit(c)) {
				return false
			}
		}
	}
	return true
}

func isNetwork(s string, family func(netip.Addr) bool) bool {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return err == nil && family(p.Addr())
	}
	a, err := netip.ParseAddr(s)
	return err == nil && family(a) && a.Zone() == ""
}

// isDomain takes labels of letters, digits, hyphens and underscores, and any that are not ASCII.
func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c < 0x80 && !isDigit(c) && !(c|0x20 >= 'a' && c|0x20 <= 'z') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && !strings.ContainsAny(s, " \t\r\n")
}

func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s
}

// isCPE takes the formatted string of CPE 2.3: thirteen parts.
func isCPE(s string) bool {
	if !strings.HasPrefix(s, "cpe:2.3:") {
		return false
	}
	parts := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ':':
			parts++
		}
	}
	return parts == 13
}

// isSelector reports whether s has the form of a selector (STIX 7.2.3.2).
func isSelector(s string) bool {
	for i, step := range strings.Split(s, ".") {
		if inner, ok := strings.CutPrefix(step, "["); ok {
			n, ok := strings.CutSuffix(inner, "]")
			if _, err := strconv.ParseUint(n, 10, 31); err != nil || !ok || i == 0 {
				return false
			}
			continue
		}
		if step == "" || strings.ContainsAny(step, "[] ") {
			return false
		}
	}
	return true
}
