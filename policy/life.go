package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// Stage is where an agreement stands in its life.
type Stage string

// The stages, in the order in which a life goes through them. What ends an agreement counts
// before what suspends it, and both before everything else.
const (
	StageProposed   Stage = "proposed" // signed by us, not by all
	StageIncoming   Stage = "incoming" // proposed to us, not signed by us
	StageRejected   Stage = "rejected" // by a party, before all had signed
	StageNotYet     Stage = "not yet in force"
	StageInForce    Stage = "in force"
	StageSuspended  Stage = "suspended"
	StageAmended    Stage = "amended" // another agreement took its place
	StageRenewed    Stage = "renewed" // the same, and only its dates are others
	StageLeft       Stage = "left"    // by us; the others go on
	StageTerminated Stage = "terminated"
	StageExpired    Stage = "expired"
)

// End is a party's word that it leaves an agreement.
type End struct {
	Org  protocol.OrgID
	Made uint64 // when it was signed, Unix milliseconds
	At   uint64 // when it counts, Unix milliseconds
}

// Pause is a time in which a party suspends an agreement, Unix milliseconds.
type Pause struct {
	Org   protocol.OrgID
	From  uint64
	Until uint64 // 0: open
}

// covers reports whether the agreement is suspended at a time.
func (p *Pause) covers(at uint64) bool { return p.From <= at && (p.Until == 0 || at < p.Until) }

// Agreement is an agreement that all its parties signed, with what became of it.
type Agreement struct {
	ID     protocol.AgreementID
	Doc    *protocol.Agreement
	Ends   []End
	Pauses []Pause
	// Superseded is when one that amends it took its place, Unix milliseconds; 0: none did.
	Superseded uint64
}

// InForce reports whether the agreement is in force between any two of its parties at a time,
// Unix milliseconds.
func (a *Agreement) InForce(at uint64) bool {
	if at < a.Doc.NotBefore || at >= a.end() {
		return false
	}
	return len(a.active(at)) >= 2
}

// Between reports whether the agreement is in force from one party to another at a time, Unix
// milliseconds: whoever left it or suspended it neither gives nor receives under it.
func (a *Agreement) Between(from, to protocol.OrgID, at uint64) bool {
	return a.Doc.NotBefore <= at && at < a.end() && !a.left(from, at) && !a.left(to, at) && !a.paused(from, to, at)
}

// Halted reports whether the agreement would be in force from one party to another at a time, Unix
// milliseconds, if neither suspended it: what there is to be told waits until it is resumed.
func (a *Agreement) Halted(from, to protocol.OrgID, at uint64) bool {
	return a.Doc.NotBefore <= at && at < a.end() && !a.left(from, at) && !a.left(to, at) && a.paused(from, to, at)
}

// end is when the agreement ends for all: its own end, or what took its place.
func (a *Agreement) end() uint64 {
	if a.Superseded != 0 {
		return min(a.Doc.NotAfter, a.Superseded)
	}
	return a.Doc.NotAfter
}

func (a *Agreement) left(org protocol.OrgID, at uint64) bool {
	return slices.ContainsFunc(a.Ends, func(e End) bool { return e.Org == org && e.At <= at })
}

func (a *Agreement) paused(from, to protocol.OrgID, at uint64) bool {
	return slices.ContainsFunc(a.Pauses, func(p Pause) bool { return (p.Org == from || p.Org == to) && p.covers(at) })
}

// remaining are the parties that have not left at a time.
func (a *Agreement) remaining(at uint64) []protocol.OrgID {
	return slices.DeleteFunc(slices.Clone(a.Doc.Parties), func(o protocol.OrgID) bool { return a.left(o, at) })
}

// active are the parties that have neither left nor suspended it.
func (a *Agreement) active(at uint64) []protocol.OrgID {
	return slices.DeleteFunc(a.remaining(at), func(o protocol.OrgID) bool { return a.paused(o, o, at) })
}

// changes returns the next time after at at which the agreement may begin or cease to be in
// force between two parties by time alone; math.MaxUint64: never.
func (a *Agreement) changes(from, to protocol.OrgID, at uint64) uint64 {
	next := uint64(math.MaxUint64)
	edge := func(t uint64) {
		if at < t {
			next = min(next, t)
		}
	}
	edge(a.Doc.NotBefore)
	edge(a.end())
	for _, e := range a.Ends {
		if e.Org == from || e.Org == to {
			edge(e.At)
		}
	}
	for _, p := range a.Pauses {
		if p.Org == from || p.Org == to {
			edge(p.From)
			edge(p.Until)
		}
	}
	return next
}

// why says why the agreement is not in force between two parties at a time.
func (a *Agreement) why(from, to protocol.OrgID, at uint64) string {
	switch {
	case at < a.Doc.NotBefore:
		return "the agreement is not in force yet"
	case a.left(from, at) || a.left(to, at):
		return "the agreement was terminated"
	case a.Superseded != 0 && at >= a.Superseded:
		return "another agreement took its place"
	case at >= a.Doc.NotAfter:
		return "the agreement has ended"
	}
	return "the agreement is suspended"
}

// Breach reports whether a party left without the notice that the agreement asks for. That
// changes nothing of its end; it is for the record.
func (a *Agreement) Breach(e End) bool {
	notice := uint64(a.Doc.NoticeDays) * dayMillis
	return notice > 0 && e.At < a.Doc.NotAfter && e.At < e.Made+notice
}

const dayMillis = 24 * 3600 * 1000

