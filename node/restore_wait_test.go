package node

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/protocol"
)

// TestI5NoBackupBeforeErasuresAreHeard: a restored node that waits to hear of erasures is not
// backed up: the next restore would find the journal that it began, and take it for all there is.
func TestI5NoBackupBeforeErasuresAreHeard(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader, relay := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
	syncBoth(t, nodes...)
	key := newOffline(t)
	data := backupOf(t, reader, key)
	eraseValue(t, author, "198.51.100.1")
	dir := filepath.Join(t.TempDir(), "d")
	n, _ := restoreInto(t, dir, data, key)
	var b bytes.Buffer
	if _, err := n.Backup(context.Background(), &b, BackupRequest{Recipients: []string{key.recipient}}); !errors.Is(err, ErrRestored) || b.Len() > 0 {
		t.Errorf("a node that does not know what was erased is backed up: %d bytes, %v", b.Len(), err)
	}
	hear(t, n, relay, author)
	again := backupOf(t, n, key)
	n.Close()
	run(t, "rm", "-r", dir)
	if n, _ = restoreInto(t, dir, again, key); n.usable() == nil && reads(t, n, "198.51.100.1") {
		t.Error("what was erased is shown after the second restore")
	}
}

// TestI5JournalThatNothingConfirms: an anchor with no mark of a feed of the backup may have
// been begun after it: its journal is applied, and ends no wait.
func TestI5JournalThatNothingConfirms(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	agree(t, nodes[0], nodes[1], protocol.TLPGreen, "*")
	reader := testSibling(t, nodes[1]) // appended nothing yet
	shareSets(t, nodes[1], nodes[0], reader)
	publishList(t, nodes[0], "198.51.100.1\n", green)
	carryNew(t, nodes[0], reader)
	key := newOffline(t)
	data := backupOf(t, reader, key)
	dir := filepath.Join(t.TempDir(), "d")
	a, err := anchor.Open(dir+".anchor", reader.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.BeginJournal(), a.Begin(), a.Close()); err != nil {
		t.Fatal(err)
	}
	if n, out := restoreInto(t, dir, data, key); out.Journal || n.usable() == nil {
		t.Errorf("a journal that may be younger than the backup counts as complete: %v", out.Journal)
	}
}
