package policy

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func TestAddingAnAgreementRemovesNoReader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		orgs, agreements, subj, at := drawOrgs(t), drawAgreements(t), drawSubject(t), drawTime(t)
		before := NewState(alice, 1, orgs, slices.Clone(agreements))
		more := slices.Concat(agreements, []Agreement{drawAgreement(t, 99)})
		after := NewState(alice, 2, orgs, more)
		now := audience(after, subj, at)
		for _, o := range audience(before, subj, at) {
			if !slices.Contains(now, o) {
				t.Fatalf("%s no longer receives it", orgName(o))
			}
		}
		for _, o := range cast {
			if DecideOnward(before, o, subj, at).Allow && !DecideOnward(after, o, subj, at).Allow {
				t.Fatalf("it may no longer be passed on to %s", orgName(o))
			}
			if Ingress(before, o, subj, at).Allow && !Ingress(after, o, subj, at).Allow {
				t.Fatalf("it may no longer come from %s", orgName(o))
			}
		}
	})
}

func TestRedUnnamedHasNoAudience(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		subj.Originator = alice
		subj.Handling.TLP, subj.Handling.Named = protocol.TLPRed, nil
		if got := audience(s, subj, at); len(got) != 0 {
			t.Fatalf("audience = %v", got)
		}
	})
}

func TestExcludedIsNeverInTheAudience(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		out := rapid.SampledFrom(cast[1:]).Draw(t, "out")
		subj.Handling.Excluded = append(subj.Handling.Excluded, out)
		subj.Handling.Normalise()
		if subj.Originator == out {
			subj.Originator = alice // who excluded itself keeps what is its own
		}
		if slices.Contains(audience(s, subj, at), out) {
			t.Fatal("the excluded organisation is in the audience")
		}
		if DecideOnward(s, out, subj, at).Allow {
			t.Fatal("it may be passed on to the excluded organisation")
		}
	})
}

func TestAudienceIsOfPartnersWithAnAgreementInForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		for _, d := range Audience(s, subj, at) {
			if !d.Decision.Allow || d.Decision.Reason == ReasonOwn {
				continue
			}
			i := slices.IndexFunc(s.Agreements, func(a Agreement) bool { return a.ID == d.Decision.Agreement })
			if i < 0 {
				t.Fatalf("%s: names no agreement", orgName(d.Org))
			}
			term := s.Agreements[i].Doc.Terms[d.Decision.Term-1]
			if !s.Agreements[i].InForce(at) || term.From != alice || term.To != d.Org {
				t.Fatalf("%s: term %d of agreement %d does not allow it", orgName(d.Org), d.Decision.Term, i)
			}
		}
	})
}

func TestOrderOfAgreementsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		orgs, agreements, subj, at := drawOrgs(t), drawAgreements(t), drawSubject(t), drawTime(t)
		shuffled := rapid.Permutation(agreements).Draw(t, "order")
		a := NewState(alice, 1, orgs, slices.Clone(agreements))
		b := NewState(alice, 1, orgs, shuffled)
		if x, y := Audience(a, subj, at), Audience(b, subj, at); !reflect.DeepEqual(x, y) {
			t.Fatalf("audience is %+v in one order and %+v in another", x, y)
		}
		for _, o := range cast {
			if x, y := DecideOnward(a, o, subj, at), DecideOnward(b, o, subj, at); !reflect.DeepEqual(x, y) {
				t.Fatalf("passing on is %+v in one order and %+v in another", x, y)
			}
			if x, y := Group(a, o), Group(b, o); x != y {
				t.Fatalf("group is %q in one order and %q in another", x, y)
			}
		}
	})
}

// Nothing changes between the time of a decision and its ValidUntil.
func TestDecisionHoldsUntilItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, subj := drawState(t), drawSubject(t)
		at, later := drawTime(t), drawTime(t)
		for _, o := range cast {
			d := Decide(s, alice, o, subj, at)
			if d.ValidUntil <= at {
				t.Fatalf("valid until %d, decided for %d", d.ValidUntil, at)
			}
			if later < at || later >= d.ValidUntil {
				continue
			}
			if e := Decide(s, alice, o, subj, later); !reflect.DeepEqual(e, d) {
				t.Fatalf("at %d %+v, at %d %+v", at, d, later, e)
			}
		}
	})
}
