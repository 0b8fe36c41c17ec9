package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// drawCondition draws a condition of a rule about records.
func drawCondition(t *rapid.T, depth int) string {
	if depth > 0 && rapid.Bool().Draw(t, "joined") {
		op := rapid.SampledFrom([]string{"&&", "||"}).Draw(t, "op")
		return "(" + drawCondition(t, depth-1) + " " + op + " " + drawCondition(t, depth-1) + ")"
	}
	c := rapid.SampledFrom([]string{
		`resource.tlp == "green"`, `resource.tlpLevel > 2`, `resource.pap == "red"`, `resource.papLevel >= 2`, `resource.personalData != "none"`,
		`resource.countries.contains("TH")`, `resource.countries.isEmpty()`, `resource.purposes.containsAny(["block"])`, `resource.kind == "indicator"`,
		`resource.topic == "malware"`, `principal.kind == "police"`, `principal.country == "VN"`, `principal == resource.originator`,
		`resource.publisher.country == "DE"`, `principal == Organisation::"` + bob.ID.String() + `"`, `context.now > datetime("2026-05-28")`,
		`resource.tlpLevel * 9223372036854775807 > 3`, `true`, `false`,
	}).Draw(t, "condition")
	if rapid.Bool().Draw(t, "not") {
		return "!(" + c + ")"
	}
	return c
}

// drawRules draws the text of some rules that Parse takes.
func drawRules(t *rapid.T) string {
	var b strings.Builder
	for range rapid.IntRange(0, 4).Draw(t, "rules") {
		acts := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"share", "receive", "passOn"}), 1, 3, rapid.ID[string]).Draw(t, "actions")
		fmt.Fprintf(&b, "forbid (principal, action in [Action::\"%s\"], resource)\n", strings.Join(acts, `", Action::"`))
		fmt.Fprintf(&b, "%s { %s };\n", rapid.SampledFrom([]string{"when", "unless"}).Draw(t, "when"), drawCondition(t, 2))
	}
	return b.String()
}

func drawRecord(t *rapid.T) *policy.Subject {
	pick := func(what string, from ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, len(from), rapid.ID[string]).Draw(t, what)
	}
	s := &policy.Subject{Topic: rapid.SampledFrom([]string{"c2", "malware"}).Draw(t, "topic"), Kind: rapid.SampledFrom([]string{"indicator", "malware"}).Draw(t, "kind"), RecordedAt: now}
	s.Originator = rapid.SampledFrom([]policy.Org{alice, bob, carol}).Draw(t, "originator").ID
	s.Publisher = s.Originator
	s.Handling = protocol.Handling{Version: 1, TLP: protocol.TLP(rapid.IntRange(0, 5).Draw(t, "tlp")), PAP: protocol.PAP(rapid.IntRange(0, 4).Draw(t, "pap")),
		Personal: protocol.PersonalData(rapid.IntRange(0, 3).Draw(t, "personal")), Countries: pick("countries", "TH", "VN"), Purposes: pick("purposes", "block", "prosecute"),
		Onward: protocol.Onward{Rule: protocol.OnwardPartners}}
	if s.Handling.TLP == protocol.TLPRed {
		s.Handling.Named = []protocol.OrgID{bob.ID}
	}
	s.Handling.Normalise()
	return s
}

// testState has agreements among alice, bob and carol that let everything through.
func testState(rules *Set) *policy.State {
	orgs := map[protocol.OrgID]policy.Org{alice.ID: alice, bob.ID: bob, carol.ID: carol}
	var list []policy.Agreement
	for _, from := range orgs {
		for _, to := range orgs {
			if from.ID == to.ID {
				continue
			}
			list = append(list, policy.Agreement{ID: protocol.AgreementID{byte(len(list))}, Doc: &protocol.Agreement{Version: 1, Title: "test", NotAfter: 2 * now,
				Parties: []protocol.OrgID{from.ID, to.ID}, Terms: []protocol.Term{{From: from.ID, To: to.ID, Topics: []string{protocol.Any}, Kinds: []string{protocol.Any},
					TLP: protocol.TLPRed, Countries: []string{protocol.Worldwide}, Personal: protocol.PersonalAll, Onward: protocol.Onward{Rule: protocol.OnwardPartners}}}}})
		}
	}
	s := policy.NewState(alice.ID, 1, orgs, list)
	if rules != nil {
		s = s.WithLocal(rules)
	}
	return s
}

