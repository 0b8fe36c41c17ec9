package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/protocol"
)

// Source is the node that a mirror follows.
type Source interface {
	Organisation() protocol.OrgID
	Node() protocol.NodeID
	// Removed lists the nodes that the organisation removed: they hold nothing any more.
	Removed() []protocol.NodeID
	// Name is what an organisation calls itself; empty if that is not known.
	Name(protocol.OrgID) string
	// Identity returns that of the data directory, with the present run; with anew set, another one.
	Identity(anew bool) (*corpus.MirrorIdentity, error)
	// Head returns the cursor of the last change.
	Head() (uint64, error)
	// Changes returns the records that at most limit changes after a cursor are about, each once, and the
	// cursor to go on from. That is the one given if there are none.
	Changes(after uint64, limit int) ([]corpus.Standing, uint64, error)
	// Erasures is Changes of those that erase, and asked ahead of Changes. With an empty list the cursor to
	// go on from may still be another: up to there is none.
	Erasures(after uint64, limit int) ([]corpus.Standing, uint64, error)
	// Changed returns a channel that is closed when there may be another change.
	Changed() <-chan struct{}
}

// Bounds of a mirror.
const (
	// batchChanges is how many changes are written in one transaction. An erasure waits for one at most.
	batchChanges = 2000
	// retireChunk is how many holdings of a mirror that is not needed any more go in one transaction.
	retireChunk = 5000
	// beat is how often a mirror that has nothing to write says that it is there.
	beat = time.Minute
)

// Mirror keeps what a node holds in the database, and reads it there.
type Mirror struct {
	pool   *pgxpool.Pool
	source Source
	log    *slog.Logger
	batch  int

	number int32    // of the line in mirrors; set by attach, which Run alone calls
	run    [16]byte // of the node
	at     *place   // where CatchUp left it; nil: it is to attach first

	mu       sync.Mutex
	status   corpus.MirrorStatus
	mirror   int32 // as number, for those who search; 0: not attached yet
	advanced chan struct{}
}

// New returns a mirror of a node's corpus. It does not touch the network before Run does.
func New(c Config, source Source, log *slog.Logger) (*Mirror, error) {
	pool, err := open(c)
	if err != nil {
		return nil, err
	}
	return &Mirror{pool: pool, source: source, log: log, batch: batchChanges, advanced: make(chan struct{})}, nil
}

// Address says where the database is, and as whom it is written to.
func (m *Mirror) Address() string {
	c := m.pool.Config().ConnConfig
	return fmt.Sprintf("%s@%s:%d/%s", c.User, c.Host, c.Port, c.Database)
}

// Close closes the connections. Run must have returned.
func (m *Mirror) Close() { m.pool.Close() }

