package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

var (
	alice = org(0xa1, "Alice Vendor", protocol.KindVendor, "DE")
	bob   = org(0xb0, "Bob Police", protocol.KindPolice, "TH")
	carol = org(0xca, "Carol CERT", protocol.KindCERT, "VN")
)

const now = 1_780_000_000_000 // 2026-05-28T20:26:40Z

func org(b byte, name string, kind protocol.OrgKind, country string) policy.Org {
	var id protocol.OrgID
	for i := range id {
		id[i] = b
	}
	return policy.Org{ID: id, Name: name, Kind: kind, Country: country, CardFresh: true, Rostered: true}
}

func parse(t testing.TB, text string) *Set {
	t.Helper()
	s, err := Parse(Source{Text: []byte(text), People: []byte(testPeople)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const testPeople = `[
  {"uid": {"type": "Role", "id": "liaison"}, "attrs": {}, "parents": []},
  {"uid": {"type": "Person", "id": "ann"}, "attrs": {"name": "Ann", "purpose": "detection"}, "parents": [{"type": "Role", "id": "analyst"}]},
  {"uid": {"type": "Person", "id": "olaf"}, "attrs": {"name": "Olaf"}, "parents": [{"type": "Role", "id": "officer"}, {"type": "Role", "id": "liaison"}]},
  {"uid": {"type": "Machine", "id": "siem"}, "attrs": {"name": "SIEM"}, "parents": [{"type": "Role", "id": "sink"}]}
]`

func subject(change func(*protocol.Handling)) *policy.Subject {
	s := &policy.Subject{Originator: alice.ID, Publisher: alice.ID, Topic: "c2", Kind: "indicator", RecordedAt: now,
		Handling: protocol.Handling{Version: 1, TLP: protocol.TLPAmber, Personal: protocol.PersonalNone}}
	if change != nil {
		change(&s.Handling)
	}
	return s
}

func forbids(s *Set, act policy.LocalAct, other policy.Org, subj *policy.Subject) policy.LocalAnswer {
	return s.Forbids(&policy.LocalQuery{Act: act, Other: other, Originator: alice, Publisher: alice, Subject: subj, At: now})
}

func TestRefusals(t *testing.T) {
	share := func(cond string) string {
		return "forbid (principal, action == Action::\"share\", resource)\nwhen { " + cond + " };"
	}
	for _, tc := range []struct{ name, text, at, says string }{
		{"not Cedar", "forbid everything;", "1:8", `"(" is wanted here, not "everything"`},
		{"no semicolon", "forbid (principal, action == Action::\"share\", resource)", "1:56", "not the end of the file"},
		{"string without end", share(`resource.tlp == "red`), "2:24", "literal not terminated"},
		{"no word", share("tlp"), "2:12", "invalid primary"},
		{"not UTF-8", "// \xff\n", "1:1", "not UTF-8"},
		{"nested", share(strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40)), "2:39", "nested more than 32 deep"},
		{"too long", "//" + strings.Repeat("x", MaxText), "1:131073", "at most 131072 are read"},
		{"too many", strings.Repeat(share("true")+"\n", MaxRules+1), "513:1", "at most 256"},
		{"too many words", share("true" + strings.Repeat(" && true", 400)), "2:2632", "more than 1000 words"},
		{"has too much", share("resource has a.b.c.d.e.f"), "2:30", "more than 4 attributes"},
		{"a permit to share", "\npermit (principal, action == Action::\"share\", resource);", "2:1", "cannot permit share: agreements allow"},
		{"a permit to receive among others", `permit (principal, action in [Action::"read", Action::"receive"], resource);`, "1:1", "cannot permit receive"},
		{"no action", "forbid (principal, action, resource);", "1:20", "does not say which actions"},
		{"no action in the list", "forbid (principal, action in [], resource);", "1:20", "does not say which actions"},
		{"unknown action", `forbid (principal, action == Action::"shar", resource);`, "1:38", `no action Action::"shar"; actions are administer, export, passOn`},
		{"action of another name", `forbid (principal, action == Act::"share", resource);`, "1:35", "there is no action"},
		{"unknown action in a condition", share(`action == Action::"sharing"`), "2:26", "unrecognized action"},
		{"unknown type of principal", `forbid (principal is Organization, action == Action::"share", resource);`, "1:22", "no entity type Organization; types are Machine, Node, Organisation"},
		{"unknown type of resource", `forbid (principal, action == Action::"share", resource is Indicator);`, "1:59", "no entity type Indicator"},
		{"unknown type in a condition", share("resource is Indicator"), "2:20", "no entity type Indicator"},
		{"unknown type of a thing", share(`principal == Org::"x"`), "2:21", "no entity type Org"},
		{"a person does not share", `forbid (principal is Person, action == Action::"share", resource);`, "1:1", "share, passOn and receive are about an Organisation"},
		{"a node is not read", `forbid (principal, action == Action::"read", resource is Node);`, "1:1", "no action of the rule"},
		{"unknown attribute", share(`resource.tlp == "red" && resource.tpl == "red"`), "2:42", `no Record has an attribute "tpl"; there is countries, kind`},
		{"attribute of another type", share(`resource.kind == "x" && resource.country == "VN"`), "2:41", `no Record has an attribute "country"`},
		{"attribute in brackets", share(`resource["tpl"] == "red"`), "2:17", `an attribute "tpl"`},
		{"attribute of the originator", share(`resource.originator.tlp == "red"`), "2:28", `no Organisation has`},
		{"attribute of the node", `forbid (principal, action == Action::"administer", resource) when { resource.tlp == "red" };`, "1:78", "there is none at all"},
		{"unknown context", share("context.later < context.now"), "2:16", "context.later"},
		{"has nothing", share("principal has contry"), "2:22", `nothing has an attribute "contry"`},
		{"type", share("resource.tlp > 3"), "1:1", "expected"},
		{"not a condition", share("resource.tlp"), "1:1", "expected Bool"},
		{"no label", share(`resource.tlp == "ambr"`), "2:24", `"ambr" is never there; tlp is one of clear, green`},
		{"no label among some", share(`["red", "amber strict"].contains(resource.tlp)`), "2:16", "amber strict"},
		{"no PAP", share(`resource.pap != "none"`), "2:24", "pap is one of unset, clear"},
		{"no degree", share(`resource.personalData == "yes"`), "2:33", "personalData is one of none, network, all"},
		{"no country", share(`resource.countries.contains("th")`), "2:36", "two letters in upper case"},
		{"no country of an organisation", share(`"Germany" == principal.country`), "2:8", "two letters"},
		{"no kind of organisation", share(`principal.kind == "indicator"`), "2:26", "the kind of an organisation is one of vendor"},
		{"no id of an organisation", `forbid (principal == Organisation::"Bob Police", action == Action::"share", resource);`, "1:36", "not the id of an organisation"},
		{"unknown role", `forbid (principal in Role::"analist", action == Action::"read", resource);`, "1:28", `no role "analist"; roles are admin, administrator, analyst`},
		{"unknown role in a condition", `forbid (principal, action == Action::"read", resource) when { principal in Role::"boss" };`, "1:82", `no role "boss"`},
		{"a machine is not a person", `forbid (principal == Person::"siem", action == Action::"read", resource);`, "1:30", "not a person in the people file"},
		{"a single record", share(`resource == Record::"x"`), "2:28", "not about a single record"},
		{"annotation", `@advice("x") forbid (principal, action == Action::"share", resource);`, "1:2", "@advice is not known"},
		{"name", `@id("two words") forbid (principal, action == Action::"share", resource);`, "1:2", "a rule is named by"},
		{"name twice", "@id(\"a\")\n" + share("true") + "\n@id(\"a\")\n" + share("true"), "4:2", `a rule "a" already`},
		{"reason", `@reason("") forbid (principal, action == Action::"share", resource);`, "1:2", "a reason is one sentence"},
		{"no number of persons", `@persons("3") forbid (principal, action == Action::"passOn", resource);`, "1:2", `"1" or "2", not "3"`},
		{"nobody", `@persons("0") forbid (principal, action == Action::"passOn", resource);`, "1:2", `"1" or "2"`},
		{"persons without a number", "@persons\nforbid (principal, action == Action::\"passOn\", resource);", "1:2", `not ""`},
		{"persons of sharing", "\n@persons(\"2\") forbid (principal, action == Action::\"share\", resource);", "2:2", "about passOn alone"},
		{"persons of sharing besides", `@persons("2") forbid (principal, action in [Action::"passOn", Action::"share"], resource);`, "1:2", "write another rule for share"},
		{"persons of release", `@persons("2") forbid (principal, action == Action::"release", resource);`, "1:2", "about passOn alone"},
		{"persons of a permit", `@persons("1") permit (principal, action == Action::"read", resource);`, "1:2", "stands at a forbid"},
		{"annotation twice", `@id("a") @id("b") forbid (principal, action == Action::"share", resource);`, "1:13", "duplicate annotation"},
		{"no date", share(`context.now < datetime("tomorrow")`), "1:1", "failed to parse as a datetime"},
		{"template", `forbid (principal == ?principal, action == Action::"share", resource);`, "1:23", "expected ident"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse(Source{File: "own.cedar", Text: []byte(tc.text), People: []byte(testPeople)})
			if err == nil {
				t.Fatal("it was taken")
			}
			if !errors.Is(err, protocol.ErrMalformed) {
				t.Errorf("%v is not malformed", err)
			}
			if want := "own.cedar:" + tc.at + ": "; !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got  %v\nwant %s… %s", err, want, tc.says)
			}
		})
	}
}

