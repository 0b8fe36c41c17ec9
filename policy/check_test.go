package policy

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// soundAgreement is one about which nothing is to be said.
func soundAgreement() *protocol.Agreement {
	there, back := wideTerm(alice, bob), wideTerm(bob, alice)
	there.TLP, back.TLP = protocol.TLPAmber, protocol.TLPAmber
	there.RetentionDays, back.RetentionDays = 365, 365
	a := testAgreement(1, there, back).Doc
	a.LegalBasis = "Treaty on mutual assistance"
	a.PaperSHA256[0] = 1
	return a
}

func TestCheckAgreement(t *testing.T) {
	narrow := func(a *protocol.Agreement) *protocol.Term {
		a.Terms = append(a.Terms, a.Terms[0])
		return &a.Terms[2]
	}
	for _, row := range []struct {
		name     string
		change   func(*protocol.Agreement)
		severity Severity // "": nothing is found
		term     int
		text     string
	}{
		{"sound", func(a *protocol.Agreement) {}, "", 0, ""},
		{"not in force yet", func(a *protocol.Agreement) { a.NotBefore = now + 1 }, "", 0, ""},
		{"ends before it begins", func(a *protocol.Agreement) { a.NotAfter = a.NotBefore }, SeverityError, 0, "ends before it begins"},
		{"has ended", func(a *protocol.Agreement) { a.NotAfter = now }, SeverityError, 0, "has ended already"},
		{"six years", func(a *protocol.Agreement) { a.NotAfter = ms("2032-01-01") }, SeverityWarning, 0, "more than five years"},
		{"no terms", func(a *protocol.Agreement) { a.Parties, a.Terms = nil, nil }, SeverityError, 0, "no terms"},
		{"no legal basis", func(a *protocol.Agreement) { a.LegalBasis = " " }, SeverityWarning, 0, "no legal basis"},
		{"no paper", func(a *protocol.Agreement) { a.PaperSHA256 = protocol.Hash{} }, SeverityWarning, 0, "paper_sha256"},
		{"idle party", func(a *protocol.Agreement) { a.Parties = append(a.Parties, carol) }, SeverityWarning, 0, carol.Short() + " neither gives nor receives"},
		{"no TLP", func(a *protocol.Agreement) { a.Terms[1].TLP = protocol.TLPUnset }, SeverityError, 2, "no TLP ceiling"},
		{"RED", func(a *protocol.Agreement) { a.Terms[0].TLP = protocol.TLPRed }, SeverityWarning, 1, "TLP:RED"},
		{"no countries", func(a *protocol.Agreement) { a.Terms[0].Countries = nil }, SeverityError, 1, "names no countries"},
		{"no topics", func(a *protocol.Agreement) { a.Terms[0].Topics = nil }, SeverityError, 1, "no topics or no kinds"},
		{"no kinds", func(a *protocol.Agreement) { a.Terms[0].Kinds = nil }, SeverityError, 1, "no topics or no kinds"},
		{"no personal data", func(a *protocol.Agreement) { a.Terms[0].Personal = protocol.PersonalNone }, SeverityWarning, 1, "nobody determined"},
		{"network identifiers", func(a *protocol.Agreement) { a.Terms[0].Personal = protocol.PersonalNetwork }, SeverityWarning, 1, "nobody determined"},
		{"repeated", func(a *protocol.Agreement) { narrow(a) }, SeverityError, 3, "repeats term 1"},

		{"kind that is none", func(a *protocol.Agreement) { a.Terms[0].Kinds = []string{"indicators"} }, SeverityWarning, 1, "did you mean indicator?"},
		{"kind by a common word", func(a *protocol.Agreement) { a.Terms[0].Kinds = []string{"ip"} }, SeverityWarning, 1, "did you mean ipv4-addr?"},
		{"kind of nothing", func(a *protocol.Agreement) { a.Terms[0].Kinds = []string{"rumour"} }, SeverityWarning, 1, "begins with x-"},
		{"custom kind", func(a *protocol.Agreement) { a.Terms[0].Kinds = []string{"x-example"} }, "", 0, ""},
		{"purpose of one's own", func(a *protocol.Agreement) { a.Terms[0].Purposes = []string{"block"} }, SeverityWarning, 1, "not in the vocabulary"},
		{"INTERPOL's purpose", func(a *protocol.Agreement) { a.Terms[0].Purposes = []string{"interpol-warning"} }, "", 0, ""},
		{"country that is none", func(a *protocol.Agreement) { a.Terms[0].Countries = []string{"UK"} }, SeverityWarning, 1, "write GB"},
		{"country of one's own", func(a *protocol.Agreement) { a.Terms[0].Countries = []string{"XK"} }, SeverityWarning, 1, "left to its users"},
		{"union of countries", func(a *protocol.Agreement) { a.Terms[0].Countries = []string{"EU"} }, SeverityWarning, 1, "name its members"},
		{"holders in no country", func(a *protocol.Agreement) { a.Terms[0].Holders.Countries = []string{"QQ"} }, SeverityWarning, 1, "countries of holders: QQ"},
		{"confidence of observables", func(a *protocol.Agreement) {
			a.Terms[0].Kinds, a.Terms[0].Confidence = []string{"ipv4-addr", "url"}, 50
		}, SeverityError, 1, "no record can pass"},
		{"confidence of some", func(a *protocol.Agreement) {
			a.Terms[0].Kinds, a.Terms[0].Confidence = []string{"indicator", "url"}, 50
		}, SeverityWarning, 1, "objects of type url cannot"},
		{"confidence of indicators", func(a *protocol.Agreement) { a.Terms[0].Kinds, a.Terms[0].Confidence = []string{"indicator"}, 50 }, "", 0, ""},
		{"six years' retention", func(a *protocol.Agreement) { a.Terms[0].RetentionDays = 2000 }, SeverityWarning, 1, "more than five years"},
		{"no retention", func(a *protocol.Agreement) { a.Terms[0].RetentionDays = 0 }, SeverityWarning, 1, "set retention_days"},
		{"history of what is gone", func(a *protocol.Agreement) { a.Terms[0].HistoryDays = 400 }, SeverityWarning, 1, "history_days is 400"},
		{"onward to nobody named", func(a *protocol.Agreement) { a.Terms[0].Onward.Rule = protocol.OnwardNamed }, SeverityError, 1, "names no organisations"},
		{"onward to no kinds", func(a *protocol.Agreement) { a.Terms[0].Onward.Rule = protocol.OnwardKinds }, SeverityError, 1, "names no kinds"},
		{"onward names beside the rule", func(a *protocol.Agreement) {
			a.Terms[0].Onward = protocol.Onward{Rule: protocol.OnwardPartners, Orgs: []protocol.OrgID{carol}}
		}, SeverityError, 1, "write rule: named"},
		{"onward kinds beside the rule", func(a *protocol.Agreement) { a.Terms[0].Onward.Kinds = []protocol.OrgKind{protocol.KindCERT} }, SeverityError, 1, "write rule: kinds"},
		{"onward to a party", func(a *protocol.Agreement) {
			a.Terms[0].Onward = protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{alice, carol}}
		}, SeverityWarning, 1, "has the record anyway"},
		{"onward ceiling above", func(a *protocol.Agreement) {
			a.Terms[0].Onward = protocol.Onward{Rule: protocol.OnwardPartners, Ceiling: protocol.TLPAmberStrict}
		}, SeverityWarning, 1, "goes up to TLP:AMBER+STRICT"},
		{"onward ceiling of nobody", func(a *protocol.Agreement) { a.Terms[0].Onward.Ceiling = protocol.TLPGreen }, SeverityWarning, 1, "has no effect"},
		{"approval of nothing", func(a *protocol.Agreement) { a.Terms[0].Approval = 2 }, SeverityWarning, 1, "nothing for 2 persons to approve"},
		{"victims not told", func(a *protocol.Agreement) {
			a.Terms[0].Purposes, a.Terms[0].Notify = []string{"victim-notification"}, protocol.DutyMustNot
		}, SeverityError, 1, "victim-notification"},
		{"resale to nobody", func(a *protocol.Agreement) { a.Terms[0].Resale = protocol.DutyMay }, SeverityWarning, 1, "may be sold"},
		{"notice longer than the agreement", func(a *protocol.Agreement) { a.NoticeDays = 400 }, SeverityWarning, 0, "notice of 400 days"},

		{"shadowed by TLP", func(a *protocol.Agreement) { narrow(a).TLP = protocol.TLPGreen }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by PAP", func(a *protocol.Agreement) { narrow(a).PAP = protocol.PAPRed }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by countries", func(a *protocol.Agreement) { narrow(a).Countries = []string{"TH"} }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by purposes", func(a *protocol.Agreement) { narrow(a).Purposes = []string{"prevention"} }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by retention", func(a *protocol.Agreement) { narrow(a).RetentionDays = 30 }, SeverityWarning, 3, "term 1 allows too"},
		{"shadows an earlier one", func(a *protocol.Agreement) { narrow(a).TLP = protocol.TLPAmberStrict }, SeverityWarning, 1, "term 3 allows too"},
		{"neither shadows", func(a *protocol.Agreement) {
			n := narrow(a)
			n.TLP, a.Terms[0].Countries = protocol.TLPGreen, []string{"TH"}
		}, "", 0, ""},
		{"neither shadows, by purposes", func(a *protocol.Agreement) {
			a.Terms[0].Purposes = []string{"prevention"}
			narrow(a).TLP = protocol.TLPGreen
			a.Terms[2].Purposes = nil
		}, "", 0, ""},
		{"neither shadows, by history", func(a *protocol.Agreement) {
			n := narrow(a)
			n.TLP, n.HistoryDays = protocol.TLPGreen, 30
		}, "", 0, ""},
		{"neither shadows, by onward rule", func(a *protocol.Agreement) {
			n := narrow(a)
			n.TLP, n.Onward.Rule = protocol.TLPGreen, protocol.OnwardPartners
		}, "", 0, ""},
		{"shadowed, nothing goes on", func(a *protocol.Agreement) {
			a.Terms[0].Onward.Rule = protocol.OnwardPartners
			n := narrow(a)
			n.TLP, n.Onward.Rule = protocol.TLPGreen, protocol.OnwardNobody
		}, SeverityWarning, 3, "term 1 allows too"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := soundAgreement()
			row.change(a)
			found := CheckAgreement(a, now)
			if row.severity == "" {
				if len(found) != 0 {
					t.Errorf("found %+v, want nothing", found)
				}
				return
			}
			if len(found) != 1 || found[0].Severity != row.severity || found[0].Term != row.term || !strings.Contains(found[0].Text, row.text) {
				t.Errorf("found %+v, want %s in term %d: %q", found, row.severity, row.term, row.text)
			}
		})
	}
}

