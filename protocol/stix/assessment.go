package stix

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// Assessment is what an object says of how far it can be relied on, and what its provider says of
// its use, in the vocabularies that analysts and police have: the Admiralty scale (NATO AJP-2.1),
// Europol's evaluation (4x4, Regulation (EU) 2016/794, article 29) and handling codes, and
// estimative language (ICD 203). It is read to be shown. It decides nothing.
type Assessment struct {
	Reliability  string   `json:"reliability,omitempty"`         // Admiralty, of the source: A to F
	Credibility  uint8    `json:"credibility,omitempty"`         // Admiralty, of the information: 1 to 6; 0: not said
	Source       string   `json:"europol_source,omitempty"`      // Europol: A, B, C, X
	Information  uint8    `json:"europol_information,omitempty"` // Europol: 1 to 4; 0: not said
	Handling     []string `json:"europol_handling,omitempty"`    // H0 to H3, sorted
	HandlingText string   `json:"europol_text,omitempty"`        // what the provider wrote to its codes
	Likelihood   string   `json:"likelihood,omitempty"`          // estimative language: unlikely, likely, …
	Confidence   *uint8   `json:"confidence,omitempty"`          // as stated (STIX 3.2), 0 to 100
	// Mapped is what follows by the tables of SPEC 12.4, for readers of other scales. It was not said.
	Mapped Mapped `json:"mapped,omitzero"`
	// Unknown are codes of these vocabularies that are not known, as they were written.
	Unknown []string `json:"unknown,omitempty"`
	// Contradictions are what was said in two ways that cannot both be; neither counts.
	Contradictions []string `json:"contradictions,omitempty"`
}

// Mapped is what an assessment is in scales in which it was not said.
type Mapped struct {
	Confidence  *uint8 `json:"confidence,omitempty"`          // of an Admiralty credibility
	Reliability string `json:"reliability,omitempty"`         // of a Europol evaluation
	Credibility uint8  `json:"credibility,omitempty"`         // the same
	Source      string `json:"europol_source,omitempty"`      // of an Admiralty reliability
	Information uint8  `json:"europol_information,omitempty"` // of an Admiralty credibility
}

// IsZero reports whether nothing was said.
func (a *Assessment) IsZero() bool {
	return a.Reliability == "" && a.Credibility == 0 && a.Source == "" && a.Information == 0 && len(a.Handling) == 0 && a.HandlingText == "" &&
		a.Likelihood == "" && a.Confidence == nil && len(a.Unknown) == 0 && len(a.Contradictions) == 0
}

// Bounds of what is shown of what a stranger wrote.
const (
	maxUnknown      = 16
	maxHandlingText = 1 << 10
	maxAssessed     = 4096 // labels and markings that are looked at
)

// openctiExtension is OpenCTI's property extension; "reliability" in it is an Admiralty code.
const openctiExtension = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba"

// The words of the scales.
var (
	reliabilityText = map[string]string{"A": "completely reliable", "B": "usually reliable", "C": "fairly reliable",
		"D": "not usually reliable", "E": "unreliable", "F": "reliability cannot be judged"}
	credibilityText = [...]string{"", "confirmed by other sources", "probably true", "possibly true", "doubtful", "improbable", "truth cannot be judged"}
	handlingCodes   = map[string]string{"H0": "only to prevent and combat crime", "H1": "not in judicial proceedings without the provider's permission",
		"H2": "not to be disseminated without the provider's permission", "H3": "other restrictions"}
	likelihoods = []string{"almost-no-chance", "very-unlikely", "unlikely", "roughly-even-chance", "likely", "very-likely", "almost-certain"}
)

// confidenceOf is the table "Admiralty Credibility" of STIX 2.1, appendix A: the value to write, and
// the range that is read as it. 6, truth cannot be judged, is no confidence.
var confidenceOf = [...]struct{ value, from, to uint8 }{1: {90, 80, 100}, 2: {70, 60, 79}, 3: {50, 40, 59}, 4: {30, 20, 39}, 5: {10, 0, 19}, 6: {}}

