package core

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol/stix"
)

// Events come from whoever pushes, and objects from whoever publishes. Neither way may crash, every
// object that is made is one that a partner's node accepts, and every event that is built is JSON
// whose attributes have a UUID, a type and a distribution that MISP knows.
func FuzzConvert(f *testing.F) {
	f.Add(`{"Event":{"uuid":"` + NewUUID("e") + `","info":"x","distribution":"3","Tag":[{"name":"tlp:red"}],"Orgc":{"name":"A"},"Object":[{"name":"f","Attribute":[{"type":"md5","value":"x","to_ids":true}],"ObjectReference":[{"referenced_uuid":"x","relationship_type":"y"}]}],` +
		`"EventReport":[{"name":"n","content":"c"}],"Galaxy":[{"type":"rat","GalaxyCluster":[{"value":"v","meta":{"a":[1]}}]}],"Attribute":[{"type":"domain|ip","value":"bad.example|192.0.2.1","to_ids":1,"Sighting":[{"type":"1"}],"first_seen":"2020-01-02T03:04:05+00:00","distribution":4}]}}`)
	f.Add(`{"response":[{"Event":{"info":"x","Attribute":null}},{}]}`)
	f.Add(`{"type":"indicator","spec_version":"2.1","id":"indicator--` + NewUUID("x") + `","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","name":"n","pattern":"[a:b = 1]","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z","x_misp_type":"domain","x_misp_event_uuid":"` + NewUUID("e") + `","x_misp_tags":[{"name":"tlp:red","x":{}}],"x_misp_distribution":"4"}`)
	f.Fuzz(func(t *testing.T, data string) {
		_ = Is([]byte(data))
		var groups Groups
		add := func(o *stix.Object) {
			groups.Add(Member{Object: o, Org: Org{"A", NewUUID("a")}, Topic: "c2", Added: epoch})
		}
		if o, err := stix.Parse([]byte(data)); err == nil {
			add(o)
		}
		_ = Read([]byte(data), func(e *Event) {
			for _, m := range Convert(e, nil).Made {
				if _, err := stix.Parse(m.Object.Raw); err != nil {
					t.Fatalf("made %s: %v", m.Object.Raw, err)
				}
				if err := m.Handling.Validate(); err != nil {
					t.Fatalf("handling of %s: %v", m.Object.Raw, err)
				}
				add(m.Object)
			}
		}, func(p Problem) {
			if p.Text == "" || p.Line < 1 {
				t.Fatalf("problem %+v", p)
			}
		})
		for _, g := range groups.All() {
			event, _ := g.Build(Building{Grown: true, At: time.Now(), Before: time.Now()})
			if event == nil {
				continue
			}
			var out struct{ Event struct{ Attribute []Fields } }
			if err := json.Unmarshal(Encode(event), &out); err != nil {
				t.Fatalf("built %v: %v", event, err)
			}
			for _, a := range out.Event.Attribute {
				if !isUUID(a.Text("uuid")) || a.Text("type") == "" || len(a.Text("distribution")) != 1 {
					t.Fatalf("attribute %v", a)
				}
			}
		}
	})
}
