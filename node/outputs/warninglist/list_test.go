package warninglist

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, raw, typ, entry string }{
		{"as MISP writes it", `{"name":"Bank","version":20260101,"description":"d","type":"hostname","list":["bank.example"],"matching_attributes":["domain","hostname"]}`, "hostname", "bank.example"},
		{"without a type", `{"name":"Bank","version":1,"description":"d","list":["bank.example"]}`, "string", "bank.example"},
		{"several types", `{"name":"Bank","version":1,"type":["cidr"],"list":["192.0.2.0/24"]}`, "cidr", "192.0.2.0/24"},
		{"with comments", `{"name":"Bank","version":"2","type":"cidr","list":{"192.0.2.7":"the gateway"}}`, "cidr", "192.0.2.7"},
		{"PHP's form of an expression", `{"name":"Bank","type":"regex","list":["/^a\\/b$/i"]}`, "regex", `/^a\/b$/i`},
	} {
		l, err := Parse([]byte(tt.raw))
		if err != nil || l.Type != tt.typ || len(l.Entries) != 1 || l.Entries[0] != tt.entry {
			t.Errorf("%s: %+v, %v", tt.name, l, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	many := func(n int, e string) string { return strings.TrimSuffix(strings.Repeat(`"`+e+`",`, n), ",") }
	for _, tt := range []struct{ name, raw, want string }{
		{"no JSON", `name: x`, "no warninglist in MISP's format"},
		{"not UTF-8", "{\"name\":\"\xff\"}", "UTF-8"},
		{"no name", `{"type":"string","list":["abc"]}`, "has a name"},
		{"name with a control character", `{"name":"a\u0007","list":["abc"]}`, "has a name"},
		{"name of a built-in list", `{"name":"built-in: x","list":["abc"]}`, "give the list another"},
		{"unknown type", `{"name":"x","type":"glob","list":["abc"]}`, "the types are"},
		{"type is a number", `{"name":"x","type":7,"list":["abc"]}`, "the type of a warninglist"},
		{"no entries", `{"name":"x","list":[]}`, "no entries"},
		{"entries are no strings", `{"name":"x","list":[1]}`, "array of strings"},
		{"empty entry", `{"name":"x","list":[""]}`, "1 to 4096 bytes"},
		{"long entry", `{"name":"x","list":["` + strings.Repeat("a", 4097) + `"]}`, "1 to 4096 bytes"},
		{"no network", `{"name":"x","type":"cidr","list":["10.0.0.0/33"]}`, "no network"},
		{"no address", `{"name":"x","type":"cidr","list":["bank.example"]}`, "no address"},
		{"back-reference", `{"name":"x","type":"regex","list":["(a)\\1"]}`, "RE2"},
		{"look-ahead", `{"name":"x","type":"regex","list":["/(?=a)b/"]}`, "RE2"},
		{"repetition that explodes", `{"name":"x","type":"regex","list":["((a{1000}){1000}){1000}"]}`, "RE2"},
		{"unknown modifier", `{"name":"x","type":"regex","list":["/a/e"]}`, "modifiers"},
		{"long expression", `{"name":"x","type":"regex","list":["` + strings.Repeat("a", 1025) + `"]}`, "at most 1024"},
		{"short substring", `{"name":"x","type":"substring","list":["a."]}`, "shorter than 3"},
		{"too many expressions", `{"name":"x","type":"regex","list":[` + many(1001, "abc") + `]}`, "tried on each value"},
	} {
		_, err := Parse([]byte(tt.raw))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrOversize) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := Parse(make([]byte, MaxFile+1)); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("a file that is too long: %v", err)
	}
	half := &List{Name: "half", Type: "regex", Entries: strings.Fields(strings.Repeat("abc ", MaxSlow/2+1))}
	other := *half
	if _, err := Compile([]*List{half, &other}); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("too many expressions in two lists: %v", err)
	}
	if _, err := Compile(make([]*List, MaxLists+1)); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("too many lists: %v", err)
	}
}

