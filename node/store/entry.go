package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// ErrFork means that a feed was continued in two ways: its author signed two entries with
// one seq. The error is a *ForkError.
var ErrFork = errors.New("feed was forked by its author")

// ForkError is the proof of a fork: two encoded skeletons, both signed, of one feed and seq.
type ForkError struct {
	Feed  protocol.FeedID
	Seq   uint64
	Held  []byte // as stored here
	Other []byte // as offered
}

// Error implements error.
func (e *ForkError) Error() string {
	return fmt.Sprintf("feed %s was forked by its author: there are two entries %d", e.Feed.Short(), e.Seq)
}

// Is makes errors.Is(err, ErrFork) hold.
func (e *ForkError) Is(target error) bool { return target == ErrFork }

// Append stores the next entry of a feed and moves its head. A feed that is not known yet
// begins with it. An entry that is held already is no error; added is false then. An entry
// that does not continue the feed is ErrBrokenChain, a second one of the same seq a
// *ForkError. An entry may come without its body; the body is then noted as lacking, unless
// it was erased, and is taken over when the entry comes again with it.
func (tx *Tx) Append(env *crypto.VerifiedEnvelope) (added bool, err error) {
	if err := tx.writable(); err != nil {
		return false, err
	}
	if !env.Verified() {
		return false, protocol.Errorf(protocol.ErrBadSignature, "appending an entry that was not verified")
	}
	id, seq := env.Header.Feed, env.Header.Seq
	f, err := tx.Feed(id)
	if err != nil {
		return false, err
	}
	if f == nil {
		f = &Feed{ID: id, Origin: env.Origin}
	}
	if seq <= f.Seq {
		return false, tx.held(f, env)
	}
	if err := follows(f.Seq, f.Hash, env); err != nil {
		return false, err
	}
	if staged, err := tx.get(feedKey(spaceStaged, id)); err != nil || staged != nil {
		return false, errors.Join(fmt.Errorf("appending to feed %s while entries are staged for it", id.Short()), err)
	}
	f.Seq, f.Hash = seq, env.Hash
	if err := tx.putEntry(f, env); err != nil {
		return false, err
	}
	tx.putFeed(f)
	return true, nil
}

// held compares an entry with the one that is held at its place, and takes over a body that
// was lacking.
func (tx *Tx) held(f *Feed, env *crypto.VerifiedEnvelope) error {
	id, seq := env.Header.Feed, env.Header.Seq
	skeleton, _, err := tx.stored(id, seq)
	if err != nil {
		return err
	}
	var e protocol.Envelope
	if err := protocol.Decode(skeleton, protocol.MaxEnvelopeSize, &e); err != nil {
		return fmt.Errorf("reading entry %d of feed %s: %w", seq, id.Short(), err)
	}
	if protocol.EntryHash(e.Header) != env.Hash {
		return &ForkError{Feed: id, Seq: seq, Held: skeleton, Other: env.Stripped().Raw}
	}
	lacking, err := tx.get(placeKey(spaceLack, id, seq))
	if err != nil || lacking == nil || len(lacking) > 0 || env.Skeleton() {
		return err // what was evicted is not taken again until it is wanted
	}
	if err := tx.putEntry(f, env); err != nil {
		return err
	}
	tx.putFeed(f)
	return nil
}

// putEntry stores an entry at its place: its skeleton as it is, its body wrapped under a key
// of its own. What was erased is stored without its body; a body that is missing otherwise
// is noted as lacking. It counts in f, which the caller stores.
func (tx *Tx) putEntry(f *Feed, env *crypto.VerifiedEnvelope) error {
	id, seq := env.Header.Feed, env.Header.Seq
	skeleton := env.Stripped().Raw
	tomb, err := tx.Erased(id, seq)
	if err != nil {
		return err
	}
	var wrapped []byte
	if !env.Skeleton() && tomb == nil {
		if wrapped, err = tx.Wrap(placeKey(spaceEntry, id, seq), env.Body); err != nil {
			return err
		}
	}
	value := appendSkeleton(make([]byte, 0, 4+len(skeleton)+len(wrapped)), skeleton)
	tx.set(placeKey(spaceEntry, id, seq), append(value, wrapped...))
	lackKey := placeKey(spaceLack, id, seq)
	lacking, err := tx.get(lackKey)
	if err != nil {
		return err
	}
	switch {
	case wrapped == nil && tomb == nil && lacking == nil:
		tx.set(lackKey, nil)
		f.Lacking++
	case (wrapped != nil || tomb != nil) && lacking != nil:
		tx.put(lackKey, nil)
		if len(lacking) == 0 {
			f.Lacking--
		} else {
			f.Evicted--
		}
	}
	if lacking == nil {
		f.Bytes += uint64(len(skeleton))
	}
	if wrapped != nil {
		f.Bytes += bodyBytes(skeleton, wrapped)
	}
	return nil
}

