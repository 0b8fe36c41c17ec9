package intake

import (
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

const (
	uuidA = "11111111-1111-4111-8111-111111111111"
	uuidB = "22222222-2222-4222-8222-222222222222"
)

// bundle returns a STIX bundle with two good objects, one a line from line 2 on, and what
// is given behind them.
func bundle(more ...string) string {
	objects := []string{
		`{"type":"url","id":"url--` + uuidA + `","value":"http://bad.example/x","object_marking_refs":["` + stix.TLPMarkingID(protocol.TLPAmber) + `"]}`,
		`{"type":"x-new","id":"x-new--` + uuidA + `","Any" : "thing"}`,
	}
	return "{\"type\":\"bundle\",\"objects\":[\n" + strings.Join(append(objects, more...), ",\n") + "]}"
}

func TestReadSTIX(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		items      int
		problem    string
		duplicates int
	}{
		{"good", `{"type":"x-new","id":"x-new--` + uuidB + `"}`, 3, "", 0},
		{"bad", `{"type":"x-new","id":"x-new--1"}`, 2, `f:4: "x-new--1": id "x-new--1" must be x-new--UUID`, 0},
		{"no object", `7`, 2, "f:4: not a JSON object", 0},
		{"duplicate", `{"type":"x-new","id":"x-new--` + uuidA + `","Any" : "thing"}`, 2, "", 1},
		{"other version", `{"type":"x-new","id":"x-new--` + uuidA + `","Any" : "other"}`, 3, "", 0},
		{"marking not defined", `{"type":"x-new","id":"x-new--` + uuidB + `","object_marking_refs":["marking-definition--` + uuidB + `"]}`, 2,
			"f:4: x-new--" + uuidB + ": marking marking-definition--" + uuidB + " is not defined in the file; include its marking-definition", 0},
		{"extension not understood", `{"type":"x-new","id":"x-new--` + uuidB + `","extensions":{"` + stix.HandlingExtension + `":{"extension_type":"property-extension","country":"TH"}}}`, 2,
			"f:4: x-new--" + uuidB + ": reading handling extension: unknown key \"country\"; this node may be too old to read it", 0},
		{"marking definition", string(stix.TLPMarkingDefinition(protocol.TLPRed)), 3, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := read(t, bundle(tt.more), Options{})
			if res.Format != STIX || len(res.Items) != tt.items || res.Duplicates != tt.duplicates {
				t.Fatalf("format %s, %d items, %d duplicates, problems %v", res.Format, len(res.Items), res.Duplicates, res.Problems)
			}
			first, second := res.Items[0], res.Items[1]
			if first.Handling.TLP != protocol.TLPAmber || first.Value != "http://bad.example/x" || first.Line != 2 {
				t.Errorf("first item %+v", first)
			}
			if string(second.Object.Raw) != `{"type":"x-new","id":"x-new--`+uuidA+`","Any" : "thing"}` || second.Handling.TLP != 0 {
				t.Errorf("second item %+v", second)
			}
			got := ""
			if len(res.Problems) > 0 {
				got = res.Problems[0].String()
			}
			if got != tt.problem {
				t.Errorf("problem %q, want %q", got, tt.problem)
			}
		})
	}
}

func TestDetectFormat(t *testing.T) {
	for data, want := range map[string]Format{
		`{"type":"bundle"}`: STIX, bundle(): STIX, "[" + string(stix.TLPMarkingDefinition(1)) + "]": STIX, "[]": STIX,
		` {"Event":{"info":"x","uuid":"` + uuidA + `"}}`: MISP, `{"response":[]}`: MISP, `[{"Event":{"info":"x"}}]`: MISP,
		`{"uuid":"` + uuidA + `","info":"x","Attribute":[]}`: MISP,
		"bad.example": List, "": List, "[bad.example": List,
	} {
		if got := read(t, data, Options{}).Format; got != want {
			t.Errorf("%q: %s, want %s", data, got, want)
		}
	}
}
