package policy

import (
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// onwardRow is a decision of bob about a record that alice made and published: may it go on
// to carol? Alice agreed with bob, bob with carol; alice's rule is partners, and so is the
// term's, but for what the row changes.
type onwardRow struct {
	name   string
	record func(*Subject)
	came   func(*protocol.Term) // alice to bob
	goes   func(*protocol.Term) // bob to carol
	agreed func(*Agreement)     // alice and bob's
	to     protocol.OrgID
	at     uint64
	want   Reason
}

func (r *onwardRow) decide() Decision {
	s, to, subj, at := r.inputs()
	return DecideOnward(s, to, subj, at)
}

func (r *onwardRow) inputs() (*State, protocol.OrgID, *Subject, uint64) {
	subj, came, goes, to, at := openSubject(), wideTerm(alice, bob), wideTerm(bob, carol), carol, now
	subj.Handling.Onward.Rule = protocol.OnwardPartners
	came.Onward.Rule = protocol.OnwardPartners
	if r.record != nil {
		r.record(subj)
	}
	if r.came != nil {
		r.came(&came)
	}
	if r.goes != nil {
		r.goes(&goes)
	}
	a := testAgreement(1, came)
	if r.agreed != nil {
		r.agreed(&a)
	}
	if !r.to.IsZero() {
		to = r.to
	}
	if r.at != 0 {
		at = r.at
	}
	return NewState(bob, 1, testOrgs(), []Agreement{a, testAgreement(2, goes)}), to, subj, at
}

func onwardRule(o protocol.Onward) func(*Subject) {
	return handling(func(h *protocol.Handling) { h.Onward = o })
}

func onwardTerm(o protocol.Onward) func(*protocol.Term) {
	return func(t *protocol.Term) { t.Onward = o }
}

var (
	toNobody  = protocol.Onward{}
	toCarol   = protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{carol}}
	toMallory = protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{mallory}}
	toCERTs   = protocol.Onward{Rule: protocol.OnwardKinds, Kinds: []protocol.OrgKind{protocol.KindCERT}}
	toVendors = protocol.Onward{Rule: protocol.OnwardKinds, Kinds: []protocol.OrgKind{protocol.KindVendor}}
	upToClear = protocol.Onward{Rule: protocol.OnwardPartners, Ceiling: protocol.TLPClear}
	upToGreen = protocol.Onward{Rule: protocol.OnwardPartners, Ceiling: protocol.TLPGreen}
)

// passedOn is a record of dave's that its publisher, alice, passed on.
func passedOn(o protocol.Onward) func(*Subject) {
	return both2(by(alice), onwardRule(o))
}

// by is a record of dave's that went a way, and that its word lets go to partners.
func by(path ...protocol.OrgID) func(*Subject) {
	return func(s *Subject) { s.Originator, s.Path, s.Handling.Onward.Rule = dave, path, protocol.OnwardPartners }
}

func both2(a, b func(*Subject)) func(*Subject) { return func(s *Subject) { a(s); b(s) } }

var onwardRows = []onwardRow{
	{name: "partners", want: ReasonOK},
	{name: "originator: no rule means nobody", record: onwardRule(toNobody), want: ReasonOnward},
	{name: "originator: named", record: onwardRule(toCarol), want: ReasonOK},
	{name: "originator: another named", record: onwardRule(toMallory), want: ReasonOnward},
	{name: "originator: its kind", record: onwardRule(toCERTs), want: ReasonOK},
	{name: "originator: another kind", record: onwardRule(toVendors), want: ReasonOnward},
	{name: "originator: at its ceiling", record: onwardRule(upToGreen), want: ReasonOK},
	{name: "originator: above its ceiling", record: onwardRule(upToClear), want: ReasonOnward},
	{name: "originator: a rule that is not known", record: onwardRule(protocol.Onward{Rule: 99}), want: ReasonOnward},
	{name: "term: nobody", came: onwardTerm(toNobody), want: ReasonOnward},
	{name: "term: named", came: onwardTerm(toCarol), want: ReasonOK},
	{name: "term: another kind", came: onwardTerm(toVendors), want: ReasonOnward},
	{name: "term: above its ceiling", came: onwardTerm(upToClear), want: ReasonOnward},
	{name: "term: it may not hold", came: func(t *protocol.Term) { t.Onward, t.Holders.Countries = toCarol, []string{"VN"} }, want: ReasonHolders},
	{name: "term: it may hold", came: func(t *protocol.Term) { t.Onward, t.Holders.Countries = toCarol, []string{"TH"} }, want: ReasonOK},
	{name: "no agreement of one's own", to: dave, want: ReasonNoAgreement},
	{name: "above the ceiling of one's own term", goes: func(t *protocol.Term) { t.TLP = protocol.TLPClear }, want: ReasonTLP},
	{name: "excluded by the originator", record: handling(func(h *protocol.Handling) { h.Excluded = []protocol.OrgID{carol} }), want: ReasonExcluded},
	{name: "named recipients, and it is none", record: handling(func(h *protocol.Handling) { h.Named = []protocol.OrgID{bob} }), want: ReasonNotNamed},
	{name: "to its originator", to: alice, want: ReasonOwn},

	// The term under which it came binds also after its agreement has ended.
	{name: "came under an agreement that ended, term: partners", agreed: terminated(now + 1000), at: now + 2000, want: ReasonOK},
	{name: "came under an agreement that ended, term: nobody", came: onwardTerm(toNobody), agreed: terminated(now + 1000), at: now + 2000, want: ReasonOnward},
	{name: "came when the agreement had ended", agreed: terminated(now - 1), want: ReasonOnward},
	{name: "came against the term", came: func(t *protocol.Term) { t.Topics = []string{"malware"} }, want: ReasonOnward},
	{name: "time of coming is not known, agreement ended", record: func(s *Subject) { s.RecordedAt = 0 }, agreed: terminated(now - 1), want: ReasonOnward},
	{name: "time of coming is not known, agreement in force", record: func(s *Subject) { s.RecordedAt = 0 }, want: ReasonOK},
}

