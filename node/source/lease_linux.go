package source

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openFlags keep an open from waiting for who writes to a pipe, and from following a link.
const openFlags = unix.O_NONBLOCK | unix.O_NOFOLLOW

// written reports whether somebody has a file open for writing: the kernel gives no lease for reading then
// (fcntl(2), F_SETLEASE). Where it gives none for other reasons, as on file systems of other machines, the
// answer is no, and that the file stayed as it is has to suffice.
func written(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	busy := false
	_ = raw.Control(func(fd uintptr) {
		_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
		if err == nil {
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
		}
		busy = errors.Is(err, unix.EAGAIN)
	})
	return busy
}
