//go:build unix

package disk

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// ErrLocked is returned by Lock where another process holds the file.
var ErrLocked = errors.New("held by another process")

// Lock takes an open file or directory for this process, until it is closed (flock(2)). It tries for a fifth of a
// second: a process that is about to be started holds the files of its parent for a moment, also those that
// were just closed.
func Lock(f *os.File) error {
	for tries := 0; ; tries++ {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return err
		case tries == 20:
			return ErrLocked
		}
		time.Sleep(10 * time.Millisecond)
	}
}
