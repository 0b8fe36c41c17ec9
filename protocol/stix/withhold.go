package stix

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/entente-mesh/entente/protocol"
)

// withholdable lists the types of object whose origin can be withheld, with the properties that are
// kept of them: what is observed, and how long it holds. Whatever else an object says may tell whose
// it is: ids, references, extensions, and every free text.
var withholdable = map[string][]string{
	"indicator":         {"pattern", "pattern_type", "pattern_version", "valid_from", "valid_until", "indicator_types", "confidence"},
	"ipv4-addr":         {"value"},
	"ipv6-addr":         {"value"},
	"domain-name":       {"value"},
	"url":               {"value"},
	"email-addr":        {"value"},
	"mac-addr":          {"value"},
	"file":              {"hashes", "size"},
	"autonomous-system": {"number"},
}

// indicatorTypes is the open vocabulary indicator-type-ov (STIX 10.7); a word of one's own may be a
// name.
var indicatorTypes = []string{"anomalous-activity", "anonymization", "attribution", "benign", "compromised", "malicious-activity", "unknown"}

// hashAlgorithms is the open vocabulary hash-algorithm-ov (STIX 10.6).
var hashAlgorithms = []string{"MD5", "SHA-1", "SHA-256", "SHA-512", "SHA3-256", "SHA3-512", "SSDEEP", "TLSH"}

// Withhold writes an object anew without what may tell whose it is: under an id of its own, as made at
// a time, with the marking of a TLP. removed names the properties that were left out, in their order.
// names are of those who must not be found in it; an object that holds one where it cannot be left
// out, or that is of a type of which too little would be left, is refused.
func Withhold(o *Object, id string, tlp protocol.TLP, at time.Time, names []string) (raw []byte, removed []string, err error) {
	keep, ok := withholdable[o.Type]
	switch {
	case !ok:
		return nil, nil, malformed("the origin of an object of type %s cannot be withheld: what it says or refers to may tell whose it is; pass it on with its origin", o.Type)
	case o.Revoked:
		return nil, nil, malformed("its author revoked it")
	}
	type property struct {
		name  string
		value json.RawMessage
	}
	out := []property{{"type", marshal(o.Type)}, {"spec_version", marshal("2.1")}, {"id", marshal(id)}}
	if o.Type == "indicator" {
		out = append(out, property{"created", marshal(at.UTC().Format(TimeFormat))}, property{"modified", marshal(at.UTC().Format(TimeFormat))})
	}
	out = append(out, property{"object_marking_refs", marshal([]string{TLPMarkingID(tlp)})})
	members, err := splitMembers(o.Raw)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range members {
		name := string(m.name)
		switch {
		case name == "type" || name == "spec_version" || name == "id" || name == "object_marking_refs":
		case o.Type == "indicator" && (name == "created" || name == "modified"):
		case !slices.Contains(keep, name):
			removed = append(removed, name)
		default:
			v, err := withheldValue(name, m.value)
			if err != nil {
				return nil, nil, err
			}
			if v == nil {
				removed = append(removed, name)
				continue
			}
			if who := named(v, names); who != "" {
				return nil, nil, malformed("its %s holds the name %q, and would tell whose it is", name, who)
			}
			out = append(out, property{name, v})
		}
	}
	var b strings.Builder
	for i, p := range out {
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		b.Write(marshal(p.name))
		b.WriteByte(':')
		b.Write(p.value)
	}
	b.WriteByte('}')
	if _, err := Parse([]byte(b.String())); err != nil {
		return nil, nil, malformed("too little of it is left without what may tell whose it is: %v", err)
	}
	return []byte(b.String()), removed, nil
}

// withheldValue checks the value of a property that is kept, and writes it anew; nil: it is left out.
func withheldValue(name string, v json.RawMessage) (json.RawMessage, error) {
	refuse := func() (json.RawMessage, error) {
		return nil, malformed("its %s is not what STIX says, and is not let through", name)
	}
	switch name {
	case "pattern_type":
		if s, ok := text(v); !ok || s != "stix" {
			return nil, malformed("a pattern of another language than STIX's may hold the name of its author; pass it on with its origin")
		}
		return marshal("stix"), nil
	case "pattern":
		s, ok := text(v)
		if !ok {
			return refuse()
		}
		if what := tellsOfItsAuthor(s); what != "" {
			return nil, malformed("its pattern holds %s, which may tell whose it is; pass it on with its origin", what)
		}
		return marshal(s), nil
	case "pattern_version":
		if s, ok := text(v); !ok || s != "2.1" && s != "2.0" {
			return nil, nil
		}
		return marshal("2.1"), nil
	case "valid_from", "valid_until":
		s, ok := text(v)
		t, err := time.Parse(time.RFC3339Nano, s)
		if !ok || err != nil {
			return refuse()
		}
		return marshal(t.UTC().Format(TimeFormat)), nil
	case "value":
		if s, ok := text(v); ok {
			return marshal(s), nil
		}
		return refuse()
	case "indicator_types":
		var list []string
		if json.Unmarshal(v, &list) != nil {
			return refuse()
		}
		list = slices.DeleteFunc(list, func(s string) bool { return !slices.Contains(indicatorTypes, s) })
		if len(list) == 0 {
			return nil, nil
		}
		return marshal(list), nil
	case "hashes":
		var m map[string]string
		if json.Unmarshal(v, &m) != nil || len(m) == 0 {
			return refuse()
		}
		for k, h := range m {
			if !slices.Contains(hashAlgorithms, k) || strings.ContainsFunc(h, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' }) {
				return refuse()
			}
		}
		return marshal(m), nil
	}
	var number uint64 // confidence, size, number
	if json.Unmarshal(v, &number) != nil {
		return refuse()
	}
	return marshal(number), nil
}

var objectID = regexp.MustCompile(`--[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-`)

// tellsOfItsAuthor looks in a pattern for what only its author would have written: a comment, an
// object type or property of its own, the id of an object.
func tellsOfItsAuthor(pattern string) string {
	for i := 0; i < len(pattern); {
		switch {
		case pattern[i] == '\'':
			v, end := quoted(pattern, i)
			if objectID.MatchString(v) {
				return "what looks like the id of an object"
			}
			i = end
		case strings.HasPrefix(pattern[i:], "/*") || strings.HasPrefix(pattern[i:], "//"):
			return "a comment"
		case isWord(pattern[i]):
			end := wordEnd(pattern, i)
			for part := range strings.FieldsFuncSeq(strings.ToLower(pattern[i:end]), func(r rune) bool { return r == ':' || r == '.' }) {
				if strings.HasPrefix(part, "x-") || strings.HasPrefix(part, "x_") {
					return "a type or property of somebody's own"
				}
			}
			i = end
		default:
			i++
		}
	}
	return ""
}

// named returns the first of names that stands in a value, whatever stands between its letters. A
// name of fewer than four letters and digits says too little to be looked for so.
func named(v json.RawMessage, names []string) string {
	s := string(v)
	var unescaped any
	if json.Unmarshal(v, &unescaped) == nil {
		if t, ok := unescaped.(string); ok {
			s = t
		}
	}
	in := lettersOf(s)
	for _, n := range names {
		if l := lettersOf(n); len([]rune(l)) >= 4 && strings.Contains(in, l) {
			return n
		}
	}
	return ""
}

func lettersOf(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}
