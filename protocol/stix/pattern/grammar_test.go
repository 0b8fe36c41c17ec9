package pattern

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// examples are those of the standard, STIX 2.1 9.8, all of them, in its order; and behind them those
// that its older text has in another form.
var examples = []string{
	`[file:hashes.'SHA-256' = 'aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f']`,
	`[email-message:from_ref.value MATCHES '.+\\@example\\.com$' AND email-message:body_multipart[*].body_raw_ref.name MATCHES '^Final Report.+\\.exe$']`,
	`[file:hashes.'SHA-256' = 'aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f' AND file:mime_type = 'application/x-pdf']`,
	"[file:hashes.'SHA-256' = 'bf07a7fbb825fc0aae7bf4a1177b2b31fcf8a3feeaf7092761e18c859ee52a9c' OR file:hashes.MD5 = 'cead3f77f6cda6ec00f57d76c9a6879f']\nAND [file:hashes.'SHA-256' = 'aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f']",
	`([file:hashes.MD5 = '79054025255fb1a26e4bc422aef54eb4'] FOLLOWEDBY [windows-registry-key:key = 'HKEY_LOCAL_MACHINE\\foo\\bar']) WITHIN 300 SECONDS`,
	`[user-account:account_type = 'unix' AND user-account:user_id = '1007' AND user-account:account_login = 'Peter'] AND [user-account:account_type = 'unix' AND user-account:user_id = '1008' AND user-account:account_login = 'Paul'] AND [user-account:account_type = 'unix' AND user-account:user_id = '1009' AND user-account:account_login = 'Mary']`,
	`[artifact:mime_type = 'application/vnd.tcpdump.pcap' AND artifact:payload_bin MATCHES '\\xd4\\xc3\\xb2\\xa1\\x02\\x00\\x04\\x00']`,
	`[file:name = 'foo.dll' AND file:parent_directory_ref.path = 'C:\\Windows\\System32']`,
	`[file:extensions.'windows-pebinary-ext'.sections[*].entropy > 7.0]`,
	`[file:mime_type = 'image/bmp' AND file:magic_number_hex = h'ffd8']`,
	`[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '203.0.113.33/32']`,
	`[network-traffic:dst_ref.type = 'domain-name' AND network-traffic:dst_ref.value = 'example.com'] REPEATS 5 TIMES WITHIN 1800 SECONDS`,
	`[domain-name:value = 'www.5z8.info' AND domain-name:resolves_to_refs[*].value = '198.51.100.1/32']`,
	`[url:value = 'http://example.com/foo' OR url:value = 'http://example.com/bar']`,
	`[x509-certificate:issuer = 'CN=WEBMAIL' AND x509-certificate:serial_number = '4c:0b:1d:19:74:86:a7:66:b4:1a:bf:40:27:21:76:28']`,
	`[windows-registry-key:key = 'HKEY_CURRENT_USER\\Software\\CryptoLocker\\Files' OR windows-registry-key:key = 'HKEY_CURRENT_USER\\Software\\Microsoft\\CurrentVersion\\Run\\CryptoLocker_0388']`,
	`[(file:name = 'pdf.exe' OR file:size = 371712) AND file:created = t'2014-01-13T07:03:17Z']`,
	`[email-message:sender_ref.value = 'jdoe@example.com' AND email-message:subject = 'Conference Info']`,
	`[x-usb-device:usbdrive.serial_number = '575833314133343231313937']`,
	`[process:command_line MATCHES '^.+>-add GlobalSign.cer -c -s -r localMachine Root$'] FOLLOWEDBY [process:command_line MATCHES'^.+>-add GlobalSign.cer -c -s -r localMachineTrustedPublisher$'] WITHIN 300 SECONDS`,
	`[network-traffic:dst_ref.value ISSUBSET '2001:0db8:dead:beef:0000:0000:0000:0000/64']`,
	`([file:name = 'foo.dll'] AND [windows-registry-key:key = 'HKEY_LOCAL_MACHINE\\foo\\bar']) OR [process:image_ref.name = 'fooproc' OR process:image_ref.name = 'procfoo']`,
	`[file:extensions.windows-pebinary-ext.sections[*].entropy > 7.0]`,
	`[(file:name = 'pdf.exe' OR file:size = '371712') AND file:created = t'2014-01-13T07:03:17Z']`,
	`([file:name = 'foo.dll'] AND [win-registry-key:key = 'HKEY_LOCAL_MACHINE\\foo\\bar']) OR [process:name = 'fooproc' OR process:name = 'procfoo']`,
}

