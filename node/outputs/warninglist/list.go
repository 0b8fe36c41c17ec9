// Package warninglist keeps what is well known and harmless away from machines that block: it reads
// lists in MISP's format (MISP/misp-warninglists, schema.json), has some built in, and says which
// list holds a value, or part of what a value stands for. It has no I/O.
package warninglist

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Bounds of a list, which comes from outside.
const (
	MaxFile    = 48 << 20  // bytes: MISP's longest, of a million names, have about 25 MB
	MaxEntries = 1_200_000 // entries of one list
	MaxLists   = 256       // lists of one node
	MaxName    = 200       // bytes
	maxEntry   = 4096      // bytes
	maxRegex   = 1024      // bytes of one expression
	// MaxSlow bounds the entries of all lists of types substring and regex together: each of them is
	// tried on each value.
	MaxSlow = 1000
)

// List is a warninglist.
type List struct {
	Name        string   `json:"name"`
	Version     int      `json:"version"`
	Description string   `json:"description"`
	Type        string   `json:"type"` // cidr, hostname, string, substring, regex
	Matching    []string `json:"matching_attributes,omitempty"`
	Entries     []string `json:"list"`
}

func malformed(format string, args ...any) error {
	return protocol.Errorf(protocol.ErrMalformed, format, args...)
}

