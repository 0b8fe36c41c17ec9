package policy

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// What the properties draw comes from small sets, and most limits are left wide, so that
// records and terms often meet.
var (
	cast      = []protocol.OrgID{alice, bob, carol, dave, mallory}
	topics    = []string{"c2", "malware"}
	kinds     = []string{"indicator", "malware"}
	countryOf = []string{"SG", "TH", "VN"}
	purposeOf = []string{"block", "prosecute"}
	moments   = []uint64{now, begins, begins - 1, ends - 1, ends, now - 1, now + 1}
)

// untilSeen checks a property, again while its draws did not come by what it is about: a property
// that is never put to the test shows nothing, and a few draws may all miss it.
func untilSeen(t *testing.T, seen func() bool, property func(*rapid.T)) {
	t.Helper()
	for i := 0; i == 0 || i < 50 && !seen() && !t.Failed(); i++ {
		rapid.Check(t, property)
	}
}

// seldom is true once in four.
func seldom(t *rapid.T, label string) bool { return rapid.IntRange(0, 3).Draw(t, label+" given") == 3 }

func drawTime(t *rapid.T) uint64 {
	if seldom(t, "other time") {
		return rapid.SampledFrom(moments).Draw(t, "at")
	}
	return now
}

// drawLabel draws one of least to most, and usual most of the time.
func drawLabel[T ~uint8 | ~uint32](t *rapid.T, label string, least, most, usual T) T {
	if seldom(t, label) {
		return T(rapid.IntRange(int(least), int(most)).Draw(t, label))
	}
	return usual
}

// drawSet draws a sorted set, mostly an empty one.
func drawSet[T any](t *rapid.T, from []T, label string) []T {
	var out []T
	if seldom(t, label) {
		for _, v := range from {
			if rapid.Bool().Draw(t, label) {
				out = append(out, v)
			}
		}
	}
	return out
}

// drawLimit draws a list of a term: everything, or one or more.
func drawLimit(t *rapid.T, from []string, label string) []string {
	if set := drawSet(t, from, label); len(set) > 0 {
		return set
	}
	return []string{"*"}
}

func drawOnward(t *rapid.T) protocol.Onward {
	o := protocol.Onward{Rule: rapid.SampledFrom([]protocol.OnwardRule{protocol.OnwardPartners, protocol.OnwardNobody,
		protocol.OnwardNamed, protocol.OnwardKinds}).Draw(t, "onward")}
	switch o.Rule {
	case protocol.OnwardNamed:
		o.Orgs = sortedOrgs(drawSet(t, cast, "onward to"))
	case protocol.OnwardKinds:
		o.Kinds = drawSet(t, []protocol.OrgKind{protocol.KindCERT, protocol.KindPolice, protocol.KindVendor}, "onward kind")
	}
	o.Ceiling = drawLabel(t, "onward ceiling", protocol.TLPUnset, protocol.TLPRed, protocol.TLPUnset)
	return o
}

func drawTerm(t *rapid.T) protocol.Term {
	from := rapid.SampledFrom(cast).Draw(t, "from")
	to := rapid.SampledFrom(cast).Filter(func(o protocol.OrgID) bool { return o != from }).Draw(t, "to")
	return protocol.Term{
		From: from, To: to,
		Topics:        drawLimit(t, topics, "term topic"),
		Kinds:         drawLimit(t, kinds, "term kind"),
		TLP:           drawLabel(t, "ceiling", protocol.TLPClear, protocol.TLPRed, protocol.TLPAmber),
		PAP:           drawLabel(t, "PAP ceiling", protocol.PAPUnset, protocol.PAPRed, protocol.PAPUnset),
		Countries:     drawLimit(t, countryOf, "term country"),
		Personal:      drawLabel(t, "term personal", protocol.PersonalNone, protocol.PersonalAll, protocol.PersonalAll),
		Purposes:      drawSet(t, purposeOf, "term purpose"),
		RetentionDays: uint32(rapid.IntRange(0, 3).Draw(t, "term retention")),
		HistoryDays:   uint32(rapid.IntRange(0, 3).Draw(t, "history")),
		Onward:        drawOnward(t),
		Confidence:    drawLabel[uint8](t, "least confidence", 0, 100, 0),
		Approval:      drawLabel[uint8](t, "approval", 0, 2, 0),
		PerDay:        drawLabel[uint32](t, "volume", 1, 9, 0),
		Holders:       protocol.Holders{Orgs: sortedOrgs(drawSet(t, cast, "holder")), Countries: drawSet(t, countryOf, "holder country")},
		ReplyHours:    uint32(rapid.IntRange(0, 3).Draw(t, "reply")),
		Notify:        rapid.SampledFrom([]protocol.Duty{0, protocol.DutyMay, protocol.DutyMustNot}).Draw(t, "notify"),
		Attribution:   drawLabel(t, "attribution", protocol.DutyMay, protocol.DutyMustNot, protocol.DutyUnstated),
		Resale:        rapid.SampledFrom([]protocol.Duty{0, protocol.DutyMay, protocol.DutyMustNot}).Draw(t, "resale"),
	}
}

