package intake

import (
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol/stix"
)

// The files come from anywhere. Reading one must not crash, and what it yields must be
// objects that a partner's node accepts.
func fuzzRead(f *testing.F, format Format) {
	f.Fuzz(func(t *testing.T, data string) {
		res, err := Read("f", strings.NewReader(data), Options{Format: format})
		if err != nil {
			return
		}
		for _, item := range res.Items {
			if _, err := stix.Parse(item.Object.Raw); err != nil {
				t.Fatalf("item %s: %v", item.Object.Raw, err)
			}
			if err := item.Handling.Validate(); err != nil {
				t.Fatalf("handling of %s: %v", item.Object.Raw, err)
			}
		}
		for _, p := range res.Problems {
			if p.Text == "" || p.Line < 1 || p.Line > 1+strings.Count(data, "\n") {
				t.Fatalf("problem %+v", p)
			}
		}
	})
}

func FuzzReadList(f *testing.F) {
	f.Add("192.0.2.1\n# x\nhxxp://bad[.]example/x\t3\r\n/y\n")
	fuzzRead(f, List)
}

func FuzzReadSTIX(f *testing.F) {
	f.Add(bundle(`{"type":"x-new","id":"x"}`))
	fuzzRead(f, STIX)
}

func FuzzReadMISP(f *testing.F) {
	f.Add(event(`"Tag":[{"name":"tlp:red"}],"Object":[{"name":"f","Attribute":[]}],"EventReport":[{"name":"n","content":"c"}],`,
		attr("domain|ip", "bad.example|192.0.2.1", true, ""), attr("filename|md5", "a|"+strings.Repeat("a", 32), false, ""), attr("text", "x", false, "")))
	f.Add(`{"response":{"Event":{"info":"x"}}}`)
	fuzzRead(f, MISP)
}

func FuzzLabels(f *testing.F) {
	f.Add("value,country,tlp\n192.0.2.1,TH;VN,red\n\"x")
	f.Fuzz(func(t *testing.T, data string) {
		labels, _, err := ReadLabels("l", strings.NewReader(data))
		if err != nil {
			return
		}
		for value := range labels.byValue {
			item := Item{Object: &stix.Object{ID: value}, Value: value}
			if !labels.Apply(&item) {
				t.Fatalf("label of %q is not found", value)
			}
			if err := item.Handling.Validate(); err != nil && len(item.Handling.Countries) <= 250 {
				t.Fatal(err)
			}
		}
	})
}
