package policy

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func TestDiff(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(*protocol.Term) // of term 1, alice to bob
		after  func(*protocol.Term)
		want   []string // effect and text, in their order
	}{
		{"nothing", nil, nil, nil},
		{"topics added", func(t *protocol.Term) { t.Topics = []string{"c2"} }, func(t *protocol.Term) { t.Topics = []string{"a", "b", "c", "c2"} },
			[]string{"widens 3 topics added: a, b, c"}},
		{"topics exchanged", func(t *protocol.Term) { t.Topics = []string{"a", "c2"} }, func(t *protocol.Term) { t.Topics = []string{"b", "c2"} },
			[]string{"widens 1 topic added: b", "narrows 1 topic removed: a"}},
		{"all topics", func(t *protocol.Term) { t.Topics = []string{"c2"} }, nil, []string{"widens every topic is covered, instead of c2"}},
		{"not all kinds", nil, func(t *protocol.Term) { t.Kinds = []string{"indicator", "malware"} },
			[]string{"narrows only kinds of object indicator, malware are covered; it was all of them"}},
		{"worldwide", func(t *protocol.Term) { t.Countries = []string{"TH"} }, nil, []string{"widens records about every country, and about none, are covered, instead of TH"}},
		{"TLP", nil, func(t *protocol.Term) { t.TLP = protocol.TLPGreen }, []string{"narrows the ceiling is TLP:GREEN instead of TLP:AMBER"}},
		{"PAP", nil, func(t *protocol.Term) { t.PAP = protocol.PAPRed }, []string{"narrows the ceiling of PAP:RED instead of no ceiling of PAP"}},
		{"personal data", nil, func(t *protocol.Term) { t.Personal = protocol.PersonalNone }, []string{`narrows personal data passes up to "none" instead of "all"`}},
		{"purposes", nil, func(t *protocol.Term) { t.Purposes = []string{"research"} }, []string{"narrows only records for research pass, or that state no purpose; it was any purpose"}},
		{"any purpose", func(t *protocol.Term) { t.Purposes = []string{"research"} }, nil, []string{"widens records for any purpose pass, not only those for research"}},
		{"another purpose", func(t *protocol.Term) { t.Purposes = []string{"research"} }, func(t *protocol.Term) { t.Purposes = []string{"detection"} },
			[]string{"widens 1 purpose added: detection", "narrows 1 purpose removed: research"}},
		{"confidence", nil, func(t *protocol.Term) { t.Confidence = 50 }, []string{"narrows records need a confidence of 50 instead of 0"}},
		{"retention", nil, func(t *protocol.Term) { t.RetentionDays = 0 }, []string{"widens Bob Police may keep records for any time instead of 365 days"}},
		{"history", nil, func(t *protocol.Term) { t.HistoryDays = 1 }, []string{"widens Bob Police may read records of 1 day before it instead of no time"}},
		{"volume", nil, func(t *protocol.Term) { t.PerDay = 1 }, []string{"narrows 1 record a day may come instead of any number of records"}},
		{"onward", nil, func(t *protocol.Term) {
			t.Onward = protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{carol}, Ceiling: protocol.TLPGreen}
		}, []string{"widens Bob Police may now pass on to Carol CERT up to TLP:GREEN"}},
		{"onward, approved", nil, func(t *protocol.Term) { t.Onward.Rule, t.Approval = protocol.OnwardPartners, 2 },
			[]string{"widens Bob Police may now pass on to any of its partners, each time after 2 persons approved it"}},
		{"onward no longer", func(t *protocol.Term) { t.Onward.Rule = protocol.OnwardPartners }, nil,
			[]string{"narrows Bob Police may no longer pass anything on; it was any of its partners"}},
		{"onward to others", func(t *protocol.Term) {
			t.Onward = protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{carol}}
		},
			func(t *protocol.Term) {
				t.Onward = protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{dave}}
			},
			[]string{"widens Bob Police may now pass on to Dave Vendor", "narrows Bob Police may no longer pass on to Carol CERT"}},
		{"onward to fewer", func(t *protocol.Term) { t.Onward.Rule = protocol.OnwardPartners },
			func(t *protocol.Term) {
				t.Onward = protocol.Onward{Rule: protocol.OnwardKinds, Kinds: []protocol.OrgKind{protocol.KindCERT}}
			},
			[]string{"narrows Bob Police may now pass on to organisations of kind cert, instead of any of its partners"}},
		{"onward to nobody named", nil, func(t *protocol.Term) { t.Onward.Rule = protocol.OnwardNamed }, nil},
		{"onward ceiling and approval", func(t *protocol.Term) { t.Onward.Rule, t.Onward.Ceiling = protocol.OnwardPartners, protocol.TLPClear },
			func(t *protocol.Term) {
				t.Onward.Rule, t.Onward.Ceiling, t.Approval = protocol.OnwardPartners, protocol.TLPGreen, 1
			},
			[]string{"widens what Bob Police passes on is up to TLP:GREEN instead of up to TLP:CLEAR", "narrows what Bob Police passes on needs the approval of one person instead of nobody"}},
		{"holders", nil, func(t *protocol.Term) {
			t.Holders = protocol.Holders{Orgs: []protocol.OrgID{carol}, Countries: []string{"TH"}}
		},
			[]string{"narrows sealed copies may be held by the parties and Carol CERT, organisations of TH only; it was every member of the network"}},
		{"other holders", func(t *protocol.Term) { t.Holders.Countries = []string{"TH"} }, func(t *protocol.Term) { t.Holders.Countries = []string{"VN"} },
			[]string{"widens sealed copies may also be held by organisations of VN", "narrows sealed copies may no longer be held by organisations of TH"}},
		{"all holders", func(t *protocol.Term) { t.Holders.Countries = []string{"TH"} }, nil, []string{"widens every member of the network may hold sealed copies"}},
		{"reply", nil, func(t *protocol.Term) { t.ReplyHours = 1 }, []string{"neither requests of Bob Police are answered within 1 hour instead of whenever it suits"}},
		{"duties", nil, func(t *protocol.Term) {
			t.Notify, t.Attribution, t.Resale = protocol.DutyMustNot, protocol.DutyMust, protocol.DutyMay
		}, []string{"narrows Bob Police must not tell those who are affected, instead of is not told whether to",
			"neither Bob Police must name Alice Research as the source, instead of is not told whether to",
			"widens Bob Police may sell what it received unchanged, instead of is not told whether to"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, b := soundAgreement(), soundAgreement()
			if row.before != nil {
				row.before(&a.Terms[0])
			}
			if row.after != nil {
				row.after(&b.Terms[0])
			}
			slices.Reverse(b.Terms) // terms are not compared by their places
			var got []string
			for _, c := range Diff(a, b, orgName) {
				got = append(got, string(c.Effect)+" "+c.Text)
				if c.Was != 1 || c.Term != 2 {
					t.Errorf("%q is said of terms %d and %d", c.Text, c.Was, c.Term)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
		})
	}
}

