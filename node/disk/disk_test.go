package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// crashes runs fn and reports whether the power was cut in it.
func crashes(fn func()) (cut bool) {
	defer func() {
		if r := recover(); r != nil {
			_, cut = r.(Crash)
			if !cut {
				panic(r)
			}
		}
	}()
	fn()
	return false
}

// TestTableIsAMap compares a table, its snapshots and cursors in both directions with a map.
func TestTableIsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	d := new(Disk)
	model := map[string]string{}
	for range 500 {
		before, was := d.Table("t"), maps.Clone(model)
		d.Commit("t", func(set func(string, []byte)) {
			for range r.IntN(5) {
				k := fmt.Sprint(r.IntN(60))
				if r.IntN(3) == 0 {
					delete(model, k)
					set(k, nil)
				} else {
					v := fmt.Sprint(r.IntN(1000))
					model[k] = v
					set(k, []byte(v))
				}
			}
		})
		from := fmt.Sprint(r.IntN(60))
		for _, s := range []struct {
			snap Snapshot
			want map[string]string
		}{{before, was}, {d.Table("t"), model}} {
			size := 0
			for k, v := range s.want {
				size += len(k) + len(v)
				if got, ok := s.snap.Get([]byte(k)); !ok || string(got) != v {
					t.Fatalf("%s is %q, want %q", k, got, v)
				}
			}
			if s.snap.Bytes() != int64(size) {
				t.Fatalf("table has %d bytes, want %d", s.snap.Bytes(), size)
			}
			for _, reverse := range []bool{false, true} {
				keys := slices.Sorted(maps.Keys(s.want))
				keys = slices.DeleteFunc(keys, func(k string) bool { return !reverse && k < from || reverse && k > from })
				if reverse {
					slices.Reverse(keys)
				}
				c := s.snap.Seek([]byte(from), reverse)
				for _, k := range keys {
					if !c.Valid() || c.Key() != k || string(c.Value()) != s.want[k] {
						t.Fatalf("cursor is not at %s", k)
					}
					c.Next()
				}
				if c.Valid() {
					t.Fatalf("cursor goes on to %s", c.Key())
				}
			}
		}
	}
}

// TestCommitIsAllOrNothing: cut at any step, a commit is there whole or not at all.
func TestCommitIsAllOrNothing(t *testing.T) {
	for n := 1; n <= 3; n++ {
		d := new(Disk)
		d.CutAfter(n)
		cut := crashes(func() {
			d.Commit("t", func(set func(string, []byte)) { set("a", []byte("1")); set("b", []byte("2")) })
		})
		d.Restart()
		_, a := d.Table("t").Get([]byte("a"))
		_, b := d.Table("t").Get([]byte("b"))
		if cut != (n < 3) || a != b || a != (n > 1) {
			t.Errorf("cut at step %d: crashed %v, a %v, b %v", n, cut, a, b)
		}
	}
}

// TestReplaceIsAllOrNothing: cut at any step of putting a file in the place of another, one
// of them is there, whole; the new one for certain when Replace returned.
func TestReplaceIsAllOrNothing(t *testing.T) {
	for n := 1; ; n++ {
		d := new(Disk)
		if err := Replace(d, "dir/f", []byte("old one")); err != nil {
			t.Fatal(err)
		}
		d.CutAfter(n)
		cut := crashes(func() {
			if err := Replace(d, "dir/f", []byte("the new one")); err != nil {
				t.Fatal(err)
			}
		})
		d.Restart()
		b, err := d.ReadFile("dir/f")
		if err != nil || string(b) != "old one" && string(b) != "the new one" || !cut && string(b) != "the new one" {
			t.Fatalf("cut at step %d: %q, %v", n, b, err)
		}
		if !cut {
			if n < 8 {
				t.Errorf("only %d steps", n)
			}
			return
		}
	}
}

// TestUnsyncedIsLost: what was written, made or renamed and not synced is lost.
func TestUnsyncedIsLost(t *testing.T) {
	d := new(Disk)
	write := func(name, text string, sync, dir bool) {
		f, err := d.Open(name, os.O_CREATE|os.O_WRONLY)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if sync {
			f.Sync()
		}
		if dir {
			d.SyncDir("dir")
		}
	}
	write("dir/a", "synced", true, true)
	write("dir/a", "SYNC", false, false)
	write("dir/b", "no name", true, false)
	d.Restart()
	if b, err := d.ReadFile("dir/a"); err != nil || string(b) != "synced" {
		t.Errorf("a is %q, %v", b, err)
	}
	if _, err := d.ReadFile("dir/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file whose name was not synced: %v", err)
	}
	if err := d.Rename("dir/a", "dir/c"); err != nil {
		t.Fatal(err)
	}
	d.Restart()
	if _, err := d.ReadFile("dir/a"); err != nil {
		t.Errorf("a renaming that was not synced stayed: %v", err)
	}
	d.Lazy = true
	d.Commit("t", func(set func(string, []byte)) { set("k", []byte("v")) })
	if err := Replace(d, "dir/a", []byte("newer")); err != nil {
		t.Fatal(err)
	}
	d.Restart()
	if b, _ := d.ReadFile("dir/a"); string(b) != "synced" {
		t.Errorf("a lazy disk kept %q", b)
	}
	if _, ok := d.Table("t").Get([]byte("k")); ok {
		t.Error("a lazy disk kept a commit")
	}
}

// TestRestore puts back one directory, and leaves what is beside it.
func TestRestore(t *testing.T) {
	d := new(Disk)
	put := func(v string) {
		for _, dir := range []string{"data", "data.anchor"} {
			d.Commit(dir+"/t", func(set func(string, []byte)) { set("k", []byte(v)) })
			if err := Replace(d, dir+"/f", []byte(v)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("1")
	b := d.Backup("data")
	put("2")
	for range 2 {
		d.Restore(b, "data")
		d.Restart()
		for dir, want := range map[string]string{"data": "1", "data.anchor": "2"} {
			v, _ := d.Table(dir + "/t").Get([]byte("k"))
			f, err := d.ReadFile(dir + "/f")
			if err != nil || string(v) != want || string(f) != want {
				t.Errorf("%s holds %q and %q, want %q (%v)", dir, v, f, want, err)
			}
		}
		put("2")
	}
}
