package stix

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// TestModel: the table has every object of the standard, and says what the program says elsewhere.
func TestModel(t *testing.T) {
	m := model()
	count := map[string]int{}
	for name, o := range m.objects {
		count[o.class]++
		want := map[string]bool{}
		for _, p := range o.required {
			switch p.name {
			case "type", "id", "spec_version", "created", "modified":
			default:
				want[p.name] = true
			}
		}
		if name == "extension-definition" {
			delete(want, "created_by_ref") // which is not needed to read one
		}
		if got := required[name]; !slices.Equal(slices.Sorted(maps.Keys(want)), slices.Sorted(slices.Values(got))) {
			t.Errorf("%s requires %v by the table, and %v by types.go", name, slices.Sorted(maps.Keys(want)), got)
		}
		if observableTypes[name] != (o.class == classSCO) {
			t.Errorf("%s is an observable by one of the table and types.go, and not by the other", name)
		}
		for _, ref := range refProperties[name] {
			if p := o.props[ref]; p == nil || p.kind != kRef || p.list || !p.required {
				t.Errorf("%s of %s is no reference that is required", ref, name)
			}
		}
	}
	if want := map[string]int{classSDO: 19, classSRO: 2, classSCO: 18, classSMO: 3}; !maps.Equal(count, want) {
		t.Errorf("the table has %v, want %v", count, want)
	}
	if len(m.extensions) != 12 || len(m.objects) != len(required) {
		t.Errorf("%d predefined extensions, %d objects", len(m.extensions), len(m.objects))
	}
	for _, v := range []struct {
		list []string
		name string
	}{{indicatorTypes, "indicator-type-ov"}, {hashAlgorithms, "hash-algorithm-ov"}} {
		if got := slices.Sorted(slices.Values(m.vocabularies[v.name].list)); !slices.Equal(got, slices.Sorted(slices.Values(v.list))) {
			t.Errorf("%s is %v in the table, and %v elsewhere", v.name, got, v.list)
		}
	}
	for _, bad := range []string{"\tname string", "object x 1 sdo", "common sdo 1\nobject x 1 sdo\n\tname", "common sdo 1\nobject x 1 sdo\n\tname text", "nonsense 1 2",
		"common sdo 1\nobject x 1 sdo\n\tname ov:y", "common sdo 1\nobject x 1 sdo\n\tname @y", "common sdo 1\nobject x 1 sdo\n\tname string\n\t: some name other",
		"common sdo 1\nobject x 1 sdo\n\tname string\n\t: odd name", "common sdo 1\nobject x 1 sdo\n\tname ref:y", "common sdo 1\nobject x 1 sdo\n\tname integer 1-2",
		"part x 1\n\tname string\n\tname string", "common sdo 1\nobject x 1 sdo\n\tname string\n\t: id other", "common sdo 1\nobject x 1 sdo\n\tname string\n\t: when name other"} {
		if _, err := readModel(bad); err == nil {
			t.Errorf("a table of %q is read", bad)
		}
	}
}

const (
	idA = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
	idB = "6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b"
)

// sdo writes an object of a type with the common properties and some more.
func sdo(typ, more string) string {
	return `{"type":"` + typ + `","spec_version":"2.1","id":"` + typ + "--" + idA + `","created":"2026-01-02T03:04:05.000Z","modified":"2026-01-02T03:04:05.000Z"` + more + `}`
}

