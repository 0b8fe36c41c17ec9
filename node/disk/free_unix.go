//go:build linux || darwin

package disk

import "golang.org/x/sys/unix"

// Free returns how many bytes the file system of dir has left for who is not root.
func Free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