func TestRefusedPeople(t *testing.T) {
	person := func(rest string) string { return `[{"uid": {"type": "Person", "id": "ann"}, ` + rest + `}]` }
	for _, tc := range []struct{ name, text, at, says string }{
		{"not JSON", "x", "1:1", "not JSON"},
		{"no list", `{"a": 1}`, "1:2", "begins with no list"},
		{"broken off", `[{"uid": `, "1:10", "not JSON"},
		{"more after it", "[]\n[]", "1:3", "something comes after"},
		{"unknown member", person(`"attrs": {"name": "A", "age": 3}`), "1:66", `"/attrs/age"`},
		{"of another kind", person(`"attrs": {"name": 3}`), "1:61", "/attrs/name"},
		{"unknown type", `[{"uid": {"type": "User", "id": "a"}}]`, "1:2", `"User" is not one of a people file`},
		{"no id", `[{"uid": {"type": "Person", "id": ""}, "attrs": {"name": "A"}}]`, "1:2", "a person is named by"},
		{"twice", "[{\"uid\": {\"type\": \"Person\", \"id\": \"a\"}, \"attrs\": {\"name\": \"A\"}},\n {\"uid\": {\"type\": \"Machine\", \"id\": \"a\"}, \"attrs\": {\"name\": \"A\"}}]", "2:2", "twice"},
		{"no name", person(`"attrs": {}`), "1:2", "needs a name"},
		{"no role", person(`"attrs": {"name": "A"}, "parents": [{"type": "Role", "id": "boss"}]`), "1:2", `Role::"boss", which is no role; roles are admin, administrator`},
		{"no role but a person", person(`"attrs": {"name": "A"}, "parents": [{"type": "Person", "id": "analyst"}]`), "1:2", "which is no role"},
		{"role with attributes", `[{"uid": {"type": "Role", "id": "x"}, "attrs": {"name": "A"}}]`, "1:2", "a role is but a name"},
		{"too long", `[` + strings.Repeat(" ", MaxPeople) + `]`, "1:262145", "at most 262144"},
		{"member twice", `[{"uid": {"type": "Role", "id": "x"}, "uid": {"type": "Role", "id": "y"}}]`, "1:39", "not JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse(Source{PeopleFile: "who.json", People: []byte(tc.text)})
			if want := "who.json:" + tc.at + ": "; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got  %v\nwant %s… %s", err, want, tc.says)
			}
		})
	}
}

