package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// stageChunk is how many bytes of entries one transaction stages.
const stageChunk = 4 << 20

// staged says what lies beyond the head of a feed. It is written with the first of it, so
// that no entry is ever beyond a head without a trace.
type staged struct {
	_        struct{} `cbor:",toarray"`
	From     uint64   // the head that it continues
	Last     uint64   // seq of the last entry
	Hash     protocol.Hash
	Bytes    uint64
	Complete bool // all of it is written
}

// Stage writes the entries of a publication behind the head of their feed, durably and in
// as many transactions as it takes. Nobody sees them until CommitStaged; DropStaged takes
// them away. The feed must be known and nothing may be staged for it. The entries' bytes
// are not kept.
func (s *Store) Stage(feed protocol.FeedID, envs []*crypto.VerifiedEnvelope) error {
	if len(envs) == 0 {
		return errors.New("staging nothing")
	}
	last := envs[len(envs)-1]
	st := staged{Last: last.Header.Seq, Hash: last.Hash}
	for first := true; len(envs) > 0; first = false {
		n, size := 0, 0
		for n < len(envs) && (n == 0 || size+len(envs[n].Raw) <= stageChunk) {
			size += len(envs[n].Raw)
			n++
		}
		err := s.Update(func(tx *Tx) error {
			if first {
				f, err := tx.stageable(feed, envs)
				if err != nil {
					return err
				}
				st.From = f.Seq
			}
			f := &Feed{}
			for _, e := range envs[:n] {
				if e.Skeleton() {
					return errors.New("staging an entry without its body")
				}
				if err := tx.putEntry(f, e); err != nil {
					return err
				}
			}
			st.Bytes += f.Bytes
			st.Complete = n == len(envs)
			tx.setStruct(feedKey(spaceStaged, feed), &st)
			return nil
		})
		if err != nil {
			return fmt.Errorf("staging entries: %w", err)
		}
		envs = envs[n:]
	}
	return nil
}

// stageable checks that envs continue feed, and that nothing is staged for it.
func (tx *Tx) stageable(feed protocol.FeedID, envs []*crypto.VerifiedEnvelope) (*Feed, error) {
	f, err := tx.Feed(feed)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("feed %s is not known", feed.Short())
	}
	old, err := tx.get(feedKey(spaceStaged, feed))
	if err != nil {
		return nil, err
	}
	if old != nil {
		return nil, fmt.Errorf("entries are staged for feed %s already", feed.Short())
	}
	seq, hash := f.Seq, f.Hash
	for _, e := range envs {
		if !e.Verified() || e.Header.Feed != feed {
			return nil, protocol.Errorf(protocol.ErrBadSignature, "an entry was not verified or is of another feed")
		}
		if err := follows(seq, hash, e); err != nil {
			return nil, err
		}
		seq, hash = e.Header.Seq, e.Hash
	}
	return f, nil
}

// CommitStaged makes what was staged for f visible: it moves the head of the feed to f.Seq
// and f.Hash, which must be the last entry staged. f.SealedAt is taken over if it is later;
// Opened and Bytes are kept by the store. The cost does not depend on the number of entries.
func (tx *Tx) CommitStaged(f *Feed) error {
	if err := tx.writable(); err != nil {
		return err
	}
	have, err := tx.Feed(f.ID)
	if err != nil {
		return err
	}
	var st staged
	ok, err := tx.getStruct(feedKey(spaceStaged, f.ID), &st)
	switch {
	case err != nil:
		return err
	case have == nil || !ok || !st.Complete:
		return fmt.Errorf("committing to feed %s: nothing whole is staged", f.ID.Short())
	case st.From != have.Seq:
		return protocol.Errorf(protocol.ErrBrokenChain, "committing to feed %s: staged behind entry %d, the head is at %d", f.ID.Short(), st.From, have.Seq)
	case st.Last != f.Seq || st.Hash != f.Hash:
		return protocol.Errorf(protocol.ErrBrokenChain, "committing to feed %s: entry %d is not the last one staged", f.ID.Short(), f.Seq)
	}
	have.Seq, have.Hash = st.Last, st.Hash
	have.Bytes += st.Bytes
	have.SealedAt = max(have.SealedAt, f.SealedAt)
	tx.putFeed(have)
	tx.put(feedKey(spaceStaged, f.ID), nil)
	return nil
}

// dropChunk is how many entries one transaction drops.
const dropChunk = 10_000

// DropStaged takes away all that was staged and not committed. It is for opening a store
// that was not closed, and for giving a publication up.
func (s *Store) DropStaged() error {
	for {
		done := false
		err := s.Update(func(tx *Tx) (err error) {
			done, err = tx.dropSome()
			return err
		})
		if err != nil {
			return fmt.Errorf("dropping staged entries: %w", err)
		}
		if done {
			return nil
		}
	}
}

// dropSome drops what is staged for one feed, or a part; done says that there was nothing.
func (tx *Tx) dropSome() (done bool, err error) {
	var marker []byte
	var st staged
	err = tx.scan([]byte{spaceStaged}, nil, false, func(k, v []byte) (bool, error) {
		marker = bytes.Clone(k)
		return false, decodeStruct(v, &st)
	})
	if err != nil || marker == nil {
		return true, err
	}
	var feed protocol.FeedID
	if copy(feed[:], marker[1:]) != len(feed) {
		return true, protocol.Errorf(protocol.ErrMalformed, "a key of staged entries is damaged")
	}
	f, err := tx.Feed(feed)
	if err != nil {
		return true, err
	}
	if f == nil {
		return true, protocol.Errorf(protocol.ErrMalformed, "entries are staged for a feed that is not known")
	}
	n := 0
	err = tx.scan(feedKey(spaceEntry, feed), placeKey(spaceEntry, feed, f.Seq+1), false, func(k, v []byte) (bool, error) {
		if _, wrapped, err := splitEntry(v); err != nil {
			return false, err
		} else if len(wrapped) > 0 {
			if err := tx.Destroy(wrapped); err != nil {
				return false, err
			}
		}
		tx.put(bytes.Clone(k), nil)
		n++
		return n < dropChunk, nil
	})
	if err == nil && n < dropChunk {
		tx.put(marker, nil)
	}
	return false, err
}
