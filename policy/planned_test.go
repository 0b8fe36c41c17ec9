package policy

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func TestPlanned(t *testing.T) {
	held := testAgreement(1, wideTerm(alice, bob))
	s := testState(held)
	subj := openSubject()
	doc := testAgreement(9, wideTerm(alice, carol)).Doc
	doc.NotBefore = now + 1
	plan := s.Planned(doc, now)
	if got := audience(plan, subj, now); !slices.Equal(got, []protocol.OrgID{bob, carol}) {
		t.Errorf("with a new agreement: %v", got)
	}
	doc.Previous = held.ID
	if got := audience(s.Planned(doc, now), subj, now); !slices.Equal(got, []protocol.OrgID{carol}) {
		t.Errorf("in the place of what it amends: %v", got)
	}
	if got := audience(s, subj, now); !slices.Equal(got, []protocol.OrgID{bob}) || doc.NotBefore != now+1 {
		t.Errorf("afterwards: %v", got)
	}
	// Who suspended what it amends has suspended it too.
	held.Pauses = []Pause{{Org: alice, From: begins}}
	if got := audience(testState(held).Planned(doc, now), subj, now); len(got) != 0 {
		t.Errorf("in the place of what is suspended: %v", got)
	}
	// Own rules are asked as always.
	forbids := noActs(map[LocalAct]bool{ActShare: true}, map[protocol.OrgID]bool{carol: true}, 0)
	if got := audience(testState().WithLocal(forbids).Planned(testAgreement(9, wideTerm(alice, carol)).Doc, now), subj, now); len(got) != 0 {
		t.Errorf("past a local rule: %v", got)
	}
	// One that is held already does not stand there twice.
	same := testState(Agreement{ID: NewID(held.Doc), Doc: held.Doc}).Planned(held.Doc, now)
	if len(same.Agreements) != 1 {
		t.Errorf("holds %d agreements", len(same.Agreements))
	}
}

// A plan decides as the agreement will, once it is signed.
func TestPlannedDecidesAsSigned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		orgs, agreements := drawOrgs(t), drawAgreements(t)
		doc := drawAgreement(t, 50).Doc
		signed := Agreement{ID: NewID(doc), Doc: doc}
		before := NewState(alice, 1, orgs, slices.Clone(agreements))
		after := NewState(alice, 1, orgs, append(slices.Clone(agreements), signed))
		plan := before.Planned(doc, now)
		subj := drawSubject(t)
		for _, o := range cast {
			if x, y := Decide(plan, alice, o, subj, now), Decide(after, alice, o, subj, now); !reflect.DeepEqual(x, y) {
				t.Fatalf("to %s: planned %+v, signed %+v", orgName(o), x, y)
			}
			if x, y := DecideOnward(plan, o, subj, now), DecideOnward(after, o, subj, now); x.Allow != y.Allow {
				t.Fatalf("on to %s: planned %+v, signed %+v", orgName(o), x, y)
			}
		}
		to, from := Concerned(doc, alice)
		for _, o := range cast {
			if was, is := Decide(before, alice, o, subj, now), Decide(plan, alice, o, subj, now); was.Allow != is.Allow && !slices.Contains(to, o) {
				t.Fatalf("%s is not concerned, and gets another answer", orgName(o))
			}
			if was, is := Ingress(before, o, subj, now), Ingress(plan, o, subj, now); was.Allow != is.Allow && !slices.Contains(from, o) {
				t.Fatalf("what comes from %s is not concerned, and gets another answer", orgName(o))
			}
		}
	})
}