// TestI8LocalRulesNeverWiden: whatever the rules, what they leave was allowed without them, and
// a refusal of theirs names a rule that is there.
func TestI8LocalRulesNeverWiden(t *testing.T) {
	var forbidden, left int
	rapid.Check(t, func(t *rapid.T) {
		set, err := Parse(Source{Text: []byte(drawRules(t))})
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, r := range set.Rules() {
			names[r.Name] = true
		}
		plain, ruled, rec := testState(nil), testState(set), drawRecord(t)
		at := uint64(now + rapid.IntRange(0, 48*3600).Draw(t, "seconds")*1000)
		for _, from := range []policy.Org{alice, bob, carol} {
			for _, to := range []policy.Org{alice, bob, carol} {
				for _, pair := range [][2]policy.Decision{
					{policy.Decide(plain, from.ID, to.ID, rec, at), policy.Decide(ruled, from.ID, to.ID, rec, at)},
					{policy.Ingress(plain, from.ID, rec, at), policy.Ingress(ruled, from.ID, rec, at)},
					{policy.DecideOnward(plain, to.ID, rec, at), policy.DecideOnward(ruled, to.ID, rec, at)},
				} {
					was, is := pair[0], pair[1]
					if is.Allow && !was.Allow {
						t.Fatalf("%s to %s: rules allowed what was refused: %s", from.Name, to.Name, was.Text)
					}
					if is.Allow {
						left++
					}
					if is.Reason == policy.ReasonLocalRule {
						forbidden++
						if !names[is.Rule] {
							t.Fatalf("there is no rule %q", is.Rule)
						}
					} else if was.Allow != is.Allow { // nothing else comes between
						t.Fatalf("refused for another reason: %+v", is)
					}
				}
			}
		}
	})
	if forbidden == 0 || left == 0 {
		t.Errorf("%d forbidden and %d left allowed", forbidden, left)
	}
}

// What is nested and repeated as far as it may be is read, or refused, in no time: a bound that
// does not hold shows as a test that does not end.
func TestHostileTextIsCheap(t *testing.T) {
	begin := time.Now()
	fill := func(s string) string { return strings.Repeat(s, (MaxText-200)/len(s)) }
	for name, cond := range map[string]string{
		"not":    fill("!") + "true",
		"minus":  fill("-") + "1 == 1",
		"if":     fill("if true then ") + "true",
		"else":   fill("if true then true else ") + "true",
		"access": "resource" + fill(".a"),
		"and":    "true" + fill("&&true"),
		"set":    "[" + fill("1,") + "1].contains(1)",
		"has":    "resource has a" + fill(".a"),
		"plus":   "1" + fill("+1") + " == 2",
		"path":   "resource is A" + fill("::A"),
	} {
		if s, err := Parse(Source{Text: []byte("forbid (principal, action == Action::\"share\", resource) when { " + cond + " };")}); err == nil {
			t.Errorf("%s: taken: %d rules", name, len(s.Rules()))
		}
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

func benchSet(b *testing.B) *Set {
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "forbid (principal, action in [Action::\"share\", Action::\"receive\"], resource) when { resource.personalData != \"none\" && resource.countries.contains(\"VN\") && principal.country == \"X%c\" };\n", 'A'+i)
	}
	return parse(b, text.String())
}

// Design, part 12: a cold decision takes less than 1 ms.
func BenchmarkDecideColdWith20Rules(b *testing.B) {
	s := testState(benchSet(b))
	rec := subject(func(h *protocol.Handling) { h.Personal, h.Countries = protocol.PersonalAll, []string{"TH", "VN"} })
	b.ReportAllocs()
	for b.Loop() {
		if d := policy.Decide(s, alice.ID, bob.ID, rec, now); !d.Allow {
			b.Fatal(d.Text)
		}
	}
}

// And one of a class that is decided, less than 200 ns: rules are not asked again.
func BenchmarkDecideCachedWithRules(b *testing.B) {
	s := testState(benchSet(b))
	rec := subject(nil)
	rec.Originator, rec.Publisher = bob.ID, bob.ID
	key := policy.CacheKey{Generation: 1, Publisher: bob.ID, Originator: bob.ID, Topic: rec.Topic, Kind: rec.Kind, Handling: string(protocol.Encode(&rec.Handling))}
	c := policy.NewCache()
	c.Put(key, now, policy.Ingress(s, bob.ID, rec, now))
	b.ReportAllocs()
	for b.Loop() {
		if d, ok := c.Get(key, now); !ok || !d.Allow {
			b.Fatal(d.Text, ok)
		}
	}
}
