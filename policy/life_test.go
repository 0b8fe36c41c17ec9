package policy

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// testLife is an agreement of alice, bob and, if three, carol, that all signed.
func testLife(three bool, change func(*Life)) *Life {
	a := testAgreement(1, wideTerm(alice, bob))
	if three {
		a = testAgreement(1, wideTerm(alice, bob), wideTerm(bob, carol))
	}
	l := &Life{Agreement: a, Signed: a.Doc.Parties}
	if change != nil {
		change(l)
	}
	return l
}

func leaves(org protocol.OrgID, made, at uint64) func(*Life) {
	return func(l *Life) { l.Ends = append(l.Ends, End{Org: org, Made: made, At: at}) }
}

func pauses(org protocol.OrgID, from, until uint64) func(*Life) {
	return func(l *Life) { l.Pauses = append(l.Pauses, Pause{Org: org, From: from, Until: until}) }
}

func both(fns ...func(*Life)) func(*Life) {
	return func(l *Life) {
		for _, fn := range fns {
			fn(l)
		}
	}
}

func signedBy(orgs ...protocol.OrgID) func(*Life) { return func(l *Life) { l.Signed = orgs } }

func TestStage(t *testing.T) {
	const day = dayMillis
	for _, row := range []struct {
		name   string
		three  bool
		change func(*Life)
		self   protocol.OrgID
		at     uint64
		want   Stage
	}{
		{"signed by us", false, signedBy(alice), alice, now, StageProposed},
		{"signed by the other", false, signedBy(bob), alice, now, StageIncoming},
		{"a proposal rejected", false, both(signedBy(bob), func(l *Life) { l.Rejected = true }), alice, now, StageRejected},
		{"rejected, and signed all the same", false, func(l *Life) { l.Rejected = true }, alice, now, StageInForce},
		{"a proposal whose time is over", false, signedBy(alice), alice, ends, StageExpired},
		{"a proposal before its time", false, signedBy(alice), alice, begins - 1, StageProposed},
		{"signed by all, before its time", false, nil, alice, begins - 1, StageNotYet},
		{"in force", false, nil, alice, now, StageInForce},
		{"expired", false, nil, alice, ends, StageExpired},
		{"terminated", false, leaves(bob, now, now), alice, now, StageTerminated},
		{"terminated by a proposal's signer", false, both(signedBy(bob), leaves(bob, now, now)), alice, now, StageTerminated},
		{"notice given", false, leaves(bob, now, now+day), alice, now, StageInForce},
		{"notice over", false, leaves(bob, now, now+day), alice, now + day, StageTerminated},
		{"suspended by the other", false, pauses(bob, now, 0), alice, now, StageSuspended},
		{"resumed", false, pauses(bob, now, now+5), alice, now + 5, StageInForce},
		{"suspended by both, resumed by one", false, both(pauses(bob, now, now+5), pauses(alice, now, 0)), alice, now + 5, StageSuspended},
		{"termination wins over suspension", false, both(pauses(bob, now, 0), leaves(alice, now, now)), alice, now, StageTerminated},
		{"amended", false, func(l *Life) { l.Superseded = now }, alice, now, StageAmended},
		{"not amended yet", false, func(l *Life) { l.Superseded = now }, alice, now - 1, StageInForce},
		{"renewed", false, func(l *Life) { l.Superseded, l.Renewal = now, true }, alice, now, StageRenewed},
		{"renewed after its end", false, func(l *Life) { l.Superseded, l.Renewal = ends+1, true }, alice, ends, StageExpired},
		{"termination wins over amendment", false, both(func(l *Life) { l.Superseded = now }, leaves(bob, now, now)), alice, now, StageTerminated},
		{"one of three leaves", true, leaves(carol, now, now), alice, now, StageInForce},
		{"for who left it is over", true, leaves(carol, now, now), carol, now, StageLeft},
		{"two of three leave", true, both(leaves(carol, now, now), leaves(bob, now, now)), alice, now, StageTerminated},
		{"one of three suspends", true, pauses(carol, now, 0), alice, now, StageInForce},
		{"for who suspends it is suspended", true, pauses(carol, now, 0), carol, now, StageSuspended},
		{"two of three suspend", true, both(pauses(carol, now, 0), pauses(bob, now, 0)), alice, now, StageSuspended},
		{"one of three leaves, another suspends", true, both(leaves(carol, now, now), pauses(bob, now, 0)), alice, now, StageSuspended},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := testLife(row.three, row.change)
			if got := l.Stage(row.self, row.at); got != row.want {
				t.Errorf("stage = %q, want %q", got, row.want)
			}
			if l.Complete() && (row.want == StageInForce) != l.InForce(row.at) && row.self != carol {
				t.Errorf("in force = %v at stage %q", l.InForce(row.at), row.want)
			}
		})
	}
}

