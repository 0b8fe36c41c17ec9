package policy

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// withheldRow decides about withholding the origin of a record that alice sent to bob, from carol.
type withheldRow struct {
	name   string
	term   func(*protocol.Term) // under which it came
	record func(*Subject)
	to     protocol.OrgID
	want   Reason
}

var withheldRows = []withheldRow{
	{name: "the originator lets it", to: carol, want: ReasonOK},
	{name: "the originator says nothing", to: carol, record: func(s *Subject) { s.Handling.Origin = protocol.OriginUnset }, want: ReasonOrigin},
	{name: "the originator wants to be named", to: carol, record: func(s *Subject) { s.Handling.Origin = protocol.OriginNamed }, want: ReasonOrigin},
	{name: "a rule that is not known", to: carol, record: func(s *Subject) { s.Handling.Origin = 9 }, want: ReasonOrigin},
	{name: "the term wants it attributed", to: carol, term: func(t *protocol.Term) { t.Attribution = protocol.DutyMust }, want: ReasonOrigin},
	{name: "the term lets it be attributed", to: carol, term: func(t *protocol.Term) { t.Attribution = protocol.DutyMay }, want: ReasonOK},
	{name: "on behalf of another", to: carol, record: func(s *Subject) { s.Principal = dave }, want: ReasonOrigin},
	{name: "to its originator", to: alice, want: ReasonOrigin},
	{name: "to who passed it on", to: carol, record: func(s *Subject) { s.Path = []protocol.OrgID{carol} }, want: ReasonOrigin},
	{name: "it may not be passed on", to: carol, record: func(s *Subject) { s.Handling.Onward.Rule = protocol.OnwardNobody }, want: ReasonOnward},
	{name: "the term does not let it be passed on", to: carol, term: func(t *protocol.Term) { t.Onward.Rule = protocol.OnwardNobody }, want: ReasonOnward},
	{name: "the originator excluded it", to: carol, record: func(s *Subject) { s.Handling.Excluded = []protocol.OrgID{carol} }, want: ReasonExcluded},
	{name: "no agreement of one's own", to: dave, want: ReasonNoAgreement},
}

func (r *withheldRow) decide() Decision {
	came := wideTerm(alice, bob)
	came.Onward.Rule = protocol.OnwardPartners
	if r.term != nil {
		r.term(&came)
	}
	subj := openSubject()
	subj.Handling.Onward.Rule, subj.Handling.Origin = protocol.OnwardPartners, protocol.OriginWithheld
	if r.record != nil {
		r.record(subj)
	}
	return DecideWithheld(NewState(bob, 1, testOrgs(), []Agreement{testAgreement(1, came), testAgreement(2, wideTerm(bob, carol))}), r.to, subj, now)
}

func TestDecideWithheld(t *testing.T) {
	for _, row := range withheldRows {
		t.Run(row.name, func(t *testing.T) { wantReason(t, row.decide(), row.want) })
	}
}

// TestI2WithheldNeverWidens: what may be published with its origin withheld might be passed on
// openly, under the same conditions, and whoever made it or passed it on gets no copy.
func TestI2WithheldNeverWidens(t *testing.T) {
	allowed, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		subj.Handling.Origin = rapid.SampledFrom([]protocol.OriginRule{protocol.OriginWithheld, protocol.OriginNamed, protocol.OriginUnset}).Draw(t, "origin")
		if rapid.Bool().Draw(t, "wide") { // else hardly anything may be passed on
			came := wideTerm(alice, bob)
			came.Onward.Rule = protocol.OnwardPartners
			came.Attribution = rapid.SampledFrom([]protocol.Duty{protocol.DutyUnstated, protocol.DutyMay, protocol.DutyMust}).Draw(t, "attribution")
			s = NewState(bob, 1, testOrgs(), append(s.Agreements, testAgreement(98, came), testAgreement(99, wideTerm(bob, carol))))
			subj.Originator, subj.Publisher, subj.Handling.Onward = alice, alice, protocol.Onward{Rule: protocol.OnwardPartners}
		}
		for _, to := range cast {
			open, withheld := DecideOnward(s, to, subj, at), DecideWithheld(s, to, subj, at)
			switch {
			case withheld.Allow && !reflect.DeepEqual(withheld, open):
				t.Fatalf("openly %+v, withheld %+v", open, withheld)
			case withheld.Allow && (subj.Handling.Origin != protocol.OriginWithheld || to == subj.Originator || to == subj.Publisher || subj.Originator == s.Self):
				t.Fatalf("withheld from %s: %+v", orgName(to), withheld)
			case withheld.Allow:
				allowed++
			case open.Allow:
				refused++
			}
		}
	})
	if allowed == 0 || refused == 0 {
		t.Errorf("%d allowed, %d refused", allowed, refused)
	}
}

// TestPrincipalOnlyNarrows: a principal adds no right, and a rule that speaks of the originator is
// asked about the principal, too.
func TestPrincipalOnlyNarrows(t *testing.T) {
	narrowed := 0
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		no := rapid.SampledFrom(cast).Draw(t, "of whom nothing may go")
		s = s.WithLocal(ruleFunc(func(q *LocalQuery) (a LocalAnswer) {
			a.ValidUntil = at + 1000
			if q.Originator.ID == no && q.Act == ActShare {
				a.Rule, a.Text = "no", "nothing of it goes"
			} else if q.Originator.ID == no && q.Act == ActPassOn {
				a.Persons, a.Waits, a.WaitsText = 2, "two", "two persons"
			}
			return a
		}))
		behalf := *subj
		behalf.Principal = rapid.SampledFrom(cast).Draw(t, "principal")
		for _, to := range cast {
			for name, pair := range map[string][2]Decision{
				"decide": {Decide(s, s.Self, to, subj, at), Decide(s, s.Self, to, &behalf, at)},
				"onward": {DecideOnward(s, to, subj, at), DecideOnward(s, to, &behalf, at)},
				"in":     {Ingress(s, subj.Publisher, subj, at), Ingress(s, subj.Publisher, &behalf, at)},
			} {
				was, is := pair[0], pair[1]
				switch {
				case is.Allow && (!was.Allow || is.Approval < was.Approval):
					t.Fatalf("%s: a principal widens %+v to %+v", name, was, is)
				case !reflect.DeepEqual(was, is) && behalf.Principal != no:
					t.Fatalf("%s: %+v, on behalf of another %+v", name, was, is)
				case !reflect.DeepEqual(was, is):
					narrowed++
				}
			}
		}
	})
	if narrowed == 0 {
		t.Error("no rule about the principal ever counted")
	}
}
