//go:build unix

package node

import (
	"errors"
	"fmt"
	"os"

	"github.com/entente-mesh/entente/node/disk"
)

// lockDir takes a directory for as long as what it returns stays open.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err = disk.Lock(f); errors.Is(err, disk.ErrLocked) {
		err = fmt.Errorf("another restore into %s is running; wait until it has finished", dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
