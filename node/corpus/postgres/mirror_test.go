package postgres_test

import (
	"log/slog"
	"testing"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/corpus/corpustest"
	"github.com/entente-mesh/entente/node/corpus/postgres"
)

var discard = slog.New(slog.DiscardHandler)

func newMirror(t testing.TB, url string, w postgres.Source) *postgres.Mirror {
	t.Helper()
	m, err := postgres.New(postgres.Config{URL: url}, w, discard)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func catchUp(t testing.TB, m *postgres.Mirror) {
	t.Helper()
	if err := m.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestConformance: a mirror answers as the corpus that it follows does.
func TestConformance(t *testing.T) {
	s := sharedServer(t)
	url := newDatabase(t, s)
	m := newMirror(t, url, corpustest.NewWorld(t, 9, ""))
	catchUp(t, m) // makes the tables
	m.Close()
	corpustest.Run(t, func(t testing.TB, w *corpustest.World) (func() corpus.Reader, func()) {
		empty(t, url)
		m, run := newMirror(t, url, w), w.Runs
		return func() corpus.Reader {
			if run != w.Runs { // the node was started anew
				m.Close()
				m, run = newMirror(t, url, w), w.Runs
			}
			catchUp(t, m)
			return m
		}, func() { m.Close() }
	})
}

// empty removes what is in the tables, tombstones of another history among them.
func empty(t testing.TB, url string) {
	t.Helper()
	sql(t, url, `WITH a AS (DELETE FROM entente.holdings), b AS (DELETE FROM entente.observables), c AS (DELETE FROM entente.records),
		d AS (DELETE FROM entente.tombstones), e AS (DELETE FROM entente.organisations) DELETE FROM entente.mirrors`)
}
