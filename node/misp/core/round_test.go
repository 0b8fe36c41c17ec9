package core

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// convert reads the first event of a file and turns it into objects.
func convert(t interface{ Fatalf(string, ...any) }, data []byte, orgs Orgs) (*Event, *Converted, []Problem) {
	var events []*Event
	var problems []Problem
	if err := Read(data, func(e *Event) { events = append(events, e) }, func(p Problem) { problems = append(problems, p) }); err != nil {
		t.Fatalf("reading: %v", err)
	}
	if len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), problems)
	}
	return events[0], Convert(events[0], orgs), problems
}

// back builds the event that was converted.
func back(c *Converted, uuid string, grown bool) (Fields, []string) {
	byID := map[string]*stix.Object{}
	var sources []Source
	for _, m := range c.Made {
		byID[m.Object.ID] = m.Object
		sources = append(sources, Source{Object: m.Object, Marks: MarksOf(&m.Handling), At: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)})
	}
	event, notes := Build(Building{UUID: uuid, Info: "?", Grown: grown, Find: func(id string) *stix.Object { return byID[id] }}, sources)
	var out struct{ Event Fields }
	if err := json.Unmarshal(Encode(event), &out); err != nil {
		panic(err)
	}
	return out.Event, notes
}

// flat is what an event says, by path: lists in any order, booleans in one spelling, defaults left out.
func flat(of string, f Fields, path string, out map[string]string) {
	for name, raw := range f {
		here := path + name
		switch {
		case string(raw) == "null" || string(raw) == "[]" || string(raw) == "{}":
		case raw[0] == '[':
			var list []json.RawMessage
			_ = json.Unmarshal(raw, &list)
			for i, e := range list {
				var x Fields
				if json.Unmarshal(e, &x) != nil {
					var v any
					_ = json.Unmarshal(e, &v)
					out[fmt.Sprintf("%s[%d]", here, i)] = fmt.Sprint(v)
					continue
				}
				key := cmpOr(x.Text("uuid"), cmpOr(x.Text("name"), cmpOr(x.Text("tag_name"), fmt.Sprint(i))))
				kind := map[string]string{"EventReport": "Report", "ObjectReference": "Reference", "GalaxyCluster": "Cluster"}[name]
				out[here+"["+key+"]"] = "is there"
				flat(cmpOr(kind, name), x, here+"["+key+"].", out)
			}
		case raw[0] == '{':
			flat(name, Fields{"": raw}.object(""), here+".", out)
		default:
			text := f.Text(name)
			if booleans[name] && truth[text] != "" {
				text = truth[text]
			}
			if !isDefault(of, name, text) {
				out[here] = text
			}
		}
	}
}

func differences(t interface{ Fatalf(string, ...any) }, before, after Fields) (list []string) {
	a, b := map[string]string{}, map[string]string{}
	flat("Event", before, "", a)
	flat("Event", after, "", b)
	if len(a) == 0 {
		t.Fatalf("nothing to compare")
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			list = append(list, fmt.Sprintf("%s: %q became %q", k, v, w))
		}
	}
	for k, v := range b {
		if _, ok := a[k]; !ok {
			list = append(list, fmt.Sprintf("%s: %q came", k, v))
		}
	}
	slices.Sort(list)
	return list
}

