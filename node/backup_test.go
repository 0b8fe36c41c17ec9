package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/anchor"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
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
	for _, kind := range backupKinds {
		if err := (&backupReader{cards: map[protocol.OrgID]*crypto.Card{}}).checkDocument(kind, nil, nil); err != nil && strings.Contains(err.Error(), "no known kind") {
			t.Errorf("documents %s are in a backup, and its reader does not know them", kind)
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

// TestBackupOfAHub: what a node that passes records on keeps besides is in a backup, and comes back.
func TestBackupOfAHub(t *testing.T) {
	t.Parallel()
	nodes := chain(t, nil, "Vendor", "Hub", "Unit")
	vendor, hub := nodes[0], nodes[1]
	if err := hub.SetRelease(context.Background(), ReleaseAsk, false); err != nil {
		t.Fatal(err)
	}
	rec := publishOnward(t, vendor, "198.51.100.1\n198.51.100.2\n", partners)
	along(t, nodes)
	if err := vendor.Exclude(context.Background(), rec.Records[:1], []protocol.OrgID{nodes[2].Org()}); err != nil {
		t.Fatal(err)
	}
	along(t, nodes)
	if _, err := hub.DenyRelease(t.Context(), 1, "Officer", "not yet"); err != nil {
		t.Fatal(err)
	}
	holdOn(t, hub, HoldRequest{Value: "198.51.100.2"})
	askAbout(t, vendor, "198.51.100.1")
	carryNew(t, vendor, hub)
	key := newOffline(t)
	back, _ := restoreInto(t, filepath.Join(t.TempDir(), "r"), backupOf(t, hub, key), key)
	for _, kind := range []string{kindRelease, kindDenied, kindExclusion, kindExcluded, kindHold, kindErasureAsk} {
		count := map[*Node]int{}
		for _, n := range []*Node{hub, back} {
			if err := n.st.View(func(tx *store.Tx) error {
				return tx.Scan([]byte(kind), nil, false, func(_, _ []byte) (bool, error) { count[n]++; return true, nil })
			}); err != nil {
				t.Fatal(err)
			}
		}
		if count[hub] == 0 || count[back] != count[hub] {
			t.Errorf("documents %s: %d, and %d of them came back", kind, count[hub], count[back])
		}
	}
	if mode, err := back.Release(); err != nil || mode != ReleaseAsk {
		t.Errorf("mode %s, %v", mode, err)
	}
}

// hear lets a restored node compare with others, as it would on the network.
func hear(t testing.TB, n *Node, peers ...*Node) {
	t.Helper()
	for _, p := range peers {
		syncFrom(t, n, p)
		if err := n.heardErasures(p.Org()); err != nil {
			t.Fatal(err)
		}
	}
}

func eraseValue(t testing.TB, n *Node, value string) {
	t.Helper()
	if _, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, n, value)}, Reason: protocol.EraseRequest}); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreShowsTheSame: whatever happened before, the restored node holds the same feeds to
