package stix

import (
	"bytes"
	"testing"
	"time"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// FuzzParse: the object comes from a partner or a file; it must neither crash the node nor
// be read in two ways.
func FuzzParse(f *testing.F) {
	f.Add(sample(f, "", ""))
	f.Add(sample(f, `"x_custom"`, `"object_marking_refs":["marking-definition--`+uuidA+`"],"revoked":true,"x_custom"`))
	f.Add([]byte(`{"type":"ipv4-addr","id":"ipv4-addr--` + uuidA + `","value":"192.0.2.1"}`))
	f.Add([]byte(`{"type":"x-y","id":"x-y--` + uuidA + `","extensions":{"` + HandlingExtension + `":{"extension_type":"property-extension","countries":["TH"]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse(data)
		if err != nil {
			return
		}
		again, err := Parse(o.Raw)
		if err != nil || !bytes.Equal(again.Raw, o.Raw) || again.ID != o.ID || !again.Modified.Equal(o.Modified) {
			t.Fatalf("parsing again: %v", err)
		}
		Observables(o)
		_, _, _ = NewMarkings([]*Object{o}).Handling(o)
		objects, problems, err := ParseBundle(data)
		if err == nil && len(objects)+len(problems) == 0 {
			t.Fatal("a valid object is no bundle of one")
		}
	})
}

// FuzzCanonical: the value comes from a list or a search box.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "hxxp://bad[.]example/x", "[2001:db8::1]:80", "joe[at]bad.example",
		"bücher.example", "192.0.2.0/24", "a.exe", "HTTP://A@B.example:1/[.]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, ok := Canonical(s)
		if !ok {
			return
		}
		if again, ok := Canonical(o.Value); !ok || again != o {
			t.Fatalf("Canonical(%q) = %v, and again %v %v", s, o, again, ok)
		}
		if host, ok := o.Host(); ok {
			if again, ok := Canonical(host.Value); !ok || again != host {
				t.Fatalf("host of %v is %v, and again %v %v", o, host, again, ok)
			}
		}
		i := NewIndicator(o, testTime)
		for _, found := range Observables(i) {
			if found == o {
				return
			}
		}
		t.Fatalf("%s does not hold %v but %v", i.Raw, o, Observables(i))
	})
}

// FuzzObservables: the pattern comes from a partner.
func FuzzObservables(f *testing.F) {
	f.Add(`[ipv4-addr:value = '192.0.2.1' AND file:hashes.'SHA-1' IN ('a', 'b')]`)
	f.Add(`[a:b[*].'c' = 'x\'] FOLLOWEDBY [`)
	f.Fuzz(func(t *testing.T, pattern string) {
		o, err := Indicator{ID: "indicator--" + uuidA, Created: "2026-01-02T03:04:05Z", Modified: "2026-01-02T03:04:05Z",
			ValidFrom: "2026-01-02T03:04:05Z", Pattern: pattern}.Object()
		if err != nil {
			return
		}
		seen := map[Observable]bool{}
		for _, x := range Observables(o) {
			if seen[x] {
				t.Fatalf("%v twice", x)
			}
			seen[x] = true
		}
		if len(seen) > maxObservables {
			t.Fatalf("%d observables", len(seen))
		}
	})
}
