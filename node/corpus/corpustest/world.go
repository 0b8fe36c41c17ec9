// Package corpustest says what a corpus.Reader must answer, and gives a corpus a history to answer about.
package corpustest

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/disk"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// World is the corpus of one node in its store, with the changes that it went through. What a node does
// with envelopes and agreements is left out: its history is whatever a test makes. It is the source of a mirror.
type World struct {
	t     testing.TB
	Org   protocol.OrgID
	ID    protocol.NodeID
	Names map[protocol.OrgID]string
	Gone  []protocol.NodeID // nodes that were removed
	Runs  int               // how often it was opened
	st    *store.Store
	x     *corpus.Index
	cfg   store.Config

	mu      sync.Mutex
	changed chan struct{}
}

// keyIdentity is where the world keeps what it is known by, beside the corpus.
const keyIdentity = "t/mirror"

// NewWorld makes a world, in a directory, or in memory if that is empty.
func NewWorld(t testing.TB, node byte, dir string) *World {
	w := &World{t: t, Org: protocol.OrgID{99}, ID: protocol.NodeID{node}, changed: make(chan struct{}), cfg: store.Config{Dir: dir, Key: [32]byte{node}}}
	if dir == "" {
		w.cfg.Dir, w.cfg.Disk = "data", new(disk.Disk)
	}
	w.Open()
	return w
}

// Open opens the store, as at the start of a node: another run begins.
func (w *World) Open() {
	w.t.Helper()
	w.Runs++
	var err error
	if w.st, err = store.Open(w.cfg); err != nil {
		w.t.Fatal(err)
	}
	w.update(func(tx *store.Tx) error {
		limits := corpus.DefaultLimits
		if w.cfg.Disk != nil {
			limits = corpus.TinyLimits
		}
		if w.x, err = corpus.Open(tx, limits); err != nil {
			return err
		}
		m, err := readIdentity(tx)
		if err != nil {
			return err
		}
		count, err := corpus.Count(tx)
		m.Runs = append(m.Runs, corpus.MirrorRun{Run: random(), From: count.Cursor})
		return errors.Join(err, tx.Set([]byte(keyIdentity), protocol.Encode(m)))
	})
}

// Close closes the store.
func (w *World) Close() {
	w.t.Helper()
	if err := w.st.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *World) update(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.st.Update(fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *World) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Add adds a block of records.
func (w *World) Add(b corpus.Block) corpus.Added {
	w.t.Helper()
	p, err := w.x.Prepare(b)
	if err != nil {
		w.t.Fatal(err)
	}
	var out corpus.Added
	w.update(func(tx *store.Tx) error { out, err = w.x.Add(tx, p); return err })
	w.update(func(tx *store.Tx) error { _, err := w.x.Merge(tx, 1000); return err })
	w.wake()
	return out
}

// Withdraw notes a withdrawal.
func (w *World) Withdraw(d corpus.Withdrawal) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error { return w.x.Withdraw(tx, d) })
	w.wake()
}

// TakeBack forgets the withdrawals of an entry.
func (w *World) TakeBack(feed protocol.FeedID, seq uint64) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error { return w.x.TakeBack(tx, feed, seq, worldTime) })
	w.wake()
}

// worldTime is when things become of records: Unix milliseconds.
const worldTime = 1_700_000_000_000

// Erase erases records on the word of an organisation.
func (w *World) Erase(by protocol.OrgID, records ...protocol.RecordID) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		_, err := w.x.Erase(tx, records, by, protocol.EraseRequest, worldTime)
		return err
	})
	w.wake()
}

// TakeOut takes out the records of an envelope.
func (w *World) TakeOut(feed protocol.FeedID, seq uint64) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error { _, _, err := w.x.TakeOut(tx, feed, seq, worldTime); return err })
	w.wake()
}

// Embedded reads the corpus in the store, each time as it stands.
func (w *World) Embedded() corpus.Reader { return embedded{w} }

