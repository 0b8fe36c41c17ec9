package store

import (
	"errors"
	"fmt"
	"testing"
)

// TestRetire: what was retired is read by those who read an older state until they are done, and
// is gone when many values were retired, when something was destroyed, and when the store was
// opened again.
func TestRetire(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	what := func(i int) []byte { return fmt.Appendf(nil, "n/%d", i) }
	wrapped := map[int][]byte{}
	put := func(from, to int) {
		t.Helper()
		update(t, s, func(tx *Tx) error {
			for i := from; i < to; i++ {
				w, err := tx.Wrap(what(i), []byte("secret"))
				if err != nil {
					return err
				}
				wrapped[i] = w
			}
			return nil
		})
	}
	retire := func(from, to int) {
		t.Helper()
		update(t, s, func(tx *Tx) error {
			for i := from; i < to; i++ {
				if err := tx.Retire(wrapped[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	read := func(tx *Tx, i int, want error) error {
		if _, err := tx.Unwrap(what(i), wrapped[i]); !errors.Is(err, want) {
			return fmt.Errorf("value %d: %w, want %v", i, err, want)
		}
		return nil
	}
	many := s.ring.count
	put(0, many+10)
	retire(0, 1)
	view(t, s, func(tx *Tx) error {
		retire(1, many) // far more than enough
		return errors.Join(read(tx, 0, nil), read(tx, 1, nil), read(tx, many-1, nil))
	})
	view(t, s, func(tx *Tx) error { return read(tx, 1, nil) })
	update(t, s, func(tx *Tx) error { return tx.Set([]byte("n"), nil) })
	view(t, s, func(tx *Tx) error {
		return errors.Join(read(tx, 0, ErrDestroyed), read(tx, many-1, ErrDestroyed), read(tx, many, nil))
	})

	retire(many, many+1)
	view(t, s, func(tx *Tx) error {
		err := read(tx, many, nil)
		update(t, s, func(tx *Tx) error { return tx.Destroy(wrapped[many+1]) })
		return errors.Join(err, read(tx, many, ErrDestroyed), read(tx, many+1, ErrDestroyed))
	})

	retire(many+2, many+3)
	view(t, s, func(tx *Tx) error { return read(tx, many+2, nil) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	view(t, s, func(tx *Tx) error { return errors.Join(read(tx, many+2, ErrDestroyed), read(tx, many+3, nil)) })
	if err := s.Update(func(tx *Tx) error {
		if err := tx.Retire(wrapped[many+3]); err != nil {
			return err
		}
		return errors.New("no")
	}); err == nil {
		t.Fatal("no error")
	}
	update(t, s, func(tx *Tx) error { return tx.Destroy(wrapped[many+4]) })
	view(t, s, func(tx *Tx) error { return read(tx, many+3, nil) })
}
