//go:build unix

package anchor

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/entente-mesh/entente/node/disk"
)

// lock takes a file for as long as it stays open.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err = disk.Lock(f); errors.Is(err, disk.ErrLocked) {
		err = fmt.Errorf("%w: 'entente up' is running on this data directory, or on a copy of it; talk to it, or stop it first", ErrInUse)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// inode returns the number of a directory in its file system.
func inode(dir string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// owned reports whether a directory is this user's.
func owned(dir string) bool {
	var st syscall.Stat_t
	return syscall.Stat(dir, &st) == nil && int(st.Uid) == os.Geteuid()
}