// sco writes an observable; its id is made if it can be.
func sco(t testing.TB, typ, more string) string {
	t.Helper()
	raw := `{"type":"` + typ + `"` + more + `}`
	id, err := SCOID([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if id == "" {
		id = typ + "--" + idA
	}
	return `{"id":"` + id + `",` + raw[1:]
}

// TestViolations: for each rule an object that breaks it, and nothing else.
func TestViolations(t *testing.T) {
	indicator := func(more string) string {
		return sdo("indicator", `,"name":"x","description":"y","pattern":"[a:b = 'c']","pattern_type":"stix","valid_from":"2026-01-02T03:04:05Z"`+more)
	}
	ref := func(typ string) string { return typ + "--" + idB }
	for _, tt := range []struct {
		raw, path, rule, text string
		lenient               bool // it is found then, too
	}{
		// 2: types of properties
		{sco(t, "artifact", `,"payload_bin":"dGVzdA"`), "$.payload_bin", "2.1 MUST", "base64", false},
		{sdo("malware", `,"name":"x","is_family":"true"`), "$.is_family", "2.2 MUST", "true or false", true},
		{sco(t, "process", `,"pid":1,"environment_variables":{"a b":"c"}`), "$.environment_variables", "2.3 MUST", `"a b"`, false},
		{sco(t, "process", `,"pid":1,"environment_variables":{}`), "$.environment_variables", "2.3 MUST", "not empty", false},
		{sco(t, "process", `,"pid":1,"environment_variables":"a=b"`), "$.environment_variables", "6.13 MUST", "an object", false},
		{sdo("tool", `,"name":"x","external_references":[{"source_name":"y"}]`), "$.external_references[0]", "2.5 MUST", "at least one of description, url, external_id", false},
		{sdo("tool", `,"name":"x","external_references":[{"description":"y"}]`), "$.external_references[0]", "2.5 MUST", "lacks source_name", false},
		{sdo("tool", `,"name":"x","external_references":[{"source_name":"y","url":"https://a.example"}]`), "$.external_references[0].url", "2.5 SHOULD", "hashes", false},
		{sdo("tool", `,"name":"x","external_references":[{"source_name":"y","external_id":"1","odd":"z"}]`), "$.external_references[0].odd", "11.1 SHOULD", "extension", false},
		{sdo("location", `,"region":"asia","latitude":"1","longitude":1`), "$.latitude", "4.10 MUST", "without quotes", false},
		{sdo("location", `,"region":"asia","latitude":91,"longitude":1`), "$.latitude", "4.10 MUST", "from -90 to 90", false},
		{sdo("location", `,"region":"asia","latitude":1,"longitude":1,"precision":-1`), "$.precision", "4.10 MUST", "from 0", false},
		{sco(t, "file", `,"hashes":{"MD5":"xyz"}`), "$.hashes.MD5", "2.7 MUST", "32 hexadecimal", false},
		{sco(t, "file", `,"hashes":{"MD5":1}`), "$.hashes.MD5", "2.7 MUST", "a string", false},
		{sco(t, "file", `,"hashes":{"x":"00"}`), "$.hashes.x", "2.7 MUST", "3 to 250", false},
		{sco(t, "file", `,"hashes":{"FOO1":"00"}`), "$.hashes.FOO1", "10.7 SHOULD", "hash-algorithm-ov", false},
		{sco(t, "file", `,"name":"x","magic_number_hex":"abc"`), "$.magic_number_hex", "2.8 MUST", "pairs", false},
		{sco(t, "file", `,"name":"x","magic_number_hex":"FF"`), "$.magic_number_hex", "2.8 MUST", "lower case", false},
		{sdo("tool", `,"name":"x","severity":1`), "$.severity", "3.8 MUST", "reserved", false},
		{sdo("tool", `,"name":"x","kill_chain_phases":[{"kill_chain_name":"x","phase_name":"Two Words"}]`), "$.kill_chain_phases[0].phase_name", "2.11 SHOULD", "hyphens", false},
		{sdo("note", `,"content":"x","object_refs":["report"]`), "$.object_refs[0]", "2.9 MUST", "type--UUID", true},
		{sdo("note", `,"content":"x","object_refs":["bundle--`+idB+`"]`), "$.object_refs[0]", "4.13 MUST", "an object", false},
		{sdo("tool", `,"name":"x","created_by_ref":"`+ref("tool")+`"`), "$.created_by_ref", "3.2 MUST", "identity, and not to tool", false},
		{sdo("tool", `,"name":"x","confidence":1.5`), "$.confidence", "2.10 MUST", "integer", false},
		{sdo("tool", `,"name":"x","confidence":101`), "$.confidence", "3.2 MUST", "from 0 to 100", false},
		{sdo("tool", `,"name":"x","kill_chain_phases":[{"kill_chain_name":"x"}]`), "$.kill_chain_phases[0]", "2.11 MUST", "lacks phase_name", false},
		{sdo("tool", `,"name":"x","labels":[]`), "$.labels", "2.12 MUST", "not empty", false},
		{sdo("tool", `,"name":"x","labels":"a"`), "$.labels", "3.2 MUST", "a list", false},
		{sdo("tool", `,"name":"x","labels":[1]`), "$.labels[0]", "3.2 MUST", "a string", false},
		{sdo("tool", `,"name":"x","labels":null`), "$.labels", "3.1 MUST", "null", false},
		{sdo("tool", `,"name":1`), "$.name", "4.18 MUST", "a string", true},
		{sdo("campaign", `,"name":"x","first_seen":"yesterday"`), "$.first_seen", "2.16 MUST", "a time in UTC", false},
		{sdo("report", `,"name":"x","published":"2026-01-02T03:04:05+01:00","object_refs":["`+ref("tool")+`"]`), "$.published", "2.16 MUST", "a time in UTC", true},
		// 3: common properties
		{strings.Replace(sdo("tool", `,"name":"x"`), "05.000Z", "05Z", 1), "$.created", "3.2 MUST", "at least three digits", false},
		{sdo("tool", `,"name":"x","lang":"e"`), "$.lang", "3.2 MUST", "language tag", false},
		{sdo("tool", `,"name":"x","object_marking_refs":["`+ref("marking-definition")+`"],"granular_markings":[{"marking_ref":"`+ref("marking-definition")+`","selectors":["labels.[0]"]}]`),
			"$.granular_markings[0].selectors[0]", "7.2.3.2 MUST", "selects nothing", false},
		{sdo("tool", `,"name":"x","granular_markings":[{"lang":"en","selectors":["na me"]}]`), "$.granular_markings[0].selectors[0]", "7.2.3 MUST", "a selector", false},
		{sdo("tool", `,"name":"x","granular_markings":[{"lang":"en","marking_ref":"`+ref("marking-definition")+`","selectors":["name"]}]`), "$.granular_markings[0]", "7.2.3 MUST", "exactly one", false},
		{sdo("tool", `,"name":"x","granular_markings":[{"lang":"en"}]`), "$.granular_markings[0]", "7.2.3 MUST", "lacks selectors", false},
		{strings.Replace(sdo("tool", `,"name":"x"`), idA, uuid.NewSHA1(namespace, []byte("x")).String(), 1), "$.id", "2.9 SHOULD", "of version 5", false},
		{strings.Replace(sdo("tool", `,"name":"x"`), idA, "1b9d6bcd-bbfd-4b2d-1b5d-ab8dfbbd4bed", 1), "$.id", "2.9 MUST", "RFC 4122", false},
		// 4 and 5: objects and relationships
		{indicator(`,"valid_until":"2026-01-02T03:04:05Z"`), "$.valid_until", "4.7 MUST", "later than valid_from", true},
		{strings.Replace(indicator(""), `"name":"x",`, "", 1), "$", "4.7 SHOULD", "should have name", false},
		{strings.Replace(indicator(""), "= 'c'", "= c", 1), "$.pattern", "9 MUST", "column 8", true},
		{strings.Replace(indicator(""), `"stix"`, `"odd"`, 1), "$.pattern_type", "10.19 SHOULD", "pattern-type-ov", false},
		{indicator(`,"indicator_types":["bad"]`), "$.indicator_types[0]", "10.10 SHOULD", "indicator-type-ov", false},
		{sdo("location", `,"name":"x"`), "$", "4.10 MUST", "at least one of region, country, latitude", true},
		{sdo("location", `,"region":"asia","latitude":1`), "$", "4.10 MUST", "stand together", false},
		{sdo("location", `,"region":"asia","precision":1`), "$.precision", "4.10 MUST", "beside precision", false},
		{sdo("location", `,"country":"thailand"`), "$.country", "4.10 SHOULD", "ISO 3166-1", false},
		{sdo("malware", `,"is_family":true`), "$", "4.11 MUST", "name is required", false},
		{sdo("malware-analysis", `,"product":"x"`), "$", "4.12 MUST", "at least one of result, analysis_sco_refs", true},
		{sdo("malware-analysis", `,"product":"x","analysis_sco_refs":["`+ref("tool")+`"]`), "$.analysis_sco_refs[0]", "4.12 MUST", "an observable, and not to tool", false},
		{sdo("campaign", `,"name":"x","first_seen":"2026-01-02T00:00:00Z","last_seen":"2026-01-01T00:00:00Z"`), "$.last_seen", "4.2 MUST", "not be earlier than first_seen", false},
		{sdo("observed-data", `,"first_observed":"2026-01-02T00:00:00Z","last_observed":"2026-01-02T00:00:00Z","number_observed":0,"object_refs":["`+ref("url")+`"]`), "$.number_observed", "4.14 MUST", "from 1", false},
		{sdo("observed-data", `,"first_observed":"2026-01-02T00:00:00Z","last_observed":"2026-01-02T00:00:00Z","number_observed":1`), "$", "4.14 MUST", "one of objects, object_refs", true},
		{sdo("opinion", `,"opinion":"yes","object_refs":["`+ref("tool")+`"]`), "$.opinion", "10.18 MUST", "opinion-enum", true},
		{sdo("relationship", `,"relationship_type":"Uses","source_ref":"`+ref("x-foo")+`","target_ref":"`+ref("tool")+`"`), "$.relationship_type", "5.1 MUST", "a-z, 0-9", false},
		{sdo("relationship", `,"relationship_type":"eats","source_ref":"`+ref("malware")+`","target_ref":"`+ref("tool")+`"`), "$.relationship_type", "4.11 SHOULD", "not a relationship of malware", false},
		{sdo("relationship", `,"relationship_type":"exploits","source_ref":"`+ref("malware")+`","target_ref":"`+ref("tool")+`"`), "$.target_ref", "4.11 SHOULD", "exploits vulnerability", false},
		{sdo("relationship", `,"relationship_type":"related-to","source_ref":"`+ref("sighting")+`","target_ref":"`+ref("tool")+`"`), "$.source_ref", "5.1 MUST", "and not to sighting", false},
		{sdo("relationship", `,"relationship_type":"related-to","source_ref":"`+ref("malware")+`","target_ref":"`+ref("tool")+`","start_time":"2026-01-02T00:00:00Z","stop_time":"2026-01-02T00:00:00Z"`), "$.stop_time", "5.1 MUST", "later than start_time", false},
		{sdo("sighting", `,"sighting_of_ref":"`+ref("url")+`"`), "$.sighting_of_ref", "5.2 MUST", "a domain object", false},
		// 6: observables
		{sco(t, "artifact", `,"mime_type":"a/b"`), "$", "6.1 MUST", "one of payload_bin, url", true},
		{sco(t, "artifact", `,"payload_bin":"dGVzdA==","url":"https://a.example","hashes":{"MD5":"d41d8cd98f00b204e9800998ecf8427e"}`), "$", "6.1 MUST", "exactly one of payload_bin, url", false},
		{sco(t, "artifact", `,"url":"https://a.example"`), "$.url", "6.1 MUST", "beside url stands hashes", false},
		{sco(t, "artifact", `,"payload_bin":"dGVzdA==","mime_type":"pdf"`), "$.mime_type", "6.1 MUST", "a media type", false},
		{sco(t, "artifact", `,"payload_bin":"dGVzdA==","encryption_algorithm":"rot13"`), "$.encryption_algorithm", "10.4 MUST", "encryption-algorithm-enum", false},
		{sco(t, "domain-name", `,"value":"a b"`), "$.value", "6.4 MUST", "a domain name", false},
		{sco(t, "domain-name", `,"value":"a.example","resolves_to_refs":["`+ref("url")+`"]`), "$.resolves_to_refs[0]", "6.4 MUST", "ipv4-addr or ipv6-addr or domain-name", false},
		{sco(t, "directory", `,"path":"/a","contains_refs":["`+ref("url")+`"]`), "$.contains_refs[0]", "6.3 MUST", "file or directory, and not to url", false},
		{sco(t, "email-addr", `,"value":"Jane <jane@example.com>"`), "$.value", "6.5 MUST", "an address", false},
		{sco(t, "email-message", `,"is_multipart":true,"body":"x"`), "$.body", "6.6 MUST", "where is_multipart is true, body is left out", false},
		{sco(t, "email-message", `,"is_multipart":true,"body_multipart":[{"content_type":"x"}]`), "$.body_multipart[0]", "6.6.2 MUST", "at least one of body", false},
		{sco(t, "file", `,"size":1`), "$", "6.7 MUST", "at least one of hashes, name", true},
		{sco(t, "file", `,"name":"x","extensions":{"archive-ext":{"comment":"x"}}`), "$.extensions.archive-ext", "6.7.2 MUST", "lacks contains_refs", false},
		{sco(t, "file", `,"name":"x","extensions":{"pdf-ext":{"version":1}}`), "$.extensions.pdf-ext.version", "6.7.4 MUST", "a string", false},
		{sco(t, "file", `,"name":"x","extensions":{"tcp-ext":{"src_flags_hex":"00"}}`), "$.extensions.tcp-ext", "6.12.5 MUST", "extends network-traffic", false},
		{sco(t, "ipv4-addr", `,"value":"2001:db8::1"`), "$.value", "6.8 MUST", "an IPv4 address", false},
		{sco(t, "ipv6-addr", `,"value":"198.51.100.7"`), "$.value", "6.9 MUST", "an IPv6 address", false},
		{sco(t, "ipv4-addr", `,"value":1`), "$.value", "6.8 MUST", "a string", true},
		{sco(t, "mac-addr", `,"value":"D2-FB-49-24-37-18"`), "$.value", "6.10 MUST", "lower-case", false},
		{sco(t, "network-traffic", `,"protocols":["tcp"],"src_port":1,"dst_port":1`), "$", "6.12 MUST", "at least one of src_ref, dst_ref", true},
		{sco(t, "network-traffic", `,"protocols":["tcp"],"dst_port":1,"src_port":1,"src_ref":"`+ref("url")+`"`), "$.src_ref", "6.12 MUST", "and not to url", false},
		{sco(t, "network-traffic", `,"protocols":["tcp"],"dst_port":1,"src_ref":"`+ref("mac-addr")+`","src_port":70000`), "$.src_port", "6.12 MUST", "to 65535", false},
		{sco(t, "network-traffic", `,"protocols":["tcp"],"dst_port":1,"src_port":1,"src_ref":"`+ref("mac-addr")+`","is_active":true,"end":"2026-01-02T00:00:00Z"`), "$.end", "6.12 MUST", "left out", false},
		{sco(t, "network-traffic", `,"protocols":["tcp"],"src_ref":"`+ref("mac-addr")+`","src_port":1`), "$", "6.12 SHOULD", "dst_port", false},
		{sco(t, "process", ``), "$", "6.13 MUST", "at least one of is_hidden", true},
		{`{"type":"process","id":"process--` + uuid.NewSHA1(scoNamespace, nil).String() + `","pid":1}`, "$.id", "2.9 MUST", "a random one", false},
		{sco(t, "software", `,"name":"x","cpe":"cpe:/a:x"`), "$.cpe", "6.14 MUST", "CPE 2.3", false},
		{sco(t, "url", `,"value":"example"`), "$.value", "6.15 MUST", "a URL", false},
		{`{"type":"url","id":"url--` + idA + `","value":"https://a.example"}`, "$.id", "2.9 SHOULD", "should be url--", false},
		{`{"type":"url","id":"url--` + uuid.NewSHA1(scoNamespace, nil).String() + `","value":"https://a.example"}`, "$.id", "2.9 SHOULD", "should be url--", false},
		{sco(t, "windows-registry-key", `,"key":"x","values":[{"data_type":"REG_ODD"}]`), "$.values[0].data_type", "10.29 MUST", "windows-registry-datatype-enum", false},
		{sco(t, "url", `,"value":"https://a.example","created":"2026-01-02T00:00:00Z"`), "$.created", "11.1 SHOULD", "not a property of url", false},
		// 7: meta objects
		{sdo("language-content", `,"object_ref":"`+ref("tool")+`","contents":{"e":{"name":"x"}}`), "$.contents.e", "7.1 MUST", "language tag", false},
		{sdo("language-content", `,"object_ref":"`+ref("tool")+`","contents":{"en":"x"}`), "$.contents.en", "7.1 MUST", "an object", false},
		{strings.Replace(sdo("marking-definition", ``), `,"modified":"2026-01-02T03:04:05.000Z"`, "", 1), "$", "7.2.1 MUST", "at least one of definition, extensions", false},
		{strings.Replace(sdo("marking-definition", `,"definition_type":"tlp","definition":{"tlp":"red"}`), `,"modified":"2026-01-02T03:04:05.000Z"`, "", 1), "$.id", "7.2.1.4 MUST", "TLP:RED has an id", false},
		{strings.Replace(sdo("marking-definition", `,"definition_type":"statement","definition":{"text":"x"}`), `,"modified":"2026-01-02T03:04:05.000Z"`, "", 1), "$.definition", "7.2.1 MUST", "has statement", false},
		{strings.Replace(sdo("marking-definition", `,"definition_type":"statement","definition":{"statement":"x"},"object_marking_refs":["marking-definition--`+idA+`"]`), `,"modified":"2026-01-02T03:04:05.000Z"`, "", 1), "$.object_marking_refs", "7.2.1 MUST", "itself", false},
		{sdo("extension-definition", `,"name":"x","schema":"https://a.example","version":"1.0","extension_types":["property-extension"]`), "$", "7.3 MUST", "lacks created_by_ref", false},
		{sdo("extension-definition", `,"created_by_ref":"`+ref("identity")+`","name":"x","schema":"https://a.example","version":"1.0","extension_types":["odd"]`), "$.extension_types[0]", "10.5 MUST", "extension-type-enum", true},
		{sdo("tool", `,"name":"x","extensions":{"`+ref("extension-definition")+`":{"a":1}}`), "$.extensions." + ref("extension-definition"), "7.3 MUST", "extension_type", false},
		{sdo("tool", `,"name":"x","extensions":{"`+ref("extension-definition")+`":1}`), "$.extensions." + ref("extension-definition"), "7.3 MUST", "an object", false},
		{sdo("tool", `,"name":"x","extensions":{"extension-definition--x":{"extension_type":"property-extension"}}`), "$.extensions.extension-definition--x", "2.9 MUST", "a UUID", false},
		{sdo("tool", `,"name":"x","extensions":{"x-foo-ext":{"a":1}}`), "$.extensions.x-foo-ext", "11.3 SHOULD", "its definition", false},
		// 11: what is custom
		{sdo("tool", `,"name":"x","x_foo":"y"`), "$.x_foo", "11.1 SHOULD", "extension", false},
		{sdo("tool", `,"name":"x","Foo Bar":"y"`), `$["Foo Bar"]`, "11.1 MUST", "rename", false},
		{sdo("x-foo", `,"any":"y"`), "$.type", "11.2 SHOULD", "define it", false},
		{sdo("x-foo", `,"extensions":{"`+ref("extension-definition")+`":{"extension_type":"new-sdo"}},"confidence":200`), "$.confidence", "3.2 MUST", "from 0 to 100", false},
		{sdo("x-foo", `,"extensions":{"`+ref("extension-definition")+`":{"extension_type":"new-sdo"}},"any":null`), "$.any", "3.1 MUST", "null", false},
		{sdo("x-foo", `,"extensions":{"`+ref("extension-definition")+`":{"extension_type":"new-sdo"}},"any":[]`), "$.any", "2.12 MUST", "not empty", false},
	} {
		o, err := Parse([]byte(tt.raw))
		if err != nil {
			t.Errorf("%s\n%v", tt.raw, err)
			continue
		}
		got := Validate(o, Strict)
		if len(got) != 1 || got[0].Path != tt.path || got[0].Rule != "STIX "+tt.rule || !strings.Contains(got[0].Text, tt.text) || got[0].ID != o.ID {
			t.Errorf("%s\nbreaks %v\nwant %s %s %q", tt.raw, got, tt.path, tt.rule, tt.text)
		}
		if got := Validate(o, Lenient); (len(got) == 1) != tt.lenient || tt.lenient && (got[0].Path != tt.path || got[0].Rule != "STIX "+tt.rule) {
			t.Errorf("%s\nleniently breaks %v", tt.raw, got)
		}
	}
}

// TestContained: the observables in the old dictionary refer to each other by their keys.
func TestContained(t *testing.T) {
	write := func(objects string) *Object {
		o, err := Parse([]byte(sdo("observed-data", `,"first_observed":"2026-01-02T00:00:00Z","last_observed":"2026-01-02T00:00:00Z","number_observed":1,"objects":`+objects)))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	const old = "$.objects: objects is deprecated; leave it out (STIX 4.14 SHOULD)"
	for objects, want := range map[string]string{
		`{"0":{"type":"url","value":"https://a.example"},"1":{"type":"network-traffic","src_ref":"2","src_port":1,"dst_port":1,"protocols":["tcp"]},"2":{"type":"ipv4-addr","value":"198.51.100.7"}}`: "",
		`{"0":{"type":"network-traffic","src_ref":"9","src_port":1,"dst_port":1,"protocols":["tcp"]}}`:                                                                                                `$.objects.0.src_ref: "9" is not a key of objects`,
		`{"0":{"type":"ipv4-addr","value":"x"}}`: `$.objects.0.value: "x" is not an IPv4 address`,
		`{"0":{"type":"tool","name":"x"}}`:       `$.objects.0: it must be an observable, and not a tool`,
		`{"0":{"value":"x"}}`:                    `$.objects.0: it lacks type`,
		`{"0":"x"}`:                              `$.objects.0: it must be an observable, { }`,
		`{"0":{"type":"x-foo","value":null}}`:    "",
	} {
		var got []string
		for _, v := range Validate(write(objects), Strict) {
			if v.Error() != old {
				got = append(got, v.Error())
			}
		}
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)) {
			t.Errorf("%s\nbreaks %q, want %q", objects, got, want)
		}
	}
}

// TestValidateBundle: places in the file, objects that Parse refuses, the bundle itself, and versions.
func TestValidateBundle(t *testing.T) {
	two := strings.Replace(sdo("tool", `,"name":"y"`), `"modified":"2026-01-02`, `"modified":"2026-01-03`, 1)
	for _, tt := range []struct {
		data string
		mode Mode
		n    int
		want []string
	}{
		{sdo("tool", `,"name":"x"`), Strict, 1, nil},
		{"[" + sdo("tool", `,"name":"x"`) + ",\n" + sdo("tool", `,"labels":["y"]`) + "]", Lenient, 2, []string{"2 $[1]: tool lacks name; add it (STIX 4.18 MUST)"}},
		{"{\"type\":\"bundle\",\n\"id\":\"bundle--" + idA + "\",\"objects\":[\n" + strings.Replace(sdo("tool", `,"name":1`), `,"name"`, ",\n\"name\"", 1) + "]}", Lenient, 1,
			[]string{"4 $.objects[0].name: it must be a string, in quotes (STIX 4.18 MUST)"}},
		{`{"type":"bundle","spec_version":"2.0","objects":[]}`, Strict, 0, []string{
			"1 $.spec_version: a bundle has type, id and objects, and nothing else; take it out (STIX 8.1 MUST)",
			"1 $.objects: a list is not empty; leave the property out (STIX 2.12 MUST)", "1 $: the bundle lacks id; add it (STIX 8.1 MUST)"}},
		{`{"type":"bundle","id":"` + idA + `"}`, Strict, 0, []string{`1 $.id: "` + idA + `" must be bundle--UUID (STIX 2.9 MUST)`}},
		{`{"type":"bundle","id":"bundle--` + idA + `"}`, Strict, 0, nil},
		// Refused by Parse: all that is wrong is said.
		{`[{"type":"tool","id":"tool--` + idA + `"}]`, Lenient, 1, []string{
			"1 $[0]: tool lacks spec_version; add it (STIX 3.2 MUST)", "1 $[0]: tool lacks created; add it (STIX 3.2 MUST)", "1 $[0]: tool lacks modified; add it (STIX 3.2 MUST)", "1 $[0]: tool lacks name; add it (STIX 4.18 MUST)"}},
		{`["x"]`, Lenient, 1, []string{"1 $[0]: not a JSON object (STIX 3.2 MUST)"}},
		{`[{"id":"x"}]`, Lenient, 1, []string{"1 $[0]: property type is missing or not a string (STIX 3.2 MUST)"}},
		{"[" + sdo("tool", `,"name":"x","name":"y"`) + "]", Strict, 1, []string{`1 $[0]: property "name" occurs twice (STIX 3.2 MUST)`}},
		{"[" + strings.Replace(sdo("tool", `,"name":"x"`), "2.1", "2.0", 1) + "]", Lenient, 1, []string{`1 $[0].spec_version: "2.0" must be "2.1"; convert older objects first (STIX 3.2 MUST)`}},
		{"[" + strings.Replace(sdo("tool", `,"name":"x"`), "tool--", "malware--", 1) + "]", Lenient, 1, []string{`1 $[0].id: "malware--` + idA + `" must be tool--UUID (STIX 2.9 MUST)`}},
		{"[" + strings.Replace(sdo("tool", `,"name":"x"`), `"modified":"2026`, `"modified":"2025`, 1) + "]", Lenient, 1, []string{`1 $[0].modified: it must not be earlier than created (STIX 3.2 MUST)`}},
		// Versions
		{"[" + sdo("tool", `,"name":"x"`) + "," + two + "]", Strict, 2, nil},
		{"[" + sdo("tool", `,"name":"x"`) + "," + sdo("tool", `,"name":"y"`) + "]", Strict, 2, []string{
			"1 $[1]: there is another version of it, modified at the same time; give modified the time of the change (STIX 3.6 MUST)"}},
		{"[" + two + "," + sdo("tool", `,"name":"x","revoked":true`) + "]", Strict, 2, []string{
			"1 $[0]: it was revoked with the version of 2026-01-02T03:04:05.000Z, which ends it; make another object, under a new id (STIX 3.6 MUST)"}},
	} {
		n, found, err := ValidateBundle([]byte(tt.data), tt.mode)
		var got []string
		for _, v := range found {
			got = append(got, fmt.Sprintf("%d %v", v.Line, v))
		}
		if err != nil || n != tt.n || !slices.Equal(got, tt.want) {
			t.Errorf("%s\n%d %q %v\nwant %d %q", tt.data, n, got, err, tt.n, tt.want)
		}
	}
	for _, bad := range []string{``, `{`, `{"type":"bundle","objects":{}}`, `17`} {
		if _, _, err := ValidateBundle([]byte(bad), Strict); err == nil {
			t.Errorf("%q is validated", bad)
		}
	}
	many := strings.Repeat(`,"x`, 1) + "_0\":null"
	for i := range 300 {
		many += fmt.Sprintf(`,"A%d":1`, i)
	}
	if o, err := Parse([]byte(sdo("tool", `,"name":"x"`+many))); err != nil || len(Validate(o, Strict)) != maxViolations {
		t.Errorf("%v: violations are not bounded", err)
	}
}

// drawn is an object that is drawn from the table, as it may be by the standard.
func drawn(rt *rapid.T, typ string) map[string]any {
	t := model().objects[typ]
	o := drawProperties(rt, t)
	o["type"], o["spec_version"], o["id"] = typ, "2.1", typ+"--"+idA
	if typ == "relationship" {
		o["relationship_type"] = rapid.SampledFrom(commonVerbs).Draw(rt, "verb")
	}
	if typ == "marking-definition" {
		delete(o, "extensions")
		o["definition_type"], o["definition"] = "statement", map[string]any{"statement": "x"}
	}
	if _, ok := o["contents"]; ok {
		o["contents"] = map[string]any{"en": map[string]any{"name": "x"}}
	}
	if _, ok := o["pattern"]; ok {
		o["pattern"] = "[url:value = 'https://a.example']"
	}
	if raw, err := json.Marshal(o); err != nil {
		rt.Fatal(err)
	} else if t.class == classSCO {
		if id, err := SCOID(raw); err != nil {
			rt.Fatal(err)
		} else if id != "" {
			o["id"] = id
		}
	}
	return o
}

func drawProperties(rt *rapid.T, t *typeModel) map[string]any {
	o := map[string]any{}
	put := func(name string) {
		if o[name] == nil {
			o[name] = drawValue(rt, t.props[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.props)) {
		if p := t.props[name]; name != "granular_markings" && (p.required || rapid.IntRange(0, 3).Draw(rt, name) == 0) {
			put(name)
		}
	}
	moments := 0
	for range 2 { // a rule may ask for what another one is about
		for _, r := range t.rules {
			switch r.op {
			case "some", "should":
				put(r.args[0])
			case "one":
				for _, a := range r.args {
					delete(o, a)
				}
				put(r.args[len(r.args)-1])
			case "together", "with", "should-with":
				if slices.ContainsFunc(r.args, func(a string) bool { return o[a] != nil }) {
					for _, a := range r.args {
						put(a)
					}
				}
			case "when":
				put(r.args[1])
			case "unless":
				if fmt.Sprint(o[r.args[0]]) == r.value {
					delete(o, r.args[1])
				}
			case "later", "since":
				if o[r.args[0]] != nil && o[r.args[1]] != nil {
					moments += 2
					o[r.args[1]], o[r.args[0]] = moment(moments), moment(moments+1)
				}
			case "deprecated":
				delete(o, r.args[0])
			}
		}
	}
	if t.name == "artifact" || t.name == "external-reference" {
		put("hashes")
	}
	return o
}

func moment(n int) string { return fmt.Sprintf("2026-01-02T03:04:%02d.000Z", n) }

func drawValue(rt *rapid.T, p *propertyModel) any {
	if p.list {
		one := *p
		one.list = false
		list := []any{}
		for range rapid.IntRange(1, 2).Draw(rt, "length") {
			list = append(list, drawValue(rt, &one))
		}
		return list
	}
	switch p.kind {
	case kBoolean:
		return rapid.Bool().Draw(rt, p.name)
	case kInteger, kFloat:
		if p.bounded {
			return int(p.min) + rapid.IntRange(0, 60).Draw(rt, p.name)
		}
		return rapid.IntRange(-1000, 1000).Draw(rt, p.name)
	case kTimestamp, kMilliseconds:
		return moment(rapid.IntRange(0, 1).Draw(rt, p.name))
	case kBinary:
		return "dGVzdA=="
	case kHex:
		return "00ff"
	case kHashes:
		return map[string]any{"SHA-1": strings.Repeat("ab", 20), "MD5": strings.Repeat("0c", 16)}
	case kDictionary:
		if p.name == "extensions" {
			return map[string]any{"extension-definition--" + idB: map[string]any{"extension_type": "property-extension", "any": 1}}
		}
		return map[string]any{"Some-key": "x"}
	case kRef:
		typ := rapid.SampledFrom(p.refs).Draw(rt, p.name)
		if of := map[string]string{"all": "tool", classSDO: "malware", classSCO: "url", classSRO: "sighting"}[typ]; of != "" {
			typ = of
		}
		return typ + "--" + idB
	case kOpen, kClosed:
		return rapid.SampledFrom(p.words.list).Draw(rt, p.name)
	case kPart:
		return drawProperties(rt, p.part)
	case kForm:
		for form, value := range map[string]string{"lang": "pt-BR", "mime": "application/pdf", "ipv4": "198.51.100.0/24", "ipv6": "2001:db8::1", "mac": "d2:fb:49:24:37:18", "domain": "a.example",
			"url": "https://a.example/x", "email": "jane@example.com", "country": "TH", "cpe": `cpe:2.3:a:ex\:a:word:1.0:*:*:*:*:*:*:*`, "token": "a-b", "words": "a-b", "selector": "name"} {
			if forms[form] == p.form {
				return value
			}
		}
	}
	return "text"
}

// TestDrawnObjects: an object that is made by the table keeps to it, is read, and whatever is done to
// it is found, where it was done.
func TestDrawnObjects(t *testing.T) {
	types := slices.Sorted(maps.Keys(model().objects))
	rapid.Check(t, func(rt *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(rt, "type")
		o := drawn(rt, typ)
		m := model().objects[typ]
		parse := func() (*Object, error) {
			raw, err := json.Marshal(o)
			if err != nil {
				rt.Fatal(err)
			}
			return Parse(raw)
		}
		good, err := parse()
		if err != nil {
			rt.Fatalf("%v: %v", o, err)
		}
		if v := Validate(good, Strict); len(v) > 0 {
			rt.Fatalf("%s\nbreaks %v", good.Raw, v)
		}
		if v := Validate(good, Lenient); len(v) > 0 {
			rt.Fatalf("%s\nleniently breaks %v", good.Raw, v)
		}
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(o)), func(s string) bool {
			return s == "type" || s == "id" || s == "spec_version" || m.props[s].kind == kAny
		})
		name := rapid.SampledFrom(names).Draw(rt, "spoilt")
		want := "$." + name
		switch rapid.IntRange(0, 3).Draw(rt, "how") {
		case 0:
			o[name] = nil
		case 1:
			o[name] = map[string]any{}
		case 2:
			o["x_own"], want = "x", "$.x_own"
		default:
			if !m.props[name].required {
				o["labels"], want = []any{}, "$.labels"
			} else {
				delete(o, name)
				want = "$"
			}
		}
		bad, err := parse()
		if err != nil {
			return // Parse finds some of it
		}
		if v := Validate(bad, Strict); !slices.ContainsFunc(v, func(v Violation) bool { return v.Path == want }) {
			rt.Fatalf("%s\nbreaks %v, and nothing at %s", bad.Raw, v, want)
		}
		for _, v := range Validate(bad, Lenient) { // what is lenient is strict
			if !slices.Contains(Validate(bad, Strict), v) {
				rt.Fatalf("%s\n%v is found leniently only", bad.Raw, v)
			}
		}
	})
}

// TestSharedViolations: what is found in OASIS's and MITRE's files. Each kind was looked at, and is
// right: MITRE's own types and properties have no extension, and neither gives the hashes of what it
// refers to.
func TestSharedViolations(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public data set is not beside the project (../shared/data); nothing to compare with")
	}
	names, err := filepath.Glob(filepath.Join(dir, "oasis", "*.json"))
	if err != nil || len(names) < 8 {
		t.Fatalf("bundles of OASIS: %v %v", names, err)
	}
	want := map[string]map[string]int{
		"apt1.json":       {"2.5 SHOULD": 6},
		"poisonivy.json":  {"2.5 SHOULD": 2},
		"ics-attack.json": {"2.5 SHOULD": 1421, "4.9 SHOULD": 2, "11.1 SHOULD": 5516, "11.2 SHOULD": 250},
	}
	for _, name := range append(names, filepath.Join(dir, "mitre", "ics-attack.json")) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, v, err := ValidateBundle(data, Lenient); err != nil || len(v) > 0 {
			t.Errorf("%s leniently: %v %v", name, v, err)
		}
		_, found, err := ValidateBundle(data, Strict)
		got := map[string]int{}
		for _, v := range found {
			got[strings.TrimPrefix(v.Rule, "STIX ")]++
		}
		if base := filepath.Base(name); err != nil || !maps.Equal(got, want[base]) {
			t.Errorf("%s: %v %v, want %v", base, got, err, want[base])
		}
	}
}