// diffExample is an agreement and an amendment of it that changes something of every kind.
func diffExample() (a, b *protocol.Agreement) {
	a, b = exampleAgreement(), exampleAgreement()
	a.Secret[0] = 1
	b.Previous, b.NotBefore, b.NotAfter = NewID(a), ms("2026-06-15"), ms("2028-01-01")
	b.Title, b.LegalBasis, b.PaperSHA256, b.NoticeDays = "Botnet servers and malware", "Another treaty", protocol.Hash{}, 30
	b.Parties = sortedOrgs([]protocol.OrgID{alice, bob, carol})
	first, second := b.Terms[0], b.Terms[1]
	first.Topics, first.TLP, first.Onward.Orgs = []string{"c2", "malware", "phishing"}, protocol.TLPAmber, []protocol.OrgID{dave}
	b.Terms = []protocol.Term{wideTerm(alice, carol), second, first}
	b.Terms[1].Countries = []string{"TH"}
	narrow := first
	narrow.Kinds, narrow.TLP, narrow.Topics, narrow.Onward = []string{"url"}, protocol.TLPGreen, []string{"c2"}, protocol.Onward{}
	b.Terms = append(b.Terms, narrow)
	return a, b
}

func TestDescribeDiff(t *testing.T) {
	a, b := diffExample()
	text := "There:\n\n" + DescribeDiff(a, b, Diff(a, b, orgName), orgName) + "\nAnd back:\n\n" + DescribeDiff(b, a, Diff(b, a, orgName), orgName) +
		"\nTo itself:\n\n" + DescribeDiff(a, a, Diff(a, a, orgName), orgName)
	golden(t, "diff.txt", []byte(text))
}

func TestDiffOfEqualAgreementsIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAgreement(t, 1).Doc
		b := *a
		b.Secret[5]++
		b.Network[5]++
		b.Previous[5]++
		b.Terms = rapid.Permutation(a.Terms).Draw(t, "terms")
		var read protocol.Agreement // what is read has empty lists where what is made has none
		if err := protocol.Decode(protocol.Encode(&b), protocol.MaxAgreementSize, &read); err != nil {
			t.Fatal(err)
		}
		for _, other := range []*protocol.Agreement{&b, &read} {
			if got := append(Diff(a, other, orgName), Diff(other, a, orgName)...); len(got) != 0 {
				t.Fatalf("%+v", got)
			}
		}
	})
}

// amendTerms changes terms a little, as amendments do.
func amendTerms(t *rapid.T, terms []protocol.Term) []protocol.Term {
	out := slices.Clone(terms)
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		i := rapid.IntRange(0, len(out)-1).Draw(t, "of term")
		term, other := &out[i], drawTerm(t)
		switch rapid.IntRange(0, 14).Draw(t, "what") {
		case 0:
			term.Topics = other.Topics
		case 1:
			term.Kinds = other.Kinds
		case 2:
			term.TLP = other.TLP
		case 3:
			term.PAP = other.PAP
		case 4:
			term.Countries = other.Countries
		case 5:
			term.Personal = other.Personal
		case 6:
			term.Purposes = other.Purposes
		case 7:
			term.RetentionDays = other.RetentionDays
		case 8:
			term.Onward = other.Onward
		case 9:
			term.Confidence = other.Confidence
		case 10:
			other.From, other.To = term.From, term.To
			out = append(out, other)
		case 11:
			if len(out) > 1 {
				out = slices.Delete(out, i, i+1)
			}
		case 13:
			term.Holders = other.Holders
		case 14:
			term.Approval = other.Approval
		case 12:
			term.Onward.Ceiling = other.Onward.Ceiling
		}
	}
	return out
}

// If nothing widens, nothing passes that did not.
func TestWhatDoesNotWidenAllowsNoMore(t *testing.T) {
	narrowed, refused := 0, 0
	untilSeen(t, func() bool { return narrowed > 0 && refused > 0 }, func(t *rapid.T) {
		a := drawAgreement(t, 1)
		doc := *a.Doc
		doc.Terms = amendTerms(t, doc.Terms)
		b := Agreement{ID: testAgreementID(2), Doc: &doc, Ends: a.Ends, Pauses: a.Pauses, Superseded: a.Superseded}
		changes := Diff(a.Doc, b.Doc, orgName)
		if slices.ContainsFunc(changes, func(c Change) bool { return c.Effect == EffectWidens }) {
			return
		}
		if len(changes) > 0 {
			narrowed++
		}
		more := testAgreement(3, wideTerm(alice, carol), wideTerm(alice, bob), wideTerm(dave, alice))
		before, after := NewState(alice, 1, testOrgs(), []Agreement{a, more}), NewState(alice, 1, testOrgs(), []Agreement{b, more})
		for range 4 {
			subj, at := drawSubject(t), drawTime(t)
			for i := range len(cast) * len(cast) {
				from, to := cast[i/len(cast)], cast[i%len(cast)]
				was, is := Decide(before, from, to, subj, at), Decide(after, from, to, subj, at)
				if is.Allow && (!was.Allow || keeps(is.Retention) > keeps(was.Retention)) {
					t.Fatalf("%s to %s: was %+v, is %+v, by %+v", orgName(from), orgName(to), was, is, changes)
				}
				if was.Allow && !is.Allow {
					refused++
				}
			}
			for _, to := range cast {
				if was, is := DecideOnward(before, to, subj, at), DecideOnward(after, to, subj, at); is.Allow && !was.Allow {
					t.Fatalf("onward to %s: was %+v, is %+v, by %+v", orgName(to), was, is, changes)
				}
			}
		}
	})
	if narrowed == 0 || refused == 0 {
		t.Errorf("%d amendments narrowed, and %d records were refused then", narrowed, refused)
	}
}