// admiraltyOf and europolOf are our own reading of the definitions; there is no official one. From
// Europol's four every code has an Admiralty one. Back, C is B and E is C, the next that says no more;
// doubtful and improbable information have no counterpart, since Europol's numbers say how it is
// known, and not whether it is believed.
var (
	admiraltyOf = map[string]string{"A": "A", "B": "B", "C": "D", "X": "F"}
	europolOf   = map[string]string{"A": "A", "B": "B", "C": "B", "D": "C", "E": "C", "F": "X"}

	admiraltyOfInformation = [...]uint8{1: 1, 2: 2, 3: 3, 4: 6}
	europolOfCredibility   = [...]uint8{1: 1, 2: 2, 3: 3, 4: 0, 5: 0, 6: 4}
)

// ConfidenceOf returns the confidence that STIX gives an Admiralty credibility; ok is false for one
// that has none.
func ConfidenceOf(credibility uint8) (c uint8, ok bool) {
	if credibility < 1 || credibility > 5 {
		return 0, false
	}
	return confidenceOf[credibility].value, true
}

// AdmiraltyOf returns the Admiralty codes of a Europol evaluation; empty and 0 for what is not said.
func AdmiraltyOf(source string, information uint8) (reliability string, credibility uint8) {
	if int(information) < len(admiraltyOfInformation) {
		credibility = admiraltyOfInformation[information]
	}
	return admiraltyOf[source], credibility
}

// EuropolOf returns the Europol evaluation of Admiralty codes; empty and 0 where there is none.
func EuropolOf(reliability string, credibility uint8) (source string, information uint8) {
	if int(credibility) < len(europolOfCredibility) {
		information = europolOfCredibility[credibility]
	}
	return europolOf[reliability], information
}

// Assess reads what an object says: in its labels, as MISP's tags are written; in properties of its
// own, of OpenCTI's extension and of the handling extension; and in the definitions of what it is
// marked with as a whole or in part, which define returns by their id, nil if it has none. define may
// be nil.
func Assess(o *Object, define func(id string) *Object) Assessment {
	var r assessor
	r.object(o)
	for i, id := range o.Markings {
		if define == nil || i == maxAssessed {
			break
		}
		if d := define(id); d != nil && d.Type == "marking-definition" {
			r.object(d)
			r.definition(d)
		}
	}
	return r.finish()
}

// assessor gathers an assessment. One that was contradicted stays so.
type assessor struct {
	Assessment
	against map[string]bool // axes on which two things were said
}

func (r *assessor) object(o *Object) {
	if c := o.property("confidence"); c != nil {
		if n, err := strconv.ParseUint(string(c), 10, 8); err == nil && n <= 100 {
			v := uint8(n)
			r.Confidence = &v
		}
	}
	n := 0
	if v := o.property("labels"); len(v) > 0 && v[0] == '[' {
		_ = splitElements(v, func(_ int, e []byte) { // it is an array
			if s, ok := content(e); ok && n < maxAssessed {
				n++
				r.tag(string(s))
			}
		})
	}
	if v := o.property("x_opencti_reliability"); v != nil {
		r.property("x_opencti_reliability", v, r.reliability)
	}
	v := o.property("extensions")
	if len(v) == 0 || v[0] != '{' {
		return
	}
	members, err := splitMembers(v)
	if err != nil {
		return
	}
	for _, m := range members {
		if len(m.value) == 0 || m.value[0] != '{' {
			continue
		}
		keys, err := splitMembers(m.value)
		switch {
		case err != nil:
		case string(m.name) == openctiExtension:
			if v := lookup(keys, "reliability"); v != nil {
				r.property("reliability", v, r.reliability)
			}
		case string(m.name) == HandlingExtension:
			r.extension(keys)
		}
	}
}

// extension reads what the handling extension says (SPEC 12.3).
func (r *assessor) extension(keys []member) {
	for _, m := range keys {
		switch string(m.name) {
		case "reliability":
			r.property("reliability", m.value, r.reliability)
		case "credibility":
			r.property("credibility", m.value, r.credibility)
		case "europol_evaluation":
			r.property("europol_evaluation", m.value, r.evaluation)
		case "europol_handling":
			if len(m.value) > 0 && m.value[0] == '[' {
				n := 0
				_ = splitElements(m.value, func(_ int, e []byte) { // it is an array
					if n++; n <= maxUnknown {
						r.property("europol_handling", e, r.handlingCode)
					}
				})
				continue
			}
			r.property("europol_handling", m.value, r.handlingCode)
		case "europol_text":
			if s, ok := text(m.value); ok {
				r.text(s)
			} else {
				r.unknown("europol_text " + string(m.value))
			}
		}
	}
}