// Several problems are told at once, and a set with any is not taken.
func TestProblemsAreToldTogether(t *testing.T) {
	text := "forbid (principal, action == Action::\"share\", resource);\n" +
		"permit (principal, action == Action::\"share\", resource);\n" +
		"forbid (principal, action == Action::\"share\", resource) when { resource.tlp == \"x\" };\n"
	s, err := Parse(Source{Text: []byte(text)})
	var errs Errors
	if s != nil || !errors.As(err, &errs) || len(errs) != 2 || errs[0].Line != 2 || errs[1].Line != 3 {
		t.Errorf("set %v, problems %v", s, err)
	}
	if _, err := Parse(Source{Text: []byte(strings.Repeat(text, 40))}); !errors.As(err, &errs) || len(errs) != maxProblems {
		t.Errorf("%d problems are told", len(errs))
	}
}

func TestForbids(t *testing.T) {
	for _, tc := range []struct {
		name, rule string
		act        policy.LocalAct
		other      policy.Org
		record     func(*protocol.Handling)
		want       bool
	}{
		{"everything", "true", policy.ActShare, bob, nil, true},
		{"another act", "true", policy.ActReceive, bob, nil, false},
		{"the country of the other", `principal.country == "VN"`, policy.ActShare, carol, nil, true},
		{"another country", `principal.country == "VN"`, policy.ActShare, bob, nil, false},
		{"the other by id", `principal == Organisation::"` + bob.ID.String() + `"`, policy.ActShare, bob, nil, true},
		{"another by id", `principal == Organisation::"` + bob.ID.String() + `"`, policy.ActShare, carol, nil, false},
		{"kind of the other", `principal.kind == "police"`, policy.ActShare, bob, nil, true},
		{"name of the other", `principal.name like "Bob*"`, policy.ActShare, bob, nil, true},
		{"above amber", "resource.tlpLevel > 3", policy.ActShare, bob, func(h *protocol.Handling) { h.TLP = protocol.TLPAmberStrict }, true},
		{"at amber", "resource.tlpLevel > 3", policy.ActShare, bob, nil, false},
		{"PAP", `resource.pap == "unset" && resource.papLevel == 0`, policy.ActShare, bob, nil, true},
		{"personal data", `resource.personalData != "none"`, policy.ActShare, bob, func(h *protocol.Handling) { h.Personal = protocol.PersonalNetwork }, true},
		{"no personal data", `resource.personalData != "none"`, policy.ActShare, bob, nil, false},
		{"undetermined personal data counts as all", `resource.personalData == "all"`, policy.ActShare, bob, func(h *protocol.Handling) { h.Personal = protocol.PersonalUndetermined }, true},
		{"countries", `resource.countries.containsAny(["VN", "TH"])`, policy.ActShare, bob, func(h *protocol.Handling) { h.Countries = []string{"SG", "TH"} }, true},
		{"no countries", `resource.countries.isEmpty()`, policy.ActShare, bob, nil, true},
		{"purposes", `!resource.purposes.contains("prosecution")`, policy.ActShare, bob, nil, true},
		{"STIX type and topic", `resource.kind == "indicator" && resource.topic == "c2"`, policy.ActShare, bob, nil, true},
		{"originator", `resource.originator.country == "DE" && resource.publisher == Organisation::"` + alice.ID.String() + `"`, policy.ActShare, bob, nil, true},
		{"the other is not the originator", "principal == resource.originator", policy.ActShare, bob, nil, false},
		{"after", `context.now > datetime("2026-05-28T20:25:00Z")`, policy.ActShare, bob, nil, true},
		{"before", `context.now < datetime("2026-05-28T20:25:00Z")`, policy.ActShare, bob, nil, false},
		{"one that fails", "resource.tlpLevel * 9223372036854775807 > 3", policy.ActShare, bob, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := parse(t, "@id(\"r\") @reason(\"the law\")\nforbid (principal, action == Action::\"share\", resource) when { "+tc.rule+" };")
			a := forbids(s, tc.act, tc.other, subject(tc.record))
			if (a.Rule != "") != tc.want {
				t.Fatalf("forbids %v: %+v", a.Rule != "", a)
			}
			if tc.want && (a.Rule != "r" || !strings.Contains(a.Text, `local rule "r" forbids to share it`) || !strings.HasSuffix(a.Text, ": the law")) {
				t.Errorf("answers %+v", a)
			}
		})
	}
}

