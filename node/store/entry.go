package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// ErrFork means that a feed was continued in two ways: its author signed two entries with
// one seq. The error is a *ForkError.
var ErrFork = errors.New("feed was forked by its author")

// ForkError is the proof of a fork: two encoded envelopes, both signed, of one feed and seq.
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
// *ForkError. env.Raw is kept.
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
		return false, tx.compare(env)
	}
	if err := follows(f.Seq, f.Hash, env); err != nil {
		return false, err
	}
	if staged, err := tx.get(feedKey(spaceStaged, id)); err != nil || staged != nil {
		return false, errors.Join(fmt.Errorf("appending to feed %s while entries are staged for it", id.Short()), err)
	}
	tx.set(placeKey(spaceEntry, id, seq), env.Raw)
	f.Seq, f.Hash = seq, env.Hash
	f.Bytes += uint64(len(env.Raw))
	tx.putFeed(f)
	return true, nil
}

// compare returns nil if env is the entry that is held at its place.
func (tx *Tx) compare(env *crypto.VerifiedEnvelope) error {
	id, seq := env.Header.Feed, env.Header.Seq
	held, err := tx.entry(id, seq)
	if err != nil || bytes.Equal(held, env.Raw) {
		return err
	}
	var e protocol.Envelope
	if err := protocol.Decode(held, protocol.MaxEnvelopeSize, &e); err != nil {
		return fmt.Errorf("reading entry %d of feed %s: %w", seq, id.Short(), err)
	}
	if protocol.EntryHash(e.Header) == env.Hash {
		return nil
	}
	return &ForkError{Feed: id, Seq: seq, Held: held, Other: bytes.Clone(env.Raw)}
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

func (tx *Tx) entry(feed protocol.FeedID, seq uint64) ([]byte, error) {
	raw, err := tx.get(placeKey(spaceEntry, feed, seq))
	if err == nil && raw == nil {
		err = protocol.Errorf(protocol.ErrMalformed, "store is damaged: entry %d of feed %s is missing", seq, feed.Short())
	}
	return raw, err
}

// Envelope returns an entry as it travels, nil if it lies beyond the head or the feed is
// not known. The slice is the caller's.
func (tx *Tx) Envelope(feed protocol.FeedID, seq uint64) ([]byte, error) {
	f, err := tx.Feed(feed)
	if err != nil || f == nil || seq == 0 || seq > f.Seq {
		return nil, err
	}
	return tx.entry(feed, seq)
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
	err = tx.scan(feedKey(spaceEntry, feed), placeKey(spaceEntry, feed, from), false, func(k, raw []byte) (bool, error) {
		seq := numberOf(k)
		if seq > last || seq != next {
			return false, nil
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