// property reads one code that is a string, or a number.
func (r *assessor) property(name string, v json.RawMessage, read func(string) bool) {
	s, ok := text(v)
	if !ok {
		s = string(v)
	}
	if !read(s) {
		r.unknown(name + " " + s)
	}
}

// tag reads a label as MISP writes a machine tag: namespace:predicate="value".
func (r *assessor) tag(s string) {
	name := AssessmentTag(s)
	if name == "" {
		return
	}
	_, value, _ := strings.Cut(s, "=")
	value = strings.Trim(strings.TrimSpace(value), `"`)
	known := false
	switch name {
	case "admiralty-scale:source-reliability":
		known = r.reliability(value)
	case "admiralty-scale:information-credibility":
		known = r.credibility(value)
	case "estimative-language:likelihood-probability":
		if known = slices.Contains(likelihoods, strings.ToLower(value)); known {
			r.Likelihood = r.once("likelihood", r.Likelihood, strings.ToLower(value))
		}
	case "europol-evaluation:code":
		known = r.evaluation(value)
	case "europol-handling:code":
		known = r.handlingCode(value)
	}
	if !known {
		r.unknown(s)
	}
}

// assessmentSpaces are the namespaces of the tags that Assess reads.
var assessmentSpaces = []string{"admiralty-scale", "estimative-language", "europol-evaluation", "europol-handling"}

// AssessmentTag returns the name of a machine tag that says something of an assessment, as
// admiralty-scale:source-reliability; "" for other labels.
func AssessmentTag(s string) string {
	name, _, ok := strings.Cut(s, "=")
	name = strings.ToLower(strings.TrimSpace(name))
	if space, _, _ := strings.Cut(name, ":"); !ok || !slices.Contains(assessmentSpaces, space) {
		return ""
	}
	return name
}

// definition reads the statement of a marking definition: "Europol handling code H1",
// "Handling codes: H1, H3", "Evaluation code B2". Others say nothing of this.
func (r *assessor) definition(d *Object) {
	s, _ := inner(d, "definition", "statement")
	if s == "" {
		s = d.Text("name")
	}
	r.tag(s)
	words := strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return strings.ContainsRune(" \t,;:/=-–()", c) })
	if len(words) > 0 && words[0] == "europol" {
		words = words[1:]
	}
	if len(words) < 3 || words[1] != "code" && words[1] != "codes" {
		return
	}
	read := map[string]func(string) bool{"handling": r.handlingCode, "evaluation": r.evaluation}[words[0]]
	if read == nil {
		return
	}
	for i, w := range words[2:] {
		if !read(w) {
			if i == 0 {
				r.unknown(s)
			}
			return // the rest is in words
		}
	}
}

// leading returns a code that may have its words behind it: "B - Usually reliable".
func leading(s string) string {
	code, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return strings.ToUpper(code)
}

func (r *assessor) reliability(s string) bool {
	code := leading(s)
	if reliabilityText[code] == "" {
		return false
	}
	r.Reliability = r.once("source reliability (Admiralty)", r.Reliability, code)
	return true
}

func (r *assessor) credibility(s string) bool {
	code := leading(s)
	if len(code) != 1 || code[0] < '1' || code[0] > '6' {
		return false
	}
	r.Credibility = r.onceNumber("information credibility (Admiralty)", r.Credibility, code[0]-'0')
	return true
}

func (r *assessor) evaluation(s string) bool {
	code := strings.ToUpper(strings.TrimSpace(s))
	if len(code) != 2 || admiraltyOf[code[:1]] == "" || code[1] < '1' || code[1] > '4' {
		return false
	}
	r.Source = r.once("evaluation of the source (Europol)", r.Source, code[:1])
	r.Information = r.onceNumber("evaluation of the information (Europol)", r.Information, code[1]-'0')
	return true
}

