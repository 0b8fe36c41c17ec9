package warninglist

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Hit says which list holds a value.
type Hit struct {
	List   string `json:"list"`
	Entry  string `json:"entry"`            // as it stands there, or as it is meant
	Covers bool   `json:"covers,omitempty"` // it is part of what the value stands for
}

func (h Hit) String() string {
	if h.Covers {
		return fmt.Sprintf("covers %s of list %q", h.Entry, h.List)
	}
	return fmt.Sprintf("is %s of list %q", h.Entry, h.List)
}

// Set are lists made ready to be asked about many values, the built-in ones among them. It does not
// change, and may be asked from several goroutines.
type Set struct {
	groups []*group
}

// group are the lists about the same kinds.
type group struct {
	kinds    map[stix.Kind]bool
	prefixes prefixSet
	names    nameSet           // of hostname lists: with what is below them
	values   map[string]string // of string lists: the name of the list
	exact    nameSet           // the domains among values
	strings  []entry
	regexes  []entry
}

type entry struct {
	text, list string
	re         *regexp.Regexp
}

// Compile makes a set of lists and of those built in. The lists must have passed Check.
func Compile(lists []*List) (*Set, error) {
	if len(lists) > MaxLists {
		return nil, protocol.Errorf(protocol.ErrOversize, "there are %d warninglists, at most %d; remove some first", len(lists), MaxLists)
	}
	slow := 0
	s := &Set{}
	byKinds := map[string]*group{}
	for _, l := range append(builtIns(), lists...) {
		if slow += l.slow(); slow > MaxSlow {
			return nil, protocol.Errorf(protocol.ErrOversize, "the warninglists have more than %d entries of types substring and regex, which are tried on each value; remove some first", MaxSlow)
		}
		kinds := l.Kinds()
		key := fmt.Sprint(kinds)
		g := byKinds[key]
		if g == nil {
			g = &group{kinds: map[stix.Kind]bool{}, values: map[string]string{}}
			for _, k := range kinds {
				g.kinds[k] = true
			}
			byKinds[key] = g
			s.groups = append(s.groups, g)
		}
		if err := g.add(l); err != nil {
			return nil, fmt.Errorf("warninglist %q: %w", l.Name, err)
		}
	}
	for _, g := range s.groups {
		g.prefixes.sort()
		g.names.sort()
		g.exact.sort()
	}
	return s, nil
}

func (g *group) add(l *List) error {
	for _, e := range l.Entries {
		switch l.Type {
		case "cidr":
			p, err := readPrefix(e)
			if err != nil {
				return err
			}
			g.prefixes.add(p, l.Name)
		case "hostname":
			g.names.add(domainOf(e), l.Name)
		case "string":
			g.addString(e, l.Name)
		case "substring":
			g.strings = append(g.strings, entry{text: e, list: l.Name})
		case "regex":
			re, err := readRegex(e)
			if err != nil {
				return err
			}
			g.regexes = append(g.regexes, entry{text: e, list: l.Name, re: re})
		}
	}
	return nil
}

// addString takes an entry as it stands, and as our observables are written.
func (g *group) addString(e, list string) {
	put := func(v string) {
		if _, ok := g.values[v]; !ok {
			g.values[v] = list
		}
	}
	put(e)
	o, ok := stix.Canonical(e)
	if !ok {
		return
	}
	put(o.Value)
	switch o.Kind {
	case stix.IPv4, stix.IPv6, stix.IPv4CIDR, stix.IPv6CIDR:
		if p, err := readPrefix(o.Value); err == nil {
			g.prefixes.add(p, list)
		}
	case stix.Domain:
		g.exact.add(o.Value, list)
	}
}

// domainOf writes a host name as our observables are; one of a single label stays one.
func domainOf(e string) string {
	e = strings.ToLower(strings.Trim(strings.TrimSpace(e), "."))
	if o, ok := stix.Canonical(e); ok && o.Kind == stix.Domain {
		return o.Value
	}
	return e
}

// Match returns the list that holds a value. A network is held also if it has a listed address in
// it, or lies in a listed network; a URL and a host with a port if their host is. wide says that a
// domain stands for all that is below it, as where a resolver blocks it: it is held then also if a
// listed name is below it.
func (s *Set) Match(o stix.Observable, wide bool) (Hit, bool) {
	host, hasHost := o.Host()
	for _, g := range s.groups {
		if !g.kinds[o.Kind] {
			continue
		}
		if list, ok := g.values[o.Value]; ok {
			return Hit{List: list, Entry: o.Value}, true
		}
		if h, ok := g.matchHost(o, wide); ok {
			return h, true
		}
		if hasHost {
			if list, ok := g.values[host.Value]; ok && o.Kind != stix.URL {
				return Hit{List: list, Entry: host.Value}, true
			}
			if h, ok := g.matchHost(host, false); ok {
				return h, true
			}
		}
		for i := range g.strings {
			if strings.Contains(o.Value, g.strings[i].text) {
				return Hit{List: g.strings[i].list, Entry: g.strings[i].text}, true
			}
		}
		for i := range g.regexes {
			if g.regexes[i].re.MatchString(o.Value) {
				return Hit{List: g.regexes[i].list, Entry: g.regexes[i].text}, true
			}
		}
	}
	return matchRules(o, wide)
}