func compile(t *testing.T, lists ...*List) *Set {
	t.Helper()
	for _, l := range lists {
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Compile(lists)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMatch(t *testing.T) {
	s := compile(t,
		&List{Name: "bank", Type: "hostname", Entries: []string{"Bank.Example.", "www.shop.example", "corp"}},
		&List{Name: "ranges", Type: "cidr", Entries: []string{"45.10.0.0/16", "2a0f:1234::/48"}},
		&List{Name: "exact", Type: "string", Entries: []string{"api.exact.example", "45.20.1.1", "HTTP://Exact.example/Path", strings.Repeat("AB", 16)}},
		&List{Name: "part", Type: "substring", Entries: []string{"safebrowsing"}},
		&List{Name: "form", Type: "regex", Entries: []string{`/^cdn[0-9]+\.example$/i`}},
		&List{Name: "only hashes", Type: "string", Matching: []string{"filename|md5"}, Entries: []string{"evil.example"}},
	)
	for _, tt := range []struct {
		value string
		wide  bool
		list  string // "": none
		cover bool
	}{
		{"bank.example", false, "bank", false},
		{"login.bank.example", false, "bank", false},
		{"notbank.example", true, "", false},
		{"bank.example.evil.example", true, "", false},
		{"http://login.bank.example:8080/x", false, "bank", false},
		{"login.bank.example:443", false, "bank", false},
		{"shop.example", false, "", false},
		{"shop.example", true, "bank", true},
		{"hop.example", true, "", false},
		{"exact.example", true, "exact", true},
		{"api.exact.example", false, "exact", false},
		{"x.api.exact.example", false, "", false},
		{"http://exact.example/Path", false, "exact", false},
		{"http://exact.example/path", false, "", false},
		{"45.10.3.4", false, "ranges", false},
		{"45.10.3.4:8080", false, "ranges", false},
		{"http://45.10.3.4/x", false, "ranges", false},
		{"45.11.3.4", false, "", false},
		{"45.0.0.0/12", false, "ranges", true},
		{"45.10.8.0/24", false, "ranges", false},
		{"45.20.1.0/24", false, "exact", true},
		{"2a0f:1234::77", false, "ranges", false},
		{"2a0f:1200::/24", false, "ranges", true},
		{"2a0f:9999::77", false, "", false},
		{strings.Repeat("ab", 16), false, "exact", false},
		{"http://safebrowsing.evil.example/", false, "part", false},
		{"cdn7.example", false, "form", false},
		{"evil.example", true, "", false},

		{"8.8.8.8", false, builtIn + "public resolvers", false},
		{"8.8.8.8:53", false, builtIn + "public resolvers", false},
		{"8.8.8.0/24", false, builtIn + "public resolvers", true},
		{"2001:4860:4860::8888", false, builtIn + "public resolvers", false},
		{"198.41.0.4", false, builtIn + "root name servers", false},
		{"192.168.1.1", false, builtIn + "special-purpose addresses", false},
		{"198.51.100.7", false, builtIn + "special-purpose addresses", false},
		{"fe80::1", false, builtIn + "special-purpose addresses", false},
		{"2001:db8::1", false, builtIn + "special-purpose addresses", false},
		{"0.0.0.0/0", false, builtIn + "special-purpose addresses", false},
		{"::/0", false, "ranges", true},
		{"52.0.0.0/11", false, wideList, false},
		{"52.0.0.0/12", false, "", false},
		{"co.uk", false, suffixList, false},
		{"github.io", false, suffixList, false},
		{"evil.github.io", false, "", false},
		{"printer.local", false, builtIn + "local names", false},
		{"1.0.0.10.in-addr.arpa", false, builtIn + "local names", false},
		{"google", true, "", false}, // is no observable
		{"dns.google", false, builtIn + "names of resolvers", false},
		{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", false, builtIn + "empty files", false},
	} {
		o, ok := stix.Canonical(tt.value)
		if !ok {
			continue
		}
		h, hit := s.Match(o, tt.wide)
		if hit != (tt.list != "") || h.List != tt.list && tt.value != "0.0.0.0/0" && tt.value != "::/0" || hit && h.Covers != tt.cover && tt.list != builtIn+"special-purpose addresses" {
			t.Errorf("%s, wide %v: %+v %v, want %q", tt.value, tt.wide, h, hit, tt.list)
		}
	}
}

func TestBuiltInListsAreSound(t *testing.T) {
	for _, l := range builtIns() {
		named := *l
		named.Name = strings.TrimPrefix(l.Name, builtIn)
		if err := named.Check(); err != nil {
			t.Error(err)
		}
		if l.Type != "cidr" {
			continue
		}
		for _, e := range l.Entries {
			if p, err := netip.ParsePrefix(e); err == nil && p != p.Masked() {
				t.Errorf("%s of %q has host bits", e, l.Name)
			}
		}
	}
	if len(BuiltIn()) != len(builtIns())+2 {
		t.Error("a rule is not described")
	}
}

// Whatever overlaps a listed network is held, and nothing else: compared with looking at each.
func TestPrefixesAgainstAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) netip.Prefix {
			a := netip.AddrFrom4([4]byte{byte(rapid.IntRange(40, 43).Draw(t, name)), byte(rapid.IntRange(0, 3).Draw(t, name)), 0, byte(rapid.IntRange(0, 3).Draw(t, name))})
			return netip.PrefixFrom(a, rapid.IntRange(6, 32).Draw(t, name)).Masked()
		}
		var s prefixSet
		var all []netip.Prefix
		for i := range rapid.IntRange(0, 6).Draw(t, "n") {
			all = append(all, draw("listed"))
			s.add(all[i], fmt.Sprint(i))
		}
		s.sort()
		p := draw("asked")
		want := false
		for _, q := range all {
			want = want || q.Overlaps(p)
		}
		if _, got := s.match(p); got != want {
			t.Fatalf("%v in %v: %v, want %v", p, all, got, want)
		}
	})
}

// The same of names: above, the name itself, and below.
func TestNamesAgainstAll(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a-", "ab", "a1"}), 1, 4).Draw(t, "labels"), ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		var s nameSet
		all := rapid.SliceOfN(name, 0, 6).Draw(t, "all")
		for _, n := range all {
			s.add(n, "list")
		}
		s.sort()
		asked, above, below := name.Draw(t, "asked"), false, false
		for _, n := range all {
			above = above || asked == n || strings.HasSuffix(asked, "."+n)
			below = below || asked == n || strings.HasSuffix(n, "."+asked)
		}
		if _, got := s.above(asked); got != above {
			t.Fatalf("%s above in %v: %v", asked, all, got)
		}
		if h, got := s.below(asked); got != below || got && h.List == "" {
			t.Fatalf("%s below in %v: %v %v", asked, all, h, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name":"x","type":"regex","list":["/a/i"]}`))
	f.Add([]byte(`{"name":"x","type":["cidr"],"list":{"10.0.0.0/8":1}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := Parse(raw)
		if err != nil {
			return
		}
		s, err := Compile([]*List{l})
		if err != nil {
			t.Fatalf("a list that was accepted cannot be used: %v", err)
		}
		s.Match(stix.Observable{Kind: stix.Domain, Value: "a.example"}, true)
	})
}