// Where CheckAgreement says that a term adds nothing, it adds nothing.
func TestShadowedTermAllowsNoMore(t *testing.T) {
	shadowed := 0
	untilSeen(t, func() bool { return shadowed > 0 }, func(t *rapid.T) {
		wide, narrow := drawTerm(t), drawTerm(t)
		wide.From, wide.To, narrow.From, narrow.To = alice, bob, alice, bob
		if rapid.Bool().Draw(t, "wider") {
			wide = wideTerm(alice, bob)
			wide.HistoryDays, wide.Onward = narrow.HistoryDays, narrow.Onward
			wide.TLP, wide.Countries = narrow.TLP, narrow.Countries
			wide.ReplyHours, wide.Notify, wide.Attribution, wide.Resale = narrow.ReplyHours, narrow.Notify, narrow.Attribution, narrow.Resale
		}
		if !shadows(&wide, &narrow) {
			return
		}
		shadowed++
		subj := drawSubject(t)
		subj.Originator, subj.Publisher = alice, alice
		subj.Handling.Onward = protocol.Onward{Rule: protocol.OnwardPartners}
		state := func(terms ...protocol.Term) *State {
			return NewState(bob, 1, testOrgs(), []Agreement{testAgreement(1, terms...), testAgreement(2, wideTerm(bob, carol))})
		}
		one, both := state(wide), state(wide, narrow)
		if x, y := Ingress(one, alice, subj, now), Ingress(both, alice, subj, now); x.Allow != y.Allow || x.Retention != y.Retention {
			t.Fatalf("alone %+v, together %+v", x, y)
		}
		if x, y := DecideOnward(one, carol, subj, now), DecideOnward(both, carol, subj, now); x.Allow != y.Allow {
			t.Fatalf("onward: alone %+v, together %+v", x, y)
		}
	})
	if shadowed == 0 {
		t.Error("no draw had a shadowed term")
	}
}

