package stix

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

const ownMarking = "marking-definition--" + uuidB

// define returns a marking definition with some properties.
func define(t *testing.T, properties string) *Object {
	t.Helper()
	o, err := Parse([]byte(`{"type":"marking-definition","spec_version":"2.1","id":"` + ownMarking +
		`","created":"2026-01-02T03:04:05Z",` + properties + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func marked(t *testing.T, properties string) *Object {
	t.Helper()
	o, err := Parse(sample(t, `"x_custom"`, properties+`,"x_custom"`))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestMarkingsByID(t *testing.T) {
	for _, tt := range []struct {
		id   string
		want protocol.TLP
	}{
		{"94868c89-83c2-464b-929b-a1a8aa3c8487", protocol.TLPClear},
		{"bab4a63c-aed9-4cf5-a766-dfca5abac2bb", protocol.TLPGreen},
		{"55d920b0-5e8b-4f79-9ee9-91f868d9b421", protocol.TLPAmber},
		{"939a9414-2ddd-4d32-a0cd-375ea402b003", protocol.TLPAmberStrict},
		{"e828b379-4e03-4974-9ac4-e53a884c97c1", protocol.TLPRed},
		{"613f2e26-407d-48c7-9eca-b8e91df99dc9", protocol.TLPClear},
		{"34098fce-860f-48ae-8e50-ebd3cc5e41da", protocol.TLPGreen},
		{"f88d31f6-486f-44da-b317-01333bde0b82", protocol.TLPAmber},
		{"826578e1-40ad-459f-bc73-ede076f81f37", protocol.TLPAmberStrict},
		{"5e57c739-391a-4eb3-b6be-7d15ca92d5ed", protocol.TLPRed},
	} {
		o := marked(t, `"object_marking_refs":["marking-definition--`+tt.id+`"]`)
		h, _, err := NewMarkings(nil).Handling(o)
		if err != nil || h.TLP != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.id, h.TLP, err, tt.want)
		}
	}
}

func TestMarkingDefinitions(t *testing.T) {
	for _, tt := range []struct {
		name, properties string
		tlp              protocol.TLP
		pap              protocol.PAP
		bad              bool
	}{
		{name: "statement", properties: `"definition_type":"statement","definition":{"statement":"Copyright"}`},
		{name: "TLP 1", properties: `"definition_type":"tlp","definition":{"tlp":"amber"}`, tlp: protocol.TLPAmber},
		{name: "TLP 1, upper case", properties: `"definition_type":"TLP","definition":{"TLP":"TLP:RED"}`, tlp: protocol.TLPRed},
		{name: "extension", properties: `"extensions":{"` + tlpExtension + `":{"extension_type":"property-extension","tlp_2_0":"amber+strict"}}`, tlp: protocol.TLPAmberStrict},
		{name: "statement that is a label", properties: `"definition_type":"statement","definition":{"statement":"TLP:AMBER+STRICT"}`, tlp: protocol.TLPAmberStrict},
		{name: "name that is a label", properties: `"name":"TLP:GREEN"`, tlp: protocol.TLPGreen},
		{name: "OpenCTI", properties: `"definition_type":"statement","definition":{"statement":"custom"},"x_opencti_definition":"TLP:AMBER+STRICT"`, tlp: protocol.TLPAmberStrict},
		{name: "PAP by type", properties: `"definition_type":"PAP","definition":{"pap":"amber"}`, pap: protocol.PAPAmber},
		{name: "PAP by name", properties: `"definition_type":"statement","name":"PAP:RED"`, pap: protocol.PAPRed},
		{name: "both, the stricter", properties: `"name":"TLP:GREEN","definition_type":"tlp","definition":{"tlp":"red"}`, tlp: protocol.TLPRed},
		{name: "unknown label", properties: `"definition_type":"statement","definition":{"statement":"TLP:EX:CHR"}`, bad: true},
		{name: "unknown type", properties: `"definition_type":"iep","definition":{"id":1}`, bad: true},
		{name: "unknown extension", properties: `"extensions":{"extension-definition--` + uuidA + `":{"extension_type":"property-extension"}}`, bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMarkings([]*Object{define(t, tt.properties)})
			h, _, err := m.Handling(marked(t, `"object_marking_refs":["`+ownMarking+`"]`))
			if (err != nil) != tt.bad {
				t.Fatalf("error = %v, want error %v", err, tt.bad)
			}
			if err == nil && (h.TLP != tt.tlp || h.PAP != tt.pap) {
				t.Errorf("TLP %v PAP %v, want %v %v", h.TLP, h.PAP, tt.tlp, tt.pap)
			}
		})
	}
}

func TestMarkingsOnObjects(t *testing.T) {
	green, red := TLPMarkingID(protocol.TLPGreen), TLPMarkingID(protocol.TLPRed)
	for _, tt := range []struct {
		name, properties string
		want             protocol.TLP
		notes            int
		bad              bool
	}{
		{name: "none", properties: `"x":1`},
		{name: "strictest", properties: `"object_marking_refs":["` + red + `","` + green + `"]`, want: protocol.TLPRed, notes: 1},
		{name: "granular", properties: `"object_marking_refs":["` + green + `"],"granular_markings":[{"marking_ref":"` + red + `","selectors":["name"]}]`, want: protocol.TLPRed, notes: 1},
		{name: "language", properties: `"granular_markings":[{"lang":"de","selectors":["name"]}]`},
		{name: "language beside a marking", properties: `"granular_markings":[{"lang":"de","marking_ref":"` + red + `","selectors":["name"]}]`, want: protocol.TLPRed},
		{name: "not defined", properties: `"object_marking_refs":["` + ownMarking + `"]`, bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, notes, err := NewMarkings(nil).Handling(marked(t, tt.properties))
			if (err != nil) != tt.bad || h.TLP != tt.want && !tt.bad || len(notes) != tt.notes {
				t.Errorf("TLP %v notes %v error %v", h.TLP, notes, err)
			}
		})
	}
}

