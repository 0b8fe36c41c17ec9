package pattern

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// seen is an observation of some objects, from a second on.
func seen(t testing.TB, from, to int, objects string) Observed {
	t.Helper()
	o := Observed{First: epoch.Add(time.Duration(from) * time.Second), Last: epoch.Add(time.Duration(to) * time.Second)}
	d := json.NewDecoder(strings.NewReader(objects))
	d.UseNumber()
	if err := d.Decode(&o.Objects); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestComparisons: each operator on values of each type.
func TestComparisons(t *testing.T) {
	o := seen(t, 0, 0, `{
		"0": {"type": "file", "name": "caf\u00e9.exe", "size": 1280, "ratio": 0.5, "hashes": {"SHA-256": "ABCD"}, "content_ref": "1", "created": "2026-01-02T03:04:05.5Z",
			"magic_number_hex": "ffd8", "list": [1, 2, 3], "names": ["a", "b"], "flag": true, "none": null, "big": 9007199254740993,
			"contains_refs": ["1", "3"], "extensions": {"windows-pebinary-ext": {"sections": [{"entropy": 6.5}, {"entropy": 7.5}]}}, "text": "1"},
		"1": {"type": "artifact", "payload_bin": "dGVzdA==", "url": "http://example.com/a"},
		"2": {"type": "ipv4-addr", "value": "198.51.100.7"},
		"3": {"type": "ipv4-addr", "value": "198.51.100.0/24"},
		"4": {"type": "ipv6-addr", "value": "2001:db8::1"},
		"5": {"type": "network-traffic", "src_ref": "2", "dst_ref": "9", "loop_ref": "5", "dst_port": 443}}`)
	for src, want := range map[string]bool{
		`file:size = 1280`: true, `file:size = 1280.0`: true, `file:size = '1280'`: false, `file:size != '1280'`: true, `file:size != 1280`: false,
		`file:size > 1279`: true, `file:size >= 1280`: true, `file:size < 1280`: false, `file:size <= 1279.5`: false, `file:size NOT > 1279`: false,
		`file:size > 'a'`: false, `file:size NOT > 'a'`: false, `file:ratio = .5`: true, `file:big = 9007199254740993`: true, `file:big = 9007199254740992`: false,
		`file:name = 'cafe` + "\u0301" + `.exe'`: true, `file:name = 'CAFÉ.exe'`: false, `file:name NOT = 'x'`: true, `file:name NOT != 'x'`: false,
		`file:name LIKE 'caf_.%'`: true, `file:name LIKE '%'`: true, `file:name LIKE '%.ex'`: false, `file:name LIKE 'caf_%e%e'`: true, `file:name NOT LIKE 'x%'`: true, `file:size LIKE '%'`: false, `file:size NOT LIKE '%'`: false,
		`file:name MATCHES 'exe$'`: true, `file:name MATCHES '^exe'`: false, `file:name NOT MATCHES '^exe'`: true, `file:size MATCHES '.'`: false,
		`file:hashes.'SHA-256' = 'ABCD'`: true, `file:hashes.MD5 = 'ABCD'`: false, `file:hashes.MD5 != 'ABCD'`: false, `file:hashes.MD5 NOT IN ('x')`: false,
		`file:list[*] = 2`: true, `file:list[0] = 2`: false, `file:list[1] = 2`: true, `file:list[7] = 2`: false, `file:list = 2`: false, `file:list[*] NOT IN (1, 2)`: true,
		`file:names[*] IN ('b', 3)`: true, `file:flag = true`: true, `file:flag != true`: false, `file:flag = 1`: false,
		`file:created = t'2026-01-02T03:04:05.500Z'`: true, `file:created < t'2026-01-02T03:04:06Z'`: true, `file:name = t'2026-01-02T03:04:05.500Z'`: false,
		`file:magic_number_hex = h'ffd8'`: true, `file:magic_number_hex = b'/9g='`: true, `file:magic_number_hex = 'ÿØ'`: true, `file:magic_number_hex > h'ff'`: true, `file:name = h'00'`: false,
		`artifact:payload_bin = 'test'`: true, `artifact:payload_bin MATCHES '^te'`: true, `artifact:payload_bin IN ('x', 'test')`: true,
		`file:content_ref.payload_bin = h'74657374'`: true, `file:contains_refs[*].value = '198.51.100.0/24'`: true, `file:contains_refs[1].url = 'x'`: false,
		`file:extensions.'windows-pebinary-ext'.sections[*].entropy > 7.0`: true, `file:extensions.'windows-pebinary-ext'.sections[0].entropy > 7.0`: false,
		`file:name.payload_bin = 'test'`: false, `file:text.url = 'http://example.com/a'`: false, `file:names[*].url = 'x'`: false,
		`EXISTS file:size`: true, `EXISTS file:none`: false, `NOT EXISTS file:size`: false, `NOT EXISTS file:owner`: true, `EXISTS file:content_ref.url`: true, `EXISTS directory:path`: false,
		`ipv4-addr:value ISSUBSET '198.51.100.0/24'`: true, `ipv4-addr:value ISSUBSET '198.51.100.128/25'`: false, `ipv4-addr:value ISSUPERSET '198.51.100.9'`: true,
		`ipv4-addr:value NOT ISSUBSET '203.0.113.0/24'`: true, `ipv6-addr:value ISSUBSET '2001:db8::/32'`: true, `ipv6-addr:value ISSUBSET '198.51.100.0/24'`: false,
		`file:name ISSUBSET '198.51.100.0/24'`: false, `file:name NOT ISSUBSET '198.51.100.0/24'`: false,
		`network-traffic:src_ref.value = '198.51.100.7'`: true, `network-traffic:dst_ref.value = '198.51.100.7'`: false, `network-traffic:loop_ref.loop_ref.loop_ref.dst_port = 443`: true,
		`file:name = 'x' OR file:size = 1280`: true, `file:name = 'café.exe' AND file:size = 1`: false, `(file:name = 'x' OR file:size = 1280) AND file:flag = true`: true,
		// AND is about one object.
		`ipv4-addr:value = '198.51.100.7' AND ipv4-addr:value ISSUBSET '198.51.100.0/24'`: true, `ipv4-addr:value = '198.51.100.7' AND ipv4-addr:value = '198.51.100.0/24'`: false,
		`file:size = 1280 AND ipv4-addr:value = '198.51.100.7'`: false, `file:size IN ()`: false, `file:size NOT IN ()`: true,
	} {
		p, err := Parse("[" + src + "]")
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got, err := p.Match([]Observed{o})
		if err != nil || (got != nil) != want {
			t.Errorf("%s: %v, %v; want %v", src, got, err, want)
		}
	}
}

// TestQualifiers: what belongs together, in which order, how often, and in which time.
func TestQualifiers(t *testing.T) {
	var list []Observed
	for i, v := range []int{1, 2, 1, 3, 1} {
		list = append(list, seen(t, 10*i, 10*i+2, fmt.Sprintf(`{"0": {"type": "a", "b": %d}}`, v)))
	}
	list[4].Count = 3
	for src, want := range map[string]bool{
		`[a:b=1] AND [a:b=2]`: true, `[a:b=2] AND [a:b=2]`: false, `[a:b=1] OR [a:b=9]`: true, `[a:b=9] OR [a:b=8]`: false,
		`[a:b=1] FOLLOWEDBY [a:b=3]`: true, `[a:b=3] FOLLOWEDBY [a:b=2]`: false, `[a:b=2] FOLLOWEDBY [a:b=3] FOLLOWEDBY [a:b=1]`: true,
		`[a:b=3] FOLLOWEDBY [a:b=1] FOLLOWEDBY [a:b=2]`: false,
		`[a:b=1] REPEATS 5 TIMES`:                       true, `[a:b=1] REPEATS 6 TIMES`: false, `[a:b=2] REPEATS 2 TIMES`: false, `[a:b<3] REPEATS 6 TIMES`: true,
		`[a:b=1] REPEATS 3 TIMES WITHIN 0.1 SECONDS`: true, `[a:b=1] REPEATS 4 TIMES WITHIN 17 SECONDS`: false, `[a:b=1] REPEATS 4 TIMES WITHIN 18 SECONDS`: true,
		`([a:b=1] AND [a:b=2]) WITHIN 8 SECONDS`: true, `([a:b=2] AND [a:b=3]) WITHIN 17 SECONDS`: false, `([a:b=2] AND [a:b=3]) WITHIN 18 SECONDS`: true,
		`[a:b=1] START t'2026-01-01T00:00:15Z' STOP t'2026-01-01T00:00:20Z'`: false, `[a:b=1] START t'2026-01-01T00:00:15Z' STOP t'2026-01-01T00:00:21Z'`: true,
		`[a:b=1] START t'2026-01-01T00:00:02Z' STOP t'2026-01-01T00:00:09Z'`: true, `[a:b=1] START t'2026-01-01T00:00:03Z' STOP t'2026-01-01T00:00:09Z'`: false,
		`([a:b=1] FOLLOWEDBY [a:b=1]) REPEATS 2 TIMES`: true, `([a:b=1] FOLLOWEDBY [a:b=1]) REPEATS 3 TIMES`: false, `([a:b=2] OR [a:b=3]) REPEATS 2 TIMES`: true,
		`([a:b=1] FOLLOWEDBY [a:b=2]) AND [a:b=3]`: true, `[a:b=1] AND [a:b=1] AND [a:b=1] AND [a:b=1] AND [a:b=1] AND [a:b=1]`: false,
	} {
		p, err := Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Match(list)
		if err != nil || (got != nil) != want {
			t.Errorf("%s: %v, %v; want %v", src, got, err, want)
		}
	}
}

// TestTooMuch: a pattern that would take for ever is given up.
func TestTooMuch(t *testing.T) {
	var list []Observed
	for i := range 60 {
		list = append(list, seen(t, i, i, `{"0": {"type": "a", "b": 1}}`))
	}
	for _, src := range []string{"([a:b=1] FOLLOWEDBY [a:b=1]) WITHIN 0.5 SECONDS AND [a:b=1] AND [a:b=1] AND [a:b=1] AND [a:b=1] AND [a:b=1]",
		"([a:b=1] AND [a:b=1]) REPEATS 31 TIMES", "([a:b=1] AND [a:b=1]) REPEATS 2000 TIMES"} {
		p, err := Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Match(list); got != nil || !errors.Is(err, ErrTooMuch) {
			t.Errorf("%s: %v, %v", src, got, err)
		}
	}
}

// drawExpr draws an observation expression over a:b = 0..3.
func drawExpr(rt *rapid.T, depth int) Expr {
	kind := 0
	if depth > 0 {
		kind = rapid.IntRange(0, 6).Draw(rt, "kind")
	}
	switch kind {
	case 1, 2, 3:
		c := &Combined{Op: Operator(kind)}
		for range rapid.IntRange(2, 3).Draw(rt, "parts") {
			c.Parts = append(c.Parts, drawExpr(rt, depth-1))
		}
		return c
	case 4:
		return &Qualified{Of: drawExpr(rt, depth-1), Within: float64(rapid.IntRange(1, 8).Draw(rt, "within"))}
	case 5:
		return &Qualified{Of: drawExpr(rt, depth-1), Repeats: rapid.Uint64Range(1, 3).Draw(rt, "repeats")}
	case 6:
		from := rapid.IntRange(0, 8).Draw(rt, "start")
		return &Qualified{Of: drawExpr(rt, depth-1), Start: epoch.Add(time.Duration(from) * time.Second), Stop: epoch.Add(time.Duration(from+rapid.IntRange(1, 6).Draw(rt, "long")) * time.Second)}
	}
	c := &Compare{Path: Path{Type: "a", Steps: []Step{{Key: "b"}}}, Op: Equal, Values: []Literal{{Kind: Integer, Int: int64(rapid.IntRange(0, 3).Draw(rt, "value"))}}}
	if err := c.prepare(); err != nil {
		panic(err)
	}
	return &Observation{Test: c}
}

// TestMatchAsBruteForce: a match is found where trying everything finds one, and what is found is one.
func TestMatchAsBruteForce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var list []Observed
		for range rapid.IntRange(0, 5).Draw(rt, "observations") {
			from := rapid.IntRange(0, 8).Draw(rt, "from")
			o := Observed{First: epoch.Add(time.Duration(from) * time.Second), Objects: map[string]map[string]any{"0": {"type": "a", "b": rapid.IntRange(0, 3).Draw(rt, "b")}}}
			o.Last = o.First.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "for")) * time.Second)
			o.Count = rapid.Uint64Range(0, 2).Draw(rt, "count")
			list = append(list, o)
		}
		p := &Pattern{Root: drawExpr(rt, 2)}
		var single []Observed
		var from []int
		for i := range list {
			for range list[i].count() {
				single, from = append(single, list[i]), append(from, i)
			}
		}
		all := brute(p.Root, single)
		got, err := p.Match(list)
		if errors.Is(err, ErrTooMuch) {
			return
		}
		if err != nil || (got != nil) != (len(all) > 0) {
			t.Fatalf("%s on %v: %v, %v; brute force finds %v", p, list, got, err, all)
		}
		if got == nil {
			return
		}
		want := map[int]uint64{}
		for _, s := range got {
			want[s.Index] += s.Times
		}
		for _, b := range all {
			have := map[int]uint64{}
			for _, i := range b {
				have[from[i]]++
			}
			if fmt.Sprint(have) == fmt.Sprint(want) {
				return
			}
		}
		t.Fatalf("%s on %v: %v is no match", p, list, got)
	})
}

