package policy

import (
	"fmt"
	"math"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Ingress decides whether publisher may send a record here, by the agreement that was in
// force when it was sealed: a late arrival is judged as if it had come in time. A record of
// another originator comes by its rule, which must admit this organisation too.
func Ingress(s *State, publisher protocol.OrgID, subj *Subject, sealedAt uint64) Decision {
	if publisher == s.Self {
		return Decision{Allow: true, Reason: ReasonOwn, Text: "published by this organisation", ValidUntil: math.MaxUint64}
	}
	if subj.Originator != s.Self {
		if d, ok := s.byPath(publisher, subj); !ok {
			return d
		}
	}
	if subj.Originator != publisher && subj.Originator != s.Self {
		if d, ok := s.byOnwardRule(s.Self, subj); !ok {
			return d
		}
	}
	return Decide(s, publisher, s.Self, subj, sealedAt)
}

// DecideOnward decides whether a received record may be passed on to an organisation: the
// originator's rule must admit it, a term under which the record came must too, and a term
// of one's own with that organisation must cover it. The term is looked for at RecordedAt:
// the end of an agreement frees nothing that came under it. If RecordedAt is zero, not
// known, the term must be in force now.
func DecideOnward(s *State, to protocol.OrgID, subj *Subject, at uint64) Decision {
	if subj.Originator == s.Self {
		return Decide(s, s.Self, to, subj, at)
	}
	if d, ok := s.byOnwardRule(to, subj); !ok {
		return d
	}
	came := subj.RecordedAt
	if came == 0 {
		came = at
	}
	received, ok := s.byTermsReceived(to, subj, came)
	if subj.RecordedAt != 0 {
		received.ValidUntil = math.MaxUint64 // what it came under does not change
	}
	if !ok {
		return received
	}
	// What is passed on is shared, too: rules about either bind. Of the persons that the term and
	// a rule want, the larger number counts.
	on := *subj
	on.Bounds = received.Bounds
	own := Decide(s, s.Self, to, &on, at)
	own.Approval, own.ApprovalText = received.Approval, received.ApprovalText
	d := s.askLocal(own, ActPassOn, to, subj, at)
	d.ValidUntil = min(d.ValidUntil, received.ValidUntil)
	if !d.Allow {
		d.Approval, d.ApprovalRule, d.ApprovalText = 0, "", ""
	} else {
		d.Retention = left(d.Retention, received.Retention, came, at)
	}
	return d
}

// DecideWithheld decides whether a received record may be published here with its origin withheld from
// an organisation: only where it might be passed on, its originator lets whose it is be withheld, and
// no term under which it came wants it attributed.
func DecideWithheld(s *State, to protocol.OrgID, subj *Subject, at uint64) Decision {
	d := DecideOnward(s, to, subj, at)
	refuse := func(format string, args ...any) Decision {
		return Decision{Reason: ReasonOrigin, Text: fmt.Sprintf(format, args...), Agreement: d.Agreement, Term: d.Term, ValidUntil: d.ValidUntil}
	}
	switch {
	case !d.Allow:
		return d
	case to == subj.Originator || to == subj.Publisher || slices.Contains(subj.Path, to):
		return refuse("%s made it or passed it on, and gets no copy whose origin is withheld", s.name(to))
	case subj.Originator == s.Self:
		return refuse("%s made it, and withholds nothing", s.name(s.Self))
	case subj.Principal != (protocol.OrgID{}):
		return refuse("it was published on behalf of %s, which is not to be withheld", s.name(subj.Principal))
	case subj.Handling.Origin != protocol.OriginWithheld:
		return refuse("the originator does not let whose it is be withheld; pass it on with its origin, or ask the originator")
	}
	came := subj.RecordedAt
	if came == 0 {
		came = at
	}
	for _, t := range s.terms[direction{subj.Publisher, s.Self}] {
		if t.term.Attribution == protocol.DutyMust && s.byTerm(t, subj, came).Allow {
			return refuse("term %d of %q, under which it came, wants it attributed", t.number, t.agreement.Doc.Title)
		}
	}
	return d
}

// History returns how many days back a partner may read a record of this organisation's own, by the
// terms that let it through at a time: the most of them. 0: nothing of before.
func History(s *State, to protocol.OrgID, subj *Subject, at uint64) (days uint32) {
	if !Decide(s, s.Self, to, subj, at).Allow {
		return 0
	}
	for _, t := range s.terms[direction{s.Self, to}] {
		if s.byTerm(t, subj, at).Allow {
			days = max(days, t.term.HistoryDays)
		}
	}
	return days
}

// HistoryTo lists the organisations to which a term of an agreement leads that lets them read what
// was before, with the most days of them.
func HistoryTo(a *protocol.Agreement, from protocol.OrgID) map[protocol.OrgID]uint32 {
	out := map[protocol.OrgID]uint32{}
	for i := range a.Terms {
		if t := &a.Terms[i]; t.From == from && t.HistoryDays > 0 {
			out[t.To] = max(out[t.To], t.HistoryDays)
		}
	}
	return out
}

// byPath looks at the way that a record came: its publisher must be the last who passed it on, and
// the originator's word must admit everybody before it who had it from somebody else.
func (s *State) byPath(publisher protocol.OrgID, subj *Subject) (Decision, bool) {
	refuse := func(format string, args ...any) (Decision, bool) {
		return Decision{Reason: ReasonProvenance, Text: fmt.Sprintf(format, args...), ValidUntil: math.MaxUint64}, false
	}
	path := subj.Path
	if subj.Originator == publisher {
		if len(path) > 0 {
			return refuse("%s made it, and says that others passed it on", s.name(publisher))
		}
		return Decision{}, true
	}
	if len(path) == 0 || path[len(path)-1] != publisher {
		return refuse("%s made it, and %s does not state that it passes it on", s.name(subj.Originator), s.name(publisher))
	}
	for i, org := range path {
		if slices.Contains(subj.Handling.Excluded, org) {
			return refuse("it came by way of %s, which the originator excluded", s.name(org))
		}
		if i == 0 {
			continue // had it from the originator, which may give to whom it likes
		}
		if text := s.onwardRefusal(&subj.Handling.Onward, org, subj.Handling.TLP); text != "" {
			return refuse("it came by way of %s, and the originator %s", s.name(org), text)
		}
	}
	return Decision{}, true
}

// byOnwardRule applies the originator's onward rule.
func (s *State) byOnwardRule(to protocol.OrgID, subj *Subject) (Decision, bool) {
	if text := s.onwardRefusal(&subj.Handling.Onward, to, subj.Handling.TLP); text != "" {
		return Decision{Reason: ReasonOnward, Text: "the originator " + text, ValidUntil: math.MaxUint64}, false
	}
	return Decision{}, true
}

// byTermsReceived applies the onward rules of the terms under which a record came. One that
// admits the organisation is enough, as one term was enough for the record to come.
func (s *State) byTermsReceived(to protocol.OrgID, subj *Subject, came uint64) (Decision, bool) {
	d := Decide(s, subj.Publisher, s.Self, subj, came)
	if !d.Allow && d.Reason != ReasonLocalRule {
		d.Reason, d.Text = ReasonOnward, "no term is known under which it came: "+d.Text
	}
	if !d.Allow {
		return d, false
	}
	if d.Term == 0 {
		d.Bounds = subj.Bounds
		return d, true // of one's own
	}
	text, reason, admitted := "", ReasonOnward, false
	d.Bounds = subj.Bounds
	for _, t := range s.terms[direction{subj.Publisher, s.Self}] {
		if !s.byTerm(t, subj, came).Allow {
			continue
		}
		refusal := s.onwardRefusal(&t.term.Onward, to, subj.Handling.TLP)
		why, bounds := ReasonOnward, subj.Bounds
		if t.bound != nil {
			bounds = AddBounds(bounds, *t.bound)
		}
		if refusal == "" && !s.MayHold(bounds, to) {
			why, refusal = ReasonHolders, fmt.Sprintf("does not let %s hold even sealed copies", s.name(to))
		}
		if refusal == "" {
			if !admitted || t.term.Approval < d.Approval || t.term.Approval == d.Approval && len(bounds) < len(d.Bounds) {
				d.Approval, d.ApprovalText, d.Bounds = t.term.Approval, "", bounds
				if d.Approval > 0 {
					d.ApprovalText = fmt.Sprintf("term %d of %q wants the approval of %s", t.number, t.agreement.Doc.Title, persons(d.Approval))
				}
			}
			admitted = true
			continue
		}
		if text == "" || why == ReasonHolders && reason != why {
			text, reason = fmt.Sprintf("term %d of %q %s", t.number, t.agreement.Doc.Title, refusal), why
			d.Agreement, d.Term = t.agreement.ID, t.number
		}
	}
	if admitted {
		return d, true
	}
	d.Allow, d.Reason, d.Text, d.Retention, d.Bounds = false, reason, text, 0, nil
	return d, false
}

// left is how many days what came under a term may be kept by who gets it at a time, at most as
// many as its own term allows; 0: not restricted. It is at least one: who passes it on has it.
func left(own, received uint32, came, at uint64) uint32 {
	if received == 0 {
		return own
	}
	days := uint32(1)
	if end := came + uint64(received)*dayMillis; at < end {
		days = uint32((end - at + dayMillis - 1) / dayMillis)
	}
	if own != 0 {
		return min(own, days)
	}
	return days
}

func (s *State) onwardRefusal(o *protocol.Onward, to protocol.OrgID, tlp protocol.TLP) string {
	if o.Ceiling != protocol.TLPUnset && tlp > o.Ceiling {
		return fmt.Sprintf("lets it be passed on up to TLP:%s only", upper(o.Ceiling))
	}
	switch o.Rule {
	case protocol.OnwardPartners:
		return ""
	case protocol.OnwardNamed:
		if slices.Contains(o.Orgs, to) {
			return ""
		}
		return fmt.Sprintf("lets it be passed on to named organisations only, and %s is none of them", s.name(to))
	case protocol.OnwardKinds:
		if slices.Contains(o.Kinds, s.Orgs[to].Kind) {
			return ""
		}
		return fmt.Sprintf("lets it be passed on to organisations of some kinds only, and %s is of none of them", s.name(to))
	}
	return "lets it be passed on to nobody"
}
