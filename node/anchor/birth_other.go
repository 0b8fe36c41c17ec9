//go:build !linux

package anchor

// birth returns when a directory was made: what others say is not relied on: macOS lets it be set.
func birth(string) int64 { return 0 }
