//go:build !linux && !darwin

package disk

import "errors"

// Free returns how many bytes the file system of dir has left for who is not root.
func Free(string) (uint64, error) { return 0, errors.ErrUnsupported }
