package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// exampleYAML states every member of an agreement.
const exampleYAML = `title: Botnet servers
parties: [bob, alice]
not_before: 2026-01-01
not_after: 2027-01-01T09:30:00.5Z
legal_basis: Treaty on mutual assistance, article 5
paper_sha256: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
terms:
  - from: alice
    to: bob
    topics: [malware, c2]
    kinds: any
    tlp: TLP:AMBER+STRICT
    pap: amber
    countries: [th, "NO"]
    personal_data: network
    purposes: [prosecute, block]
    retention_days: 365
    history_days: 30
    onward:
      rule: named
      organisations: [dave, carol]
      ceiling: green
  - from: bob
    to: alice
    topics: any
    kinds: [indicator]
    tlp: white
    countries: worldwide
    personal_data: all
    onward:
      rule: kinds
      kinds: [police, cert]
`

func exampleAgreement() *protocol.Agreement {
	return &protocol.Agreement{
		Version: 1, Title: "Botnet servers", Parties: []protocol.OrgID{alice, bob},
		LegalBasis: "Treaty on mutual assistance, article 5", NotBefore: ms("2026-01-01"), NotAfter: ms("2027-01-01") + 34_200_500,
		PaperSHA256: protocol.Hash{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
		Terms: []protocol.Term{
			{From: alice, To: bob, Topics: []string{"c2", "malware"}, Kinds: []string{"*"}, TLP: protocol.TLPAmberStrict, PAP: protocol.PAPAmber,
				Countries: []string{"NO", "TH"}, Personal: protocol.PersonalNetwork, Purposes: []string{"block", "prosecute"},
				RetentionDays: 365, HistoryDays: 30,
				Onward: protocol.Onward{Rule: protocol.OnwardNamed, Orgs: []protocol.OrgID{carol, dave}, Ceiling: protocol.TLPGreen}},
			{From: bob, To: alice, Topics: []string{"*"}, Kinds: []string{"indicator"}, TLP: protocol.TLPClear,
				Countries: []string{"*"}, Personal: protocol.PersonalAll,
				Onward: protocol.Onward{Rule: protocol.OnwardKinds, Kinds: []protocol.OrgKind{protocol.KindCERT, protocol.KindPolice}}},
		},
	}
}

func TestParseYAML(t *testing.T) {
	got, err := ParseYAML([]byte(exampleYAML), resolveOrg)
	if err != nil {
		t.Fatal(err)
	}
	if want := exampleAgreement(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What is written reads as the same agreement, and writes as the same bytes.
func TestYAMLRoundTrip(t *testing.T) {
	first := WriteYAML(exampleAgreement(), orgName)
	got, err := ParseYAML(first, resolveOrg)
	if err != nil {
		t.Fatalf("%v in\n%s", err, first)
	}
	if want := exampleAgreement(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if second := WriteYAML(got, orgName); string(second) != string(first) {
		t.Errorf("wrote\n%s\nthen\n%s", first, second)
	}
	if strings.Contains(string(first), "secret") {
		t.Error("the secret was written")
	}
}

func TestYAMLRoundTripOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawAgreement(t, 1).Doc
		doc.Title = rapid.SampledFrom([]string{"Agreement", "yes", "2026-01-01", "a: b # c", "- x", "'", "\"", "ประเทศไทย", "two\nlines"}).Draw(t, "title")
		doc.NotBefore = rapid.Uint64Range(1, 253402300799998).Draw(t, "not before") // to the end of the year 9999
		doc.NotAfter = rapid.Uint64Range(doc.NotBefore+1, 253402300799999).Draw(t, "not after")
		if rapid.Bool().Draw(t, "amends") {
			doc.Previous = testAgreementID(77)
		}
		written := WriteYAML(doc, orgName)
		got, err := ParseYAML(written, resolveOrg)
		if err != nil {
			t.Fatalf("%v in\n%s", err, written)
		}
		got.Network, got.Secret = doc.Network, doc.Secret
		if x, y := protocol.Encode(doc), protocol.Encode(got); string(x) != string(y) {
			t.Fatalf("another agreement was read from\n%s", written)
		}
	})
}

// A party's name is its own choice; it must not become part of the document.
func TestWriteYAMLKeepsNamesInComments(t *testing.T) {
	for _, name := range []string{"x\nterms: []", "x\rterms: []", "x\u0085y", "x\u2028y", "x\u0090y", "x\ufffey", "\ufeffx", "x\u202ey", "\x00", "\xff"} {
		written := WriteYAML(exampleAgreement(), func(protocol.OrgID) string { return name })
		got, err := ParseYAML(written, resolveOrg)
		if err != nil || !reflect.DeepEqual(got, exampleAgreement()) {
			t.Errorf("with name %q: %v", name, err)
		}
		if strings.ContainsRune(string(written), '\u202e') {
			t.Errorf("name %q turns the text around", name)
		}
	}
}

func TestTemplate(t *testing.T) {
	text := Template(alice, bob, orgName, now)
	a, err := ParseYAML(text, resolveOrg)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if a.NotBefore != now || a.NotAfter != ms("2027-06-15") || len(a.Terms) != 2 {
		t.Errorf("template reads as %+v", a)
	}
	a.LegalBasis = "Treaty on mutual assistance"
	for _, f := range CheckAgreement(a, now) {
		if f.Severity == SeverityError {
			t.Errorf("template: term %d: %s", f.Term, f.Text)
		}
	}
	a.Network[0], a.Secret[0] = 1, 1
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	lines := func(protocol.OrgID) string { return "x\nterms: []" }
	if _, err := ParseYAML(Template(alice, bob, lines, now), resolveOrg); err != nil {
		t.Errorf("with a name of two lines: %v", err)
	}
}

func FuzzParseYAML(f *testing.F) {
	f.Add([]byte(exampleYAML))
	f.Add(WriteYAML(exampleAgreement(), orgName))
	f.Add(Template(alice, bob, orgName, now))
	for _, row := range refusedYAML {
		if text := row.text(); len(text) < 4<<10 { // large seeds make the fuzzer spend its time on shrinking
			f.Add([]byte(text))
		}
	}
	// The file comes from a partner by mail, or from an editor: it must not crash the node,
	// and what is read must be what is shown again.
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseYAML(data, resolveOrg)
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrOversize) {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		written := WriteYAML(a, orgName)
		b, err := ParseYAML(written, resolveOrg)
		if err != nil {
			t.Fatalf("what was written does not read: %v\n%s", err, written)
		}
		if x, y := protocol.Encode(a), protocol.Encode(b); string(x) != string(y) {
			t.Fatalf("reads as another agreement:\n%s", written)
		}
		CheckAgreement(a, now)
		Describe(a, orgName)
	})
}
