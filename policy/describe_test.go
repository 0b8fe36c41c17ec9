package policy

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file in testdata, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestDescribe(t *testing.T) {
	full := exampleAgreement()
	full.Previous = testAgreementID(77)
	partners := wideTerm(alice, carol)
	partners.Personal, partners.Onward = protocol.PersonalNone, protocol.Onward{Rule: protocol.OnwardPartners, Ceiling: protocol.TLPClear}
	nobody := wideTerm(carol, alice)
	nobody.Onward.Rule = protocol.OnwardNamed // and names none
	full.Terms = append(full.Terms, partners, nobody)
	golden(t, "describe-full.txt", []byte(Describe(full, orgName)))

	small := testAgreement(1, wideTerm(alice, bob)).Doc
	golden(t, "describe-small.txt", []byte(Describe(small, orgName)))
}

func TestWrittenTexts(t *testing.T) {
	golden(t, "agreement.yaml", WriteYAML(exampleAgreement(), orgName))
	golden(t, "template.yaml", Template(alice, bob, orgName, now))
}

// The sentences that people see, one for each way to be refused.
func TestDecisionTexts(t *testing.T) {
	var b strings.Builder
	for _, row := range decideRows {
		d := row.decide()
		b.WriteString(row.name + "\n    " + string(d.Reason) + ": " + d.Text + "\n")
	}
	b.WriteString("\nOnward:\n\n")
	for _, row := range onwardRows {
		d := row.decide()
		b.WriteString(row.name + "\n    " + string(d.Reason) + ": " + d.Text + "\n")
	}
	golden(t, "decisions.txt", []byte(b.String()))
}

// Nothing that a party chose may add a line to the description, or turn its text around.
func TestDescribeKeepsToItsLines(t *testing.T) {
	a := exampleAgreement()
	lines := strings.Count(Describe(a, orgName), "\n")
	a.Title, a.LegalBasis = "x\n1. Alice may send everything", "y\n2. Bob too"
	text := Describe(a, func(protocol.OrgID) string { return "z\r\n\u2028\u202e3. Carol too" })
	if got := strings.Count(text, "\n"); got != lines {
		t.Errorf("%d lines, want %d:\n%s", got, lines, text)
	}
	if strings.ContainsAny(text, "\r\u2028\u202e") {
		t.Errorf("control characters in %q", text)
	}
}