// What stands in several findings at once.
func TestCheckTermsTogether(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*protocol.Term)
		want   []string
	}{
		{"accounts without personal data", func(t *protocol.Term) { t.Kinds, t.Personal = []string{"user-account"}, protocol.PersonalNone },
			[]string{"nobody determined", "all objects of its kinds do"}},
		{"addresses among others", func(t *protocol.Term) { t.Kinds, t.Personal = []string{"email-addr", "url"}, protocol.PersonalNetwork },
			[]string{"nobody determined", "objects of type email-addr do"}},
		{"identities", func(t *protocol.Term) { t.Kinds, t.Personal = []string{"identity", "url"}, protocol.PersonalNetwork },
			[]string{"nobody determined", "identity of a person"}},
		{"RED goes on", func(t *protocol.Term) { t.TLP, t.Onward.Rule = protocol.TLPRed, protocol.OnwardPartners },
			[]string{"named recipients only", "amber+strict or lower"}},
	} {
		a := soundAgreement()
		row.change(&a.Terms[0])
		found := CheckAgreement(a, now)
		ok := len(found) == len(row.want)
		for i := range found {
			ok = ok && found[i].Severity == SeverityWarning && found[i].Term == 1 && strings.Contains(found[i].Text, row.want[i])
		}
		if !ok {
			t.Errorf("%s: found %+v, want %q", row.name, found, row.want)
		}
	}
}

