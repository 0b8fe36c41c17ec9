package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// age makes an open store one of an earlier format.
func age(t *testing.T, s *Store, format ...byte) {
	t.Helper()
	update(t, s, func(tx *Tx) error { tx.set(formatKey, format); return nil })
}

// aged makes a store of format 3 with so many documents.
func aged(t *testing.T, documents int) string {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir)
	for from := 0; from < documents; from += 1000 {
		update(t, s, func(tx *Tx) error {
			for i := from; i < min(from+1000, documents); i++ {
				if err := tx.Set(countKey(uint64(i)), make([]byte, 8)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	age(t, s, 3)
	closed(t, s)
	if err := os.Remove(filepath.Join(dir, formatFile)); err != nil { // release 0.1 wrote none
		t.Fatal(err)
	}
	return dir
}

func closed(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func countKey(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("n/count/"), i) }

// countUp is a migration whose steps must happen once each: it adds one to every document.
var countUp = Migration{From: 3, Name: "counting", Count: func(tx *Tx) (n uint64, err error) {
	err = tx.Scan([]byte("n/count/"), nil, false, func(_, _ []byte) (bool, error) { n++; return true, nil })
	return n, err
}, Step: func(tx *Tx, cursor []byte) (next []byte, done uint64, err error) {
	var keys [][]byte
	var values []uint64
	err = tx.Scan([]byte("n/count/"), append([]byte("n/count/"), cursor...), false, func(k, v []byte) (bool, error) {
		if bytes.Equal(k[len("n/count/"):], cursor) {
			return true, nil
		}
		keys, values = append(keys, bytes.Clone(k)), append(values, binary.BigEndian.Uint64(v))
		return len(keys) < 50, nil
	})
	for i, k := range keys {
		if err == nil {
			err = tx.Set(k, binary.BigEndian.AppendUint64(nil, values[i]+1))
		}
	}
	if len(keys) == 50 {
		next = keys[49][len("n/count/"):]
	}
	return next, uint64(len(keys)), err
}}

// counted checks that every document was counted up once.
func counted(t *testing.T, s *Store, documents int) {
	t.Helper()
	n := 0
	view(t, s, func(tx *Tx) error {
		return tx.Scan([]byte("n/count/"), nil, false, func(k, v []byte) (bool, error) {
			n++
			if got := binary.BigEndian.Uint64(v); got != 1 {
				t.Errorf("%x was counted up %d times", k, got)
			}
			return true, nil
		})
	})
	if n != documents {
		t.Errorf("%d documents, want %d", n, documents)
	}
}

// TestMigrate: a store of an earlier format opens for reading only; once it was migrated it opens, and each
// step was done once.
func TestMigrate(t *testing.T) {
	dir := aged(t, 120)
	if _, err := Open(Config{Dir: dir, Key: testKey}); !errors.Is(err, ErrOlder) {
		t.Fatalf("opening a store of format 3: %v", err)
	}
	s, err := Open(Config{Dir: dir, Key: testKey, Older: true})
	if err != nil {
		t.Fatal(err)
	}
	if from, begun, older := s.Older(); from != 3 || begun || !older {
		t.Fatalf("it is of format %d, begun %v, older %v", from, begun, older)
	}
	if err := s.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrOlder) {
		t.Errorf("writing to it: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, formatFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was touched: %v", err)
	}
	var told []string
	how := Migrating{List: []Migration{countUp},
		Begin:    func(tx *Tx, m *Migration) error { return tx.Set([]byte("n/begun"), []byte(m.Name)) },
		End:      func(tx *Tx, m *Migration) error { return tx.Set([]byte("n/ended"), []byte(m.Name)) },
		Progress: func(_ *Migration, done, total uint64) { told = append(told, fmt.Sprint(done, "/", total)) }}
	if err := s.Migrate(context.Background(), how); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told, " "); got != "50/120 100/120 120/120" {
		t.Errorf("progress was %s", got)
	}
	closed(t, s)
	s = open(t, dir)
	counted(t, s, 120)
	view(t, s, func(tx *Tx) error {
		for _, key := range []string{"n/begun", "n/ended"} {
			if v, err := tx.Get([]byte(key)); string(v) != "counting" || err != nil {
				t.Errorf("%s is %q, %v", key, v, err)
			}
		}
		v, err := tx.get(progressKey)
		if v != nil {
			t.Errorf("how far it had come is left: %x", v)
		}
		return err
	})
	closed(t, s)
}

// TestMigrateInterrupted: a migration that was stopped, or for which the disk was full, goes on where it was,
// and until then no other program opens the store.
func TestMigrateInterrupted(t *testing.T) {
	s, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		for i := range uint64(220) {
			if err := tx.Set(countKey(i), make([]byte, 8)); err != nil {
				return err
			}
		}
		tx.set(formatKey, []byte{3})
		return nil
	})
	s.from = 3
	ctx, cancel := context.WithCancel(context.Background())
	how := Migrating{List: []Migration{countUp}, Progress: func(*Migration, uint64, uint64) { cancel() }}
	if err := s.Migrate(ctx, how); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "50 of 220") {
		t.Fatalf("one that was stopped: %v", err)
	}
	view(t, s, func(tx *Tx) error {
		// What release 0.1 compares: one byte, 3.
		if v, err := tx.get(formatKey); !bytes.Equal(v, []byte{3, 4}) || err != nil {
			t.Errorf("its format is %x, %v", v, err)
		}
		return nil
	})
	whole := s.db
	for at := range 4 {
		s.db = &fullEngine{whole, at % 2}
		err := s.Migrate(context.Background(), Migrating{List: []Migration{countUp}})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "goes on") {
			t.Fatalf("with a full disk: %v", err)
		}
	}
	s.db = whole
	if err := s.Migrate(context.Background(), Migrating{}); err == nil || !strings.Contains(err.Error(), "earlier release") {
		t.Errorf("nothing leads from it: %v", err)
	}
	if err := s.Migrate(context.Background(), Migrating{List: []Migration{countUp}}); err != nil {
		t.Fatal(err)
	}
	counted(t, s, 220)
}

