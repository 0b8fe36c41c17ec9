package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// Mirror is a database that follows what this node can read. What it writes of it, and how, is its own;
// see node/corpus/postgres.
type Mirror interface {
	corpus.Reader
	// Reached waits until everything up to a cursor is written, or ctx ends, and reports whether it is.
	Reached(ctx context.Context, cursor uint64) bool
	Status() corpus.MirrorStatus
	// Forget removes what another node wrote.
	Forget(ctx context.Context, node protocol.NodeID) error
}

const (
	// mirrorWait is how long a search waits for a mirror that is behind.
	mirrorWait = 200 * time.Millisecond
	// mirrorAnswer is how long it waits for the answer. The embedded corpus answers after that.
	mirrorAnswer = 5 * time.Second
)

// mirroring is what a mirror is told of this node.
type mirroring struct {
	run  [16]byte // of this process, random
	from uint64   // cursor of the last change when it began

	used               atomic.Pointer[usedMirror] // nil: none
	answered, declined atomic.Uint64
}

type usedMirror struct {
	Mirror
	search bool
}

// mirrorDoc is what the data directory is known by. It is in no backup: what a database has of this node
// up to now means nothing for the changes of a node that was restored.
type mirrorDoc struct {
	_    struct{} `cbor:",toarray"`
	ID   [16]byte
	Runs []corpus.MirrorRun
}

const mirrorSelf = "self"

// begin notes where the corpus stands before anything comes in this run.
func (m *mirroring) begin(tx *store.Tx) error {
	rand.Read(m.run[:])
	count, err := corpus.Count(tx)
	m.from = count.Cursor
	return err
}

// MirrorSource is this node as a mirror follows it. A node that went back in time shows nothing until it is
// known what was erased since, but says what was erased.
type MirrorSource struct{ n *Node }

// MirrorSource returns what a mirror follows.
func (n *Node) MirrorSource() *MirrorSource { return &MirrorSource{n} }

// Organisation returns whose node it is.
func (s *MirrorSource) Organisation() protocol.OrgID { return s.n.org }

// Node returns its id.
func (s *MirrorSource) Node() protocol.NodeID { return s.n.ID() }

// Removed lists the nodes that this organisation removed: a node that was restored from a backup is another
// one, and the lost one is removed.
func (s *MirrorSource) Removed() (list []protocol.NodeID) {
	for _, o := range s.n.OwnNodes() {
		if o.Removed != nil {
			list = append(list, o.Node)
		}
	}
	return list
}

// Name returns what an organisation calls itself; empty if its card is not known.
func (s *MirrorSource) Name(org protocol.OrgID) string {
	if c := s.n.snap.Load().cards[org]; c != nil {
		return c.Inception.Name
	}
	return ""
}

// Identity returns what the data directory is known by, with this run; with anew set, it takes another id.
func (s *MirrorSource) Identity(anew bool) (*corpus.MirrorIdentity, error) {
	m := &s.n.mirroring
	var doc mirrorDoc
	err := s.n.st.Update(func(tx *store.Tx) error {
		doc = mirrorDoc{}
		held, err := getDoc(tx, kindMirror, []byte(mirrorSelf), &doc)
		if err != nil {
			return err
		}
		if held && !anew && len(doc.Runs) > 0 && doc.Runs[len(doc.Runs)-1].Run == m.run {
			return nil
		}
		if !held || anew {
			doc = mirrorDoc{}
			rand.Read(doc.ID[:])
		}
		doc.Runs = append(doc.Runs, corpus.MirrorRun{Run: m.run, From: m.from})
		doc.Runs = doc.Runs[max(0, len(doc.Runs)-corpus.MaxMirrorRuns):]
		return putDoc(tx, kindMirror, []byte(mirrorSelf), &doc)
	})
	return &corpus.MirrorIdentity{ID: doc.ID, Runs: doc.Runs}, err
}

// Head returns the cursor of the last change.
func (s *MirrorSource) Head() (head uint64, err error) {
	err = s.n.st.View(func(tx *store.Tx) error {
		count, err := corpus.Count(tx)
		head = count.Cursor
		return err
	})
	return head, err
}