// tabled are the names in a table of docs/misp.md.
func tabled(t *testing.T, heading string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "misp.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "### "+heading+"\n")
	if !ok {
		t.Fatalf("docs/misp.md has no part %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n#")
	for line := range strings.Lines(rest) {
		if first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| `") {
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
				names = append(names, m[1])
			}
		}
	}
	slices.Sort(names)
	return names
}

// What docs/misp.md says is not carried is what the code does not carry.
func TestDocumented(t *testing.T) {
	var want []string
	for name := range Local {
		want = append(want, name)
	}
	for name := range derived {
		if !Local[name] {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if got := tabled(t, "Not carried"); !slices.Equal(got, want) {
		t.Errorf("docs/misp.md names\n%v\nthe code leaves out\n%v", got, want)
	}
	var types []string
	for typ := range mispPaths {
		types = append(types, typ)
	}
	for typ := range ruleTypes {
		types = append(types, typ)
	}
	slices.Sort(types)
	if got := tabled(t, "Patterns of other types"); !slices.Equal(got, types) {
		t.Errorf("docs/misp.md has patterns for\n%v\nthe code for\n%v", got, types)
	}
}

// Every vendor's event comes back as it was, apart from what docs/misp.md says.
func TestSharedEvents(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "data", "eset")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public data set is not beside the project (../shared/data); nothing to compare with")
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) < 4 {
		t.Fatalf("events: %v %v", names, err)
	}
	excused := tabled(t, "Not carried")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Response []struct{ Event Fields } }
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Response {
			one, _ := json.Marshal(map[string]any{"Event": r.Event})
			e, c, problems := convert(t, one, nil)
			if len(problems)+len(c.Problems) > 0 {
				t.Errorf("%s: %v %v", filepath.Base(name), problems, c.Problems)
			}
			after, notes := back(c, e.UUID(), false)
			if len(notes) > 0 {
				t.Errorf("%s: %v", filepath.Base(name), notes)
			}
			for _, d := range differences(t, r.Event, after) {
				path, _, _ := strings.Cut(d, ": ")
				path = "." + regexp.MustCompile(`\[[^\]]*\]`).ReplaceAllString(path, "") + "."
				if !slices.ContainsFunc(excused, func(name string) bool { return strings.Contains(path, "."+name+".") }) {
					t.Errorf("%s: %s", filepath.Base(name), d)
				}
			}
		}
	}
}

var attributeDraw = rapid.Custom(func(t *rapid.T) map[string]any {
	kinds := [][2]string{{"ip-dst", "192.0.2.1"}, {"ip-src|port", "2001:db8::1|81"}, {"domain", "bad.example"}, {"domain|ip", "bad.example|192.0.2.1"}, {"url", "http://bad.example/x?a='b'"},
		{"filename|sha256", `a\b's.exe|` + strings.Repeat("ab", 32)}, {"md5", strings.Repeat("ab", 16)}, {"md5", "none"}, {"regkey", `HKLM\Run`}, {"yara", "rule x { condition: true }"},
		{"text", "words"}, {"comment", " spaced "}, {"link", "https://good.example/"}, {"AS", "AS64500"}, {"new-type", "x"}, {"email-subject", "Re: 'you'"}, {"regkey|value", `HKLM\Run|x`}}
	kind := rapid.SampledFrom(kinds).Draw(t, "kind")
	a := map[string]any{"type": kind[0], "value": kind[1], "to_ids": rapid.Bool().Draw(t, "ids"), "category": rapid.SampledFrom([]string{"Other", "Network activity"}).Draw(t, "category"),
		"timestamp": fmt.Sprint(rapid.IntRange(1600000000, 1700000000).Draw(t, "at"))}
	for _, p := range []struct {
		name   string
		values []any
	}{
		{"comment", []any{"", "C2 <1>\n\"x\""}}, {"distribution", []any{"5", "0", "1", "3"}}, {"disable_correlation", []any{true, false, "1"}},
		{"first_seen", []any{nil, "2020-01-02T03:04:05.123456+00:00"}}, {"last_seen", []any{nil, "2021-01-02T03:04:05.000000+02:00"}},
		{"future_property", []any{"x", 3}}, {"data", []any{"", "QUJD"}},
	} {
		if rapid.Bool().Draw(t, p.name) {
			a[p.name] = rapid.SampledFrom(p.values).Draw(t, p.name+" value")
		}
	}
	a["Tag"] = drawTags(t, "attribute ")
	if rapid.IntRange(0, 3).Draw(t, "sighting") == 0 {
		s := map[string]any{"date_sighting": "1650000000", "type": rapid.SampledFrom([]string{"0", "1", "2"}).Draw(t, "sighting type"), "source": rapid.SampledFrom([]string{"", "sensor"}).Draw(t, "source")}
		if rapid.Bool().Draw(t, "by") {
			s["Organisation"] = map[string]any{"name": "Carol", "uuid": NewUUID("carol")}
		}
		a["Sighting"] = []any{s}
	}
	if rapid.IntRange(0, 5).Draw(t, "galaxy") == 0 {
		a["Galaxy"] = []any{drawGalaxy(t)}
	}
	return a
})

// number gives everything that was drawn a UUID of its own.
func number(list []map[string]any, next func() string) {
	for _, a := range list {
		a["uuid"] = next()
		sightings, _ := a["Sighting"].([]any)
		for _, s := range sightings {
			s.(map[string]any)["uuid"] = next()
		}
	}
}

func drawTags(t *rapid.T, what string) []any {
	list := []any{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"spring", `x:y="z"`, "PAP:RED", "tlp:red", `entente:country="TH"`, `admiralty-scale:source-reliability="b"`}), 0, 3, rapid.ID).Draw(t, what+"tags") {
		list = append(list, map[string]any{"name": name, "colour": "#112233"})
	}
	return list
}

