package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// refusal is exampleYAML with old replaced by new, which ParseYAML refuses.
type refusal struct {
	name     string
	old, new string
	class    error
	want     []string // in the message
}

func (r *refusal) text() string { return strings.Replace(exampleYAML, r.old, r.new, 1) }

var refusedYAML = []refusal{
	// What the reader of YAML refuses has a line.
	{"unknown key", "legal_basis:", "legal_base:", protocol.ErrMalformed, []string{"line 5", "legal_base"}},
	{"unknown key in a term", "    pap: amber", "    papp: amber", protocol.ErrMalformed, []string{"line 13", "papp"}},
	{"unknown key in onward", "      ceiling: green", "      ceilling: green", protocol.ErrMalformed, []string{"line 22", "ceilling"}},
	{"duplicate key", "legal_basis:", "title:", protocol.ErrMalformed, []string{"line 5", `"title" is given twice, first in line 1`}},
	{"duplicate key in a term", "    pap: amber", "    tlp: red", protocol.ErrMalformed, []string{"line 13", `"tlp" is given twice, first in line 12`}},
	{"alias", "[bob, alice]", "[&p bob, *p]", protocol.ErrMalformed, []string{"line 2", "aliases"}},
	{"merged mapping", "    pap: amber", "    <<: {pap: amber}", protocol.ErrMalformed, []string{"line 13", "a key must be a word"}},
	{"key that is a list", "legal_basis:", "[a]:", protocol.ErrMalformed, []string{"line 5", "a key must be a word"}},
	{"negative number", "retention_days: 365", "retention_days: -1", protocol.ErrMalformed, []string{"line 17"}},
	{"number too large", "retention_days: 365", "retention_days: 4294967296", protocol.ErrMalformed, []string{"line 17"}},
	{"not a number", "history_days: 30", "history_days: a month", protocol.ErrMalformed, []string{"line 18"}},
	{"a mapping for a list", "kinds: any", "kinds: {a: b}", protocol.ErrMalformed, []string{"line 11"}},
	{"not YAML", "title: Botnet servers", "title: [", protocol.ErrMalformed, []string{"line"}},
	{"second document", "title:", "title: x\n---\ntitle:", protocol.ErrMalformed, []string{"second document"}},
	{"empty", exampleYAML, "", protocol.ErrMalformed, []string{"reading agreement"}},
	{"too large", "title:", "# " + strings.Repeat("x", 4*protocol.MaxAgreementSize) + "\ntitle:", protocol.ErrOversize, []string{"at most 98304"}},

	// What the values say wrong has the number of the term.
	{"bad country", `[th, "NO"]`, "[thailand]", protocol.ErrMalformed, []string{"term 1", "THAILAND", "ISO 3166-1"}},
	{"no country", `[th, "NO"]`, "[]", protocol.ErrMalformed, []string{"term 1", "needs countries"}},
	{"countries beside worldwide", `[th, "NO"]`, "[worldwide, th]", protocol.ErrMalformed, []string{"term 1", "must stand alone in countries"}},
	{"topics beside any", "[malware, c2]", "[any, c2]", protocol.ErrMalformed, []string{"term 1", "must stand alone in topics"}},
	{"kinds beside any", "[indicator]", "[indicator, Any]", protocol.ErrMalformed, []string{"term 2", "must stand alone in kinds"}},
	{"topics missing", "    topics: any\n", "", protocol.ErrMalformed, []string{"term 2", "needs topics"}},
	{"topics null", "topics: any", "topics:", protocol.ErrMalformed, []string{"term 2", "topic"}},
	{"bad TLP", "TLP:AMBER+STRICT", "orange", protocol.ErrMalformed, []string{"term 1", `TLP label "orange"`, "amber+strict"}},
	{"TLP missing", "    tlp: white\n", "", protocol.ErrMalformed, []string{"term 2", "TLP label"}},
	{"bad PAP", "pap: amber", "pap: orange", protocol.ErrMalformed, []string{"term 1", `PAP label "orange"`}},
	{"bad personal data", "personal_data: network", "personal_data: some", protocol.ErrMalformed, []string{"term 1", `"some"`}},
	{"personal data missing", "    personal_data: network\n", "", protocol.ErrMalformed, []string{"term 1", "personal_data is missing"}},
	{"bad onward rule", "rule: named", "rule: friends", protocol.ErrMalformed, []string{"term 1", `"friends"`}},
	{"onward rule missing", "      rule: named\n", "", protocol.ErrMalformed, []string{"term 1", "onward rule"}},
	{"bad onward ceiling", "ceiling: green", "ceiling: blue", protocol.ErrMalformed, []string{"term 1", `"blue"`}},
	{"bad onward kind", "[police, cert]", "[police, army]", protocol.ErrMalformed, []string{"term 2", "army"}},
	{"unknown onward organisation", "[dave, carol]", "[dave, eve]", protocol.ErrMalformed, []string{"term 1", `"eve" is not known`}},
	{"purpose twice", "[prosecute, block]", "[block, block]", protocol.ErrMalformed, []string{"term 1", "purposes"}},
	{"from is not a party", "from: alice", "from: carol", protocol.ErrMalformed, []string{"term 1", "parties"}},
	{"to oneself", "to: alice", "to: bob", protocol.ErrMalformed, []string{"term 2", "same organisation"}},
	{"unknown party in a term", "from: alice", "from: eve", protocol.ErrMalformed, []string{"term 1", `"eve" is not known`}},

	// The rest names the member.
	{"unknown party", "[bob, alice]", "[bob, eve]", protocol.ErrMalformed, []string{`"eve" is not known`}},
	{"party twice", "[bob, alice]", "[bob, bob]", protocol.ErrMalformed, []string{"parties"}},
	{"bad date", "2026-01-01", "01.02.2026", protocol.ErrMalformed, []string{`not_before "01.02.2026"`, "2027-01-31"}},
	{"day that is none", "2026-01-01", "2026-02-30", protocol.ErrMalformed, []string{`not_before "2026-02-30"`}},
	{"date before 1970", "2026-01-01", "1969-12-31", protocol.ErrMalformed, []string{"not_before"}},
	{"date missing", "not_after: 2027-01-01T09:30:00.5Z\n", "", protocol.ErrMalformed, []string{`not_after ""`}},
	{"ends before it begins", "2027-01-01T09:30:00.5Z", "2025-01-01", protocol.ErrMalformed, []string{"not_before and not_after"}},
	{"bad paper hash", "000102", "0001", protocol.ErrMalformed, []string{"paper_sha256"}},
	{"bad amended agreement", "paper_sha256:", "amends: agr:x\npaper_sha256:", protocol.ErrMalformed, []string{"agr"}},
	{"control character in the title", "title: Botnet servers", `title: "a\u202eb"`, protocol.ErrMalformed, []string{"title"}},
	{"no terms", exampleYAML[strings.Index(exampleYAML, "terms:"):], "", protocol.ErrMalformed, []string{"0 terms"}},
}

func TestParseYAMLRefuses(t *testing.T) {
	for _, row := range refusedYAML {
		t.Run(row.name, func(t *testing.T) {
			if row.text() == exampleYAML {
				t.Fatal("the row changes nothing")
			}
			_, err := ParseYAML([]byte(row.text()), resolveOrg)
			if !errors.Is(err, row.class) {
				t.Fatalf("error = %v, want %v", err, row.class)
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// A few kilobytes must not keep the reader busy for minutes, nor come back as megabytes.
func TestParseYAMLIsBounded(t *testing.T) {
	var keys strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'i'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9))
	}
	for name, text := range map[string]string{
		"one key again and again":    strings.Repeat("k: 1\n", 19000),
		"again in a second document": exampleYAML + "---\n" + strings.Repeat("k: 1\n", 19000),
		"many keys":                  keys.String(),
		"many wrong terms":           "terms: [" + strings.Repeat("x, ", 30000) + "]",
		"deep":                       "title: " + strings.Repeat("[", 90000),
		"aliases of aliases":         bomb,
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := ParseYAML([]byte(text), resolveOrg)
			if !errors.Is(err, protocol.ErrMalformed) {
				t.Fatalf("error = %v", err)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("message has %d bytes", len(err.Error()))
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}
