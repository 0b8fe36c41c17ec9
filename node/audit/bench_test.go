package audit_test

import (
	"crypto/rand"
	"testing"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// BenchmarkRootOf is what a publication of many records costs beyond that of few, for each record.
func BenchmarkRootOf(b *testing.B) {
	ids := make([]protocol.RecordID, 20_000)
	for i := range ids {
		rand.Read(ids[i][:])
	}
	for b.Loop() {
		audit.RootOf(ids)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ids)), "ns/record")
}

// BenchmarkAppend is what an entry costs beside the commit that it goes with.
func BenchmarkAppend(b *testing.B) {
	book := newLogbook(b)
	d := &audit.Details{At: day, Act: "search", Person: "alice", Purpose: "case 17", Records: audit.RecordSet{Count: 10, IDs: make([]protocol.RecordID, 10)}}
	for b.Loop() {
		book.update(func(tx *store.Tx) error { _, err := book.log.Append(tx, audit.Disclose, d); return err })
	}
}
