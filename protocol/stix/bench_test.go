package stix

import (
	"fmt"
	"strings"
	"testing"
)

// The benchmarks measure beside the oracle (/encoding-json), which is the package as it was.

// benchObjects are objects of usual sizes: 500 bytes, 1.6 kB and 5 kB.
func benchObjects(b *testing.B) map[string][]byte {
	b.Helper()
	const common = `"spec_version":"2.1","created_by_ref":"identity--` + uuidA + `","created":"2026-01-02T03:04:05.678Z",` +
		`"modified":"2026-01-02T03:04:05.678Z","object_marking_refs":["marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"],`
	var entries, references, custom []string
	for i := range 8 {
		entries = append(entries, fmt.Sprintf(`"%d":{"type":"file","name":"invoice-%d.exe","hashes":{"SHA-256":"%064x","MD5":"%032x"}}`, i, i, i, i))
	}
	for i := range 12 {
		references = append(references, fmt.Sprintf(`{"source_name":"report %d","url":"https://vendor.example/reports/%d","description":"In \"campaign\" %d.\nSeen often."}`, i, i, i))
	}
	for i := range 40 {
		custom = append(custom, fmt.Sprintf(`"x_vendor_%d":"value %d"`, i, i))
	}
	return map[string][]byte{
		"indicator": []byte(`{"type":"indicator",` + common + `"id":"indicator--` + uuidA + `","name":"bad.example","indicator_types":["malicious-activity"],` +
			`"pattern":"[domain-name:value = 'bad.example']","pattern_type":"stix","valid_from":"2026-01-02T03:04:05Z"}`),
		"observed-data": []byte(`{"type":"observed-data",` + common + `"id":"observed-data--` + uuidA + `","first_observed":"2026-01-02T03:04:05Z",` +
			`"last_observed":"2026-01-02T03:04:05Z","number_observed":8,"objects":{` + strings.Join(entries, ",") + `}}`),
		"malware": []byte(`{"type":"malware",` + common + `"id":"malware--` + uuidA + `","name":"Worm","is_family":true,"description":"` +
			strings.Repeat("It copies itself. ", 40) + `","external_references":[` + strings.Join(references, ",") + `],` + strings.Join(custom, ",") + `}`),
	}
}

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"indicator", "observed-data", "malware"} {
		raw := benchObjects(b)[name]
		b.Run(name+"/stix", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := oldParse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkText(b *testing.B) {
	raw := benchObjects(b)["indicator"]
	o, err := Parse(raw)
	if err != nil {
		b.Fatal(err)
	}
	old, err := oldParse(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("stix", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			o.Text("pattern")
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			old.Text("pattern")
		}
	})
}

func BenchmarkObservables(b *testing.B) {
	for _, name := range []string{"indicator", "observed-data"} {
		raw := benchObjects(b)[name]
		o, err := Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		old, err := oldParse(raw)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/stix", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Observables(o)
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				oldObservables(old)
			}
		})
	}
}

func BenchmarkCanonical(b *testing.B) {
	for _, tt := range []struct{ name, value string }{
		{"ipv4", "192.0.2.1"}, {"domain", "evil.bad.example"}, {"url", "http://bad.example/a/b.php?c=d"},
		{"defanged", "hxxps[:]//evil[.]bad[.]example/x"}, {"sha256", strings.Repeat("ab", 32)}, {"none", "see the report"},
	} {
		b.Run(tt.name+"/stix", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Canonical(tt.value)
			}
		})
		b.Run(tt.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				oldCanonical(tt.value)
			}
		})
	}
}

func BenchmarkDetect(b *testing.B) {
	const line = "evil.bad.example # seen 2026-01-02"
	b.Run("stix", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Detect(line)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			oldDetect(line)
		}
	})
}

func BenchmarkHost(b *testing.B) {
	o := Observable{URL, "http://bad.example/a/b.php?c=d"}
	b.Run("stix", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			o.Host()
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			oldHost(o)
		}
	})
}

func BenchmarkNewIndicator(b *testing.B) {
	o := Observable{Domain, "evil.bad.example"}
	b.Run("stix", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NewIndicator(o, testTime)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			oldNewIndicator(o, testTime)
		}
	})
}

// BenchmarkParseBundle reads a bundle of 1,000 indicators.
func BenchmarkParseBundle(b *testing.B) {
	raw := benchObjects(b)["indicator"]
	bundle := []byte(`{"type":"bundle","objects":[` + strings.Repeat(string(raw)+",\n", 999) + string(raw) + `]}`)
	b.Run("stix", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(bundle)))
		for b.Loop() {
			if _, problems, err := ParseBundle(bundle); err != nil || len(problems) > 0 {
				b.Fatal(problems, err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(bundle)))
		for b.Loop() {
			if _, problems, err := oldParseBundle(bundle); err != nil || len(problems) > 0 {
				b.Fatal(problems, err)
			}
		}
	})
}