func (r *assessor) handlingCode(s string) bool {
	code := strings.ToUpper(strings.TrimSpace(s))
	if handlingCodes[code] == "" {
		return false
	}
	if !slices.Contains(r.Handling, code) {
		r.Handling = append(r.Handling, code)
	}
	return true
}

func (r *assessor) text(s string) {
	if len(s) > maxHandlingText {
		s = strings.ToValidUTF8(s[:maxHandlingText], "") + "…"
	}
	r.HandlingText = r.once("text to the handling codes (Europol)", r.HandlingText, s)
}

// unknown keeps a code as it was written.
func (r *assessor) unknown(s string) {
	if s = strings.ToValidUTF8(clip(s), "�"); len(r.Unknown) < maxUnknown && !slices.Contains(r.Unknown, s) {
		r.Unknown = append(r.Unknown, s)
	}
}

// once returns what is said, or nothing if something else was said before.
func (r *assessor) once(axis, before, now string) string {
	switch {
	case r.against[axis]:
		return ""
	case before == "" || before == now:
		return now
	}
	if r.against == nil {
		r.against = map[string]bool{}
	}
	r.against[axis] = true
	r.Contradictions = append(r.Contradictions, fmt.Sprintf("%s is said to be %s and %s", axis, clip(before), clip(now)))
	return ""
}

func (r *assessor) onceNumber(axis string, before, now uint8) uint8 {
	was := ""
	if before != 0 {
		was = strconv.Itoa(int(before))
	}
	n, _ := strconv.Atoi(r.once(axis, was, strconv.Itoa(int(now))))
	return uint8(n)
}

// finish maps what was said to the other scales.
func (r *assessor) finish() Assessment {
	a := &r.Assessment
	slices.Sort(a.Handling)
	if c, ok := ConfidenceOf(a.Credibility); ok {
		if a.Confidence == nil {
			a.Mapped.Confidence = &c
		} else if t := confidenceOf[a.Credibility]; *a.Confidence < t.from || *a.Confidence > t.to {
			a.Contradictions = append(a.Contradictions, fmt.Sprintf("confidence is %d, and credibility %d stands for %d to %d", *a.Confidence, a.Credibility, t.from, t.to))
		}
	}
	if a.Reliability == "" && a.Credibility == 0 {
		a.Mapped.Reliability, a.Mapped.Credibility = AdmiraltyOf(a.Source, a.Information)
	}
	if a.Source == "" && a.Information == 0 {
		a.Mapped.Source, a.Mapped.Information = EuropolOf(a.Reliability, a.Credibility)
	}
	if a.Mapped.Confidence == nil && a.Confidence == nil && a.Credibility == 0 {
		if c, ok := ConfidenceOf(a.Mapped.Credibility); ok {
			a.Mapped.Confidence = &c
		}
	}
	return *a
}

// pair writes both halves of a grading; "-" stands for one that is not said.
func pair(letter string, number uint8) string {
	switch {
	case letter == "" && number == 0:
		return ""
	case letter == "":
		return "-" + strconv.Itoa(int(number))
	case number == 0:
		return letter + "-"
	}
	return letter + strconv.Itoa(int(number))
}

// Admiralty returns the Admiralty grading, "B2"; "" if there is none.
func (a *Assessment) Admiralty() string { return pair(a.Reliability, a.Credibility) }

// Europol returns Europol's evaluation, "B2"; "" if there is none.
func (a *Assessment) Europol() string { return pair(a.Source, a.Information) }

