package policy

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// ruleFunc is a local rule as a function.
type ruleFunc func(*LocalQuery) LocalAnswer

func (f ruleFunc) Forbids(q *LocalQuery) LocalAnswer { return f(q) }

// noActs forbids some acts, to some organisations.
func noActs(acts map[LocalAct]bool, others map[protocol.OrgID]bool, until uint64) Local {
	return ruleFunc(func(q *LocalQuery) LocalAnswer {
		a := LocalAnswer{ValidUntil: until}
		if acts[q.Act] && others[q.Other.ID] {
			a.Rule, a.Text = "no-"+string(q.Act), fmt.Sprintf("local rule %q forbids it", "no-"+string(q.Act))
		}
		return a
	})
}

// TestLocalRulesNarrow: what is allowed with rules is allowed without, and nothing about it differs.
func TestLocalRulesNarrow(t *testing.T) {
	var forbidden int
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		acts, others := map[LocalAct]bool{}, map[protocol.OrgID]bool{}
		for _, a := range []LocalAct{ActShare, ActReceive, ActPassOn} {
			acts[a] = rapid.Bool().Draw(t, string(a))
		}
		for _, o := range cast {
			others[o] = rapid.Bool().Draw(t, orgName(o))
		}
		until := at + uint64(rapid.IntRange(1, 1000).Draw(t, "until"))
		ruled := s.WithLocal(noActs(acts, others, until))
		for i := range len(cast) * len(cast) {
			from, to := cast[i/len(cast)], cast[i%len(cast)]
			for name, pair := range map[string][2]Decision{
				"decide": {Decide(s, from, to, subj, at), Decide(ruled, from, to, subj, at)},
				"onward": {DecideOnward(s, to, subj, at), DecideOnward(ruled, to, subj, at)},
				"in":     {Ingress(s, from, subj, at), Ingress(ruled, from, subj, at)},
			} {
				was, is := pair[0], pair[1]
				switch {
				case is.Allow && !was.Allow:
					t.Fatalf("%s: rules allowed it", name)
				case is.Reason == ReasonLocalRule:
					forbidden++
					// Of what is passed on the first refusal is told, and how it came is asked first.
					if is.Allow || !was.Allow && name != "onward" || is.Rule == "" || is.Text == "" || is.Retention != 0 {
						t.Fatalf("%s: %+v, without rules %+v", name, is, was)
					}
				case is.ValidUntil > was.ValidUntil && was.Allow:
					t.Fatalf("%s: holds longer with rules: %+v, %+v", name, is, was)
				default:
					if is.ValidUntil = was.ValidUntil; !reflect.DeepEqual(is, was) {
						t.Fatalf("%s: rules that forbid nothing changed %+v to %+v", name, was, is)
					}
				}
			}
		}
	})
	if forbidden == 0 {
		t.Error("no rule ever forbade anything")
	}
}

func TestWhichActIsAsked(t *testing.T) {
	wide := []Agreement{testAgreement(1, wideTerm(alice, bob), wideTerm(bob, alice), wideTerm(alice, carol), wideTerm(carol, bob))}
	wide[0].Doc.Terms[1].Onward.Rule = protocol.OnwardPartners
	own, received := openSubject(), openSubject()
	received.Originator, received.Publisher = bob, bob
	received.Handling.Onward.Rule = protocol.OnwardPartners
	for _, tc := range []struct {
		name   string
		decide func(*State) Decision
		want   string // acts, with the other organisation
	}{
		{"own to a partner", func(s *State) Decision { return Decide(s, alice, bob, own, now) }, "share Bob Police"},
		{"own, onward", func(s *State) Decision { return DecideOnward(s, bob, own, now) }, "share Bob Police"},
		{"received", func(s *State) Decision { return Ingress(s, bob, received, now) }, "receive Bob Police"},
		{"passed on", func(s *State) Decision { return DecideOnward(s, carol, received, now) }, "receive Bob Police, share Carol CERT, passOn Carol CERT"},
		{"back to its originator", func(s *State) Decision { return Decide(s, alice, bob, received, now) }, "share Bob Police"},
		{"between others", func(s *State) Decision { return Decide(s, carol, bob, own, now) }, ""},
		{"to oneself", func(s *State) Decision { return Decide(s, alice, alice, own, now) }, ""},
		{"without an agreement", func(s *State) Decision { return Decide(s, alice, dave, own, now) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			tc.decide(testState(wide...).WithLocal(ruleFunc(func(q *LocalQuery) LocalAnswer {
				if got != "" {
					got += ", "
				}
				got += string(q.Act) + " " + q.Other.Name
				if q.At != now || q.Subject == nil || q.Originator.Name != orgName(q.Subject.Originator) {
					t.Errorf("asked %+v", q)
				}
				return LocalAnswer{ValidUntil: 1}
			})))
			if got != tc.want {
				t.Errorf("asked about %q, want %q", got, tc.want)
			}
		})
	}
}

// The rules go with every state that is made from one.
func TestRulesStayWithTheState(t *testing.T) {
	s := testState(testAgreement(1, wideTerm(alice, bob))).WithLocal(noActs(map[LocalAct]bool{ActShare: true}, map[protocol.OrgID]bool{bob: true}, 1))
	wantReason(t, Decide(s, alice, bob, openSubject(), now), ReasonLocalRule)
	wantReason(t, Decide(s.AsIfFresh(), alice, bob, openSubject(), now), ReasonLocalRule)
	wantReason(t, Decide(s.WithLocal(nil), alice, bob, openSubject(), now), ReasonOK)
	// What an agreement does not allow is told as before.
	wantReason(t, Decide(s, alice, carol, openSubject(), now), ReasonNoAgreement)
}
