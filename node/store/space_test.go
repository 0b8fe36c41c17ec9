package store

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// filled makes the disk of a store look full after so many more looks at it.
func filled(s *Store, after int) {
	s.free = func(string) (uint64, error) {
		if after--; after < 0 {
			return Reserve - 1, nil
		}
		return Reserve, nil
	}
}

// TestDiskFull: without room nothing is written, mapped pages of the log least of all; reading goes on, and what was
// written before is there when there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	set := func(key string) error {
		return s.Update(func(tx *Tx) error { return tx.Set([]byte(key), []byte(key)) })
	}
	if err := set("before"); err != nil {
		t.Fatal(err)
	}
	filled(s, 0)
	called := false
	err := s.Update(func(*Tx) error { called = true; return nil })
	if !errors.Is(err, ErrNoSpace) || called || !strings.Contains(err.Error(), "127 MiB are left") {
		t.Errorf("writing to a full disk: %v, called: %v", err, called)
	}
	if err := s.Compact(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("compacting on a full disk: %v", err)
	}
	view(t, s, func(tx *Tx) error {
		if v, err := tx.Get([]byte("before")); string(v) != "before" || err != nil {
			t.Errorf("reading on a full disk: %q, %v", v, err)
		}
		return nil
	})
	if err := s.Close(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("closing on a full disk: %v", err)
	}
	s.free = func(string) (uint64, error) { return 0, errors.ErrUnsupported }
	closed(t, s) // a system that does not say how much is left
	s = open(t, dir)
	view(t, s, func(tx *Tx) error {
		if v, err := tx.Get([]byte("before")); string(v) != "before" || err != nil {
			t.Errorf("after the disk was full: %q, %v", v, err)
		}
		return nil
	})
}

// TestMigrateDiskFull: the disk is full before each step of a migration once. It goes on there, and does each step once.
func TestMigrateDiskFull(t *testing.T) {
	const documents = 170
	dir := aged(t, documents)
	for step := range 5 { // the beginning, and four parts of 50
		s, err := Open(Config{Dir: dir, Key: testKey, Older: true})
		if err != nil {
			t.Fatal(err)
		}
		filled(s, min(step, 1)) // each time one more step was done
		err = s.Migrate(context.Background(), Migrating{List: []Migration{countUp}})
		if !errors.Is(err, ErrNoSpace) {
			t.Fatalf("step %d on a full disk: %v", step, err)
		}
		if _, begun, older := s.Older(); !older || begun != (step > 0) {
			t.Errorf("step %d: older %v, begun %v", step, older, begun)
		}
		filled(s, 1)
		closed(t, s)
	}
	s, err := Open(Config{Dir: dir, Key: testKey, Older: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(context.Background(), Migrating{List: []Migration{countUp}}); err != nil {
		t.Fatal(err)
	}
	counted(t, s, documents)
}