// the same heads, and shows the same records, at the same cursors, as the one backed up.
func TestRestoreShowsTheSame(t *testing.T) {
	t.Parallel()
	seeds := 3
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 9))
			nodes := testNetwork(t, "Author", "Reader", "Other")
			agree(t, nodes[0], nodes[1], protocol.TLPAmber, "TH", "VN")
			agree(t, nodes[0], nodes[2], protocol.TLPGreen, "*")
			agree(t, nodes[2], nodes[1], protocol.TLPGreen, "*")
			for i := range 30 {
				author := nodes[rng.IntN(2)*2]
				all, err := author.Records(0, 1000)
				if err != nil {
					t.Fatal(err)
				}
				var own []Record
				for _, r := range all {
					if r.Publisher.ID == author.Org() && !r.Withdrawn {
						own = append(own, r)
					}
				}
				switch k := rng.IntN(10); {
				case k < 5 || len(own) == 0:
					f := policy.Flags{TLP: protocol.TLPGreen, Countries: []string{[]string{"TH", "VN", "DE"}[rng.IntN(3)]}}
					list := ""
					for j := range 1 + rng.IntN(9) {
						list += fmt.Sprintf("host-%d-%d.example.net\n198.51.100.%d\n", i, j, rng.IntN(255))
					}
					publishList(t, author, list, f)
				case k < 6:
					if err := author.Withdraw(context.Background(), []protocol.RecordID{own[rng.IntN(len(own))].ID}, "wrong"); err != nil {
						t.Fatal(err)
					}
				case k < 7:
					if _, err := author.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{own[rng.IntN(len(own))].ID}, Reason: protocol.EraseLegal}); err != nil {
						t.Fatal(err)
					}
				case k < 8:
					theirs, err := nodes[1].Records(0, 1000)
					if err != nil {
						t.Fatal(err)
					}
					if len(theirs) > 0 { // for this organisation alone
						if _, err := nodes[1].Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{theirs[rng.IntN(len(theirs))].ID}, Reason: protocol.EraseError}); err != nil {
							t.Fatal(err)
						}
					}
				default:
					syncBoth(t, nodes...)
				}
			}
			for _, n := range nodes {
				key := newOffline(t)
				data := backupOf(t, n, key)
				info, err := VerifyBackup(context.Background(), bytes.NewReader(data), key.ids)
				if err != nil || !info.Whole || len(info.LeftOut) > 0 || info.Org.Name == "" {
					t.Fatalf("verifying: %+v, %v", info, err)
				}
				dir := filepath.Join(t.TempDir(), "d")
				got, _ := restoreInto(t, dir, data, key)
				if err := got.endRestored(); err != nil {
					t.Fatal(err)
				}
				if was, is := shown(t, n), shown(t, got); was != is {
					t.Errorf("before\n%s\nafter the restore\n%s", was, is)
				}
				// What a search finds by its indexes, which were made anew.
				for i := range 255 {
					q := Query{Value: fmt.Sprintf("198.51.100.%d", i), Withdrawn: true, Versions: true}
					a, _, err1 := n.Search(q)
					b, _, err2 := got.Search(q)
					if err1 != nil || err2 != nil || len(a) != len(b) {
						t.Fatalf("searching: %d and %d, %v, %v", len(a), len(b), err1, err2)
					}
				}
				// A backup of the restored node holds the same again.
				if again, _ := restoreInto(t, filepath.Join(t.TempDir(), "e"), backupOf(t, got, key), key); again.endRestored() != nil || shown(t, again) != shown(t, got) {
					t.Error("a backup of the restored node holds something else")
				}
			}
		})
	}
}

// TestI5RestoreShowsNothingErased: what was erased after the backup is never shown by a
// restored node, whichever way it comes to know of it.
func TestI5RestoreShowsNothingErased(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader, relay := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
	syncBoth(t, nodes...)
	key := newOffline(t)
	for _, of := range []*Node{reader, author} {
		data := backupOf(t, of, key)
		value := map[*Node]string{reader: "198.51.100.1", author: "198.51.100.2"}[of]
		eraseValue(t, author, value)
		syncBoth(t, nodes...)
		dir := filepath.Join(t.TempDir(), "d")
		n, out := restoreInto(t, dir, data, key)
		if out.Journal {
			t.Fatal("a journal was found where there is none")
		}
		check := func(what string) {
			t.Helper()
			if _, _, err := n.Search(Query{Value: value}); !errors.Is(err, ErrRestored) {
				t.Fatalf("%s, records are shown: %v", what, err)
			}
			for feed := range feedsOf(t, n) {
				if raws, err := (&view{n: n, serving: true}).Range(feed, 1, 100, 1<<20); err != nil || len(raws) > 0 {
					t.Fatalf("%s, %d entries are served: %v", what, len(raws), err)
				}
			}
		}
		check("at first")
		n.Close()
		n = openDir(t, dir, false)
		check("after another start")
		hear(t, n, relay)
		check("after one other organisation")
		other := map[*Node]*Node{reader: author, author: reader}[of]
		hear(t, n, other)
		if reads(t, n, value) {
			t.Errorf("%s was erased, and is shown", value)
		}
		// It stays so, and a person's decision does not bring it back.
		n.Close()
		if n = openDir(t, dir, true); reads(t, n, value) {
			t.Errorf("%s was erased, and is shown after another start", value)
		}
		n.Close()
	}
}

