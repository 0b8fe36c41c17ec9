package stix

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// TestComparisonsAsParsed: what is taken out of a pattern without judging it is what the whole grammar
// says that it compares with.
func TestComparisonsAsParsed(t *testing.T) {
	check := func(t testing.TB, src string) bool {
		p, err := pattern.Parse(src)
		if err != nil {
			return false
		}
		var want, got []string
		p.Comparisons(func(group int, c *pattern.Compare) bool {
			if c.Not || c.Op != pattern.Equal && c.Op != pattern.In && c.Op != pattern.IsSubset {
				return true
			}
			for _, v := range c.Values {
				switch v.Kind {
				case pattern.String:
					want = append(want, fmt.Sprintf("%d %s", group, v.Text))
				case pattern.Integer:
					if v.Int >= 0 {
						want = append(want, fmt.Sprintf("%d %d", group, v.Int))
					}
				}
			}
			return true
		})
		comparisons(src, func(c comparison) { got = append(got, fmt.Sprintf("%d %s", c.group, c.value)) })
		if !slices.Equal(got, want) {
			t.Fatalf("%s\ncompares with %q, and %q was taken out", src, want, got)
		}
		return true
	}
	rapid.Check(t, func(rt *rapid.T) {
		pick := func(list ...string) string { return rapid.SampledFrom(list).Draw(rt, "part") }
		compare := func() string {
			path := pick("a:b", "file:hashes.'SHA-256'", "network-traffic:dst_ref.value", "x-a:b[*].c", "x:y[3].'it\\'s [x]'")
			return path + pick(" = 'v'", "='it\\'s \\\\'", " = 443", " IN ('a', 'b', 7)", " IN(1,2)", " NOT IN ('c')", " != 'w'", " <> 5", " ISSUBSET '10.0.0.0/8'", " NOT ISSUBSET '10.0.0.0/8'",
				" LIKE 'x%'", " MATCHES '[a-z]=.'", " > 5", " <= 'a'", " NOT = 'n'", " ISSUPERSET '10.1.1.1'", " == 'twice'")
		}
		src := ""
		for i := range rapid.IntRange(1, 4).Draw(rt, "expressions") {
			if i > 0 {
				src += pick(" AND ", " OR ", " FOLLOWEDBY ")
			}
			src += "["
			for j := range rapid.IntRange(1, 3).Draw(rt, "comparisons") {
				if j > 0 {
					src += pick(" AND ", " OR ")
				}
				if src += compare(); rapid.Bool().Draw(rt, "exists") {
					src += pick(" AND EXISTS q:r", " OR (a:b = 'in' AND c:d = 'side')")
				}
			}
			src += "]" + pick("", " WITHIN 5 SECONDS", " REPEATS 3 TIMES", " START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'")
		}
		if !check(t, src) {
			t.Fatalf("%s is not read", src)
		}
	})
	for _, src := range []string{`[a:b = 'c' AND (d:e.'f g'[0].h = 'i' OR j:k IN ('l', 'm'))] FOLLOWEDBY [n:o = 5]`, `([a:b='c']) REPEATS 2 TIMES`} {
		if !check(t, src) {
			t.Errorf("%s is not read", src)
		}
	}
}
