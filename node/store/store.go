package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/entente-mesh/entente/node/disk"
)

// ErrTooBig is returned by Update if a transaction holds more than can be written at once:
// about 9 MiB, or 100,000 keys. Nothing of it was written; write it in parts.
var ErrTooBig = errors.New("transaction is too big")

// Config says where and how a store keeps its data.
type Config struct {
	Dir  string       // made if it is not there; "": in memory, for simulation
	Key  [32]byte     // encrypts what is on disk; must be set if Dir is
	Disk *disk.Disk   // simulation only: Dir is on it, not on a disk of the machine
	Log  *slog.Logger // nil: silent
	// Older opens a store that has to be migrated too, for reading it and for Migrate; without it Open
	// returns ErrOlder.
	Older bool
}

// Store is a node's data. Its methods may be called by several goroutines at once.
type Store struct {
	db   engine
	ring *ring
	dir  string // on a disk of the machine; else empty
	free func(dir string) (uint64, error)
	// from is the format from which the store has to be migrated, 0: it has not to be; under says
	// that this has begun. They do not change after Migrate.
	from  uint8
	under bool
	// turn holds one token, taken by whoever updates. It is a channel because waiting for a
	// mutex stops the clock of a synctest bubble.
	turn   chan struct{}
	closed atomic.Bool

	// views counts those who read; idle is closed when the last of them ends after closing. A
	// long one, as of a backup, must not read what is not mapped any more.
	viewMu  sync.Mutex
	views   map[uint64]int // how many, by the number of the last transaction before they began
	idle    chan struct{}
	commits uint64    // number of the last transaction, since the store was opened
	retired []retired // what is to be destroyed when those who read it are done, oldest first
}

// ErrInUse is returned by Open where another process has the store open.
var ErrInUse = errors.New("in use by another process")

// Open opens the store in cfg.Dir, or makes one.
func Open(cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dir != "" && cfg.Key == [32]byte{} {
		return nil, errors.New("a store on disk must have a key")
	}
	dir := cfg.Dir
	if cfg.Disk != nil {
		dir = ""
	}
	if dir != "" {
		if format, err := readFormatFile(dir); err != nil || format > Format {
			if err == nil {
				err = newer(dir, format)
			}
			return nil, err
		}
	}
	db, err := openEngine(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, dir: dir, free: disk.Free, turn: make(chan struct{}, 1), views: map[uint64]int{}}
	if s.ring, err = openRing(cfg); err == nil {
		err = s.checkFormat()
	}
	switch {
	case err != nil:
	case s.from == 0:
		err = s.shredAll()
	case !cfg.Older:
		err = fmt.Errorf("%s: %w: %d, this program needs %d", s.name(), ErrOlder, s.from, Format)
	}
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	return s, nil
}

func openEngine(cfg Config) (engine, error) {
	if cfg.Disk != nil {
		return memoryEngine{cfg.Disk, cfg.Dir}, nil
	}
	if cfg.Dir == "" {
		return memoryEngine{new(disk.Disk), "store"}, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making store directory: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("closing store directory to others: %w", err)
	}
	if err := haveRoom(cfg.Dir, disk.Free); err != nil {
		return nil, err
	}
	db, err := openBadger(badgerOptions(cfg))
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	return badgerEngine{db}, nil
}

// openBadger opens a Badger whose process was killed just after it made a file, and before it gave it a
// size: Badger 4 refuses such a file, with an error that means that it is new, and gives it its size at
// that. Opened again it is a file with nothing in it, which is what it is.
func openBadger(opts badger.Options) (db *badger.DB, err error) {
	for range 1 + maxNewFiles {
		if db, err = badger.Open(opts); err == nil || !strings.Contains(err.Error(), z.NewFile.Error()) {
			break
		}
	}
	return db, err
}

// maxNewFiles is how many files may be new: memtables and value logs are made one at a time.
const maxNewFiles = 4

// ringDir is where the block keys stand, in the directory of the store.
const ringDir = "blockkeys"

func badgerOptions(cfg Config) badger.Options {
	return badger.DefaultOptions(cfg.Dir).
		WithLogger(logger{cfg.Log}).
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // updates are serialised here
		WithNumMemtables(3).
		WithNumCompactors(2).
		WithNumGoroutines(2).
		WithValueLogFileSize(64 << 20).
		WithSyncWrites(true).
		WithEncryptionKey(cfg.Key[:]).
		WithBlockCacheSize(64 << 20).
		WithIndexCacheSize(64 << 20) // encryption needs one
}

