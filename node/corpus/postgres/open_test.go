package postgres_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/entente-mesh/entente/node/corpus/corpustest"
	"github.com/entente-mesh/entente/node/corpus/postgres"
)

// TestAddresses: no password on a command line, and nothing over a network that could be read on its way.
func TestAddresses(t *testing.T) {
	t.Setenv("PGPASSFILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("PGSSLMODE", "")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "secret\n")
	for _, tc := range []struct{ url, file, want string }{
		{"postgres://entente@/ti?host=/run/postgresql", "", ""},
		{"host=/run/postgresql user=entente dbname=ti", good, ""},
		{"postgres://entente@127.0.0.1/ti", good, ""},
		{"postgres://entente@[::1]:5433/ti", "", ""},
		{"postgres://entente@localhost/ti", "", ""},
		{"postgres://entente@db.example/ti?sslmode=verify-full", "", ""},
		{"postgres://entente@db.example/ti?sslmode=verify-ca", "", ""},
		{"postgres://entente:secret@db.example/ti?sslmode=verify-full", "", "holds a password"},
		{"postgres://entente@db.example/ti?sslmode=verify-full&password=secret", "", "holds a password"},
		{"host=/run/postgresql password=secret", "", "holds a password"},
		{"host=/run/postgresql PASSWORD = 'secret'", "", "holds a password"},
		{"postgres://entente:sec ret%zz@db.example/ti", "", "holds a password"},
		{"postgres://entente@db.example/ti", "", "sslmode=verify-full"},
		{"postgres://entente@db.example/ti?sslmode=disable", "", "sslmode=verify-full"},
		{"postgres://entente@db.example/ti?sslmode=prefer", "", "sslmode=verify-full"},
		{"postgres://entente@db.example/ti?sslmode=require", "", "sslmode=verify-full"},
		{"postgres://entente@127.0.0.1,db.example/ti", "", "sslmode=verify-full"},
		{"nonsense", "", "give one like"},
		{"postgres://entente@/ti?host=/run", filepath.Join(dir, "absent"), "reading the password"},
		{"postgres://entente@/ti?host=/run", write("empty", "\n"), "holds no password"},
		{"postgres://entente@/ti?host=/run", write("two", "a\nb\n"), "more than one line"},
		{"postgres://entente@/ti?host=/run", write("long", strings.Repeat("a", 5000)), "more than 4096 bytes"},
	} {
		m, err := postgres.New(postgres.Config{URL: tc.url, PasswordFile: tc.file}, nil, discard)
		if m != nil {
			m.Close()
		}
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.url, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s, %s: %v; want %q", tc.url, tc.file, err, tc.want)
		case err != nil && strings.Contains(err.Error(), "sec"+"ret"):
			t.Errorf("%s: the error shows the password: %v", tc.url, err)
		}
	}
}

