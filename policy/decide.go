package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// Reason is the code of a decision; it never changes its meaning.
type Reason string

// The reasons. The order is how far a refusal got: of several terms that refuse, the one
// with the furthest reason is told, because it is what a person would have to change.
const (
	ReasonOK           Reason = "ok"
	ReasonOwn          Reason = "own"           // one's own record
	ReasonNotMember    Reason = "not-a-member"  // not in the network, or removed
	ReasonStaleCard    Reason = "stale-card"    // its card is no longer fresh
	ReasonExcluded     Reason = "excluded"      // the originator excluded it by name
	ReasonNotNamed     Reason = "not-named"     // named recipients only, and it is none
	ReasonRedUnnamed   Reason = "red-unnamed"   // RED names nobody
	ReasonNoTLP        Reason = "no-tlp"        // nothing states a TLP
	ReasonNoAgreement  Reason = "no-agreement"  // no agreement has a term in this direction
	ReasonNotInForce   Reason = "not-in-force"  // not yet, no longer, or terminated
	ReasonTopic        Reason = "topic"         // the term does not cover the topic
	ReasonKind         Reason = "kind"          // nor the kind of object
	ReasonTLP          Reason = "tlp"           // above the term's ceiling
	ReasonPAP          Reason = "pap"           // the same
	ReasonCountry      Reason = "country"       // concerns none of the term's countries
	ReasonPersonalData Reason = "personal-data" // more personal data than the term lets through
	ReasonPurpose      Reason = "purpose"       // for purposes that the term does not have
	ReasonConfidence   Reason = "confidence"    // less confidence than the term wants
	ReasonHolders      Reason = "holders"       // it may not hold even sealed copies
	ReasonVolume       Reason = "volume"        // more than the term lets through in a day
	ReasonOnward       Reason = "onward"        // the originator does not let it be passed on
	ReasonProvenance   Reason = "provenance"    // who passed it on does not say so, or was not allowed to have it
	ReasonLocalRule    Reason = "local-rule"    // all of the above let it, and a rule of one's own does not
	ReasonMandate      Reason = "mandate"       // published on behalf of another, and the mandate does not cover it, or was revoked
	ReasonOrigin       Reason = "origin"        // it may be passed on, and whose it is may not be withheld
)

var furthest = []Reason{ReasonNoAgreement, ReasonNotInForce, ReasonTopic, ReasonKind, ReasonTLP, ReasonPAP, ReasonCountry, ReasonPersonalData, ReasonPurpose, ReasonConfidence, ReasonHolders, ReasonLocalRule}

// Decision is the answer to: may this go to that organisation?
type Decision struct {
	Allow     bool
	Reason    Reason
	Text      string               // one sentence for a person
	Agreement protocol.AgreementID // that allows, or that came nearest; zero: none
	Term      int                  // of the agreement, from 1; 0: none
	Retention uint32               // days that the reader may keep it; 0: not restricted
	Approval  uint8                // persons who must approve before it is passed on
	// ApprovalRule names the local rule that wants as many; "": the term under which it came
	// does. ApprovalText is one sentence about it; "" if nobody needs to approve.
	ApprovalRule string
	ApprovalText string
	PerDay       uint32 // records that the term lets through in a day, which the caller counts; 0: not limited
	Rule         string // the local rule that refuses, by its name; "": none
	// Bounds say who may hold even sealed copies of what is sent under the decision: whoever stores
	// one satisfies each of them. None: every member.
	Bounds []protocol.Bound
	// ValidUntil is when the decision may change by time alone, Unix milliseconds: an
	// agreement begins or ends. math.MaxUint64: never.
	ValidUntil uint64
}

// Decide says whether subject may go from one organisation to another, at a time. It is the
// one function that decides; Audience, Ingress and DecideOnward ask it.
func Decide(s *State, from, to protocol.OrgID, subj *Subject, at uint64) Decision {
	return s.byLocal(s.decide(from, to, subj, at), from, to, subj, at)
}

