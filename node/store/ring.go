package store

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// Everything that may have to be destroyed is stored wrapped, under a random key of its own.
// The keys stand outside of Badger, in small files that are written whole: what a log-
// structured store deletes lives on in its old tables for long, while a key is gone with the
// file that is put in the place of its old one. A file holds ringKeys keys, made ahead of
// their use, so that taking one costs no disk access.
//
// A file is: version (1 byte), nonce (24), XChaCha20-Poly1305 of ringKeys keys of 32 bytes;
// additional data "entente/block-keys/v1" || 0x00 || number of the file (8 bytes
// big-endian); key HKDF-SHA256(store key, "entente/block-keys/v1"). A key of zeros was
// destroyed.
//
// A wrapped value is: number of its key (8 bytes), nonce (24), XChaCha20-Poly1305 of the
// value with additional data what it is.
const (
	ringKeys    = 4096
	ringInfo    = "entente/block-keys/v1"
	ringVersion = 1
	// ringCached bounds the files in memory, 128 KiB each. Ten million records have 125; with fewer
	// in memory than a search may need, one search in two opened a file anew.
	ringCached = 512
	// wrapOverhead is by how much a wrapped value is longer.
	wrapOverhead = 8 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// ErrDestroyed is returned where a value was wrapped under a key that was destroyed.
var ErrDestroyed = errors.New("destroyed")

type ring struct {
	dir   string // empty: in memory
	fs    disk.Files
	aead  cipher.AEAD
	count int // keys in a file

	mu    sync.Mutex
	files map[uint64]*ringFile
	used  uint64 // clock of the cache
}

type ringFile struct {
	keys [][32]byte
	used uint64
}

// simulatedKeys is how many keys a file holds on a simulated disk, where what costs is the
// encryption.
const simulatedKeys = 64

func openRing(cfg Config) (*ring, error) {
	r := &ring{fs: disk.OS, count: ringKeys, files: map[uint64]*ringFile{}}
	if cfg.Disk != nil {
		r.fs, r.count = cfg.Disk, simulatedKeys
	}
	if cfg.Dir == "" {
		return r, nil
	}
	r.dir = filepath.Join(cfg.Dir, ringDir)
	if err := r.fs.MkdirAll(r.dir); err != nil {
		return nil, fmt.Errorf("making directory of block keys: %w", err)
	}
	k, err := hkdf.Key(sha256.New, cfg.Key[:], nil, ringInfo, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	r.aead, err = chacha20poly1305.NewX(k)
	return r, err
}

func (r *ring) path(file uint64) string { return filepath.Join(r.dir, fmt.Sprintf("%012d.keys", file)) }

func ringAD(file uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(ringInfo+"\x00"), file)
}

// file returns a file of keys. With make it is made, durably, if it is not there.
func (r *ring) file(n uint64, create bool) (*ringFile, error) {
	r.used++
	if f := r.files[n]; f != nil {
		f.used = r.used
		return f, nil
	}
	f := &ringFile{used: r.used}
	if r.dir != "" {
		b, err := r.fs.ReadFile(r.path(n))
		switch {
		case errors.Is(err, fs.ErrNotExist) && create:
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("block keys %s are missing; restore the store from a backup", r.path(n))
		case err != nil:
			return nil, fmt.Errorf("reading block keys: %w", err)
		default:
			if f.keys, err = r.openFile(n, b); err != nil {
				return nil, err
			}
		}
	} else if !create {
		return nil, fmt.Errorf("block keys %d are missing", n)
	}
	if f.keys == nil {
		count := r.count
		if r.dir == "" {
			count = 1 // grows by need; see key
		}
		f.keys = make([][32]byte, count)
		for i := range f.keys {
			rand.Read(f.keys[i][:])
		}
		if err := r.write(n, f); err != nil {
			return nil, err
		}
	}
	if len(r.files) >= ringCached && r.dir != "" {
		oldest, at := uint64(0), r.used+1
		for i, c := range r.files {
			if c.used < at {
				oldest, at = i, c.used
			}
		}
		delete(r.files, oldest)
	}
	r.files[n] = f
	return f, nil
}

func (r *ring) openFile(n uint64, b []byte) ([][32]byte, error) {
	if len(b) != 1+chacha20poly1305.NonceSizeX+r.count*32+chacha20poly1305.Overhead || b[0] != ringVersion {
		return nil, protocol.Errorf(protocol.ErrMalformed, "block keys %s have an unknown version or are damaged", r.path(n))
	}
	nonce, sealed := b[1:1+chacha20poly1305.NonceSizeX], b[1+chacha20poly1305.NonceSizeX:]
	plain, err := r.aead.Open(sealed[:0], nonce, sealed, ringAD(n))
	if err != nil {
		return nil, fmt.Errorf("block keys %s were written with another key, or are damaged; restore the store from a backup", r.path(n))
	}
	keys := make([][32]byte, r.count)
	for i := range keys {
		copy(keys[i][:], plain[i*32:])
	}
	clear(plain)
	return keys, nil
}

// write puts a file in the place of its old one, durably.
func (r *ring) write(n uint64, f *ringFile) error {
	if r.dir == "" {
		return nil
	}
	plain := make([]byte, 0, r.count*32)
	for i := range f.keys {
		plain = append(plain, f.keys[i][:]...)
	}
	b := make([]byte, 1+chacha20poly1305.NonceSizeX, 1+chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	b[0] = ringVersion
	rand.Read(b[1:])
	b = r.aead.Seal(b, b[1:1+chacha20poly1305.NonceSizeX], plain, ringAD(n))
	clear(plain)
	if err := disk.Replace(r.fs, r.path(n), b); err != nil {
		return fmt.Errorf("writing block keys: %w", err)
	}
	return nil
}

// key returns a key, ErrDestroyed if it was destroyed. With create it may be a new one.
func (r *ring) key(id uint64, create bool) (k [32]byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.file(id/uint64(r.count), create)
	if err != nil {
		return k, err
	}
	i := int(id % uint64(r.count))
	for r.dir == "" && create && len(f.keys) <= i {
		var fresh [32]byte
		rand.Read(fresh[:])
		f.keys = append(f.keys, fresh)
	}
	if i >= len(f.keys) || f.keys[i] == k {
		return k, ErrDestroyed
	}
	return f.keys[i], nil
}

// destroy destroys keys, durably. To destroy one again does nothing.
func (r *ring) destroy(ids []uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	byFile := map[uint64][]uint64{}
	for _, id := range ids {
		byFile[id/uint64(r.count)] = append(byFile[id/uint64(r.count)], id)
	}
	for n, list := range byFile {
		f, err := r.file(n, false)
		if err != nil {
			return err
		}
		old := slices.Clone(f.keys)
		changed := false
		for _, id := range list {
			if i := int(id % uint64(r.count)); i < len(f.keys) && f.keys[i] != [32]byte{} {
				f.keys[i] = [32]byte{}
				changed = true
			}
		}
		if !changed {
			continue
		}
		if err := r.write(n, f); err != nil {
			f.keys = old
			return err
		}
		clear(old)
	}
	return nil
}

func (r *ring) wrap(id uint64, key [32]byte, what, plain []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, err
	}
	out := make([]byte, 8+chacha20poly1305.NonceSizeX, len(plain)+wrapOverhead)
	binary.BigEndian.PutUint64(out, id)
	rand.Read(out[8:])
	return aead.Seal(out, out[8:8+chacha20poly1305.NonceSizeX], plain, what), nil
}

func (r *ring) unwrap(what, wrapped []byte) ([]byte, error) {
	if len(wrapped) < wrapOverhead {
		return nil, protocol.Errorf(protocol.ErrMalformed, "store is damaged: a wrapped value has %d bytes", len(wrapped))
	}
	key, err := r.key(wrapID(wrapped), false)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, wrapped[8:8+chacha20poly1305.NonceSizeX], wrapped[8+chacha20poly1305.NonceSizeX:], what)
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "store is damaged: a wrapped value does not open")
	}
	if plain == nil {
		plain = []byte{}
	}
	return plain, nil
}

