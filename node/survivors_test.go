package node

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// TestI1SurvivorsOutliveARestore: a publisher erases one of two records of an envelope, and its
// data is put back from before that, with all that it sealed anew; the erasure comes back to it
// from others. The other record is sealed anew again, before the body goes, and reaches its
// reader; the erased one is shown to nobody.
func TestI1SurvivorsOutliveARestore(t *testing.T) {
	t.Parallel()
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

// TestI1LateBodyOutlivesACrash cuts the power at every step at which a body comes that was
// lacking: once it is held nobody brings it again, and what it says is read all the same.
func TestI1LateBodyOutlivesACrash(t *testing.T) {
	first, _, partner := siblingWorld(t)
	rec := publishList(t, partner, "198.51.100.1\n", amber())
	n, disks, c := enrolOnDisk(t, first)
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	shareSets(t, partner, n, first)
	carryNew(t, partner, first)
	compareWith(t, n, first) // it has the keys from its sibling
	var whole [][]byte
	for _, e := range entries(t, partner) {
		whole = append(whole, e.Raw)
		if e.Header.Kind == protocol.EntryRecords {
			e = e.Stripped()
		}
		if _, err := n.gate.admit([]*crypto.VerifiedEnvelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	if reads(t, n, "198.51.100.1") {
		t.Fatal("it reads what it does not hold")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	take := func(n *Node) {
		if _, err := (&view{n: n}).TakeEntries(whole); err != nil {
			panic(err)
		}
	}
	cutAtEveryStep(t, c, disks, take, func(n *Node, cut int) {
		has := bodyHeld(t, n, protocol.EntryRef{Feed: rec.Feed, Seq: rec.To})
		if !has {
			take(n)
		}
		if !reads(t, n, "198.51.100.1") {
			t.Errorf("cut at step %d (the body was held: %v), it does not read what it holds", cut, has)
		}
	})
}
