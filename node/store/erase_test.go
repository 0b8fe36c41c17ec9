package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// bodies tells of every entry of a feed whether it comes with its body.
func bodies(t *testing.T, s *Store, feed protocol.FeedID) (out []bool) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		return tx.Range(feed, 1, 100, 1<<20, func(raw []byte) error {
			_, _, err := protocol.DecodeEnvelope(testNetwork, raw)
			out = append(out, err == nil)
			return nil
		})
	})
	return out
}

func TestErasedBodyIsGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	a := newAuthor()
	list := a.next(t, 3, 2000)
	update(t, s, func(tx *Tx) error {
		for _, e := range list {
			if _, err := tx.Append(e); err != nil {
				return err
			}
		}
		return nil
	})
	var before Feed
	var wrapped []byte
	view(t, s, func(tx *Tx) error {
		f, err := tx.Feed(a.id())
		before = *f
		if err == nil {
			_, wrapped, err = tx.stored(a.id(), 2)
			wrapped = bytes.Clone(wrapped)
		}
		return err
	})
	tomb := &Tomb{Statement: protocol.Hash{7}, Reason: protocol.EraseRequest, At: 1}
	update(t, s, func(tx *Tx) error { _, err := tx.Erase(a.id(), 2, tomb); return err })
	if got := bodies(t, s, a.id()); !got[0] || got[1] || !got[2] {
		t.Fatalf("bodies served: %v", got)
	}
	view(t, s, func(tx *Tx) error {
		if _, err := tx.Unwrap(placeKey(spaceEntry, a.id(), 2), wrapped); !errors.Is(err, ErrDestroyed) {
			t.Errorf("the old bytes of the body still open: %v", err)
		}
		f, err := tx.Feed(a.id())
		if f.Lacking != 0 || f.Bytes >= before.Bytes || f.Hash != before.Hash {
			t.Errorf("feed is %+v after the erase", f)
		}
		return err
	})
	// A database that brings back the old value does not bring back the body.
	update(t, s, func(tx *Tx) error {
		tx.set(placeKey(spaceEntry, a.id(), 2), append(appendSkeleton(nil, list[1].Stripped().Raw), wrapped...))
		return nil
	})
	if got := bodies(t, s, a.id()); got[1] {
		t.Error("a value that came back is served")
	}
	// Nor does a peer that still has it.
	update(t, s, func(tx *Tx) error { _, err := tx.Append(list[1]); return err })
	if got := bodies(t, s, a.id()); got[1] {
		t.Error("a body that a stale peer sent is served")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if got := bodies(t, s, a.id()); !got[0] || got[1] || !got[2] {
		t.Fatalf("bodies served after the restart: %v", got)
	}
}

func TestEraseComesFirst(t *testing.T) {
	s := open(t, "")
	a := newAuthor()
	list := a.next(t, 2, 2000)
	update(t, s, func(tx *Tx) error {
		done, err := tx.Erase(a.id(), 2, &Tomb{Reason: protocol.EraseLegal, At: 1})
		if !done {
			t.Error("nothing was noted")
		}
		return err
	})
	update(t, s, func(tx *Tx) error {
		for _, e := range list {
			if added, err := tx.Append(e); err != nil || !added {
				return errors.Join(errors.New("not added"), err)
			}
		}
		return nil
	})
	if got := bodies(t, s, a.id()); !got[0] || got[1] {
		t.Fatalf("bodies served: %v", got)
	}
}

func TestLackingBodies(t *testing.T) {
	s := open(t, "")
	a := newAuthor()
	list := a.next(t, 3, 2000)
	lacking := func() (n uint64, seqs []uint64) {
		view(t, s, func(tx *Tx) error {
			f, err := tx.Feed(a.id())
			if err == nil {
				n = f.Lacking
				seqs, err = tx.Lacking(a.id(), 10)
			}
			return err
		})
		return n, seqs
	}
	update(t, s, func(tx *Tx) error {
		for _, e := range []*crypto.VerifiedEnvelope{list[0], list[1].Stripped(), list[2].Stripped()} {
			if _, err := tx.Append(e); err != nil {
				return err
			}
		}
		return nil
	})
	if n, seqs := lacking(); n != 2 || len(seqs) != 2 || seqs[0] != 2 {
		t.Fatalf("lacking %d: %v", n, seqs)
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Append(list[1]); return err })
	if n, seqs := lacking(); n != 1 || seqs[0] != 3 {
		t.Fatalf("lacking %d: %v", n, seqs)
	}
	if got := bodies(t, s, a.id()); !got[1] || got[2] {
		t.Fatalf("bodies served: %v", got)
	}
	update(t, s, func(tx *Tx) error {
		_, err := tx.Erase(a.id(), 3, &Tomb{Statement: protocol.Hash{1}, Reason: protocol.EraseExpired})
		return err
	})
	if n, _ := lacking(); n != 0 {
		t.Fatalf("%d bodies are lacking although an erase excuses them", n)
	}
	update(t, s, func(tx *Tx) error {
		got, err := tx.Evict(a.id(), 1)
		if got == 0 {
			t.Error("nothing was freed")
		}
		return err
	})
	if n, _ := lacking(); n != 0 {
		t.Fatalf("%d bodies are lacking after an eviction", n)
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Append(list[0]); return err })
	if got := bodies(t, s, a.id()); got[0] {
		t.Fatal("what was evicted is taken again")
	}
	update(t, s, func(tx *Tx) error { return tx.Want(a.id(), 1) })
	if n, seqs := lacking(); n != 1 || seqs[0] != 1 {
		t.Fatalf("lacking %d: %v after it was wanted", n, seqs)
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Append(list[0]); return err })
	if got := bodies(t, s, a.id()); !got[0] {
		t.Fatal("what is wanted is not taken")
	}
}

func TestBlockKeysRefuse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	update(t, s, func(tx *Tx) error {
		w, err := tx.Wrap([]byte("a"), []byte("plain"))
		if err != nil {
			return err
		}
		if _, err := tx.Unwrap([]byte("b"), w); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("a value opens as another one: %v", err)
		}
		if _, err := tx.Unwrap([]byte("a"), w[:20]); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("half a value opens: %v", err)
		}
		return tx.Set([]byte("w"), w)
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, ringDir, "*.keys"))
	if len(files) != 1 {
		t.Fatalf("there are %d files of block keys", len(files))
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	view(t, s, func(tx *Tx) error {
		w, err := tx.Get([]byte("w"))
		if err == nil {
			if _, err := tx.Unwrap([]byte("a"), w); err == nil {
				t.Error("block keys that were changed are used")
			}
		}
		return err
	})
}
