package store

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// What a bare Badger does with the same objects, tuned as a store is, for measurements to compare
// with.

// RawObject is a key with its value.
type RawObject struct{ Key, Value []byte }

// rawKey encrypts what WriteRaw writes: a store is encrypted too.
var rawKey = [32]byte{1}

// WriteRaw opens a Badger in dir, which is made if it is not there, tuned as stores are
// (SyncWrites, encryption), and writes objects, each under its key, so many in a commit, by so many
// writers at a time. It returns how long writing took, until all of it was durable, and the tuning
// in words.
func WriteRaw(dir string, objects []RawObject, perCommit, writers int) (time.Duration, string, error) {
	opts := badgerOptions(Config{Dir: dir, Key: rawKey, Log: slog.New(slog.DiscardHandler)})
	db, err := badger.Open(opts)
	if err != nil {
		return 0, "", fmt.Errorf("opening a bare Badger: %w", err)
	}
	defer db.Close()
	parts := make(chan []RawObject)
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	begun := time.Now()
	for range writers {
		wg.Go(func() {
			for part := range parts {
				t := db.NewTransaction(true)
				var err error
				for i := 0; i < len(part) && err == nil; i++ {
					err = t.Set(part[i].Key, part[i].Value)
				}
				if err == nil {
					err = t.Commit()
				}
				t.Discard()
				if err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for at := 0; at < len(objects); at += perCommit {
		parts <- objects[at:min(at+perCommit, len(objects))]
	}
	close(parts)
	wg.Wait()
	took := time.Since(begun)
	select {
	case err := <-errs:
		return 0, "", fmt.Errorf("writing to a bare Badger: %w", err)
	default:
	}
	return took, fmt.Sprintf("SyncWrites, AES-256, memtables %d of %d MiB, block cache %d MiB, %d in a commit", opts.NumMemtables, opts.MemTableSize>>20, opts.BlockCacheSize>>20, perCommit), nil
}

// GetRaw reads keys from what WriteRaw wrote, and times each.
func GetRaw(dir string, keys [][]byte) ([]time.Duration, error) {
	db, err := badger.Open(badgerOptions(Config{Dir: dir, Key: rawKey, Log: slog.New(slog.DiscardHandler)}))
	if err != nil {
		return nil, fmt.Errorf("opening a bare Badger: %w", err)
	}
	defer db.Close()
	times := make([]time.Duration, len(keys))
	for i, k := range keys {
		at := time.Now()
		err := db.View(func(t *badger.Txn) error {
			item, err := t.Get(k)
			if err == nil {
				_, err = item.ValueCopy(nil)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading from a bare Badger: %w", err)
		}
		times[i] = time.Since(at)
	}
	return times, nil
}