// decide leaves the local rules out.
func (s *State) decide(from, to protocol.OrgID, subj *Subject, at uint64) Decision {
	switch to {
	case subj.Originator:
		return Decision{Allow: true, Reason: ReasonOwn, Text: s.name(to) + " made it", ValidUntil: math.MaxUint64}
	case from:
		return Decision{Allow: true, Reason: ReasonOwn, Text: s.name(to) + " has it", ValidUntil: math.MaxUint64}
	}
	if d, refused := s.byOriginator(to, subj); refused {
		return d
	}
	best := Decision{Reason: ReasonNoAgreement, ValidUntil: math.MaxUint64,
		Text: fmt.Sprintf("no agreement lets anything go from %s to %s", s.name(from), s.name(to))}
	valid := uint64(math.MaxUint64)
	terms, counts := s.terms[direction{from, to}], -1
	for i, t := range terms {
		valid = min(valid, t.agreement.changes(from, to, at))
		if d := s.byTerm(t, subj, at); better(d, best) {
			best, counts = d, i
		}
	}
	if counts >= 0 { // in words only what counts: of 1,000 terms that refuse, one is told
		best = s.tellTerm(terms[counts], subj, at)
	}
	best.ValidUntil = valid
	if best.Allow && best.Retention != 0 && subj.Handling.RetentionDays != 0 {
		best.Retention = min(best.Retention, subj.Handling.RetentionDays)
	} else if best.Allow {
		best.Retention = max(best.Retention, subj.Handling.RetentionDays)
	}
	return best
}

// better prefers what allows, then what got furthest. Of two that allow, the longer retention
// counts, so that a term that lets less through lengthens none; then the one that lets more through
// in a day, then the one that restricts no holders, then the earlier in the order of agreements.
func better(d, than Decision) bool {
	switch {
	case d.Allow != than.Allow:
		return d.Allow
	case d.Allow && d.Retention == than.Retention && d.PerDay == than.PerDay:
		return len(d.Bounds) < len(than.Bounds)
	case d.Allow && d.Retention == than.Retention:
		return keeps(d.PerDay) > keeps(than.PerDay)
	case d.Allow:
		return keeps(d.Retention) > keeps(than.Retention)
	}
	return slices.Index(furthest, d.Reason) > slices.Index(furthest, than.Reason)
}

func keeps(days uint32) uint64 {
	if days == 0 {
		return math.MaxUint64
	}
	return uint64(days)
}

// byOriginator applies what the originator's handling forbids whatever the agreements say.
func (s *State) byOriginator(to protocol.OrgID, subj *Subject) (Decision, bool) {
	h := &subj.Handling
	refuse := func(r Reason, format string, args ...any) (Decision, bool) {
		return Decision{Reason: r, Text: fmt.Sprintf(format, args...), ValidUntil: math.MaxUint64}, true
	}
	org, known := s.Orgs[to]
	switch {
	case h.TLP == protocol.TLPUnset || h.TLP > protocol.TLPRed:
		return refuse(ReasonNoTLP, "nothing states its TLP; without one it goes to nobody")
	case slices.Contains(h.Excluded, to):
		return refuse(ReasonExcluded, "the originator excluded %s", s.name(to))
	case h.TLP == protocol.TLPRed && len(h.Named) == 0:
		return refuse(ReasonRedUnnamed, "TLP:RED is for named recipients, and names nobody")
	case len(h.Named) > 0 && !slices.Contains(h.Named, to):
		return refuse(ReasonNotNamed, "it is for named recipients, and %s is none of them", s.name(to))
	case to == s.Self:
		return Decision{}, false // one's own card and membership are others' business
	case !known || !org.Rostered:
		return refuse(ReasonNotMember, "%s is not a member of the network", s.name(to))
	case !org.CardFresh:
		return refuse(ReasonStaleCard, "the card of %s is no longer fresh, and nothing is granted against it", s.name(to))
	}
	return Decision{}, false
}

// byTerm applies one term, and says nothing about it in words.
func (s *State) byTerm(t termRef, subj *Subject, at uint64) Decision {
	return s.applyTerm(t, subj, at, false)
}

// tellTerm applies one term, and says why in a sentence.
func (s *State) tellTerm(t termRef, subj *Subject, at uint64) Decision {
	return s.applyTerm(t, subj, at, true)
}