// matchHost looks for an address, a network or a domain.
func (g *group) matchHost(o stix.Observable, wide bool) (Hit, bool) {
	switch o.Kind {
	case stix.IPv4, stix.IPv6, stix.IPv4CIDR, stix.IPv6CIDR:
		p, err := readPrefix(o.Value)
		if err != nil {
			return Hit{}, false
		}
		return g.prefixes.match(p)
	case stix.Domain:
		if h, ok := g.names.above(o.Value); ok || !wide {
			return h, ok
		}
		if h, ok := g.names.below(o.Value); ok {
			return h, true
		}
		return g.exact.below(o.Value)
	}
	return Hit{}, false
}

// prefixSet finds the networks around a network, and in it.
type prefixSet struct {
	lists map[netip.Prefix]string
	bits  [2][129]bool // lengths that occur, of IPv4 and of IPv6
	order []netip.Prefix
}

func (s *prefixSet) add(p netip.Prefix, list string) {
	if s.lists == nil {
		s.lists = map[netip.Prefix]string{}
	}
	if _, ok := s.lists[p]; ok {
		return
	}
	s.lists[p] = list
	s.bits[family(p)][p.Bits()] = true
	s.order = append(s.order, p)
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}

func (s *prefixSet) sort() {
	slices.SortFunc(s.order, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
}

func (s *prefixSet) match(p netip.Prefix) (Hit, bool) {
	for bits := p.Bits(); bits >= 0; bits-- {
		if !s.bits[family(p)][bits] {
			continue
		}
		around := netip.PrefixFrom(p.Addr(), bits).Masked()
		if list, ok := s.lists[around]; ok {
			return Hit{List: list, Entry: around.String()}, true
		}
	}
	i, _ := slices.BinarySearchFunc(s.order, p.Addr(), func(q netip.Prefix, a netip.Addr) int { return q.Addr().Compare(a) })
	if i < len(s.order) && p.Contains(s.order[i].Addr()) {
		return Hit{List: s.lists[s.order[i]], Entry: s.order[i].String(), Covers: true}, true
	}
	return Hit{}, false
}

// nameSet finds the names above a name, and below it.
type nameSet struct {
	lists map[string]string
	order []string // with their labels turned round, each followed by a dot
}

func (s *nameSet) add(name, list string) {
	if s.lists == nil {
		s.lists = map[string]string{}
	}
	if _, ok := s.lists[name]; !ok && name != "" {
		s.lists[name] = list
		s.order = append(s.order, turned(name))
	}
}

func turned(name string) string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

func (s *nameSet) sort() { slices.Sort(s.order) }

func (s *nameSet) above(name string) (Hit, bool) {
	for n, ok := name, true; ok; _, n, ok = strings.Cut(n, ".") {
		if list, ok := s.lists[n]; ok {
			return Hit{List: list, Entry: n}, true
		}
	}
	return Hit{}, false
}

func (s *nameSet) below(name string) (Hit, bool) {
	t := turned(name)
	i, _ := slices.BinarySearch(s.order, t)
	if i < len(s.order) && strings.HasPrefix(s.order[i], t) {
		entry := strings.TrimSuffix(turned(strings.TrimSuffix(s.order[i], ".")), ".")
		return Hit{List: s.lists[entry], Entry: entry, Covers: true}, true
	}
	return Hit{}, false
}

// matchRules holds what is no list: names under which anybody may register others, and networks too
// wide for one report to be about all of them.
func matchRules(o stix.Observable, _ bool) (Hit, bool) {
	switch o.Kind {
	case stix.Domain, stix.DomainPort:
		name := o.Value
		if host, ok := o.Host(); ok {
			name = host.Value
		}
		// Of a top-level name that it does not know the package says that it is a suffix itself.
		if suffix, _ := publicsuffix.PublicSuffix(name); suffix == name {
			return Hit{List: suffixList, Entry: name}, true
		}
	case stix.IPv4CIDR, stix.IPv6CIDR:
		p, err := readPrefix(o.Value)
		if err == nil && p.Bits() < widest[family(p)] {
			return Hit{List: wideList, Entry: fmt.Sprintf("/%d", p.Bits())}, true
		}
	}
	return Hit{}, false
}
