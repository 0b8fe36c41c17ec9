package stix

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// TimeFormat is how this project writes a timestamp (STIX 2.16), in UTC.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// NewID returns a deterministic id of a type: the same name gives the same id everywhere.
func NewID(typ, name string) string {
	return typ + "--" + uuid.NewSHA1(namespace, []byte(typ+"\x00"+name)).String()
}

// Pattern returns the STIX pattern (STIX 9) that matches an observable in canonical form.
// A host with a port is matched as the destination of traffic; a CIDR matches the addresses
// in it.
func Pattern(o Observable) string {
	v := quote(o.Value)
	switch o.Kind {
	case IPv4:
		return "[ipv4-addr:value = " + v + "]"
	case IPv6:
		return "[ipv6-addr:value = " + v + "]"
	case IPv4CIDR:
		return "[ipv4-addr:value ISSUBSET " + v + "]"
	case IPv6CIDR:
		return "[ipv6-addr:value ISSUBSET " + v + "]"
	case Domain:
		return "[domain-name:value = " + v + "]"
	case URL:
		return "[url:value = " + v + "]"
	case Email:
		return "[email-addr:value = " + v + "]"
	case Filename:
		return "[file:name = " + v + "]"
	case IPv4Port, IPv6Port, DomainPort:
		typ := "domain-name"
		switch o.Kind {
		case IPv4Port:
			typ = "ipv4-addr"
		case IPv6Port:
			typ = "ipv6-addr"
		}
		i := strings.LastIndexByte(o.Value, ':')
		return "[network-traffic:dst_ref.type = '" + typ + "' AND network-traffic:dst_ref.value = " +
			quote(strings.Trim(o.Value[:i], "[]")) + " AND network-traffic:dst_port = " + o.Value[i+1:] + "]"
	}
	return "[file:hashes." + HashName(o.Kind) + " = " + v + "]"
}

// HashName returns the name of a hash algorithm in a pattern: MD5, 'SHA-1' and so on, "" for
// other kinds.
func HashName(k Kind) string {
	switch k {
	case MD5:
		return "MD5"
	case SHA1:
		return "'SHA-1'"
	case SHA256:
		return "'SHA-256'"
	case SHA512:
		return "'SHA-512'"
	}
	return ""
}

// Indicator is what [Indicator.Object] writes; the fields stand in the order of writing.
type Indicator struct {
	Type           string   `json:"type"`
	SpecVersion    string   `json:"spec_version"`
	ID             string   `json:"id"`
	CreatedBy      string   `json:"created_by_ref,omitempty"`
	Created        string   `json:"created"`
	Modified       string   `json:"modified"`
	Name           string   `json:"name,omitempty"`
	Description    string   `json:"description,omitempty"`
	IndicatorTypes []string `json:"indicator_types"`
	Pattern        string   `json:"pattern"`
	PatternType    string   `json:"pattern_type"`
	ValidFrom      string   `json:"valid_from"`
	Labels         []string `json:"labels,omitempty"`
	Markings       []string `json:"object_marking_refs,omitempty"`

	Extensions json.RawMessage `json:"extensions,omitempty"`
}

// NewIndicator returns a STIX indicator for an observable in canonical form. Its id depends
// on the observable alone and its bytes on the observable and at, which is its created,
// modified and valid_from: the same list read twice with the same time is the same objects.
func NewIndicator(o Observable, at time.Time) *Object { return NewAssessedIndicator(o, at, nil) }

// NewAssessedIndicator is NewIndicator of an observable with an assessment, which may be nil:
// Admiralty codes as labels in MISP's form, Europol's in the handling extension. The id is the same.
func NewAssessedIndicator(o Observable, at time.Time, a *Assessment) *Object {
	i := Indicator{}
	if a != nil {
		i.Labels, i.Extensions = a.labels(), a.extensions()
	}
	when := at.UTC().Format(TimeFormat)
	i.ID, i.Name, i.Pattern = NewID("indicator", string(o.Kind)+"\x00"+o.Value), o.Value, Pattern(o)
	i.Created, i.Modified, i.ValidFrom = when, when, when
	object, err := i.Object()
	if err != nil {
		panic(fmt.Sprintf("stix: own indicator for %q: %v", o.Value, err)) // bounded and valid by construction
	}
	return object
}

// Object writes the indicator: type, spec_version, pattern_type and indicator_types are
// filled in. The error is that of [Parse].
func (i Indicator) Object() (*Object, error) {
	i.Type, i.SpecVersion, i.PatternType = "indicator", "2.1", "stix"
	i.IndicatorTypes = []string{"malicious-activity"}
	return Parse(i.appendTo(make([]byte, 0, 512+len(i.Name)+len(i.Description)+len(i.Pattern))))
}

// appendTo appends what encoding/json would write for i, without HTML escapes. Reflection
// would cost more than all else that reading a list does.
func (i *Indicator) appendTo(b []byte) []byte {
	b = append(b, '{')
	b = appendProperty(b, "type", i.Type)
	b = appendProperty(b, "spec_version", i.SpecVersion)
	b = appendProperty(b, "id", i.ID)
	if i.CreatedBy != "" {
		b = appendProperty(b, "created_by_ref", i.CreatedBy)
	}
	b = appendProperty(b, "created", i.Created)
	b = appendProperty(b, "modified", i.Modified)
	if i.Name != "" {
		b = appendProperty(b, "name", i.Name)
	}
	if i.Description != "" {
		b = appendProperty(b, "description", i.Description)
	}
	b = appendList(b, "indicator_types", i.IndicatorTypes)
	b = appendProperty(b, "pattern", i.Pattern)
	b = appendProperty(b, "pattern_type", i.PatternType)
	b = appendProperty(b, "valid_from", i.ValidFrom)
	if len(i.Labels) > 0 {
		b = appendList(b, "labels", i.Labels)
	}
	if len(i.Markings) > 0 {
		b = appendList(b, "object_marking_refs", i.Markings)
	}
	if len(i.Extensions) > 0 {
		b = append(append(append(b, `"extensions":`...), i.Extensions...), ',')
	}
	b[len(b)-1] = '}' // the last comma
	return b
}

// appendProperty appends "name":"value", with the comma behind it.
func appendProperty(b []byte, name, value string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	b = appendString(b, value)
	return append(b, ',')
}

// appendList appends "name":["value",…], with the comma behind it; values must not be empty.
func appendList(b []byte, name string, values []string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":[`...)
	for _, v := range values {
		b = appendString(b, v)
		b = append(b, ',')
	}
	b[len(b)-1] = ']'
	return append(b, ',')
}
