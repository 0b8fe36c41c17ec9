//go:build unix

package node

import (
	"os"
	"syscall"
)

// blocks returns the bytes of the blocks that a file has.
func blocks(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