func drawGalaxy(t *rapid.T) map[string]any {
	typ := rapid.SampledFrom([]string{"threat-actor", "mitre-attack-pattern", "new-galaxy", "rat"}).Draw(t, "galaxy type")
	return map[string]any{"uuid": NewUUID(typ), "name": "G " + typ, "type": typ, "version": "3", "description": "all of them",
		"GalaxyCluster": []any{map[string]any{"uuid": NewUUID("c" + typ), "value": "One", "type": typ, "version": "7", "tag_name": `misp-galaxy:` + typ + `="One"`, "meta": map[string]any{"refs": []any{"https://x.example/"}}}}}
}

// Any event comes back as it was: the properties of every attribute, object, relation, report,
// sighting and cluster.
func TestRoundTripProps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := 0
		next := func() string { count++; return NewUUID(fmt.Sprint(count)) }
		attributes := rapid.SliceOfN(attributeDraw, 0, 5).Draw(t, "attributes")
		number(attributes, next)
		event := map[string]any{"uuid": next(), "info": rapid.SampledFrom([]string{"An operation", " led by space", ""}).Draw(t, "info"), "date": "2019-05-06",
			"timestamp": "1650000001", "threat_level_id": "2", "analysis": "1", "distribution": rapid.SampledFrom([]string{"0", "1", "3"}).Draw(t, "distribution"),
			"published": rapid.Bool().Draw(t, "published"), "extends_uuid": next(), "Orgc": map[string]any{"name": "Alice", "uuid": NewUUID("alice")},
			"Tag": drawTags(t, "event "), "Attribute": attributes}
		if event["info"] == "" {
			delete(event, "info")
		}
		var objects []any
		for i := range rapid.IntRange(0, 2).Draw(t, "objects") {
			o := map[string]any{"uuid": next(), "name": "file", "meta-category": "file", "template_uuid": NewUUID("t"), "template_version": "3", "timestamp": "1650000002",
				"comment": rapid.SampledFrom([]string{"", "dropped"}).Draw(t, "object comment")}
			inner := rapid.SliceOfN(attributeDraw, 1, 3).Draw(t, "inner")
			number(inner, next)
			for _, a := range inner {
				a["object_relation"] = "r"
			}
			o["Attribute"] = inner
			if i > 0 {
				o["ObjectReference"] = []any{map[string]any{"uuid": next(), "referenced_uuid": inner[0]["uuid"], "relationship_type": "drops", "comment": "then", "timestamp": "1650000003", "referenced_type": "0", "object_uuid": o["uuid"]}}
			}
			objects = append(objects, o)
		}
		event["Object"] = objects
		if rapid.Bool().Draw(t, "report") {
			event["EventReport"] = []any{map[string]any{"uuid": next(), "name": "Findings", "content": rapid.SampledFrom([]string{"", "# Title\ntext"}).Draw(t, "content"), "timestamp": "1650000004", "distribution": "5"}}
		}
		if rapid.Bool().Draw(t, "galaxy") {
			event["Galaxy"] = []any{drawGalaxy(t)}
		}
		data, err := json.Marshal(map[string]any{"Event": event})
		if err != nil {
			t.Fatal(err)
		}
		e, c, problems := convert(t, data, nil)
		if len(problems)+len(c.Problems) > 0 {
			t.Fatalf("problems %v %v", problems, c.Problems)
		}
		after, _ := back(c, e.UUID(), false)
		var before struct{ Event Fields }
		if err := json.Unmarshal(data, &before); err != nil {
			t.Fatal(err)
		}
		for _, d := range differences(t, before.Event, after) {
			if excused(d, event) {
				continue
			}
			t.Fatalf("%s", d)
		}
	})
}

// excused are the differences that the handling makes, which docs/misp.md explains: something inside of
// an event that may go to fewer than it says is given the distribution and the tags that it then has.
func excused(d string, event map[string]any) bool {
	path, _, _ := strings.Cut(d, ": ")
	inner := strings.Contains(path, "].")
	if strings.HasSuffix(path, "attribute_count") || strings.HasSuffix(path, "object_uuid") || strings.HasSuffix(path, "event_uuid") || strings.HasSuffix(path, "attribute_uuid") || path == "info" && event["info"] == nil {
		return true
	}
	return inner && strings.HasSuffix(path, "distribution") || strings.HasSuffix(d, "came") && regexp.MustCompile(`Tag\[(tlp|PAP|entente)`).MatchString(path) ||
		strings.HasSuffix(path, "sighting_timestamp") || path == "distribution"
}

