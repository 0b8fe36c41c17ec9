package postgres_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/node/corpus/corpustest"
	"github.com/entente-mesh/entente/node/corpus/postgres"
	"github.com/entente-mesh/entente/node/corpus/postgres/pgtest"
	"github.com/entente-mesh/entente/protocol"
)

// The killed node is this test binary, run again: it opens a world on disk and follows it until it is killed.
const childWord = "entente-mirror-child"

func child(args []string) bool {
	if len(args) != 4 || args[1] != childWord {
		return false
	}
	t := &quiet{}
	w := corpustest.NewWorld(t, 1, args[3])
	m, err := postgres.New(postgres.Config{URL: args[2]}, w, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	postgres.SetBatch(m, 7)
	m.Run(context.Background())
	return true
}

// quiet is the testing.TB of the child: whatever fails ends it.
type quiet struct{ testing.TB }

func (*quiet) Helper()           {}
func (*quiet) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// bulk are records beside those of the suite: enough of them for many batches.
func bulk(seq uint64, from, to int) corpus.Block {
	b := corpustest.BlockOf(seq)
	for i := from; i < to; i++ {
		b.Records = append(b.Records, corpus.NewRecord{Record: bulkID(i), Originator: corpustest.Alice, Handling: protocol.Handling{Version: 1, TLP: protocol.TLPGreen},
			Object: corpustest.Indicator(1000+i, 0, fmt.Sprintf("[domain-name:value = 'host-%d.example']", i))})
	}
	return b
}

func bulkID(i int) protocol.RecordID { return protocol.RecordID{byte(i), byte(i >> 8), 9} }

// same fails unless a mirror shows what the world shows, and the tables hold nothing else.
func same(t *testing.T, url string, m *postgres.Mirror, w *corpustest.World) {
	t.Helper()
	read := func(r corpus.Reader) string {
		list, _, err := r.Since(t.Context(), 0, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for i := range list {
			e := &list[i]
			fmt.Fprintln(&b, e.Record, e.Cursor, e.Stamp, e.Withdrawn, e.WithdrawReason, e.Feed, e.Seq, len(e.Object))
		}
		return b.String()
	}
	if got, want := read(m), read(w.Embedded()); got != want {
		t.Fatalf("the mirror shows\n%s\nwant\n%s", got, want)
	}
	sound(t, url)
}

// sound fails unless the tables agree with each other.
func sound(t *testing.T, url string) {
	t.Helper()
	for what, query := range map[string]string{
		"records that nobody holds":       `SELECT count(*) FROM entente.records r WHERE NOT EXISTS (SELECT 1 FROM entente.holdings h WHERE h.record = r.record)`,
		"holdings of nothing":             `SELECT count(*) FROM entente.holdings h WHERE NOT EXISTS (SELECT 1 FROM entente.records r WHERE h.record = r.record)`,
		"observables of nothing":          `SELECT count(*) FROM entente.observables o WHERE NOT EXISTS (SELECT 1 FROM entente.records r WHERE o.record = r.record)`,
		"observables twice":               `SELECT count(*) - count(DISTINCT (record, kind, value, digest)) FROM entente.observables`,
		"holdings of what was erased":     `SELECT count(*) FROM entente.holdings h JOIN entente.tombstones t ON t.record = h.record AND t.org IN (decode(repeat('00', 32), 'hex'), h.originator, h.publisher)`,
		"holdings of no mirror":           `SELECT count(*) FROM entente.holdings h WHERE NOT EXISTS (SELECT 1 FROM entente.mirrors m WHERE m.mirror = h.mirror)`,
		"records that the view shows not": `SELECT (SELECT count(*) FROM entente.records) - (SELECT count(*) FROM entente.corpus)`,
	} {
		if got := sql(t, url, query); got != "0" {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// TestKilled: whenever the server is killed, or the node is, nothing is lost and nothing is there twice.
func TestKilled(t *testing.T) {
	sharedServer(t) // says whether there is one
	s, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	url, dir := s.URL("postgres"), filepath.Join(t.TempDir(), "w")
	w := corpustest.NewWorld(t, 1, dir)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const rounds, each = 4, 200
	sql(t, url, `CREATE SCHEMA entente`)
	sql(t, url, postgres.Migrations()[0][0])
	at := "0"
	for round := range rounds {
		from := round * each
		w.Add(bulk(uint64(2*round+1), from, from+each))
		for range 10 { // what comes, comes again, is withdrawn, erased and taken out
			i := random.IntN(from + each)
			w.Withdraw(corpus.Withdrawal{Record: bulkID(i), By: corpustest.Alice, Reason: "wrong", At: 1, Feed: protocol.FeedID{8}, Seq: uint64(1000 + i)})
			w.Erase(corpus.Locally, bulkID(random.IntN(from+each)))
		}
		if round == 2 {
			w.TakeOut(protocol.FeedID{7}, 3)
		}
		w.Close()
		cmd := exec.Command(os.Args[0], childWord, url, dir)
		out, err := cmd.StderrPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said := make(chan string)
		go func() { b, _ := io.ReadAll(out); said <- string(b) }()
		// It has begun; the moment from there on is random, and what must hold does not depend on it.
		moved := func(from string) string {
			for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if at := sql(t, url, `SELECT COALESCE(max(position), 0) FROM entente.mirrors`); at != from {
					return at
				}
			}
			t.Fatal("nothing is written")
			return ""
		}
		if at = moved(at); round%2 == 0 {
			time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
			s.Kill()
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			if head, err := strconv.Atoi(sql(t, url, `SELECT max(position) FROM entente.mirrors`)); err != nil || head < from+each {
				at = moved(fmt.Sprint(head)) // it goes on
			}
		}
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
		_ = cmd.Process.Kill()
		log := <-said
		_ = cmd.Wait()
		if strings.Contains(log, "panic") {
			t.Fatalf("the node failed:\n%s", log)
		}
		w.Open()
	}
	m := newMirror(t, url, w)
	defer m.Close()
	catchUp(t, m)
	same(t, url, m, w)
	if got := sql(t, url, `SELECT count(*) FROM entente.mirrors`); got != "1" {
		t.Errorf("%s mirrors of one data directory", got)
	}
	w.Close()
}
