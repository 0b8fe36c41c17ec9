package store

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entente-mesh/entente/node/disk"
)

// engine is what keeps the keys: Badger on a disk, or a table in memory.
type engine interface {
	// view runs fn on one state.
	view(fn func(r state) error) error
	// write changes keys, by bucket: all or nothing, durably. A nil value deletes.
	write(tx *Tx) error
	size() int64
	compact() error
	close() error // again: nothing
}

// state is what an engine holds at one moment.
type state interface {
	// get returns the value of a key, nil if there is none. It is the caller's.
	get(key []byte) ([]byte, error)
	// seek returns a cursor at the first key from start on that has prefix, or in reverse at
	// the last one up to start. There, and after each next, prefix holds or the cursor ends.
	seek(prefix, start []byte, reverse bool) cursor
}

type cursor interface {
	valid() bool
	key() []byte
	value(fn func(v []byte) error) error
	next()
	close()
}

type badgerEngine struct{ db *badger.DB }

func (e badgerEngine) view(fn func(state) error) error {
	return e.db.View(func(t *badger.Txn) error { return fn(badgerState{t}) })
}

func (e badgerEngine) write(tx *Tx) error {
	t := e.db.NewTransaction(true)
	defer t.Discard()
	for _, bucket := range tx.pending {
		for k, v := range bucket {
			var err error
			if v == nil {
				err = t.Delete([]byte(k))
			} else {
				err = t.Set([]byte(k), v)
			}
			if errors.Is(err, badger.ErrTxnTooBig) {
				return tx.tooBig()
			}
			if err != nil {
				return fmt.Errorf("writing transaction: %w", err)
			}
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("committing transaction: %w", err)
	}
	return nil
}

func (e badgerEngine) size() int64 {
	var n int64
	for _, t := range e.db.Tables() {
		n += int64(t.OnDiskSize)
	}
	return n
}

func (e badgerEngine) compact() error { return e.db.Flatten(2) }

func (e badgerEngine) close() error {
	if e.db.IsClosed() {
		return nil
	}
	return e.db.Close()
}

type badgerState struct{ t *badger.Txn }

func (s badgerState) get(key []byte) ([]byte, error) {
	it, err := s.t.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := it.ValueCopy(nil)
	if err == nil && v == nil {
		v = []byte{} // there, and empty
	}
	return v, err
}

func (s badgerState) seek(prefix, start []byte, reverse bool) cursor {
	o := badger.IteratorOptions{Reverse: reverse, Prefix: prefix}
	if reverse {
		o.Prefix = nil // the search begins at a key outside of prefix
	}
	c := badgerCursor{s.t.NewIterator(o), prefix}
	c.it.Seek(start)
	if reverse && c.it.Valid() && !c.valid() {
		c.it.Next() // it stood at the first key after those with prefix
	}
	return c
}

type badgerCursor struct {
	it     *badger.Iterator
	prefix []byte
}

func (c badgerCursor) valid() bool                         { return c.it.ValidForPrefix(c.prefix) }
func (c badgerCursor) key() []byte                         { return c.it.Item().Key() }
func (c badgerCursor) value(fn func(v []byte) error) error { return c.it.Item().Value(fn) }
func (c badgerCursor) next()                               { c.it.Next() }
func (c badgerCursor) close()                              { c.it.Close() }

// memoryEngine keeps the keys in a table of a Disk. It takes as much in one transaction as
// Badger does, so that what works in a simulation works on a disk.
type memoryEngine struct {
	disk *disk.Disk
	name string
}

const (
	maxTxKeys  = 100_000
	maxTxBytes = 64 << 20 * 15 / 100
)

func (e memoryEngine) view(fn func(state) error) error {
	return fn(memoryState(e.disk.Table(e.name)))
}

func (e memoryEngine) write(tx *Tx) error {
	keys, size := tx.changes(), 0
	for _, bucket := range tx.pending {
		for k, v := range bucket {
			size += len(k) + len(v) + 2
		}
	}
	if keys > maxTxKeys || size >= maxTxBytes {
		return tx.tooBig()
	}
	if keys == 0 {
		return nil
	}
	e.disk.Commit(e.name, func(set func(string, []byte)) {
		for _, bucket := range tx.pending {
			for k, v := range bucket {
				set(k, v)
			}
		}
	})
	return nil
}

func (e memoryEngine) size() int64    { return e.disk.Table(e.name).Bytes() }
func (e memoryEngine) compact() error { return nil }
func (e memoryEngine) close() error   { return nil }

type memoryState disk.Snapshot

func (s memoryState) get(key []byte) ([]byte, error) {
	v, ok := disk.Snapshot(s).Get(key)
	if !ok {
		return nil, nil
	}
	return append([]byte{}, v...), nil
}

func (s memoryState) seek(prefix, start []byte, reverse bool) cursor {
	c := memoryCursor{disk.Snapshot(s).Seek(start, reverse), string(prefix)}
	if reverse && c.c.Valid() && !c.valid() {
		c.next() // it stood at the first key after those with prefix
	}
	return c
}

type memoryCursor struct {
	c      *disk.Cursor
	prefix string
}

func (c memoryCursor) valid() bool {
	return c.c.Valid() && len(c.c.Key()) >= len(c.prefix) && c.c.Key()[:len(c.prefix)] == c.prefix
}

func (c memoryCursor) key() []byte                         { return []byte(c.c.Key()) }
func (c memoryCursor) value(fn func(v []byte) error) error { return fn(c.c.Value()) }
func (c memoryCursor) next()                               { c.c.Next() }
func (c memoryCursor) close()                              {}
