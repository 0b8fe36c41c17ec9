package observe

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// maxComparisons bounds the comparisons that one pattern makes: some minutes. Others wrote the pattern.
const maxComparisons = 1_000_000_000

// Index holds observations by what was seen in them, so that a pattern is tried on those only that hold
// a value it compares with. Reading a log is one pass over its lines, and matching one over the
// patterns, however many there are of either; only patterns that compare otherwise, as with LIKE or a
// size, are tried on all.
type Index struct {
	list []Observation
	by   map[stix.Observable][]int32
	nets []seenNet // sorted when it is asked
	odd  []int32   // observations that hold more values than are noted
	raw  bool      // nets is not sorted
	most int       // comparisons of one pattern; 0: maxComparisons
}

// seenNet is an address, or a network, that was seen.
type seenNet struct {
	net netip.Prefix
	at  int32
}

// Add adds an observation.
func (x *Index) Add(o *Observation) {
	if x.by == nil {
		x.by = map[stix.Observable][]int32{}
	}
	at := int32(len(x.list))
	x.list = append(x.list, *o)
	if len(o.Values) >= maxValues {
		x.odd = append(x.odd, at)
	}
	for _, v := range o.Values {
		x.by[v] = append(x.by[v], at)
		if net, ok := netOf(v); ok {
			x.nets, x.raw = append(x.nets, seenNet{net, at}), true
		}
	}
}

// netOf returns the network that an observable is; an address is a network of one.
func netOf(v stix.Observable) (netip.Prefix, bool) {
	switch v.Kind {
	case stix.IPv4, stix.IPv6:
		a, err := netip.ParseAddr(v.Value)
		return netip.PrefixFrom(a, a.BitLen()), err == nil
	case stix.IPv4CIDR, stix.IPv6CIDR:
		p, err := netip.ParsePrefix(v.Value)
		return p, err == nil
	}
	return netip.Prefix{}, false
}

// Len returns how many observations there are.
func (x *Index) Len() int { return len(x.list) }

// At returns an observation.
func (x *Index) At(i int) *Observation { return &x.list[i] }

// Match returns the observations that a pattern matches: of one that a single observation matches all
// of them, of others one set. nil: none.
func (x *Index) Match(p *pattern.Pattern) ([]pattern.Seen, error) {
	at := x.candidates(p)
	if len(at) == 0 {
		return nil, nil
	}
	comparisons := 0
	p.Comparisons(func(int, *pattern.Compare) bool { comparisons++; return true })
	if comparisons*len(at) > cmp.Or(x.most, maxComparisons) {
		return nil, pattern.ErrTooMuch
	}
	var out []pattern.Seen
	if single := singles(p.Root); single != nil {
		for _, i := range at {
			o := x.list[i].Observe()
			if slices.ContainsFunc(single, func(e *pattern.Observation) bool { return e.One(o) }) {
				out = append(out, pattern.Seen{Index: int(i), Times: max(o.Count, 1)})
			}
		}
		return out, nil
	}
	list := make([]pattern.Observed, len(at))
	for i, k := range at {
		list[i] = *x.list[k].Observe()
	}
	out, err := p.Match(list)
	for i := range out {
		out[i].Index = int(at[out[i].Index])
	}
	return out, err
}

// singles returns the observation expressions of a pattern of which each alone is a match; nil if it
// wants more.
func singles(e pattern.Expr) []*pattern.Observation {
	switch e := e.(type) {
	case *pattern.Observation:
		return []*pattern.Observation{e}
	case *pattern.Combined:
		if e.Op != pattern.Or {
			return nil
		}
		var list []*pattern.Observation
		for _, part := range e.Parts {
			s := singles(part)
			if s == nil {
				return nil
			}
			list = append(list, s...)
		}
		return list
	}
	return nil
}