// A file must not be able to say that RED means CLEAR.
func TestMarkingsRedefined(t *testing.T) {
	red := TLPMarkingID(protocol.TLPRed)
	def, err := Parse([]byte(strings.Replace(string(TLPMarkingDefinition(protocol.TLPClear)),
		TLPMarkingID(protocol.TLPClear), red, 1)))
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := NewMarkings([]*Object{def}).Handling(marked(t, `"object_marking_refs":["`+red+`"]`))
	if err != nil || h.TLP != protocol.TLPRed {
		t.Errorf("TLP %v, %v", h.TLP, err)
	}
}

func TestTLPMarkingDefinition(t *testing.T) {
	for tlp := protocol.TLPClear; tlp <= protocol.TLPRed; tlp++ {
		o, err := Parse(TLPMarkingDefinition(tlp))
		if err != nil {
			t.Fatal(err)
		}
		if o.ID != TLPMarkingID(tlp) || readDefinition(o).tlp != tlp {
			t.Errorf("%v: %s", tlp, o.Raw)
		}
	}
	if TLPMarkingID(protocol.TLPUnset) != "" || TLPMarkingDefinition(99) != nil {
		t.Error("a label that is none has a marking")
	}
}

func TestExtensionID(t *testing.T) {
	want := "extension-definition--" + uuid.NewSHA1(namespace, []byte("entente/handling/v1")).String()
	if HandlingExtension != want {
		t.Errorf("HandlingExtension = %s, want %s", HandlingExtension, want)
	}
}

func TestExtension(t *testing.T) {
	const org = `"org:`
	for _, tt := range []struct{ name, form, want string }{
		{"countries", `"countries":["VN","TH","TH"]`, ""},
		{"all", `"countries":["TH"],"pap":"amber","personal_data":"none","purposes":["research"],"retention_days":30,"onward":{"rule":"kinds","kinds":["cert"],"ceiling":"green"}`, ""},
		{"unknown key", `"contries":["TH"]`, "unknown key"},
		{"key of another case", `"Countries":["TH"]`, "unknown key"},
		{"key twice", `"pap":"red","pap":"clear"`, "occurs twice"},
		{"null", `"countries":null`, "null"},
		{"lower case country", `"countries":["th"]`, "ISO 3166"},
		{"unknown PAP", `"pap":"pink"`, "PAP"},
		{"unknown degree", `"personal_data":"some"`, "personal data"},
		{"unknown rule", `"onward":{"rule":"all"}`, "onward rule"},
		{"unknown key in onward", `"onward":{"rule":"nobody","until":1}`, "unknown key"},
		{"negative retention", `"retention_days":-1`, "retention_days"},
		{"organisation", `"excluded":[` + org + `x"]`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := marked(t, `"extensions":{"`+HandlingExtension+`":{"extension_type":"property-extension",`+tt.form+`}}`)
			h, _, err := NewMarkings(nil).Handling(o)
			if tt.name == "organisation" {
				if err == nil {
					t.Error("accepted an organisation that is none")
				}
				return
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("error = %v, want %q", err, tt.want)
			}
			if tt.name == "countries" && !reflect.DeepEqual(h.Countries, []string{"TH", "VN"}) {
				t.Errorf("countries = %v", h.Countries)
			}
		})
	}
	if o := marked(t, `"extensions":{"`+HandlingExtension+`":{"countries":["TH"]}}`); o != nil {
		if _, _, err := NewMarkings(nil).Handling(o); err == nil {
			t.Error("accepted an extension without extension_type")
		}
	}
}

