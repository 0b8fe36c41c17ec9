package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

var testNetwork = protocol.NetworkID{7}

// author makes the entries of one feed.
type author struct {
	key    crypto.SigningPrivate
	origin protocol.Origin
	prev   protocol.Hash
	seq    uint64
}

func newAuthor() *author {
	a := &author{key: crypto.GenerateSigning()}
	a.origin = protocol.Origin{Signing: a.key.Public(), Incarnation: 1, Topic: protocol.TopicID{3}}
	return a
}

func (a *author) id() protocol.FeedID { return a.origin.FeedID(testNetwork) }

func (a *author) sign(t testing.TB, seq uint64, prev protocol.Hash, body []byte) *crypto.VerifiedEnvelope {
	t.Helper()
	e, err := crypto.SignEnvelope(testNetwork, a.origin, protocol.EntryRecords, seq, prev, body, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// next makes the next n entries.
func (a *author) next(t testing.TB, n, size int) (list []*crypto.VerifiedEnvelope) {
	t.Helper()
	for range n {
		a.seq++
		e := a.sign(t, a.seq, a.prev, append(fmt.Append(nil, "body ", a.seq), make([]byte, size)...))
		a.prev = e.Hash
		list = append(list, e)
	}
	return list
}

func appendAll(t testing.TB, s *Store, list []*crypto.VerifiedEnvelope) {
	t.Helper()
	update(t, s, func(tx *Tx) error {
		for _, e := range list {
			if added, err := tx.Append(e); err != nil || !added {
				return fmt.Errorf("added %v, %w", added, err)
			}
		}
		return nil
	})
}

func TestAppend(t *testing.T) {
	s := open(t, "")
	a := newAuthor()
	list := a.next(t, 5, 0)
	appendAll(t, s, list[:3])
	other := a.sign(t, 2, list[0].Hash, []byte("another body"))
	unverified := *list[3]
	unverified.Header.Seq = 9
	for _, tc := range []struct {
		name  string
		env   *crypto.VerifiedEnvelope
		added bool
		want  error
	}{
		{"held already", list[1], false, nil},
		{"first held already", list[0], false, nil},
		{"a gap", list[4], false, protocol.ErrBrokenChain},
		{"another previous hash", a.sign(t, 4, protocol.Hash{1}, []byte("x")), false, protocol.ErrBrokenChain},
		{"fork", other, false, ErrFork},
		{"not verified", &crypto.VerifiedEnvelope{Header: list[3].Header, Raw: list[3].Raw}, false, protocol.ErrBadSignature},
		{"next", list[3], true, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := s.Update(func(tx *Tx) error {
				added, err := tx.Append(tc.env)
				if added != tc.added {
					t.Errorf("added is %v", added)
				}
				return err
			})
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			var fork *ForkError
			if errors.As(err, &fork) && (!bytes.Equal(fork.Held, list[1].Stripped().Raw) || !bytes.Equal(fork.Other, other.Stripped().Raw) || fork.Seq != 2) {
				t.Error("the proof does not hold both headers")
			}
		})
	}
	view(t, s, func(tx *Tx) error {
		f, err := tx.Feed(a.id())
		if err != nil || f.Seq != 4 || f.Hash != list[3].Hash || f.Origin != a.origin {
			t.Errorf("feed is %+v, %v", f, err)
		}
		return err
	})
}

func TestRange(t *testing.T) {
	s := open(t, "")
	a, b := newAuthor(), newAuthor()
	list := a.next(t, 6, 100)
	appendAll(t, s, list)
	appendAll(t, s, b.next(t, 9, 0))
	size := len(list[0].Raw)
	for _, tc := range []struct {
		name        string
		from        uint64
		count, size int
		want        string
	}{
		{"all", 1, 100, 1 << 20, "[1 2 3 4 5 6]"},
		{"from zero", 0, 2, 1 << 20, "[1 2]"},
		{"count", 3, 2, 1 << 20, "[3 4]"},
		{"bytes", 2, 100, 2*size + 1, "[2 3]"},
		{"one in any case", 2, 100, 1, "[2]"},
		{"last", 6, 100, 1 << 20, "[6]"},
		{"beyond the head", 7, 100, 1 << 20, "[]"},
		{"none wanted", 1, 0, 1 << 20, "[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []uint64
			view(t, s, func(tx *Tx) error {
				return tx.Range(a.id(), tc.from, tc.count, tc.size, func(raw []byte) error {
					e, err := crypto.VerifyEnvelope(testNetwork, bytes.Clone(raw))
					if err == nil {
						got = append(got, e.Header.Seq)
					}
					return err
				})
			})
			if fmt.Sprint(got) != tc.want {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
	update(t, s, func(tx *Tx) error { tx.put(placeKey(spaceEntry, a.id(), 3), nil); return nil })
	err := s.View(func(tx *Tx) error { return tx.Range(a.id(), 1, 10, 1<<20, func([]byte) error { return nil }) })
	if !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("an entry that is missing: %v", err)
	}
}

func TestPutFeedDoesNotMoveTheHead(t *testing.T) {
	s := open(t, "")
	a := newAuthor()
	appendAll(t, s, a.next(t, 2, 0))
	for name, change := range map[string]func(*Feed){
		"seq":    func(f *Feed) { f.Seq = 1 },
		"hash":   func(f *Feed) { f.Hash[0]++ },
		"bytes":  func(f *Feed) { f.Bytes++ },
		"origin": func(f *Feed) { f.Origin.Incarnation++ },
		"opened": func(f *Feed) { f.Opened = 3 },
	} {
		err := s.Update(func(tx *Tx) error {
			f, err := tx.Feed(a.id())
			if err != nil {
				return err
			}
			change(f)
			return tx.PutFeed(f)
		})
		if err == nil {
			t.Errorf("%s: was changed", name)
		}
	}
}

func TestStaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	a := newAuthor()
	appendAll(t, s, a.next(t, 2, 0))
	seq, prev := a.seq, a.prev
	list := a.next(t, 200, 60_000) // 12 MB: more than one transaction holds
	if err := s.Stage(a.id(), list); err != nil {
		t.Fatal(err)
	}
	last := list[len(list)-1]
	expect := func(head uint64) {
		t.Helper()
		n := 0
		view(t, s, func(tx *Tx) error {
			for _, at := range []uint64{3, 202} {
				raw, err := tx.Envelope(a.id(), at)
				if err != nil || (raw != nil) != (at <= head) {
					t.Errorf("entry %d with head %d: %d bytes, %v", at, head, len(raw), err)
				}
			}
			return tx.Range(a.id(), 1, 1000, 1<<30, func([]byte) error { n++; return nil })
		})
		if n != int(head) {
			t.Errorf("range gives %d entries, want %d", n, head)
		}
	}
	expect(2)
	if err := s.Stage(a.id(), list); err == nil {
		t.Error("staged twice")
	}
	if err := s.Update(func(tx *Tx) error { _, err := tx.Append(list[0]); return err }); err == nil {
		t.Error("appended to a feed with staged entries")
	}
	wrong := &Feed{ID: a.id(), Seq: list[5].Header.Seq, Hash: list[5].Hash}
	if err := s.Update(func(tx *Tx) error { return tx.CommitStaged(wrong) }); !errors.Is(err, protocol.ErrBrokenChain) {
		t.Errorf("committing a part: %v", err)
	}
	expect(2)

	// As after a crash: opened again, dropped, staged anew.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if err := s.DropStaged(); err != nil {
		t.Fatal(err)
	}
	expect(2)
	view(t, s, func(tx *Tx) error {
		return tx.scan(placeKey(spaceEntry, a.id(), 3)[:34], placeKey(spaceEntry, a.id(), 3), false, func(k, _ []byte) (bool, error) {
			t.Errorf("entry %d is left over", numberOf(k))
			return true, nil
		})
	})
	if err := s.Update(func(tx *Tx) error {
		return tx.CommitStaged(&Feed{ID: a.id(), Seq: last.Header.Seq, Hash: last.Hash})
	}); err == nil {
		t.Error("committed what was dropped")
	}
	broken := []*crypto.VerifiedEnvelope{list[0], list[2]}
	if err := s.Stage(a.id(), broken); !errors.Is(err, protocol.ErrBrokenChain) {
		t.Errorf("staging with a gap: %v", err)
	}
	if err := s.Stage(a.id(), list); err != nil {
		t.Fatal(err)
	}
	f := &Feed{ID: a.id(), Seq: last.Header.Seq, Hash: last.Hash, SealedAt: 77}
	failed := errors.New("another write of the transaction failed")
	if err := s.Update(func(tx *Tx) error { return errors.Join(tx.CommitStaged(f), failed) }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	expect(2)
	update(t, s, func(tx *Tx) error { return tx.CommitStaged(f) })
	expect(202)
	if err := s.DropStaged(); err != nil {
		t.Fatal(err)
	}
	expect(202)
	view(t, s, func(tx *Tx) error {
		f, err := tx.Feed(a.id())
		want := uint64(0)
		if err == nil {
			err = tx.Range(a.id(), 1, 1000, 1<<30, func(raw []byte) error { want += uint64(len(raw)); return nil })
		}
		if f.Bytes != want || f.SealedAt != 77 || f.Opened != 0 {
			t.Errorf("feed is %+v, want %d bytes", f, want)
		}
		return err
	})
	if seq != 2 || prev != list[0].Header.Previous {
		t.Error("the test's own feed is wrong")
	}
}
