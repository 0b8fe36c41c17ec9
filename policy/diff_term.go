package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// term compares two terms of one direction.
func (d *differ) term(i, j int) {
	a, b := &d.old.Terms[i], &d.new.Terms[j]
	add := func(e Effect, format string, args ...any) {
		d.out = append(d.out, Change{Effect: e, Term: j + 1, Was: i + 1, Text: fmt.Sprintf(format, args...)})
	}
	for _, l := range []struct {
		one, many, all string
		was, is        []string
	}{
		{"topic", "topics", "every topic is", a.Topics, b.Topics},
		{"kind of object", "kinds of object", "objects of every kind are", a.Kinds, b.Kinds},
		{"country", "countries", "records about every country, and about none, are", a.Countries, b.Countries},
	} {
		diffList(add, l.one, l.many, l.all, l.was, l.is)
	}
	if a.TLP != b.TLP {
		add(rises(a.TLP, b.TLP, EffectWidens), "the ceiling is TLP:%s instead of TLP:%s", upper(b.TLP), upper(a.TLP))
	}
	if was, is := papCeiling(a.PAP), papCeiling(b.PAP); a.PAP != b.PAP {
		add(rises(was, is, EffectWidens), "%s instead of %s", describePAP(b.PAP), describePAP(a.PAP))
	}
	if a.Personal != b.Personal {
		add(rises(a.Personal.Effective(), b.Personal.Effective(), EffectWidens), "personal data passes up to %q instead of %q", b.Personal, a.Personal)
	}
	diffPurposes(add, a.Purposes, b.Purposes)
	if a.Confidence != b.Confidence {
		add(rises(a.Confidence, b.Confidence, EffectNarrows), "records need a confidence of %d instead of %d", b.Confidence, a.Confidence)
	}
	if a.RetentionDays != b.RetentionDays {
		add(rises(keeps(a.RetentionDays), keeps(b.RetentionDays), EffectWidens), "%s may keep records for %s instead of %s", d.name(b.To),
			days(b.RetentionDays, "any time"), days(a.RetentionDays, "any time"))
	}
	if a.HistoryDays != b.HistoryDays {
		add(rises(a.HistoryDays, b.HistoryDays, EffectWidens), "%s may read records of %s before it instead of %s", d.name(b.To), days(b.HistoryDays, "no time"), days(a.HistoryDays, "no time"))
	}
	if a.PerDay != b.PerDay {
		add(rises(keeps(a.PerDay), keeps(b.PerDay), EffectWidens), "%s a day may come instead of %s", records(b.PerDay), records(a.PerDay))
	}
	d.onward(add, a, b)
	d.holders(add, &a.Holders, &b.Holders)
	d.duties(add, a, b)
}

type adder func(e Effect, format string, args ...any)

// diffList compares lists of which a record has to meet one entry, or that are open to all.
func diffList(add adder, one, many, all string, was, is []string) {
	switch {
	case slices.Equal(was, is):
	case isAll(is):
		add(EffectWidens, "%s covered, instead of %s", all, strings.Join(was, ", "))
	case isAll(was):
		add(EffectNarrows, "only %s %s covered; it was all of them", counted(is, one, many), isOrAre(is))
	default:
		diffNames(add, one, many, was, is)
	}
}

func diffNames(add adder, one, many string, was, is []string) {
	if more := without(is, was); len(more) > 0 {
		add(EffectWidens, "%d %s added: %s", len(more), plural(len(more), one, many), strings.Join(more, ", "))
	}
	if less := without(was, is); len(less) > 0 {
		add(EffectNarrows, "%d %s removed: %s", len(less), plural(len(less), one, many), strings.Join(less, ", "))
	}
}

// diffPurposes compares purposes, of which none means all.
func diffPurposes(add adder, was, is []string) {
	switch {
	case slices.Equal(was, is):
	case len(is) == 0:
		add(EffectWidens, "records for any purpose pass, not only those for %s", strings.Join(was, ", "))
	case len(was) == 0:
		add(EffectNarrows, "only records for %s pass, or that state no purpose; it was any purpose", strings.Join(is, ", "))
	default:
		diffNames(add, "purpose", "purposes", was, is)
	}
}

