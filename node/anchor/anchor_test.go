package anchor

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

var me = protocol.NodeID{1}

func open(t *testing.T, dir string, want State) *Anchor {
	t.Helper()
	a, err := Open(dir, me)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if a.State() != want {
		t.Fatalf("state of the anchor is %v, want %v", a.State(), want)
	}
	return a
}

func TestMarksStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "anchor")
	a := open(t, dir, Missing)
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	feed := protocol.FeedID{5}
	if err := a.Set(Mark{Feed: feed, Seq: 7, Hash: protocol.Hash{1}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Set(Mark{Feed: feed, Seq: 6}); err == nil {
		t.Error("a mark went back")
	}
	if _, err := Open(dir, me); !errors.Is(err, ErrInUse) {
		t.Errorf("an anchor in use: %v", err)
	}
	a.Close()
	a = open(t, dir, Good)
	if m, ok := a.Mark(feed); !ok || m.Seq != 7 || m.Hash != (protocol.Hash{1}) {
		t.Errorf("mark is %+v, %v", m, ok)
	}
	if err := a.Forget(feed); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, ok := open(t, dir, Good).Mark(feed); ok {
		t.Error("a mark that was forgotten is there")
	}
}

func TestCopiesAreNoticed(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "anchor")
	a := open(t, dir, Missing)
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	a.Close()
	other, err := Open(dir, protocol.NodeID{2})
	if err != nil || other.State() != Foreign {
		t.Fatalf("another node's anchor: %v, %v", other.State(), err)
	}
	other.Close()
	// A copy elsewhere, and one that was restored in the same place.
	for _, args := range [][]string{{"cp", "-a", dir, filepath.Join(root, "copy")}, {"mv", dir, dir + ".old"}, {"cp", "-a", dir + ".old", dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	open(t, filepath.Join(root, "copy"), Foreign)
	open(t, dir, Foreign).Close()
	for _, later := range [][]byte{protocol.Encode(&marks{Version: 2}), {0x82, 0x18, 99, 0}} {
		if err := os.WriteFile(filepath.Join(dir, marksFile), later, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, me); !errors.Is(err, protocol.ErrLaterVersion) {
			t.Errorf("an anchor of a later version: %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, marksFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Missing)
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, Missing)
	if had, err := a.Erasures(func(*Erasure) error { return nil }); had || err != nil {
		t.Fatalf("a journal that is not there: %v, %v", had, err)
	}
	line := func(n byte) Erasure {
		return Erasure{Local: []LocalErase{{Records: []protocol.RecordID{{n}}, Reason: protocol.EraseLegal, At: uint64(n)}}}
	}
	count := func() (n int) {
		had, err := a.Erasures(func(e *Erasure) error {
			n++
			if e.Local[0].At != uint64(n) {
				t.Errorf("line %d says %+v", n, e)
			}
			return nil
		})
		if err != nil || !had {
			t.Fatal(had, err)
		}
		return n
	}
	if err := a.Append(line(1), line(2)); err != nil {
		t.Fatal(err)
	}
	a.Close()
	// A line that a crash cut off is not read, and what follows takes its place.
	f, err := os.OpenFile(filepath.Join(dir, journalFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte{0, 0, 0, 50, 1, 2, 3})
	f.Close()
	a = open(t, dir, Missing)
	if n := count(); n != 2 {
		t.Fatalf("%d lines", n)
	}
	if err := a.Append(line(3)); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 3 {
		t.Fatalf("%d lines", n)
	}
}

// TestPutBackUnderTheSameNumber: a file system gives the number of a directory that was removed to the next one; what is
// put back there was made later.
func TestPutBackUnderTheSameNumber(t *testing.T) {
	root := t.TempDir()
	dir, kept := filepath.Join(root, "anchor"), filepath.Join(root, "kept")
	a := open(t, dir, Missing)
	if birth(dir) == 0 {
		t.Skip("this file system does not say when a directory was made")
	}
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	a.Close()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", args, out)
		}
	}
	was, err := inode(dir)
	if err != nil {
		t.Fatal(err)
	}
	run("cp", "-a", dir, kept)
	same := false
	for range 20 {
		run("rm", "-r", dir)
		run("cp", "-a", kept, dir)
		is, err := inode(dir)
		if err != nil {
			t.Fatal(err)
		}
		same = same || is == was
		open(t, dir, Foreign).Close()
	}
	t.Logf("it got the same number: %v", same)

	// Where an earlier version did not note it, or the file system does not say it any more, the number decides.
	a = open(t, dir, Foreign)
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	a.Close()
	made := filepath.Join(dir, madeFile)
	noted, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(made); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Good).Close()
	if again, err := os.ReadFile(made); err != nil || string(again) != string(noted) {
		t.Errorf("noted is %q, %v; want %q", again, err, noted)
	}
	place, err := placeOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := loadBorn(&Anchor{dir: dir, fs: disk.OS, lock: io.NopCloser(nil)}, me, place); err != nil || a.State() != Good {
		t.Errorf("not known any more: %v, %v", a.State(), err)
	}
	// Of this place, it counts; of another it is what an earlier version left when the anchor moved.
	for said, want := range map[string]State{place.String() + " 1": Foreign, place.String() + " ": Foreign, string(noted) + "0": Foreign, string(noted) + "\n": Foreign,
		place.String() + " 0": Good, protocol.Hash{9}.String() + " 1": Good, "": Good, "1": Good} {
		if err := os.WriteFile(made, []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir, want).Close()
		if again, err := os.ReadFile(made); err != nil || want == Good && string(again) != string(noted) {
			t.Errorf("after %q noted is %q, %v", said, again, err)
		}
	}
	// Where it was known once and is not, nothing stays that could be compared with later.
	a, err = loadBorn(&Anchor{dir: dir, fs: disk.OS, lock: io.NopCloser(nil)}, protocol.NodeID{7}, place)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(made); err != nil || string(again) != place.String()+" 0" {
		t.Errorf("noted is %q, %v", again, err)
	}
}

// TestTakeBack: marks of an append that was refused go back to where they were.
func TestTakeBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "anchor")
	a := open(t, dir, Missing)
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	old, fresh := protocol.FeedID{1}, protocol.FeedID{2}
	if err := a.Set(Mark{Feed: old, Seq: 3, Hash: protocol.Hash{3}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Set(Mark{Feed: old, Seq: 5, Hash: protocol.Hash{5}}, Mark{Feed: fresh, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := a.TakeBack(Mark{Feed: old, Seq: 3, Hash: protocol.Hash{3}}, Mark{Feed: fresh}); err != nil {
		t.Fatal(err)
	}
	a.Close()
	a = open(t, dir, Good)
	if m, ok := a.Mark(old); !ok || m.Seq != 3 || m.Hash != (protocol.Hash{3}) {
		t.Errorf("%+v %v", m, ok)
	}
	if m, ok := a.Mark(fresh); ok {
		t.Errorf("%+v", m)
	}
}
