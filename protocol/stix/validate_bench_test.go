package stix

import "testing"

// BenchmarkValidate measures beside Parse, which is what publishing does of each object anyway.
func BenchmarkValidate(b *testing.B) {
	for _, name := range []string{"indicator", "observed-data", "malware"} {
		raw := benchObjects(b)[name]
		o, err := Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/parse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
		for mode, word := range map[Mode]string{Lenient: "lenient", Strict: "strict"} {
			b.Run(name+"/"+word, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Validate(o, mode)
				}
			})
		}
	}
}
