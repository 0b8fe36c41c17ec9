package store

import (
	"errors"
	"fmt"
)

// Reserve is how many bytes have to be free on the disk of a store for it to be opened, written or
// closed: one memtable as a table, 64 MiB, and as much for a transaction, its log and the next one.
//
// Badger writes to mapped files that have no blocks yet. Where the disk has none left for a page, the
// kernel ends the process with SIGBUS, which nothing can catch; no call returns an error before.
const Reserve = 128 << 20

// ErrNoSpace is returned where the disk of a store has less than Reserve left. Nothing was written.
var ErrNoSpace = errors.New("the disk is full")

// haveRoom returns ErrNoSpace if there is too little room in dir to go on. Where the system does not
// say how much there is, there is enough.
func haveRoom(dir string, free func(dir string) (uint64, error)) error {
	if dir == "" {
		return nil
	}
	if left, err := free(dir); err == nil && left < Reserve {
		return fmt.Errorf("%w: %d MiB are left for %s, and the store needs %d MiB to work; make room", ErrNoSpace, left>>20, dir, Reserve>>20)
	}
	return nil
}
