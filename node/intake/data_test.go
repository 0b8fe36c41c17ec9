package intake

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol/stix"
)

// sharedData returns the folder of public data, which is not part of the project.
func sharedData(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public data set is not beside the project (../shared/data); nothing to compare with")
	}
	return dir
}

func readShared(t *testing.T, name string) *Result {
	t.Helper()
	f, err := os.Open(filepath.Join(sharedData(t), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	res, err := Read(name, f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Every entry of a list is an item, a duplicate or a problem, and the problems are scrap:
// paths without a host, and ports that are none.
func TestSharedLists(t *testing.T) {
	for _, tt := range []struct {
		name                         string
		entries, problems, oddBeside int
	}{
		{"maltrail/simda.txt", 1292, 0, 0},
		{"maltrail/cobaltstrike.txt", 14701, 119, 3},
		{"maltrail/qakbot.txt", 8808, 568, 1},
		{"ipsum/level3.txt", 14217, 0, 0},
	} {
		res := readShared(t, tt.name)
		t.Logf("%s: %d items, %d duplicates, %d problems", tt.name, len(res.Items), res.Duplicates, len(res.Problems))
		if got := len(res.Items) + res.Duplicates + len(res.Problems); got != tt.entries {
			t.Errorf("%s: %d entries accounted for, want %d", tt.name, got, tt.entries)
		}
		odd := 0
		for _, p := range res.Problems {
			if !strings.Contains(p.Text, "path without a host") {
				odd++
				t.Log(p)
			}
		}
		if len(res.Problems) != tt.problems || odd != tt.oddBeside {
			t.Errorf("%s: %d problems, %d of them no paths; want %d, %d", tt.name, len(res.Problems), odd, tt.problems, tt.oddBeside)
		}
	}
}

// Every object of a bundle is an item, byte for byte, or a problem.
func TestSharedBundles(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(sharedData(t), "oasis", "*.json"))
	if err != nil || len(names) < 8 {
		t.Fatalf("bundles of OASIS: %v %v", names, err)
	}
	for _, path := range append(names, filepath.Join(sharedData(t), "mitre", "ics-attack.json")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var want struct{ Objects []json.RawMessage }
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
		res := readShared(t, name)
		t.Logf("%s: %d items, %d problems", name, len(res.Items), len(res.Problems))
		if len(res.Items)+len(res.Problems)+res.Duplicates != len(want.Objects) || len(res.Problems) != 0 {
			t.Errorf("%s: %d items, %d duplicates, problems %v of %d objects", name, len(res.Items), res.Duplicates, res.Problems, len(want.Objects))
			continue
		}
		lines := strings.Split(string(data), "\n")
		for i, item := range res.Items {
			if string(item.Object.Raw) != string(want.Objects[i]) {
				t.Errorf("%s: %s is not the author's bytes", name, item.Object.ID)
			}
			if !strings.Contains(lines[item.Line-1], "{") {
				t.Errorf("%s: %s said to begin on line %d", name, item.Object.ID, item.Line)
			}
		}
	}
}

// Every attribute of a vendor's event is an object of its own, or a problem; what was observed can be
// searched for.
func TestSharedEvents(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(sharedData(t), "eset", "*.json"))
	if err != nil || len(names) < 4 {
		t.Fatalf("events: %v %v", names, err)
	}
	type attribute struct{ UUID, Type, Value string }
	for _, path := range names {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Response []struct {
				Event struct {
					Attribute []attribute
					Object    []struct{ Attribute []attribute }
				}
			}
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		res := readShared(t, "eset/"+filepath.Base(path))
		t.Logf("%s: %s, %d items, %d problems", filepath.Base(path), res.Title, len(res.Items), len(res.Problems))
		ids, values := map[string]bool{}, map[string]bool{}
		for _, item := range res.Items {
			ids[item.Object.ID] = true
			for _, o := range stix.Observables(item.Object) {
				values[o.Value] = true
			}
		}
		count := 0
		for _, r := range file.Response {
			all := r.Event.Attribute
			for _, o := range r.Event.Object {
				all = append(all, o.Attribute...)
			}
			count += len(all)
			for _, a := range all {
				canonical, ok := stix.Canonical(a.Value)
				if !ids["indicator--"+a.UUID] && !ids["x-misp-attribute--"+a.UUID] && !(ids["observed-data--"+a.UUID] && ok && values[canonical.Value]) {
					t.Errorf("%s: %s %q is nowhere", filepath.Base(path), a.Type, a.Value)
				}
			}
		}
		if count < 60 || len(res.Problems) > 0 {
			t.Errorf("%s: %d attributes, problems %v", filepath.Base(path), count, res.Problems)
		}
	}
}
