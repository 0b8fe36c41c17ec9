package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/corpus/corpustest"
	"github.com/entente-mesh/entente/node/corpus/postgres"
	"github.com/entente-mesh/entente/protocol"
)

func records(t *testing.T, url string) string {
	t.Helper()
	return strings.ReplaceAll(sql(t, url, `SELECT get_byte(record, 0) - 1 FROM entente.records ORDER BY 1`), "\n", " ")
}

// TestSiblings: a record that two nodes hold is there once, until the last of them holds it no more. What one
// erased is gone for both, and does not come back.
func TestSiblings(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	a, b := corpustest.NewWorld(t, 1, ""), corpustest.NewWorld(t, 2, "")
	ma, mb := newMirror(t, url, a), newMirror(t, url, b)
	defer ma.Close()
	defer mb.Close()
	a.Names = map[protocol.OrgID]string{corpustest.Alice: "Alice\x00"}
	a.Add(corpustest.BlockOf(3, 0, 1, 2, 3)) // of Alice, by Alice
	b.Add(corpustest.BlockOf(4, 2, 3, 4))    // by Bob
	catchUp(t, ma)
	catchUp(t, mb)
	if got := records(t, url); got != "0 1 2 3 4" {
		t.Fatalf("records %s", got)
	}
	if got := sql(t, url, `SELECT count(*) FROM entente.holdings`); got != "7" {
		t.Errorf("%s holdings", got)
	}
	if got := sql(t, url, `SELECT name FROM entente.organisations WHERE org_id = $1`, corpustest.Alice.String()); got != "Alice\ufffd" {
		t.Errorf("an organisation is named %q", got)
	}
	if e, err := mb.Get(t.Context(), corpustest.IDOf(0)); e != nil || err != nil {
		t.Errorf("a node shows what only another one holds: %v, %v", e, err)
	}

	a.TakeOut(protocol.FeedID{7}, 3)
	catchUp(t, ma)
	if got := records(t, url); got != "2 3 4" {
		t.Errorf("records %s are left by the node that set nothing aside", got)
	}
	a.Add(corpustest.BlockOf(3, 0, 1, 2, 3))
	catchUp(t, ma)

	// Object 3 is Bob's, 2 is Alice's. What Carol says of them counts for nothing; Bob's word on 2 counts
	// for the copy that came from Bob.
	a.Erase(corpustest.Carol, corpustest.IDOf(2))
	b.Erase(corpustest.Bob, corpustest.IDOf(2))
	catchUp(t, ma)
	catchUp(t, mb)
	if got := sql(t, url, `SELECT mirror FROM entente.holdings WHERE record = $1`, idBytes(2)); got != "1" {
		t.Errorf("record 2 is held by %q", got)
	}
	// A's word on its own account counts for what B holds too, before B hears of it.
	a.Erase(corpus.Locally, corpustest.IDOf(3))
	catchUp(t, ma)
	if e, err := mb.Get(t.Context(), corpustest.IDOf(3)); e != nil || err != nil {
		t.Errorf("what a sibling erased is shown: %v, %v", e, err)
	}
	b.TakeOut(protocol.FeedID{7}, 4)
	b.Add(corpustest.BlockOf(4, 3, 4)) // it comes again, to the one that did not hear of it
	catchUp(t, mb)
	if got := records(t, url); got != "0 1 2 4" {
		t.Errorf("records %s", got)
	}
	sound(t, url)

	if err := ma.Forget(t.Context(), a.ID); err == nil {
		t.Error("a node forgets itself")
	}
	if err := ma.Forget(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	if got := records(t, url); got != "0 1 2" {
		t.Errorf("records %s after the other node was forgotten", got)
	}
	sound(t, url)
}

func idBytes(i int) []byte { id := corpustest.IDOf(i); return id[:] }

// TestRestoredIsAnotherNode: a node that was restored from a backup has another id, and the lost one is removed
// from the card. What that wrote goes when the new one is whole.
func TestRestoredIsAnotherNode(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	lost, restored := corpustest.NewWorld(t, 1, ""), corpustest.NewWorld(t, 2, "")
	ml, mr := newMirror(t, url, lost), newMirror(t, url, restored)
	defer ml.Close()
	defer mr.Close()
	lost.Add(corpustest.BlockOf(3, 0, 1, 2))
	catchUp(t, ml)
	restored.Add(corpustest.BlockOf(3, 0, 1))
	restored.Gone = []protocol.NodeID{lost.ID}
	catchUp(t, mr)
	if got := records(t, url); got != "0 1" {
		t.Errorf("records %s", got)
	}
	same(t, url, mr, restored)
}

// TestTwoAtOnce: nodes that write the same records, and erase them, at once neither fail each other nor bring
// back what one of them erased.
func TestTwoAtOnce(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var worlds []*corpustest.World
	var mirrors []*postgres.Mirror
	done := make(chan struct{})
	for n := range 3 {
		w := corpustest.NewWorld(t, byte(n+1), "")
		m := newMirror(t, url, w)
		defer m.Close()
		postgres.SetBatch(m, 5)
		worlds, mirrors = append(worlds, w), append(mirrors, m)
		go func() { m.Run(ctx); done <- struct{}{} }()
	}
	for i := range 40 {
		w := worlds[i%3]
		w.Add(bulk(uint64(i+1), i/3*20, i/3*20+20))
		if i%3 == 2 {
			w.Erase(corpus.Locally, bulkID(i/3*20), bulkID(i/3*20+7))
		}
	}
	for i, m := range mirrors {
		head, err := worlds[i].Head()
		if err != nil {
			t.Fatal(err)
		}
		for !m.Reached(ctx, head) { // at once false while it is not connected
			time.Sleep(10 * time.Millisecond)
		}
	}
	cancel()
	for range mirrors {
		<-done
	}
	sound(t, url)
	if got := sql(t, url, `SELECT count(*) FROM entente.records`); got != fmt.Sprint(14*20-13*2) {
		t.Errorf("%s records", got)
	}
	for _, m := range mirrors {
		if st := m.Status(); st.Failures > 0 && !strings.Contains(st.Error, "53300") {
			t.Errorf("a mirror failed: %+v", st)
		}
	}
}

// TestErasuresFirst: what was erased while the database was away is gone before anything else is written,
// however much came before it.
func TestErasuresFirst(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	w := corpustest.NewWorld(t, 1, "")
	m := newMirror(t, url, w)
	defer m.Close()
	postgres.SetBatch(m, 5)
	w.Add(corpustest.BlockOf(3, 0, 1, 2))
	catchUp(t, m)
	w.Add(bulk(5, 0, 100))
	w.Erase(corpustest.Alice, corpustest.IDOf(0), bulkID(50))
	w.Close()
	w.Open()

	again := newMirror(t, url, w)
	defer again.Close()
	postgres.SetBatch(again, 5)
	if more, err := again.Advance(t.Context()); err != nil || !more {
		t.Fatal(more, err)
	}
	if got := sql(t, url, `SELECT count(*) FROM entente.records`); got != "2" {
		t.Errorf("%s records after the first step, of which the first is erased", got)
	}
	if st := again.Status(); st.Position > 3 || st.Erased < 100 {
		t.Errorf("the mirror stands at %+v", st)
	}
	catchUp(t, again)
	same(t, url, again, w)
}

// TestBackInTime: a data directory that was put back to an earlier state, and then lived another history under
// the same cursors, takes a new mirror; what the lost one wrote goes when that is whole, and what it erased
// stays erased.
func TestBackInTime(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	dir := filepath.Join(t.TempDir(), "w")
	w := corpustest.NewWorld(t, 1, dir)
	w.Add(corpustest.BlockOf(3, 0, 1, 2, 3))
	m := newMirror(t, url, w)
	catchUp(t, m)
	w.Close()
	if err := os.CopyFS(dir+".copy", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}

	w.Open()
	w.Add(corpustest.BlockOf(5, 4, 5))
	w.Erase(corpus.Locally, corpustest.IDOf(1))
	m.Close()
	m = newMirror(t, url, w)
	catchUp(t, m)
	m.Close()
	w.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".copy", dir); err != nil {
		t.Fatal(err)
	}

	w.Open()
	w.Add(corpustest.BlockOf(7, 6, 7, 8, 9))
	w.Withdraw(corpus.Withdrawal{Record: corpustest.IDOf(6), By: corpustest.Alice, Reason: "wrong", At: 1, Feed: protocol.FeedID{8}, Seq: 1})
	m = newMirror(t, url, w)
	defer m.Close()
	postgres.SetBatch(m, 3)
	if _, err := m.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := sql(t, url, `SELECT count(*) FROM entente.mirrors`); got != "2" {
		t.Fatalf("%s mirrors while the new one is not whole", got)
	}
	if got := records(t, url); !strings.Contains(got, "4 5") {
		t.Errorf("records %s: what was there is gone before the new mirror is whole", got)
	}
	catchUp(t, m)
	// Record 1 is back in the directory, which does not know that it was erased; here it does not come back.
	if got := records(t, url); got != "0 2 3 6 7 8 9" {
		t.Errorf("records %s", got)
	}
	if got := sql(t, url, `SELECT count(*) FROM entente.mirrors`); got != "1" {
		t.Errorf("%s mirrors", got)
	}
	sound(t, url)
	w.Close()
}

