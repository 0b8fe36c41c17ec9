package stix

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

func TestWithhold(t *testing.T) {
	const head = `{"type":"indicator","spec_version":"2.1","id":"indicator--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","created_by_ref":"identity--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b12",` +
		`"created":"2026-01-31T12:00:00.123Z","modified":"2026-01-31T12:00:00.123Z","valid_from":"2026-01-31T12:00:00.000Z",`
	const id = "indicator--00000000-0000-4000-8000-000000000001"
	at := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, object string
		want         string // of it, "": it is refused
		says         string
	}{
		{"an indicator", head + `"pattern_type":"stix","pattern":"[ipv4-addr:value = '192.0.2.1']","name":"seen by Acme","confidence":80,"external_references":[{"source_name":"Acme"}],` +
			`"indicator_types":["malicious-activity","acme-c2"],"extensions":{}}`,
			`{"type":"indicator","spec_version":"2.1","id":"` + id + `","created":"2026-02-01T00:00:00.000Z","modified":"2026-02-01T00:00:00.000Z",` +
				`"object_marking_refs":["` + TLPMarkingID(protocol.TLPAmber) + `"],"valid_from":"2026-01-31T12:00:00.000Z","pattern_type":"stix","pattern":"[ipv4-addr:value = '192.0.2.1']","confidence":80,"indicator_types":["malicious-activity"]}`, ""},
		{"a file", `{"type":"file","spec_version":"2.1","id":"file--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","hashes":{"MD5":"d41d8cd98f00b204e9800998ecf8427e"},"name":"acme.exe"}`,
			`{"type":"file","spec_version":"2.1","id":"` + id + `","object_marking_refs":["` + TLPMarkingID(protocol.TLPAmber) + `"],"hashes":{"MD5":"d41d8cd98f00b204e9800998ecf8427e"}}`, ""},
		{"a file of no hash", `{"type":"file","spec_version":"2.1","id":"file--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","hashes":{"acme":"1"},"name":"x"}`, "", "not what STIX says"},
		{"a hash that is a text", `{"type":"file","spec_version":"2.1","id":"file--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","hashes":{"MD5":"by them"}}`, "", "not what STIX says"},
		{"a relationship", `{"type":"relationship","spec_version":"2.1","id":"relationship--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","created":"2026-01-31T12:00:00.123Z","modified":"2026-01-31T12:00:00.123Z","relationship_type":"uses","source_ref":"indicator--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","target_ref":"malware--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11"}`,
			"", "of type relationship cannot be withheld"},
		{"YARA", head + `"pattern_type":"yara","pattern":"rule x { meta: author = \"A\" condition: true }"}`, "", "another language"},
		{"a comment", head + `"pattern_type":"stix","pattern":"[ipv4-addr:value = '192.0.2.1'] // a"}`, "", "a comment"},
		{"no comment", head + `"pattern_type":"stix","pattern":"[url:value = 'https://a.example/*']"}`, `"pattern":"[url:value = 'https://a.example/*']"`, ""},
		{"a name in a pattern", head + `"pattern_type":"stix","pattern":"[url:value = 'https://www.ac-me.example/']"}`, "", `holds the name "Acme"`},
		{"a name written with escapes", head + `"pattern_type":"stix","pattern":"[url:value = 'https://\u0061cme.example/']"}`, "", `holds the name "Acme"`},
		{"the id of an object in a pattern", head + `"pattern_type":"stix","pattern":"[user-account:user_id = 'identity--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b12']"}`, "", "id of an object"},
		{"a type of one's own", head + `"pattern_type":"stix","pattern":"[x-host:value = '192.0.2.1']"}`, "", "somebody's own"},
		{"a property of one's own", head + `"pattern_type":"stix","pattern":"[file:x_tag = 'a']"}`, "", "somebody's own"},
		{"revoked", head + `"pattern_type":"stix","pattern":"[ipv4-addr:value = '192.0.2.1']","revoked":true}`, "", "revoked"},
		{"a value that is a name", `{"type":"domain-name","spec_version":"2.1","id":"domain-name--5b0f2a3e-1c1d-4a55-9a6e-0d7d4c8f2b11","value":"acme.example"}`, "", `holds the name "Acme"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := Parse([]byte(tc.object))
			if err != nil {
				t.Fatal(err)
			}
			id := strings.Replace(id, "indicator", o.Type, 1)
			raw, removed, err := Withhold(o, id, protocol.TLPAmber, at, []string{"Acme", "Al"})
			if tc.want == "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("got %s, %v", raw, err)
				}
				return
			}
			want := strings.Replace(tc.want, `"id":"indicator`, `"id":"`+o.Type, 1)
			if err != nil || string(raw) != want && !(want[0] == '"' && strings.Contains(string(raw), want)) {
				t.Errorf("got  %s (%v)\nwant %s", raw, err, want)
			}
			if strings.Contains(tc.object, `"created_by_ref"`) != slices.Contains(removed, "created_by_ref") {
				t.Errorf("left out: %q", removed)
			}
		})
	}
}
