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