// onward compares to whom records may be passed on.
func (d *differ) onward(add adder, a, b *protocol.Term) {
	was, is := onwardOf(a), onwardOf(b)
	reader := d.name(b.To)
	more, less := without(is.Orgs, was.Orgs), without(was.Orgs, is.Orgs)
	moreKinds, lessKinds := without(is.Kinds, was.Kinds), without(was.Kinds, is.Kinds)
	up := upTo(&is)
	switch {
	case was.Rule == protocol.OnwardNobody && is.Rule == protocol.OnwardNobody:
		return
	case is.Rule == protocol.OnwardNobody:
		add(EffectNarrows, "%s may no longer pass anything on; it was %s", reader, d.to(&was))
		return
	case was.Rule == protocol.OnwardNobody:
		add(EffectWidens, "%s may now pass on to %s%s%s", reader, d.to(&is), up, approved(b.Approval))
		return
	case was.Rule != is.Rule:
		e := EffectWidens // organisations named are of any kind
		if was.Rule == protocol.OnwardPartners {
			e = EffectNarrows
		}
		add(e, "%s may now pass on to %s%s, instead of %s", reader, d.to(&is), up, d.to(&was))
	}
	if was.Rule == is.Rule {
		if len(more)+len(moreKinds) > 0 {
			add(EffectWidens, "%s may now pass on to %s%s", reader, d.to(&protocol.Onward{Rule: is.Rule, Orgs: more, Kinds: moreKinds}), up)
		}
		if len(less)+len(lessKinds) > 0 {
			add(EffectNarrows, "%s may no longer pass on to %s", reader, d.to(&protocol.Onward{Rule: is.Rule, Orgs: less, Kinds: lessKinds}))
		}
	}
	if was.Ceiling != is.Ceiling {
		add(rises(tlpCeiling(was.Ceiling), tlpCeiling(is.Ceiling), EffectWidens), "what %s passes on is %s instead of %s", reader, describeCeiling(is.Ceiling), describeCeiling(was.Ceiling))
	}
	if a.Approval != b.Approval {
		add(rises(a.Approval, b.Approval, EffectNarrows), "what %s passes on needs the approval of %s instead of %s", reader, nobodyOr(b.Approval), nobodyOr(a.Approval))
	}
}

// onwardOf is the onward rule of a term as it counts: one that names nobody is "nobody", and what
// stands beside the rule has no effect.
func onwardOf(t *protocol.Term) protocol.Onward {
	o := protocol.Onward{Rule: t.Onward.Rule, Ceiling: t.Onward.Ceiling}
	switch o.Rule {
	case protocol.OnwardNamed:
		o.Orgs = t.Onward.Orgs
	case protocol.OnwardKinds:
		o.Kinds = t.Onward.Kinds
	case protocol.OnwardPartners:
		return o
	}
	if len(o.Orgs)+len(o.Kinds) == 0 {
		return protocol.Onward{}
	}
	return o
}

// to says who may receive what is passed on.
func (d *differ) to(o *protocol.Onward) string {
	switch o.Rule {
	case protocol.OnwardPartners:
		return "any of its partners"
	case protocol.OnwardKinds:
		var kinds []string
		for _, k := range o.Kinds {
			kinds = append(kinds, string(k))
		}
		return "organisations of kind " + strings.Join(kinds, ", ")
	}
	return d.orgs(o.Orgs)
}

func (d *differ) orgs(list []protocol.OrgID) string {
	var out []string
	for _, o := range list {
		out = append(out, d.name(o))
	}
	return strings.Join(out, ", ")
}

