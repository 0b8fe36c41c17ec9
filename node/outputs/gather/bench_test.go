package gather

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// BenchmarkGather gathers different values, one report each. Its baseline reads the same objects, which
// whoever gathers has to do in any case.
func BenchmarkGather(b *testing.B) {
	text := func(i int) []byte {
		return []byte(indicator{id: fmt.Sprint(i), pattern: fmt.Sprintf("[domain-name:value = 'a%d.evil.example']", i)}.json())
	}
	for _, n := range []int{100_000} {
		raw := make([][]byte, n)
		for i := range raw {
			raw[i] = text(i)
		}
		b.Run(fmt.Sprintf("baseline reading %d", n), func(b *testing.B) {
			for b.Loop() {
				for i := range raw {
					if _, err := stix.Parse(raw[i]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
		b.Run(fmt.Sprintf("reading and gathering %d", n), func(b *testing.B) {
			var before, after runtime.MemStats
			var s *Set
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				s = New(protocol.OrgID{}, nil, nil)
				for i := range raw {
					o, err := stix.Parse(raw[i])
					if err != nil {
						b.Fatal(err)
					}
					s.Add(&Record{Cursor: uint64(i + 1), Received: now, Object: o})
				}
				s.Sorted()
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "heap-B/value")
			b.ReportMetric(float64(s.Size())/float64(n), "said-B/value")
		})
		s := New(protocol.OrgID{}, nil, nil)
		for i := range raw {
			o, _ := stix.Parse(raw[i])
			s.Add(&Record{Cursor: uint64(i + 1), Received: now, Object: o})
		}
		b.Run(fmt.Sprintf("scoring %d", n), func(b *testing.B) {
			r := s.Reckoner()
			for b.Loop() {
				for _, at := range s.Sorted() {
					if it := r.Item(at, now); it.Score == 0 {
						b.Fatal("no score")
					}
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "values/s")
		})
		b.Run("a value that all report", func(b *testing.B) {
			same, err := stix.Parse([]byte(indicator{pattern: evil}.json()))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s := New(protocol.OrgID{}, nil, nil)
				for i := range n {
					o := *same
					o.ID = fmt.Sprintf("indicator--%08x-0000-4000-8000-000000000000", i)
					s.Add(&Record{Cursor: uint64(i + 1), Received: now, Object: &o, Originator: org(byte(i))})
				}
				if len(s.claims) > MaxClaims {
					b.Fatal("not bounded")
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
