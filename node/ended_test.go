package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestI2EndedStaysEndedAfterARestore: data that is put back from before an agreement was ended,
// by either party, finds beside it that it was; nothing is published under it again. An
// agreement that is newer than the data, and comes back from its party, comes back ended.
func TestI2EndedStaysEndedAfterARestore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ before, partnerEnds bool }{
		"ended here":                       {},
		"ended by the partner":             {partnerEnds: true},
		"the data is older than its terms": {before: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir, backup := filepath.Join(root, "data"), filepath.Join(root, "backup")
			ident, err := NewIdentity(InitRequest{Name: "Vendor", Kind: "vendor"})
			if err != nil {
				t.Fatal(err)
			}
			n := diskNode(t, dir, ident)
			partner := testNode(t, "Partner")
			intoOneNetwork(t, []*Node{n, partner})
			put := func() {
				t.Helper()
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				run(t, "cp", "-a", dir, backup)
				n = diskNode(t, dir, ident)
			}
			if tc.before {
				put()
			}
			id := agree(t, n, partner, protocol.TLPAmber, "*")
			if !tc.before {
				put()
			}
			publishList(t, n, "198.51.100.1\n", amber())
			carryNew(t, n, partner)
			if !reads(t, partner, "198.51.100.1") {
				t.Fatal("the agreement is not in force")
			}
			if tc.partnerEnds {
				if err := partner.Terminate(id, "test", 0); err != nil {
					t.Fatal(err)
				}
				carryNew(t, partner, n)
			} else if err := n.Terminate(id, "test", 0); err != nil {
				t.Fatal(err)
			}
			if a, err := n.Agreement(id); err != nil || a.State != AgreementTerminated {
				t.Fatalf("%v, %v", a.State, err)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			run(t, "cp", "-a", backup, dir)

			n = diskNode(t, dir, ident)
			if tc.before {
				// The partner's letters come again.
				if err := (&view{n: n}).TakeItems(&protocol.SyncMessage{Cards: []protocol.SignedCard{partner.OwnCard().Signed}}); err != nil {
					t.Fatal(err)
				}
				shareSets(t, partner, n)
				carryNew(t, partner, n)
			}
			a, err := n.Agreement(id)
			if err != nil || a.State != AgreementTerminated {
				t.Errorf("after the restore the agreement is %v, %v", a.State, err)
			}
			publishList(t, n, "198.51.100.2\n", amber())
			if err := n.grantLate(); err != nil {
				t.Fatal(err)
			}
			carryNew(t, n, partner)
			if reads(t, partner, "198.51.100.2") {
				t.Error("a former partner reads what was published after the end")
			}
		})
	}
}
