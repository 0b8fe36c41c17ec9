package policy

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// naive decides again, sentence by sentence of DESIGN part 8, without index, order, ranking
// or texts. It shares nothing with Decide but the types, and says only yes or no.
func naive(s *State, from, to protocol.OrgID, r *Subject, at uint64) bool {
	// Who made a record, and who holds it, have it.
	if from == to || r.Originator == to {
		return true
	}
	// "no TLP, then publishing is refused"
	if !(r.Handling.TLP >= protocol.TLPClear && r.Handling.TLP <= protocol.TLPRed) {
		return false
	}
	// "excluded organisations"
	for _, x := range r.Handling.Excluded {
		if x == to {
			return false
		}
	}
	// "RED needs named recipients"; names limit whatever the label.
	named := false
	for _, n := range r.Handling.Named {
		named = named || n == to
	}
	if !named && (r.Handling.TLP == protocol.TLPRed || len(r.Handling.Named) > 0) {
		return false
	}
	// Members with a fresh card only; oneself need not look oneself up.
	if to != s.Self {
		org, ok := s.Orgs[to]
		if !ok || !org.Rostered || !org.CardFresh {
			return false
		}
	}
	// Default deny: one term of one agreement in force.
	for _, a := range s.Agreements {
		if at < a.Doc.NotBefore || at >= a.Doc.NotAfter || a.Superseded != 0 && at >= a.Superseded {
			continue
		}
		// Who left or suspended it neither gives nor receives under it.
		out := false
		for _, e := range a.Ends {
			out = out || e.At <= at && (e.Org == from || e.Org == to)
		}
		for _, p := range a.Pauses {
			over := p.Until != 0 && at >= p.Until
			out = out || p.From <= at && !over && (p.Org == from || p.Org == to)
		}
		if out {
			continue
		}
		for _, t := range a.Doc.Terms {
			if t.From == from && t.To == to && naiveTerm(&t, r) {
				return true
			}
		}
	}
	return false
}

// naiveTerm says whether a record is within every limit of a term.
func naiveTerm(t *protocol.Term, r *Subject) bool {
	h := &r.Handling
	listed := func(list []string, s string) bool {
		for _, l := range list {
			if l == s || l == "*" && len(list) == 1 {
				return true
			}
		}
		return false
	}
	anyListed := func(list, of []string) bool {
		for _, s := range of {
			if listed(list, s) {
				return true
			}
		}
		return false
	}
	topic := listed(t.Topics, r.Topic)
	kind := listed(t.Kinds, r.Kind)
	tlp := h.TLP <= t.TLP
	pap := t.PAP == protocol.PAPUnset || h.PAP <= t.PAP
	// "no country, then only parties with the worldwide term"
	country := listed(t.Countries, "no country has this name") || anyListed(t.Countries, h.Countries)
	// "personal data undetermined, then treated as present"
	var personal bool
	switch h.Personal {
	case protocol.PersonalNone:
		personal = t.Personal != protocol.PersonalUndetermined
	case protocol.PersonalNetwork:
		personal = t.Personal == protocol.PersonalNetwork || t.Personal == protocol.PersonalAll
	default:
		personal = t.Personal == protocol.PersonalAll
	}
	purpose := len(t.Purposes) == 0 || len(h.Purposes) == 0
	for _, p := range h.Purposes {
		for _, q := range t.Purposes {
			purpose = purpose || p == q
		}
	}
	sure := r.Confidence >= t.Confidence
	return topic && kind && tlp && pap && country && personal && purpose && sure
}

func TestDecideEqualsTheProse(t *testing.T) {
	var yes, no int
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		for i := range len(cast) * len(cast) {
			from, to := cast[i/len(cast)], cast[i%len(cast)]
			d := Decide(s, from, to, subj, at)
			if want := naive(s, from, to, subj, at); d.Allow != want {
				t.Fatalf("%s to %s: allow = %v (%s: %s), want %v", orgName(from), orgName(to), d.Allow, d.Reason, d.Text, want)
			}
			if d.Allow && d.Reason == ReasonOK {
				yes++
			} else if d.Reason != ReasonNoAgreement && d.Reason != ReasonOwn {
				no++
			}
		}
	})
	// A differential test that never agrees on a yes shows nothing.
	if yes == 0 || no == 0 {
		t.Errorf("%d allowed and %d refused were compared", yes, no)
	}
}

// The audience is what Decide allows, of everybody.
func TestAudienceEqualsTheProse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, subj, at := drawState(t), drawSubject(t), drawTime(t)
		in := map[protocol.OrgID]bool{}
		for _, o := range audience(s, subj, at) {
			in[o] = true
		}
		for _, o := range cast {
			if o == s.Self || o == subj.Originator {
				continue
			}
			if want := naive(s, s.Self, o, subj, at); in[o] != want {
				t.Fatalf("%s in audience = %v, want %v", orgName(o), in[o], want)
			}
		}
	})
}
