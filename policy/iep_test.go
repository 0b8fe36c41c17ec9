package policy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// firstExample is the example of FIRST's IEP 2.0 Framework Definition, appendix A.
const firstExample = `{
	"id": "01bc4353-4829-4d55-8d52-0ab7e0790df9",
	"name": "FIRST IEP-SIG TLP-AMBER",
	"description": "This is the FIRST IEP-SIG TLP-AMBER Information Exchange Policy.",
	"iep_version": 2.0,
	"start_date": "2017-01-01T00:00:00Z",
	"end_date": null,
	"encrypt_in_transit": "may",
	"permitted_actions": "externally-visible-direct-actions",
	"affected_party_notifications": "may",
	"tlp": "amber",
	"attribution": "must-not",
	"unmodified_resale": "must-not",
	"external_references": ["https://www.first.org/tlp", "https://www.first.org/iep"]
}`

func encodeIEP(t interface{ Fatal(...any) }, list []IEPPolicy) []byte {
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIEPTexts(t *testing.T) {
	a := exampleAgreement()
	a.Terms[0].Notify, a.Terms[0].Attribution, a.Terms[0].Resale = protocol.DutyMay, protocol.DutyMust, protocol.DutyMustNot
	golden(t, "iep.json", append(encodeIEP(t, ExportIEP(a, testAgreementID(7), orgName)), '\n'))
	doc, notes, err := ParseIEP([]byte(firstExample), alice, bob, now)
	if err != nil {
		t.Fatal(err)
	}
	draft := WriteIEPDraft(doc, notes, orgName)
	golden(t, "iep.yaml", draft)
	if again, err := ParseYAML(draft, resolveOrg); err != nil || !reflect.DeepEqual(again, doc) {
		t.Errorf("read again: %+v, %v", again, err)
	}
	if err := validate(compiledSchema(t), draft); err != nil {
		t.Error(err)
	}
}

// What maps comes back; what does not is narrower, never wider.
func TestIEPRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAgreement(t, 1).Doc
		b, _, err := ParseIEP(encodeIEP(t, ExportIEP(a, testAgreementID(1), orgName)), alice, bob, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Terms) != len(a.Terms) || b.NotBefore != a.NotBefore || b.NotAfter != a.NotAfter {
			t.Fatalf("%d terms from %d until %d", len(b.Terms), b.NotBefore, b.NotAfter)
		}
		for i := range a.Terms {
			x, y := &a.Terms[i], &b.Terms[i]
			tlp, pap := x.TLP, x.PAP
			if tlp == protocol.TLPAmberStrict {
				tlp = protocol.TLPAmber
			}
			switch pap {
			case protocol.PAPUnset:
				pap = protocol.PAPRed
			case protocol.PAPClear:
				pap = protocol.PAPGreen
			}
			duty := func(d protocol.Duty) protocol.Duty {
				if d == protocol.DutyUnstated {
					return protocol.DutyMustNot
				}
				return d
			}
			if y.TLP != tlp || y.PAP != pap || y.Notify != duty(x.Notify) || y.Attribution != duty(x.Attribution) || y.Resale != duty(x.Resale) {
				t.Fatalf("term %d: %+v came back as %+v", i+1, x, y)
			}
		}
	})
}