func TestExamplesOfTheStandard(t *testing.T) {
	for _, src := range examples {
		p, err := Parse(src)
		if err != nil {
			t.Errorf("%s\n%v", src, err)
			continue
		}
		if again, err := Parse(p.String()); err != nil || again.String() != p.String() {
			t.Errorf("%s\nis written as %s\n%v", src, p, err)
		}
		if err := Check(src); err != nil {
			t.Errorf("%s\n%v", src, err)
		}
	}
}

// productions are those of OASIS's grammar (STIXPattern.g4, and STIX 9.2 to 9.7), each with sentences
// that it makes and others that it does not.
var productions = []struct{ name, valid, invalid string }{
	{"pattern", `[a:b=1]`, ``},
	{"pattern", `[a:b=1] // to the end`, `[a:b=1] [a:b=2]`},
	{"observationExpressions", `[a:b=1] FOLLOWEDBY [a:b=2] FOLLOWEDBY [a:b=3]`, `[a:b=1] FOLLOWEDBY`},
	{"observationExpressions", `([a:b=1] FOLLOWEDBY [a:b=2])`, `FOLLOWEDBY [a:b=1]`},
	{"observationExpressionOr", `[a:b=1] OR [a:b=2] OR [a:b=3]`, `[a:b=1] OR OR [a:b=2]`},
	{"observationExpressionOr", `[a:b=1] OR ([a:b=2])`, `[a:b=1] or [a:b=2]`},
	{"observationExpressionAnd", `[a:b=1] AND [a:b=2] AND [a:b=3]`, `[a:b=1] AND a:b=2`},
	{"observationExpressionAnd", `[a:b=1] AND [a:b=2] OR [a:b=3]`, `[a:b=1] && [a:b=2]`},
	{"observationExpressionSimple", `[ a:b = 1 ]`, `[]`},
	{"observationExpressionSimple", `[(a:b=1)]`, `[[a:b=1]]`},
	{"observationExpressionCompound", `(([a:b=1]))`, `()`},
	{"observationExpressionCompound", `([a:b=1] OR [a:b=2]) AND [a:b=3]`, `([a:b=1]`},
	{"observationExpressionCompound", `([a:b=1]) REPEATS 2 TIMES`, `[a:b=1])`},
	{"startStopQualifier", `[a:b=1] START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'`, `[a:b=1] START t'2026-01-01T00:00:00Z'`},
	{"startStopQualifier", `[a:b=1] START t'2026-01-01T00:00:00.1Z' STOP t'2026-01-01T00:00:00.2Z'`, `[a:b=1] START '2026-01-01T00:00:00Z' STOP '2026-01-02T00:00:00Z'`},
	{"startStopQualifier", `([a:b=1] AND [a:b=2]) START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'`, `[a:b=1] START t'2026-01-02T00:00:00Z' STOP t'2026-01-02T00:00:00Z'`},
	{"withinQualifier", `[a:b=1] WITHIN 5 SECONDS`, `[a:b=1] WITHIN 5`},
	{"withinQualifier", `[a:b=1] WITHIN 0.5 SECONDS`, `[a:b=1] WITHIN 0 SECONDS`},
	{"withinQualifier", `([a:b=1] WITHIN 5 SECONDS) WITHIN 6 SECONDS`, `[a:b=1] WITHIN 5 SECONDS WITHIN 6 SECONDS`},
	{"repeatedQualifier", `[a:b=1] REPEATS 5 TIMES`, `[a:b=1] REPEATS 5`},
	{"repeatedQualifier", `[a:b=1] REPEATS 5 TIMES WITHIN 5 SECONDS`, `[a:b=1] REPEATS -5 TIMES`},
	{"repeatedQualifier", `[a:b=1] WITHIN 5 SECONDS REPEATS 5 TIMES`, `[a:b=1] REPEATS 0.5 TIMES`},
	{"comparisonExpression", `[a:b=1 OR a:b=2 OR c:d=3]`, `[a:b=1 OR]`},
	{"comparisonExpression", `[a:b=1 OR a:b=2 AND c:d=3]`, `[a:b=1 FOLLOWEDBY a:b=2]`},
	{"comparisonExpressionAnd", `[a:b=1 AND a:b=2 AND a:c=3]`, `[AND a:b=1]`},
	{"comparisonExpressionAnd", `[a:b=1 AND (a:b=2 OR a:c=3)]`, `[a:b=1 AND a:b]`},
	{"propTestEqual", `[a:b = 'c']`, `[a:b = c]`},
	{"propTestEqual", `[a:b == true]`, `[a:b === true]`},
	{"propTestEqual", `[a:b != 1]`, `[a:b !== 1]`},
	{"propTestEqual", `[a:b <> 1.5]`, `[a:b = (1)]`},
	{"propTestEqual", `[a:b NOT = 1]`, `[NOT a:b = 1]`},
	{"propTestOrder", `[a:b > 1 AND a:b < 5]`, `[a:b > ]`},
	{"propTestOrder", `[a:b >= 1.5 AND a:b <= 'x']`, `[a:b > true]`},
	{"propTestOrder", `[a:b > t'2026-01-01T00:00:00Z' AND a:b < h'ff' AND a:b < b'/w==']`, `[1 < a:b]`},
	{"propTestSet", `[a:b IN (1, 'c', true, 1.5)]`, `[a:b IN 1]`},
	{"propTestSet", `[a:b NOT IN ('c')]`, `[a:b IN (1 2)]`},
	{"propTestSet", `[a:b IN ()]`, `[a:b IN (1,)]`},
	{"propTestSet", `[a:b IN(1)]`, `[a:b IN [1]]`},
	{"propTestLike", `[a:b LIKE 'c%_']`, `[a:b LIKE 1]`},
	{"propTestLike", `[a:b NOT LIKE '']`, `[a:b LIKE h'00']`},
	{"propTestRegex", `[a:b MATCHES '^c[0-9]+$']`, `[a:b MATCHES /c/]`},
	{"propTestRegex", `[a:b NOT MATCHES 'c']`, `[a:b MATCHES 1]`},
	{"propTestIsSubset", `[a:b ISSUBSET '198.51.100.0/24']`, `[a:b ISSUBSET]`},
	{"propTestIsSubset", `[a:b NOT ISSUBSET '2001:db8::/32']`, `[a:b ISSUBSET 'a network']`},
	{"propTestIsSuperset", `[a:b ISSUPERSET '198.51.100.7']`, `[a:b ISSUPERSET 1]`},
	{"propTestIsSuperset", `[a:b NOT ISSUPERSET '198.51.100.7']`, `[a:b ISSUPERSET '198.51.100.300']`},
	{"propTestParen", `[((a:b=1))]`, `[(a:b=1]`},
	{"propTestExists", `[EXISTS a:b]`, `[EXISTS]`},
	{"propTestExists", `[NOT EXISTS a:b.c[0]]`, `[a:b EXISTS]`},
	{"objectPath", `[a-b:c=1]`, `[:c=1]`},
	{"objectPath", `[a:b.c.d=1]`, `[a:=1]`},
	{"objectPath", `[x_own:b=1]`, `[a=1]`},
	{"objectPath", `[a:b.'c d'=1]`, `['a b':c=1]`},
	{"keyPathStep", `[a:b.c=1]`, `[a:b.=1]`},
	{"keyPathStep", `[a:b.'SHA-256'='x']`, `[a:b..c=1]`},
	{"indexPathStep", `[a:b[0]=1]`, `[a:b[]=1]`},
	{"indexPathStep", `[a:b[*].c[2]=1]`, `[a:b[-1]=1]`},
	{"indexPathStep", `[a:b[0][1]=1]`, `[a:b['0']=1]`},
	{"IntLiteral", `[a:b=0]`, `[a:b=00]`},
	{"IntLiteral", `[a:b=-12]`, `[a:b=--12]`},
	{"IntLiteral", `[a:b=+12]`, `[a:b=1e3]`},
	{"FloatLiteral", `[a:b=1.5]`, `[a:b=1.]`},
	{"FloatLiteral", `[a:b=-.5]`, `[a:b=1.5.1]`},
	{"HexLiteral", `[a:b=h'']`, `[a:b=h'f']`},
	{"HexLiteral", `[a:b=h'00fF']`, `[a:b=h'0g']`},
	{"BinaryLiteral", `[a:b=b'']`, `[a:b=b'YQ']`},
	{"BinaryLiteral", `[a:b=b'YQ==']`, `[a:b=b'Y?==']`},
	{"StringLiteral", `[a:b='']`, `[a:b="c"]`},
	{"StringLiteral", `[a:b='\'\\']`, `[a:b='\n']`},
	{"StringLiteral", `[a:b='日本']`, `[a:b='c]`},
	{"BoolLiteral", `[a:b=true OR a:b=false]`, `[a:b=True]`},
	{"TimestampLiteral", `[a:b=t'2026-01-02T03:04:05Z']`, `[a:b=t'2026-01-02 03:04:05Z']`},
	{"TimestampLiteral", `[a:b=t'2026-01-02T03:04:05.123456Z']`, `[a:b=t'2026-02-30T03:04:05Z']`},
	{"TimestampLiteral", `[a:b=t'2026-12-31T23:59:59Z']`, `[a:b=t'2026-01-02T03:04:05+00:00']`},
	{"COMMENT", `[a:b /* x */ = 1]`, `[a:b = 1 /* x]`},
	{"LINE_COMMENT", "[a:b = // x\n1]", `[a:b = // 1]`},
	{"WS", "\t[\u00a0a:b\v=\f1\u3000]\r\n", "[a:b\u200b=1]"},
}