// explain puts what a person can mend into words of their own. Badger's errors cannot be
// told apart otherwise than by text; tests hold the texts.
func explain(dir string, err error) error {
	switch {
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return fmt.Errorf("%s is %w: 'entente up' is running there; talk to it, or stop it first", dir, ErrInUse)
	case errors.Is(err, badger.ErrEncryptionKeyMismatch), strings.Contains(err.Error(), badger.ErrEncryptionKeyMismatch.Error()):
		return fmt.Errorf("%s was written with another key; restore the key that belongs to it", dir)
	}
	return fmt.Errorf("opening database: %w", err)
}

// Close ends the update under way, waits for those who read, writes what is in memory and
// closes the store. A View that begins meanwhile, also in another View, is ErrClosed. Without room to
// write (ErrNoSpace) it leaves that to the next Open, which needs another process.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.viewMu.Lock()
	s.closed.Store(true)
	idle := make(chan struct{})
	if s.idle = idle; len(s.views) == 0 {
		s.idle = nil
		close(idle)
	}
	s.viewMu.Unlock()
	<-idle
	if err := haveRoom(s.dir, s.free); err != nil {
		return fmt.Errorf("closing store: %w; it is left as by a crash, and the next start reads the log", err)
	}
	if err := s.db.close(); err != nil {
		return fmt.Errorf("closing store: %w", err)
	}
	return nil
}

// ErrClosed is returned by a store that was closed.
var ErrClosed = errors.New("the store is closed")

// View runs fn on the state as of the last Update. tx is not to be kept, nor to be written.
func (s *Store) View(fn func(tx *Tx) error) error {
	s.viewMu.Lock()
	if s.closed.Load() {
		s.viewMu.Unlock()
		return ErrClosed
	}
	at := s.commits
	s.views[at]++
	s.viewMu.Unlock()
	defer s.viewed(at)
	return s.db.view(func(r state) error { return fn(&Tx{read: r, ring: s.ring}) })
}

func (s *Store) viewed(at uint64) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	if s.views[at]--; s.views[at] == 0 {
		delete(s.views, at)
	}
	if len(s.views) == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// Update runs fn and writes what it changed: durably, all or nothing, when it returns. If
// fn returns an error nothing is written and Update returns that error. Updates wait for
// each other, so fn must not call Update. On a full disk it is ErrNoSpace, and fn is not called.
func (s *Store) Update(fn func(tx *Tx) error) error {
	if s.from != 0 {
		return ErrOlder
	}
	return s.update(fn)
}

func (s *Store) update(fn func(tx *Tx) error) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.closed.Load() {
		return ErrClosed
	}
	if err := haveRoom(s.dir, s.free); err != nil {
		return err
	}
	var tx *Tx
	err := s.db.view(func(r state) error {
		tx = &Tx{read: r, ring: s.ring, pending: map[byte]map[string][]byte{}}
		return fn(tx)
	})
	if err != nil {
		return err
	}
	if err := s.db.write(tx); err != nil {
		return err
	}
	if ids := s.written(tx); tx.doomed {
		err = s.shredAll()
	} else {
		err = s.shred(ids)
	}
	if err != nil {
		return fmt.Errorf("destroying block keys; it is tried again at the next start: %w", err)
	}
	return nil
}

func (tx *Tx) tooBig() error {
	return fmt.Errorf("%w: it changes %d keys; write it in parts", ErrTooBig, tx.changes())
}

// Compact rewrites the tables, so that what was deleted leaves the disk. It takes a while.
func (s *Store) Compact() error {
	if err := haveRoom(s.dir, s.free); err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	if err := s.db.compact(); err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	return nil
}

// Size returns the bytes that the store's tables take on disk. What was written last, at
// most 200 MiB, stands in logs and is not counted yet.
func (s *Store) Size() int64 { return s.db.size() }

// logger passes Badger's log on. Its information is for those who debug.
type logger struct{ log *slog.Logger }

func (l logger) Errorf(f string, a ...any)   { l.print(slog.LevelError, f, a) }
func (l logger) Warningf(f string, a ...any) { l.print(slog.LevelWarn, f, a) }
func (l logger) Infof(f string, a ...any)    { l.print(slog.LevelDebug, f, a) }
func (l logger) Debugf(f string, a ...any)   { l.print(slog.LevelDebug, f, a) }

func (l logger) print(level slog.Level, f string, a []any) {
	ctx := context.Background()
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "database", "text", strings.TrimSpace(fmt.Sprintf(f, a...)))
	}
}