// Changes returns how the records stand that at most limit changes after a cursor are about, and the cursor
// to go on from.
func (s *MirrorSource) Changes(after uint64, limit int) (list []corpus.Standing, next uint64, err error) {
	if err := s.n.usable(); err != nil {
		return nil, 0, err
	}
	err = s.n.viewIndex(func(tx *store.Tx) (err error) {
		list, next, err = s.n.index.StandingSince(tx, after, limit)
		return err
	})
	return list, next, err
}

// Erasures is Changes of those that erase.
func (s *MirrorSource) Erasures(after uint64, limit int) (list []corpus.Standing, next uint64, err error) {
	err = s.n.viewIndex(func(tx *store.Tx) (err error) { list, next, err = s.n.index.ErasedSince(tx, after, limit); return err })
	return list, next, err
}

// Changed returns a channel that is closed when there may be another change.
func (s *MirrorSource) Changed() <-chan struct{} { return s.n.Changed() }

// UseMirror says which mirror follows this node, and where it is, which is noted in the audit; with search set,
// searches are answered by it when it is up with the node. A mirror of nil: none does any more.
func (n *Node) UseMirror(m Mirror, where string, search bool) error {
	if m == nil {
		n.mirroring.used.Store(nil)
		return nil
	}
	if err := n.st.Update(func(tx *store.Tx) error { return n.auditAccess(tx, "follow in a database", where) }); err != nil {
		return err
	}
	n.mirroring.used.Store(&usedMirror{m, search})
	return nil
}

// searchMirror is Search in the mirror, if there is one that is to be searched and is up with the node; else ok
// is false.
func (n *Node) searchMirror(s *snapshot, q corpus.Query) (out []Record, next uint64, ok bool) {
	out, ok = n.askMirror(s, func(ctx context.Context, r corpus.Reader) (list []corpus.Entry, err error) {
		list, next, err = r.Search(ctx, q)
		return list, err
	})
	return out, next, ok
}

// findMirror is Find in the mirror: text is a record id or a STIX id.
func (n *Node) findMirror(s *snapshot, text string) (out []Record, ok bool) {
	return n.askMirror(s, func(ctx context.Context, r corpus.Reader) ([]corpus.Entry, error) {
		if strings.Contains(text, "--") {
			return r.ByStixID(ctx, text)
		}
		id, err := protocol.ParseRecordID(text)
		if err != nil {
			return nil, err
		}
		e, err := r.Get(ctx, id)
		if err != nil || e == nil {
			return nil, err
		}
		return []corpus.Entry{*e}, nil
	})
}

// askMirror asks the mirror, once it holds everything that the node held when it was asked. What was erased
// since, and is erased here by now, is not shown: the node's own tombstones are asked last.
func (n *Node) askMirror(s *snapshot, ask func(context.Context, corpus.Reader) ([]corpus.Entry, error)) (out []Record, ok bool) {
	m := n.mirroring.used.Load()
	if m == nil || !m.search {
		return nil, false
	}
	list, err := n.mirrorEntries(m, ask)
	if err == nil {
		err = n.viewIndex(func(tx *store.Tx) error {
			out = []Record{}
			reader := n.recordReader(tx, s)
			for i := range list {
				e := &list[i]
				gone, err := corpus.Erased(tx, e.Record, e.Originator, e.Publisher)
				if err != nil {
					return err
				}
				if gone {
					continue
				}
				rec, err := reader.record(e)
				if err != nil {
					return err
				}
				out = append(out, rec)
			}
			return nil
		})
	}
	if err != nil {
		n.log.Debug("a search is answered by the embedded corpus", "err", err)
		n.mirroring.declined.Add(1)
		return nil, false
	}
	n.mirroring.answered.Add(1)
	return out, true
}

var errMirrorBehind = errors.New("the database is behind")

func (n *Node) mirrorEntries(m *usedMirror, ask func(context.Context, corpus.Reader) ([]corpus.Entry, error)) ([]corpus.Entry, error) {
	head, err := n.MirrorSource().Head()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), mirrorWait)
	reached := m.Reached(ctx, head)
	cancel()
	if !reached {
		return nil, errMirrorBehind
	}
	ctx, cancel = context.WithTimeout(context.Background(), mirrorAnswer)
	defer cancel()
	return ask(ctx, m)
}

