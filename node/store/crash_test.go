package store

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

const crashDir = "ENTENTE_STORE_TEST_CRASH_DIR"

// TestMain is also the child of TestKilledWhileAppending and TestKilledWhileMigrating.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := appendForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	if dir := os.Getenv(migrateDir); dir != "" {
		if err := migrateSlowly(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// appendForEver appends entry after entry, each with a document in the same transaction,
// and says so on stdout when Update has returned; beside it, it stages in a second feed.
func appendForEver(dir string) error {
	s, err := Open(Config{Dir: dir, Key: testKey})
	if err != nil {
		return err
	}
	key := crypto.GenerateSigning()
	sign := func(inc, seq uint64, prev protocol.Hash) (*crypto.VerifiedEnvelope, error) {
		o := protocol.Origin{Signing: key.Public(), Incarnation: inc}
		return crypto.SignEnvelope(testNetwork, o, protocol.EntryRecords, seq, prev, make([]byte, 20_000), key)
	}
	var prev, prevStaged protocol.Hash
	second := protocol.Origin{Signing: key.Public(), Incarnation: 2}
	if err := s.Update(func(tx *Tx) error {
		return tx.PutFeed(&Feed{ID: second.FeedID(testNetwork), Origin: second})
	}); err != nil {
		return err
	}
	for seq := uint64(1); ; seq++ {
		e, err := sign(1, seq, prev)
		if err != nil {
			return err
		}
		st, err := sign(2, seq, prevStaged)
		if err != nil {
			return err
		}
		prev, prevStaged = e.Hash, st.Hash
		if err := s.Stage(st.Header.Feed, []*crypto.VerifiedEnvelope{st}); err != nil {
			return err
		}
		err = s.Update(func(tx *Tx) error {
			if _, err := tx.Append(e); err != nil {
				return err
			}
			if err := tx.CommitStaged(&Feed{ID: st.Header.Feed, Seq: seq, Hash: st.Hash}); err != nil {
				return err
			}
			return tx.Set([]byte("n/last"), fmt.Append(nil, seq))
		})
		if err != nil {
			return err
		}
		fmt.Println(seq)
	}
}

func TestKilledWhileAppending(t *testing.T) {
	if testing.Short() {
		t.Skip("runs and kills a process of its own")
	}
	for _, killAt := range []uint64{1, 7, 60, 400} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := uint64(0)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			if acknowledged == killAt {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || acknowledged < killAt {
			t.Fatalf("the child ended by itself: %v after %d entries", err, acknowledged)
		}
		checkAfterCrash(t, dir, acknowledged)
	}
}

func checkAfterCrash(t *testing.T, dir string, acknowledged uint64) {
	s := open(t, dir)
	if err := s.DropStaged(); err != nil {
		t.Fatal(err)
	}
	view(t, s, func(tx *Tx) error {
		last, err := tx.Get([]byte("n/last"))
		if err != nil {
			return err
		}
		feeds := 0
		err = tx.Feeds(func(f *Feed) error {
			feeds++
			if f.Seq < acknowledged || f.Seq > acknowledged+1 || fmt.Sprint(f.Seq) != string(last) {
				t.Errorf("head is %d, document %s; %d entries were acknowledged", f.Seq, last, acknowledged)
			}
			prev, n := protocol.Hash{}, uint64(0)
			err := tx.Range(f.ID, 1, 1<<20, 1<<30, func(raw []byte) error {
				e, err := crypto.VerifyEnvelope(testNetwork, raw)
				if err != nil || e.Header.Previous != prev {
					return fmt.Errorf("entry %d after the crash: %w", n+1, err)
				}
				prev = e.Hash
				n++
				return nil
			})
			if n != f.Seq || prev != f.Hash {
				t.Errorf("feed holds %d entries, its head is %d", n, f.Seq)
			}
			return err
		})
		if feeds != 2 {
			t.Errorf("there are %d feeds", feeds)
		}
		return err
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
