package policy

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func holdersTerm(to protocol.OrgID, orgs []protocol.OrgID, countries ...string) protocol.Term {
	t := wideTerm(alice, to)
	t.Holders = protocol.Holders{Orgs: sortedOrgs(orgs), Countries: countries}
	return t
}

func TestWays(t *testing.T) {
	decide := func(s *State, bounds []protocol.Bound, orgs ...protocol.OrgID) (out []OrgDecision) {
		subj := openSubject()
		subj.Bounds = bounds
		for _, o := range orgs {
			out = append(out, OrgDecision{o, Decide(s, alice, o, subj, now)})
		}
		return out
	}
	open, eu := wideTerm(alice, bob), []string{"TH"}
	for _, row := range []struct {
		name   string
		terms  []protocol.Term // each in an agreement of its own
		bounds []protocol.Bound
		orgs   []protocol.OrgID
		want   [][2][]protocol.OrgID // readers and roster, the public way first
	}{
		{"not restricted", []protocol.Term{open}, nil, []protocol.OrgID{bob}, [][2][]protocol.OrgID{{{bob}, nil}}},
		{"nobody", nil, nil, []protocol.OrgID{bob}, [][2][]protocol.OrgID{{nil, nil}}},
		{"its parties alone", []protocol.Term{holdersTerm(bob, []protocol.OrgID{bob})}, nil, []protocol.OrgID{bob}, [][2][]protocol.OrgID{{{bob}, {alice, bob}}}},
		{"two of one country share a feed", []protocol.Term{holdersTerm(bob, nil, eu...), holdersTerm(carol, nil, eu...)}, nil,
			[]protocol.OrgID{bob, carol}, [][2][]protocol.OrgID{{{bob, carol}, {alice, bob, carol}}}},
		{"also where only one of them reads it", []protocol.Term{holdersTerm(bob, nil, eu...), holdersTerm(carol, nil, eu...)}, nil,
			[]protocol.OrgID{carol}, [][2][]protocol.OrgID{{{carol}, {alice, bob, carol}}}},
		{"one may not hold what is for the other", []protocol.Term{holdersTerm(bob, []protocol.OrgID{bob}), holdersTerm(carol, nil, eu...)}, nil,
			[]protocol.OrgID{bob, carol}, [][2][]protocol.OrgID{{{bob}, {alice, bob}}, {{carol}, {alice, carol}}}},
		{"one of them is not restricted", []protocol.Term{open, holdersTerm(carol, nil, eu...)}, nil,
			[]protocol.OrgID{bob, carol}, [][2][]protocol.OrgID{{{bob}, nil}, {{carol}, {alice, carol}}}},
		{"what it came under binds", []protocol.Term{open, wideTerm(alice, carol)}, []protocol.Bound{{Orgs: sortedOrgs([]protocol.OrgID{alice, bob})}},
			[]protocol.OrgID{bob, carol}, [][2][]protocol.OrgID{{{bob}, {alice, bob}}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var agreements []Agreement
			for i, term := range row.terms {
				a := testAgreement(i+1, term)
				a.Doc.Parties = sortedOrgs([]protocol.OrgID{term.From, term.To})
				agreements = append(agreements, a)
			}
			s := NewState(alice, 1, testOrgs(), agreements)
			got := Ways(s, decide(s, row.bounds, row.orgs...))
			if len(got) != len(row.want) {
				t.Fatalf("%d ways: %+v", len(got), got)
			}
			for i, w := range got {
				if !slices.Equal(w.Orgs, sortedOrgs(row.want[i][0])) || !slices.Equal(w.Roster, sortedOrgs(row.want[i][1])) {
					t.Errorf("way %d is to %v by %v, want %v", i, w.Orgs, w.Roster, row.want[i])
				}
			}
		})
	}
}

// TestPropsWays: each reader is reached by one way; nobody is on a roster who may not hold what any
// of those whom it serves is sent; and rosters are as many as partners at most, whatever audiences there are.
func TestPropsWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var agreements []Agreement
		for i := range rapid.IntRange(0, 5).Draw(t, "agreements") {
			to := rapid.SampledFrom(cast).Filter(func(o protocol.OrgID) bool { return o != alice }).Draw(t, "to")
			term := wideTerm(alice, to)
			term.Holders = drawTerm(t).Holders
			a := testAgreement(i+1, term)
			a.Doc.Parties = sortedOrgs([]protocol.OrgID{term.From, term.To})
			agreements = append(agreements, a)
		}
		s := NewState(alice, 1, testOrgs(), agreements)
		rosters := map[string]bool{}
		for range 4 {
			subj := drawSubject(t)
			subj.Originator, subj.Publisher = alice, alice
			audience := Audience(s, subj, now)
			ways := Ways(s, audience)
			seen := map[protocol.OrgID]int{}
			for _, w := range ways {
				if w.Direct() {
					rosters[string(protocol.Encode(w.Roster))+string(protocol.Encode(w.Bounds))] = true
				}
				for _, o := range w.Orgs {
					seen[o]++
					i := slices.IndexFunc(audience, func(d OrgDecision) bool { return d.Org == o })
					d := audience[i].Decision
					if w.Direct() != (len(d.Bounds) > 0) || w.Direct() && !slices.Contains(w.Roster, o) {
						t.Fatalf("%s is reached by %+v under %+v", o.Short(), w, d)
					}
					for _, h := range w.Roster {
						if !s.MayHold(d.Bounds, h) || !s.MayHold(w.Bounds, h) || h != alice && !s.Orgs[h].Rostered {
							t.Fatalf("%s is on the roster %v and may not hold what goes to %s", h.Short(), w.Roster, o.Short())
						}
					}
				}
			}
			for _, d := range audience {
				if want := map[bool]int{true: 1}[d.Decision.Allow]; seen[d.Org] != want && d.Decision.Reason != ReasonOwn {
					t.Fatalf("%s is reached by %d ways, allowed %v", d.Org.Short(), seen[d.Org], d.Decision.Allow)
				}
			}
		}
		if len(rosters) > len(s.Receivers(alice)) {
			t.Fatalf("%d rosters for %d partners", len(rosters), len(s.Receivers(alice)))
		}
	})
}
