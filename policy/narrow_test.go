package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// marked is a handling that states everything, in the middle of what can be stated.
func marked() protocol.Handling {
	h := protocol.Handling{TLP: protocol.TLPAmber, PAP: protocol.PAPAmber, Countries: []string{"TH", "VN"},
		Personal: protocol.PersonalNetwork, Purposes: []string{"block", "prosecute"}, RetentionDays: 30,
		Named: []protocol.OrgID{bob, carol}, Excluded: []protocol.OrgID{mallory}}
	h.Normalise()
	return h
}

func TestNarrow(t *testing.T) {
	for _, row := range []struct {
		name    string
		flags   Flags
		change  func(*protocol.Handling) // of marked
		refused string                   // what the message says
	}{
		{name: "nothing", change: func(h *protocol.Handling) {}},
		{name: "TLP up", flags: Flags{TLP: protocol.TLPRed}, change: func(h *protocol.Handling) { h.TLP = protocol.TLPRed }},
		{name: "TLP same", flags: Flags{TLP: protocol.TLPAmber}, change: func(h *protocol.Handling) {}},
		{name: "TLP down", flags: Flags{TLP: protocol.TLPGreen}, refused: "--tlp green would widen its marking: it is marked TLP:AMBER"},
		{name: "PAP up", flags: Flags{PAP: protocol.PAPRed}, change: func(h *protocol.Handling) { h.PAP = protocol.PAPRed }},
		{name: "PAP down", flags: Flags{PAP: protocol.PAPClear}, refused: "--pap clear would widen its marking: it is marked PAP:AMBER"},
		{name: "more personal data", flags: Flags{Personal: protocol.PersonalAll}, change: func(h *protocol.Handling) { h.Personal = protocol.PersonalAll }},
		{name: "less personal data", flags: Flags{Personal: protocol.PersonalNone}, refused: `--personal none would widen its marking: it is stated to hold "network"`},
		{name: "fewer countries", flags: Flags{Countries: []string{"VN"}}, change: func(h *protocol.Handling) { h.Countries = []string{"VN"} }},
		{name: "another country", flags: Flags{Countries: []string{"VN", "SG"}}, refused: "--country SG would widen its marking: it is stated for countries TH, VN"},
		{name: "fewer purposes", flags: Flags{Purposes: []string{"block"}}, change: func(h *protocol.Handling) { h.Purposes = []string{"block"} }},
		{name: "another purpose", flags: Flags{Purposes: []string{"research"}}, refused: "--purpose research would widen its marking"},
		{name: "shorter retention", flags: Flags{RetentionDays: 7}, change: func(h *protocol.Handling) { h.RetentionDays = 7 }},
		{name: "longer retention", flags: Flags{RetentionDays: 31}, refused: "--retention 31 would widen its marking: its originator allows 30 days"},
		{name: "fewer recipients", flags: Flags{To: []protocol.OrgID{carol}}, change: func(h *protocol.Handling) { h.Named = []protocol.OrgID{carol} }},
		{name: "another recipient", flags: Flags{To: []protocol.OrgID{dave}}, refused: "would widen its marking: its originator named other recipients"},
		{name: "one more excluded", flags: Flags{Exclude: []protocol.OrgID{dave}}, change: func(h *protocol.Handling) { h.Excluded = []protocol.OrgID{dave, mallory} }},
		{name: "the origin may be withheld", flags: Flags{Origin: protocol.OriginWithheld}, change: func(h *protocol.Handling) { h.Origin = protocol.OriginWithheld }},
		{name: "the origin is named", flags: Flags{Origin: protocol.OriginNamed}, change: func(h *protocol.Handling) { h.Origin = protocol.OriginNamed }},
		{name: "excluded twice", flags: Flags{Exclude: []protocol.OrgID{mallory}}, change: func(h *protocol.Handling) {}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := marked()
			got, err := Narrow(in, row.flags)
			if !reflect.DeepEqual(in, marked()) {
				t.Error("its argument was changed")
			}
			if row.refused != "" {
				if err == nil || !strings.Contains(err.Error(), row.refused) {
					t.Fatalf("error = %v, want %q", err, row.refused)
				}
				return
			}
			want := marked()
			row.change(&want)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v (%v), want %+v", got, err, want)
			}
			if err := got.Validate(); err != nil {
				t.Errorf("what came out is not valid: %v", err)
			}
		})
	}
}