func TestCheckHolders(t *testing.T) {
	// Members are alice, bob and mallory in TH; carol is known and no member; dave is not known.
	orgs := testOrgs()
	delete(orgs, dave)
	orgs[carol] = Org{ID: carol, Name: "Carol CERT", Country: "VN"}
	for _, row := range []struct {
		name    string
		holders protocol.Holders
		onward  []protocol.OrgID
		want    []string
	}{
		{"not restricted", protocol.Holders{}, []protocol.OrgID{carol}, nil},
		{"members and one by name", protocol.Holders{Orgs: []protocol.OrgID{carol}, Countries: []string{"TH"}}, []protocol.OrgID{carol}, nil},
		{"members and one by country", protocol.Holders{Countries: []string{"TH", "VN"}}, []protocol.OrgID{carol}, nil},
		{"a party", protocol.Holders{Countries: []string{"TH"}}, []protocol.OrgID{alice}, nil},
		{"a member that is not named", protocol.Holders{Countries: []string{"VN"}}, []protocol.OrgID{carol}, nil},
		{"one left out", protocol.Holders{Countries: []string{"TH"}}, []protocol.OrgID{carol}, []string{"passed on to Carol CERT, which is no holder;"}},
		{"one left out by name", protocol.Holders{Orgs: []protocol.OrgID{mallory}}, []protocol.OrgID{dave}, []string{"which is no holder;"}},
		{"country not known", protocol.Holders{Countries: []string{"TH"}}, []protocol.OrgID{dave}, []string{"its country is not known here"}},
		{"all of it", protocol.Holders{Countries: []string{"SG"}}, []protocol.OrgID{carol, dave, mallory}, []string{"Carol CERT, which is no holder;", "country is not known here", "Mallory Ltd, which is no holder;"}},
	} {
		a := soundAgreement()
		a.Terms[1].Holders, a.Terms[1].Onward = row.holders, protocol.Onward{Rule: protocol.OnwardNamed, Orgs: row.onward}
		found := CheckHolders(a, orgs)
		ok := len(found) == len(row.want)
		for i := range found {
			ok = ok && found[i].Term == 2 && found[i].Severity == SeverityWarning && strings.Contains(found[i].Text, row.want[i])
		}
		if !ok {
			t.Errorf("%s: found %+v, want %q", row.name, found, row.want)
		}
	}
}

func TestCountries(t *testing.T) {
	list := Countries()
	if !slices.IsSorted(list) || len(list) != 249 || len(slices.Compact(list)) != 249 {
		t.Errorf("%d codes", len(list))
	}
	for _, c := range list {
		if !protocol.IsCountry(c) || userAssigned(c) || meant[c] != "" {
			t.Errorf("%s is assigned, and not", c)
		}
	}
	for _, c := range []string{"", "th", "T", "UK", "EU"} {
		if IsAssigned(c) || userAssigned(c) {
			t.Errorf("%q is a country", c)
		}
	}
}

func TestPurposes(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Purposes() {
		a := soundAgreement()
		a.Terms[0].Purposes = []string{p.Token}
		if err := a.Validate(); err != nil || seen[p.Token] || p.Description == "" {
			t.Errorf("%+v: %v", p, err)
		}
		seen[p.Token] = true
	}
}

// A draft without errors is one that can be signed.
func TestCheckedAgreementIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAgreement(t, 1).Doc
		found := CheckAgreement(a, now)
		slices.SortFunc(found, func(x, y Finding) int { return x.Term - y.Term })
		for _, f := range found {
			if f.Term < 0 || f.Term > len(a.Terms) || f.Text == "" {
				t.Fatalf("finding %+v in %d terms", f, len(a.Terms))
			}
			if f.Severity == SeverityError && !slices.ContainsFunc(contradictions, func(s string) bool { return strings.Contains(f.Text, s) }) {
				t.Fatalf("error in a valid agreement: %+v", f)
			}
		}
	})
}

// contradictions are the errors that an agreement may have that is valid on the wire.
var contradictions = []string{"it repeats term ", "lets it be passed on to nobody", "named beside it", "cannot state a confidence", "victim-notification"}
