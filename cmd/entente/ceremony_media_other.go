//go:build !unix

package main

import "path/filepath"

// mediumOf names the medium that a directory is on: its volume.
func mediumOf(dir string) (string, error) {
	if _, err := directory(dir); err != nil {
		return "", err
	}
	abs, err := filepath.Abs(dir)
	return filepath.VolumeName(abs), err
}
