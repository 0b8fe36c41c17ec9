package source

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
)

// drop is a folder under test, whose files are known once they were given.
type drop struct {
	t     *testing.T
	dir   string
	known map[node.KnownKey]bool
	f     folder
}

func newDrop(t *testing.T, move bool) *drop {
	d := &drop{t: t, dir: t.TempDir(), known: map[node.KnownKey]bool{}}
	d.f = folder{src: &node.Source{Where: d.dir, MaxBytes: 1 << 10, MoveDone: move}, known: func(k node.KnownKey) bool { return d.known[k] }, settle: time.Minute, memory: new(memory)}
	return d
}

// put writes a file that was last written so long ago.
func (d *drop) put(name, text string, ago time.Duration) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	if err := os.Chtimes(path, at, at); err != nil {
		d.t.Fatal(err)
	}
}

// pull returns what is given: names, and why they cannot be taken.
func (d *drop) pull() (out []string) {
	d.t.Helper()
	d.f.again = 0
	err := d.f.Pull(context.Background(), nil, func(doc *Document) error {
		text := doc.Where + "=" + string(doc.Bytes)
		if doc.Reason != "" {
			text = doc.Where + ": " + doc.Reason
		}
		out = append(out, text)
		d.known[doc.Key] = true
		return doc.Finish(doc.Bytes != nil)
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

func (d *drop) want(what string, want ...string) {
	d.t.Helper()
	if got := d.pull(); !slices.Equal(got, want) {
		d.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestFolderTakesWholeFilesOnce(t *testing.T) {
	d := newDrop(t, false)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.put("b", "two", time.Hour)
	d.put("a", "one", time.Hour)
	d.put("young", "half", time.Second)
	d.put(".hidden", "x", time.Hour)
	d.put("c.part", "x", time.Hour)
	d.put("c.tmp", "x", time.Hour)
	if err := os.Symlink(outside, filepath.Join(d.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(d.dir, "inner")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(d.dir, "folder", "deeper"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.want("at first", "a=one", "b=two")
	if a := d.f.Again(); a <= 50*time.Second || a > time.Minute {
		t.Errorf("a file is young, and is looked at again after %s", a)
	}
	d.want("again")
	d.put("young", "half and half", time.Hour)
	d.want("once it is whole", "young=half and half")
	if err := os.Rename(filepath.Join(d.dir, "a"), filepath.Join(d.dir, "z")); err != nil {
		t.Fatal(err)
	}
	d.want("renamed")
	d.f.memory = new(memory)
	d.want("after a restart")
	d.put("b", "two more", time.Hour)
	d.want("changed", "b=two more")
	d.put("large", string(make([]byte, 2<<10)), time.Hour)
	d.want("too large", "large: the file has 2048 bytes, and the source takes 1024")
	d.want("too large again")
	d.put("empty", "", time.Hour)
	d.want("empty", "empty=")
}

// TestFolderWaitsForWhoWrites: a file that somebody has open for writing is not whole, however long ago they
// wrote.
func TestFolderWaitsForWhoWrites(t *testing.T) {
	d := newDrop(t, false)
	d.put("slow", "198.51.100.1", time.Hour)
	w, err := os.OpenFile(filepath.Join(d.dir, "slow"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(filepath.Join(d.dir, "slow"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !written(r) {
		w.Close()
		t.Skip("this system does not tell who has a file open for writing")
	}
	d.want("while it is written to")
	if d.f.Again() == 0 {
		t.Error("nobody looks again")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d.want("once it is closed", "slow=198.51.100.1")
}

// TestFolderFromTheFuture: clocks differ, and a file from the future is taken once it stayed as it is.
func TestFolderFromTheFuture(t *testing.T) {
	d := newDrop(t, false)
	d.put("f", "one", -time.Hour)
	d.want("at first")
	d.f.memory.mu.Lock()
	s := d.f.memory.files["f"]
	s.seen = time.Now().Add(-time.Hour)
	d.f.memory.files["f"] = s
	d.f.memory.mu.Unlock()
	d.want("once it stayed", "f=one")
}

func TestFolderMovesWhatIsDone(t *testing.T) {
	d := newDrop(t, true)
	d.put("a.txt", "one", time.Hour)
	d.put("large", string(make([]byte, 2<<10)), time.Hour)
	d.want("at first", "a.txt=one", "large: the file has 2048 bytes, and the source takes 1024")
	d.put("a.txt", "two", time.Hour)
	d.want("another of its name", "a.txt=two")
	// A crash between the commit and the move: the file is known, and is moved all the same.
	d.put("b.txt", "two", time.Hour)
	d.want("known already", "b.txt=two")
	for name, text := range map[string]string{"done/a.txt": "one", "done/a-1.txt": "two", "done/b.txt": "two"} {
		if b, err := os.ReadFile(filepath.Join(d.dir, name)); err != nil || string(b) != text {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(d.dir, "large")); err != nil {
		t.Errorf("what is nowhere else was moved: %v", err)
	}
}