func TestMay(t *testing.T) {
	const day = dayMillis
	complete := func(*Life) {}
	over := leaves(bob, now, now)
	for _, row := range []struct {
		name   string
		act    Act
		change func(*Life)
		self   protocol.OrgID
		at     uint64
		ok     bool
	}{
		{"countersign a proposal", ActCountersign, signedBy(bob), alice, now, true},
		{"countersign what was rejected", ActCountersign, both(signedBy(bob), func(l *Life) { l.Rejected = true }), alice, now, false},
		{"countersign what was terminated", ActCountersign, both(signedBy(bob), over), alice, now, false},
		{"countersign what somebody means to leave", ActCountersign, both(signedBy(bob), leaves(bob, now, now+day)), alice, now, false},
		{"countersign too late", ActCountersign, signedBy(bob), alice, ends, false},
		{"countersign another's", ActCountersign, signedBy(bob), mallory, now, false},
		{"reject a proposal", ActReject, signedBy(bob), alice, now, true},
		{"reject one's own", ActReject, signedBy(alice), alice, now, true},
		{"reject what all signed", ActReject, complete, alice, now, false},
		{"amend", ActAmend, complete, alice, now, true},
		{"amend before it begins", ActAmend, complete, alice, begins - 1, true},
		{"renew what has expired", ActAmend, complete, alice, ends, true},
		{"amend a proposal", ActAmend, signedBy(alice), alice, now, false},
		{"amend what was amended", ActAmend, func(l *Life) { l.Superseded = now }, alice, now, false},
		{"amend what was terminated", ActAmend, over, alice, now, false},
		{"amend under notice", ActAmend, leaves(bob, now, now+day), alice, now, false},
		{"amend what is suspended", ActAmend, pauses(bob, now, 0), alice, now, true},
		{"terminate what was amended", ActTerminate, func(l *Life) { l.Superseded = now }, alice, now, false},
		{"suspend what was renewed", ActSuspend, func(l *Life) { l.Superseded, l.Renewal = now, true }, alice, now, false},
		{"suspend", ActSuspend, complete, alice, now, true},
		{"suspend before it begins", ActSuspend, complete, alice, begins - 1, true},
		{"suspend what the other suspended", ActSuspend, pauses(bob, now, 0), alice, now, true},
		{"suspend again after resuming", ActSuspend, pauses(alice, now, now+1), alice, now + 2, true},
		{"suspend twice", ActSuspend, pauses(alice, now, 0), alice, now, false},
		{"suspend a proposal", ActSuspend, signedBy(bob), alice, now, false},
		{"suspend what is over", ActSuspend, complete, alice, ends, false},
		{"suspend what was terminated", ActSuspend, over, alice, now, false},
		{"suspend under notice", ActSuspend, leaves(bob, now, now+day), alice, now, true},
		{"resume", ActResume, pauses(alice, now, 0), alice, now, true},
		{"resume the other's", ActResume, pauses(bob, now, 0), alice, now, false},
		{"resume twice", ActResume, pauses(alice, now, now+1), alice, now + 1, false},
		{"resume what was terminated", ActResume, both(pauses(alice, now, 0), over), alice, now, false},
		{"terminate", ActTerminate, complete, alice, now, true},
		{"terminate before it begins", ActTerminate, complete, alice, begins - 1, true},
		{"terminate what one signed alone", ActTerminate, signedBy(alice), alice, now, true},
		{"terminate what is suspended", ActTerminate, pauses(bob, now, 0), alice, now, true},
		{"terminate after notice", ActTerminate, leaves(alice, now, now+day), alice, now, true},
		{"terminate twice", ActTerminate, over, alice, now, false},
		{"terminate what is over", ActTerminate, complete, alice, ends, false},
		{"give notice", ActNotice, complete, alice, now, true},
		{"give notice twice", ActNotice, leaves(alice, now, now+day), alice, now, false},
		{"give notice where the other did", ActNotice, leaves(bob, now, now+day), alice, now, true},
		{"give notice of a proposal", ActNotice, signedBy(alice), alice, now, false},
		{"give notice of what is over", ActNotice, complete, alice, ends, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := testLife(false, row.change)
			if err := l.May(row.act, row.self, row.at); (err == nil) != row.ok {
				t.Errorf("%s: %v", row.act, err)
			}
		})
	}
}