func follows(seq uint64, hash protocol.Hash, env *crypto.VerifiedEnvelope) error {
	h := &env.Header
	switch {
	case h.Seq != seq+1:
		return protocol.Errorf(protocol.ErrBrokenChain, "entry %d of feed %s comes after entry %d", h.Seq, h.Feed.Short(), seq)
	case h.Previous != hash:
		return protocol.Errorf(protocol.ErrBrokenChain, "entry %d of feed %s does not follow the entry held before it", h.Seq, h.Feed.Short())
	}
	return nil
}

// stored returns the skeleton of an entry and its wrapped body, empty if none is stored.
func (tx *Tx) stored(feed protocol.FeedID, seq uint64) (skeleton, wrapped []byte, err error) {
	v, err := tx.get(placeKey(spaceEntry, feed, seq))
	if err == nil && v == nil {
		err = protocol.Errorf(protocol.ErrMalformed, "store is damaged: entry %d of feed %s is missing", seq, feed.Short())
	}
	if err != nil {
		return nil, nil, err
	}
	return splitEntry(v)
}

// bodyBytes returns by how many bytes an entry as it travels is longer than its skeleton.
func bodyBytes(skeleton, wrapped []byte) uint64 {
	return uint64(protocol.JoinedSize(len(skeleton), len(wrapped)-wrapOverhead) - len(skeleton))
}

func appendSkeleton(b, skeleton []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(skeleton))), skeleton...)
}

func splitEntry(v []byte) (skeleton, wrapped []byte, err error) {
	if len(v) < 5 || int(binary.BigEndian.Uint32(v)) > len(v)-4 || binary.BigEndian.Uint32(v) == 0 {
		return nil, nil, protocol.Errorf(protocol.ErrMalformed, "store is damaged: an entry cannot be read")
	}
	n := 4 + int(binary.BigEndian.Uint32(v))
	return v[4:n], v[n:], nil
}

// joined makes an entry as it travels. An erased body is never part of it, whatever is
// stored: a database may bring back what was deleted.
func (tx *Tx) joined(feed protocol.FeedID, seq uint64, v []byte) ([]byte, error) {
	skeleton, wrapped, err := splitEntry(v)
	if err != nil {
		return nil, err
	}
	tomb, err := tx.Erased(feed, seq)
	if err != nil {
		return nil, err
	}
	if tomb != nil || len(wrapped) == 0 {
		return bytes.Clone(skeleton), nil
	}
	body, err := tx.Unwrap(placeKey(spaceEntry, feed, seq), wrapped)
	if err != nil {
		return nil, fmt.Errorf("reading entry %d of feed %s: %w", seq, feed.Short(), err)
	}
	return protocol.Join(skeleton, body), nil
}

// Envelope returns an entry as it travels, nil if it lies beyond the head or the feed is
// not known; without its body if that was erased or is lacking. The slice is the caller's.
func (tx *Tx) Envelope(feed protocol.FeedID, seq uint64) ([]byte, error) {
	f, err := tx.Feed(feed)
	if err != nil || f == nil || seq == 0 || seq > f.Seq {
		return nil, err
	}
	v, err := tx.get(placeKey(spaceEntry, feed, seq))
	if err == nil && v == nil {
		err = protocol.Errorf(protocol.ErrMalformed, "store is damaged: entry %d of feed %s is missing", seq, feed.Short())
	}
	if err != nil {
		return nil, err
	}
	return tx.joined(feed, seq, v)
}

// Skeleton returns an entry without its body, nil if it lies beyond the head.
func (tx *Tx) Skeleton(feed protocol.FeedID, seq uint64) ([]byte, error) {
	f, err := tx.Feed(feed)
	if err != nil || f == nil || seq == 0 || seq > f.Seq {
		return nil, err
	}
	skeleton, _, err := tx.stored(feed, seq)
	return bytes.Clone(skeleton), err
}

// Range calls fn with the entries of a feed as they travel, from seq from to at most the
// head: at most count of them, and of at most maxBytes together, but one in any case. raw
// is valid during the call only. An error of fn ends Range, which returns it.
func (tx *Tx) Range(feed protocol.FeedID, from uint64, count, maxBytes int, fn func(raw []byte) error) error {
	f, err := tx.Feed(feed)
	from = max(from, 1)
	if err != nil || f == nil || from > f.Seq || count <= 0 {
		return err
	}
	last := f.Seq
	if uint64(count) < last-from+1 {
		last = from + uint64(count) - 1
	}
	next, size, full := from, 0, false
	err = tx.scan(feedKey(spaceEntry, feed), placeKey(spaceEntry, feed, from), false, func(k, v []byte) (bool, error) {
		seq := numberOf(k)
		if seq > last || seq != next {
			return false, nil
		}
		raw, err := tx.joined(feed, seq, v)
		if err != nil {
			return false, err
		}
		if size += len(raw); size > maxBytes && seq > from {
			full = true
			return false, nil
		}
		next++
		return next <= last, fn(raw)
	})
	if err == nil && !full && next <= last {
		err = protocol.Errorf(protocol.ErrMalformed, "store is damaged: entry %d of feed %s is missing", next, feed.Short())
	}
	return err
}
