package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/protocol"
)

// errDisplaced says that another process writes for this mirror.
var errDisplaced = errors.New("another process with a copy of this data directory writes to the database; stop one of them, and give it a data directory of its own")

// errPosition says that the database stands elsewhere than was thought: a commit of which the answer was
// lost, or a server that lost some.
var errPosition = errors.New("the database stands at another position")

// step is what one transaction writes.
type step struct {
	list   []corpus.Standing // each record once
	before place             // where the mirror must stand
	after  place
}

// place is where a mirror stands.
type place struct {
	position uint64
	erased   uint64
	whole    bool
}

// write writes a step. Either all of it is written, or nothing.
func (m *Mirror) write(ctx context.Context, s step) (err error) {
	tx, err := m.pool.BeginTx(ctx, readCommitted)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	w := &writer{tx: tx, mirror: m.number, names: m.source.Name}
	if err := w.look(ctx, m.run[:], s); err != nil {
		return err
	}
	if err := w.change(ctx, s.list); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE entente.mirrors SET position = $2, erased = $3, whole = $4, seen = $5 WHERE mirror = $1`,
		m.number, int64(s.after.position), int64(s.after.erased), s.after.whole, time.Now())
	if err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// writer is one transaction. It holds the line of entente.writer.
type writer struct {
	tx     pgx.Tx
	mirror int32
	names  func(protocol.OrgID) string
	here   map[protocol.RecordID]bool // of the records of the step: those in entente.records
	tombs  map[protocol.RecordID][]corpus.Tombstone
}

// look locks, and reads what is there of a step's records.
func (w *writer) look(ctx context.Context, run []byte, s step) error {
	ids := make([][]byte, len(s.list))
	for i := range s.list {
		ids[i] = s.list[i].Record[:]
	}
	w.here, w.tombs = map[protocol.RecordID]bool{}, map[protocol.RecordID][]corpus.Tombstone{}
	b := new(pgx.Batch) // one round trip; what follows the lock sees what was committed before it
	b.Queue(lockWriter)
	b.Queue(`SELECT position, erased, session FROM entente.mirrors WHERE mirror = $1`, w.mirror).QueryRow(func(row pgx.Row) error {
		var position, erased int64
		var session []byte
		if err := row.Scan(&position, &erased, &session); err != nil {
			return err
		}
		switch {
		case string(session) != string(run):
			return errDisplaced
		case uint64(position) != s.before.position || uint64(erased) != s.before.erased:
			return errPosition
		}
		return nil
	})
	if len(ids) > 0 {
		b.Queue(`SELECT record FROM entente.records WHERE record = ANY($1)`, ids).Query(func(rows pgx.Rows) error {
			return eachRow(rows, func() error {
				var id []byte
				err := rows.Scan(&id)
				w.here[protocol.RecordID(id)] = true
				return err
			})
		})
		b.Queue(`SELECT record, org FROM entente.tombstones WHERE record = ANY($1)`, ids).Query(func(rows pgx.Rows) error {
			return eachRow(rows, func() error {
				var id, org []byte
				err := rows.Scan(&id, &org)
				w.tombs[protocol.RecordID(id)] = append(w.tombs[protocol.RecordID(id)], corpus.Tombstone{By: protocol.OrgID(org)})
				return err
			})
		})
	}
	return w.tx.SendBatch(ctx, b).Close()
}

func eachRow(rows pgx.Rows, fn func() error) error {
	for rows.Next() {
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// change writes how records stand.
func (w *writer) change(ctx context.Context, list []corpus.Standing) error {
	if err := w.erase(ctx, list); err != nil {
		return fmt.Errorf("erasing: %w", err)
	}
	// What this mirror held of them is written anew.
	var held [][]byte
	for i := range list {
		if w.here[list[i].Record] {
			held = append(held, list[i].Record[:])
		}
	}
	if len(held) > 0 {
		if _, err := w.tx.Exec(ctx, `DELETE FROM entente.holdings WHERE record = ANY($1) AND mirror = $2`, held, w.mirror); err != nil {
			return err
		}
	}
	if err := w.add(ctx, list); err != nil {
		return err
	}
	return dropUnheld(ctx, w.tx, held)
}

// erase writes the tombstones that are new, and takes out what they count for, whichever mirror holds it.
func (w *writer) erase(ctx context.Context, list []corpus.Standing) error {
	var records, orgs [][]byte
	var reasons []string
	var times []time.Time
	for i := range list {
		for _, t := range list[i].Tombs {
			id := list[i].Record
			if slices.ContainsFunc(w.tombs[id], func(o corpus.Tombstone) bool { return o.By == t.By }) {
				continue
			}
			w.tombs[id] = append(w.tombs[id], t)
			records, orgs = append(records, id[:]), append(orgs, t.By[:])
			reasons, times = append(reasons, t.Reason.String()), append(times, millis(t.At))
		}
	}
	if len(records) == 0 {
		return nil
	}
	if _, err := w.tx.Exec(ctx, `INSERT INTO entente.tombstones (record, org, reason, erased_at) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::timestamptz[])`,
		records, orgs, reasons, times); err != nil {
		return err
	}
	_, err := w.tx.Exec(ctx, `DELETE FROM entente.holdings WHERE record = ANY($1) AND EXISTS (
		SELECT 1 FROM unnest($1::bytea[], $2::bytea[]) AS t(record, org)
		WHERE t.record = holdings.record AND t.org IN ($3, holdings.originator, holdings.publisher))`, records, orgs, corpus.Locally[:])
	return err
}

// dropUnheld removes what nobody holds any more of some records.
func dropUnheld(ctx context.Context, tx pgx.Tx, records [][]byte) error {
	if len(records) == 0 {
		return nil
	}
	for _, table := range []string{"observables", "records"} {
		if _, err := tx.Exec(ctx, `DELETE FROM entente.`+table+` WHERE record = ANY($1)
			AND NOT EXISTS (SELECT 1 FROM entente.holdings h WHERE h.record = `+table+`.record)`, records); err != nil {
			return err
		}
	}
	return nil
}

// add writes what is held and was not erased.
func (w *writer) add(ctx context.Context, list []corpus.Standing) error {
	var records, observables, holdings [][]any
	orgs := map[protocol.OrgID]bool{}
	for i := range list {
		e := list[i].Entry
		if e == nil || slices.ContainsFunc(w.tombs[e.Record], func(t corpus.Tombstone) bool { return t.Covers(e.Originator, e.Publisher) }) {
			continue
		}
		orgs[e.Originator], orgs[e.Publisher] = true, true
		holdings = append(holdings, holdingRow(w.mirror, e))
		if w.here[e.Record] {
			continue
		}
		row, found, err := recordRows(e)
		if err != nil {
			return fmt.Errorf("record %s: %w", e.Record.Short(), err)
		}
		records, observables = append(records, row), append(observables, found...)
	}
	if err := w.addOrganisations(ctx, orgs); err != nil {
		return err
	}
	for _, t := range []struct {
		name    string
		columns []string
		rows    [][]any
	}{
		{"records", recordColumns, records}, {"observables", observableColumns, observables}, {"holdings", holdingColumns, holdings},
	} {
		if len(t.rows) == 0 {
			continue
		}
		// Nobody else writes, so nothing can conflict: no table in between is needed.
		if _, err := w.tx.CopyFrom(ctx, pgx.Identifier{"entente", t.name}, t.columns, pgx.CopyFromRows(t.rows)); err != nil {
			return fmt.Errorf("copying into %s: %w", t.name, err)
		}
	}
	return nil
}

func (w *writer) addOrganisations(ctx context.Context, orgs map[protocol.OrgID]bool) error {
	if len(orgs) == 0 {
		return nil
	}
	var keys [][]byte
	var ids, names []string
	for org := range orgs {
		keys, ids, names = append(keys, org[:]), append(ids, org.String()), append(names, text(w.names(org)))
	}
	_, err := w.tx.Exec(ctx, `INSERT INTO entente.organisations (org, org_id, name) SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[])
		ON CONFLICT (org) DO UPDATE SET name = excluded.name WHERE organisations.name <> excluded.name AND excluded.name <> ''`, keys, ids, names)
	return err
}
