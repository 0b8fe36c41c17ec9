package anchor

import "syscall"

// birth returns when a directory was made, in Unix nanoseconds; 0: its file system does not say.
func birth(dir string) int64 {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return 0
	}
	return st.Birthtimespec.Nano()
}