// String says it in one line; what was not said but follows by a table stands in brackets.
func (a *Assessment) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if s := a.Admiralty(); s != "" {
		var words []string
		if a.Reliability != "" {
			words = append(words, reliabilityText[a.Reliability])
		}
		if a.Credibility != 0 {
			words = append(words, credibilityText[a.Credibility])
		}
		also := ""
		if e := pair(a.Mapped.Source, a.Mapped.Information); e != "" {
			also = "; Europol " + e
		}
		add("Admiralty %s (%s%s)", s, strings.Join(words, ", "), also)
	}
	if s := a.Europol(); s != "" {
		also := ""
		if e := pair(a.Mapped.Reliability, a.Mapped.Credibility); e != "" {
			also = " (Admiralty " + e + ")"
		}
		add("Europol evaluation %s%s", s, also)
	}
	for _, code := range a.Handling {
		add("Europol handling %s (%s)", code, handlingCodes[code])
	}
	if a.HandlingText != "" {
		add("handling text %q", a.HandlingText)
	}
	if a.Likelihood != "" {
		add("likelihood %s", a.Likelihood)
	}
	if a.Confidence != nil {
		add("confidence %d", *a.Confidence)
	} else if a.Mapped.Confidence != nil {
		add("(confidence %d)", *a.Mapped.Confidence)
	}
	for _, u := range a.Unknown {
		add("not known here: %s", u)
	}
	for _, c := range a.Contradictions {
		add("CONTRADICTION: %s", c)
	}
	return strings.Join(parts, ", ")
}

// Codes says it in as few signs as a column has room for.
func (a *Assessment) Codes() string {
	var parts []string
	if s := a.Admiralty(); s != "" {
		parts = append(parts, s)
	}
	if s := a.Europol(); s != "" {
		parts = append(parts, "4x4:"+s)
	}
	parts = append(parts, a.Handling...)
	if len(a.Unknown) > 0 {
		parts = append(parts, "?")
	}
	if len(a.Contradictions) > 0 {
		parts = append(parts, "!")
	}
	return strings.Join(parts, " ")
}

// ParseAssessment reads what a person says of a whole publication, strictly: reliability A to F,
// credibility 1 to 6, a Europol evaluation as B2, handling codes H0 to H3, and the text to them. The
// errors are of class ErrMalformed or ErrOversize.
func ParseAssessment(reliability, credibility, evaluation string, handling []string, text string) (Assessment, error) {
	var r assessor
	for _, p := range []struct {
		what, code, want string
		read             func(string) bool
	}{
		{"reliability of the source", reliability, "A to F", r.reliability},
		{"credibility of the information", credibility, "1 to 6", r.credibility},
		{"Europol evaluation", evaluation, "A, B, C or X with 1 to 4, as B2", r.evaluation},
	} {
		if p.code != "" && (len(p.code) > 2 || !p.read(p.code)) {
			return Assessment{}, malformed("%s: %q is no such code; use %s", p.what, clip(p.code), p.want)
		}
	}
	for _, h := range handling {
		if !r.handlingCode(h) {
			return Assessment{}, malformed("Europol handling code: %q is none; use H0, H1, H2 or H3", clip(h))
		}
	}
	if len(text) > maxHandlingText {
		return Assessment{}, protocol.Errorf(protocol.ErrOversize, "the text to the handling codes has %d bytes, at most %d", len(text), maxHandlingText)
	}
	if slices.Contains(r.Handling, "H3") && text == "" {
		return Assessment{}, malformed("Europol handling code H3 is other restrictions; say which in a text")
	}
	r.HandlingText = text
	return r.finish(), nil
}

// labels are the tags of MISP's taxonomy that say the Admiralty codes.
func (a *Assessment) labels() (list []string) {
	if a.Reliability != "" {
		list = append(list, `admiralty-scale:source-reliability="`+strings.ToLower(a.Reliability)+`"`)
	}
	if a.Credibility != 0 {
		list = append(list, `admiralty-scale:information-credibility="`+strconv.Itoa(int(a.Credibility))+`"`)
	}
	return list
}

// extensions is the "extensions" property that says Europol's codes, for which there is no taxonomy
// of MISP's; nil if there are none.
func (a *Assessment) extensions() json.RawMessage {
	if a.Source == "" && len(a.Handling) == 0 && a.HandlingText == "" {
		return nil
	}
	form := struct {
		ExtensionType string   `json:"extension_type"`
		Evaluation    string   `json:"europol_evaluation,omitempty"`
		Handling      []string `json:"europol_handling,omitempty"`
		Text          string   `json:"europol_text,omitempty"`
	}{"property-extension", a.Europol(), a.Handling, a.HandlingText}
	return marshal(map[string]json.RawMessage{HandlingExtension: marshal(form)})
}