// A rule without a name is named by its place.
func TestNameOfARule(t *testing.T) {
	s, err := Parse(Source{File: "own.cedar", Text: []byte("// first\n\nforbid (principal, action == Action::\"passOn\", resource); // last\n")})
	if err != nil {
		t.Fatal(err)
	}
	if a := forbids(s, policy.ActPassOn, bob, subject(nil)); a.Rule != "own.cedar:3" {
		t.Errorf("rule %q", a.Rule)
	}
	if r := s.Rules(); len(r) != 1 || r[0].Text != "forbid (principal, action == Action::\"passOn\", resource);" || r[0].Effect != "forbid" || fmt.Sprint(r[0].Actions) != "[passOn]" {
		t.Errorf("rules %+v", r)
	}
}

func TestMay(t *testing.T) {
	const forbidRed = `@id("no-red") forbid (principal in Role::"analyst", action == Action::"read", resource) when { resource.tlp == "red" };`
	const onlyOfficers = `permit (principal in Role::"officer", action in [Action::"read", Action::"export"], resource);`
	red := func(h *protocol.Handling) { h.TLP = protocol.TLPRed }
	for _, tc := range []struct {
		name, text, who string
		action          Action
		record          func(*protocol.Handling)
		want            bool
		rule            string
	}{
		{"no rules", "", "ann", Read, red, true, ""},
		{"forbidden", forbidRed, "ann", Read, red, false, "no-red"},
		{"another record", forbidRed, "ann", Read, nil, true, ""},
		{"another role", forbidRed, "olaf", Read, red, true, ""},
		{"another action", forbidRed, "ann", Export, red, true, ""},
		{"permitted by role", onlyOfficers, "olaf", Read, nil, true, ""},
		{"not permitted", onlyOfficers, "ann", Read, nil, false, ""},
		{"no permit is about it", onlyOfficers, "ann", Search, nil, true, ""},
		{"a stranger", onlyOfficers, "eve", Read, nil, false, ""},
		{"a machine", onlyOfficers, "siem", Export, nil, false, ""},
		{"a machine by its type", `permit (principal is Machine, action == Action::"export", resource);`, "siem", Export, nil, true, ""},
		{"a role of the file", `permit (principal in Role::"liaison", action == Action::"read", resource);`, "olaf", Read, nil, true, ""},
		{"by name", `permit (principal == Person::"ann", action == Action::"read", resource);`, "ann", Read, nil, true, ""},
		{"by purpose", `permit (principal, action == Action::"read", resource) when { principal.purpose == "detection" };`, "ann", Read, nil, true, ""},
		{"without the purpose", `permit (principal, action == Action::"read", resource) when { principal.purpose == "detection" };`, "olaf", Read, nil, false, ""},
		{"forbid wins", onlyOfficers + `@id("f") forbid (principal == Person::"olaf", action == Action::"read", resource);`, "olaf", Read, nil, false, "f"},
		{"a permit that fails", `permit (principal, action == Action::"read", resource) when { resource.tlpLevel * 9223372036854775807 > 3 };`, "ann", Read, nil, false, ""},
		{"a forbid that fails", `@id("f") forbid (principal, action == Action::"read", resource) when { resource.tlpLevel * 9223372036854775807 > 3 };`, "ann", Read, nil, false, "f"},
		{"administer", `permit (principal in Role::"administrator", action == Action::"administer", resource);`, "ann", Administer, nil, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := parse(t, tc.text)
			who := s.Person(tc.who)
			if who == nil {
				who = &Principal{ID: tc.who, Name: tc.who}
			}
			what := Resource{Subject: subject(tc.record), Originator: alice, Publisher: alice}
			if tc.action == Administer {
				what = Resource{}
			}
			v := s.May(who, tc.action, what, now)
			if v.Allow != tc.want || v.Rule != tc.rule || !v.Allow && v.Text == "" {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestNoRulesAtAll(t *testing.T) {
	for _, s := range []*Set{nil, parse(t, "// nothing")} {
		if a := forbids(s, policy.ActShare, bob, subject(nil)); a.Rule != "" {
			t.Errorf("forbids: %+v", a)
		}
		if v := s.May(&Principal{ID: "x"}, Administer, Resource{}, now); !v.Allow {
			t.Errorf("forbids: %+v", v)
		}
		if s.About(Read) || len(s.Rules()) > 0 || s.Person("nobody") != nil {
			t.Error("there is something in no rules")
		}
	}
}

// TestLocked: where rules are wanted and cannot be read, nothing goes, and somebody can mend it.
func TestLocked(t *testing.T) {
	s := Locked("rules.cedar:1:1: no")
	for _, act := range []policy.LocalAct{policy.ActShare, policy.ActReceive, policy.ActPassOn} {
		if a := forbids(s, act, bob, subject(nil)); a.Rule == "" || !strings.Contains(a.Text, "rules.cedar:1:1: no") {
			t.Errorf("%s: %+v", act, a)
		}
	}
	who := &Principal{ID: "x"}
	for _, a := range []Action{Read, Search, Export, Publish, Release} {
		if v := s.May(who, a, Resource{Subject: subject(nil)}, now); v.Allow || !s.About(a) {
			t.Errorf("%s: %+v", a, v)
		}
	}
	if v := s.May(who, Administer, Resource{}, now); !v.Allow {
		t.Error("nobody can mend it")
	}
}

// The time that rules see stands still for as long as their answers are said to hold.
func TestAnswerHoldsUntilItSays(t *testing.T) {
	s := parse(t, `forbid (principal, action == Action::"share", resource) when { context.now.toTime() >= duration("20h27m") };`)
	q := &policy.LocalQuery{Act: policy.ActShare, Other: bob, Originator: alice, Publisher: alice, Subject: subject(nil), At: now}
	was := s.Forbids(q)
	for q.At = now; q.At < was.ValidUntil; q.At += 999 {
		if is := s.Forbids(q); is.Rule != was.Rule {
			t.Fatalf("at %d: %+v", q.At, is)
		}
	}
	q.At = was.ValidUntil
	if is := s.Forbids(q); is.Rule == was.Rule {
		t.Errorf("the minute after: %+v", is)
	}
}

// What the schema promises is what is there: every attribute is given, with its type.
func TestFactsFollowTheSchema(t *testing.T) {
	v, _ := validator()
	var f facts
	f.add((&Principal{ID: "ann", Name: "Ann", Roles: []string{"analyst"}}).entity())
	f.record(alice, bob, subject(func(h *protocol.Handling) { h.Countries, h.Purposes = []string{"TH"}, []string{"block"} }))
	f.add(cedar.Entity{UID: nodeUID})
	for _, e := range f.list[:f.n] {
		if err := v.Entity(e); err != nil {
			t.Errorf("%s: %v", e.UID, err)
		}
	}
	for action, principal := range map[string]cedar.EntityUID{"share": orgUID(bob.ID), "passOn": orgUID(bob.ID), "receive": orgUID(bob.ID), "read": f.list[0].UID, "publish": f.list[0].UID} {
		if err := v.Request(request(principal, action, recordUID, now)); err != nil {
			t.Errorf("%s: %v", action, err)
		}
	}
	for _, action := range []Action{Release, Sign, Administer} {
		if err := v.Request(request(f.list[0].UID, string(action), nodeUID, now)); err != nil {
			t.Errorf("%s: %v", action, err)
		}
	}
}