// mirrorStatus says how the mirror stands; nil: there is none.
func (n *Node) mirrorStatus() *corpus.MirrorStatus {
	m := n.mirroring.used.Load()
	if m == nil {
		return nil
	}
	st := m.Status()
	st.Searched, st.Answered, st.Declined = m.search, n.mirroring.answered.Load(), n.mirroring.declined.Load()
	return &st
}

// ForgetMirror removes from the database what another node wrote, and what it alone held. Of this node itself,
// where no database follows it, it says that the one that did was dropped.
func (n *Node) ForgetMirror(ctx context.Context, node protocol.NodeID) error {
	m := n.mirroring.used.Load()
	if m == nil && node == n.ID() {
		return n.dropMirror()
	}
	if m == nil {
		return fmt.Errorf("no database follows this node; run it with --postgres: %w", ErrNotFound)
	}
	// Noted first: what is noted and was not done shows as still there.
	if err := n.st.Update(func(tx *store.Tx) error { return n.auditAccess(tx, "forget in the database", node.String()) }); err != nil {
		return err
	}
	return m.Forget(ctx, node)
}

// mirrorUsed reports whether a database ever followed this data directory, and nobody said that it was dropped.
func (n *Node) mirrorUsed() (used bool, err error) {
	err = n.st.View(func(tx *store.Tx) (err error) {
		used, err = getDoc(tx, kindMirror, []byte(mirrorSelf), &mirrorDoc{})
		return err
	})
	return used, err
}

// dropMirror forgets that a database followed, which was dropped.
func (n *Node) dropMirror() error {
	return n.st.Update(func(tx *store.Tx) error {
		held, err := getDoc(tx, kindMirror, []byte(mirrorSelf), &mirrorDoc{})
		if err == nil && !held {
			err = fmt.Errorf("no database ever followed this node: %w", ErrNotFound)
		}
		if err != nil {
			return err
		}
		return errors.Join(tx.Delete([]byte(kindMirror+mirrorSelf)), n.auditAccess(tx, "database dropped", n.ID().String()))
	})
}

// mirrorBeyond is what an erasure does not reach in the database; nil: there is none.
func (n *Node) mirrorBeyond() (*BeyondRow, error) {
	used, err := n.mirrorUsed()
	if err != nil || !used {
		return nil, err
	}
	const left = "what it deleted stays in its files until they are vacuumed, and in its log, replicas and backups: docs/postgres.md says what to do"
	switch m := n.mirrorStatus(); {
	case m == nil:
		return &BeyondRow{"rows of them in the PostgreSQL database that followed this node, and does not now", "run the node with --postgres, which deletes them, or drop the database and say so by 'entente postgres forget " + n.ID().String() + "'; " + left}, nil
	case !m.Connected:
		return &BeyondRow{"rows of them in the PostgreSQL database that follows this node, and is not connected now", "they are deleted as soon as it is: 'entente postgres status' says why it is not; " + left}, nil
	default:
		return &BeyondRow{"what is left of their rows in the PostgreSQL database that follows this node", "the rows are deleted right after this; " + left}, nil
	}
}

func (n *Node) mirrorProblems(st *Status) error {
	if st.Mirror = n.mirrorStatus(); st.Mirror == nil {
		used, err := n.mirrorUsed()
		if used {
			st.Problems = append(st.Problems, Problem{Kind: "mirror-gone", Severity: "warning", Text: "a PostgreSQL database followed this node, and does not now; what is erased here stays in it",
				Do: "run the node with --postgres; if the database was dropped, 'entente postgres forget " + n.ID().String() + "' says so"})
		}
		return err
	}
	m := st.Mirror
	add := st.problem
	if !m.Connected {
		why := m.Error
		if why == "" {
			why = "not reached yet"
		}
		add("mirror-disconnected", "warning", "mend what it says; what was erased here stays in the database until then", "the database does not follow the corpus: %s", why)
	}
	if m.NoReader {
		add("mirror-reader", "warning", "have its administrator run 'CREATE ROLE entente_reader NOLOGIN', and start the node again", "the database has no role entente_reader for analysts, and the node may not make it")
	}
	return nil
}
