package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/entente-mesh/entente/protocol"
)

//go:embed migrations/*.sql
var files embed.FS

// ReaderRole may read, and nothing else: analysts are made members of it.
const ReaderRole = "entente_reader"

// readable is what ReaderRole may read. What it does not need to see is not among it: tombstones say
// what there was.
var readable = []string{"mirrors", "organisations", "records", "observables", "holdings", "corpus", "current", "relationships", "sightings"}

// Migrations returns the statements that make the tables, version 1 first. They can be run again.
func Migrations() (list [][]string) {
	entries, err := files.ReadDir("migrations")
	if err != nil {
		panic(err)
	}
	for _, e := range entries { // sorted by name
		b, err := files.ReadFile("migrations/" + e.Name())
		if err != nil {
			panic(err)
		}
		list = append(list, strings.Split(string(b), "\n--\n"))
	}
	return list
}

// begin makes what migrations are guarded by. CREATE IF NOT EXISTS is no guard itself: two that do it at
// once may both fail.
var begin = []string{
	`CREATE TABLE IF NOT EXISTS entente.schema_version (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS entente.writer (one boolean PRIMARY KEY, organisation bytea)`,
}

// lockWriter makes a transaction the only one that writes.
const lockWriter = `SELECT organisation FROM entente.writer WHERE one FOR UPDATE`

// migrate brings the tables up to date, and says whose database it is. Several nodes may do it at once:
// one of them has the line of writer locked, and the others find it done. Definitions are made on
// another connection, each for itself, because not every engine takes them in a transaction; what a
// crash left half done is done again. reader reports whether analysts' role is there.
func migrate(ctx context.Context, pool *pgxpool.Pool, org protocol.OrgID) (reader bool, err error) {
	if err := beginSchema(ctx, pool); err != nil {
		return false, fmt.Errorf("making the schema entente: %w", err)
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	var of []byte
	if err := tx.QueryRow(ctx, lockWriter).Scan(&of); err != nil {
		return false, err
	}
	if of != nil && string(of) != string(org[:]) {
		return false, fmt.Errorf("this database is that of organisation %s; give each organisation a database of its own", protocol.OrgID(of).Short())
	}
	if of == nil {
		if _, err := tx.Exec(ctx, `UPDATE entente.writer SET organisation = $1 WHERE one`, org[:]); err != nil {
			return false, err
		}
	}
	version := 0
	if err := pool.QueryRow(ctx, `SELECT COALESCE(max(version), 0) FROM entente.schema_version`).Scan(&version); err != nil {
		return false, err
	}
	list := Migrations()
	if version > len(list) {
		return false, fmt.Errorf("the database has tables of version %d, this program knows %d: bring it up to date", version, len(list))
	}
	for ; version < len(list); version++ {
		for _, sql := range list[version] {
			if _, err := pool.Exec(ctx, sql); err != nil {
				return false, fmt.Errorf("making tables of version %d: %w", version+1, err)
			}
		}
		if _, err := pool.Exec(ctx, `INSERT INTO entente.schema_version (version, applied_at) VALUES ($1, $2) ON CONFLICT DO NOTHING`, version+1, time.Now()); err != nil {
			return false, err
		}
	}
	if reader, err = grantReader(ctx, pool); err != nil {
		return false, fmt.Errorf("granting %s what it may read: %w", ReaderRole, err)
	}
	return reader, tx.Commit(ctx)
}

func beginSchema(ctx context.Context, pool *pgxpool.Pool) (err error) {
	for range 10 {
		if err = tryBegin(ctx, pool); !isCode(err, "23505", "42P06", "42P07", "42710", "XX000") {
			break // not another who did the same at once
		}
		if werr := wait(ctx, 50*time.Millisecond); werr != nil {
			return werr
		}
	}
	return err
}

func tryBegin(ctx context.Context, pool *pgxpool.Pool) error {
	// Who may not make schemas may still use one that was made for it, and IF NOT EXISTS asks first
	// whether one may.
	var schema, writer bool
	err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'entente'),
		EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'entente' AND c.relname = 'writer')`).Scan(&schema, &writer)
	if err == nil && !schema {
		_, err = pool.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS entente`)
	}
	for _, sql := range begin {
		if err == nil && !writer {
			_, err = pool.Exec(ctx, sql)
		}
	}
	if err == nil {
		_, err = pool.Exec(ctx, `INSERT INTO entente.writer (one) VALUES (true) ON CONFLICT DO NOTHING`)
	}
	return err
}

// grantReader lets analysts' role read, and makes it if it may.
func grantReader(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	var there bool
	if err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1)`, ReaderRole).Scan(&there); err != nil {
		return false, err
	}
	if !there {
		// Roles are common to all databases of a server: another may make it at once.
		_, err := pool.Exec(ctx, `CREATE ROLE `+ReaderRole+` NOLOGIN`)
		if isCode(err, "42501") {
			return false, nil
		}
		if err != nil && !isCode(err, "42710", "23505") {
			return false, err
		}
	}
	for _, sql := range []string{`GRANT USAGE ON SCHEMA entente TO ` + ReaderRole, `GRANT SELECT ON entente.` + strings.Join(readable, `, entente.`) + ` TO ` + ReaderRole} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return false, err
		}
	}
	return true, nil
}

func isCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains(codes, pg.Code)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

var readCommitted = pgx.TxOptions{IsoLevel: pgx.ReadCommitted}
