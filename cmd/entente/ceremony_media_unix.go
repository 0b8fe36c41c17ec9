//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// mediumOf names the medium that a directory is on: its device.
func mediumOf(dir string) (string, error) {
	info, err := directory(dir)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("device %d", st.Dev), nil
	}
	return dir, nil
}
