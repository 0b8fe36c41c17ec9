package rules

import (
	"errors"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/policy"
)

// FuzzParse: whatever a file holds, it is refused with a place in it, or it decides.
func FuzzParse(f *testing.F) {
	f.Add("forbid (principal, action == Action::\"share\", resource) when { resource.tlpLevel > 3 };", testPeople)
	f.Add("@id(\"a\") @reason(\"b\")\npermit (principal in Role::\"officer\", action in [Action::\"read\"], resource) unless { if principal has purpose then true else resource.countries.containsAny([\"TH\"]) };", "[]")
	f.Add("forbid (principal is Person, action == Action::\"read\", resource) when { context.now > datetime(\"2026-01-01\") && !(principal.name like \"*x\\*\") };", "")
	f.Add("forbid(principal,action==Action::\"share\",resource)when{{a:-1}.a<resource.tlpLevel*2-(1+ip(\"::1\").isLoopback())};", "{")
	f.Add("// \"\n@id(\"\\u{1F600}\") forbid(principal in Organisation::\"x\", action, resource);", `[{"uid":{"type":"Role","id":"x"}}]`)
	f.Fuzz(func(t *testing.T, text, people string) {
		s, err := Parse(Source{File: "f", Text: []byte(text), PeopleFile: "p", People: []byte(people)})
		if err != nil {
			var errs Errors
			if s != nil || !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxProblems {
				t.Fatalf("set %v, error %v", s, err)
			}
			for _, p := range errs {
				src := text
				if p.File == "p" {
					src = people
				}
				lines := strings.Split(src, "\n")
				if p.Line < 1 || p.Column < 1 || p.Line > len(lines) || p.Column > len([]rune(lines[p.Line-1]))+1 || p.Text == "" {
					t.Fatalf("no place: %s", p)
				}
			}
			return
		}
		who := &Principal{ID: "x"}
		for _, act := range exchange {
			a := s.Forbids(&policy.LocalQuery{Act: policy.LocalAct(act), Other: bob, Originator: alice, Publisher: alice, Subject: subject(nil), At: now})
			if a.ValidUntil <= now || (a.Rule == "") != (a.Text == "") {
				t.Fatalf("%s: %+v", act, a)
			}
		}
		for _, a := range []Action{Read, Search, Export, Publish, Release, Sign, Administer} {
			what := Resource{Subject: subject(nil), Originator: alice, Publisher: alice}
			if a == Release || a == Sign || a == Administer {
				what = Resource{}
			}
			if v := s.May(who, a, what, now); v.Allow != (v.Text == "") {
				t.Fatalf("%s: %+v", a, v)
			}
		}
	})
}