// drawAgreement draws an agreement that protocol takes for valid.
func drawAgreement(t *rapid.T, n int) Agreement {
	var terms []protocol.Term
	for range rapid.IntRange(1, 3).Draw(t, "terms") {
		terms = append(terms, drawTerm(t))
	}
	a := testAgreement(n, terms...)
	a.Doc.NoticeDays = uint32(rapid.IntRange(0, 2).Draw(t, "notice"))
	if seldom(t, "termination") {
		at := drawTime(t)
		a.Ends = []End{{Org: rapid.SampledFrom(a.Doc.Parties).Draw(t, "who leaves"), Made: at, At: at}}
	}
	if seldom(t, "suspension") {
		p := Pause{Org: rapid.SampledFrom(a.Doc.Parties).Draw(t, "who suspends"), From: drawTime(t)}
		if rapid.Bool().Draw(t, "resumed") {
			p.Until = drawTime(t)
		}
		a.Pauses = []Pause{p}
	}
	if seldom(t, "amended") {
		a.Superseded = drawTime(t)
	}
	if err := a.Doc.Validate(); err != nil {
		t.Fatalf("drew an agreement that is not valid: %v", err)
	}
	return a
}

func drawAgreements(t *rapid.T) []Agreement {
	var out []Agreement
	for n := range rapid.IntRange(0, 8).Draw(t, "agreements") {
		out = append(out, drawAgreement(t, n))
	}
	return out
}

func drawOrgs(t *rapid.T) map[protocol.OrgID]Org {
	orgs := testOrgs()
	if seldom(t, "trouble") {
		o := rapid.SampledFrom(cast).Draw(t, "with")
		org := orgs[o]
		org.CardFresh, org.Rostered = rapid.Bool().Draw(t, "fresh"), rapid.Bool().Draw(t, "rostered")
		orgs[o] = org
	}
	return orgs
}

func drawState(t *rapid.T) *State {
	return NewState(alice, 1, drawOrgs(t), drawAgreements(t))
}

func drawHandling(t *rapid.T) protocol.Handling {
	h := protocol.Handling{
		Version:       1,
		TLP:           drawLabel(t, "TLP", protocol.TLPUnset, protocol.TLPRed, protocol.TLPGreen),
		PAP:           drawLabel(t, "PAP", protocol.PAPUnset, protocol.PAPRed, protocol.PAPGreen),
		Countries:     drawSet(t, countryOf, "country"),
		Personal:      drawLabel(t, "personal", protocol.PersonalUndetermined, protocol.PersonalAll, protocol.PersonalNone),
		Purposes:      drawSet(t, purposeOf, "purpose"),
		RetentionDays: uint32(rapid.IntRange(0, 3).Draw(t, "retention")),
		Onward:        drawOnward(t),
	}
	h.Excluded, h.Named = drawSet(t, cast, "excluded"), drawSet(t, cast, "named")
	h.Normalise()
	return h
}

// drawSubject draws a record of alice's, or one that came to her.
func drawSubject(t *rapid.T) *Subject {
	s := &Subject{Originator: alice, Publisher: alice, Handling: drawHandling(t), RecordedAt: now,
		Topic: rapid.SampledFrom(topics).Draw(t, "topic"), Kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
		Confidence: drawLabel[uint8](t, "confidence", 0, 100, 100)}
	if rapid.Bool().Draw(t, "received") {
		s.Originator, s.Publisher = rapid.SampledFrom(cast).Draw(t, "originator"), rapid.SampledFrom(cast).Draw(t, "publisher")
	}
	return s
}
