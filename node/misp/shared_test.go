package misp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp/core"
)

// Every vendor's event is the same after it was published and exported: each attribute, object and
// relation, each text. (node/misp/core compares every property.)
func TestSharedThroughNode(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "eset")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public data set is not beside the project (../shared/data); nothing to compare with")
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) < 4 {
		t.Fatalf("events: %v %v", names, err)
	}
	n := alone(t)
	before, after := map[string][]string{}, map[string][]string{}
	read := func(data []byte, into map[string][]string) {
		t.Helper()
		err := core.Read(data, func(e *core.Event) {
			list := []string{e.Fields.Text("info") + e.Fields.Text("date") + e.Fields.Text("timestamp") + e.Fields.Text("threat_level_id") + e.Fields.Text("analysis")}
			for _, a := range e.All() {
				f := a.Fields
				list = append(list, fmt.Sprintf("%s %s %s %q %v %q %s %s", f.Text("uuid"), f.Text("type"), f.Text("category"), f.Text("value"), f.True("to_ids"), f.Text("comment"), f.Text("timestamp"), f.Text("object_relation")))
			}
			for _, o := range e.Objects {
				list = append(list, o.Fields.Text("uuid")+o.Fields.Text("name")+fmt.Sprint(len(o.Attributes)))
				for _, r := range o.References {
					list = append(list, r.Text("uuid")+r.Text("relationship_type")+r.Text("referenced_uuid"))
				}
			}
			slices.Sort(list)
			into[e.UUID()] = list
		}, func(p core.Problem) { t.Error(p) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		read(data, before)
		publish(t, n, string(data), green)
	}
	var out bytes.Buffer
	if _, err := n.Reader(nil).Export(t.Context(), &out, node.ExportMISP, 0); err != nil {
		t.Fatal(err)
	}
	read(out.Bytes(), after)
	if len(before) < 4 || len(after) != len(before) {
		t.Errorf("%d events became %d", len(before), len(after))
	}
	for uuid, list := range before {
		if !slices.Equal(list, after[uuid]) {
			t.Errorf("event %s: %d parts became %d", uuid, len(list), len(after[uuid]))
			for _, x := range list {
				if !slices.Contains(after[uuid], x) {
					t.Errorf("lost: %s", x)
					break
				}
			}
		}
	}
}