// A flag states for the first time what the marking leaves open.
func TestNarrowFillsInWhatIsNotStated(t *testing.T) {
	f := Flags{TLP: protocol.TLPClear, PAP: protocol.PAPClear, Countries: []string{"VN", "TH", "VN"}, Personal: protocol.PersonalNone,
		Purposes: []string{"block"}, RetentionDays: 9, To: []protocol.OrgID{carol, bob}, Exclude: []protocol.OrgID{dave}}
	got, err := Narrow(protocol.Handling{}, f)
	want := protocol.Handling{Version: 1, TLP: protocol.TLPClear, PAP: protocol.PAPClear, Countries: []string{"TH", "VN"},
		Personal: protocol.PersonalNone, Purposes: []string{"block"}, RetentionDays: 9,
		Named: []protocol.OrgID{bob, carol}, Excluded: []protocol.OrgID{dave}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if !slices.Equal(f.To, []protocol.OrgID{carol, bob}) {
		t.Error("the flags were changed")
	}
}

// To state TLP, countries, personal data, or the recipients of RED for the first time is no
// narrowing (DESIGN 8, defaults), so the record here states them.
func TestNarrowAddsNoReader(t *testing.T) {
	narrowed := 0
	rapid.Check(t, func(t *rapid.T) {
		subj := drawSubject(t)
		h := &subj.Handling
		h.TLP, h.Personal = max(h.TLP, protocol.TLPClear), h.Personal.Effective()
		if len(h.Countries) == 0 {
			h.Countries = []string{"TH"}
		}
		if h.TLP == protocol.TLPRed && len(h.Named) == 0 {
			h.Named = []protocol.OrgID{bob}
		}
		flags := drawFlags(t)
		after := *subj
		var err error
		if after.Handling, err = Narrow(*h, flags); err != nil {
			return
		}
		narrowed++
		for n := range 16 {
			term := drawTerm(t)
			s := NewState(term.From, 1, testOrgs(), []Agreement{testAgreement(n, term)})
			was, is := Decide(s, term.From, term.To, subj, now), Decide(s, term.From, term.To, &after, now)
			if is.Allow && !was.Allow {
				t.Fatalf("flags %+v add %s: %s", flags, orgName(term.To), is.Text)
			}
			if is.Allow && keeps(is.Retention) > keeps(was.Retention) {
				t.Fatalf("flags %+v prolong the retention from %d to %d", flags, was.Retention, is.Retention)
			}
			if DecideOnward(s, term.To, &after, now).Allow && !DecideOnward(s, term.To, subj, now).Allow {
				t.Fatalf("flags %+v let it be passed on to %s", flags, orgName(term.To))
			}
		}
	})
	if narrowed == 0 {
		t.Error("no draw narrowed anything")
	}
}

func drawFlags(t *rapid.T) Flags {
	return Flags{
		TLP:           drawLabel(t, "flag TLP", protocol.TLPUnset, protocol.TLPRed, protocol.TLPUnset),
		PAP:           drawLabel(t, "flag PAP", protocol.PAPUnset, protocol.PAPRed, protocol.PAPUnset),
		Countries:     drawSet(t, countryOf, "flag country"),
		Personal:      drawLabel(t, "flag personal", protocol.PersonalUndetermined, protocol.PersonalAll, protocol.PersonalUndetermined),
		Purposes:      drawSet(t, purposeOf, "flag purpose"),
		RetentionDays: uint32(rapid.IntRange(0, 3).Draw(t, "flag retention")),
		To:            drawSet(t, cast, "flag to"),
		Exclude:       drawSet(t, cast, "flag exclude"),
	}
}

// A flag fills in to whom a record may be passed on, or narrows it; it never widens what was said,
// nor what was said to be nobody.
func TestNarrowOnward(t *testing.T) {
	said := protocol.Onward{Ceiling: protocol.TLPClear} // nobody, in so many words
	certsAndPolice := protocol.Onward{Rule: protocol.OnwardKinds, Kinds: []protocol.OrgKind{protocol.KindCERT, protocol.KindPolice}}
	bobAndCarol := protocol.Onward{Rule: protocol.OnwardNamed, Orgs: sortedOrgs([]protocol.OrgID{bob, carol})}
	for _, row := range []struct {
		name        string
		stated, say protocol.Onward
		ok          bool
	}{
		{"left open", protocol.Onward{}, certsAndPolice, true},
		{"nobody was said", said, certsAndPolice, false},
		{"nobody in place of partners", protocol.Onward{Rule: protocol.OnwardPartners}, said, true},
		{"kinds in place of partners", protocol.Onward{Rule: protocol.OnwardPartners}, toCERTs, true},
		{"fewer kinds", certsAndPolice, toCERTs, true},
		{"another kind", toCERTs, certsAndPolice, false},
		{"fewer names", bobAndCarol, toCarol, true},
		{"another name", toCarol, bobAndCarol, false},
		{"partners in place of names", toCarol, protocol.Onward{Rule: protocol.OnwardPartners}, false},
		{"kinds in place of names", toCarol, toCERTs, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, err := Narrow(protocol.Handling{Version: 1, Onward: row.stated}, Flags{Onward: row.say})
			if (err == nil) != row.ok {
				t.Fatalf("%+v, %v", h.Onward, err)
			}
		})
	}
	h, err := Narrow(protocol.Handling{Version: 1, Onward: upToGreen}, Flags{Onward: protocol.Onward{Rule: protocol.OnwardPartners, Ceiling: protocol.TLPRed}})
	if err != nil || h.Onward.Ceiling != protocol.TLPGreen {
		t.Errorf("the ceiling became %s, %v", h.Onward.Ceiling, err)
	}
}
