package intake

import (
	"net/netip"
	"strings"

	"github.com/entente-mesh/entente/protocol/stix"
)

// mispKinds are the attribute types that are observables, and the kinds that their value may
// have. A type that is not here is context and goes into the event's notes.
var mispKinds = map[string][]stix.Kind{
	"ip-src": ipKinds, "ip-dst": ipKinds, "ip": ipKinds,
	"ip-src|port": portKinds, "ip-dst|port": portKinds,
	"domain": nameKinds, "hostname": nameKinds,
	"hostname|port": {stix.DomainPort, stix.IPv4Port, stix.IPv6Port},
	"url":           {stix.URL, stix.Domain, stix.IPv4, stix.IPv6, stix.DomainPort, stix.IPv4Port, stix.IPv6Port},
	"uri":           {stix.URL},
	"link":          {stix.URL},
	"email":         {stix.Email}, "email-src": {stix.Email}, "email-dst": {stix.Email}, "email-reply-to": {stix.Email},
	"md5": {stix.MD5}, "sha1": {stix.SHA1}, "sha256": {stix.SHA256}, "sha512": {stix.SHA512},
	"filename": {stix.Filename},
}

var (
	ipKinds   = []stix.Kind{stix.IPv4, stix.IPv6, stix.IPv4CIDR, stix.IPv6CIDR}
	portKinds = []stix.Kind{stix.IPv4Port, stix.IPv6Port}
	nameKinds = []stix.Kind{stix.Domain, stix.IPv4, stix.IPv6, stix.IPv4CIDR}
)

// observables returns what an attribute is. isContext means that its type is none that can
// be observed; ok is false if the type can be, and the value is not of it.
func (a *mispAttribute) observables() (found []stix.Observable, isContext, ok bool) {
	typ, value := strings.ToLower(string(a.Type)), strings.TrimSpace(string(a.Value))
	if typ == "malware-sample" {
		typ = "filename|md5"
	}
	if typ == "link" && !a.IDs.isTrue() {
		return nil, true, true // a reference to read, not something seen
	}
	if kinds, known := mispKinds[typ]; known {
		if strings.HasSuffix(typ, "|port") {
			value = joinPort(value)
		}
		o, ok := ofKind(value, kinds)
		return []stix.Observable{o}, false, ok
	}
	left, right, pair := strings.Cut(typ, "|")
	if !pair || (left != "filename" && typ != "domain|ip") || mispKinds[right] == nil {
		return nil, true, true
	}
	i := strings.LastIndexByte(value, '|')
	if i < 0 {
		return nil, false, false
	}
	first, ok1 := ofKind(value[:i], mispKinds[left])
	second, ok2 := ofKind(value[i+1:], mispKinds[right])
	return []stix.Observable{first, second}, false, ok1 && ok2
}

// joinPort turns MISP's "host|port" into "host:port".
func joinPort(value string) string {
	host, port, ok := strings.Cut(value, "|")
	if !ok {
		return value
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

func ofKind(value string, kinds []stix.Kind) (stix.Observable, bool) {
	if kinds[0] == stix.Filename {
		value = strings.TrimSpace(value)
		return stix.Observable{Kind: stix.Filename, Value: value}, value != "" && len(value) <= 4096
	}
	o, ok := stix.Canonical(value)
	if ok {
		for _, k := range kinds {
			if o.Kind == k {
				return o, true
			}
		}
	}
	return stix.Observable{}, false
}

// mispPattern returns the STIX pattern of an attribute's observables: both must hold of one
// file, or of one domain and the address that it resolves to.
func mispPattern(found []stix.Observable) string {
	if len(found) == 1 {
		return stix.Pattern(found[0])
	}
	first := strings.TrimSuffix(stix.Pattern(found[0]), "]")
	second := strings.TrimPrefix(stix.Pattern(found[1]), "[")
	if found[0].Kind == stix.Domain {
		_, operand, _ := strings.Cut(second, ":value ")
		second = "domain-name:resolves_to_refs[*].value " + operand
	}
	return first + " AND " + second
}
