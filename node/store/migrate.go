package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/protocol"
)

// Format is the format of the stores that this program makes and works with. It covers everything in
// a store, the documents of the packages above too.
const Format = 4

// firstFormat is that of release 0.1; what was before it is not read.
const firstFormat = 3

// ErrOlder is returned where a store has to be migrated before it is used.
var ErrOlder = errors.New("the store has an older format")

// ErrNewer is returned where a store was written by a later version of the program, or one began to
// migrate it. Nothing of it was touched.
var ErrNewer = errors.New("written by a newer version of this program")

// The record of the format: one byte at rest, and two, from and to, while a migration is under way,
// so that a program that knows neither refuses the store. Beside it stands how far that has come.
var (
	formatKey   = []byte("v")
	progressKey = []byte("vm")
)

// formatFile stands in the directory of a store and says from which format on a program may open it:
// Badger writes when it opens, and a store of a later version is to be left as it is.
const formatFile = "format"

// progress is how far a migration has come; it is written with every step.
type progress struct {
	_      struct{} `cbor:",toarray"`
	Cursor []byte   // where the next step goes on
	Done   uint64   // things that steps did
	Total  uint64   // that there were about at its beginning
}

// Migration brings a store from one format to the next. Its steps are transactions: what a step
// changed and how far it came become durable together, so a process that is killed repeats none that
// was written, and loses none.
type Migration struct {
	From uint8  // to From + 1
	Name string // what it does, in a few words for people
	// Count says how many things there are to do, for those who watch.
	Count func(tx *Tx) (uint64, error)
	// Step does a part, from cursor on, empty at first. It returns where to go on, nil when all is
	// done, and how many things it did. A part has to fit a transaction (ErrTooBig).
	Step func(tx *Tx, cursor []byte) (next []byte, done uint64, err error)
}

// Migrating is how a store is migrated.
type Migrating struct {
	List []Migration
	// Begin and End are called in the first and the last transaction of each; they may be nil.
	Begin, End func(tx *Tx, m *Migration) error
	// Progress is told after each step; it may be nil.
	Progress func(m *Migration, done, total uint64)
}

// readFormatFile returns what the file in dir says; 0 if there is none, or none that can be read:
// the record in the store decides then.
func readFormatFile(dir string) (int, error) {
	b, err := os.ReadFile(filepath.Join(dir, formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading store format: %w", err)
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return 0, nil
	}
	return n, nil
}

func (s *Store) writeFormatFile() error {
	if s.dir == "" {
		return nil
	}
	if have, err := readFormatFile(s.dir); err != nil || have == Format {
		return err
	}
	if err := disk.Replace(disk.OS, filepath.Join(s.dir, formatFile), fmt.Appendf(nil, "%d\n", Format)); err != nil {
		return fmt.Errorf("writing store format: %w", err)
	}
	return nil
}

func newer(dir string, format int) error {
	return fmt.Errorf("%s was %w (format %d, this one knows %d): install that version again, or restore the backup that was made before the upgrade into an empty directory", dir, ErrNewer, format, Format)
}

// checkFormat looks at the record of the format, and makes that of a new store. It leaves a store
// that has to be migrated as it is.
func (s *Store) checkFormat() error {
	var v []byte
	if err := s.View(func(tx *Tx) (err error) { v, err = tx.get(formatKey); return err }); err != nil {
		return fmt.Errorf("reading store format: %w", err)
	}
	switch {
	case v == nil:
		if err := s.Update(func(tx *Tx) error { tx.set(formatKey, []byte{Format}); return nil }); err != nil {
			return err
		}
	case len(v) == 0 || len(v) > 2 || len(v) == 2 && v[1] != v[0]+1:
		if len(v) > 0 && v[len(v)-1] > Format {
			return newer(s.name(), int(v[len(v)-1]))
		}
		return protocol.Errorf(protocol.ErrMalformed, "store is damaged: its format is %x; restore it from a backup", v)
	case v[len(v)-1] > Format:
		return newer(s.name(), int(v[len(v)-1]))
	case v[0] < firstFormat:
		return fmt.Errorf("store has format %d, this program reads %d to %d: it was written by a version before the first release, which is not read any more; begin a new store", v[0], firstFormat, Format)
	case len(v) == 2 || v[0] < Format:
		s.from, s.under = v[0], len(v) == 2
		return nil
	}
	return s.writeFormatFile()
}

func (s *Store) name() string {
	if s.dir == "" {
		return "the store"
	}
	return s.dir
}

// Older reports whether the store has to be migrated before it is used, from which format, and
// whether that has begun. Until then it is only read.
func (s *Store) Older() (from uint8, begun, older bool) { return s.from, s.under, s.from != 0 }

// Migrate brings an older store to Format, going on where it was left. What it did stays when it
// returns an error, and when the process is killed: it goes on there.
func (s *Store) Migrate(ctx context.Context, how Migrating) error {
	if s.from == 0 {
		return nil
	}
	if err := s.writeFormatFile(); err != nil {
		return err
	}
	for s.from < Format {
		var m *Migration
		for i := range how.List {
			if how.List[i].From == s.from {
				m = &how.List[i]
			}
		}
		if m == nil {
			return fmt.Errorf("nothing migrates a store of format %d; upgrade by way of an earlier release", s.from)
		}
		if err := s.migrate(ctx, &how, m); err != nil {
			return err
		}
		s.from, s.under = s.from+1, false
	}
	s.from = 0
	return s.shredAll()
}

func (s *Store) migrate(ctx context.Context, how *Migrating, m *Migration) error {
	var p progress
	if !s.under {
		err := s.update(func(tx *Tx) (err error) {
			if m.Count != nil {
				if p.Total, err = m.Count(tx); err != nil {
					return err
				}
			}
			tx.set(formatKey, []byte{m.From, m.From + 1})
			tx.setStruct(progressKey, &p)
			if how.Begin != nil {
				return how.Begin(tx, m)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("beginning to migrate the store (%s); nothing of it was changed: %w", m.Name, err)
		}
		s.under = true
	} else if err := s.View(func(tx *Tx) error { _, err := tx.getStruct(progressKey, &p); return err }); err != nil {
		return err
	}
	for last := false; !last; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("migrating the store (%s) was stopped after %d of %d; it goes on there at the next start: %w", m.Name, p.Done, p.Total, err)
		}
		var after progress
		err := s.update(func(tx *Tx) error {
			after = progress{}
			if _, err := tx.getStruct(progressKey, &after); err != nil {
				return err
			}
			next, done, err := m.Step(tx, after.Cursor)
			if err != nil {
				return err
			}
			after.Cursor, after.Done, last = next, after.Done+done, next == nil
			if !last {
				tx.setStruct(progressKey, &after)
				return nil
			}
			tx.set(formatKey, []byte{m.From + 1})
			tx.put(progressKey, nil)
			if how.End != nil {
				return how.End(tx, m)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("migrating the store (%s) stopped after %d of %d; nothing of it is lost, and it goes on there at the next start: %w", m.Name, p.Done, p.Total, err)
		}
		if p = after; how.Progress != nil {
			how.Progress(m, p.Done, max(p.Total, p.Done))
		}
	}
	return nil
}
