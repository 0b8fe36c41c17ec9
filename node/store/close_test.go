package store

import (
	"errors"
	"testing"
	"time"
)

// A store is not closed under those who read it: what they read would not be mapped any more.
func TestCloseWaitsForViews(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), Key: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(func(tx *Tx) error { return tx.Set([]byte("k"), []byte("v")) }); err != nil {
		t.Fatal(err)
	}
	begun, closed, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.View(func(tx *Tx) error {
			close(begun)
			for !s.closed.Load() {
				time.Sleep(time.Millisecond)
			}
			if err := s.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
				t.Errorf("a view in a view, while the store closes: %v", err)
			}
			select {
			case <-closed:
				t.Error("the store was closed under a view")
			default:
			}
			v, err := tx.Get([]byte("k"))
			if string(v) != "v" {
				t.Errorf("read %q, %v", v, err)
			}
			return err
		})
	}()
	<-begun
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	close(closed)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("reading what is closed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}