func TestIEPIsReadStrictly(t *testing.T) {
	for _, row := range []struct{ name, old, new, want string }{
		{"no JSON", "{", "", "not a policy of IEP 2.0"},
		{"another version", "2.0,", "1.0,", "iep_version is 1.0, and only 2.0 is read"},
		{"no version", `"iep_version": 2.0,`, "", "iep_version is missing"},
		{"version as a word", "2.0,", `"2.0",`, ""},
		{"version without fraction", "2.0,", "2,", ""},
		{"unknown member", `"tlp"`, `"encrypt_at_rest": "must", "tlp"`, "encrypt_at_rest"},
		{"member twice", `"tlp"`, `"tlp": "red", "tlp"`, "duplicate"},
		{"no TLP", `"tlp": "amber",`, "", "tlp is missing"},
		{"TLP 2.0", `"amber"`, `"amber+strict"`, "IEP 2.0 has red, amber, green and white"},
		{"white", `"amber"`, `"white"`, ""},
		{"no id", "01bc4353-4829-4d55-8d52-0ab7e0790df9", "", "id is missing"},
		{"unknown actions", "externally-visible-direct-actions", "everything", "permitted_actions is"},
		{"ask before acting", "externally-visible-direct-actions", "contact-for-instruction", ""},
		{"unknown notification", `"affected_party_notifications": "may"`, `"affected_party_notifications": "must"`, "may and must-not"},
		{"unknown attribution", `"attribution": "must-not"`, `"attribution": "never"`, "may, must and must-not"},
		{"unknown resale", `"unmodified_resale": "must-not"`, `"unmodified_resale": "must"`, "may and must-not"},
		{"unknown encryption", `"encrypt_in_transit": "may"`, `"encrypt_in_transit": "no"`, "must and may"},
		{"no duties", `"attribution": "must-not",`, "", ""},
		{"start as words", "2017-01-01T00:00:00Z", "yesterday", "RFC 3339"},
		{"start before time", "2017-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "RFC 3339"},
		{"end before start", "null", `"2016-01-01T00:00:00Z"`, "end_date is not after start_date"},
		{"end", "null", `"2030-01-01T00:00:00Z"`, ""},
		{"long name", "FIRST IEP-SIG TLP-AMBER\"", strings.Repeat("x", 200) + `"`, "title has 200 bytes"},
		{"name that turns text around", "FIRST IEP-SIG TLP-AMBER\"", `x\u202ey"`, ""},
		{"reference that turns text around", "https://www.first.org/tlp", `x\u202ey`, "legal basis holds control"},
	} {
		text := strings.Replace(firstExample, row.old, row.new, 1)
		if row.name == "no JSON" {
			text = "tlp: amber"
		}
		_, notes, err := ParseIEP([]byte(text), alice, bob, now)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
		if err == nil && len(notes) < 4 {
			t.Errorf("%s: notes %q", row.name, notes)
		}
	}
	for _, row := range []struct{ name, text, want string }{
		{"empty list", "[]", "holds no policy"},
		{"too many", "[" + strings.Repeat(firstExample+",", protocol.MaxTerms) + firstExample + "]", "import some of them"},
		{"too large", strings.Repeat(" ", maxIEPSize+1), "at most"},
		{"two times", "[" + firstExample + "," + strings.Replace(strings.Replace(firstExample, "2017", "2011", 1), "null", `"2012-01-01T00:00:00Z"`, 1) + "]", "import those of one time"},
		{"more behind it", firstExample + firstExample, "not a policy of IEP 2.0"},
	} {
		if _, _, err := ParseIEP([]byte(row.text), alice, bob, now); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}

// Whatever is in the file, what comes out of it can be proposed, and read again as it was written.
func FuzzParseIEP(f *testing.F) {
	f.Add([]byte(firstExample))
	f.Add(encodeIEP(f, ExportIEP(exampleAgreement(), testAgreementID(1), orgName)))
	f.Add([]byte(strings.Replace(firstExample, "FIRST IEP-SIG TLP-AMBER\"", ` \r\n x "`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, notes, err := ParseIEP(data, alice, bob, now)
		if err != nil {
			return
		}
		again, err := ParseYAML(WriteIEPDraft(a, notes, orgName), resolveOrg)
		if err != nil {
			t.Fatal(err)
		}
		if d := Diff(a, again, orgName); len(d) > 0 {
			t.Fatalf("%+v", d)
		}
	})
}

func TestIEPDescriptionIsClipped(t *testing.T) {
	text := strings.Replace(firstExample, "This is the", strings.Repeat("ü", 200_000), 1)
	a, notes, err := ParseIEP([]byte("["+text+","+text+"]"), alice, bob, now)
	if err != nil {
		t.Fatal(err)
	}
	if draft := WriteIEPDraft(a, notes, orgName); len(draft) > 8000 {
		t.Errorf("the draft has %d bytes", len(draft))
	}
}
