package node

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// BenchmarkExchange publishes lists at one node and admits them at another, both on disk,
// until they are durable and searchable there; the baseline writes the same objects to a
// store of the same kind, in batches, and nothing else.
func BenchmarkExchange(b *testing.B) {
	const records = 10_000
	list := func(round int) []intake.Item {
		var s strings.Builder
		for i := range records {
			fmt.Fprintf(&s, "host-%d-%d.example.net\n", round, i)
		}
		in, err := intake.Read("list", strings.NewReader(s.String()), intake.Options{})
		if err != nil {
			b.Fatal(err)
		}
		return in.Items
	}
	b.Run("entente", func(b *testing.B) {
		nodes := diskNetwork(b)
		round := 0
		for b.Loop() {
			b.StopTimer()
			items := list(round)
			round++
			b.StartTimer()
			if _, err := nodes[0].Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: policy.Flags{TLP: protocol.TLPGreen}}); err != nil {
				b.Fatal(err)
			}
			carryNew(b, nodes[0], nodes[1])
		}
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("badger alone", func(b *testing.B) {
		st, err := store.Open(store.Config{Dir: b.TempDir(), Key: [32]byte{1}})
		if err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		round := 0
		for b.Loop() {
			b.StopTimer()
			items := list(round)
			round++
			b.StartTimer()
			for at := 0; at < len(items); at += 2000 {
				if err := st.Update(func(tx *store.Tx) error {
					for _, it := range items[at:min(at+2000, len(items))] {
						if err := tx.Set([]byte(it.Object.ID), it.Object.Raw); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}

func diskNetwork(b *testing.B) []*Node {
	b.Helper()
	var nodes []*Node
	for _, name := range []string{"Author", "Reader"} {
		ident, err := NewIdentity(InitRequest{Name: name, Kind: "cert"})
		if err != nil {
			b.Fatal(err)
		}
		n, err := Open(Config{Dir: b.TempDir(), Keys: ident.Keys, Card: &ident.Card})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { n.Close() })
		nodes = append(nodes, n)
	}
	intoOneNetwork(b, nodes)
	agree(b, nodes[0], nodes[1], protocol.TLPAmber, "*")
	return nodes
}
