package store

import (
	"os"
	"path/filepath"
	"testing"
)

// TestKilledBeforeAFileHadASize: a process that is killed between making a file and giving it a size
// leaves a store that opens, with all that was in it.
func TestKilledBeforeAFileHadASize(t *testing.T) {
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		dir := t.TempDir()
		s, err := Open(Config{Dir: dir, Key: rawKey})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Update(func(tx *Tx) error { return tx.Set([]byte("k"), []byte("v")) }); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if s, err = Open(Config{Dir: dir, Key: rawKey}); err != nil {
				t.Fatalf("with an empty %s: %v", name, err)
			}
			if err := s.View(func(tx *Tx) error {
				v, err := tx.Get([]byte("k"))
				if string(v) != "v" {
					t.Errorf("with an empty %s the key holds %q", name, v)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := s.Update(func(tx *Tx) error { return tx.Set([]byte("w"), []byte("x")) }); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
