package node

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestHeld: how much of a feed is durable is known without a look at the store, at whoever published
// it and at whoever took it, and who waits for more of it is told.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		author, _, _ := onDisk(t, "Author")
		reader, _, _ := onDisk(t, "Reader")
		intoOneNetwork(t, []*Node{author, reader})
		agree(t, author, reader, protocol.TLPGreen, "*")
		rec := publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
		if seq, _ := author.Held(rec.Feed); seq != rec.To {
			t.Errorf("its author holds %d entries of %d", seq, rec.To)
		}
		if rec.Bytes < 500 || rec.Bytes > protocol.MaxEnvelopeSize {
			t.Errorf("%d envelopes have %d bytes", rec.Envelopes, rec.Bytes)
		}
		seq, more := reader.Held(rec.Feed)
		if seq != 0 {
			t.Errorf("the reader holds %d entries of a feed that it never saw", seq)
		}
		select {
		case <-more:
			t.Error("there is more, and nothing came")
		default:
		}
		carryNew(t, author, reader)
		select {
		case <-more:
		default:
			t.Error("what came was not told")
		}
		if seq, _ := reader.Held(rec.Feed); seq != rec.To {
			t.Errorf("the reader holds %d entries of %d", seq, rec.To)
		}
	})
}

// TestI5IndexForgetsAtOnce: what a whole envelope was found by is in more pages of the index than one
// transaction writes anew; the rest does not wait for other records to come, at whoever erased it.
func TestI5IndexForgetsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		author, _, _ := onDisk(t, "Author") // with the small limits of simulations
		reader, _, _ := onDisk(t, "Reader")
		intoOneNetwork(t, []*Node{author, reader})
		agree(t, author, reader, protocol.TLPGreen, "*")
		list := func(i int) string {
			var b strings.Builder
			for j := range 60 {
				fmt.Fprintf(&b, "host-%d-%d.example.net\n", i, j)
			}
			return b.String()
		}
		for i := range 4 {
			publishList(t, author, list(i), policy.Flags{TLP: protocol.TLPGreen, RetentionDays: uint32(2 + 28*i)})
		}
		carryNew(t, author, reader)
		time.Sleep(3 * 24 * time.Hour)
		for _, n := range []*Node{reader, author} {
			if err := n.expire(); err != nil {
				t.Fatal(err)
			}
			if err := n.st.View(func(tx *store.Tx) error {
				left, err := n.index.Forgetting(tx)
				if left {
					t.Errorf("%s still has to forget what it erased", n.snap.Load().name(n.org))
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if reads(t, n, "host-0-7.example.net") || !reads(t, n, "host-1-7.example.net") {
				t.Errorf("%s does not show what is left, and only that", n.snap.Load().name(n.org))
			}
		}
	})
}
