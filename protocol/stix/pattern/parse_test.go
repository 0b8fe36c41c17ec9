package pattern

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// good are patterns of the standard (STIX 2.1, 9.8), and of OASIS' own validator's tests.
var good = []string{
	`[file:hashes.'SHA-256' = 'aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f']`,
	`[email-message:from_ref.value MATCHES '.+\\@example\\.com$' AND email-message:body_multipart[*].body_raw_ref.name MATCHES '^Final Report.+\\.exe$']`,
	`[file:hashes.MD5 = '79054025255fb1a26e4bc422aef54eb4' OR file:hashes.'SHA-256' = 'aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f'] FOLLOWEDBY [win-registry-key:key = 'HKEY_LOCAL_MACHINE\\foo\\bar'] WITHIN 300 SECONDS`,
	`([file:name = 'a'] AND [file:name = 'b']) WITHIN 6.5 SECONDS`,
	`([win-registry-key:key = 'hkey_local_machine\\foo\\bar'] REPEATS 2 TIMES) REPEATS 2 TIMES`,
	`[user-account:value = 'Peter'] AND [user-account:value != 'Paul'] AND [user-account:value = 'Mary'] WITHIN 5 SECONDS`,
	`[network-traffic:src_port = 37020 AND user-account:user_id = 'root'] START t'2016-06-01T01:30:00.123Z' STOP t'2016-06-01T02:20:00.123Z' OR [ipv4-addr:value = '192.168.122.83'] START t'2016-06-01T03:55:00.123Z' STOP t'2016-06-01T04:30:24.743Z'`,
	`[ipv4-addr:value ISSUBSET '192.168.0.1/24']`, `[ipv4-addr:value NOT ISSUBSET '192.168.0.1/24']`, `[ipv6-addr:value ISSUPERSET '2001:db8::/64']`,
	`[file:size IN (1024, 2048, 4096)]`, `[file:name IN ()]`, `[file:size NOT IN (1)]`, `[file:name NOT = 'x']`,
	`[artifact:payload_bin = b'dGhpcyBpcyBhIHRlc3Q=']`, `[artifact:payload_bin = h'00fF']`, `[x_whatever:detected == t'2018-03-22T12:11:14.1Z']`,
	`[foo:bar=1] REPEATS 9 TIMES`, `[foo:bar = -1.5 OR foo:bar > +.5 OR foo:bar <> 0]`, `[x:y = true AND (x:z = false OR x:a LIKE 'n%_')]`,
	`( [(network-traffic:dst_port IN(443,6443,8443) AND network-traffic:src_packets != 0) ])`,
	`[EXISTS windows-registry-key:values[0].data OR NOT EXISTS file:name]`,
	`[file:extensions.'windows-pebinary-ext'.sections[*].entropy > 7.0]`, `[file:parent_directory_ref.path = 'C:\\Windows\\System32']`,
	"[ a:b /* with a comment */ = 'c' // and another\n ]", "[a:b = 'c']\u00a0\u2003AND\t[a:b='d']", `[a:b.'it\'s' = 'it\'s \\ it']`,
	`[domain-name:value = 'пример.example'] OR [url:value = 'http://example.com/?a=[b]']`, `[x:true = true AND x:t = 't']`,
	`[process:command_line MATCHES '^.+>-add GlobalSign.cer -c -s -r localMachine Root$']`,
}

func TestPatternsOfTheStandard(t *testing.T) {
	for _, src := range good {
		p, err := Parse(src)
		if err != nil {
			t.Errorf("%s\n%v", src, err)
			continue
		}
		again, err := Parse(p.String())
		if err != nil {
			t.Errorf("%s\nis written as %s\n%v", src, p, err)
		} else if again.String() != p.String() {
			t.Errorf("%s\nis written as %s\nand then as %s", src, p, again)
		}
	}
}

