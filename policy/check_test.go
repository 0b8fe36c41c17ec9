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

		{"shadowed by TLP", func(a *protocol.Agreement) { narrow(a).TLP = protocol.TLPGreen }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by PAP", func(a *protocol.Agreement) { narrow(a).PAP = protocol.PAPRed }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by countries", func(a *protocol.Agreement) { narrow(a).Countries = []string{"TH"} }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by purposes", func(a *protocol.Agreement) { narrow(a).Purposes = []string{"block"} }, SeverityWarning, 3, "term 1 allows too"},
		{"shadowed by retention", func(a *protocol.Agreement) { narrow(a).RetentionDays = 30 }, SeverityWarning, 3, "term 1 allows too"},
		{"shadows an earlier one", func(a *protocol.Agreement) { narrow(a).TLP = protocol.TLPAmberStrict }, SeverityWarning, 1, "term 3 allows too"},
		{"neither shadows", func(a *protocol.Agreement) {
			n := narrow(a)
			n.TLP, a.Terms[0].Countries = protocol.TLPGreen, []string{"TH"}
		}, "", 0, ""},
		{"neither shadows, by purposes", func(a *protocol.Agreement) {
			a.Terms[0].Purposes = []string{"block"}
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
	rapid.Check(t, func(t *rapid.T) {
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
			if f.Severity == SeverityError && !strings.HasPrefix(f.Text, "it repeats term ") {
				t.Fatalf("error in a valid agreement: %+v", f)
			}
		}
	})
}
