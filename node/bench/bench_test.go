package bench

import "testing"

func BenchmarkEnvelope(b *testing.B) {
	s := newSealing(800)
	raw, err := s.seal()
	if err != nil {
		b.Fatal(err)
	}
	p, err := newPrimitives()
	if err != nil {
		b.Fatal(err)
	}
	defer p.close()
	sealed, sig, err := p.seal(s.plain)
	if err != nil {
		b.Fatal(err)
	}
	for _, step := range []struct {
		name string
		fn   func() error
	}{
		{"op=seal/by=entente", func() error { _, err := s.seal(); return err }},
		{"op=seal/by=primitives", func() error { _, _, err := p.seal(s.plain); return err }},
		{"op=open/by=entente", func() error { return s.open(raw) }},
		{"op=open/by=primitives", func() error { _, err := p.open(sealed, sig); return err }},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.SetBytes(int64(len(s.plain)))
			b.ReportAllocs()
			for b.Loop() {
				if err := step.fn(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
