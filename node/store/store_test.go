package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

var testKey = [32]byte{1, 2, 3}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func update(t testing.TB, s *Store, fn func(tx *Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *Store, fn func(tx *Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir)
	if _, err := Open(Config{Dir: dir, Key: testKey}); err == nil || !strings.Contains(err.Error(), "'entente up' is running there") {
		t.Errorf("opening a store in use: %v", err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v, %v; want 0700", fi.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if err := s.Update(func(*Tx) error { return nil }); err == nil {
		t.Error("a closed store was updated")
	}
	if _, err := Open(Config{Dir: dir, Key: [32]byte{9}}); err == nil || !strings.Contains(err.Error(), "written with another key") {
		t.Errorf("opening with another key: %v", err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Error("opened on disk without a key")
	}
	s = open(t, dir)
	update(t, s, func(tx *Tx) error { tx.set(formatKey, []byte{9}); return nil })
	s.Close()
	if _, err := Open(Config{Dir: dir, Key: testKey}); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("opening a later format: %v", err)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	s := open(t, "")
	broken := errors.New("broken")
	err := s.Update(func(tx *Tx) error {
		if err := tx.Set([]byte("a"), []byte("1")); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of fn", err)
	}
	err = s.Update(func(tx *Tx) error {
		for i := range 200 {
			if err := tx.Set(fmt.Append(nil, "big", i), make([]byte, 100_000)); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, ErrTooBig) {
		t.Errorf("20 MB in one transaction: %v, want ErrTooBig", err)
	}
	view(t, s, func(tx *Tx) error {
		if err := tx.Set([]byte("a"), nil); err == nil {
			t.Error("a View was written")
		}
		return tx.Scan(nil, nil, false, func(k, _ []byte) (bool, error) {
			t.Errorf("key %q is there", k)
			return true, nil
		})
	})
}

func TestTransactionTakesWhatTheGateAdmits(t *testing.T) {
	s := open(t, t.TempDir())
	update(t, s, func(tx *Tx) error {
		for i := range 20_000 {
			if err := tx.Set(fmt.Appendf(nil, "key of a usual length %032d", i), make([]byte, 200)); err != nil {
				return err
			}
		}
		return tx.Set([]byte("value"), make([]byte, MaxValue))
	})
	err := s.Update(func(tx *Tx) error { return tx.Set([]byte("k"), make([]byte, MaxValue+1)) })
	if !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("value beyond the bound: %v", err)
	}
}

func TestNothingReadableOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	secret := []byte("the-plaintext-of-a-stored-value")
	update(t, s, func(tx *Tx) error { return tx.Set(append([]byte("n/"), secret...), bytes.Repeat(secret, 50)) })
	found := func() (files int) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if bytes.Contains(b, secret) {
				t.Errorf("%s holds the plaintext", filepath.Base(path))
			}
			files++
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	if n := found(); n == 0 {
		t.Error("no file on disk")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found() // in tables now
	s = open(t, dir)
	if s.Size() == 0 {
		t.Error("size on disk is 0")
	}
	view(t, s, func(tx *Tx) error {
		v, err := tx.Get(append([]byte("n/"), secret...))
		if !bytes.Equal(v, bytes.Repeat(secret, 50)) {
			t.Error("the value is not there after reopening")
		}
		return err
	})
}

func TestInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		for i := range 20 {
			go func() {
				done <- s.Update(func(tx *Tx) error {
					time.Sleep(time.Second) // the others wait for their turn meanwhile
					return tx.Set([]byte{byte(i)}, []byte{1})
				})
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Hour)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestEpochsAndStates(t *testing.T) {
	s := open(t, "")
	a, b := protocol.FeedID{1}, protocol.FeedID{2}
	ep := &Epoch{Number: 300, Key: [32]byte{0x41, 0x42}, Audience: []protocol.OrgID{{7}}, Granted: []Granted{{Node: protocol.NodeID{8}}}, Created: 5, Used: 6, Retired: true}
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutFeed(&Feed{ID: a}), tx.PutEpoch(a, ep), tx.PutEpoch(a, &Epoch{Number: 2}), tx.PutEpoch(b, &Epoch{Number: 1}))
	})
	view(t, s, func(tx *Tx) error {
		list, err := tx.Epochs(a)
		if err != nil || len(list) != 2 || list[0].Number != 2 || !bytes.Equal(protocol.Encode(list[1]), protocol.Encode(ep)) {
			t.Errorf("epochs are %v, %v", list, err)
		}
		return nil
	})
	// With counts it is laid out as release 0.1 did not know; without, as it did.
	counted := *ep
	counted.Grant(protocol.OrgID{7}, Granted{Node: protocol.NodeID{9}})
	counted.Grant(protocol.OrgID{6}, Granted{Node: protocol.NodeID{9}})
	counted.Grant(protocol.OrgID{7}, Granted{Node: protocol.NodeID{10}})
	for first, e := range map[byte]*Epoch{0x89: ep, 0x8a: &counted} {
		update(t, s, func(tx *Tx) error { return tx.PutEpoch(b, e) })
		view(t, s, func(tx *Tx) error {
			got, err := tx.Epoch(b, e.Number)
			if bytes := protocol.Encode(e); err != nil || bytes[0] != first || !reflect.DeepEqual(got, e) {
				t.Errorf("an array that begins with %#x reads as %#v of %#v: %v", bytes[0], got.Counts, e.Counts, err)
			}
			return nil
		})
	}
	if counted.Count(protocol.OrgID{7}) != 2 || counted.Count(protocol.OrgID{6}) != 1 || counted.Count(protocol.OrgID{5}) != 0 || len(counted.Granted) != 4 {
		t.Errorf("counted %v", counted.Counts)
	}
	for _, f := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, out := range []string{fmt.Sprintf(f, ep), fmt.Sprintf(f, *ep)} {
			if out != "epoch 300 (secret)" {
				t.Errorf("%s prints %q", f, out)
			}
		}
	}
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.SetEntryState(a, 1, AwaitingKey, ""), tx.SetEntryState(a, 3, Quarantined, "malformed: why"),
			tx.SetEntryState(a, 4, Quarantined, ""), tx.SetEntryState(b, 1, Quarantined, ""))
	})
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.SetEntryState(a, 1, Applied, ""), tx.SetEntryState(a, 4, Pending, ""))
	})
	view(t, s, func(tx *Tx) error {
		for state, want := range map[EntryState]string{AwaitingKey: "[]", Quarantined: "[3]", Applied: "[1]", NotForUs: "[]"} {
			if got, err := tx.EntriesIn(a, state); fmt.Sprint(got) != want || err != nil {
				t.Errorf("entries in %s: %v, %v; want %s", state, got, err, want)
			}
		}
		if st, why, err := tx.EntryState(a, 3); st != Quarantined || why != "malformed: why" || err != nil {
			t.Errorf("state is %v %q, %v", st, why, err)
		}
		if st, _, _ := tx.EntryState(a, 9); st != Pending {
			t.Errorf("state of an entry that nobody saw is %v", st)
		}
		return nil
	})
}

func TestDamagedValuesAreErrors(t *testing.T) {
	s := open(t, "")
	id := protocol.FeedID{1}
	for _, v := range [][]byte{{}, {9}, {1}, {1, 0xff}, {1, 0x80}, append([]byte{1}, bytes.Repeat([]byte{0x9f}, 50)...)} {
		update(t, s, func(tx *Tx) error {
			tx.set(feedKey(spaceFeed, id), v)
			tx.set(placeKey(spaceEpoch, id, 1), v)
			tx.set(placeKey(spaceState, id, 1), v)
			tx.set(feedKey(spaceStaged, id), v)
			return nil
		})
		view(t, s, func(tx *Tx) error {
			_, err1 := tx.Feed(id)
			_, err2 := tx.Epochs(id)
			_, _, err3 := tx.EntryState(id, 1)
			err4 := tx.Feeds(func(*Feed) error { return nil })
			for i, err := range []error{err1, err2, err3, err4} {
				if !errors.Is(err, protocol.ErrMalformed) {
					t.Errorf("value %x, reader %d: %v", v, i+1, err)
				}
			}
			return nil
		})
		if err := s.DropStaged(); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("value %x: dropping: %v", v, err)
		}
	}
}
