package observe

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// product matches a pattern as if nothing were known of the observations: it is tried on all.
func product(t testing.TB, p *pattern.Pattern, list []Observation) []pattern.Seen {
	t.Helper()
	if single := singles(p.Root); single != nil {
		var out []pattern.Seen
		for i := range list {
			for _, e := range single {
				if e.One(list[i].Observe()) {
					out = append(out, pattern.Seen{Index: i, Times: max(list[i].Observe().Count, 1)})
					break
				}
			}
		}
		return out
	}
	all := make([]pattern.Observed, len(list))
	for i := range list {
		all[i] = *list[i].Observe()
	}
	out, err := p.Match(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// seenFile is a bundle with what a log does not hold: references, names, numbers, custom properties,
// names that are written in two ways.
const seenFile = `{"type": "bundle", "objects": [
 {"type": "observed-data", "id": "observed-data--1", "first_observed": "2026-01-02T03:04:00Z", "last_observed": "2026-01-02T03:04:00Z", "number_observed": 2, "objects": {
  "0": {"type": "file", "name": "odd.exe", "size": 7, "hashes": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}, "parent_directory_ref": "1"},
  "1": {"type": "directory", "path": "/tmp", "name": "10.0.0.1"}, "2": {"type": "x-foo", "foo": "10.0.0.1", "inner": {"value": "10.0.0.2", "name": "odd.exe"}, "names": ["odd.exe"]}}},
 {"type": "observed-data", "id": "observed-data--2", "first_observed": "2026-01-02T03:05:00Z", "last_observed": "2026-01-02T03:05:00Z", "number_observed": 1, "objects": {
  "0": {"type": "ipv4-addr", "value": "10.0.0.0/30"}, "1": {"type": "ipv6-addr", "value": "::ffff:10.0.0.1"}, "2": {"type": "file", "name": "cafe\u0301.exe"},
  "3": {"type": "url", "value": "http://b.example/caf\u00e9"}, "4": {"type": "network-traffic", "dst_ref": "0", "dst_port": 443},
  "5": {"type": "email-message", "from_ref": "6", "to_refs": ["6", "7"]}, "6": {"type": "email-addr", "value": "jane@a.example"}, "7": {"type": "email-addr", "value": "JOE@a.example"}}}
]}`

// TestIndexAsProduct: what the index finds is what trying every observation finds.
func TestIndexAsProduct(t *testing.T) {
	var log strings.Builder
	for i := range 40 {
		fmt.Fprintf(&log, "2026-01-02T03:%02d:00Z GET http://h%d.example/x from 10.0.0.%d:443 %032x\n", i, i%4, i%5, i%3)
	}
	list := append(readAll(t, "a.log", log.String(), Lines), readAll(t, "b.json", seenFile, Bundle)...)
	list = append(list, readAll(t, "c.csv", "ip,name\n10.0.0.1,odd.exe\n10.0.0.77,b.example\n", CSV)...)
	if len(list) != 44 {
		t.Fatalf("%d observations", len(list))
	}
	var x Index
	for i := range list {
		x.Add(&list[i])
	}
	tests := []string{"ipv4-addr:value = '10.0.0.1'", "ipv4-addr:value IN ('10.0.0.1', '10.0.0.77')", "ipv4-addr:value ISSUBSET '10.0.0.0/30'", "ipv4-addr:value ISSUBSET '10.0.0.3'", "ipv4-addr:value ISSUPERSET '10.0.0.1'",
		"ipv6-addr:value ISSUBSET '::ffff:10.0.0.0/104'", "ipv6-addr:value = '::ffff:10.0.0.1'", "domain-name:value = 'h1.example'", "domain-name:value = 'H1.example'", "domain-name:value LIKE 'h%'",
		"url:value = 'http://h2.example/x'", "url:value = 'http://b.example/café'", "file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e'", "file:hashes.'MD5' = '" + strings.Repeat("0", 31) + "1'", "file:name = 'odd.exe'",
		"file:name = 'café.exe'", "file:name = 'cafe\u0301.exe'", "file:size > 6", "directory:name = '10.0.0.1'", "file:parent_directory_ref.name = '10.0.0.1'", "x-foo:foo = '10.0.0.1'", "x-foo:inner.value = '10.0.0.2'",
		"x-foo:inner.name = 'odd.exe'", "x-foo:names[*] = 'odd.exe'", "email-message:from_ref.value = 'jane@a.example'", "email-message:to_refs[*].value = 'JOE@a.example'", "email-message:to_refs[1].value IN ('joe@a.example')",
		"network-traffic:dst_port = 443", "network-traffic:dst_ref.value = '10.0.0.1'", "network-traffic:dst_ref.value = '10.0.0.0/30'", "ipv4-addr:value != '10.0.0.1'", "ipv4-addr:value NOT IN ('10.0.0.1')", "EXISTS file:size", "ipv4-addr:value = 17"}
	found := 0
	same := func(src string) {
		t.Helper()
		p, err := pattern.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		got, err := x.Match(p)
		want := product(t, p, list)
		if err != nil || len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nmatches %v, %v, want %v", src, got, err, want)
		}
		if len(got) > 0 {
			found++
		}
	}
	for _, test := range tests {
		same("[" + test + "]")
	}
	if found < 25 {
		t.Errorf("only %d of %d tests match anything", found, len(tests))
	}
	rapid.Check(t, func(rt *rapid.T) {
		test := func() string {
			parts := rapid.SliceOfN(rapid.SampledFrom(tests), 1, 3).Draw(rt, "tests")
			return "[" + strings.Join(parts, rapid.SampledFrom([]string{" AND ", " OR "}).Draw(rt, "logic")) + "]"
		}
		src := test()
		for range rapid.IntRange(0, 2).Draw(rt, "more") {
			src += rapid.SampledFrom([]string{" OR ", " AND ", " FOLLOWEDBY "}).Draw(rt, "operator") + test() + rapid.SampledFrom([]string{"", " WITHIN 600 SECONDS", " REPEATS 2 TIMES"}).Draw(rt, "qualifier")
		}
		same(src)
	})
}

// TestIndexBounds: an observation of more values than are noted is tried with every pattern, and a
// pattern that would be compared for ever is given up.
func TestIndexBounds(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"type":"bundle","objects":[{"type":"observed-data","id":"observed-data--1","first_observed":"2026-01-02T03:04:00Z","last_observed":"2026-01-02T03:04:00Z","number_observed":1,"objects":{"x":{"type":"x-foo"}`)
	for i := range 2 * maxValues {
		fmt.Fprintf(&b, `,"%d":{"type":"ipv4-addr","value":"10.0.%d.%d"}`, i, i/256, i%256)
	}
	b.WriteString("}}]}")
	list := readAll(t, "a.json", b.String(), Bundle)
	var x Index
	x.Add(&list[0])
	for _, ip := range []string{"10.0.0.0", "10.0.1.255", "10.0.0.77"} {
		p, err := pattern.Parse("[ipv4-addr:value = '" + ip + "']")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x.Match(p); err != nil || len(got) != 1 {
			t.Errorf("%s: %v %v", ip, got, err)
		}
	}
	x.most = 2
	for src, want := range map[string]error{"[a:b LIKE 'x' OR a:b LIKE 'y' OR a:b LIKE 'z']": pattern.ErrTooMuch, "[a:b LIKE 'x' OR a:b LIKE 'y']": nil} {
		p, err := pattern.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x.Match(p); got != nil || !errors.Is(err, want) {
			t.Errorf("%s: %v %v", src, got, err)
		}
	}
}

// benchLog is a log of so many lines, each with an address and a name.
func benchLog(lines int) string {
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "2026-01-02T03:04:05Z fw1 proxy: GET http://host%d.example/a/b?c=%d from 10.%d.%d.%d status=200\n", i%50_000, i, i>>16&255, i>>8&255, i&255)
	}
	return b.String()
}

// benchPatterns are as most indicators are; one in a thousand is in the log.
func benchPatterns(b *testing.B, count int) []*pattern.Pattern {
	list := make([]*pattern.Pattern, count)
	for i := range list {
		src := fmt.Sprintf("[domain-name:value = 'c2-%d.example.net']", i)
		if i%1000 == 0 {
			src = fmt.Sprintf("[domain-name:value = 'host%d.example']", i/10)
		}
		var err error
		if list[i], err = pattern.Parse(src); err != nil {
			b.Fatal(err)
		}
	}
	return list
}

// BenchmarkMatch reads a log and matches patterns with it, through the index and by trying each on each
// line. The time of the first rises with the sum of lines and patterns, that of the second with their
// product: 1,000,000 lines and 100,000 patterns are 50,000 times the product of 2,000 and 1,000.
func BenchmarkMatch(b *testing.B) {
	for _, size := range []struct {
		lines, patterns int
		product         bool
	}{{1_000_000, 100_000, false}, {100_000, 10_000, false}, {10_000, 1_000, false}, {2_000, 1_000, true}, {2_000, 1_000, false}} {
		way := "index"
		if size.product {
			way = "product"
		}
		b.Run(fmt.Sprintf("lines=%d/patterns=%d/%s", size.lines, size.patterns, way), func(b *testing.B) {
			log, patterns := benchLog(size.lines), benchPatterns(b, size.patterns)
			matches := 0
			for b.Loop() {
				matches = 0
				var x Index
				if err := Read("bench.log", strings.NewReader(log), Lines, func(o *Observation) error { x.Add(o); return nil }); err != nil {
					b.Fatal(err)
				}
				for _, p := range patterns {
					if size.product {
						matches += len(product(b, p, x.list))
						continue
					}
					got, err := x.Match(p)
					if err != nil {
						b.Fatal(err)
					}
					matches += len(got)
				}
			}
			b.ReportMetric(float64(matches), "matches")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size.lines), "ns/line")
		})
	}
}