// To end what all signed, at once, is always possible, whatever else was said about it.
func TestTerminatingIsAlwaysPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &Life{Agreement: drawAgreement(t, 1)}
		l.Signed = l.Doc.Parties
		at := drawTime(t)
		for _, p := range l.Doc.Parties {
			stage := l.Stage(p, at)
			over := stage == StageTerminated || stage == StageLeft || stage == StageExpired || stage == StageAmended
			if err := l.May(ActTerminate, p, at); (err == nil) == over {
				t.Fatalf("at stage %q: %v", stage, err)
			}
		}
	})
}

func TestNoticeAndBreach(t *testing.T) {
	l := testLife(false, func(l *Life) { l.Doc.NoticeDays = 30 })
	for _, row := range []struct {
		name     string
		made, at uint64
		want     bool
	}{
		{"at once", now, now, true},
		{"a day short", now, now + 29*dayMillis, true},
		{"as agreed", now, now + 30*dayMillis, false},
		{"with the end of the agreement", ends - dayMillis, ends, false},
	} {
		if got := l.Breach(End{Org: bob, Made: row.made, At: row.at}); got != row.want {
			t.Errorf("%s: breach = %v, want %v", row.name, got, row.want)
		}
	}
	l.Doc.NoticeDays = 0
	if l.Breach(End{Org: bob, Made: now, At: now}) {
		t.Error("a breach where no notice is agreed")
	}
}

func TestWarning(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Life)
		at     uint64
		days   uint64
	}{
		{"long before", nil, ends - 31*dayMillis, 0},
		{"a month before", nil, ends - 30*dayMillis, 30},
		{"a week before", nil, ends - 7*dayMillis, 7},
		{"a day before", nil, ends - dayMillis, 1},
		{"over", nil, ends, 0},
		{"notice given", leaves(bob, now, now+5*dayMillis), now, 7},
		{"another takes its place", func(l *Life) { l.Superseded = ends - 1 }, ends - dayMillis, 0},
		{"not signed by all", signedBy(bob), ends - dayMillis, 0},
	} {
		l := testLife(false, row.change)
		text, days := l.Warning(alice, row.at)
		if days != row.days || (text == "") != (days == 0) {
			t.Errorf("%s: %q, %d days, want %d", row.name, text, days, row.days)
		}
	}
}

// Who left or suspended an agreement neither gives nor receives; the others are not touched.
func TestLeavingOfThree(t *testing.T) {
	a := testAgreement(1, wideTerm(alice, bob), wideTerm(alice, carol), wideTerm(carol, alice))
	for _, change := range []func(*Agreement){
		func(a *Agreement) { a.Ends = []End{{Org: carol, Made: now, At: now}} },
		func(a *Agreement) { a.Pauses = []Pause{{Org: carol, From: now}} },
	} {
		b := a
		change(&b)
		s := testState(b)
		if got := audience(s, openSubject(), now); len(got) != 1 || got[0] != bob {
			t.Errorf("audience = %v", got)
		}
		subj := openSubject()
		subj.Originator, subj.Publisher = carol, carol
		if d := Ingress(s, carol, subj, now); d.Allow {
			t.Error("what comes from who left is taken")
		}
		if d := Ingress(s, carol, subj, now-1); !d.Allow {
			t.Error("what was sealed before is refused: " + d.Text)
		}
		if d := Decide(s, alice, bob, openSubject(), now); d.ValidUntil != ends {
			t.Errorf("valid until %d", d.ValidUntil)
		}
	}
}

func TestChangesOfPauses(t *testing.T) {
	a := testAgreement(1, wideTerm(alice, bob))
	a.Pauses = []Pause{{Org: bob, From: now + 5, Until: now + 9}}
	for _, row := range []struct{ at, want uint64 }{{now, now + 5}, {now + 5, now + 9}, {now + 9, ends}, {ends, math.MaxUint64}} {
		d := Decide(testState(a), alice, bob, openSubject(), row.at)
		if d.ValidUntil != row.want {
			t.Errorf("at %d valid until %d, want %d", row.at, d.ValidUntil, row.want)
		}
		if want := row.at == now+5; (d.Reason == ReasonNotInForce) != (want || row.at == ends) {
			t.Errorf("at %d: %s", row.at, d.Text)
		}
	}
}
