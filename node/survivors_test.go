package node

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestI1SurvivorsOutliveARestore: a publisher erases one of two records of an envelope, and its
// data is put back from before that, with all that it sealed anew; the erasure comes back to it
// from others. The other record is sealed anew again, before the body goes, and reaches its
// reader; the erased one is shown to nobody.
func TestI1SurvivorsOutliveARestore(t *testing.T) {
	for name, tc := range map[string]struct{ anchored, acceptRestored bool }{
		"told by others":       {},
		"told by its journal":  {anchored: true},
		"by a person's word":   {acceptRestored: true},
		"journal, and by word": {anchored: true, acceptRestored: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir, backup := filepath.Join(root, "data"), filepath.Join(root, "backup")
			ident, err := NewIdentity(InitRequest{Name: "Vendor", Kind: "vendor"})
			if err != nil {
				t.Fatal(err)
			}
			n := diskNode(t, dir, ident)
			reader, other := testNode(t, "Reader"), testNode(t, "Other")
			intoOneNetwork(t, []*Node{n, reader, other})
			agree(t, n, reader, protocol.TLPAmber, "*")
			publishList(t, n, "198.51.100.1\n198.51.100.2\n", amber())
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			run(t, "cp", "-a", dir, backup)
			n = diskNode(t, dir, ident)
			if _, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theRecord(t, n, "198.51.100.1").ID}, Reason: protocol.EraseLegal}); err != nil {
				t.Fatal(err)
			}
			shareErases(t, n, other) // which hears of the erasure, and gets nothing of what was sealed anew
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			run(t, "cp", "-a", backup, dir)
			if !tc.anchored {
				if err := os.RemoveAll(dir + ".anchor"); err != nil {
					t.Fatal(err)
				}
			}
			if n, err = Open(Config{Dir: dir, Keys: ident.Keys, AcceptRestored: tc.acceptRestored}); err != nil {
				t.Fatal(err)
			}
			defer func() { n.Close() }()
			shareErases(t, other, n)
			if !tc.anchored && !tc.acceptRestored {
				if _, _, err := n.Search(Query{Value: "198.51.100.1"}); err == nil {
					t.Fatal("something is shown before it is known what was erased")
				}
				// It stops in the wait, and goes on with it.
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				n = diskNode(t, dir, ident)
				shareErases(t, other, n)
				if err := n.endWait(); err != nil {
					t.Fatal(err)
				}
			}
			if reads(t, n, "198.51.100.1") || !reads(t, n, "198.51.100.2") {
				t.Error("the publisher shows what it erased, or lost what it did not")
			}
			shareSets(t, n, reader)
			shareErases(t, n, reader)
			carryNew(t, n, reader)
			if reads(t, reader, "198.51.100.1") || !reads(t, reader, "198.51.100.2") {
				t.Error("the reader shows what was erased, or was not given what was not")
			}
		})
	}
}
