package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// TestWhatIsLargeInTheCorpusIsOpenedInParts: entries whose records repeat each other are small as
// they are sealed, and large where records stand in blocks: many of them are more than one
// transaction takes, and come in all the same.
func TestWhatIsLargeInTheCorpusIsOpenedInParts(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	agree(t, nodes[0], nodes[1], protocol.TLPAmber, "*")
	r := rand.New(rand.NewPCG(1, 2))
	const entries, perEntry = 40, 40
	for e := range entries {
		text := make([]byte, 20_000)
		for i := range text {
			text[i] = byte('!' + r.IntN(90))
			if text[i] == '\\' || text[i] == '"' || text[i] == '<' || text[i] == '>' || text[i] == '&' {
				text[i] = 'x'
			}
		}
		var items []intake.Item
		for i := range perEntry {
			o, err := stix.Indicator{ID: fmt.Sprintf("indicator--00000000-0000-4000-8000-%06d%06d", e, i), Created: "2026-01-01T00:00:00.000Z",
				Modified: "2026-01-01T00:00:00.000Z", ValidFrom: "2026-01-01T00:00:00Z", Description: string(text),
				Pattern: fmt.Sprintf("[domain-name:value = 'h%d-%d.example.net']", e, i)}.Object()
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, intake.Item{Object: o})
		}
		if _, err := nodes[0].Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: policy.Flags{TLP: protocol.TLPGreen}}); err != nil {
			t.Fatal(err)
		}
	}
	carryNew(t, nodes[0], nodes[1])
	size := 0
	err := nodes[1].st.View(func(tx *store.Tx) error {
		return tx.Scan([]byte("cb"), nil, false, func(_, v []byte) (bool, error) { size += len(v); return true, nil })
	})
	list, _, serr := nodes[1].Search(Query{Type: "indicator", Limit: MaxLimit, Since: time.Unix(0, 0)})
	if err != nil || serr != nil || len(list) != entries*perEntry {
		t.Errorf("%d records are read: %v, %v", len(list), err, serr)
	}
	if size < 10<<20 {
		t.Errorf("all of them take %d bytes: this tests nothing", size)
	}
}