// brute lists all sets of observations that match an expression.
func brute(e Expr, list []Observed) (out [][]int) {
	add := func(b []int) {
		b = slices.Clone(b)
		slices.Sort(b)
		if len(slices.Compact(slices.Clone(b))) == len(b) && !slices.ContainsFunc(out, func(o []int) bool { return slices.Equal(o, b) }) {
			out = append(out, b)
		}
	}
	join := func(parts [][][]int, may func(a, b []int) bool) [][]int {
		all := parts[0]
		for _, next := range parts[1:] {
			var longer [][]int
			for _, a := range all {
				for _, b := range next {
					if may(a, b) && !slices.ContainsFunc(a, func(i int) bool { return slices.Contains(b, i) }) {
						longer = append(longer, slices.Concat(a, b))
					}
				}
			}
			all = longer
		}
		return all
	}
	switch e := e.(type) {
	case *Observation:
		for i := range list {
			if e.One(&list[i]) {
				add([]int{i})
			}
		}
	case *Combined:
		var parts [][][]int
		for _, p := range e.Parts {
			parts = append(parts, brute(p, list))
		}
		if e.Op == Or {
			for _, b := range slices.Concat(parts...) {
				add(b)
			}
			break
		}
		for _, b := range join(parts, func(a, b []int) bool {
			for _, i := range a {
				for _, j := range b {
					if e.Op == FollowedBy && list[i].First.After(list[j].Last) {
						return false
					}
				}
			}
			return true
		}) {
			add(b)
		}
	case *Qualified:
		inner := brute(e.Of, list)
		switch {
		case e.Repeats > 0:
			var parts [][][]int
			for range e.Repeats {
				parts = append(parts, inner)
			}
			for _, b := range join(parts, func(_, _ []int) bool { return true }) {
				add(b)
			}
		case e.Within > 0:
			for _, b := range inner {
				// Seconds are whole: a stretch that meets all begins at one of them, or at none.
				for from := epoch; from.Before(epoch.Add(20 * time.Second)); from = from.Add(time.Second) {
					end := from.Add(time.Duration(e.Within) * time.Second)
					if !slices.ContainsFunc(b, func(i int) bool { return list[i].First.After(end) || list[i].Last.Before(from) }) {
						add(b)
						break
					}
				}
			}
		default:
			for _, b := range inner {
				if !slices.ContainsFunc(b, func(i int) bool { return !list[i].First.Before(e.Stop) || list[i].Last.Before(e.Start) }) {
					add(b)
				}
			}
		}
	}
	return out
}
