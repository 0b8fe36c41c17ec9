package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/reconcile"
	"github.com/entente-mesh/entente/protocol"
)

// TestI5NoBackupBeforeErasuresAreHeard: a restored node that waits to hear of erasures is not
// backed up: the next restore would find the journal that it began, and take it for all there is.
func TestI5NoBackupBeforeErasuresAreHeard(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// TestI5SiblingsThatWaitTeachNothing: two nodes restored from one backup do not end each
// other's wait, nor does a node that came to the card afterwards.
func TestI5SiblingsThatWaitTeachNothing(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	syncBoth(t, nodes...)
	live := testSibling(t, reader)
	key := newOffline(t)
	data := backupOf(t, reader, key)
	eraseValue(t, author, "198.51.100.1")
	carryNew(t, author, live)

	first, _ := restoreInto(t, filepath.Join(t.TempDir(), "d"), data, key)
	second := inMemory(t, data, key)
	second.restored.Store(&restoredDoc{At: uint64(nowMillis())})
	entry := entryOf(t, second.keys)
	if err := first.amendCard(func(c *protocol.Card) error { c.Nodes = append(c.Nodes, entry); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := second.putOwnCard(&first.OwnCard().Signed); err != nil {
		t.Fatal(err)
	}
	ask := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncSiblings, Hashes: make([]protocol.Hash, siblingParts)}
	if _, _, err := second.serveSiblings(first.ID(), ask); !errors.Is(err, ErrRestored) {
		t.Errorf("a node that waits answers a sibling: %v", err)
	}
	// A node that came later and waits for nothing: it has what it was given here.
	second.restored.Store(nil)
	if err := first.heardFrom(second.ID(), first.Org()); err != nil {
		t.Fatal(err)
	}
	if first.usable() == nil {
		t.Error("a sibling that came to the card after the restore ends the wait")
	}
	// One that stood on the card before, and lives, does, also where its entry began anew since: somebody may have
	// had its age identity.
	if err := first.amendCard(func(c *protocol.Card) error {
		c.Nodes = slices.Clone(c.Nodes)
		for i := range c.Nodes {
			if e := &c.Nodes[i]; e.Node == live.ID() {
				e.NotBefore, e.NotAfter = uint64(nowMillis()), uint64(nowMillis())+nodeLife
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := first.heardFrom(live.ID(), first.Org()); err != nil {
		t.Fatal(err)
	}
	if first.usable() != nil {
		t.Error("a sibling that lived all the time does not end the wait")
	}
}

// TestI5EraseAheadOfItsCard: an erase that comes before the card whose key signed it was heard
// only when it was taken: a lost node's successor erases what that one published.
func TestI5EraseAheadOfItsCard(t *testing.T) {
	t.Parallel()
	ident, err := NewIdentity(InitRequest{Name: "Author", Kind: protocol.KindVendor})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := Open(Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	reader := testNode(t, "Reader")
	intoOneNetwork(t, []*Node{lost, reader})
	agree(t, lost, reader, protocol.TLPGreen, "*")
	author := testSibling(t, lost)
	shareSets(t, lost, author, reader)
	compareWith(t, author, lost)
	list := ""
	for i := range 40 {
		list += fmt.Sprintf("198.51.100.%d\n", i)
	}
	publishList(t, lost, list, green)
	carryNew(t, lost, author)
	carryNew(t, lost, reader)
	compareWith(t, author, lost)
	key := newOffline(t)
	n, _ := restoreInto(t, filepath.Join(t.TempDir(), "d"), backupOf(t, reader, key), key)

	root, err := ParseRootFile(string(rootFileText(InitRequest{Name: "Author"}, ident)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lock, err := makeLock(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := author.Promote(PromoteRequest{Dir: dir, Lock: lock, Root: root}); err != nil {
		t.Fatal(err)
	}
	if _, err := author.RemoveNode(lost.ID(), true); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		eraseValue(t, author, fmt.Sprintf("198.51.100.%d", i))
	}
	for author.OwnCard().Hash[0] < 0xf8 { // so that it comes on the last page
		if err := author.amendCard(func(c *protocol.Card) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.compare(context.Background(), author.ID(), author.Org(), true, func(_ context.Context, m *protocol.SyncMessage) (*protocol.SyncMessage, error) {
		return reconcile.Answer(&view{n: author}, m)
	}); err != nil {
		t.Fatal(err)
	}
	if err := n.heardErasures(author.Org()); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if reads(t, n, fmt.Sprintf("198.51.100.%d", i)) {
			t.Fatalf("198.51.100.%d was erased before the restore, and is shown", i)
		}
	}
}

// TestI5NothingIsSealedAnewBeforeErasuresAreHeard: a restored node answers for the lost one, and
// carries out an erasure that waited for it only when it knows which of the survivors were
// erased since.
func TestI5NothingIsSealedAnewBeforeErasuresAreHeard(t *testing.T) {
	t.Parallel()
	first, second, partner := siblingWorld(t)
	publishList(t, first, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", amber())
	carryNew(t, first, second)
	carryNew(t, first, partner)
	compareWith(t, second, first)
	eraseValue(t, second, "198.51.100.1") // waits for the first, which published it
	second.keys.Op = first.keys.Op
	key := newOffline(t)
	data := backupOf(t, second, key)
	eraseValue(t, first, "198.51.100.2") // after the backup
	syncFrom(t, partner, first)
	n, _ := restoreInto(t, filepath.Join(t.TempDir(), "d"), data, key)
	if _, err := n.ResealRemoved(t.Context(), first.ID()); !errors.Is(err, ErrRestored) {
		t.Errorf("what a removed node published is sealed anew: %v", err)
	}
	own := func() (count uint64) {
		for _, e := range entries(t, n) {
			if e.Signing == n.keys.Signing.Public() {
				count++
			}
		}
		return count
	}
	if count := own(); count > 0 {
		t.Errorf("%d entries were appended before it is known what was erased", count)
	}
	hear(t, n, partner)
	if one, two, three := reads(t, n, "198.51.100.1"), reads(t, n, "198.51.100.2"), reads(t, n, "198.51.100.3"); one || two || !three {
		t.Errorf("of three records two were erased, and are shown: %v %v %v", one, two, three)
	}
	if count, err := n.pendingErasures(); err != nil || count > 0 {
		t.Errorf("%d erasures wait, and nobody else carries them out, %v", count, err)
	}
}

// TestReportSaysWhoKnowsOfALocalErasure: no partner tells a restored node of what its
// organisation erased for itself; the report of the erasure promises nothing else.
func TestReportSaysWhoKnowsOfALocalErasure(t *testing.T) {
	nodes := testNetwork(t, "Author", "Reader")
	agree(t, nodes[0], nodes[1], protocol.TLPGreen, "*")
	publishList(t, nodes[0], "198.51.100.1\n198.51.100.2\n", green)
	syncBoth(t, nodes...)
	for _, n := range nodes {
		backupOf(t, n, newOffline(t))
		rep, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, n, "198.51.100.1")}, Reason: protocol.EraseRequest})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rep.Beyond[:2] { // the backup, and copies of the disk
			if local := strings.Contains(r.Do, "shows records of others again"); local != (n == nodes[1]) || !strings.Contains(r.Do, "applies this erasure before it shows anything") {
				t.Errorf("%s: %s", r.What, r.Do)
			}
		}
	}
}

// TestI2EndedNodesGetNothingNew: once an organisation was restored, what others publish for it
// is sealed under keys that its lost node was not given.
func TestI2EndedNodesGetNothingNew(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, lost := nodes[0], nodes[1]
	agree(t, author, lost, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	syncBoth(t, nodes...)
	key := newOffline(t)
	n, _ := restoreInto(t, filepath.Join(t.TempDir(), "d"), backupOf(t, lost, key), key)
	shareSets(t, n, author)
	publishList(t, author, "198.51.100.2\n", green)
	carryNew(t, author, lost) // by whatever way
	if reads(t, lost, "198.51.100.2") {
		t.Error("a node that is let in no more opens what was published afterwards")
	}
	hear(t, n, author)
	if !reads(t, n, "198.51.100.1") || !reads(t, n, "198.51.100.2") {
		t.Error("the restored node does not read what its organisation may read")
	}
}

// TestOneRestoreAtATime: a second restore into a directory does not clear away what the first
// one writes.
func TestOneRestoreAtATime(t *testing.T) {
	t.Parallel()
	author := testNetwork(t, "Author")[0]
	publishList(t, author, hashes(1, 8000), green)
	key := newOffline(t)
	data := backupOf(t, author, key)
	dir := filepath.Join(t.TempDir(), "d")
	in := bytes.NewReader(data)
	var second error
	out, err := Restore(context.Background(), readerFunc(func(b []byte) (int, error) {
		if in.Len() < len(data)/2 && second == nil {
			if _, second = Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: dir, Identities: key.ids}); second == nil {
				second = errors.New("it went through")
			}
		}
		return in.Read(b)
	}), RestoreRequest{Dir: dir, Identities: key.ids})
	if err != nil || second == nil || !strings.Contains(second.Error(), "another restore into") {
		t.Fatalf("two restores at once: %v, %v", err, second)
	}
	if n := openDir(t, dir, true); n.ID() != out.NewNode {
		t.Error("the directory is not that of the node that was restored")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
