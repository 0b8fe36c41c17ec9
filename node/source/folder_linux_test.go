package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestFolderGoesOnBehindUnreadable: a file that cannot be read is told, and keeps no other waiting.
func TestFolderGoesOnBehindUnreadable(t *testing.T) {
	d := newDrop(t, false)
	d.put("a", "one", time.Hour)
	d.put("b", "two", time.Hour)
	if err := os.Chmod(filepath.Join(d.dir, "a"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // who reads everything: be somebody else for a while, on this thread
		const nobody = 65534
		if err := errors.Join(os.Chmod(filepath.Dir(d.dir), 0o755), os.Chown(d.dir, nobody, nobody), os.Chown(filepath.Join(d.dir, "a"), nobody, nobody), os.Chown(filepath.Join(d.dir, "b"), nobody, nobody)); err != nil {
			t.Skip(err)
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Skip(err)
		}
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	var got []string
	err := d.f.Pull(context.Background(), nil, func(doc *Document) error { got = append(got, doc.Where); return nil })
	if !errors.Is(err, os.ErrPermission) || !slices.Equal(got, []string{"b"}) {
		t.Errorf("%q, %v", got, err)
	}
}
