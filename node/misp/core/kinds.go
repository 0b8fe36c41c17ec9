package core

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/protocol/stix"
)

// mispKinds are the attribute types that are observables of kinds known here, and the kinds that
// their value may have.
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

// observables returns what an attribute is; nil if its type is none that can be searched for, or its
// value is not what the type says.
func (a *Attribute) observables() []stix.Observable {
	typ, value := strings.ToLower(a.Fields.Text("type")), strings.TrimSpace(a.Fields.Text("value"))
	if typ == "malware-sample" {
		typ = "filename|md5"
	}
	if typ == "link" && !a.Fields.True("to_ids") {
		return nil // a reference to read, not something seen
	}
	if kinds, known := mispKinds[typ]; known {
		if strings.HasSuffix(typ, "|port") {
			value = joinPort(value)
		}
		if o, ok := ofKind(value, kinds); ok {
			return []stix.Observable{o}
		}
		return nil
	}
	left, right, pair := strings.Cut(typ, "|")
	i := strings.LastIndexByte(value, '|')
	if !pair || (left != "filename" && typ != "domain|ip") || mispKinds[right] == nil || i < 0 {
		return nil
	}
	first, ok1 := ofKind(value[:i], mispKinds[left])
	second, ok2 := ofKind(value[i+1:], mispKinds[right])
	if !ok1 || !ok2 {
		return nil
	}
	return []stix.Observable{first, second}
}

// mispPaths are the attribute types whose value a STIX pattern compares with one property, taken
// from misp-stix (stix2_mapping.py).
var mispPaths = map[string]string{
	"regkey": "windows-registry-key:key", "mutex": "mutex:name", "mac-address": "mac-addr:value",
	"email-subject": "email-message:subject", "user-agent": "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'",
	"http-method": "network-traffic:extensions.'http-request-ext'.request_method", "email-x-mailer": "email-message:additional_header_fields.x_mailer",
	"email-attachment": "email-message:body_multipart[*].body_raw_ref.name", "email-message-id": "email-message:message_id",
	"github-username": "user-account:account_login", "process-state": "process:x_state", "named pipe": "file:name",
	"windows-service-name": "process:extensions.'windows-service-ext'.service_name", "mime-type": "file:mime_type",
	"sha224": "file:hashes.'SHA-224'", "sha384": "file:hashes.'SHA-384'", "sha512/224": "file:hashes.'SHA-512/224'",
	"sha512/256": "file:hashes.'SHA-512/256'", "sha3-224": "file:hashes.'SHA3-224'", "sha3-256": "file:hashes.'SHA3-256'",
	"sha3-384": "file:hashes.'SHA3-384'", "sha3-512": "file:hashes.'SHA3-512'", "ssdeep": "file:hashes.SSDEEP",
	"tlsh": "file:hashes.TLSH", "imphash": "file:hashes.IMPHASH", "authentihash": "file:hashes.AUTHENTIHASH", "vhash": "file:hashes.VHASH",
	"cdhash": "file:hashes.CDHASH", "pehash": "file:hashes.PEHASH", "impfuzzy": "file:hashes.IMPFUZZY",
	"x509-fingerprint-md5": "x509-certificate:hashes.MD5", "x509-fingerprint-sha1": "x509-certificate:hashes.'SHA-1'",
	"x509-fingerprint-sha256": "x509-certificate:hashes.'SHA-256'",
}

// ruleTypes are the attribute types that are a rule in another language (STIX pattern-type-ov).
var ruleTypes = map[string]string{"yara": "yara", "snort": "snort", "sigma": "sigma", "stix2-pattern": "stix"}

// pattern returns the pattern of an attribute, and the language that it is in; "" if it has none.
func (a *Attribute) pattern(found []stix.Observable) (pattern, language string) {
	typ, value := strings.ToLower(a.Fields.Text("type")), a.Fields.Text("value")
	if len(found) > 0 {
		return mispPattern(found), "stix"
	}
	if language := ruleTypes[typ]; language != "" && strings.TrimSpace(value) != "" {
		return value, language
	}
	trimmed := strings.TrimSpace(value)
	switch {
	case trimmed == "":
		return "", ""
	case typ == "as":
		if n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToUpper(trimmed), "AS"), 10, 32); err == nil {
			return "[autonomous-system:number = " + strconv.FormatUint(n, 10) + "]", "stix"
		}
		return "", ""
	case typ == "regkey|value":
		if key, data, ok := strings.Cut(value, "|"); ok && key != "" && data != "" {
			return "[windows-registry-key:key = " + quote(key) + " AND windows-registry-key:values[*].data = " + quote(data) + "]", "stix"
		}
		return "", ""
	}
	if path := mispPaths[typ]; path != "" {
		return "[" + path + " = " + quote(trimmed) + "]", "stix"
	}
	return "", ""
}

var escapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func quote(s string) string { return "'" + escapes.Replace(s) + "'" }

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
