package anchor

import "golang.org/x/sys/unix"

// birth returns when a directory was made, in Unix nanoseconds; 0: its file system does not say.
func birth(dir string) int64 {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}
