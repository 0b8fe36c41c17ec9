package gather

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

func TestSufficient(t *testing.T) {
	h := strings.Repeat("ab", 16)
	for _, tt := range []struct{ pattern, want string }{
		{"[ipv4-addr:value = '45.1.2.3']", "45.1.2.3"},
		{"[ipv4-addr:value ISSUBSET '45.1.2.0/24']", "45.1.2.0/24"},
		{"[domain-name:value IN ('a.example', 'b.example')]", "a.example b.example"},
		{"[domain-name:value = 'a.example'] OR [url:value = 'http://b.example/x']", "a.example http://b.example/x"},
		{"[domain-name:value = 'a.example' OR ipv4-addr:value = '45.1.2.3']", "a.example 45.1.2.3"},
		{"[file:hashes.MD5 = '" + h + "' AND file:name = 'a.exe']", h},
		{"[file:hashes.MD5 = '" + h + "' OR file:name = 'a.exe']", h + " a.exe"},
		{"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '45.1.2.3']", "45.1.2.3"},
		{"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '45.1.2.3' AND network-traffic:dst_port = 8080]", "45.1.2.3:8080"},
		{"[network-traffic:dst_ref.type = 'ipv6-addr' AND network-traffic:dst_ref.value = '2a0f::1' AND network-traffic:dst_port = 8080]", "[2a0f::1]:8080"},
		{"[domain-name:value = 'a.example'] WITHIN 5 SECONDS", "a.example"},
		{"[domain-name:value = 'a.example'] REPEATS 1 TIMES", "a.example"},

		{"[domain-name:value != 'google.com']", ""},
		{"[domain-name:value NOT = 'google.com']", ""},
		{"[domain-name:value NOT IN ('google.com')]", ""},
		{"[domain-name:value LIKE '%.example']", ""},
		{"[domain-name:value = 'google.com' AND ipv4-addr:value = '45.1.2.3']", ""},
		{"[url:value = 'http://google.com/' AND network-traffic:dst_port = 80]", ""},
		{"[network-traffic:dst_ref.value = '45.1.2.3' AND network-traffic:src_port = 80]", ""},
		{"[network-traffic:dst_port = 8080]", ""},
		{"[domain-name:value = 'google.com'] AND [ipv4-addr:value = '45.1.2.3']", ""},
		{"[domain-name:value = 'google.com'] FOLLOWEDBY [ipv4-addr:value = '45.1.2.3']", ""},
		{"[domain-name:value = 'google.com'] REPEATS 100 TIMES", ""},
		{"[domain-name:value = 'google.com'] START t'2020-01-01T00:00:00Z' STOP t'2020-01-02T00:00:00Z'", ""},
		{"[file:name = 'a.exe' AND file:size = 7]", ""},
		{"[ipv4-addr:value = 'google.com']", ""},
		{"[domain-name:resolves_to_refs[*].value = '45.1.2.3']", ""},
		{"[network-traffic:src_ref.value = '45.1.2.3']", ""},
		{"[file:hashes.MD5 = '" + h + h + "']", ""},
		{"[domain-name:value = 'a.example'", ""},
	} {
		var got []string
		for _, o := range Sufficient(tt.pattern) {
			got = append(got, o.Value)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.pattern, got, tt.want)
		}
	}
}

// What is sufficient makes the pattern match by itself, and stands in the pattern.
func TestSufficientMatchesAlone(t *testing.T) {
	comparison := rapid.Custom(func(t *rapid.T) string {
		v := rapid.SampledFrom([]string{"domain-name:value %s 'a.example'", "domain-name:value %s 'b.example'", "ipv4-addr:value %s '45.1.2.3'", "domain-name:value %s ('c.example','d.example')"}).Draw(t, "v")
		op := "="
		if strings.Contains(v, "(") {
			op = "IN"
		} else if rapid.IntRange(0, 5).Draw(t, "not equal") == 0 {
			op = "!="
		}
		if rapid.IntRange(0, 5).Draw(t, "not") == 0 {
			op = "NOT " + op
		}
		return fmt.Sprintf(v, op)
	})
	join := func(t *rapid.T, gen *rapid.Generator[string], ops ...string) string {
		var b strings.Builder
		for i, part := range rapid.SliceOfN(gen, 1, 3).Draw(t, "parts") {
			if i > 0 {
				b.WriteString(" " + rapid.SampledFrom(ops).Draw(t, "op") + " ")
			}
			b.WriteString(part)
		}
		return b.String()
	}
	observation := rapid.Custom(func(t *rapid.T) string {
		return "[" + join(t, comparison, "AND", "OR") + "]" + rapid.SampledFrom([]string{"", "", "", " REPEATS 1 TIMES", " REPEATS 2 TIMES", " WITHIN 5 SECONDS"}).Draw(t, "qualifier")
	})
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		src := join(t, observation, "AND", "OR", "FOLLOWEDBY")
		p, err := pattern.Parse(src)
		if err != nil {
			t.Skip()
		}
		o, err := stix.Parse([]byte(indicator{pattern: src}.json()))
		if err != nil {
			t.Fatal(err)
		}
		all := stix.Observables(o)
		for _, v := range Sufficient(src) {
			found++
			if !slices.Contains(all, v) {
				t.Fatalf("%s: %v is not in it", src, v)
			}
			seen, err := p.Match([]pattern.Observed{observed(v)})
			if err != nil || len(seen) == 0 {
				t.Fatalf("%s: %v alone does not match: %v", src, v, err)
			}
		}
	})
	if found == 0 {
		t.Fatal("nothing was ever sufficient")
	}
}
