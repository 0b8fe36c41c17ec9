package policy

import (
	"math"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// decideRow is one decision of Decide: alice's state, alice to bob, an open record, and one
// wide term between them, but for what the row changes.
type decideRow struct {
	name   string
	term   func(*protocol.Term)
	agreed func(*Agreement)
	record func(*Subject)
	orgs   func(map[protocol.OrgID]Org)
	none   bool // no agreement at all
	local  Local
	to     protocol.OrgID
	at     uint64
	want   Reason
}

func (r *decideRow) decide() Decision {
	s, to, subj, at := r.inputs()
	return Decide(s, alice, to, subj, at)
}

func (r *decideRow) inputs() (*State, protocol.OrgID, *Subject, uint64) {
	term, subj, orgs, to, at := wideTerm(alice, bob), openSubject(), testOrgs(), bob, now
	if r.term != nil {
		r.term(&term)
	}
	if r.record != nil {
		r.record(subj)
	}
	if r.orgs != nil {
		r.orgs(orgs)
	}
	if !r.to.IsZero() {
		to = r.to
	}
	if r.at != 0 {
		at = r.at
	}
	a := testAgreement(1, term)
	if r.agreed != nil {
		r.agreed(&a)
	}
	agreements := []Agreement{a}
	if r.none {
		agreements = nil
	}
	return NewState(alice, 1, orgs, agreements).WithLocal(r.local), to, subj, at
}

func orgChange(o protocol.OrgID, change func(*Org)) func(map[protocol.OrgID]Org) {
	return func(m map[protocol.OrgID]Org) { org := m[o]; change(&org); m[o] = org }
}

func handling(change func(*protocol.Handling)) func(*Subject) {
	return func(s *Subject) { change(&s.Handling) }
}

var decideRows = []decideRow{
	{name: "within a wide term", want: ReasonOK},
	{name: "no agreement", none: true, want: ReasonNoAgreement},
	{name: "the agreement has the other direction only", term: func(t *protocol.Term) { t.From, t.To = bob, alice }, want: ReasonNoAgreement},
	{name: "the agreement is with another", to: carol, want: ReasonNoAgreement},
	{name: "to oneself", to: alice, want: ReasonOwn},
	{name: "a local rule forbids it", local: noActs(map[LocalAct]bool{ActShare: true}, map[protocol.OrgID]bool{bob: true}, ends), want: ReasonLocalRule},
	{name: "a local rule about another forbids nothing", local: noActs(map[LocalAct]bool{ActShare: true}, map[protocol.OrgID]bool{carol: true}, ends), want: ReasonOK},
	{name: "to oneself, made by another", to: alice, record: func(s *Subject) { s.Originator = bob }, want: ReasonOwn},
	{name: "to its originator", record: func(s *Subject) { s.Originator = bob }, want: ReasonOwn},

	// Membership.
	{name: "unknown organisation", orgs: func(m map[protocol.OrgID]Org) { delete(m, bob) }, want: ReasonNotMember},
	{name: "not on the roster", orgs: orgChange(bob, func(o *Org) { o.Rostered = false }), want: ReasonNotMember},
	{name: "stale card", orgs: orgChange(bob, func(o *Org) { o.CardFresh = false }), want: ReasonStaleCard},

	// What the originator says of organisations.
	{name: "no TLP", record: handling(func(h *protocol.Handling) { h.TLP = protocol.TLPUnset }), want: ReasonNoTLP},
	{name: "TLP out of range", record: handling(func(h *protocol.Handling) { h.TLP = protocol.TLPRed + 1 }), want: ReasonNoTLP},
	{name: "excluded", record: handling(func(h *protocol.Handling) { h.Excluded = []protocol.OrgID{bob} }), want: ReasonExcluded},
	{name: "another is excluded", record: handling(func(h *protocol.Handling) { h.Excluded = []protocol.OrgID{carol} }), want: ReasonOK},
	{name: "excluded wins over named", record: handling(func(h *protocol.Handling) { h.Excluded, h.Named = []protocol.OrgID{bob}, []protocol.OrgID{bob} }), want: ReasonExcluded},
	{name: "named", record: handling(func(h *protocol.Handling) { h.Named = []protocol.OrgID{bob} }), want: ReasonOK},
	{name: "another is named", record: handling(func(h *protocol.Handling) { h.Named = []protocol.OrgID{carol} }), want: ReasonNotNamed},
	{name: "named without an agreement", none: true, record: handling(func(h *protocol.Handling) { h.Named = []protocol.OrgID{bob} }), want: ReasonNoAgreement},
	{name: "RED without names", record: handling(func(h *protocol.Handling) { h.TLP = protocol.TLPRed }), want: ReasonRedUnnamed},
	{name: "RED named", record: handling(func(h *protocol.Handling) { h.TLP, h.Named = protocol.TLPRed, []protocol.OrgID{bob} }), want: ReasonOK},
	{name: "RED, another is named", record: handling(func(h *protocol.Handling) { h.TLP, h.Named = protocol.TLPRed, []protocol.OrgID{carol} }), want: ReasonNotNamed},
	{name: "RED named above the ceiling", term: func(t *protocol.Term) { t.TLP = protocol.TLPAmberStrict },
		record: handling(func(h *protocol.Handling) { h.TLP, h.Named = protocol.TLPRed, []protocol.OrgID{bob} }), want: ReasonTLP},

	// Topic and kind.
	{name: "topic listed", term: func(t *protocol.Term) { t.Topics = []string{"c2", "malware"} }, want: ReasonOK},
	{name: "topic not listed", term: func(t *protocol.Term) { t.Topics = []string{"malware"} }, want: ReasonTopic},
	{name: "no topics", term: func(t *protocol.Term) { t.Topics = nil }, want: ReasonTopic},
	{name: "kind listed", term: func(t *protocol.Term) { t.Kinds = []string{"indicator", "malware"} }, want: ReasonOK},
	{name: "kind not listed", term: func(t *protocol.Term) { t.Kinds = []string{"malware"} }, want: ReasonKind},
	{name: "no kinds", term: func(t *protocol.Term) { t.Kinds = nil }, want: ReasonKind},

	// Ceilings.
	{name: "no TLP ceiling", term: func(t *protocol.Term) { t.TLP = protocol.TLPUnset }, want: ReasonTLP},
	{name: "PAP at the ceiling", term: func(t *protocol.Term) { t.PAP = protocol.PAPAmber },
		record: handling(func(h *protocol.Handling) { h.PAP = protocol.PAPAmber }), want: ReasonOK},
	{name: "PAP above the ceiling", term: func(t *protocol.Term) { t.PAP = protocol.PAPGreen },
		record: handling(func(h *protocol.Handling) { h.PAP = protocol.PAPAmber }), want: ReasonPAP},
	{name: "no PAP ceiling", record: handling(func(h *protocol.Handling) { h.PAP = protocol.PAPRed }), want: ReasonOK},
	{name: "no PAP label", term: func(t *protocol.Term) { t.PAP = protocol.PAPClear }, want: ReasonOK},

	// Countries.
	{name: "no country, worldwide term", want: ReasonOK},
	{name: "no country, country term", term: countryTerm("TH"), want: ReasonCountry},
	{name: "country, worldwide term", record: countryRecord("TH"), want: ReasonOK},
	{name: "country within the term", term: countryTerm("TH", "VN"), record: countryRecord("TH"), want: ReasonOK},
	{name: "one country of two within the term", term: countryTerm("TH"), record: countryRecord("SG", "TH"), want: ReasonOK},
	{name: "another country", term: countryTerm("TH"), record: countryRecord("VN"), want: ReasonCountry},
	{name: "no countries in the term", term: countryTerm(), record: countryRecord("VN"), want: ReasonCountry},

	// Personal data: undetermined counts as all.
	{name: "undetermined, all", want: ReasonOK},
	{name: "undetermined, network", term: personalTerm(protocol.PersonalNetwork), want: ReasonPersonalData},
	{name: "undetermined, none", term: personalTerm(protocol.PersonalNone), want: ReasonPersonalData},
	{name: "none, none", term: personalTerm(protocol.PersonalNone), record: personalRecord(protocol.PersonalNone), want: ReasonOK},
	{name: "network, none", term: personalTerm(protocol.PersonalNone), record: personalRecord(protocol.PersonalNetwork), want: ReasonPersonalData},
	{name: "network, network", term: personalTerm(protocol.PersonalNetwork), record: personalRecord(protocol.PersonalNetwork), want: ReasonOK},
	{name: "all, network", term: personalTerm(protocol.PersonalNetwork), record: personalRecord(protocol.PersonalAll), want: ReasonPersonalData},
	{name: "a term that does not say lets nothing through", term: personalTerm(protocol.PersonalUndetermined), record: personalRecord(protocol.PersonalNone), want: ReasonPersonalData},

	// Purposes: a side that names none does not restrict.
	{name: "purposes in the record only", record: purposeRecord("block"), want: ReasonOK},
	{name: "purposes in the term only", term: purposeTerm("block"), want: ReasonOK},
	{name: "a purpose in common", term: purposeTerm("block", "prosecute"), record: purposeRecord("block", "research"), want: ReasonOK},
	{name: "no purpose in common", term: purposeTerm("prosecute"), record: purposeRecord("block", "research"), want: ReasonPurpose},

	// Time: from not_before on, until but not at not_after.
	{name: "confidence too low", term: func(t *protocol.Term) { t.Confidence = 50 }, record: func(s *Subject) { s.Confidence = 49 }, want: ReasonConfidence},
	{name: "no confidence stated", term: func(t *protocol.Term) { t.Confidence = 1 }, want: ReasonConfidence},
	{name: "confidence enough", term: func(t *protocol.Term) { t.Confidence = 50 }, record: func(s *Subject) { s.Confidence = 50 }, want: ReasonOK},
	{name: "no confidence wanted, none stated", want: ReasonOK},
	{name: "a member may not hold", term: func(t *protocol.Term) { t.Holders.Orgs = []protocol.OrgID{dave} }, want: ReasonOK},
	{name: "all members may hold, by country", term: func(t *protocol.Term) { t.Holders.Countries = []string{"TH"} }, want: ReasonOK},
	{name: "all members may hold, by name", term: func(t *protocol.Term) { t.Holders.Orgs = sortedOrgs([]protocol.OrgID{carol, dave, mallory}) }, want: ReasonOK},
	{name: "before it begins", at: begins - 1, want: ReasonNotInForce},
	{name: "when it begins", at: begins, want: ReasonOK},
	{name: "just before it ends", at: ends - 1, want: ReasonOK},
	{name: "when it ends", at: ends, want: ReasonNotInForce},
	{name: "before the termination", agreed: terminated(now + 1), want: ReasonOK},
	{name: "at the termination", agreed: terminated(now), want: ReasonNotInForce},
	{name: "after the termination", agreed: terminated(now - 1), want: ReasonNotInForce},
	{name: "a termination after the end prolongs nothing", agreed: terminated(ends + 1000), at: ends, want: ReasonNotInForce},
}

func countryTerm(c ...string) func(*protocol.Term) {
	return func(t *protocol.Term) { t.Countries = c }
}
func countryRecord(c ...string) func(*Subject) {
	return handling(func(h *protocol.Handling) { h.Countries = c })
}
func personalTerm(p protocol.PersonalData) func(*protocol.Term) {
	return func(t *protocol.Term) { t.Personal = p }
}
func personalRecord(p protocol.PersonalData) func(*Subject) {
	return handling(func(h *protocol.Handling) { h.Personal = p })
}
func purposeTerm(p ...string) func(*protocol.Term) {
	return func(t *protocol.Term) { t.Purposes = p }
}
func purposeRecord(p ...string) func(*Subject) {
	return handling(func(h *protocol.Handling) { h.Purposes = p })
}
func terminated(at uint64) func(*Agreement) { return func(a *Agreement) { a.Ends = endedAt(at) } }

func TestDecide(t *testing.T) {
	for _, row := range decideRows {
		t.Run(row.name, func(t *testing.T) {
			d := row.decide()
			wantReason(t, d, row.want)
			byTerm := d.Reason == ReasonOK || d.Reason == ReasonNotInForce || d.Reason == ReasonLocalRule || len(d.Text) > 4 && d.Text[:5] == "term "
			if names := d.Term == 1 && d.Agreement == testAgreementID(1); names != byTerm {
				t.Errorf("names term %d of %s for %q (%s)", d.Term, d.Agreement.Short(), d.Reason, d.Text)
			}
		})
	}
}

func TestDecideTLPAgainstEveryCeiling(t *testing.T) {
	for label := protocol.TLPClear; label <= protocol.TLPRed; label++ {
		for ceiling := protocol.TLPClear; ceiling <= protocol.TLPRed; ceiling++ {
			t.Run(label.String()+" under "+ceiling.String(), func(t *testing.T) {
				row := decideRow{term: func(tm *protocol.Term) { tm.TLP = ceiling },
					record: handling(func(h *protocol.Handling) { h.TLP, h.Named = label, []protocol.OrgID{bob} })}
				want := ReasonOK
				if label > ceiling {
					want = ReasonTLP
				}
				wantReason(t, row.decide(), want)
			})
		}
	}
}

func TestDecideNoneOfSeveralReachesRedUnnamed(t *testing.T) {
	s := testState(testAgreement(1, wideTerm(alice, bob), wideTerm(alice, carol)))
	subj := openSubject()
	subj.Handling.TLP = protocol.TLPRed
	if got := audience(s, subj, now); len(got) != 0 {
		t.Errorf("audience of unnamed RED = %v, want nobody", got)
	}
}

func TestDecideValidUntil(t *testing.T) {
	soon := testAgreement(2, wideTerm(alice, bob))
	soon.Doc.NotBefore, soon.Doc.NotAfter = now+1000, now+5000
	stopped := testAgreement(3, wideTerm(alice, bob))
	stopped.Ends = endedAt(now + 3000)
	long := testAgreement(1, wideTerm(alice, bob))
	for _, row := range []struct {
		name       string
		agreements []Agreement
		at, want   uint64
	}{
		{"nothing agreed", nil, now, math.MaxUint64},
		{"until it begins", []Agreement{long}, begins - 5, begins},
		{"until it ends", []Agreement{long}, now, ends},
		{"all over", []Agreement{long}, ends, math.MaxUint64},
		{"until another begins", []Agreement{long, soon}, now, now + 1000},
		{"until another ends", []Agreement{long, soon}, now + 1000, now + 5000},
		{"until the termination", []Agreement{stopped, long}, now, now + 3000},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := Decide(testState(row.agreements...), alice, bob, openSubject(), row.at)
			if d.ValidUntil != row.want {
				t.Errorf("valid until %d, want %d", d.ValidUntil, row.want)
			}
		})
	}
}