type embedded struct{ w *World }

func (r embedded) view(fn func(corpus.Reader) error) error {
	return r.w.st.View(func(tx *store.Tx) error { return fn(r.w.x.Reading(tx)) })
}

func (r embedded) Get(ctx context.Context, id protocol.RecordID) (e *corpus.Entry, err error) {
	err = r.view(func(c corpus.Reader) (err error) { e, err = c.Get(ctx, id); return err })
	return e, err
}

func (r embedded) ByStixID(ctx context.Context, id string) (list []corpus.Entry, err error) {
	err = r.view(func(c corpus.Reader) (err error) { list, err = c.ByStixID(ctx, id); return err })
	return list, err
}

func (r embedded) Search(ctx context.Context, q corpus.Query) (list []corpus.Entry, next uint64, err error) {
	err = r.view(func(c corpus.Reader) (err error) { list, next, err = c.Search(ctx, q); return err })
	return list, next, err
}

func (r embedded) Since(ctx context.Context, cursor uint64, limit int) (list []corpus.Entry, next uint64, err error) {
	err = r.view(func(c corpus.Reader) (err error) { list, next, err = c.Since(ctx, cursor, limit); return err })
	return list, next, err
}

func (r embedded) Count(ctx context.Context) (n corpus.Counts, err error) {
	err = r.view(func(c corpus.Reader) (err error) { n, err = c.Count(ctx); return err })
	return n, err
}

// What follows is what a mirror asks of a node.

// Organisation returns whose node it is.
func (w *World) Organisation() protocol.OrgID { return w.Org }

// Node returns its id.
func (w *World) Node() protocol.NodeID { return w.ID }

// Removed lists the nodes that were removed.
func (w *World) Removed() []protocol.NodeID { return w.Gone }

// Name returns what an organisation calls itself.
func (w *World) Name(org protocol.OrgID) string { return w.Names[org] }

type identityDoc struct {
	_    struct{} `cbor:",toarray"`
	ID   [16]byte
	Runs []corpus.MirrorRun
}

func readIdentity(tx *store.Tx) (*identityDoc, error) {
	m := &identityDoc{ID: random()}
	b, err := tx.Get([]byte(keyIdentity))
	if err == nil && b != nil {
		err = protocol.Decode(b, 1<<20, m)
	}
	return m, err
}

// Identity returns the identity of the data, or gives it another.
func (w *World) Identity(anew bool) (out *corpus.MirrorIdentity, err error) {
	err = w.st.Update(func(tx *store.Tx) error {
		m, err := readIdentity(tx)
		if err != nil {
			return err
		}
		if anew {
			m.ID, m.Runs = random(), m.Runs[len(m.Runs)-1:]
			err = tx.Set([]byte(keyIdentity), protocol.Encode(m))
		}
		out = &corpus.MirrorIdentity{ID: m.ID, Runs: m.Runs}
		return err
	})
	return out, err
}

// Head returns the cursor of the last change.
func (w *World) Head() (head uint64, err error) {
	n, err := w.Embedded().Count(context.Background())
	return n.Cursor, err
}

// Changes returns how the records stand that changes after a cursor are about.
func (w *World) Changes(after uint64, limit int) (list []corpus.Standing, next uint64, err error) {
	err = w.st.View(func(tx *store.Tx) error { list, next, err = w.x.StandingSince(tx, after, limit); return err })
	return list, next, err
}

// Erasures is Changes of those that erase.
func (w *World) Erasures(after uint64, limit int) (list []corpus.Standing, next uint64, err error) {
	err = w.st.View(func(tx *store.Tx) error { list, next, err = w.x.ErasedSince(tx, after, limit); return err })
	return list, next, err
}

// Changed returns a channel that is closed with the next change.
func (w *World) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func random() (id [16]byte) {
	rand.Read(id[:])
	return id
}
