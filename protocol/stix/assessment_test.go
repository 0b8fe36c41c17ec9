package stix

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestAssess reads every place in which a code may stand, one deviation a row.
func TestAssess(t *testing.T) {
	confidence := func(n uint8) *uint8 { return &n }
	handling := func(s string) string {
		return `"extensions":{"` + HandlingExtension + `":{"extension_type":"property-extension",` + s + `}}`
	}
	for _, tt := range []struct {
		name, properties, statement string
		want                        Assessment
	}{
		{"nothing", `"labels":["c2"]`, "", Assessment{}},
		{"tags of MISP", `"labels":["admiralty-scale:source-reliability=\"b\"","admiralty-scale:information-credibility=\"2\""]`, "",
			Assessment{Reliability: "B", Credibility: 2, Mapped: Mapped{Confidence: confidence(70), Source: "B", Information: 2}}},
		{"in capitals, without quotes", `"labels":["Admiralty-Scale:Source-Reliability=F"]`, "", Assessment{Reliability: "F", Mapped: Mapped{Source: "X"}}},
		{"a credibility that is no confidence", `"labels":["admiralty-scale:information-credibility=\"6\""]`, "",
			Assessment{Credibility: 6, Mapped: Mapped{Information: 4}}},
		{"a credibility that Europol has no code for", `"labels":["admiralty-scale:information-credibility=\"5\""]`, "",
			Assessment{Credibility: 5, Mapped: Mapped{Confidence: confidence(10)}}},
		{"a stated confidence wins", `"confidence":65,"labels":["admiralty-scale:information-credibility=\"2\""]`, "",
			Assessment{Confidence: confidence(65), Credibility: 2, Mapped: Mapped{Information: 2}}},
		{"a confidence of 0 is one", `"confidence":0`, "", Assessment{Confidence: confidence(0)}},
		{"a confidence that is none", `"confidence":101`, "", Assessment{}},
		{"estimative language", `"labels":["estimative-language:likelihood-probability=\"very-likely\""]`, "", Assessment{Likelihood: "very-likely"}},
		{"Europol, as tags", `"labels":["europol-evaluation:code=\"C3\"","europol-handling:code=\"h1\""]`, "",
			Assessment{Source: "C", Information: 3, Handling: []string{"H1"}, Mapped: Mapped{Reliability: "D", Credibility: 3, Confidence: confidence(50)}}},
		{"the handling extension", handling(`"reliability":"A","credibility":1,"europol_evaluation":"A1","europol_handling":["H3","H1"],"europol_text":"ask us first"`), "",
			Assessment{Reliability: "A", Credibility: 1, Source: "A", Information: 1, Handling: []string{"H1", "H3"}, HandlingText: "ask us first", Mapped: Mapped{Confidence: confidence(90)}}},
		{"a credibility in quotes", handling(`"credibility":"4"`), "", Assessment{Credibility: 4, Mapped: Mapped{Confidence: confidence(30)}}},
		{"OpenCTI's property", `"x_opencti_reliability":"B - Usually reliable"`, "", Assessment{Reliability: "B", Mapped: Mapped{Source: "B"}}},
		{"OpenCTI's extension", `"extensions":{"` + openctiExtension + `":{"reliability":"E - Unreliable"}}`, "", Assessment{Reliability: "E", Mapped: Mapped{Source: "C"}}},
		{"a statement", `"object_marking_refs":["` + ownMarking + `"]`, "Europol handling codes: H1, H2", Assessment{Handling: []string{"H1", "H2"}}},
		{"a statement with words behind", `"object_marking_refs":["` + ownMarking + `"]`, "Handling code H1 - not in court", Assessment{Handling: []string{"H1"}}},
		{"a statement of an evaluation", `"object_marking_refs":["` + ownMarking + `"]`, "Evaluation code X4",
			Assessment{Source: "X", Information: 4, Mapped: Mapped{Reliability: "F", Credibility: 6}}},
		{"another statement", `"object_marking_refs":["` + ownMarking + `"]`, "Copyright H1 Ltd", Assessment{}},
		{"a marking that it does not have", `"labels":["x"]`, "Handling code H1", Assessment{}},

		{"an unknown reliability", `"labels":["admiralty-scale:source-reliability=\"g\""]`, "", Assessment{Unknown: []string{`admiralty-scale:source-reliability="g"`}}},
		{"an unknown credibility", `"labels":["admiralty-scale:information-credibility=\"7\""]`, "", Assessment{Unknown: []string{`admiralty-scale:information-credibility="7"`}}},
		{"an unknown likelihood", `"labels":["estimative-language:likelihood-probability=\"never\""]`, "", Assessment{Unknown: []string{`estimative-language:likelihood-probability="never"`}}},
		{"an unknown predicate", `"labels":["admiralty-scale:mood=\"b\""]`, "", Assessment{Unknown: []string{`admiralty-scale:mood="b"`}}},
		{"an unknown evaluation", handling(`"europol_evaluation":"D5"`), "", Assessment{Unknown: []string{"europol_evaluation D5"}}},
		{"a known handling code and an unknown one", handling(`"europol_handling":["H1","H9"]`), "", Assessment{Handling: []string{"H1"}, Unknown: []string{"europol_handling H9"}}},
		{"a code that is no string", handling(`"reliability":{"is":"B"}`), "", Assessment{Unknown: []string{`reliability {"is":"B"}`}}},
		{"an unknown code in a statement", `"object_marking_refs":["` + ownMarking + `"]`, "Handling code H7", Assessment{Unknown: []string{"Handling code H7"}}},

		{"two reliabilities", `"x_opencti_reliability":"A","labels":["admiralty-scale:source-reliability=\"b\"","admiralty-scale:source-reliability=\"b\""]`, "",
			Assessment{Contradictions: []string{"source reliability (Admiralty) is said to be B and A"}}},
		{"three credibilities", `"labels":["admiralty-scale:information-credibility=\"1\"","admiralty-scale:information-credibility=\"2\"","admiralty-scale:information-credibility=\"2\""]`, "",
			Assessment{Contradictions: []string{"information credibility (Admiralty) is said to be 1 and 2"}}},
		{"a confidence that the credibility does not stand for", `"confidence":95,"labels":["admiralty-scale:information-credibility=\"5\""]`, "",
			Assessment{Confidence: confidence(95), Credibility: 5, Contradictions: []string{"confidence is 95, and credibility 5 stands for 0 to 19"}}},
		{"two evaluations", handling(`"europol_evaluation":"A1"`) + `,"labels":["europol-evaluation:code=\"A2\""]`, "",
			Assessment{Source: "A", Mapped: Mapped{Reliability: "A"}, Contradictions: []string{"evaluation of the information (Europol) is said to be 2 and 1"}}},
	} {
		o := marked(t, tt.properties)
		before := string(o.Raw)
		def := define(t, `"definition_type":"statement","definition":{"statement":`+string(marshal(tt.statement))+`}`)
		got := Assess(o, func(id string) *Object {
			if id == def.ID {
				return def
			}
			return nil
		})
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v\nwant %+v", tt.name, got, tt.want)
		}
		if got.IsZero() != reflect.DeepEqual(tt.want, Assessment{}) {
			t.Errorf("%s: IsZero is %v", tt.name, got.IsZero())
		}
		if string(o.Raw) != before {
			t.Errorf("%s: the object was changed", tt.name)
		}
		// What is unknown or contradictory to Assess is no error of the handling.
		if _, _, err := NewMarkings([]*Object{def}).Handling(o); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestConfidenceTable is the table "Admiralty Credibility" of STIX 2.1, appendix A.
func TestConfidenceTable(t *testing.T) {
	for c, want := range map[uint8]uint8{1: 90, 2: 70, 3: 50, 4: 30, 5: 10} {
		if got, ok := ConfidenceOf(c); !ok || got != want {
			t.Errorf("credibility %d: %d, %v; want %d", c, got, ok, want)
		}
		if r := confidenceOf[c]; r.value < r.from || r.value > r.to {
			t.Errorf("credibility %d: %d is not in %d to %d", c, r.value, r.from, r.to)
		}
	}
	for _, c := range []uint8{0, 6, 7, 255} {
		if got, ok := ConfidenceOf(c); ok {
			t.Errorf("credibility %d has a confidence: %d", c, got)
		}
	}
	for c := range 101 { // every confidence stands for one credibility
		n := 0
		for i := 1; i <= 5; i++ {
			if r := confidenceOf[i]; int(r.from) <= c && c <= int(r.to) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("confidence %d is in %d ranges", c, n)
		}
	}
}

// TestEuropolTable: what Europol says comes back as it was, and every code has its place.
func TestEuropolTable(t *testing.T) {
	for _, source := range []string{"", "A", "B", "C", "X"} {
		for information := range uint8(5) {
			r, c := AdmiraltyOf(source, information)
			if (r == "") != (source == "") || (c == 0) != (information == 0) {
				t.Errorf("%s%d has the Admiralty codes %q, %d", source, information, r, c)
			}
			if s, i := EuropolOf(r, c); s != source || i != information {
				t.Errorf("%s%d comes back as %s%d", source, information, s, i)
			}
		}
	}
	for _, r := range []string{"A", "B", "C", "D", "E", "F"} {
		if s, _ := EuropolOf(r, 0); s == "" {
			t.Errorf("reliability %s has no counterpart", r)
		}
	}
	if _, i := EuropolOf("", 4); i != 0 {
		t.Error("doubtful information has a counterpart at Europol")
	}
}

// TestAssessedIndicator: what is written for a list is read back, and nothing else.
func TestAssessedIndicator(t *testing.T) {
	o := Observable{Domain, "c2.example.net"}
	if string(NewAssessedIndicator(o, testTime, &Assessment{}).Raw) != string(NewIndicator(o, testTime).Raw) {
		t.Error("an assessment that says nothing changes the object")
	}
	rapid.Check(t, func(t *rapid.T) {
		said, err := ParseAssessment(
			rapid.SampledFrom([]string{"", "A", "b", "F"}).Draw(t, "reliability"),
			rapid.SampledFrom([]string{"", "1", "6"}).Draw(t, "credibility"),
			rapid.SampledFrom([]string{"", "A1", "x4", "C2"}).Draw(t, "evaluation"),
			rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"H0", "h1", "H2", "H3"}), 0, 4, strings.ToUpper).Draw(t, "handling"),
			rapid.StringN(1, 40, 200).Draw(t, "text"))
		if err != nil {
			t.Fatal(err)
		}
		i := NewAssessedIndicator(o, testTime, &said)
		if got := Assess(i, nil); !reflect.DeepEqual(got, said) {
			t.Fatalf("written %+v\nread %+v\n%s", said, got, i.Raw)
		}
		if i.ID != NewIndicator(o, testTime).ID {
			t.Fatal("an assessment changes the id")
		}
		if _, _, err := NewMarkings(nil).Handling(i); err != nil {
			t.Fatal(err)
		}
	})
}