// holders compares who may store even sealed copies.
func (d *differ) holders(add adder, was, is *protocol.Holders) {
	switch {
	case sameHolders(was, is):
		return
	case !is.Restricted():
		add(EffectWidens, "every member of the network may hold sealed copies")
		return
	case !was.Restricted():
		add(EffectNarrows, "sealed copies may be held by the parties and %s only; it was every member of the network", d.holderNames(is))
		return
	}
	if more := (protocol.Holders{Orgs: without(is.Orgs, was.Orgs), Countries: without(is.Countries, was.Countries)}); more.Restricted() {
		add(EffectWidens, "sealed copies may also be held by %s", d.holderNames(&more))
	}
	if less := (protocol.Holders{Orgs: without(was.Orgs, is.Orgs), Countries: without(was.Countries, is.Countries)}); less.Restricted() {
		add(EffectNarrows, "sealed copies may no longer be held by %s", d.holderNames(&less))
	}
}

func (d *differ) holderNames(h *protocol.Holders) string {
	var out []string
	if len(h.Orgs) > 0 {
		out = append(out, d.orgs(h.Orgs))
	}
	if len(h.Countries) > 0 {
		out = append(out, "organisations of "+strings.Join(h.Countries, ", "))
	}
	return strings.Join(out, ", ")
}

// duties compares what only people can keep.
func (d *differ) duties(add adder, a, b *protocol.Term) {
	if a.ReplyHours != b.ReplyHours {
		add(EffectNeither, "requests of %s are answered %s instead of %s", d.name(b.To), answered(b.ReplyHours), answered(a.ReplyHours))
	}
	for _, duty := range []struct {
		was, is protocol.Duty
		what    string
		ranked  bool // may lets more than unstated, and that more than must not
	}{
		{a.Notify, b.Notify, "tell those who are affected", true},
		{a.Attribution, b.Attribution, "name " + d.name(b.From) + " as the source", false},
		{a.Resale, b.Resale, "sell what it received unchanged", true},
	} {
		if duty.was == duty.is {
			continue
		}
		e := EffectNeither
		if duty.ranked {
			e = rises(freedom(duty.was), freedom(duty.is), EffectWidens)
		}
		add(e, "%s %s %s, instead of %s", d.name(b.To), said(duty.is), duty.what, said(duty.was))
	}
}

func freedom(d protocol.Duty) uint8 {
	switch d {
	case protocol.DutyMustNot:
		return 0
	case protocol.DutyMay:
		return 2
	}
	return 1
}

func said(d protocol.Duty) string {
	if d == protocol.DutyUnstated {
		return "is not told whether to"
	}
	return strings.ReplaceAll(d.String(), "-", " ")
}

func answered(hours uint32) string {
	if hours == 0 {
		return "whenever it suits"
	}
	return fmt.Sprintf("within %d %s", hours, plural(int(hours), "hour", "hours"))
}

func papCeiling(p protocol.PAP) protocol.PAP {
	if p == protocol.PAPUnset {
		return protocol.PAPRed + 1
	}
	return p
}

func describePAP(p protocol.PAP) string {
	if p == protocol.PAPUnset {
		return "no ceiling of PAP"
	}
	return "the ceiling of PAP:" + strings.ToUpper(p.String())
}

func tlpCeiling(t protocol.TLP) protocol.TLP {
	if t == protocol.TLPUnset {
		return protocol.TLPRed + 1
	}
	return t
}

func describeCeiling(t protocol.TLP) string {
	if t == protocol.TLPUnset {
		return "all that comes under the term"
	}
	return "up to TLP:" + upper(t)
}

func upTo(o *protocol.Onward) string {
	if o.Ceiling == protocol.TLPUnset {
		return ""
	}
	return " up to TLP:" + upper(o.Ceiling)
}

func approved(n uint8) string {
	if n == 0 {
		return ""
	}
	return ", each time after " + persons(n) + " approved it"
}

func nobodyOr(n uint8) string {
	if n == 0 {
		return "nobody"
	}
	return persons(n)
}

func records(n uint32) string {
	if n == 0 {
		return "any number of records"
	}
	return fmt.Sprintf("%d %s", n, plural(int(n), "record", "records"))
}

func counted(list []string, one, many string) string {
	return plural(len(list), one, many) + " " + strings.Join(list, ", ")
}

func isOrAre(list []string) string { return plural(len(list), "is", "are") }

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// without lists what is in list and not in of.
func without[T comparable](list, of []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return slices.Contains(of, v) })
}
