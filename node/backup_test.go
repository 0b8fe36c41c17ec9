package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// offline is a key that is kept off line.
type offline struct {
	recipient string
	ids       []crypto.BackupIdentity
}

func newOffline(t testing.TB) offline {
	t.Helper()
	file, recipient, err := crypto.GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ids, err := crypto.ParseBackupIdentities(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return offline{recipient, ids}
}

func backupOf(t testing.TB, n *Node, key offline) []byte {
	t.Helper()
	var b bytes.Buffer
	info, err := n.Backup(context.Background(), &b, BackupRequest{Recipients: []string{key.recipient}})
	if err != nil || !info.Whole || !info.PostQuantum {
		t.Fatalf("backup: %+v, %v", info, err)
	}
	return b.Bytes()
}

// restoreInto restores a backup and opens the node that it makes.
func restoreInto(t testing.TB, dir string, data []byte, key offline) (*Node, *Restored) {
	t.Helper()
	out, err := Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: dir, Identities: key.ids})
	if err != nil {
		t.Fatal(err)
	}
	return openDir(t, dir, false), out
}

func openDir(t testing.TB, dir string, accept bool) *Node {
	t.Helper()
	lock, err := OpenLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := LoadKeys(dir, lock)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Dir: dir, Keys: keys, AcceptRestored: accept})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// shown is what a node shows and holds, without what is its own.
func shown(t testing.TB, n *Node) string {
	t.Helper()
	var out strings.Builder
	recs, err := n.Records(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		fmt.Fprintf(&out, "record %s %s %v %s %d %s %s\n", r.ID, r.StixID, r.Withdrawn, r.Publisher.ID, r.Cursor, r.Object, r.Agreement)
	}
	feeds, err := n.Feeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		if f.Held > 0 {
			fmt.Fprintf(&out, "feed %s %s %d %s missing bodies %d\n", f.Feed, f.Org.Name, f.Held, f.Digest, f.Bodies)
		}
	}
	for _, a := range n.Agreements() {
		fmt.Fprintf(&out, "agreement %s %s\n", a.ID, a.State)
	}
	st, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%d members, %d topics, %d records, %d quarantined, %d awaiting\n", st.Members, st.Topics, st.Records, st.Quarantined, st.Awaiting)
	return out.String()
}

// TestBackupHoldsEveryKind: whoever adds a kind of document says whether a backup holds it.
func TestBackupHoldsEveryKind(t *testing.T) {
	src, err := os.ReadFile("documents.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\tkind\w+ += "(n/[a-z]+/)"`).FindAllSubmatch(src, -1)
	if len(found) < 16 {
		t.Fatalf("found %d kinds", len(found))
	}
	for _, m := range found {
		in, out := slices.Contains(backupKinds, string(m[1])), slices.Contains(backupLeft, string(m[1]))
		if in == out {
			t.Errorf("documents %s: in a backup %v, left out %v; say which, and check them in checkDocument", m[1], in, out)
		}
	}
	n := testNode(t, "Author")
	if err := n.st.Update(func(tx *store.Tx) error { return tx.Set([]byte("n/unheard/of"), nil) }); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Backup(context.Background(), new(bytes.Buffer), BackupRequest{Recipients: []string{newOffline(t).recipient}}); err == nil || !strings.Contains(err.Error(), `documents "n/unheard/"`) {
		t.Errorf("a backup that would leave something out: %v", err)
	}
}

func TestBackupSmoke(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
	carry(t, author, reader)
	key := newOffline(t)
	data := backupOf(t, reader, key)
	info, err := VerifyBackup(context.Background(), bytes.NewReader(data), key.ids)
	t.Logf("%+v %v", info, err)
	n, out := restoreInto(t, filepath.Join(t.TempDir(), "d"), data, key)
	t.Logf("%+v", out)
	if err := n.usable(); !errors.Is(err, ErrRestored) {
		t.Error(err)
	}
	if err := n.endRestored(); err != nil {
		t.Fatal(err)
	}
	if a, b := shown(t, reader), shown(t, n); a != b {
		t.Errorf("was\n%s\nis\n%s", a, b)
	}
	_ = time.Now
}
