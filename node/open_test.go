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
	t.Parallel()
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

// TestWhatDoesNotCompressIsSealedInParts: what compresses less than most is sealed in smaller parts,
// and the records stay in their order, whatever was begun beside them.
func TestWhatDoesNotCompressIsSealedInParts(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	agree(t, nodes[0], nodes[1], protocol.TLPAmber, "*")
	r := rand.New(rand.NewPCG(1, 2))
	var items []intake.Item
	add := func(noise int) {
		text := make([]byte, noise)
		for i := range text {
			text[i] = byte('a' + r.IntN(26))
		}
		o, err := stix.Indicator{ID: fmt.Sprintf("indicator--00000000-0000-4000-8000-%012d", len(items)), Created: "2026-01-01T00:00:00.000Z",
			Modified: "2026-01-01T00:00:00.000Z", ValidFrom: "2026-01-01T00:00:00Z", Description: string(text),
			Pattern: fmt.Sprintf("[domain-name:value = 'h%d.example.net']", len(items))}.Object()
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, intake.Item{Object: o})
	}
	for range 2500 {
		add(20)
	}
	for range 60 {
		add(8_000 + r.IntN(60_000)) // some alone fill an envelope, eight of them do not fit one
	}
	for range 2500 {
		add(20)
	}
	rec, err := nodes[0].Publish(context.Background(), PublishRequest{Topic: "c2", Items: items, Flags: policy.Flags{TLP: protocol.TLPGreen}})
	if err != nil {
		t.Fatal(err)
	}
	used := uint64(0)
	err = nodes[0].st.View(func(tx *store.Tx) error {
		list, err := tx.Epochs(rec.Feed)
		for _, ep := range list {
			used += ep.Used
		}
		return err
	})
	if sealed := rec.Envelopes - rec.Grants; err != nil || used != uint64(sealed) || sealed < 30 {
		t.Errorf("%d envelopes are sealed, and %d counted, %v", sealed, used, err)
	}
	carryNew(t, nodes[0], nodes[1])
	for _, n := range nodes {
		for _, i := range []int{0, 1, 799, 2499, 2500, 2501, 2530, 2559, 2560, 2561, 5059} {
			list, _, err := n.Search(Query{Value: fmt.Sprintf("h%d.example.net", i)})
			if err != nil || len(list) != 1 || list[0].ID != rec.Records[i] || list[0].StixID != items[i].Object.ID {
				t.Errorf("%s finds %d of record %d: %v", n.OwnCard().Inception.Name, len(list), i, err)
			}
		}
		list, _, err := n.Search(Query{Type: "indicator", Limit: MaxLimit, Since: time.Unix(0, 0)})
		if err != nil || len(list) != min(len(items), MaxLimit) {
			t.Errorf("%d records are read: %v", len(list), err)
		}
	}
}