// Parse reads a list and checks every entry. As MISP does, it takes a list without a type for one of
// strings, and an object in place of the array for entries with comments.
func Parse(raw []byte) (*List, error) {
	if len(raw) > MaxFile {
		return nil, protocol.Errorf(protocol.ErrOversize, "a warninglist has at most %d bytes, this one %d", MaxFile, len(raw))
	}
	if !utf8.Valid(raw) {
		return nil, malformed("a warninglist is UTF-8")
	}
	var doc struct {
		Name        string          `json:"name"`
		Version     json.Number     `json:"version"`
		Description string          `json:"description"`
		Type        json.RawMessage `json:"type"`
		Matching    []string        `json:"matching_attributes"`
		List        json.RawMessage `json:"list"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, malformed("this is no warninglist in MISP's format: %v", err)
	}
	version, _ := doc.Version.Int64()
	l := &List{Name: doc.Name, Version: int(version), Description: doc.Description, Matching: doc.Matching}
	if err := l.readType(doc.Type); err != nil {
		return nil, err
	}
	if err := l.readEntries(doc.List); err != nil {
		return nil, err
	}
	return l, l.Check()
}

func (l *List) readType(raw json.RawMessage) error {
	var several []string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		l.Type = "string"
	case json.Unmarshal(raw, &l.Type) == nil:
	case json.Unmarshal(raw, &several) == nil && len(several) > 0:
		l.Type = several[0]
	default:
		return malformed("the type of a warninglist is cidr, hostname, string, substring or regex")
	}
	return nil
}

func (l *List) readEntries(raw json.RawMessage) error {
	if bytes.HasPrefix(raw, []byte("{")) {
		var comments map[string]json.RawMessage
		if err := json.Unmarshal(raw, &comments); err != nil {
			return malformed("reading the entries of warninglist %q: %v", l.Name, err)
		}
		for e := range comments {
			l.Entries = append(l.Entries, e)
		}
		slices.Sort(l.Entries)
		return nil
	}
	if err := json.Unmarshal(raw, &l.Entries); err != nil {
		return malformed("the property list of warninglist %q must be an array of strings", l.Name)
	}
	return nil
}

// Check says what is wrong with a list.
func (l *List) Check() error {
	switch {
	case l.Name == "" || len(l.Name) > MaxName || !utf8.ValidString(l.Name) || strings.ContainsFunc(l.Name, unicode.IsControl):
		return malformed("a warninglist has a name of 1 to %d bytes, without control characters", MaxName)
	case strings.HasPrefix(l.Name, builtIn):
		return malformed("names that begin with %q are those of built-in lists; give the list another", builtIn)
	case !slices.Contains([]string{"cidr", "hostname", "string", "substring", "regex"}, l.Type):
		return malformed("warninglist %q is of type %q; the types are cidr, hostname, string, substring, regex", l.Name, l.Type)
	case len(l.Entries) == 0:
		return malformed("warninglist %q has no entries", l.Name)
	case len(l.Entries) > MaxEntries:
		return protocol.Errorf(protocol.ErrOversize, "warninglist %q has %d entries, at most %d", l.Name, len(l.Entries), MaxEntries)
	case l.slow() > MaxSlow:
		return protocol.Errorf(protocol.ErrOversize, "warninglist %q has %d entries of type %s, at most %d: each of them is tried on each value", l.Name, l.slow(), l.Type, MaxSlow)
	}
	for i, e := range l.Entries {
		if err := l.checkEntry(e); err != nil {
			return malformed("entry %d of warninglist %q: %v", i+1, l.Name, err)
		}
	}
	return nil
}

// slow is how many entries are tried on each value.
func (l *List) slow() int {
	if l.Type == "substring" || l.Type == "regex" {
		return len(l.Entries)
	}
	return 0
}

func (l *List) checkEntry(e string) error {
	if e == "" || len(e) > maxEntry || !utf8.ValidString(e) {
		return malformed("it has 1 to %d bytes of UTF-8", maxEntry)
	}
	switch l.Type {
	case "cidr":
		if _, err := readPrefix(e); err != nil {
			return err
		}
	case "regex":
		if _, err := readRegex(e); err != nil {
			return err
		}
	case "substring":
		if len(e) < 3 {
			return malformed("%q is shorter than 3 bytes: nearly everything holds it", e)
		}
	}
	return nil
}

func readPrefix(e string) (netip.Prefix, error) {
	e = strings.TrimSpace(e)
	if strings.Contains(e, "/") {
		p, err := netip.ParsePrefix(e)
		if err != nil || p.Addr().Is4In6() {
			return p, malformed("%q is no network in CIDR notation", e)
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(e)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, malformed("%q is no address and no network in CIDR notation", e)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// readRegex reads an expression as RE2 has it, which takes time in proportion to what it is tried on
// whatever is written. MISP's stand between slashes, with PHP's modifiers behind them.
func readRegex(e string) (*regexp.Regexp, error) {
	if len(e) > maxRegex {
		return nil, malformed("an expression has at most %d bytes", maxRegex)
	}
	if i := strings.LastIndexByte(e, '/'); i > 0 && e[0] == '/' {
		flags := e[i+1:]
		if strings.Trim(flags, "imsuU") != "" {
			return nil, malformed("%q has modifiers other than i, m, s, u, U", e)
		}
		e = strings.ReplaceAll(e[1:i], `\/`, "/")
		if flags = strings.ReplaceAll(flags, "u", ""); flags != "" {
			e = "(?" + flags + ")" + e
		}
	}
	re, err := regexp.Compile(e)
	if err != nil {
		return nil, malformed("%v; write it as RE2 has it: no look-around, no back-references", err)
	}
	return re, nil
}

// kindsOf are the kinds of observables that attributes of MISP are. Several are of two parts.
func kindsOf(attribute string) (kinds []stix.Kind) {
	for part := range strings.SplitSeq(attribute, "|") {
		kinds = append(kinds, attributeKinds[part]...)
	}
	return kinds
}

var (
	addressKinds = []stix.Kind{stix.IPv4, stix.IPv6, stix.IPv4CIDR, stix.IPv6CIDR, stix.IPv4Port, stix.IPv6Port}
	domainKinds  = []stix.Kind{stix.Domain, stix.DomainPort}

	attributeKinds = map[string][]stix.Kind{
		"ip-src": addressKinds, "ip-dst": addressKinds, "ip": addressKinds,
		"domain": domainKinds, "hostname": domainKinds,
		"url": {stix.URL}, "uri": {stix.URL}, "link": {stix.URL},
		"email": {stix.Email}, "email-src": {stix.Email}, "email-dst": {stix.Email}, "email-reply-to": {stix.Email},
		"md5": {stix.MD5}, "sha1": {stix.SHA1}, "sha256": {stix.SHA256}, "sha512": {stix.SHA512}, "malware-sample": {stix.MD5, stix.Filename},
		"filename": {stix.Filename},
	}

	allKinds = []stix.Kind{stix.IPv4, stix.IPv6, stix.IPv4CIDR, stix.IPv6CIDR, stix.IPv4Port, stix.IPv6Port, stix.Domain, stix.DomainPort,
		stix.URL, stix.Email, stix.MD5, stix.SHA1, stix.SHA256, stix.SHA512, stix.Filename}
)

// Kinds are the kinds of observables that a list is about: all, if it names no attributes.
func (l *List) Kinds() (kinds []stix.Kind) {
	if len(l.Matching) == 0 {
		return allKinds
	}
	for _, m := range l.Matching {
		kinds = append(kinds, kindsOf(m)...)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}