// candidates returns the observations that any part of a pattern can match, in order. Others pass no
// test of it, and so they are in no match.
func (x *Index) candidates(p *pattern.Pattern) []int32 {
	var n need
	addExpr(&n, p.Root)
	if n.all {
		all := make([]int32, len(x.list))
		for i := range all {
			all[i] = int32(i)
		}
		return all
	}
	if x.raw {
		slices.SortFunc(x.nets, func(a, b seenNet) int {
			return cmp.Or(a.net.Addr().Compare(b.net.Addr()), cmp.Compare(a.at, b.at))
		})
		x.raw = false
	}
	at := slices.Clone(x.odd)
	for _, v := range n.values {
		at = append(at, x.by[v]...)
	}
	for _, net := range n.nets {
		i, _ := slices.BinarySearchFunc(x.nets, net.Addr(), func(s seenNet, a netip.Addr) int { return s.net.Addr().Compare(a) })
		for ; i < len(x.nets) && net.Contains(x.nets[i].net.Addr()); i++ {
			at = append(at, x.nets[i].at)
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// need is what an observation must hold one of, to pass a test.
type need struct {
	values []stix.Observable
	nets   []netip.Prefix // or an address or a network in them
	all    bool           // it may pass without any
}

func (n *need) size() int { return len(n.values) + len(n.nets) }

func (n *need) add(o need) {
	n.values, n.nets, n.all = append(n.values, o.values...), append(n.nets, o.nets...), n.all || o.all
}

func addExpr(n *need, e pattern.Expr) {
	switch e := e.(type) {
	case *pattern.Observation:
		n.add(needOf(e.Test))
	case *pattern.Qualified:
		addExpr(n, e.Of)
	case *pattern.Combined:
		for _, part := range e.Parts {
			addExpr(n, part)
		}
	}
}

// needOf says what passes a test: of AND the part that asks for the least, of OR all parts.
func needOf(t pattern.Test) (n need) {
	switch t := t.(type) {
	case *pattern.Compare:
		return needOfCompare(t)
	case *pattern.Logic:
		if !t.And {
			for _, part := range t.Parts {
				n.add(needOf(part))
			}
			return n
		}
		n.all = true
		for _, part := range t.Parts {
			if p := needOf(part); !p.all && (n.all || p.size() < n.size()) {
				n = p
			}
		}
	}
	return n
}

// needOfCompare looks at comparisons with the values that an observation is noted by.
func needOfCompare(c *pattern.Compare) need {
	name, noted := notedPath(c.Path)
	if !noted || c.Not || c.Op != pattern.Equal && c.Op != pattern.In && c.Op != pattern.IsSubset {
		return need{all: true}
	}
	var n need
	for i := range c.Values {
		text := c.Values[i].Text
		if c.Values[i].Kind != pattern.String || strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
			return need{all: true} // what is not ASCII is compared in another form than it is noted in
		}
		v, ok := stix.Canonical(text)
		switch net, isNet := netOf(v); {
		case c.Op == pattern.IsSubset && ok && isNet && net.Addr().Is6() && net.Overlaps(mapped):
			return need{all: true} // which is noted as IPv4
		case c.Op == pattern.IsSubset && ok && isNet:
			n.nets = append(n.nets, net.Masked())
		case c.Op == pattern.IsSubset:
			return need{all: true}
		case name:
			n.values = append(n.values, stix.Observable{Kind: stix.Filename, Value: text})
		case ok:
			n.values = append(n.values, v)
		default:
			return need{all: true}
		}
	}
	return n
}

// mapped are the IPv4 addresses that are written as IPv6.
var mapped = netip.MustParsePrefix("::ffff:0:0/96")

// notedPath reports whether a path leads to what an observation is noted by (given, fromValues), and
// whether that is a name.
func notedPath(p pattern.Path) (name, noted bool) {
	if len(p.Steps) == 0 {
		return false, false
	}
	steps := p.Steps
	last := steps[len(steps)-1].Key
	steps = steps[:len(steps)-1]
	isHash := len(steps) > 0 && steps[len(steps)-1].Key == "hashes"
	if isHash {
		steps = steps[:len(steps)-1]
	}
	// Before it stands the object itself, or a reference to it: what is inside of objects is not noted.
	if n := len(steps); n > 0 {
		before := steps[n-1].Key
		if before == "" && n > 1 {
			before = steps[n-2].Key
		}
		if !strings.HasSuffix(before, "_ref") && !strings.HasSuffix(before, "_refs") {
			return false, false
		}
	}
	return last == "name" && !isHash, isHash || last == "value" || last == "name" || last == "url"
}