// FuzzValidate: whatever bytes come, validating them ends, is bounded, and finds leniently nothing
// that it does not find strictly. What Parse takes, and only that, is validated as an object.
func FuzzValidate(f *testing.F) {
	for _, typ := range Types() {
		f.Add([]byte(sdo(typ, `,"name":"x","granular_markings":[{"lang":"en","selectors":["name","labels.[0]"]}],"extensions":{"archive-ext":{}}`)))
	}
	f.Add([]byte(`{"type":"bundle","objects":[{"type":"file","id":1,"hashes":{"MD5":[]},"extensions":[]},null,[],"x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, strict, err := ValidateBundle(data, Strict)
		if err != nil {
			return
		}
		_, lenient, err := ValidateBundle(data, Lenient)
		if err != nil || len(strict) > (n+1)*(maxViolations+1)+n {
			t.Fatalf("%d violations of %d objects, %v", len(strict), n, err)
		}
		for _, v := range lenient {
			// Where Parse refuses an object and the table says why in the strict mode only, what Parse says stands for it.
			if whole := v.Rule == "STIX 3.2 MUST" && !strings.Contains(strings.TrimPrefix(v.Path, "$.objects"), "."); !slices.Contains(strict, v) && len(strict) < maxViolations && !(whole && len(strict) > 0) {
				t.Fatalf("%v is found leniently only; strictly %v", v, strict)
			}
		}
	})
}

func TestParseMode(t *testing.T) {
	for s, want := range map[string]Mode{"": Lenient, "lenient": Lenient, "strict": Strict} {
		if got, err := ParseMode(s); got != want || err != nil {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	if _, err := ParseMode("odd"); err == nil || !strings.Contains(err.Error(), "use lenient or strict") {
		t.Errorf("%v", err)
	}
}