func (s *State) applyTerm(t termRef, subj *Subject, at uint64, tell bool) Decision {
	h, term := &subj.Handling, t.term
	d := Decision{Agreement: t.agreement.ID, Term: t.number}
	refuse := func(r Reason, format string, args ...any) Decision {
		d.Reason = r
		if !tell {
			return d
		}
		partner := term.To
		if partner == s.Self {
			partner = term.From
		}
		d.Text = fmt.Sprintf("term %d of %q with %s: ", t.number, t.agreement.Doc.Title, s.name(partner)) + fmt.Sprintf(format, args...)
		return d
	}
	switch {
	case !t.agreement.Between(term.From, term.To, at):
		return refuse(ReasonNotInForce, "%s", t.agreement.why(term.From, term.To, at))
	case !covers(term.Topics, subj.Topic):
		return refuse(ReasonTopic, "it does not cover topic %q", subj.Topic)
	case !covers(term.Kinds, subj.Kind):
		return refuse(ReasonKind, "it does not cover objects of type %s", subj.Kind)
	case h.TLP > term.TLP:
		return refuse(ReasonTLP, "TLP:%s is above its ceiling of TLP:%s", upper(h.TLP), upper(term.TLP))
	case term.PAP != protocol.PAPUnset && h.PAP > term.PAP:
		return refuse(ReasonPAP, "PAP:%s is above its ceiling of PAP:%s", strings.ToUpper(h.PAP.String()), strings.ToUpper(term.PAP.String()))
	case !concerns(term.Countries, h.Countries):
		if len(h.Countries) == 0 {
			return refuse(ReasonCountry, "the record names no country, and so goes to worldwide partners only")
		}
		return refuse(ReasonCountry, "the record concerns %s, not %s", strings.Join(h.Countries, ", "), strings.Join(term.Countries, ", "))
	case h.Personal.Effective() > term.Personal: // a term that does not say lets nothing through
		return refuse(ReasonPersonalData, "it lets personal data through up to %q, and the record holds %s", term.Personal, holds(h.Personal))
	case !purposes(term.Purposes, h.Purposes):
		return refuse(ReasonPurpose, "none of its purposes is one that the originator allows")
	case subj.Confidence < term.Confidence:
		return refuse(ReasonConfidence, "it wants a confidence of %d, and the record %s", term.Confidence, confidence(subj.Confidence))
	}
	if term.From == s.Self {
		for _, org := range []protocol.OrgID{term.To, s.Self} {
			if !s.MayHold(subj.Bounds, org) {
				return refuse(ReasonHolders, "a term that the record came under does not let %s hold even sealed copies", s.name(org))
			}
		}
		d.Bounds = subj.Bounds
		if t.bound != nil {
			d.Bounds = AddBounds(d.Bounds, *t.bound)
		}
	}
	d.Allow, d.Reason, d.Retention, d.PerDay = true, ReasonOK, term.RetentionDays, term.PerDay
	if tell {
		d.Text = fmt.Sprintf("term %d of %q allows it: %s to %s, up to TLP:%s, %s", t.number, t.agreement.Doc.Title,
			s.name(term.From), s.name(term.To), upper(term.TLP), countries(term.Countries))
	}
	return d
}

func holds(p protocol.PersonalData) string {
	if p == protocol.PersonalUndetermined {
		return "what nobody determined, which counts as all"
	}
	return fmt.Sprintf("%q", p)
}

func confidence(c uint8) string {
	if c == 0 {
		return "states none"
	}
	return fmt.Sprintf("has %d", c)
}

func upper(t protocol.TLP) string { return strings.ToUpper(t.String()) }

func countries(list []string) string {
	if slices.Equal(list, []string{protocol.Worldwide}) {
		return "worldwide"
	}
	return strings.Join(list, ", ")
}

func covers(list []string, one string) bool {
	return slices.Contains(list, one) || len(list) == 1 && list[0] == protocol.Any
}

// concerns reports whether a record that names countries passes a term's countries: one in
// common is enough, since a record that concerns two countries concerns each of them.
func concerns(term, record []string) bool {
	if len(term) == 1 && term[0] == protocol.Worldwide {
		return true
	}
	return slices.ContainsFunc(record, func(c string) bool { return slices.Contains(term, c) })
}

// purposes reports whether the term and the originator have a purpose in common; a side
// that names none does not restrict.
func purposes(term, record []string) bool {
	if len(term) == 0 || len(record) == 0 {
		return true
	}
	return slices.ContainsFunc(record, func(p string) bool { return slices.Contains(term, p) })
}

// OrgDecision is the decision about one organisation.
type OrgDecision struct {
	Org      protocol.OrgID
	Decision Decision
}

// Audience decides about every organisation that self has a term with, and every one that
// the handling names, sorted. Who is not in it gets nothing; if nobody is allowed, the
// record is for nobody but its publisher.
func Audience(s *State, subj *Subject, at uint64) []OrgDecision {
	orgs := s.Receivers(s.Self)
	for _, o := range subj.Handling.Named {
		if !slices.Contains(orgs, o) && o != s.Self {
			orgs = append(orgs, o)
		}
	}
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	out := make([]OrgDecision, 0, len(orgs))
	for _, o := range orgs {
		out = append(out, OrgDecision{o, Decide(s, s.Self, o, subj, at)})
	}
	return out
}

// Group names the countries that the terms from self to org cover. Organisations of one group
// tend to be in the same audiences, so that an epoch made for them serves again. It is a
// hint for how to divide an audience, not a decision about who is in it.
func Group(s *State, org protocol.OrgID) string {
	var parts []string
	for _, t := range s.terms[direction{s.Self, org}] {
		parts = append(parts, strings.Join(t.term.Countries, ","))
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), ";")
}
