package anchor

import "golang.org/x/sys/unix"

// bornOnce are the file systems of which it is known that a directory's birth time stays what it is. Others may
// answer with another each time (networks, FUSE), which would close the node's feeds at each start.
var bornOnce = map[uint32]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.TMPFS_MAGIC: true, 0x2fc12fc1: true, // the last is ZFS
}

// birth returns when a directory was made, in Unix nanoseconds; 0: its file system does not say.
func birth(dir string) int64 {
	var fs unix.Statfs_t
	var st unix.Statx_t
	if err := unix.Statfs(dir, &fs); err != nil || !bornOnce[uint32(fs.Type)] {
		return 0
	}
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}
