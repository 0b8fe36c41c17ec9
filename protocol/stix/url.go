package stix

import "strings"

// asURL reads scheme://host[:port][/path][?query][#fragment]. Scheme and host are put into
// canonical form, all else is kept. The host may be a single label, as on local networks.
func asURL(s string) (Observable, bool) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return Observable{}, false
	}
	host, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, tail = rest[:i], rest[i:]
	}
	user := ""
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		user, host = host[:i+1], host[i+1:]
	}
	host, ok = canonicalHost(host)
	if !ok {
		return Observable{}, false
	}
	return Observable{URL, strings.ToLower(scheme) + "://" + user + host + tail}, true
}

// isScheme reports whether s is a scheme (RFC 3986, section 3.1) of 2 to 32 characters.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !isDigit(s[i]) && s[i] != '+' && s[i] != '.' && s[i] != '-') {
			return false
		}
	}
	return len(s) >= 2 && len(s) <= 32
}

// canonicalHost puts host[:port] into canonical form.
func canonicalHost(s string) (string, bool) {
	name, port, ok := splitPort(s)
	if !ok || name == "" {
		return "", false
	}
	if port != "" {
		port = ":" + port
	}
	if addr, ok := asAddr(name); ok {
		switch {
		case addr.Kind == IPv4:
			return addr.Value + port, true
		case addr.Kind == IPv6 && name[0] == '[':
			return "[" + addr.Value + "]" + port, true
		}
		return "", false
	}
	if o, ok := asName(name); ok && o.Kind == Domain {
		return o.Value + port, true
	}
	if single := strings.ToLower(name); validLabel(single) && strings.ContainsFunc(single, isLetter) {
		return single + port, true
	}
	return "", false
}

// asBare reads a URL without a scheme: a host, then a path or a query. Digits alone behind
// an address are a CIDR gone wrong, not a path.
func asBare(s string) (Observable, bool) {
	i := strings.IndexAny(s, "/?")
	if i <= 0 {
		return Observable{}, false
	}
	host, ok := canonicalHost(s[:i])
	if !ok || !strings.ContainsAny(host, ".:") || strings.Contains(s[:i], "@") {
		return Observable{}, false
	}
	if _, isAddr := asAddr(s[:i]); isAddr && strings.Trim(s[i+1:], "0123456789") == "" && len(s) > i+1 {
		return Observable{}, false
	}
	return Observable{URL, "http://" + host + s[i:]}, true
}

// asEmail reads local@domain.
func asEmail(s string) (Observable, bool) {
	if strings.IndexByte(s, '@') < 0 {
		return Observable{}, false
	}
	local, domain, _ := strings.Cut(strings.ToLower(s), "@")
	if !isLocal(local) {
		return Observable{}, false
	}
	o, ok := asName(domain)
	if !ok || o.Kind != Domain {
		return Observable{}, false
	}
	return Observable{Email, local + "@" + o.Value}, true
}

// isLocal reports whether s, in lower case, can stand before the @: 1 to 64 of the
// characters that need no quotes there (RFC 5322, section 3.2.3), but for '/' and '`'.
func isLocal(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || isDigit(c)) && strings.IndexByte(".!#$%&'*+=?^_{|}~-", c) < 0 {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}