func feedsOf(t testing.TB, n *Node) map[protocol.FeedID]uint64 {
	t.Helper()
	out := map[protocol.FeedID]uint64{}
	if err := n.st.View(func(tx *store.Tx) error {
		return tx.Feeds(func(f *store.Feed) error { out[f.ID] = f.Seq; return nil })
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestI5JournalBesideARestore: the journal of the lost node, where it stayed, ends the wait; one
// that may be older than the backup, or was moved, is applied and ends nothing; another node's is
// refused.
func TestI5JournalBesideARestore(t *testing.T) {
	t.Parallel()
	ident, err := NewIdentity(InitRequest{Name: "Author", Kind: protocol.KindVendor})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "data")
	n := diskNode(t, dir, ident)
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	publishList(t, n, "198.51.100.1\n198.51.100.2\n", green)
	run(t, "cp", "-a", dir+".anchor", filepath.Join(root, "older.anchor"))
	publishList(t, n, "198.51.100.3\n", green)
	key := newOffline(t)
	data := backupOf(t, n, key)
	eraseValue(t, n, "198.51.100.1")
	n.Close()
	run(t, "rm", "-r", dir)

	// Moved away with its machine, as a copy: applied, and not known to be complete.
	elsewhere := filepath.Join(root, "elsewhere")
	run(t, "cp", "-a", dir+".anchor", elsewhere+".anchor")
	m, out := restoreInto(t, elsewhere, data, key)
	if out.Journal || m.usable() == nil {
		t.Errorf("a journal that was copied counts as complete: %v", out.Journal)
	}
	m.Close()
	if m = openDir(t, elsewhere, true); reads(t, m, "198.51.100.1") || !reads(t, m, "198.51.100.2") {
		t.Error("the journal was not applied")
	}
	f := feedsOf(t, m)
	m.Close()

	// An anchor whose marks are behind the backup.
	run(t, "mv", dir+".anchor", filepath.Join(root, "good.anchor"))
	a, err := anchor.Open(dir+".anchor", n.ID())
	if err != nil {
		t.Fatal(err)
	}
	for feed, seq := range f {
		if seq > 1 {
			if err := errors.Join(a.Begin(), a.BeginJournal(), a.Set(anchor.Mark{Feed: feed, Seq: seq - 1})); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.Close()
	m, out = restoreInto(t, dir, data, key)
	if out.Journal || m.usable() == nil {
		t.Error("a journal that is older than the backup counts as complete")
	}
	m.Close()
	run(t, "rm", "-r", dir)

	// The first restore made the anchor its own: whose journal that is, a person has to say.
	_, err = Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: dir, Identities: key.ids})
	if err == nil || !strings.Contains(err.Error(), "belongs to another node than the one that was backed up") {
		t.Errorf("another node's anchor: %v", err)
	}
	run(t, "rm", "-r", dir+".anchor", dir)

	// The one that stayed.
	run(t, "mv", filepath.Join(root, "good.anchor"), dir+".anchor")
	m, out = restoreInto(t, dir, data, key)
	if !out.Journal || m.usable() != nil {
		t.Fatalf("the journal that stayed does not end the wait: %v, %v", out.Journal, m.usable())
	}
	if reads(t, m, "198.51.100.1") || !reads(t, m, "198.51.100.2") || !reads(t, m, "198.51.100.3") {
		t.Error("the journal was not applied, or too much of it")
	}
}

// TestI5CrashDoesNotEndTheWait: a restored node that waits to hear of erasures goes on waiting
// after a crash between anchor and store, although the journal that it began stands beside it.
func TestI5CrashDoesNotEndTheWait(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	publishList(t, nodes[0], "198.51.100.1\n", green)
	key := newOffline(t)
	dir := filepath.Join(t.TempDir(), "d")
	n, _ := restoreInto(t, dir, backupOf(t, nodes[0], key), key)
	publishList(t, n, "198.51.100.2\n", green)
	f := ownTopic(t, n)
	if err := n.setAnchor(&store.Feed{ID: f.ID, Seq: f.Seq + 1, Hash: protocol.Hash{1}}); err != nil {
		t.Fatal(err)
	}
	n.Close()
	n = openDir(t, dir, false)
	if ownTopic(t, n).ID == f.ID {
		t.Fatal("the crash did not close the feed")
	}
	if n.usable() == nil {
		t.Error("the crash ended the wait for erasures")
	}
}

// TestI7RestoredNodeNeverForks: a restored node appends to feeds of its own only, even where the
// lost one comes back and both go on.
func TestI7RestoredNodeNeverForks(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader, relay := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n", green)
	key := newOffline(t)
	data := backupOf(t, author, key)
	publishList(t, author, "198.51.100.2\n", green) // acknowledged, and not in the backup
	syncBoth(t, nodes...)
	old := ownTopic(t, author)
	first, out := restoreInto(t, filepath.Join(t.TempDir(), "a"), data, key)
	second, _ := restoreInto(t, filepath.Join(t.TempDir(), "b"), data, key)
	if !out.Enrolled || first.OwnCard().Order == second.OwnCard().Order {
		t.Fatalf("two restores of one backup made cards of order %v and %v", first.OwnCard().Order, second.OwnCard().Order)
	}
	shareSets(t, first, reader, relay)
	hear(t, first, reader, relay)
	publishList(t, first, "198.51.100.3\n", green)
	publishList(t, author, "198.51.100.4\n", green) // the lost node was not lost
	all := []*Node{author, reader, relay, first}
	syncBoth(t, all...)
	if f := ownTopic(t, first); f.ID == old.ID || f.Origin.Signing == old.Origin.Signing {
		t.Error("the restored node appends to the lost one's feed")
	}
	for _, n := range all {
		if forks := n.evidence.allForks(); len(forks) > 0 {
			t.Errorf("%s knows of %d forks", n.OwnCard().Inception.Name, len(forks))
		}
	}
	for _, value := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"} {
		if !reads(t, reader, value) || !reads(t, first, value) {
			t.Errorf("%s is read by the reader: %v, by the restored node: %v", value, reads(t, reader, value), reads(t, first, value))
		}
	}
}

// TestRestoredNodeSpeaksForTheLostOne: it withdraws and erases what the lost node published,
// before the backup and after it, for everybody who has it; and retention goes on.
func TestRestoredNodeSpeaksForTheLostOne(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader, relay := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	publishList(t, author, "198.51.100.1\n198.51.100.2\n198.51.100.3\n", green)
	key := newOffline(t)
	data := backupOf(t, author, key)
	publishList(t, author, "198.51.100.4\n198.51.100.5\n198.51.100.6\n", green)
	publishList(t, author, "198.51.100.7\n", green)
	eraseValue(t, author, "198.51.100.3") // its survivors stand in an entry that the backup does not have
	syncBoth(t, nodes...)
	n, _ := restoreInto(t, filepath.Join(t.TempDir(), "d"), data, key)
	shareSets(t, n, reader, relay)
	hear(t, n, reader, relay)
	if reads(t, n, "198.51.100.3") || !reads(t, n, "198.51.100.6") {
		t.Fatal("the restored node did not catch up")
	}
	for _, value := range []string{"198.51.100.1", "198.51.100.4"} {
		rep, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, n, value)}, Reason: protocol.EraseRequest})
		if err != nil || rep.Signed != 1 || rep.Local != 0 || len(rep.Told) != 1 {
			t.Fatalf("erasing %s: %+v, %v", value, rep, err)
		}
	}
	for _, value := range []string{"198.51.100.2", "198.51.100.5"} {
		if err := n.Withdraw(context.Background(), []protocol.RecordID{recordOf(t, n, value)}, "wrong"); err != nil {
			t.Fatal(err)
		}
	}
	syncBoth(t, reader, relay, n)
	for _, at := range []*Node{reader, n} {
		for value, want := range map[string]bool{"198.51.100.1": false, "198.51.100.2": false, "198.51.100.4": false, "198.51.100.5": false, "198.51.100.6": true} {
			if reads(t, at, value) != want {
				t.Errorf("%s at %s: %v", value, at.OwnCard().Inception.Name, !want)
			}
		}
		for _, value := range []string{"198.51.100.2", "198.51.100.5"} {
			if recs, _, err := at.Search(Query{Value: value, Withdrawn: true}); err != nil || len(recs) != 1 || !recs[0].Withdrawn {
				t.Errorf("%s is not there as withdrawn: %d, %v", value, len(recs), err)
			}
		}
	}
	x, err := n.Explain(recordOf(t, n, "198.51.100.6"), nil)
	if err != nil || !x.Own || len(x.Readers) != 1 || x.Readers[0].Org.Name != "Reader" {
		t.Errorf("a record of the lost node is explained as %+v, %v", x, err)
	}
	// Without the operational key it may not: the record is erased here only. What it sealed anew
	// itself it may.
	n.keys.Op = nil
	if rep, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, n, "198.51.100.6")}, Reason: protocol.EraseRequest}); err != nil || rep.Signed != 1 || rep.Siblings != 0 {
		t.Errorf("without the operational key, what it sealed anew: %+v, %v", rep, err)
	}
	if rep, err := n.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{recordOf(t, n, "198.51.100.7")}, Reason: protocol.EraseRequest}); err != nil || rep.Signed != 0 || rep.Siblings != 1 {
		t.Errorf("without the operational key: %+v, %v", rep, err)
	}
}

func TestRetentionGoesOnAfterARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Reader", "Relay")
		author, relay := nodes[0], nodes[2]
		publishList(t, author, "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen, RetentionDays: 3})
		syncBoth(t, nodes...)
		key := newOffline(t)
		data := backupOf(t, author, key)
		f := ownTopic(t, author)
		n := inMemory(t, data, key)
		shareSets(t, n, nodes[1], relay)
		time.Sleep(4 * 24 * time.Hour)
		if err := n.expire(); err != nil {
			t.Fatal(err)
		}
		syncBoth(t, n, relay)
		if err := relay.st.View(func(tx *store.Tx) error {
			tomb, err := tx.Erased(f.ID, f.Seq)
			if err == nil && tomb == nil {
				t.Error("nobody erased for the lost node what is past its retention")
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// inMemory restores into a node in memory, for tests in virtual time.
func inMemory(t testing.TB, data []byte, key offline) *Node {
	t.Helper()
	b, err := openBackup(context.Background(), bytes.NewReader(data), key.ids)
	if err != nil {
		t.Fatal(err)
	}
	id, err := crypto.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	k := &Keys{Org: b.manifest.Org, Host: crypto.GenerateNode(), Signing: crypto.GenerateSigning(), Identities: []*crypto.Identity{id}}
	n, err := Open(Config{Keys: k})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	r := &restorer{st: n.st, index: n.index}
	if err := errors.Join(b.read(r), r.flush()); err != nil {
		t.Fatal(err)
	}
	k.Op = *b.op
	signed, _, err := enrol(b.cards[k.Org], *b.op, entryOf(t, k))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.putOwnCard(&signed); err != nil {
		t.Fatal(err)
	}
	return n
}

func entryOf(t testing.TB, k *Keys) protocol.NodeEntry {
	t.Helper()
	r, err := k.request(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.Entry
}

// TestI1RestoredNodeReadsWhatCameBetween: a restored node reads what came to its organisation
// after the backup, also under keys that were given to the lost node only and are not used any
// more.
func TestI1RestoredNodeReadsWhatCameBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := testNetwork(t, "Author", "Reader")
		author, reader := nodes[0], nodes[1]
		agree(t, author, reader, protocol.TLPGreen, "*")
		key := newOffline(t)
		data := backupOf(t, reader, key)
		for i := range 2 { // each in an epoch of its own
			time.Sleep(time.Duration(i) * protocol.MaxEpochAge * time.Millisecond)
			publishList(t, author, fmt.Sprintf("198.51.100.%d\n", i), green)
			if err := errors.Join(author.renewCard(func(*protocol.Card) bool { return true }), reader.renewCard(func(*protocol.Card) bool { return true })); err != nil {
				t.Fatal(err)
			}
			shareSets(t, reader, author)
			syncBoth(t, nodes...)
		}
		if !reads(t, reader, "198.51.100.0") {
			t.Fatal("the node that is lost did not read it")
		}
		n := inMemory(t, data, key)
		shareSets(t, n, author)
		shareSets(t, author, n)
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		syncFrom(t, n, author)
		if reads(t, n, "198.51.100.0") {
			t.Fatal("it is read before anybody asked: this test shows nothing")
		}
		feed := ownTopic(t, author).ID
		if w := askKeysOf(t, author, n, feed); len(w) != 1 || w[0].Reason != protocol.WithheldSoon {
			t.Fatalf("asked for keys, the author says %+v", w)
		}
		if err := author.grantLate(); err != nil {
			t.Fatal(err)
		}
		syncFrom(t, n, author)
		for i := range 2 {
			if !reads(t, n, fmt.Sprintf("198.51.100.%d", i)) {
				t.Errorf("record %d is not read by the restored node", i)
			}
		}
		if w := askKeysOf(t, author, n, feed); len(w) != 0 {
			t.Errorf("in the end the author says %+v", w)
		}
	})
}