func TestDecideOnward(t *testing.T) {
	for _, row := range onwardRows {
		t.Run(row.name, func(t *testing.T) { wantReason(t, row.decide(), row.want) })
	}
}

func TestDecideOnwardOfOnesOwn(t *testing.T) {
	s := testState(testAgreement(1, wideTerm(alice, bob)))
	wantReason(t, DecideOnward(s, bob, openSubject(), now), ReasonOK)
	wantReason(t, DecideOnward(s, carol, openSubject(), now), ReasonNoAgreement)
}

// A record that two terms cover came under both: one that lets it be passed on is enough,
// whichever of them keeps it longer.
func TestDecideOnwardUnderAnyTermItCameUnder(t *testing.T) {
	for _, days := range [][2]uint32{{30, 60}, {60, 30}, {0, 30}, {30, 0}, {30, 30}} {
		silent, open := wideTerm(alice, bob), wideTerm(alice, bob)
		silent.RetentionDays, open.RetentionDays = days[0], days[1]
		open.Onward.Rule = protocol.OnwardPartners
		s := NewState(bob, 1, testOrgs(), []Agreement{testAgreement(1, silent), testAgreement(2, open), testAgreement(3, wideTerm(bob, carol))})
		subj := openSubject()
		subj.Handling.Onward.Rule = protocol.OnwardPartners
		t.Logf("retention %v", days)
		wantReason(t, DecideOnward(s, carol, subj, now), ReasonOK)
	}
}

// Where the time of coming is not known, the end of the agreement under which the record came
// changes the decision too.
func TestDecideOnwardValidUntil(t *testing.T) {
	came, goes := wideTerm(alice, bob), wideTerm(bob, carol)
	came.Onward.Rule = protocol.OnwardPartners
	a := testAgreement(1, came)
	a.Ends = endedAt(now + 1000)
	s := NewState(bob, 1, testOrgs(), []Agreement{a, testAgreement(2, goes)})
	subj := openSubject()
	subj.Handling.Onward.Rule = protocol.OnwardPartners
	for _, row := range []struct{ recordedAt, at, want uint64 }{
		{0, now, now + 1000},
		{now, now, ends},
		{now, now + 2000, ends},
	} {
		subj.RecordedAt = row.recordedAt
		d := DecideOnward(s, carol, subj, row.at)
		wantReason(t, d, ReasonOK)
		if d.ValidUntil != row.want {
			t.Errorf("came at %d: valid until %d, want %d", row.recordedAt, d.ValidUntil, row.want)
		}
	}
}

