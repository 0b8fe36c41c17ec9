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

// BenchmarkRecord publishes one record at a time, of a class that is known: what it costs to decide
// should not grow with the agreements. What an entry of the audit log and a publication's account
// of its readers cost is in it.
func BenchmarkRecord(b *testing.B) {
	x := inMemory(b, "Vendor")
	if _, err := x.node.CreateNetwork("bench"); err != nil {
		b.Fatal(err)
	}
	if err := x.node.JoinTopic(topic); err != nil {
		b.Fatal(err)
	}
	const most = 1000
	_, _, agreements, err := x.partners(b.Context(), &Options{}, most)
	if err != nil {
		b.Fatal(err)
	}
	had, next := 0, 0
	for n := 1; n <= most; n *= 10 {
		if err := x.take(agreements[had:n]); err != nil {
			b.Fatal(err)
		}
		had = n
		b.Run(fmt.Sprintf("agreements=%d", n), func(b *testing.B) {
			publish := func() {
				items, err := read(bundle(next, next+1))
				if err != nil {
					b.Fatal(err)
				}
				next++
				rec, err := x.node.Publish(b.Context(), node.PublishRequest{Topic: topic, Items: items, Flags: green})
				if err != nil || len(rec.Plan.Orgs) != n {
					b.Fatal(len(rec.Plan.Orgs), err)
				}
			}
			publish() // makes and grants the keys, and decides
			before, err := x.node.Metrics()
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				publish()
			}
			after, err := x.node.Metrics()
			if err != nil || after.Decided != before.Decided {
				b.Fatal(after.Decided-before.Decided, "decisions, ", err)
			}
		})
	}
}
