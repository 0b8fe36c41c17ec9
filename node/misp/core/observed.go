package core

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// observedNamespace is the namespace of deterministic ids of observables (STIX 2.9).
var observedNamespace = uuid.MustParse("00abedb4-aa42-466c-9c01-fed23315a9b7")

// observed is an observable object (STIX 6) for a thing that was seen and is not by itself a
// reason for an alarm: MISP's to_ids is false. It is written in this order.
type observed struct {
	Type     string            `json:"type"`
	Spec     string            `json:"spec_version"`
	ID       string            `json:"id"`
	Value    string            `json:"value,omitempty"`
	Name     string            `json:"name,omitempty"`
	Hashes   map[string]string `json:"hashes,omitempty"`
	Markings []string          `json:"object_marking_refs,omitempty"`
	// Part says that it is a part of observed-data, which says what MISP says of it.
	Part string `json:"x_misp_part_of"`
}

// observedObjects returns the objects for an attribute's observables. A port belongs to
// traffic that MISP says nothing more about, so of a host with a port the host is returned.
func observedObjects(found []stix.Observable, markings []string) ([]*stix.Object, error) {
	file := observed{Type: "file", Hashes: map[string]string{}}
	var list []observed
	for _, o := range found {
		if host, ok := o.Host(); ok && o.Kind != stix.URL {
			o = host
		}
		switch o.Kind {
		case stix.Filename:
			file.Name = o.Value
		case stix.MD5, stix.SHA1, stix.SHA256, stix.SHA512:
			file.Hashes[strings.Trim(stix.HashName(o.Kind), "'")] = o.Value
		default:
			typ := map[stix.Kind]string{stix.IPv4: "ipv4-addr", stix.IPv4CIDR: "ipv4-addr", stix.IPv6: "ipv6-addr",
				stix.IPv6CIDR: "ipv6-addr", stix.Domain: "domain-name", stix.URL: "url", stix.Email: "email-addr"}[o.Kind]
			list = append(list, observed{Type: typ, Value: o.Value})
		}
	}
	if file.Name != "" || len(file.Hashes) > 0 {
		list = append(list, file)
	}
	var objects []*stix.Object
	for _, w := range list {
		w.Spec, w.Markings, w.Part = "2.1", markings, "observed-data"
		w.ID = w.Type + "--" + uuid.NewSHA1(observedNamespace, w.contributing()).String()
		o, err := stix.Parse(encode(w))
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// contributing returns the properties that make the id, as JSON in canonical form: names
// sorted, no white space (STIX 2.9, RFC 8785).
func (w observed) contributing() []byte {
	props := map[string]any{}
	if w.Value != "" {
		props["value"] = w.Value
	}
	if w.Name != "" {
		props["name"] = w.Name
	}
	if len(w.Hashes) > 0 {
		props["hashes"] = w.Hashes
	}
	return encode(props)
}

// encode writes JSON without HTML escapes; the values are of this package and of strings.
func encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("misp: encoding own value: " + err.Error())
	}
	return bytes.TrimSpace(buf.Bytes())
}

// markingRefs says a handling's TLP as object_marking_refs.
func markingRefs(h protocol.Handling) []string {
	if id := stix.TLPMarkingID(h.TLP); id != "" {
		return []string{id}
	}
	return nil
}

// ownUUID returns s in lower case if it is a UUID, else one made of the name.
func ownUUID(s, name string) string {
	if u, err := uuid.Parse(s); err == nil && len(s) == 36 {
		return u.String()
	}
	_, id, _ := strings.Cut(stix.NewID("misp", "misp\x00"+name), "--")
	return id
}

// isUUID reports whether s is a UUID as MISP writes it.
func isUUID(s string) bool { _, err := uuid.Parse(s); return err == nil && len(s) == 36 }

// shown returns text for a message: on one line, printable, bounded.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return `"` + s + `"`
}

// Clip bounds text for a message.
func Clip(s string) string { return strings.Trim(shown(s), `"`) }

// IsText reports whether a value is none by which records are found as an observable.
func IsText(s string) bool { o, ok := stix.Canonical(s); return !ok || o.Kind == stix.Filename }
