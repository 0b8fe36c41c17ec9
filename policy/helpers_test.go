package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// The cast. alice publishes, bob and carol read, dave is a fourth organisation, and mallory
// should not get anything.
var (
	alice   = testOrg(0xa1)
	bob     = testOrg(0xb0)
	carol   = testOrg(0xca)
	dave    = testOrg(0xda)
	mallory = testOrg(0xee)
)

func testOrg(b byte) (id protocol.OrgID) {
	for i := range id {
		id[i] = b
	}
	return id
}

func testAgreementID(n int) (id protocol.AgreementID) {
	id[0], id[1], id[2] = byte(n>>16), byte(n>>8), byte(n)
	return id
}

func orgName(o protocol.OrgID) string {
	switch o {
	case alice:
		return "Alice Research"
	case bob:
		return "Bob Police"
	case carol:
		return "Carol CERT"
	case dave:
		return "Dave Vendor"
	case mallory:
		return "Mallory Ltd"
	}
	return o.Short()
}

// resolveOrg finds an organisation by its short name or its id.
func resolveOrg(s string) (protocol.OrgID, error) {
	for name, o := range map[string]protocol.OrgID{"alice": alice, "bob": bob, "carol": carol, "dave": dave, "mallory": mallory} {
		if s == name {
			return o, nil
		}
	}
	id, err := protocol.ParseOrgID(s)
	if err != nil {
		return id, fmt.Errorf("organisation %q is not known", s)
	}
	return id, nil
}

// testOrgs are members in good standing.
func testOrgs() map[protocol.OrgID]Org {
	orgs := map[protocol.OrgID]Org{}
	for o, kind := range map[protocol.OrgID]protocol.OrgKind{
		alice: protocol.KindResearch, bob: protocol.KindPolice, carol: protocol.KindCERT,
		dave: protocol.KindVendor, mallory: protocol.KindOther,
	} {
		orgs[o] = Org{ID: o, Name: orgName(o), Kind: kind, Country: "TH", CardFresh: true, Rostered: true}
	}
	return orgs
}

// ms reads a date into Unix milliseconds.
func ms(date string) uint64 {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		panic(err)
	}
	return uint64(t.UnixMilli())
}

var (
	begins = ms("2026-01-01")
	now    = ms("2026-06-15")
	ends   = ms("2027-01-01")
)

// wideTerm lets everything through.
func wideTerm(from, to protocol.OrgID) protocol.Term {
	return protocol.Term{From: from, To: to, Topics: []string{protocol.Any}, Kinds: []string{protocol.Any},
		TLP: protocol.TLPRed, Countries: []string{protocol.Worldwide}, Personal: protocol.PersonalAll}
}

// testAgreement is in force from begins to ends.
func testAgreement(n int, terms ...protocol.Term) Agreement {
	doc := &protocol.Agreement{Version: 1, Title: fmt.Sprintf("Agreement %d", n), Terms: terms, NotBefore: begins, NotAfter: ends}
	doc.Network[0], doc.Secret[0] = 1, byte(n+1)
	for _, t := range terms {
		doc.Parties = append(doc.Parties, t.From, t.To)
	}
	doc.Parties = sortedOrgs(doc.Parties)
	return Agreement{ID: testAgreementID(n), Doc: doc}
}

// openSubject is a record of alice's own about which she states as little as she may.
func openSubject() *Subject {
	return &Subject{Originator: alice, Publisher: alice, Topic: "c2", Kind: "indicator", RecordedAt: now,
		Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen}}
}

func testState(agreements ...Agreement) *State { return NewState(alice, 7, testOrgs(), agreements) }

// audience lists who is allowed.
func audience(s *State, subj *Subject, at uint64) []protocol.OrgID {
	var out []protocol.OrgID
	for _, d := range Audience(s, subj, at) {
		if d.Decision.Allow {
			out = append(out, d.Org)
		}
	}
	return out
}

func wantReason(t *testing.T, d Decision, want Reason) {
	t.Helper()
	if d.Reason != want {
		t.Errorf("reason = %q (%s), want %q", d.Reason, d.Text, want)
	}
	if allows := want == ReasonOK || want == ReasonOwn; d.Allow != allows {
		t.Errorf("allow = %v with reason %q", d.Allow, d.Reason)
	}
	if d.Text == "" {
		t.Error("no text")
	}
}

func sortedOrgs(orgs []protocol.OrgID) []protocol.OrgID {
	orgs = slices.Clone(orgs)
	slices.SortFunc(orgs, protocol.OrgID.Compare)
	return slices.Compact(orgs)
}
