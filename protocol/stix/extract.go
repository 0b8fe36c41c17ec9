package stix

import (
	"encoding/json"
	"maps"
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
	c := &collector{seen: map[Observable]bool{}}
	switch {
	case o.Type == "indicator":
		if t := o.Text("pattern_type"); t == "stix" {
			c.pattern(o.Text("pattern"))
		}
	case o.Type == "observed-data":
		var dict map[string]map[string]any
		if v := o.property("objects"); v != nil && json.Unmarshal(v, &dict) == nil {
			for _, key := range slices.Sorted(maps.Keys(dict)) {
				typ, _ := dict[key]["type"].(string)
				c.observable(typ, dict[key])
			}
		}
	case observableTypes[o.Type]:
		var props map[string]any
		if json.Unmarshal(o.Raw, &props) == nil {
			c.observable(o.Type, props)
		}
	}
	return c.list
}

type collector struct {
	list []Observable
	seen map[Observable]bool
}

func (c *collector) add(o Observable) {
	if c.seen[o] || len(c.list) >= maxObservables {
		return
	}
	c.seen[o] = true
	c.list = append(c.list, o)
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
	hosts, ports := map[int]string{}, map[int]string{}
	for _, cmp := range comparisons(pattern) {
		typ, path, _ := strings.Cut(cmp.path, ":")
		switch {
		case path == "dst_port":
			ports[cmp.group] = cmp.value
		case path == "dst_ref.value":
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
			c.addAs("name", cmp.value)
		case path == "value" || strings.HasSuffix(path, ".value") || strings.Contains(path, "hashes.") ||
			strings.HasSuffix(path, ".Host") || strings.HasSuffix(path, ".'Host'") || typ == "artifact" && path == "url":
			c.addAs("value", cmp.value)
		}
	}
}

// observable takes what an observable object (STIX 6) is.
func (c *collector) observable(typ string, props map[string]any) {
	property := map[string]string{"ipv4-addr": "value", "ipv6-addr": "value", "domain-name": "value",
		"url": "value", "email-addr": "value", "file": "name", "artifact": "url"}[typ]
	if s, ok := props[property].(string); ok {
		c.addAs(property, s)
	}
	hashes, _ := props["hashes"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(hashes)) {
		if s, ok := hashes[name].(string); ok {
			c.addAs("hash", s)
		}
	}
}
