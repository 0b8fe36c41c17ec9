package bench

import (
	"fmt"
	"testing"

	"github.com/entente-mesh/entente/node"
)

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

// BenchmarkAudience publishes to more and more organisations: the cost of a record should not grow.
func BenchmarkAudience(b *testing.B) {
	for _, orgs := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("orgs=%d", orgs), func(b *testing.B) {
			o := &Options{Dir: b.TempDir()}
			m, err := found(b.Context(), o, "Vendor")
			defer func() {
				if err := m.close(); err != nil {
					b.Error(err)
				}
			}()
			if err != nil {
				b.Fatal(err)
			}
			_, _, agreements, err := m.orgs[0].partners(b.Context(), o, orgs)
			if err == nil {
				err = m.orgs[0].take(agreements)
			}
			if err != nil {
				b.Fatal(err)
			}
			const records = 10_000
			round := 0
			publish := func(count int) {
				b.StopTimer()
				items, err := read(bundle(round*records, round*records+count))
				if err != nil {
					b.Fatal(err)
				}
				round++
				b.StartTimer()
				rec, err := m.orgs[0].node.Publish(b.Context(), node.PublishRequest{Topic: topic, Items: items, Flags: green})
				if err != nil || len(rec.Plan.Orgs) != orgs {
					b.Fatal(len(rec.Plan.Orgs), err)
				}
			}
			publish(1) // makes and grants the keys
			for b.Loop() {
				publish(records)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
		})
	}
}
