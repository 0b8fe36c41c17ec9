package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// The spaces of keys; see the package comment.
const (
	spaceFeed   = 'f'
	spaceEntry  = 'e'
	spaceStaged = 'g'
	spaceState  = 't'
	spaceIndex  = 'i'
	spaceEpoch  = 'p'
	spaceTomb   = 'x'
	spaceLack   = 'm'
	spaceRing   = 'k'
	spaceUser   = 'u'
)

const (
	// MaxKey bounds a key of Set, in bytes.
	MaxKey = 32 << 10
	// MaxValue bounds a value of Set, in bytes: what Badger keeps out of its value log.
	MaxValue = 1<<20 - 1<<10
)

var errReadOnly = errors.New("writing in a View; use Update")

// Tx is one transaction. It belongs to the goroutine that runs it, and ends with it.
type Tx struct {
	read    state
	ring    *ring
	doomed  bool     // keys were given up
	retired []uint64 // keys that may be given up later
	// pending holds what was written: by space and, for keys of users, by first letter, so
	// that a Scan looks at few of them. A nil value is a deletion. nil in a View.
	pending map[byte]map[string][]byte
}

// bucket tells which part of pending a key belongs to.
func bucket(key []byte) byte {
	if key[0] == spaceUser && len(key) > 1 {
		return key[1]
	}
	return key[0]
}

func (tx *Tx) changes() (n int) {
	for _, b := range tx.pending {
		n += len(b)
	}
	return n
}

func (tx *Tx) get(key []byte) ([]byte, error) {
	if v, ok := tx.pending[bucket(key)][string(key)]; ok {
		return bytes.Clone(v), nil
	}
	v, err := tx.read.get(key)
	if err != nil {
		return nil, fmt.Errorf("reading store: %w", err)
	}
	return v, nil
}

// set keeps key and value.
func (tx *Tx) set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	tx.put(key, value)
}

func (tx *Tx) put(key, value []byte) {
	b := bucket(key)
	if tx.pending[b] == nil {
		tx.pending[b] = map[string][]byte{}
	}
	tx.pending[b][string(key)] = value
}

func (tx *Tx) writable() error {
	if tx.pending == nil {
		return errReadOnly
	}
	return nil
}

// Get returns the value of key, nil if there is none. The slice is the caller's.
func (tx *Tx) Get(key []byte) ([]byte, error) { return tx.get(userKey(key)) }

// Set sets the value of key. Neither slice is kept.
func (tx *Tx) Set(key, value []byte) error {
	switch {
	case tx.pending == nil:
		return errReadOnly
	case len(key) == 0 || len(key) > MaxKey:
		return protocol.Errorf(protocol.ErrOversize, "key has %d bytes, 1 to %d are allowed", len(key), MaxKey)
	case len(value) > MaxValue:
		return protocol.Errorf(protocol.ErrOversize, "value has %d bytes, at most %d", len(value), MaxValue)
	}
	tx.set(userKey(key), bytes.Clone(value))
	return nil
}

// Delete removes key; that there is none is no error.
func (tx *Tx) Delete(key []byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	tx.put(userKey(key), nil)
	return nil
}

// Scan calls fn with every key that has prefix, in the order of bytes or in reverse,
// beginning at from (nil: at the end where the order begins), until fn returns false or an
// error, which Scan returns. k and v are valid during the call only. What fn changes is
// not seen by the Scan that calls it; fn may scan.
func (tx *Tx) Scan(prefix, from []byte, reverse bool, fn func(k, v []byte) (more bool, err error)) error {
	if from != nil {
		from = userKey(from)
	}
	return tx.scan(userKey(prefix), from, reverse, func(k, v []byte) (bool, error) { return fn(k[1:], v) })
}

func userKey(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), spaceUser), key...)
}

func (tx *Tx) scan(prefix, from []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	written := tx.written(prefix, from, reverse)
	end := after(prefix)
	start := prefix
	switch {
	case !reverse && bytes.Compare(from, prefix) > 0, reverse && from != nil && bytes.Compare(from, end) < 0:
		start = from
	case reverse:
		start = end
	}
	it := tx.read.seek(prefix, start, reverse)
	defer it.close()
	for {
		stored := it.valid()
		if !stored && len(written) == 0 {
			return nil
		}
		order := -1 // which comes first: below zero what is stored
		if !stored {
			order = 1
		} else if len(written) > 0 {
			if order = strings.Compare(string(it.key()), written[0].key); reverse {
				order = -order
			}
		}
		var more bool
		var err error
		if order < 0 {
			if verr := it.value(func(v []byte) error { more, err = fn(it.key(), v); return nil }); verr != nil {
				return fmt.Errorf("reading store: %w", verr)
			}
		} else {
			w := written[0]
			written = written[1:]
			if more = true; w.value != nil {
				more, err = fn([]byte(w.key), w.value)
			}
		}
		if order <= 0 && stored {
			it.next()
		}
		if err != nil || !more {
			return err
		}
	}
}

// after returns the first key that comes after all keys with prefix. A prefix begins with
// one of the spaces, none of which is 0xff.
func after(prefix []byte) []byte {
	end := bytes.Clone(bytes.TrimRight(prefix, "\xff"))
	end[len(end)-1]++
	return end
}

type write struct {
	key   string
	value []byte
}

// written returns the pending writes that a scan has to go through, in its order.
func (tx *Tx) written(prefix, from []byte, reverse bool) (list []write) {
	add := func(bucket map[string][]byte) {
		for k, v := range bucket {
			if strings.HasPrefix(k, string(prefix)) &&
				(from == nil || !reverse && k >= string(from) || reverse && k <= string(from)) {
				list = append(list, write{k, v})
			}
		}
	}
	if prefix[0] == spaceUser && len(prefix) == 1 {
		for _, b := range tx.pending {
			add(b)
		}
	} else {
		add(tx.pending[bucket(prefix)])
	}
	slices.SortFunc(list, func(a, b write) int { return strings.Compare(a.key, b.key) })
	if reverse {
		slices.Reverse(list)
	}
	return list
}

func feedKey(space byte, feed protocol.FeedID) []byte {
	return append(append(make([]byte, 0, 48), space), feed[:]...)
}

func placeKey(space byte, feed protocol.FeedID, n uint64) []byte {
	return binary.BigEndian.AppendUint64(feedKey(space, feed), n)
}

// numberOf reads the number at the end of a key of our own.
func numberOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

const structVersion = 1

func (tx *Tx) setStruct(key []byte, v any) {
	tx.set(key, append([]byte{structVersion}, protocol.Encode(v)...))
}

// getStruct reads a structure; ok is false if there is none.
func (tx *Tx) getStruct(key []byte, v any) (ok bool, err error) {
	b, err := tx.get(key)
	if err != nil || b == nil {
		return false, err
	}
	return true, decodeStruct(b, v)
}

func decodeStruct(b []byte, v any) error {
	if len(b) == 0 || b[0] != structVersion {
		return protocol.Errorf(protocol.ErrMalformed, "stored value has an unknown version or is damaged")
	}
	if err := protocol.DecodeOwn(b[1:], v); err != nil {
		return fmt.Errorf("reading stored value: %w", err)
	}
	return nil
}
