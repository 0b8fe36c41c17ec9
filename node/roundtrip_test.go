package node

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// TestStixRoundTrip: what OASIS and MITRE published goes to a partner and comes out of it as STIX, and
// each object is what it was, byte for byte; but for the marking of TLP that an object without one gets
// on the way out (SPEC 29).
func TestStixRoundTrip(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "shared", "data")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public data set is not beside the project (../shared/data); nothing to compare with")
	}
	names, err := filepath.Glob(filepath.Join(dir, "oasis", "*.json"))
	if err != nil || len(names) < 8 {
		t.Fatalf("bundles of OASIS: %v %v", names, err)
	}
	nodes := testNetwork(t, "Vendor", "Police")
	vendor, police := nodes[0], nodes[1]
	agree(t, vendor, police, protocol.TLPRed, "*")
	want := map[string][][]byte{} // the objects of all files, by id
	objects := 0
	for _, name := range append(names, filepath.Join(dir, "mitre", "ics-attack.json")) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		in, err := intake.Read(name, bytes.NewReader(data), intake.Options{})
		if err != nil || len(in.Problems) > 0 {
			t.Fatalf("%s: %v %v", name, err, in.Problems)
		}
		for i := range in.Items {
			if h := &in.Items[i].Handling; h.TLP == protocol.TLPUnset {
				h.TLP = protocol.TLPAmber
			}
		}
		rec, err := vendor.Publish(context.Background(), PublishRequest{Topic: "c2", Items: in.Items, Flags: policy.Flags{To: []protocol.OrgID{police.Org()}}, PersonalChecked: true})
		if err != nil || len(rec.Plan.Refused) > 0 || len(rec.Records) != len(in.Items) {
			t.Fatalf("%s: %v, refused %+v", name, err, rec.Plan.Refused)
		}
		var bundle struct{ Objects []json.RawMessage }
		if err := json.Unmarshal(data, &bundle); err != nil {
			t.Fatal(err)
		}
		for _, raw := range bundle.Objects {
			o, err := stix.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			want[o.ID] = append(want[o.ID], raw)
			objects++
		}
	}
	carryNew(t, vendor, police)

	var out bytes.Buffer
	if _, err := police.Export(context.Background(), &out, "stix", 0); err != nil {
		t.Fatal(err)
	}
	var bundle struct{ Objects []json.RawMessage }
	if err := json.Unmarshal(out.Bytes(), &bundle); err != nil {
		t.Fatal(err)
	}
	exact, marked := 0, 0
	got := map[string]int{}
	for _, raw := range bundle.Objects {
		o, err := stix.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		var same, added bool
		for _, w := range want[o.ID] {
			same = same || bytes.Equal(w, raw)
			before, err := stix.Parse(w)
			if err != nil {
				t.Fatal(err)
			}
			for tlp := protocol.TLPClear; tlp <= protocol.TLPRed; tlp++ {
				added = added || bytes.Equal(stix.WithMarking(before, stix.TLPMarkingID(tlp)), raw)
			}
		}
		switch {
		case same:
			exact++
		case added:
			marked++
		case stix.IsTLPMarking(o.ID): // the definitions of what was marked
			continue
		default:
			t.Errorf("%s came out as\n%s\nand was\n%s", o.ID, raw, bytes.Join(want[o.ID], []byte("\n")))
		}
		got[o.ID]++
	}
	for id := range want {
		if got[id] == 0 {
			t.Errorf("%s is lost", id)
		}
	}
	t.Logf("%d objects of %d ids in %d files: %d came out as they were, %d with a marking", objects, len(want), len(names)+1, exact, marked)
	if n, found, err := stix.ValidateBundle(out.Bytes(), stix.Lenient); err != nil || n != len(bundle.Objects) || len(found) > 0 {
		t.Errorf("what came out is no good bundle: %v %v", found, err)
	}
	// What is kept is the author's, without the marking.
	recs, err := police.Records(0, 10*objects)
	if err != nil || len(recs) < objects {
		t.Fatalf("%d records of %d objects, %v", len(recs), objects, err)
	}
	for i := range recs {
		if !slices.ContainsFunc(want[recs[i].StixID], func(w []byte) bool { return bytes.Equal(w, recs[i].Object) }) {
			t.Errorf("%s is not the author's bytes", recs[i].StixID)
		}
	}
}