// TestDatabaseBackInTime: a database that was restored from its own backup goes on from where it stood,
// erasures first.
func TestDatabaseBackInTime(t *testing.T) {
	s := sharedServer(t)
	url := newDatabase(t, s)
	w := corpustest.NewWorld(t, 1, "")
	w.Add(corpustest.BlockOf(3, 0, 1, 2))
	m := newMirror(t, url, w)
	catchUp(t, m)
	m.Close()
	name := fmt.Sprintf("t%d", databases.Add(1))
	sql(t, s.URL("postgres"), fmt.Sprintf("CREATE DATABASE %s TEMPLATE t%d", name, databases.Load()-1))
	for range 3 { // more runs, which the copy knows nothing of
		w.Close()
		w.Open()
		w.Add(corpustest.BlockOf(uint64(5+w.Runs), 2+w.Runs))
		w.Erase(corpustest.Alice, corpustest.IDOf(0))
		m = newMirror(t, url, w)
		catchUp(t, m)
		m.Close()
	}
	m = newMirror(t, s.URL(name), w)
	defer m.Close()
	if _, err := m.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := records(t, s.URL(name)); got != "1 2" {
		t.Errorf("records %s after the first step", got)
	}
	catchUp(t, m)
	same(t, s.URL(name), m, w)
	if got := sql(t, s.URL(name), `SELECT mirror FROM entente.mirrors`); got != "1" {
		t.Errorf("mirrors %s: it was begun anew", got)
	}
	w.Close()
}