func TestDistribution(t *testing.T) {
	carol := protocol.OrgID{3}
	orgs := func(uuid string) (protocol.OrgID, bool) { return carol, uuid == NewUUID("carol") }
	group := `,"SharingGroup":{"uuid":"` + NewUUID("g") + `","name":"Trusted","SharingGroupOrg":[{"Organisation":{"name":"Carol","uuid":"` + NewUUID("carol") + `"}}%s]}`
	other := `,{"Organisation":{"name":"Dan","uuid":"` + NewUUID("dan") + `"}}`
	for _, tt := range []struct {
		name, event, attribute string
		onward                 string // of the attribute
		named                  int
		back                   string // distribution of the event, of the attribute
		problem                string
	}{
		{"own", `"distribution":"0"`, "", "nobody", 0, "0 5", ""},
		{"community", `"distribution":1`, `,"distribution":"5"`, "nobody", 0, "1 5", ""},
		{"connected", `"distribution":"2"`, "", "nobody", 0, "1 5", ""},
		{"all", `"distribution":"3"`, "", "partners", 0, "3 5", ""},
		{"all, one own", `"distribution":"3"`, `,"distribution":"0"`, "nobody", 0, "3 0", ""},
		{"own, one for all", `"distribution":"0"`, `,"distribution":"3"`, "nobody", 0, "0 1", ""},
		{"group", `"distribution":"4"` + fmt.Sprintf(group, ""), "", "nobody", 1, "4 5", ""},
		{"group, part known", `"distribution":"4"` + fmt.Sprintf(group, other), "", "nobody", 1, "0 5", ""},
		{"group unknown", `"distribution":"4","SharingGroup":{"name":"Trusted","SharingGroupOrg":[]}`, "", "", 0, "", "of whose 0 organisations none is known"},
		{"group not given", `"distribution":"4"`, "", "", 0, "", "entente misp org add"},
		{"unknown", `"distribution":"9"`, "", "", 0, "", `distribution "9" is not known`},
		{"tag of ours unknown", `"distribution":"3","Tag":[{"name":"entente:moon=\"1\""}]`, "", "", 0, "", "is not understood"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := `{"Event":{"uuid":"` + NewUUID("e") + `","info":"x",` + tt.event + `,"Orgc":{"name":"A","uuid":"` + NewUUID("a") + `"},"Attribute":[{"type":"domain","value":"bad.example","to_ids":true,"uuid":"` + NewUUID("x") + `"` + tt.attribute + `}]}}`
			e, c, _ := convert(t, []byte(data), orgs)
			if tt.problem != "" {
				if len(c.Made) != 0 || len(c.Problems) == 0 || !strings.Contains(c.Problems[0].Text, tt.problem) {
					t.Fatalf("%v, %d made", c.Problems, len(c.Made))
				}
				return
			}
			for _, m := range c.Made {
				if m.Object.Type == "indicator" && (m.Handling.Onward.Rule.String() != tt.onward || len(m.Handling.Named) != tt.named) {
					t.Errorf("handling %+v", m.Handling)
				}
			}
			after, _ := back(c, e.UUID(), false)
			attributes, _ := after.list("Attribute")
			if got := after.Text("distribution") + " " + attributes[0].Text("distribution"); got != tt.back {
				t.Errorf("comes back as %s, want %s", got, tt.back)
			}
		})
	}
}

// What was narrowed since does not leave with the tags that it came with.
func TestTagsFollowHandling(t *testing.T) {
	data := `{"Event":{"uuid":"` + NewUUID("e") + `","info":"x","distribution":"3","Tag":[{"name":"TLP:WHITE"},{"name":"spring"}],"Orgc":{"name":"A","uuid":"` + NewUUID("a") + `"},
		"Attribute":[{"type":"domain","value":"bad.example","to_ids":true},{"type":"domain","value":"worse.example","to_ids":true}]}}`
	e, c, _ := convert(t, []byte(data), nil)
	for i := range c.Made {
		m := &c.Made[i].Handling
		m.TLP, m.Countries, m.RetentionDays = protocol.TLPAmber, []string{"TH"}, 30
		if c.Made[i].Value == "worse.example" {
			m.TLP, m.Onward = protocol.TLPRed, nobody
		}
	}
	after, _ := back(c, e.UUID(), false)
	names := func(f Fields) (s string) {
		tags, _ := f.list("Tag")
		for _, tag := range tags {
			s += tag.Text("name") + " "
		}
		return s
	}
	if got := names(after); got != `spring tlp:amber entente:country="TH" entente:retention-days="30" ` {
		t.Errorf("event is tagged %s", got)
	}
	attributes, _ := after.list("Attribute")
	if names(attributes[0]) != "" || attributes[0].Text("distribution") != "5" {
		t.Errorf("first: %s", names(attributes[0]))
	}
	if names(attributes[1]) != "tlp:red " || attributes[1].Text("distribution") != "0" {
		t.Errorf("second: %s, distribution %s", names(attributes[1]), attributes[1].Text("distribution"))
	}
}