// fullEngine has room for so many transactions more.
type fullEngine struct {
	engine
	left int
}

func (e *fullEngine) write(tx *Tx) error {
	if e.left--; e.left < 0 {
		return fmt.Errorf("committing transaction: %w", syscall.ENOSPC)
	}
	return e.engine.write(tx)
}

// TestFormatsRefused: what this program does not know is refused, with what to do, and is not touched.
func TestFormatsRefused(t *testing.T) {
	for _, row := range []struct {
		format []byte
		want   error
		text   string
	}{
		{[]byte{Format + 1}, ErrNewer, "backup that was made before the upgrade"},
		{[]byte{Format, Format + 1}, ErrNewer, "install that version again"},
		{[]byte{3, 4}, ErrOlder, ""},
		{[]byte{2}, nil, "before the first release"},
		{[]byte{}, protocol.ErrMalformed, "restore it from a backup"},
		{[]byte{3, 3}, protocol.ErrMalformed, "damaged"},
		{[]byte{3, 4, 4}, protocol.ErrMalformed, "damaged"},
		{[]byte{4, 5, 6}, ErrNewer, "format 6"},
	} {
		dir := t.TempDir()
		s := open(t, dir)
		age(t, s, row.format...)
		closed(t, s)
		if _, err := Open(Config{Dir: dir, Key: testKey}); err == nil || row.want != nil && !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("format %x: %v", row.format, err)
		}
	}

	// With the file beside it, Badger is not even opened.
	dir := t.TempDir()
	closed(t, open(t, dir))
	if b, err := os.ReadFile(filepath.Join(dir, formatFile)); err != nil || string(b) != fmt.Sprintln(Format) {
		t.Fatalf("the file of the format holds %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(dir, formatFile), fmt.Append(nil, Format+1), 0o600); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	for _, older := range []bool{false, true} {
		if _, err := Open(Config{Dir: dir, Key: testKey, Older: older}); !errors.Is(err, ErrNewer) {
			t.Errorf("a store of a later version: %v", err)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("it was touched:\n%s\nbefore:\n%s", after, before)
	}
	if err := os.WriteFile(filepath.Join(dir, formatFile), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed(t, open(t, dir)) // the record decides
}

// listing names the files of a directory with their sizes and times.
func listing(t *testing.T, dir string) (out string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		out += fmt.Sprintf("%s %d %v\n", path, info.Size(), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const migrateDir = "ENTENTE_STORE_TEST_MIGRATE_DIR"

// migrateSlowly is the child of TestKilledWhileMigrating: it says after each step how far it came.
func migrateSlowly(dir string) error {
	s, err := Open(Config{Dir: dir, Key: testKey, Older: true})
	if err != nil {
		return err
	}
	err = s.Migrate(context.Background(), Migrating{List: []Migration{countUp}, Progress: func(_ *Migration, done, _ uint64) { fmt.Println(done) }})
	return errors.Join(err, s.Close())
}

// TestKilledWhileMigrating: a process that is killed at any moment of a migration, again and again, leaves a
// store with which it goes on; every step is done once.
func TestKilledWhileMigrating(t *testing.T) {
	if testing.Short() {
		t.Skip("runs and kills processes of its own")
	}
	const documents = 6000
	dir := aged(t, documents)
	killed, finished := 0, false
	for round := 0; !finished; round++ {
		if round > 200 {
			t.Fatal("it does not come to an end")
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), migrateDir+"="+dir)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round < 2 { // while it opens, and begins
			time.AfterFunc(time.Duration(rand.Int64N(int64(60*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		}
		steps, last := 1+rand.IntN(20), uint64(0)
		for lines := bufio.NewScanner(out); lines.Scan(); steps-- {
			var done uint64
			if _, err := fmt.Sscan(lines.Text(), &done); err != nil || done < last {
				t.Errorf("it came to %d after %d: %v", done, last, err)
			}
			if last = done; steps == 0 {
				_ = cmd.Process.Kill()
			}
		}
		if err := cmd.Wait(); err == nil {
			finished = true
		} else if killed++; errs.Len() > 0 {
			t.Fatalf("round %d: %v: %s", round, err, &errs)
		}
	}
	if killed < 3 {
		t.Errorf("it was killed %d times only", killed)
	}
	s := open(t, dir)
	counted(t, s, documents)
	closed(t, s)
}