// What WriteExtension writes is read back as the same handling.
func TestExtensionRoundTrip(t *testing.T) {
	orgs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) (id protocol.OrgID) {
		id[0], id[1] = rapid.Byte().Draw(t, "a"), 1
		return id
	}), 0, 4)
	rapid.Check(t, func(rt *rapid.T) {
		h := protocol.Handling{
			PAP:           protocol.PAP(rapid.IntRange(0, 4).Draw(rt, "pap")),
			Countries:     rapid.SliceOfN(rapid.StringMatching(`[A-Z]{2}`), 0, 5).Draw(rt, "countries"),
			Personal:      protocol.PersonalData(rapid.IntRange(0, 3).Draw(rt, "personal")),
			Purposes:      rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,9}`), 0, 5).Draw(rt, "purposes"),
			RetentionDays: rapid.Uint32().Draw(rt, "days"),
			Excluded:      orgs.Draw(rt, "excluded"), Named: orgs.Draw(rt, "named"),
			Onward: protocol.Onward{
				Rule: protocol.OnwardRule(rapid.IntRange(0, 3).Draw(rt, "rule")), Orgs: orgs.Draw(rt, "orgs"),
				Kinds:   rapid.SliceOfN(rapid.SampledFrom(protocol.OrgKinds()), 0, 3).Draw(rt, "kinds"),
				Ceiling: protocol.TLP(rapid.IntRange(0, 5).Draw(rt, "ceiling")),
			},
		}
		h.Normalise()
		properties := `"x":1`
		if ext := WriteExtension(h); ext != nil {
			properties = `"extensions":` + string(ext)
		}
		got, _, err := NewMarkings(nil).Handling(marked(t, properties))
		if err != nil {
			rt.Fatal(err)
		}
		if want := string(protocol.Encode(&h)); string(protocol.Encode(&got)) != want {
			rt.Fatalf("read back %+v, wrote %+v", got, h)
		}
	})
}

// TestWithMarking: one marking more, and not a byte else.
func TestWithMarking(t *testing.T) {
	const id = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"
	for before, after := range map[string]string{
		`{"type":"url" , "id":"url--` + uuidA + `","value":"a<b" }`:                                       `{"type":"url" , "id":"url--` + uuidA + `","value":"a<b" ,"object_marking_refs":["` + id + `"]}`,
		`{"object_marking_refs" : [ ], "type":"url","id":"url--` + uuidA + `","value":"a"}`:               `{"object_marking_refs" : [ "` + id + `"], "type":"url","id":"url--` + uuidA + `","value":"a"}`,
		`{"type":"url","id":"url--` + uuidA + `","value":"a","object_marking_refs":["` + idC + `" ]}`:     `{"type":"url","id":"url--` + uuidA + `","value":"a","object_marking_refs":["` + idC + `" ,"` + id + `"]}`,
		`{"type":"url","id":"url--` + uuidA + `","value":"a","object_marking_\u0072efs":["` + idC + `"]}`: `{"type":"url","id":"url--` + uuidA + `","value":"a","object_marking_\u0072efs":["` + idC + `","` + id + `"]}`,
	} {
		o, err := Parse([]byte(before))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(WithMarking(o, id)); got != after {
			t.Errorf("%s\nbecomes\n%s\nwant\n%s", before, got, after)
		}
		if string(o.Raw) != before {
			t.Errorf("the object was changed: %s", o.Raw)
		}
	}
}

const idC = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
