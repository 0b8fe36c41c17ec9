package postgres_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/entente-mesh/entente/node/corpus/postgres/pgtest"
)

var (
	startOnce sync.Once
	shared    *pgtest.Server
	startErr  error
	databases atomic.Int32
)

// sharedServer returns the one of this run of the package's tests.
func sharedServer(t testing.TB) *pgtest.Server {
	t.Helper()
	startOnce.Do(func() { shared, startErr = pgtest.Start() })
	if errors.Is(startErr, pgtest.ErrNotInstalled) && !pgtest.Wanted() {
		t.Skip(startErr)
	}
	if startErr != nil {
		t.Fatal(startErr)
	}
	return shared
}

// newDatabase makes an empty database.
func newDatabase(t testing.TB, s *pgtest.Server) string {
	t.Helper()
	name := fmt.Sprintf("t%d", databases.Add(1))
	sql(t, s.URL("postgres"), "CREATE DATABASE "+name)
	return s.URL(name)
}

// sql runs a statement and returns what it says: values parted by blanks, a line each.
func sql(t testing.TB, url, statement string, args ...any) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	rows, err := c.Query(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		list, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSuffix(fmt.Sprintln(list...), "\n"))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return strings.Join(lines, "\n")
}

func TestMain(m *testing.M) {
	if child(os.Args) {
		return
	}
	// A history takes a hundred round trips; the command line may ask for more of them.
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
	code := m.Run()
	if shared != nil {
		shared.Stop()
	}
	os.Exit(code)
}