// Life is an agreement from its proposal on.
type Life struct {
	Agreement
	Signed   []protocol.OrgID
	Rejected bool
	// Renewal says that what took its place differs in its dates only.
	Renewal bool
}

// Complete reports whether all parties have signed.
func (l *Life) Complete() bool {
	return !slices.ContainsFunc(l.Doc.Parties, func(o protocol.OrgID) bool { return !slices.Contains(l.Signed, o) })
}

// Stage says where the agreement stands for a party at a time, Unix milliseconds.
func (l *Life) Stage(self protocol.OrgID, at uint64) Stage {
	remaining := l.remaining(at)
	switch {
	case len(remaining) < 2:
		return StageTerminated
	case l.left(self, at):
		return StageLeft
	case !l.Complete() && l.Rejected:
		return StageRejected
	case l.Superseded != 0 && at >= l.Superseded && l.Superseded <= l.Doc.NotAfter:
		if l.Renewal {
			return StageRenewed
		}
		return StageAmended
	case at >= l.Doc.NotAfter:
		return StageExpired
	case !l.Complete() && !slices.Contains(l.Signed, self):
		return StageIncoming
	case !l.Complete():
		return StageProposed
	case at < l.Doc.NotBefore:
		return StageNotYet
	case l.paused(self, self, at) || len(l.active(at)) < 2:
		return StageSuspended
	}
	return StageInForce
}

// Act is what a party does with an agreement.
type Act string

// The acts.
const (
	ActCountersign Act = "countersign"
	ActReject      Act = "reject"
	ActAmend       Act = "amend" // and renew: propose another in its place
	ActSuspend     Act = "suspend"
	ActResume      Act = "resume"
	ActTerminate   Act = "terminate" // at once
	ActNotice      Act = "give notice"
)

// May returns nil if a party may do something with an agreement at a time, and else says why
// not and what to do. To end or suspend what is signed is always possible.
func (l *Life) May(act Act, self protocol.OrgID, at uint64) error {
	stage := l.Stage(self, at)
	if !slices.Contains(l.Doc.Parties, self) {
		return errors.New("this organisation is not a party of the agreement")
	}
	leaving := slices.ContainsFunc(l.Ends, func(e End) bool { return e.Org == self })
	suspended := slices.ContainsFunc(l.Pauses, func(p Pause) bool { return p.Org == self && p.Until == 0 })
	refuse := func(what string) error { return fmt.Errorf("the agreement is %s; %s", stage, what) }
	if replaced := stage == StageAmended || stage == StageRenewed; replaced && act != ActCountersign && act != ActReject {
		return fmt.Errorf("the agreement is %s; act on the one that took its place", stage)
	}
	switch act {
	case ActCountersign:
		switch {
		case stage == StageRejected || stage == StageTerminated || stage == StageLeft || len(l.Ends) > 0:
			return errors.New("the agreement was rejected or terminated; propose a new one")
		case stage == StageExpired:
			return protocol.Errorf(protocol.ErrExpired, "the agreement has ended already; propose a new one")
		}
	case ActReject:
		if l.Complete() {
			return errors.New("the agreement is countersigned by all; terminate it instead")
		}
	case ActAmend:
		switch {
		case !l.Complete():
			return refuse("wait until all have signed it, or reject it and propose another")
		case len(l.Ends) > 0 && len(l.remaining(math.MaxUint64)) < 2, leaving:
			return refuse("a party ended it, or gave notice; propose a new one that amends nothing")
		}
	case ActSuspend:
		switch {
		case !l.Complete():
			return refuse("reject it instead")
		case stage == StageTerminated || stage == StageLeft || stage == StageExpired:
			return refuse("nothing is shared under it")
		case suspended:
			return errors.New("the agreement is suspended already by this organisation")
		}
	case ActResume:
		switch {
		case stage == StageTerminated || stage == StageLeft || stage == StageExpired:
			return refuse("propose a new one")
		case !suspended:
			return errors.New("this organisation did not suspend the agreement; only who did can resume it")
		}
	case ActTerminate:
		switch {
		case stage == StageTerminated || stage == StageLeft:
			return errors.New("the agreement is terminated already")
		case stage == StageExpired:
			return refuse("there is nothing to end")
		}
	case ActNotice:
		switch {
		case !l.Complete():
			return refuse("reject it instead")
		case stage == StageTerminated || stage == StageLeft || leaving:
			return errors.New("this organisation ended the agreement, or gave notice, already; terminate it at once if that is too late")
		case stage == StageExpired:
			return refuse("there is nothing to end")
		}
	}
	return nil
}

// expiryWarnings are how many days before its end an agreement is warned of.
var expiryWarnings = []uint64{1, 7, 30}

// Warning returns what a person should know of an agreement before it happens: that it ends
// soon, "" if it does not. days is the limit that was reached: 30, 7 or 1.
func (l *Life) Warning(self protocol.OrgID, at uint64) (text string, days uint64) {
	stage := l.Stage(self, at)
	if stage != StageInForce && stage != StageSuspended {
		return "", 0
	}
	end, why := l.end(), "it expires"
	if l.Superseded != 0 && l.Superseded == end {
		return "", 0 // what takes its place is there already
	}
	for i, e := range l.Ends {
		if others := l.remaining(e.At); e.At < end && (e.Org == self || len(others) < 2) {
			end, why = e.At, "notice was given"
			if l.Breach(l.Ends[i]) {
				why = "notice was given, shorter than agreed"
			}
		}
	}
	for _, d := range expiryWarnings {
		if end-at <= d*dayMillis {
			return fmt.Sprintf("it ends on %s: %s", writeTime(end), why), d
		}
	}
	return "", 0
}