// TestMigrations: nodes that come to an empty database at once make its tables once; what a crash left half done
// is done again; a writer without rights over the database uses what its administrator made.
func TestMigrations(t *testing.T) {
	s := sharedServer(t)
	url := newDatabase(t, s)
	// Half of them, as after a crash.
	sql(t, url, `CREATE SCHEMA entente`)
	for _, statement := range postgres.Migrations()[0][:20] {
		sql(t, url, statement)
	}
	var group sync.WaitGroup
	for n := range 4 {
		w := corpustest.NewWorld(t, byte(n+1), "")
		m := newMirror(t, url, w)
		group.Go(func() {
			defer m.Close()
			if err := m.CatchUp(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := sql(t, url, `SELECT count(*) FROM entente.schema_version`); got != "2" {
		t.Errorf("%s versions were made", got)
	}
	if got := sql(t, url, `SELECT string_agg(c.relname || '.' || a.attname, ' ') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE n.nspname = 'entente' AND c.relkind IN ('r', 'v') AND obj_description(c.oid) IS NULL AND c.relname NOT IN ('writer', 'schema_version')`); got != "<nil>" {
		t.Errorf("tables without a comment: %s", got)
	}

	// The administrator runs what 'entente postgres schema' prints, and owns the tables.
	name := newDatabase(t, s)
	sql(t, name, `DO $$ BEGIN CREATE ROLE limited LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	sql(t, name, `CREATE SCHEMA entente AUTHORIZATION limited`)
	w := corpustest.NewWorld(t, 1, "")
	w.Add(corpustest.BlockOf(3, 0))
	m := newMirror(t, strings.Replace(name, "tester", "limited", 1), w)
	defer m.Close()
	catchUp(t, m)
	if st := m.Status(); !st.Connected || st.NoReader || !st.Whole {
		t.Errorf("a writer that may make no role stands at %+v", st)
	}
}

// TestHostileTexts: what others write neither stops the mirror nor an analyst's query.
func TestHostileTexts(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	w := corpustest.NewWorld(t, 1, "")
	m := newMirror(t, url, w)
	defer m.Close()
	var all []int
	for i := range corpustest.Objects() {
		all = append(all, i)
	}
	w.Add(corpustest.BlockOf(2, all...))
	catchUp(t, m)
	same(t, url, m, w)
	if got := sql(t, url, `SELECT count(*), count(object), count(object ->> 'id') FROM entente.corpus`); got != "26 24 24" {
		t.Errorf("the view shows %q", got)
	}
	if got := sql(t, url, `SELECT labels[1], confidence, modified FROM entente.records WHERE type = 'note'`); got != "a\ufffdb 70 9999-12-31 23:59:59.999999 +0000 UTC" {
		t.Errorf("a note with odd texts and times is %q", got)
	}
	if got := sql(t, url, `SELECT count(*) FROM entente.current WHERE stix_id LIKE '%000000000050'`); got != "2" {
		t.Errorf("of the versions of one object, made by two, %s are current", got)
	}
	if got := sql(t, url, `SELECT count(*) FROM entente.observables WHERE kind LIKE '%cidr' AND network >>= '198.51.100.9'`); got != "2" {
		t.Errorf("%s networks are around an address", got)
	}
	if got := sql(t, url, `SELECT relationship_type, target_ref FROM entente.relationships`); got != "indicates malware--00000000-0000-4000-8000-000000000012" {
		t.Errorf("relationships are %q", got)
	}
	if got := sql(t, url, `SELECT s.count, c.type FROM entente.sightings s JOIN entente.corpus c ON c.stix_id = s.sighting_of_ref`); got != "3 indicator" {
		t.Errorf("sightings are %q", got)
	}
}

// TestWhatIsLeftOfTheErased holds docs/postgres.md to what it says: a row that was deleted is still in the files
// of the server; after VACUUM FULL and a new log it is in those of the tables no more.
func TestWhatIsLeftOfTheErased(t *testing.T) {
	s := sharedServer(t)
	url := newDatabase(t, s)
	w := corpustest.NewWorld(t, 1, "")
	m := newMirror(t, url, w)
	defer m.Close()
	w.Add(bulk(3, 0, 20))
	catchUp(t, m)
	sql(t, url, `CHECKPOINT`)
	w.Erase(corpustest.Alice, bulkID(7))
	catchUp(t, m)
	sql(t, url, `CHECKPOINT`)
	oid := sql(t, url, `SELECT oid FROM pg_database WHERE datname = current_database()`)
	left := func() (n int) {
		t.Helper()
		err := fs.WalkDir(os.DirFS(filepath.Join(s.Data(), "base", oid)), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(filepath.Join(s.Data(), "base", oid, path))
			if bytes.Contains(b, []byte("host-7.example")) {
				n++
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if left() == 0 {
		t.Error("a row that was deleted is gone at once: docs/postgres.md says otherwise")
	}
	for _, table := range []string{"records", "observables", "holdings"} {
		sql(t, url, `VACUUM FULL entente.`+table)
	}
	sql(t, url, `ANALYZE entente.observables`)
	sql(t, url, `VACUUM FULL pg_catalog.pg_statistic`)
	sql(t, url, `CHECKPOINT`)
	if n := left(); n != 0 {
		t.Errorf("what was erased is in %d files after VACUUM FULL", n)
	}
}

// TestDocumentedQueries: what docs/postgres.md shows to analysts runs, as one of them.
func TestDocumentedQueries(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	w := corpustest.NewWorld(t, 1, "")
	m := newMirror(t, url, w)
	defer m.Close()
	catchUp(t, m)
	sql(t, url, `CREATE TABLE proxy_log (host text)`)
	sql(t, url, `GRANT SELECT ON proxy_log TO entente_reader`)
	doc, err := os.ReadFile("../../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for part := range strings.SplitSeq(string(doc), "\n    -- ") {
		_, query, ok := strings.Cut(part, "\n    SELECT")
		if !ok {
			continue
		}
		query, _, ok = strings.Cut("SELECT"+query, ";")
		if !ok {
			t.Errorf("a query does not end: %s", query)
		}
		sql(t, strings.Replace(url, "user=tester", "user=tester options='-c role=entente_reader'", 1), query)
		ran++
	}
	if ran != 4 {
		t.Errorf("%d queries are documented", ran)
	}
}