func wrapID(wrapped []byte) uint64 { return binary.BigEndian.Uint64(wrapped) }

// Block-key numbers are given in a row; the next one stands in the store, and moves in the
// transaction that uses it. A key whose transaction was never written is used again.
var (
	nextKeyKey  = []byte{spaceRing, 'n'}
	doomedSpace = []byte{spaceRing, 'd'}
)

// Wrap encrypts value under a key of its own; what tells which value it is, for Unwrap.
func (tx *Tx) Wrap(what, value []byte) ([]byte, error) {
	if err := tx.writable(); err != nil {
		return nil, err
	}
	id := uint64(0)
	b, err := tx.get(nextKeyKey)
	if err != nil {
		return nil, err
	}
	if b != nil {
		if len(b) != 8 {
			return nil, protocol.Errorf(protocol.ErrMalformed, "store is damaged: the next block key")
		}
		id = binary.BigEndian.Uint64(b)
	}
	key, err := tx.ring.key(id, true)
	for ; errors.Is(err, ErrDestroyed); key, err = tx.ring.key(id, true) {
		id++ // the store is older than its keys
	}
	if err != nil {
		return nil, err
	}
	tx.set(nextKeyKey, binary.BigEndian.AppendUint64(nil, id+1))
	return tx.ring.wrap(id, key, what, value)
}

