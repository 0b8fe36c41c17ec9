package gather

import (
	"slices"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// Sufficient returns the observables of which each alone makes a pattern match: what a device that
// knows but one value may act on. A value that the pattern only asks for beside others, in an order,
// several times, or not at all (NOT) is none of them, although a search finds it.
func Sufficient(src string) []stix.Observable {
	p, err := pattern.Parse(src)
	if err != nil {
		return nil
	}
	var s sufficient
	s.expr(p.Root)
	return s.list
}

const maxValues = 4096 // of one object, as package stix has it

type sufficient struct{ list []stix.Observable }

func (s *sufficient) add(o stix.Observable, ok bool) {
	if ok && len(s.list) < maxValues && !slices.Contains(s.list, o) {
		s.list = append(s.list, o)
	}
}

func (s *sufficient) expr(e pattern.Expr) {
	switch e := e.(type) {
	case *pattern.Observation:
		s.test(e.Test)
	case *pattern.Qualified:
		if e.Within > 0 || e.Repeats == 1 {
			s.expr(e.Of)
		}
	case *pattern.Combined:
		if e.Op == pattern.Or {
			for _, part := range e.Parts {
				s.expr(part)
			}
		}
	}
}

func (s *sufficient) test(t pattern.Test) {
	switch t := t.(type) {
	case *pattern.Compare:
		s.compare(t)
	case *pattern.Logic:
		if t.And {
			s.all(t.Parts)
			return
		}
		for _, part := range t.Parts {
			s.test(part)
		}
	}
}

// all looks at tests that must all pass. Two forms say one value: an end of network traffic with its
// type and port, and a file with a hash, which no other file has.
func (s *sufficient) all(parts []pattern.Test) {
	var hashes []*pattern.Compare
	var host, port string
	file, traffic := true, true
	for _, part := range parts {
		c, ok := part.(*pattern.Compare)
		if !ok || c.Not || c.Op != pattern.Equal || len(c.Values) != 1 {
			return
		}
		path, v := c.Path.String(), c.Values[0]
		file = file && c.Path.Type == "file"
		if isHash(c) {
			hashes = append(hashes, c)
		}
		switch {
		case path == "network-traffic:dst_ref.type":
		case path == "network-traffic:dst_ref.value" && v.Kind == pattern.String && host == "":
			host = v.Text
		case path == "network-traffic:dst_port" && v.Kind == pattern.Integer && port == "":
			port = strconv.FormatInt(v.Int, 10)
		default:
			traffic = false
		}
	}
	switch {
	case file:
		for _, c := range hashes {
			s.compare(c)
		}
	case traffic && host != "":
		o, ok := stix.Canonical(host)
		if ok && port != "" {
			if o.Kind == stix.IPv6 {
				host = "[" + o.Value + "]"
			}
			o, ok = stix.Canonical(host + ":" + port)
		}
		s.add(o, ok && o.Kind != stix.URL && o.Kind != stix.Filename)
	}
}

func isHash(c *pattern.Compare) bool {
	return (c.Path.Type == "file" || c.Path.Type == "artifact") && len(c.Path.Steps) == 2 && c.Path.Steps[0].Key == "hashes"
}

func (s *sufficient) compare(c *pattern.Compare) {
	if c.Not || c.Op != pattern.Equal && c.Op != pattern.In && c.Op != pattern.IsSubset {
		return
	}
	path := c.Path.String()
	for _, v := range c.Values {
		if v.Kind != pattern.String {
			continue
		}
		if path == "file:name" {
			s.add(stix.Observable{Kind: stix.Filename, Value: v.Text}, v.Text != "" && len(v.Text) <= maxValues)
			continue
		}
		o, ok := stix.Canonical(v.Text)
		s.add(o, ok && fits(c, path, o))
	}
}

// fits reports whether an observable is one of what it was written of, and not what looks alike.
func fits(c *pattern.Compare, path string, o stix.Observable) bool {
	network := o.Kind == stix.IPv4CIDR || o.Kind == stix.IPv6CIDR
	switch path {
	case "ipv4-addr:value", "ipv6-addr:value":
		return o.Kind == stix.IPv4 || o.Kind == stix.IPv6 || network
	case "domain-name:value":
		return o.Kind == stix.Domain && c.Op != pattern.IsSubset
	case "url:value":
		return o.Kind == stix.URL && c.Op != pattern.IsSubset
	case "email-addr:value", "email-message:from_ref.value", "email-message:sender_ref.value":
		return o.Kind == stix.Email && c.Op != pattern.IsSubset
	case "network-traffic:dst_ref.value":
		return o.Kind == stix.IPv4 || o.Kind == stix.IPv6 || network || o.Kind == stix.Domain && c.Op != pattern.IsSubset
	}
	if !isHash(c) || c.Op == pattern.IsSubset {
		return false
	}
	name := strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(c.Path.Steps[1].Key))
	return string(o.Kind) == name
}
