package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// hookWriter calls a function once, when so many bytes were written.
type hookWriter struct {
	w     io.Writer
	after int
	do    func()
}

func (h *hookWriter) Write(b []byte) (int, error) {
	if h.after -= len(b); h.after <= 0 && h.do != nil {
		do := h.do
		h.do = nil
		do()
	}
	return h.w.Write(b)
}

// hashes is a list of entries that do not compress, distinct for every seed.
func hashes(seed, count int) string {
	var out strings.Builder
	for i := range count {
		sum := protocol.HashBody(fmt.Appendf(nil, "%d/%d", seed, i))
		fmt.Fprintf(&out, "%x\n", sum[:])
	}
	return out.String()
}

// TestBackupIsOfOneMoment: what is published, erased and evicted while a backup is written
// leaves it consistent: of the moment at which it began, less what was destroyed since.
func TestBackupIsOfOneMoment(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader", "Relay")
	author, reader, relay := nodes[0], nodes[1], nodes[2]
	agree(t, author, reader, protocol.TLPGreen, "*")
	for i := range 12 {
		publishList(t, author, hashes(i, 600), green)
	}
	publishList(t, author, "198.51.100.1\n198.51.100.2\n", green)
	publishList(t, author, "198.51.100.3\n", green)
	syncBoth(t, nodes...)
	feed := ownTopic(t, author)
	for _, n := range []*Node{author, reader, relay} {
		key := newOffline(t)
		var data bytes.Buffer
		r, err := crypto.ParseBackupRecipient(key.recipient)
		if err != nil {
			t.Fatal(err)
		}
		before := shownFeeds(t, n)
		w := &hookWriter{w: &data, after: 100_000, do: func() {
			// The snapshot is being read now, and the last entries of the feed are still to come.
			switch n {
			case author:
				eraseValue(t, author, "198.51.100.3") // its whole entry
				publishList(t, author, "198.51.100.7\n", green)
			case reader: // erased for itself alone, out of a block whose other record stays
				eraseValue(t, reader, "198.51.100.1")
			case relay:
				if err := n.st.Update(func(tx *store.Tx) error {
					_, err := tx.Evict(feed.ID, feed.Seq)
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
		}}
		info, err := n.Backup(context.Background(), w, BackupRequest{Recipients: []string{r.Text}})
		if err != nil || w.do != nil {
			t.Fatalf("backup: %+v, %v; the change was made: %v", info, err, w.do == nil)
		}
		check, err := VerifyBackup(context.Background(), bytes.NewReader(data.Bytes()), key.ids)
		if err != nil || !check.Whole {
			t.Fatalf("verifying: %+v, %v", check, err)
		}
		got, _ := restoreInto(t, filepath.Join(t.TempDir(), "d"), data.Bytes(), key)
		if err := got.endRestored(); err != nil {
			t.Fatal(err)
		}
		if after := shownFeeds(t, got); before != after {
			t.Errorf("the feeds were\n%s\nand are\n%s", before, after)
		}
		switch n {
		case author:
			if reads(t, got, "198.51.100.3") || reads(t, got, "198.51.100.7") || !reads(t, got, "198.51.100.1") {
				t.Error("the backup is not of the moment at which it began, less what was erased since")
			}
		case reader:
			if reads(t, got, "198.51.100.1") || !reads(t, got, "198.51.100.2") {
				t.Error("of a block out of which a record was erased meanwhile, not the others are there, or not only they")
			}
		}
		if n != relay {
			if recs, err := got.Records(0, math.MaxInt32); err != nil || len(recs) < 7200 {
				t.Errorf("%d records, %v", len(recs), err)
			}
		}
	}
}

func shownFeeds(t testing.TB, n *Node) (out string) {
	t.Helper()
	feeds, err := n.Feeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		if f.Held > 0 {
			out += fmt.Sprintln(f.Feed, f.Held, f.Digest)
		}
	}
	return out
}

// A backup whose reader goes away ends, and the node goes on.
func TestBackupThatNobodyTakes(t *testing.T) {
	n, key, data := backedUp(t)
	full := errors.New("no space left")
	if _, err := n.Backup(context.Background(), writerFunc(func([]byte) (int, error) { return 0, full }), BackupRequest{Recipients: []string{key.recipient}}); !errors.Is(err, full) {
		t.Errorf("a disk that is full: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := n.Backup(ctx, io.Discard, BackupRequest{Recipients: []string{key.recipient}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up: %v", err)
	}
	if _, err := VerifyBackup(ctx, bytes.NewReader(data), key.ids); !errors.Is(err, context.Canceled) {
		t.Errorf("verifying that was given up: %v", err)
	}
	publishList(t, n, "198.51.100.9\n", green)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// peakWriter notes how far the heap grows while something is written, and the largest write.
type peakWriter struct {
	base, peak uint64
	bytes      int64
	writes     int
	largest    int
}

func (p *peakWriter) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	p.largest = max(p.largest, len(b))
	if p.writes++; p.writes%16 == 0 {
		var m runtime.MemStats
		runtime.GC() // what is alive, and not what is about to be collected
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > p.base {
			p.peak = max(p.peak, m.HeapAlloc-p.base)
		}
	}
	return len(b), nil
}

// TestBackupMemoryIsFlat: what a backup keeps in memory does not grow with what it holds.
func TestBackupMemoryIsFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("it publishes 50,000 records")
	}
	author := testNetwork(t, "Author", "Reader")[0]
	key := newOffline(t)
	measure := func() (peakWriter, uint64) {
		var p peakWriter
		var m runtime.MemStats
		for range 3 { // pools are emptied by the second one
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		p.base = m.HeapAlloc
		info, err := author.Backup(context.Background(), &p, BackupRequest{Recipients: []string{key.recipient}})
		if err != nil {
			t.Fatal(err)
		}
		return p, info.Records
	}
	publishList(t, author, hashes(0, 10_000), green)
	small, few := measure()
	for i := 1; i <= 4; i++ {
		publishList(t, author, hashes(i, 10_000), green)
	}
	large, many := measure()
	t.Logf("%d records: %d bytes written, at most %d in memory; %d records: %d bytes written, at most %d in memory", few, small.bytes, small.peak, many, large.bytes, large.peak)
	if many != 50_000 || large.bytes < 4*small.bytes {
		t.Fatalf("%d records and %d bytes are too few to tell", many, large.bytes)
	}
	// One window of entries, one frame and one chunk of age are alive at a time.
	if bound := uint64(8 << 20); large.peak > bound || large.largest > protocol.MaxBackupFrame {
		t.Errorf("%d bytes were alive while %d were written, at most %d are allowed; the largest write had %d", large.peak, large.bytes, bound, large.largest)
	}
	if small.writes < 32 || large.writes < 32 {
		t.Errorf("looked too seldom: %d and %d writes", small.writes, large.writes)
	}
}

// BenchmarkBackup measures creating and verifying a backup of 50,000 records; baseline is the
// sealing of as many bytes.
func BenchmarkBackup(b *testing.B) {
	author := testNetwork(b, "Author", "Reader")[0]
	for i := range 5 {
		publishList(b, author, hashes(i, 10_000), green)
	}
	key := newOffline(b)
	data := backupOf(b, author, key)
	plain := plainOf(b, data, key)
	b.Run("create", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := author.Backup(context.Background(), io.Discard, BackupRequest{Recipients: []string{key.recipient}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := VerifyBackup(context.Background(), bytes.NewReader(data), key.ids); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := Restore(context.Background(), bytes.NewReader(data), RestoreRequest{Dir: filepath.Join(b.TempDir(), "d"), Identities: key.ids}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("baseline/seal", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			sealPlain(b, plain, key)
		}
	})
}