func TestParseAssessmentRefuses(t *testing.T) {
	for _, tt := range []struct {
		reliability, credibility, evaluation string
		handling                             []string
		text, want                           string
	}{
		{"G", "", "", nil, "", `reliability of the source: "G" is no such code; use A to F`},
		{"B - x", "", "", nil, "", "no such code"},
		{"", "7", "", nil, "", "use 1 to 6"},
		{"", "0", "", nil, "", "use 1 to 6"},
		{"", "", "D1", nil, "", "A, B, C or X with 1 to 4"},
		{"", "", "A5", nil, "", "A, B, C or X with 1 to 4"},
		{"", "", "A", nil, "", "A, B, C or X with 1 to 4"},
		{"", "", "", []string{"H4"}, "", "use H0, H1, H2 or H3"},
		{"", "", "", []string{"H3"}, "", "say which in a text"},
		{"", "", "", []string{"H1"}, strings.Repeat("x", maxHandlingText+1), "has 1025 bytes, at most 1024"},
	} {
		if _, err := ParseAssessment(tt.reliability, tt.credibility, tt.evaluation, tt.handling, tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt, err, tt.want)
		}
	}
}

// TestAssessIsBounded: a hostile object cannot make what is shown of it long.
func TestAssessIsBounded(t *testing.T) {
	var labels []string
	for i := range 6000 {
		labels = append(labels, fmt.Sprintf(`admiralty-scale:source-reliability="z%d%s"`, i, strings.Repeat("y", 20)))
	}
	a := Assess(marked(t, `"labels":`+string(marshal(labels))), nil)
	if len(a.Unknown) != maxUnknown || slices.ContainsFunc(a.Unknown, func(s string) bool { return len(s) > 100 }) {
		t.Errorf("%d unknown codes are shown", len(a.Unknown))
	}
	a = Assess(marked(t, `"extensions":{"`+HandlingExtension+`":{"extension_type":"property-extension","europol_text":"`+strings.Repeat("é", 4000)+`"}}`), nil)
	if len(a.HandlingText) > maxHandlingText+8 {
		t.Errorf("a text of %d bytes is shown", len(a.HandlingText))
	}
}