// TestProductions: what each production makes is read, and what it does not make is refused with a place.
func TestProductions(t *testing.T) {
	for _, p := range productions {
		if _, err := Parse(p.valid); err != nil {
			t.Errorf("%s: %s: %v", p.name, p.valid, err)
		}
		if err := Check(p.valid); err != nil {
			t.Errorf("%s: %s: %v", p.name, p.valid, err)
		}
		_, err := Parse(p.invalid)
		if syntax := new(SyntaxError); !errors.As(err, &syntax) || syntax.Line < 1 || syntax.Column < 1 || syntax.Limit {
			t.Errorf("%s: %q is read, or refused without a place: %v", p.name, p.invalid, err)
		}
		if Check(p.invalid) == nil {
			t.Errorf("%s: %q passes", p.name, p.invalid)
		}
	}
}

// TestLimits: what is more than this package reads is told from what is wrong.
func TestLimits(t *testing.T) {
	for name, src := range map[string]string{
		"size": "[a:b = '" + strings.Repeat("x", MaxSize) + "']", "depth": strings.Repeat("(", MaxDepth+1) + "[a:b=1]" + strings.Repeat(")", MaxDepth+1),
		"comparisons": "[a:b=1" + strings.Repeat(" OR a:b=1", MaxTests) + "]", "constants": "[a:b IN (1" + strings.Repeat(",1", MaxTests) + ")]",
		"path": "[a:b" + strings.Repeat(".c", MaxDepth+1) + "=1]", "look-ahead": "[a:b MATCHES '(?=x)']", "back reference": `[a:b MATCHES '(x)\\1']`,
		"regular expression": "[a:b MATCHES '" + strings.Repeat("x", maxRegexp+1) + "']", "LIKE": "[a:b LIKE '" + strings.Repeat("x", maxRegexp+1) + "']",
		"integer": "[a:b = 99999999999999999999]",
	} {
		_, err := Parse(src)
		if syntax := new(SyntaxError); !errors.As(err, &syntax) || !syntax.Limit {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(src); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSimple: what passes without being parsed is right, and what most indicators say does.
func TestSimple(t *testing.T) {
	for _, src := range []string{`[ipv4-addr:value = '198.51.100.7']`, `[file:hashes.'SHA-256' = 'x']`, `[file:hashes.MD5 = 'x']`, `[url:value = 'http://a.example/?a=[b]&c=d']`} {
		if !simple(src) {
			t.Errorf("%s is not simple", src)
		}
	}
	parts := []string{"[", "]", "file", "x-y", ":", ".", "name", "'SHA-256'", "''", " = ", "=", "'x'", "'x", `\`, "AND", "true", "t", "é", "0", " ", "NOT"}
	rapid.Check(t, func(rt *rapid.T) {
		src := strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 8).Draw(rt, "parts"), "")
		if rapid.Bool().Draw(rt, "framed") {
			src = fmt.Sprintf("[%s:%s = '%s']", rapid.SampledFrom(parts).Draw(rt, "type"), src, rapid.SampledFrom(parts).Draw(rt, "value"))
		}
		if _, err := Parse(src); simple(src) && err != nil {
			rt.Fatalf("%q is simple, and %v", src, err)
		}
	})
}
