package stix

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// maxObservables bounds what is taken out of one object.
const maxObservables = 4096

// Observables returns the observables in an object, in order and without duplicates, at most
// 4096: those that an indicator's STIX pattern compares with, those that an observable (STIX
// 6) is, those in the old dictionary of observed-data. For a URL or a host with a port the
// host follows it, so that a search for the host finds the object.
//
// Observables holds nothing against an object in which it finds none.
func Observables(o *Object) []Observable {
	var c collector
	switch {
	case o.Type == "indicator":
		if t, _ := content(o.property("pattern_type")); string(t) == "stix" {
			c.pattern(o.Text("pattern"))
		}
	case o.Type == "observed-data":
		if dict := o.property("objects"); len(dict) > 0 && dict[0] == '{' {
			c.dictionary(dict)
		}
	case observableTypes[o.Type]:
		var buf [24]member
		c.observable(o.Type, appendAnyMembers(buf[:0], o.source))
	}
	return c.list
}

// collector gathers observables without duplicates.
type collector struct {
	list []Observable
	seen map[Observable]bool // of list; nil while list is short enough to be searched
}

func (c *collector) has(o Observable) bool {
	const short = 16
	if len(c.list) < short {
		return slices.Contains(c.list, o)
	}
	if c.seen == nil {
		c.seen = map[Observable]bool{}
		for _, known := range c.list {
			c.seen[known] = true
		}
	}
	return c.seen[o]
}

func (c *collector) add(o Observable) {
	if len(c.list) >= maxObservables || c.has(o) {
		return
	}
	c.list = append(c.list, o)
	if c.seen != nil {
		c.seen[o] = true
	}
	if host, ok := o.Host(); ok {
		c.add(host)
	}
}

// addAs adds s if it is an observable that fits the property it stands in.
func (c *collector) addAs(property, s string) {
	if property == "name" {
		if s != "" && len(s) <= maxValue {
			c.add(Observable{Filename, s})
		}
		return
	}
	if o, ok := Canonical(s); ok && o.Kind != Filename {
		c.add(o)
	}
}

// pattern takes the observables out of a STIX pattern.
func (c *collector) pattern(pattern string) {
	// By observation expression. Made when needed: few patterns speak of ports.
	var hosts, ports map[int]string
	comparisons(pattern, func(cmp comparison) {
		typ, path, _ := strings.Cut(cmp.path, ":")
		switch {
		case path == "dst_port":
			if ports == nil {
				ports = map[int]string{}
			}
			ports[cmp.group] = cmp.value
		case path == "dst_ref.value":
			if hosts == nil {
				hosts = map[int]string{}
			}
			hosts[cmp.group] = cmp.value
		}
		if host, port := hosts[cmp.group], ports[cmp.group]; host != "" && port != "" {
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			c.addAs("value", host+":"+port)
			ports[cmp.group] = ""
		}
		switch {
		case typ == "file" && path == "name":
			c.addAs("name", strings.Clone(cmp.value)) // not to hold on to the whole pattern
		case path == "value" || strings.HasSuffix(path, ".value") || strings.Contains(path, "hashes.") ||
			strings.HasSuffix(path, ".Host") || strings.HasSuffix(path, ".'Host'") || typ == "artifact" && path == "url":
			c.addAs("value", strings.Clone(cmp.value))
		}
	})
}

// dictionary takes what the observables in the old dictionary of observed-data are, in the
// order of its keys. One that holds anything but objects is passed over as a whole.
func (c *collector) dictionary(dict json.RawMessage) {
	var buf [8]member
	entries := appendAnyMembers(buf[:0], dict)
	for _, entry := range entries {
		if entry.value[0] != '{' && string(entry.value) != "null" {
			return
		}
	}
	for _, entry := range sortMembers(entries) {
		if entry.value[0] == '{' {
			var buf [8]member
			props := appendAnyMembers(buf[:0], entry.value)
			typ, _ := content(lookup(props, "type"))
			c.observable(string(typ), props)
		}
	}
}

// observable takes what an observable object (STIX 6) is.
func (c *collector) observable(typ string, props []member) {
	property := ""
	switch typ {
	case "ipv4-addr", "ipv6-addr", "domain-name", "url", "email-addr":
		property = "value"
	case "file":
		property = "name"
	case "artifact":
		property = "url"
	}
	if property != "" {
		if s, ok := text(lookup(props, property)); ok {
			c.addAs(property, s)
		}
	}
	hashes := lookup(props, "hashes")
	if len(hashes) == 0 || hashes[0] != '{' {
		return
	}
	var buf [8]member
	for _, m := range sortMembers(appendAnyMembers(buf[:0], hashes)) {
		if s, ok := text(m.value); ok {
			c.addAs("hash", s)
		}
	}
}

// sortMembers sorts members by name, in place; of those with one name the last is kept.
func sortMembers(members []member) []member {
	slices.SortStableFunc(members, func(x, y member) int { return bytes.Compare(x.name, y.name) })
	last := members[:0]
	for i, m := range members {
		if i+1 == len(members) || !bytes.Equal(m.name, members[i+1].name) {
			last = append(last, m)
		}
	}
	return last
}