func TestIngress(t *testing.T) {
	a := testAgreement(1, wideTerm(alice, bob))
	a.Ends = endedAt(now)
	state := NewState(bob, 1, testOrgs(), []Agreement{a})
	stale := testOrgs()
	stale[alice], stale[bob] = Org{ID: alice}, Org{ID: bob, Kind: protocol.KindPolice}
	for _, row := range []struct {
		name      string
		state     *State
		publisher protocol.OrgID
		record    func(*Subject)
		sealedAt  uint64
		want      Reason
	}{
		{"sealed while in force", state, alice, nil, now - 1, ReasonOK},
		{"sealed after the termination", state, alice, nil, now, ReasonNotInForce},
		{"sealed before the beginning", state, alice, nil, begins - 1, ReasonNotInForce},
		{"by another publisher", state, mallory, func(s *Subject) { s.Originator = mallory }, now - 1, ReasonNoAgreement},
		{"one's own feed", state, bob, nil, now, ReasonOwn},
		{"one's own record comes back", state, alice, func(s *Subject) { s.Originator = bob }, now, ReasonOwn},
		{"excluded, and sent all the same", state, alice, handling(func(h *protocol.Handling) { h.Excluded = []protocol.OrgID{bob} }), now - 1, ReasonExcluded},
		{"RED for another", state, alice, handling(func(h *protocol.Handling) { h.TLP, h.Named = protocol.TLPRed, []protocol.OrgID{carol} }), now - 1, ReasonNotNamed},
		{"own card and membership do not matter", NewState(bob, 1, stale, []Agreement{a}), alice, nil, now - 1, ReasonOK},
		{"passed on by rule", state, alice, passedOn(protocol.Onward{Rule: protocol.OnwardPartners}), now - 1, ReasonOK},
		{"passed on by rule to this kind", state, alice, passedOn(protocol.Onward{Rule: protocol.OnwardKinds, Kinds: []protocol.OrgKind{protocol.KindPolice}}), now - 1, ReasonOK},
		{"passed on against the rule", state, alice, passedOn(toNobody), now - 1, ReasonOnward},
		{"passed on to another kind", state, alice, passedOn(toVendors), now - 1, ReasonOnward},
		{"passed on without a word", state, alice, func(s *Subject) { s.Originator, s.Handling.Onward.Rule = dave, protocol.OnwardPartners }, now - 1, ReasonProvenance},
		{"passed on by another than its publisher", state, alice, by(carol), now - 1, ReasonProvenance},
		{"passed on by another, then by its publisher", state, alice, by(carol, alice), now - 1, ReasonOK},
		{"by way of who was excluded", state, alice, both2(by(carol, alice), handling(func(h *protocol.Handling) { h.Excluded = []protocol.OrgID{carol} })), now - 1, ReasonProvenance},
		{"by way of who was not admitted", state, alice, both2(by(carol, mallory, alice), onwardRule(protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{alice, bob}})), now - 1, ReasonProvenance},
		{"the first had it from the originator", state, alice, both2(by(mallory, alice), onwardRule(protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{alice, bob}})), now - 1, ReasonOK},
		{"above the ceiling on its way", state, alice, both2(by(carol, alice), onwardRule(upToClear)), now - 1, ReasonProvenance},
		{"its originator says that others passed it on", state, alice, func(s *Subject) { s.Path = []protocol.OrgID{carol, alice} }, now - 1, ReasonProvenance},
		{"passed on without an agreement", state, carol, passedOn(protocol.Onward{Rule: protocol.OnwardPartners}), now - 1, ReasonNoAgreement},
	} {
		t.Run(row.name, func(t *testing.T) {
			subj := openSubject()
			subj.Publisher = row.publisher
			if row.record != nil {
				row.record(subj)
			}
			if len(subj.Path) == 1 && row.publisher == carol {
				subj.Path = []protocol.OrgID{carol}
			}
			wantReason(t, Ingress(row.state, row.publisher, subj, row.sealedAt), row.want)
		})
	}
}

// What came under a term that wants approval is passed on after it; of several the easiest counts.
func TestOnwardApproval(t *testing.T) {
	hard, easy, goes := wideTerm(alice, bob), wideTerm(alice, bob), wideTerm(bob, carol)
	hard.Onward.Rule, hard.Approval = protocol.OnwardPartners, 2
	easy.Onward, easy.Approval = toCarol, 1
	subj := openSubject()
	subj.Handling.Onward.Rule = protocol.OnwardPartners
	for _, row := range []struct {
		terms []protocol.Term
		want  uint8
	}{{[]protocol.Term{hard}, 2}, {[]protocol.Term{hard, easy}, 1}, {[]protocol.Term{easy, hard}, 1}} {
		s := NewState(bob, 1, testOrgs(), []Agreement{testAgreement(1, row.terms...), testAgreement(2, goes)})
		if d := DecideOnward(s, carol, subj, now); !d.Allow || d.Approval != row.want {
			t.Errorf("%d terms: %v, %d must approve, want %d", len(row.terms), d.Allow, d.Approval, row.want)
		}
	}
}

// A hop never widens: what is passed on may be kept no longer than by who passes it on.
func TestOnwardRetention(t *testing.T) {
	came, goes := wideTerm(alice, bob), wideTerm(bob, carol)
	came.Onward.Rule = protocol.OnwardPartners
	subj := openSubject()
	subj.Handling.Onward.Rule = protocol.OnwardPartners
	for _, row := range []struct{ came, goes, record, after, want uint32 }{
		{0, 0, 0, 5, 0}, {30, 0, 0, 0, 30}, {30, 0, 0, 10, 20}, {30, 5, 0, 10, 5}, {30, 25, 0, 10, 20}, {0, 9, 0, 5, 9}, {30, 0, 7, 5, 2}, {0, 0, 7, 5, 2}, {3, 0, 0, 9, 1},
	} {
		came.RetentionDays, goes.RetentionDays, subj.Handling.RetentionDays = row.came, row.goes, row.record
		s := NewState(bob, 1, testOrgs(), []Agreement{testAgreement(1, came), testAgreement(2, goes)})
		if d := DecideOnward(s, carol, subj, now+uint64(row.after)*dayMillis); !d.Allow || d.Retention != row.want {
			t.Errorf("%+v: %v, %d days", row, d.Allow, d.Retention)
		}
	}
}
