package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestMediumThatIsFull: a share that does not fit leaves nothing on its medium, which then takes one that does.
func TestMediumThatIsFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4096"); err != nil {
		t.Skipf("only who may mount has a medium that is full: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "root-set-0-share-1.txt")
	if err := writeNew(path, bytes.Repeat([]byte("k"), 3*os.Getpagesize())); err == nil {
		t.Fatal("a medium of one page took three")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a part of a share stays")
	}
	if err := (&shareSet{}).vacant(dir); err != nil {
		t.Error(err)
	}
	if err := writeNew(path, []byte("key")); err != nil {
		t.Error(err)
	}
}
