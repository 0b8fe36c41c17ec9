package policy

import (
	"bytes"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

func compiledSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(SchemaFile, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is what an editor takes a text in YAML for: dates are words to it.
func asJSON(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return asJSON(n.Content[0])
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = asJSON(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, asJSON(c))
		}
		return list
	}
	if i, err := strconv.Atoi(n.Value); err == nil && n.ShortTag() == "!!int" {
		return i
	}
	return n.Value
}

func validate(s *jsonschema.Schema, text []byte) error {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return err
	}
	return s.Validate(asJSON(&root))
}

func TestSchemaTakesWhatIsWritten(t *testing.T) {
	s := compiledSchema(t)
	template := string(Template(alice, bob, orgName, now))
	for name, text := range map[string]string{"example": exampleYAML, "template": template, "written": string(WriteYAML(exampleAgreement(), orgName)),
		"template with everything": uncommented(t, template)} {
		text = strings.Replace(text, "TLP:AMBER+STRICT", "amber+strict", 1) // spelt otherwise, as ParseYAML reads it too
		if err := validate(s, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := WriteYAML(drawAgreement(t, 1).Doc, orgName)
		if err := validate(s, text); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

// uncommented takes the signs of comments off the members of a template, and checks that what it
// suggests can be read.
func uncommented(t *testing.T, template string) string {
	t.Helper()
	text := regexp.MustCompile(`(?m)^( *)# ( *[a-z_]+: *(\d|may|must|\[|#|green|agr|prev))`).ReplaceAllString(template, "$1$2")
	text = regexp.MustCompile(`(?m)^( *)#   ([a-z]+: \[)`).ReplaceAllString(text, "$1  $2")
	text = strings.NewReplacer("agr:...", testAgreementID(1).String(), "Example CERT", "carol", "# paper_sha256: the SHA-256 of the signed paper, if there is one", "paper_sha256: "+strings.Repeat("0f", 32),
		"rule: nobody          # nobody, named, kinds, partners\n      organisations: [carol]     # with rule: named\n", "rule: kinds\n").Replace(text)
	a, err := ParseYAML([]byte(text), resolveOrg)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	said := reflect.ValueOf(a.Terms[0])
	for i := 1; i < said.NumField(); i++ {
		if said.Field(i).IsZero() {
			t.Errorf("the template says nothing of %s", said.Type().Field(i).Name)
		}
	}
	if a.NoticeDays == 0 || a.Previous.IsZero() || a.PaperSHA256.IsZero() {
		t.Errorf("the template leaves something out:\n%s", text)
	}
	return text
}

func TestSchemaRefusesWhatIsWrong(t *testing.T) {
	s := compiledSchema(t)
	for _, row := range [][2]string{
		{"tlp: white", "tlp: purple"},
		{"kinds: any", "kinds: [Indicator]"},
		{"kinds: any", "kinds: []"},
		{"topics: any", "topic: any"},
		{"not_before: 2026-01-01", "not_before: tomorrow"},
		{"parties: [bob, alice]", "parties: [bob]"},
		{"retention_days: 365", "retention_days: -1"},
		{"retention_days: 365", "retention_days: long"},
		{"history_days: 30", "min_confidence: 101"},
		{"history_days: 30", "unmodified_resale: must"},
		{"kinds: [police, cert]", "kinds: [club]"},
		{"rule: kinds", "approval: 1"},
		{"    personal_data: network\n", ""},
		{"countries: [th, \"NO\"]", "countries: [Thailand]"},
		{"000102", "00010"},
	} {
		text := strings.Replace(strings.Replace(exampleYAML, "TLP:AMBER+STRICT", "amber+strict", 1), row[0], row[1], 1)
		if err := validate(s, []byte(text)); err == nil {
			t.Errorf("%q in place of %q is taken", row[1], row[0])
		}
		if _, err := ParseYAML([]byte(text), resolveOrg); err == nil {
			t.Errorf("%q in place of %q is refused by the schema, and read", row[1], row[0])
		}
	}
}

// Every member is described, and nothing that is none.
func TestSchemaDescribesEveryMember(t *testing.T) {
	seen := map[string]bool{}
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for f := range fieldsOf(typ) {
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			seen[path+key] = true
			if schemaWords[path+key].text == "" {
				t.Errorf("%s is not described", path+key)
			}
			inner := f.Type
			if inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				walk(inner, path+key+".")
			}
		}
	}
	walk(reflect.TypeFor[document](), "")
	for path := range schemaWords {
		if !seen[path] {
			t.Errorf("%s is described, and does not exist", path)
		}
	}
	golden(t, SchemaFile, Schema())
}

// The enums are the words that are read.
func TestSchemaEnumsAreRead(t *testing.T) {
	for path, read := range map[string]func(string) error{
		"terms.tlp":                          func(s string) error { _, err := protocol.ParseTLP(s); return err },
		"terms.onward.ceiling":               func(s string) error { _, err := protocol.ParseTLP(s); return err },
		"terms.pap":                          func(s string) error { _, err := protocol.ParsePAP(s); return err },
		"terms.personal_data":                func(s string) error { _, err := protocol.ParsePersonalData(s); return err },
		"terms.onward.rule":                  func(s string) error { _, err := protocol.ParseOnwardRule(s); return err },
		"terms.onward.kinds":                 func(s string) error { _, err := protocol.ParseOrgKind(s); return err },
		"terms.affected_party_notifications": func(s string) error { _, err := protocol.ParseDuty(s); return err },
		"terms.attribution":                  func(s string) error { _, err := protocol.ParseDuty(s); return err },
		"terms.unmodified_resale":            func(s string) error { _, err := protocol.ParseDuty(s); return err },
	} {
		if len(schemaWords[path].enum) == 0 {
			t.Errorf("%s has no enum", path)
		}
		for _, word := range schemaWords[path].enum {
			if err := read(word); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// TLP 1.0's names are read, here as everywhere.
func TestTLP1IsRead(t *testing.T) {
	for word, want := range map[string]protocol.TLP{"white": protocol.TLPClear, "WHITE": protocol.TLPClear, "TLP:WHITE": protocol.TLPClear, "tlp:green": protocol.TLPGreen, "Amber": protocol.TLPAmber, "RED": protocol.TLPRed} {
		a, err := ParseYAML([]byte(strings.Replace(exampleYAML, "tlp: white", "tlp: "+word, 1)), resolveOrg)
		if err != nil || a.Terms[1].TLP != want {
			t.Errorf("%s is read as %v, %v", word, a, err)
		}
	}
}
