package rules

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/policy"
)

// passOn is a rule about passing on that matches a condition, with annotations.
func passOn(annotations, condition string) string {
	return annotations + " forbid (principal, action == Action::\"passOn\", resource) when { " + condition + " };\n"
}

func TestPersons(t *testing.T) {
	const police, amber = `principal.kind == "police"`, `resource.tlpLevel >= 3`
	for _, tc := range []struct {
		name, text string
		forbids    string
		persons    uint8
		waits      string
	}{
		{"one", passOn(`@id("a") @persons("1")`, police), "", 1, "a"},
		{"two", passOn(`@id("a") @persons("2") @reason("paragraph 4")`, police), "", 2, "a"},
		{"what it does not match", passOn(`@id("a") @persons("2")`, `principal.kind == "cert"`), "", 0, ""},
		{"the larger of several", passOn(`@id("a") @persons("1")`, police) + passOn(`@id("b") @persons("2")`, amber) + passOn(`@id("c") @persons("2")`, police), "", 2, "b"},
		{"one that forbids comes first", passOn(`@id("a") @persons("1")`, police) + passOn(`@id("b")`, amber), "b", 0, ""},
		{"one that forbids something else", passOn(`@id("a") @persons("1")`, police) + passOn(`@id("b")`, `resource.kind == "malware"`), "", 1, "a"},
		{"one that fails forbids", passOn(`@id("a") @persons("1")`, `resource.tlpLevel * 9223372036854775807 > 3`), "a", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := parse(t, tc.text)
			a := forbids(set, policy.ActPassOn, bob, subject(nil))
			if a.Rule != tc.forbids || a.Persons != tc.persons || a.Waits != tc.waits {
				t.Errorf("got %+v", a)
			}
			if a.Persons > 0 && !strings.Contains(a.WaitsText, fmt.Sprintf("%q wants the approval of", tc.waits)) {
				t.Errorf("it says %q", a.WaitsText)
			}
			if a := forbids(set, policy.ActShare, bob, subject(nil)); a.Rule != "" || a.Persons != 0 {
				t.Errorf("sharing: %+v", a)
			}
		})
	}
	if r := parse(t, passOn(`@persons("2")`, police)).Rules(); r[0].Persons != 2 {
		t.Errorf("shown as %+v", r[0])
	}
	a := forbids(parse(t, passOn(`@id("a") @persons("2") @reason("paragraph 4")`, police)), policy.ActPassOn, bob, subject(nil))
	if a.WaitsText != `local rule "a" wants the approval of 2 persons: paragraph 4` {
		t.Errorf("it says %q", a.WaitsText)
	}
}

// TestI8PersonsNeverWiden: with more rules never fewer persons are needed, and never more is passed
// on; a rule that wants persons refuses nothing.
func TestI8PersonsNeverWiden(t *testing.T) {
	waited, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var before strings.Builder
		before.WriteString(drawRules(t))
		rule := func(what string) string {
			return passOn(fmt.Sprintf("@persons(%q)", fmt.Sprint(rapid.IntRange(1, 2).Draw(t, what))), "("+drawCondition(t, 1)+") && resource.tlpLevel < 9")
		}
		for range rapid.IntRange(0, 2).Draw(t, "waits") {
			before.WriteString(rule("persons before"))
		}
		fewer, err := Parse(Source{Text: []byte(before.String())})
		if err != nil {
			t.Fatal(err)
		}
		more, err := Parse(Source{Text: []byte(before.String() + rule("persons"))})
		if err != nil {
			t.Fatal(err)
		}
		was, rec := testState(fewer), drawRecord(t)
		for i := range was.Agreements {
			was.Agreements[i].Doc.Terms[0].Approval = uint8(rapid.IntRange(0, 2).Draw(t, "approval"))
		}
		is := policy.NewState(alice.ID, 1, was.Orgs, was.Agreements).WithLocal(more)
		for _, to := range []policy.Org{alice, bob, carol} {
			a, b := policy.DecideOnward(was, to.ID, rec, now), policy.DecideOnward(is, to.ID, rec, now)
			switch {
			case b.Allow && !a.Allow:
				t.Fatalf("to %s: a rule that wants persons allowed what was refused: %s", to.Name, a.Text)
			case a.Allow && !b.Allow && !strings.Contains(b.Text, "since it failed"):
				t.Fatalf("to %s: a rule that wants persons refused: %s", to.Name, b.Text)
			case b.Allow && b.Approval < a.Approval:
				t.Fatalf("to %s: %d persons were needed, and now %d", to.Name, a.Approval, b.Approval)
			case (b.Approval > 0) != (b.ApprovalText != ""):
				t.Fatalf("to %s: %d persons, because %q", to.Name, b.Approval, b.ApprovalText)
			}
			if !b.Allow {
				refused++
			} else if b.ApprovalRule != "" && b.Approval > a.Approval {
				waited++
			}
		}
	})
	if waited == 0 || refused == 0 {
		t.Errorf("%d waited and %d were refused", waited, refused)
	}
}
