package policy

import (
	"github.com/entente-mesh/entente/protocol"
)

// Local is what an organisation forbids itself besides its agreements. It only narrows: it is
// asked where everything else allows, and its answer can but refuse. It must be a pure
// function of what it is asked, and may be asked concurrently.
type Local interface {
	// Forbids names the rule that forbids; "" if none does.
	Forbids(q *LocalQuery) LocalAnswer
}

// LocalAct is what is about to be done with a record.
type LocalAct string

// The acts that local rules may forbid.
const (
	ActShare   LocalAct = "share"   // to let another organisation have it
	ActReceive LocalAct = "receive" // to take it from its publisher
	ActPassOn  LocalAct = "passOn"  // to share what another organisation made
)

// LocalQuery is what local rules are asked.
type LocalQuery struct {
	Act        LocalAct
	Other      Org // that would get the record, or that sends it
	Originator Org
	Publisher  Org
	Subject    *Subject
	At         uint64 // Unix milliseconds: as of Decide
}

// LocalAnswer is what local rules say.
type LocalAnswer struct {
	Rule string // that forbids, by its name; "": none does
	Text string // one sentence about it
	// Persons is how many persons must release what is passed on, by the rule that Waits names,
	// where no rule forbids; 0: none needs to. It is asked of ActPassOn only.
	Persons   uint8
	Waits     string
	WaitsText string // one sentence about it
	// ValidUntil is when the answer may change by time alone, Unix milliseconds;
	// math.MaxUint64: never.
	ValidUntil uint64
}

// stricter joins two answers that both bind; the first forbids nothing.
func (a LocalAnswer) stricter(b LocalAnswer) LocalAnswer {
	valid := min(a.ValidUntil, b.ValidUntil)
	if b.Rule == "" && b.Persons <= a.Persons {
		b = a
	}
	b.ValidUntil = valid
	return b
}

// WithLocal returns the state with the organisation's own rules, which may be nil.
func (s *State) WithLocal(l Local) *State {
	out := *s
	out.Local = l
	return &out
}

// Org returns what decisions know of an organisation: of one that nobody knows, its id.
func (s *State) Org(id protocol.OrgID) Org {
	if o, ok := s.Orgs[id]; ok {
		return o
	}
	return Org{ID: id}
}

// byLocal asks the local rules about what was allowed. What goes between two others is
// their business.
func (s *State) byLocal(d Decision, from, to protocol.OrgID, subj *Subject, at uint64) Decision {
	switch {
	case from == to:
	case from == s.Self:
		return s.askLocal(d, ActShare, to, subj, at)
	case to == s.Self:
		return s.askLocal(d, ActReceive, from, subj, at)
	}
	return d
}

func (s *State) askLocal(d Decision, act LocalAct, other protocol.OrgID, subj *Subject, at uint64) Decision {
	if !d.Allow || s.Local == nil {
		return d
	}
	q := &LocalQuery{Act: act, Other: s.Org(other), Originator: s.Org(subj.Originator), Publisher: s.Org(subj.Publisher), Subject: subj, At: at}
	a := s.Local.Forbids(q)
	if a.Rule == "" && subj.Principal != (protocol.OrgID{}) {
		asPrincipal := *q
		asPrincipal.Originator = s.Org(subj.Principal)
		a = a.stricter(s.Local.Forbids(&asPrincipal))
	}
	valid := min(d.ValidUntil, a.ValidUntil)
	if a.Rule == "" {
		d.ValidUntil = valid
		if act == ActPassOn && a.Persons > d.Approval {
			d.Approval, d.ApprovalRule, d.ApprovalText = a.Persons, a.Waits, a.WaitsText
		}
		return d
	}
	// The agreement and the term stay: they would allow it.
	return Decision{Reason: ReasonLocalRule, Rule: a.Rule, Text: a.Text, Agreement: d.Agreement, Term: d.Term, ValidUntil: valid}
}
