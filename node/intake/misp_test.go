package intake

import (
	"fmt"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// event returns a MISP event with the given attributes, one a line from line 2 on.
func event(properties string, attributes ...string) string {
	return `{"Event":{"uuid":"` + uuidA + `","info":"An operation","date":"2026-01-02","timestamp":"1767323045",` +
		`"Orgc":{"uuid":"` + uuidB + `","name":"Alice"},` + properties + "\"Attribute\":[\n" + strings.Join(attributes, ",\n") + "]}}"
}

func attr(typ, value string, ids bool, more string) string {
	return fmt.Sprintf(`{"type":%q,"value":%q,"to_ids":%v%s}`, typ, value, ids, more)
}

// types lists the types of the objects, the handling's TLP behind each that has one.
func types(res *Result) string {
	var out []string
	for _, item := range res.Items {
		s := item.Object.Type
		if item.Handling.TLP != 0 {
			s += "/" + item.Handling.TLP.String()
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestReadMISP(t *testing.T) {
	md5, sha1 := strings.Repeat("a", 32), strings.Repeat("b", 40)
	for _, tt := range []struct {
		name, attribute string
		want            string // types between the identity and the report
		holds           string // in the first of them
		problem         string
	}{
		{"address", attr("ip-dst", "192.0.2.1", true, ""), "indicator", "[ipv4-addr:value = '192.0.2.1']", ""},
		{"seen only", attr("ip-src", "192.0.2.1", false, ""), "ipv4-addr observed-data", `"value":"192.0.2.1"`, ""},
		{"address and port", attr("ip-dst|port", "192.0.2.1|81", true, ""), "indicator", "dst_port = 81", ""},
		{"IPv6 and port", attr("ip-dst|port", "2001:db8::1|81", true, ""), "indicator", "'2001:db8::1'", ""},
		{"domain and address", attr("domain|ip", "bad.example|192.0.2.1", true, ""), "indicator",
			"[domain-name:value = 'bad.example' AND domain-name:resolves_to_refs[*].value = '192.0.2.1']", ""},
		{"domain and address seen", attr("domain|ip", "bad.example|192.0.2.1", false, ""), "domain-name ipv4-addr observed-data", "bad.example", ""},
		{"file", attr("filename|sha1", "a|b's.exe|"+sha1, true, ""), "indicator", `[file:name = 'a|b\\'s.exe' AND file:hashes.'SHA-1' = '` + sha1 + `']`, ""},
		{"file seen", attr("filename|md5", "x y.exe|"+md5, false, ""), "file observed-data", `"name":"x y.exe","hashes":{"MD5":"` + md5 + `"}`, ""},
		{"id of its own", attr("url", "http://bad.example/", true, `,"uuid":"`+uuidB+`"`), "indicator", `"id":"indicator--` + uuidB + `"`, ""},
		{"own time", attr("url", "http://bad.example/", true, `,"timestamp":1767409445`), "indicator", `"created":"2026-01-02T00:00:00.000Z","modified":"2026-01-03T03:04:05.000Z"`, ""},
		{"comment", attr("url", "http://bad.example/", true, `,"comment":"C2 <1>"`), "indicator", `"description":"C2 <1>"`, ""},
		{"link", attr("link", "http://good.example/", false, ""), "x-misp-attribute", `"x_misp_type":"link","x_misp_value":"http://good.example/"`, ""},
		{"register", attr("regkey", `HKLM\Run`, true, ""), "indicator", `[windows-registry-key:key = 'HKLM\\\\Run']`, ""},
		{"rule", attr("yara", `rule x { condition: true }`, true, ""), "indicator", `"pattern":"rule x { condition: true }","pattern_type":"yara"`, ""},
		{"number of a network", attr("AS", `AS64500`, true, ""), "indicator", `[autonomous-system:number = 64500]`, ""},
		{"type to come", attr("new-type", "x", true, ""), "x-misp-attribute", `"x_misp_to_ids":true,"x_misp_type":"new-type"`, ""},
		{"wrong hash", attr("md5", "abc", true, ""), "x-misp-attribute", `"x_misp_value":"abc"`, ""},
		{"address of a domain", attr("ip-dst", "bad.example", true, ""), "x-misp-attribute", `"x_misp_value":"bad.example"`, ""},
		{"half a pair", attr("filename|md5", "abc", true, ""), "x-misp-attribute", `"x_misp_value":"abc"`, ""},
		{"deleted", attr("ip-dst", "192.0.2.1", true, `,"deleted":true`), "", "", `f:2: ip-dst "192.0.2.1" is deleted in MISP; left out`},
		{"not an attribute", `{"type":[],"value":"x"}`, "", "", "f:2: reading attribute: "},
		{"labelled", attr("ip-dst", "192.0.2.1", true, `,"Tag":[{"name":"tlp:red"},{"name":"tlp:green"}]`), "indicator/red", stix.TLPMarkingID(protocol.TLPRed), ""},
		{"label unknown", attr("ip-dst", "192.0.2.1", true, `,"Tag":[{"name":"tlp:ex:chr"}]`), "", "", `f:2: ip-dst "192.0.2.1": unknown TLP label`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := read(t, event("", tt.attribute), Options{})
			got := ""
			if len(res.Problems) > 0 {
				got = res.Problems[0].String()
			}
			if tt.problem == "" && got != "" || !strings.HasPrefix(got, tt.problem) {
				t.Fatalf("problem %q, want %q", got, tt.problem)
			}
			want := strings.TrimSpace("identity " + tt.want + " report")
			if types(res) != strings.Join(strings.Fields(want), " ") {
				t.Fatalf("objects %q, want %q", types(res), want)
			}
			if raw := string(res.Items[1].Object.Raw); !strings.Contains(raw, tt.holds) {
				t.Errorf("%s does not hold %s", raw, tt.holds)
			}
			for _, item := range res.Items {
				if _, err := stix.Parse(item.Object.Raw); err != nil {
					t.Errorf("%s: %v", item.Object.Raw, err)
				}
			}
		})
	}
}

func TestReadMISPForms(t *testing.T) {
	one := event("", attr("ip-dst", "192.0.2.1", true, ""))
	bare := strings.TrimSuffix(strings.TrimPrefix(one, `{"Event":`), "}")
	for name, data := range map[string]string{
		"wrapped": one, "bare": bare, "response": `{"response":[` + one + `]}`, "response of one": `{"response":` + one + `}`,
		"array": "[" + one + "]",
	} {
		res := read(t, data, Options{Format: MISP})
		if types(res) != "identity indicator report" || res.Title != "An operation" || len(res.Problems) > 0 {
			t.Errorf("%s: %s %q %v", name, types(res), res.Title, res.Problems)
		}
	}
	two := read(t, `{"response":[`+one+`,`+strings.Replace(one, uuidA, uuidB, 1)+`,{}]}`, Options{})
	if types(two) != "identity indicator report indicator report" || two.Duplicates != 1 || len(two.Problems) != 1 {
		t.Errorf("two events: %s, %d duplicates, %v", types(two), two.Duplicates, two.Problems)
	}
}

func TestReadMISPObjects(t *testing.T) {
	object := `"Object":[{"name":"file","Attribute":[` + attr("md5", strings.Repeat("a", 32), true, "") + `,` +
		attr("text", "packed", false, `,"object_relation":"state"`) + `]},{"name":"file","deleted":true,"Attribute":[` +
		attr("md5", strings.Repeat("b", 32), true, "") + `]}],`
	res := read(t, event(object), Options{})
	if types(res) != "identity x-misp-object indicator x-misp-attribute report" || len(res.Problems) != 1 {
		t.Fatalf("%s, %v", types(res), res.Problems)
	}
	if raw := string(res.Items[3].Object.Raw); !strings.Contains(raw, `"x_misp_object_ref":"`+res.Items[1].Object.ID+`","x_misp_object_relation":"state"`) {
		t.Errorf("attribute %s", raw)
	}
}

// An event's label holds for everything made of it; an attribute's may only narrow it.
func TestReadMISPHandling(t *testing.T) {
	res := read(t, event(`"distribution":"0","Tag":[{"name":"TLP:AMBER"},{"name":"PAP:RED"},{"name":"spring"}],`,
		attr("ip-dst", "192.0.2.1", true, `,"Tag":[{"name":"tlp:clear"}]`),
		attr("text", "wide", false, ""),
		attr("text", "narrow", false, `,"Tag":[{"name":"tlp:amber+strict"}]`)), Options{})
	if got, want := types(res), "identity/amber indicator/amber x-misp-attribute/amber x-misp-attribute/amber+strict report/amber"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	for _, item := range res.Items {
		if item.Handling.PAP != protocol.PAPRed {
			t.Errorf("%s has PAP %v", item.Object.Type, item.Handling.PAP)
		}
	}
	if raw := string(res.Items[4].Object.Raw); !strings.Contains(raw, `"labels":["spring"]`) {
		t.Errorf("report %s", raw)
	}
	if len(res.Notes) == 0 || !strings.Contains(res.Notes[0], "your organisation only") {
		t.Errorf("notes %q", res.Notes)
	}
	// What stands in two events is for the readers of both, as each of them says.
	one := event(`"Tag":[{"name":"tlp:red"}],`, attr("ip-dst", "192.0.2.1", false, ""))
	two := read(t, "["+one+","+strings.Replace(one, "tlp:red", "tlp:clear", 1)+","+one+"]", Options{})
	if got := types(two); strings.Count(got, "ipv4-addr/red") != 1 || strings.Count(got, "ipv4-addr/clear") != 1 || two.Duplicates == 0 {
		t.Errorf("the same with two handlings: %s, %d duplicates", got, two.Duplicates)
	}
	bad := read(t, event(`"Tag":[{"name":"tlp:unclear"}],`, attr("ip-dst", "192.0.2.1", true, "")), Options{})
	if len(bad.Items) != 0 || len(bad.Problems) != 2 {
		t.Errorf("event with a label that is not known: %s, %v", types(bad), bad.Problems)
	}
}

// A large event is split into objects that fit a record.
func TestReadMISPLarge(t *testing.T) {
	var attributes []string
	for i := range 9000 {
		attributes = append(attributes, attr("ip-dst", fmt.Sprintf("10.0.%d.%d", i/256, i%256), true, ""),
			attr("text", fmt.Sprintf("line %d of the context", i), false, ""))
	}
	attributes = append(attributes, attr("text", strings.Repeat("x", 600<<10), false, ""))
	res := read(t, event("", attributes...), Options{})
	count := map[string]int{}
	for _, item := range res.Items {
		count[item.Object.Type]++
	}
	if count["indicator"] != 9000 || count["x-misp-attribute"] != 9000 || count["report"] != 5 || len(res.Problems) != 1 {
		t.Errorf("%v, problems %v", count, res.Problems)
	}
}

// Broken or hostile files are refused as a whole, or in the part that is wrong.
func TestReadMISPHostile(t *testing.T) {
	for _, data := range []string{
		`{"Event":{"Event":{"info":"x"}}}`, `{"response":[{"Event":{"info":"x"}}`, `{"Event":{"info":"x"}} {}`, `{"Event":[]}`, `{"Event":{"Attribute":{}}}`,
		`{"response":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
		`{"Event":{"info":"x","Tag":` + strings.Repeat(`[`, 20000) + strings.Repeat("]", 20000) + `}}`,
	} {
		if res, err := Read("f", strings.NewReader(data), Options{Format: MISP}); err == nil {
			t.Errorf("%.60s: %s, %v", data, types(res), res.Problems)
		}
	}
	for _, part := range []string{`"Tag":"x",`, `"Tag":[7],`, `"Galaxy":{"a":1},`, `"EventReport":[{"name":[],"content":"x"}],`, `"Object":[{"name":{}}],`, `"Orgc":7,`} {
		data := strings.Replace(event("", attr("ip-dst", "192.0.2.1", true, "")), `"Attribute"`, part+`"Attribute"`, 1)
		if res := read(t, data, Options{}); len(res.Problems) != 1 {
			t.Errorf("%s: problems %v", part, res.Problems)
		}
	}
}