// Unwrap decrypts what Wrap made. It returns ErrDestroyed if its key was destroyed.
func (tx *Tx) Unwrap(what, wrapped []byte) ([]byte, error) { return tx.ring.unwrap(what, wrapped) }

// Destroy makes a wrapped value unreadable for ever, wherever copies of it are left, as soon
// as the transaction is written. If the process ends before it is done, Open does it.
func (tx *Tx) Destroy(wrapped []byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if len(wrapped) < wrapOverhead {
		return protocol.Errorf(protocol.ErrMalformed, "store is damaged: a wrapped value has %d bytes", len(wrapped))
	}
	tx.set(append(slices.Clone(doomedSpace), wrapped[:8]...), nil)
	tx.doomed = true
	return nil
}

// Retire is Destroy, but not before those who read an older state are done, and for many values
// at once, because each time costs syncing: as soon as something is destroyed, at the latest.
// It is for what was written anew elsewhere, and tells nothing that is to be gone now.
func (tx *Tx) Retire(wrapped []byte) error {
	doomed := tx.doomed
	err := tx.Destroy(wrapped)
	if tx.doomed = doomed; err == nil {
		tx.retired = append(tx.retired, wrapID(wrapped))
	}
	return err
}

// retired is what one transaction retired.
type retired struct {
	ids []uint64
	at  uint64 // number of the transaction
}

// written notes that a transaction was written, and returns the keys that are to be destroyed
// now because nobody reads what they belong to any more: many, or none.
func (s *Store) written(tx *Tx) (ids []uint64) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	s.commits++
	if len(tx.retired) > 0 {
		s.retired = append(s.retired, retired{tx.retired, s.commits})
	}
	n := 0
	for n < len(s.retired) && s.retired[n].at <= s.oldestView() {
		ids = append(ids, s.retired[n].ids...)
		n++
	}
	if len(ids) == 0 || len(ids) < s.ring.count/4 {
		return nil
	}
	s.retired = slices.Delete(s.retired, 0, n)
	return ids
}

// oldestView returns which was the last transaction before the View that began first.
func (s *Store) oldestView() uint64 {
	oldest := s.commits
	for at := range s.views {
		oldest = min(oldest, at)
	}
	return oldest
}

// shredAll destroys the keys that transactions gave up, those of values that were retired included.
// The caller holds the turn.
func (s *Store) shredAll() error {
	s.viewMu.Lock()
	s.retired = nil
	s.viewMu.Unlock()
	for {
		var ids []uint64
		err := s.View(func(tx *Tx) error {
			return tx.scan(doomedSpace, nil, false, func(k, _ []byte) (bool, error) {
				ids = append(ids, numberOf(k))
				return len(ids) < dropChunk, nil
			})
		})
		if err == nil {
			err = s.shred(ids)
		}
		if err != nil || len(ids) < dropChunk {
			return err
		}
	}
}

// shred destroys keys that transactions gave up.
func (s *Store) shred(ids []uint64) error {
	if len(ids) == 0 {
		return nil
	}
	if err := s.ring.destroy(ids); err != nil {
		return err
	}
	tx := &Tx{pending: map[byte]map[string][]byte{}}
	for _, id := range ids {
		tx.put(binary.BigEndian.AppendUint64(slices.Clone(doomedSpace), id), nil)
	}
	return s.db.write(tx)
}