// TestRefused: what is not of the language is refused, at the place where it is wrong.
func TestRefused(t *testing.T) {
	for src, want := range map[string]string{
		``:                                              "column 1: the pattern ends here; expected [ or (",
		`file:size = 1280`:                              `column 1: "file"`,
		`[file:size = ]`:                                `column 14: "]"`,
		`[file:hashes.MD5 = cead3f77f6cd]`:              `column 20: "cead3f77f6cd"`,
		`[file.size = 1280]`:                            `column 6: "."`,
		`[file:name MATCHES /.*\\.dll/]`:                `column 20: '/'`,
		`[a:b = 'c'] WITHIN ]`:                          `column 20: "]"`,
		`[a:b = 'c'] WITHIN 5 HOURS`:                    `column 22: "HOURS" does not belong here; expected SECONDS`,
		`[a:b = 'c'] WITHIN -5 SECONDS`:                 `column 20: "-5"`,
		`[a:b = 'c'] WITHIN 0 SECONDS`:                  `column 20: "0"`,
		`[a:b ISSUBSET ]`:                               `column 15: "]"`,
		`[a:b =? 'c']`:                                  `column 7: '?'`,
		`[x:y == t'2457-73-22T32:81:84.1Z']`:            `is not a time`,
		`[x:y = t'2026-01-01T00:00:00+01:00']`:          `is not a time`,
		`[a:b = b'====']`:                               `is not base64`,
		`[a:b = h'0']`:                                  `pairs of hexadecimal digits`,
		`[foo:bar=1] within 2 seconds`:                  `column 13: "within"`,
		`[a:b = 'c'] WITHIN 5 SECONDS WITHIN 6 SECONDS`: `WITHIN stands twice`,
		`[a:b = 'c'] REPEATS 2 TIMES REPEATS 3 TIMES`:   `REPEATS stands twice`,
		`[a:b = 'c'] REPEATS 0 TIMES`:                   `expected how many times`,
		`[a:b = 'c'] REPEATS 1.5 TIMES`:                 `expected how many times`,
		`[a:b = 1] START t'2026-01-02T00:00:00Z' STOP t'2026-01-01T00:00:00Z'`: `STOP is not later`,
		`[a:b = 1] START '2026-01-02T00:00:00Z' STOP '2026-01-03T00:00:00Z'`:   `expected a time`,
		`[a:b = 'c`:                    `a string is not closed`,
		`[a:b = 'c\d']`:                `a backslash in a string`,
		`[a:b = 'c'] /* `:              `a comment is not closed`,
		`[a:b = 012]`:                  `begins with 0`,
		`[a:b = 1.]`:                   `ends with a point`,
		`[a:b = 99999999999999999999]`: `not an integer of 64 bits`,
		`[a:b < true]`:                 `a constant that has an order`,
		`[a:b LIKE 5]`:                 `expected a string`,
		`[a:b MATCHES '(']`:            `regular expression cannot be read`,
		"[a:b LIKE '" + strings.Repeat("%", maxRegexp+1) + "']": `bytes, at most`,
		`[a:b MATCHES '(?=x)']`:                                 `look-around`,
		`[a:b ISSUBSET 'x']`:                                    `an address or a network`,
		`[NOT a:b = 1]`:                                         `expected EXISTS`,
		`[a:b[-1] = 1]`:                                         `the number of an element`,
		`[a:b. = 1]`:                                            `the name of a property`,
		`[a:'' = 1]`:                                            `the name of a property`,
		`[AND:b = 1]`:                                           `expected an object path`,
		`[a:b = 1] [a:b = 2]`:                                   `expected AND, OR`,
		`[a:b = 1)`:                                             `expected ]`,
		`([a:b = 1]`:                                            `expected )`,
		"[a:b = 1]\n  AND x":                                    `line 2, column 7`,
		strings.Repeat("(", MaxDepth+1) + "[a:b=1]":          `parentheses within each other`,
		"[a:b IN (" + strings.Repeat("1,", MaxTests) + "1)]": `constants`,
		strings.Repeat(" ", MaxSize) + "[a:b=1]":             `bytes, at most`,
		"[a:b" + strings.Repeat("[0]", MaxDepth+1) + " = 1]": `steps`,
	} {
		_, err := Parse(src)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s\ngives %v, want %s", src, err, want)
		}
	}
}

// TestOperatorsBind: AND closer than OR, and that closer than FOLLOWEDBY.
func TestOperatorsBind(t *testing.T) {
	for src, same := range map[string]string{
		`[a:b=1] OR [a:b=2] AND [a:b=3]`:                    `[a:b=1] OR ([a:b=2] AND [a:b=3])`,
		`[a:b=1] FOLLOWEDBY [a:b=2] OR [a:b=3] AND [a:b=4]`: `[a:b=1] FOLLOWEDBY ([a:b=2] OR ([a:b=3] AND [a:b=4]))`,
		`[a:b=1 OR a:b=2 AND a:b=3]`:                        `[a:b=1 OR (a:b=2 AND a:b=3)]`,
		`[a:b=1] AND [a:b=2] WITHIN 5 SECONDS`:              `[a:b=1] AND ([a:b=2] WITHIN 5 SECONDS)`,
		`[a:b=1] REPEATS 2 TIMES WITHIN 5 SECONDS`:          `([a:b=1] REPEATS 2 TIMES) WITHIN 5 SECONDS`,
		`[a:b=1] FOLLOWEDBY [a:b=2] FOLLOWEDBY [a:b=3]`:     `([a:b=1]) FOLLOWEDBY [a:b=2] FOLLOWEDBY ([a:b=3])`,
	} {
		p, err := Parse(src)
		q, err2 := Parse(same)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if !reflect.DeepEqual(shape(p.Root), shape(q.Root)) {
			t.Errorf("%s is %s, and not %s", src, p, q)
		}
	}
}

// shape is an expression without what it is matched with.
func shape(e any) any {
	switch e := e.(type) {
	case *Observation:
		return []any{"o", shape(e.Test)}
	case *Combined:
		out := []any{e.Op}
		for _, p := range e.Parts {
			out = append(out, shape(p))
		}
		return out
	case *Qualified:
		return []any{"q", shape(e.Of), e.Within, e.Repeats, e.Start, e.Stop}
	case *Logic:
		out := []any{e.And}
		for _, p := range e.Parts {
			out = append(out, shape(p))
		}
		return out
	case *Compare:
		return []any{e.Path, e.Op, e.Not, e.Values}
	}
	return nil
}

// TestWrittenAndRead: a pattern that is written is read as what it was.
func TestWrittenAndRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := drawExpr(rt, 3)
		p := &Pattern{Root: e}
		q, err := Parse(p.String())
		if err != nil {
			t.Fatalf("%s\n%v", p, err)
		}
		if q.String() != p.String() {
			t.Fatalf("%s\nis read as\n%s", p, q)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, src := range good {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Parse(src)
		if err != nil {
			return
		}
		q, err := Parse(p.String())
		if err != nil || q.String() != p.String() {
			t.Fatalf("%q is written as %q, and that is read as %v, %v", src, p, q, err)
		}
	})
}
