package stream

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsent returns how many bytes the other side has not confirmed (tcp(7), SIOCOUTQ).
func unsent(c *net.TCPConn) (left int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	if cerr != nil {
		err = cerr
	}
	return left, err
}