// Objects come from anybody: what stands in their custom properties does not decide what an event says
// of numbers, deletion or distribution.
func TestBuildHostile(t *testing.T) {
	raw := `{"type":"indicator","spec_version":"2.1","id":"indicator--` + NewUUID("x") + `","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","name":"bad.example","pattern":"[domain-name:value = 'bad.example']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z",
		"x_misp_type":"domain","x_misp_event_uuid":"` + NewUUID("e") + `","x_misp_id":"1","x_misp_event_id":"7","x_misp_deleted":true,"x_misp_distribution":"3","x_misp_uuid":"zz","x_misp_tags":{"a":[]},"x_misp_first_seen":{"a":1},"x_misp_object_ref":"x-misp-object--` + NewUUID("no") + `"}`
	o, err := stix.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	event, _ := Build(Building{UUID: NewUUID("e"), Info: "i", Org: Org{"A", NewUUID("a")}}, []Source{{Object: o, Marks: Marks{TLP: protocol.TLPAmber}}})
	list, _ := event["Attribute"].([]map[string]any)
	if len(list) != 1 {
		t.Fatalf("%v", event)
	}
	a := list[0]
	for _, name := range []string{"id", "event_id", "first_seen"} {
		if a[name] != nil {
			t.Errorf("%s is %s", name, a[name])
		}
	}
	if a["deleted"] != false || a["uuid"] != NewUUID("x") || a["distribution"] != distCommunity || event["distribution"] != distCommunity {
		t.Errorf("%v in %v", a, event["distribution"])
	}
}

// Objects that never were in MISP become attributes, and what cannot is named.
func TestGeneric(t *testing.T) {
	when := `"created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"`
	sdo := func(typ, rest string) string {
		return `{"type":"` + typ + `","spec_version":"2.1","id":"` + typ + `--` + NewUUID(typ+rest) + `",` + when + `,` + rest + `}`
	}
	pattern := func(p string) string {
		return sdo("indicator", `"pattern":"`+p+`","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"`)
	}
	for _, tt := range []struct{ object, want, lost string }{
		{pattern("[domain-name:value = 'bad.example']"), "domain bad.example true", ""},
		{pattern("[url:value = 'http://bad.example/']"), "url http://bad.example/ true", ""},
		{pattern("[network-traffic:dst_ref.type = 'ipv6-addr' AND network-traffic:dst_ref.value = '2001:db8::1' AND network-traffic:dst_port = 81]"), "ip-dst|port 2001:db8::1|81 true", ""},
		{pattern("[domain-name:value = 'bad.example' AND file:name = 'x.exe']"), "domain bad.example false; filename x.exe false; stix2-pattern [domain-name:value = 'bad.example' AND file:name = 'x.exe'] true", ""},
		{pattern("[process:pid > 3]"), "stix2-pattern [process:pid > 3] true", ""},
		{`{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--` + NewUUID("1") + `","value":"192.0.2.1"}`, "ip-dst 192.0.2.1 false", ""},
		{sdo("vulnerability", `"name":"CVE-2026-0001"`), "vulnerability CVE-2026-0001 false", ""},
		{sdo("malware", `"name":"Worm","is_family":true`), "text malware: Worm false", ""},
		{sdo("note", `"content":"see","object_refs":["malware--`+NewUUID("m")+`"]`), "text note: see false", ""},
		{sdo("location", `"country":"TH"`), "", "1 objects of the type location have no place in an event of MISP"},
	} {
		o, err := stix.Parse([]byte(tt.object))
		if err != nil {
			t.Fatal(err)
		}
		event, notes := Build(Building{UUID: NewUUID("e")}, []Source{{Object: o, Marks: Marks{TLP: protocol.TLPGreen}}})
		var got []string
		list, _ := event["Attribute"].([]map[string]any)
		for _, a := range list {
			got = append(got, fmt.Sprintf("%v %v %v", a["type"], a["value"], a["to_ids"]))
		}
		if strings.Join(got, "; ") != tt.want || strings.Join(notes, "; ") != tt.lost {
			t.Errorf("%s became %q, %q", tt.object, got, notes)
		}
	}
}