// Run follows the node until ctx ends. What fails is tried again: the node does not wait for it.
func (m *Mirror) Run(ctx context.Context) {
	pause := time.Second
	for ctx.Err() == nil {
		begun := time.Now()
		err := m.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		m.failed(err)
		if time.Since(begun) > time.Minute {
			pause = time.Second
		}
		if wait(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// follow attaches, and writes what comes, until something fails.
func (m *Mirror) follow(ctx context.Context) error {
	at, err := m.attach(ctx)
	if err != nil {
		return err
	}
	for {
		changed := m.source.Changed()
		next, err := m.advance(ctx, at)
		switch {
		case errors.Is(err, errPosition):
			// What was written last is written, or what was thought so is not: it says itself.
			if at, err = m.attach(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case next != at:
			at = next
			continue
		}
		if err := m.idle(ctx, at, changed); err != nil {
			return err
		}
	}
}

// idle waits for another change, and says now and then that the mirror is there.
func (m *Mirror) idle(ctx context.Context, at place, changed <-chan struct{}) error {
	t := time.NewTimer(beat)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	case <-t.C:
		if err := m.retireOthers(ctx); err != nil {
			return err
		}
		return m.write(ctx, step{before: at, after: at})
	}
}

// CatchUp writes everything that there is now, and returns. Run must not be running.
func (m *Mirror) CatchUp(ctx context.Context) (err error) {
	at := m.at
	if at == nil {
		at = new(place)
		*at, err = m.attach(ctx)
	}
	for m.at = nil; err == nil; {
		var next place
		if next, err = m.advance(ctx, *at); err == nil && next == *at {
			m.at = at
			return nil
		}
		*at = next
	}
	return err
}

// advance writes the next step: the erasures that are not written yet, wherever among the changes they
// stand, and then changes. It returns where the mirror stands then, which is where it stood if nothing was left.
func (m *Mirror) advance(ctx context.Context, at place) (place, error) {
	head, err := m.source.Head()
	if err != nil {
		return at, err
	}
	next := at
	var list []corpus.Standing
	for len(list) == 0 {
		before := next.erased
		var erased uint64
		if list, erased, err = m.source.Erasures(before, m.batch); err != nil {
			return at, err
		}
		if next.erased = max(erased, before); next.erased == before {
			break
		}
	}
	if len(list) == 0 {
		if list, next.position, err = m.source.Changes(at.position, m.batch); err != nil {
			return at, err
		}
		next.erased = max(next.erased, next.position)
	}
	if next == at {
		if !at.whole {
			if err := m.retireOthers(ctx); err != nil {
				return at, fmt.Errorf("removing what nobody holds any more: %w", err)
			}
			next.whole = true
			err = m.write(ctx, step{before: at, after: next})
		}
		m.stands(next, head, 0)
		return next, err
	}
	if err := m.write(ctx, step{list: list, before: at, after: next}); err != nil {
		return at, err
	}
	m.stands(next, head, len(list))
	return next, nil
}

// attach connects, brings the tables up to date, and finds or makes the line of this mirror.
func (m *Mirror) attach(ctx context.Context) (place, error) {
	reader, err := migrate(ctx, m.pool, m.source.Organisation())
	if err != nil {
		return place{}, err
	}
	identity, err := m.source.Identity(false)
	if err != nil {
		return place{}, err
	}
	at, ok, err := m.claim(ctx, identity)
	if err == nil && !ok {
		m.log.Warn("this data directory went back in time since it last wrote to the database; everything is written anew, and what is there stays until that is done")
		if identity, err = m.source.Identity(true); err == nil {
			at, _, err = m.claim(ctx, identity)
		}
	}
	if err != nil {
		return place{}, err
	}
	var server string
	if err := m.pool.QueryRow(ctx, `SELECT version()`).Scan(&server); err != nil {
		return place{}, err
	}
	m.mu.Lock()
	m.mirror, m.status.Connected, m.status.Error, m.status.NoReader, m.status.Server = m.number, true, "", !reader, server
	m.mu.Unlock()
	head, err := m.source.Head()
	m.stands(at, head, 0)
	return at, err
}

// claim makes the line of a mirror this run's. ok is false if what was written there is of another history.
func (m *Mirror) claim(ctx context.Context, identity *corpus.MirrorIdentity) (at place, ok bool, err error) {
	tx, err := m.pool.BeginTx(ctx, readCommitted)
	if err != nil {
		return at, false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, lockWriter); err != nil {
		return at, false, err
	}
	run := identity.Runs[len(identity.Runs)-1].Run
	var position, erased int64
	var session []byte
	err = tx.QueryRow(ctx, `SELECT mirror, position, erased, whole, session FROM entente.mirrors WHERE id = $1`, identity.ID[:]).Scan(&m.number, &position, &erased, &at.whole, &session)
	now := time.Now()
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		if err := tx.QueryRow(ctx, `SELECT COALESCE(max(mirror), 0) + 1 FROM entente.mirrors`).Scan(&m.number); err != nil {
			return at, false, err
		}
		_, err = tx.Exec(ctx, `INSERT INTO entente.mirrors (mirror, id, node, session, position, erased, whole, began, seen) VALUES ($1, $2, $3, $4, 0, 0, false, $5, $5)`,
			m.number, identity.ID[:], m.source.Node().String(), run[:], now)
	case err != nil:
		return at, false, err
	default:
		at.position, at.erased = uint64(position), uint64(erased)
		if len(session) != 16 || !identity.Continues([16]byte(session), max(at.position, at.erased)) {
			return at, false, nil
		}
		_, err = tx.Exec(ctx, `UPDATE entente.mirrors SET session = $2, seen = $3 WHERE mirror = $1`, m.number, run[:], now)
	}
	if err != nil {
		return at, false, err
	}
	m.run = run
	return at, true, tx.Commit(ctx)
}

// retireOthers removes what other data directories of this node wrote, and nodes that were removed, now that
// this one is whole.
func (m *Mirror) retireOthers(ctx context.Context) error {
	gone := []string{m.source.Node().String()}
	for _, id := range m.source.Removed() {
		gone = append(gone, id.String())
	}
	rows, err := m.pool.Query(ctx, `SELECT mirror FROM entente.mirrors WHERE node = ANY($1) AND mirror <> $2`, gone, m.number)
	if err != nil {
		return err
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	for _, n := range others {
		if err == nil {
			err = retire(ctx, m.pool, n)
		}
	}
	return err
}

// retire removes a mirror, and what it alone held.
func retire(ctx context.Context, pool *pgxpool.Pool, mirror int32) error {
	for more := true; more; {
		err := pgx.BeginTxFunc(ctx, pool, readCommitted, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, lockWriter); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, `DELETE FROM entente.holdings WHERE mirror = $1 AND cursor IN
				(SELECT cursor FROM entente.holdings WHERE mirror = $1 ORDER BY cursor LIMIT $2) RETURNING record`, mirror, retireChunk)
			if err != nil {
				return err
			}
			gone, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
			if err != nil {
				return err
			}
			if more = len(gone) > 0; more {
				return dropUnheld(ctx, tx, gone)
			}
			_, err = tx.Exec(ctx, `DELETE FROM entente.mirrors WHERE mirror = $1`, mirror)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrNoMirror is returned for a node of which the database holds nothing.
var ErrNoMirror = errors.New("the database holds nothing of that node")

// Forget removes what a node that will not come back wrote, and what it alone held.
func (m *Mirror) Forget(ctx context.Context, node protocol.NodeID) error {
	if node == m.source.Node() {
		return errors.New("that is this node, which would write it again at once; run it without --postgres, and have another node forget it")
	}
	rows, err := m.pool.Query(ctx, `SELECT mirror FROM entente.mirrors WHERE node = $1`, node.String())
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s: %w", node, ErrNoMirror)
	}
	for _, n := range list {
		if err == nil {
			err = retire(ctx, m.pool, n)
		}
	}
	return err
}

// begun returns the number of the mirror.
func (m *Mirror) begun() (int32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mirror == 0 {
		return 0, errNotBegun
	}
	return m.mirror, nil
}

// stands notes where the mirror stands, and wakes those who wait for that.
func (m *Mirror) stands(at place, head uint64, wrote int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.status
	s.Position, s.Erased, s.Whole, s.Behind = at.position, at.erased, at.whole, head-min(head, at.position)
	if s.Written += uint64(wrote); s.Behind == 0 {
		s.UpTo = time.Now().UTC()
	}
	close(m.advanced)
	m.advanced = make(chan struct{})
}

func (m *Mirror) failed(err error) {
	m.log.Warn("the database does not follow the corpus; it is tried again", "err", err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Connected, m.status.Error = false, err.Error()
	m.status.Failures++
}

// Status returns how the mirror stands.
func (m *Mirror) Status() corpus.MirrorStatus {
	head, err := m.source.Head()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	if err == nil {
		s.Behind = head - min(head, s.Position)
	}
	return s
}

// Reached waits until everything up to a cursor is written, or ctx ends, and reports whether it is.
func (m *Mirror) Reached(ctx context.Context, cursor uint64) bool {
	for {
		m.mu.Lock()
		ok, connected, advanced := m.mirror != 0 && m.status.Position >= cursor, m.status.Connected, m.advanced
		m.mu.Unlock()
		if ok || !connected {
			return ok && connected
		}
		select {
		case <-ctx.Done():
			return false
		case <-advanced:
		}
	}
}

// RandomID returns a random id of a data directory, or of a run.
func RandomID() (id [16]byte) {
	rand.Read(id[:])
	return id
}