// TestDisplaced: of two processes with copies of one data directory one writes, and the other says why not.
func TestDisplaced(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	dir := filepath.Join(t.TempDir(), "w")
	w := corpustest.NewWorld(t, 1, dir)
	m := newMirror(t, url, w)
	defer m.Close()
	w.Add(corpustest.BlockOf(3, 0))
	catchUp(t, m)
	w.Close()
	if err := os.CopyFS(dir+".copy", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	w.Open()
	twin := corpustest.NewWorld(t, 1, dir+".copy")
	mt := newMirror(t, url, twin)
	defer mt.Close()
	catchUp(t, mt)
	w.Add(corpustest.BlockOf(5, 1))
	if err := m.CatchUp(t.Context()); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("the displaced one goes on: %v", err)
	}
	twin.Close()
	w.Close()
}

// TestAnotherOrganisation: a database is of one organisation.
func TestAnotherOrganisation(t *testing.T) {
	url := newDatabase(t, sharedServer(t))
	w := corpustest.NewWorld(t, 1, "")
	m := newMirror(t, url, w)
	defer m.Close()
	catchUp(t, m)
	other := corpustest.NewWorld(t, 2, "")
	other.Org = protocol.OrgID{98}
	mo := newMirror(t, url, other)
	defer mo.Close()
	if err := mo.CatchUp(t.Context()); err == nil || !strings.Contains(err.Error(), "a database of its own") {
		t.Errorf("two organisations share a database: %v", err)
	}
	sql(t, url, `INSERT INTO entente.schema_version VALUES (99, now())`)
	again := newMirror(t, url, w)
	defer again.Close()
	if err := again.CatchUp(t.Context()); err == nil || !strings.Contains(err.Error(), "bring it up to date") {
		t.Errorf("tables of a later version are written to: %v", err)
	}
}
