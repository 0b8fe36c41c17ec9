package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node/hosttest"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// backupKey makes a key for backups.
func newOfflineKey(t *testing.T) (recipient string, ids []crypto.BackupIdentity) {
	t.Helper()
	text, recipient, err := crypto.GenerateBackupIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if ids, err = crypto.ParseBackupIdentities(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return recipient, ids
}

// TestMigrateWantsBackup: data of release 0.1 is not opened, and is left as it is, until a backup of it was made
// within the last hour, with this program; then it is migrated, and both stand in the account.
func TestMigrateWantsBackup(t *testing.T) {
	t.Parallel()
	f := fixture{hosttest.Unpack(t, "0.1")}
	cfg := f.config(t)
	cfg.MigrateBy = Caller{Person: "ann"}
	notice := filepath.Join(f.Dir, noticeFile)
	refused := func(why string, want error) {
		t.Helper()
		n, err := Open(cfg)
		if err == nil {
			n.Close()
		}
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "entente backup create") {
			t.Fatalf("%s: %v", why, err)
		}
	}
	refused("without a word", ErrMigrate)
	cfg.Migrate = MigrateWithBackup
	refused("without a backup", ErrNoBackup)

	recipient, ids := newOfflineKey(t)
	if _, _, err := BackupOlder(t.Context(), cfg, errWriter{}, BackupRequest{Recipients: []string{recipient}}); err == nil {
		t.Error("a backup that could not be written is one")
	}
	refused("with one that was not written to its end", ErrNoBackup)
	var out bytes.Buffer
	info, note, err := BackupOlder(WithCaller(t.Context(), Caller{Person: "ann"}), cfg, &out, BackupRequest{Recipients: []string{recipient}})
	if err != nil || info.Records == 0 {
		t.Fatal(info, err)
	}
	refused("with one that may not be where it is to stay", ErrNoBackup)
	if err := note(); err != nil {
		t.Fatal(err)
	}
	sum := protocol.Hash(sha256.Sum256(out.Bytes()))
	checked, err := VerifyBackup(t.Context(), bytes.NewReader(out.Bytes()), ids)
	if err != nil || checked.Records != info.Records || checked.Proven == 0 {
		t.Errorf("the backup holds %+v; %v", checked, err)
	}

	// A notice that is too old, of the time to come, or of another store, counts for nothing.
	good, err := readNotices(f.Dir, cfg.Keys.Store)
	if err != nil || len(good.List) != 1 || good.List[0].Sum != sum {
		t.Fatal(good, err)
	}
	keep, err := os.ReadFile(notice)
	if err != nil {
		t.Fatal(err)
	}
	for why, change := range map[string]func(*backupNotice) [32]byte{
		"with an old backup":                  func(b *backupNotice) [32]byte { b.At -= uint64(BackupAge / time.Millisecond); return cfg.Keys.Store },
		"with a backup of the time to come":   func(b *backupNotice) [32]byte { b.At += uint64(BackupAge / time.Millisecond); return cfg.Keys.Store },
		"with a backup of another data store": func(*backupNotice) [32]byte { return [32]byte{1} },
	} {
		other := backupNotices{Version: 1, List: []backupNotice{good.List[0]}}
		if err := writeNotices(f.Dir, change(&other.List[0]), &other); err != nil {
			t.Fatal(err)
		}
		refused(why, ErrNoBackup)
	}
	later := append([]byte{0x82, 2}, 0x80)
	if later, err = noticeCode(cfg.Keys.Store, later); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notice, later, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); !errors.Is(err, protocol.ErrLaterVersion) {
		t.Errorf("a notice of a later version: %v", err)
	}
	if err := os.WriteFile(notice, keep, 0o600); err != nil {
		t.Fatal(err)
	}

	var told uint64
	cfg.Progress = func(_ string, done, _ uint64) { told = done }
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	f.shows(t, n)
	if told == 0 {
		t.Error("nobody was told how far it had come")
	}
	list, err := n.Audit(t.Context(), AuditQuery{Kind: "migration"})
	if err != nil || len(list) != 1 || list[0].Person != "ann" || !strings.Contains(list[0].Reason, "backup of ") || !strings.Contains(list[0].Text, "store format 3 to 4") {
		t.Errorf("the account says of it: %+v, %v", list, err)
	}
	handouts, err := n.Handouts()
	count := 0
	for _, h := range handouts {
		if h.Kind == handoutBackup && !h.Open {
			count++
		}
	}
	if err != nil || count != 1 {
		t.Errorf("%d backups are among the hand-outs: %v", count, err)
	}
	if at, ok := n.LastBackup(); !ok || time.Since(at) > time.Minute*10 || !n.facts(n.snap.Load()).Backup.Last.Equal(at) {
		t.Errorf("the last backup is said to be of %v, %v", at, ok)
	}
	if _, _, err := BackupOlder(t.Context(), cfg, io.Discard, BackupRequest{Recipients: []string{recipient}}); err == nil {
		t.Error("a backup beside the running node")
	}
	// A backup by the node is known as well, and is noted once.
	if _, err := n.Backup(t.Context(), io.Discard, BackupRequest{Recipients: []string{recipient}}); err != nil {
		t.Fatal(err)
	}
	if b, err := readNotices(f.Dir, cfg.Keys.Store); err != nil || len(b.List) != 2 || !b.List[0].Noted || !b.List[1].Noted {
		t.Errorf("the notices are %+v, %v", b, err)
	}
}

// TestLaterKeysRefused: keys that a later program wrote are told from damaged ones.
func TestLaterKeysRefused(t *testing.T) {
	f := fixture{hosttest.Unpack(t, "0.1")}
	lock, err := OpenLock(f.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{opFile, nodeFile} {
		path := filepath.Join(f.Dir, keyDir, name)
		for _, later := range []any{
			&opSecrets{Version: 3},
			&struct {
				_       struct{} `cbor:",toarray"`
				Version uint8
				More    string
			}{Version: 200, More: "x"},
		} {
			if err := writeSealed(path, lock, later); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadKeys(f.Dir, lock); !errors.Is(err, protocol.ErrLaterVersion) || !strings.Contains(err.Error(), "bring this node up to date") {
				t.Errorf("%s of a later version: %v", name, err)
			}
		}
	}
}

type errWriter struct{}

func (errWriter) Write([]byte) (int, error) { return 0, errors.New("no room") }

// TestPublishedEndsInOrder: whatever is done to what was published, exactly what ends stands in the order of ends,
// and a migration makes the same order.
func TestPublishedEndsInOrder(t *testing.T) {
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	place := func(i byte) []byte { return entryKey(protocol.FeedID{i}, uint64(i)) }
	put := func(i byte, d publishedDoc) {
		t.Helper()
		if err := st.Update(func(tx *store.Tx) error { return putPublished(tx, place(i), &d) }); err != nil {
			t.Fatal(err)
		}
	}
	ended := func(now uint64) (out []byte) {
		t.Helper()
		if err := st.View(func(tx *store.Tx) error {
			return endedPublished(tx, now, func(p []byte) error { out = append(out, p[0]); return nil })
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	put(1, publishedDoc{At: 0, RetentionDays: 3})
	put(2, publishedDoc{At: 0, RetentionDays: 1})
	put(3, publishedDoc{At: 0})
	put(4, publishedDoc{At: dayMillis, RetentionDays: 1})
	put(5, publishedDoc{At: 0, RetentionDays: 9})
	put(5, publishedDoc{At: 0, RetentionDays: 1, Expired: true})
	put(1, publishedDoc{At: 0, RetentionDays: 2}) // a sibling says another end
	check := func() {
		t.Helper()
		if got := ended(2*dayMillis - 1); string(got) != "\x02" {
			t.Errorf("after a day %v have ended", got)
		}
		if got := ended(20 * dayMillis); string(got) != "\x02\x01\x04" {
			t.Errorf("at last %v have ended", got)
		}
	}
	check()
	// Without the order, a migration makes it anew, in whatever parts.
	var cursor []byte
	if err := st.Update(func(tx *store.Tx) error {
		for i := byte(1); i < 6; i++ {
			var d publishedDoc
			if _, err := getDoc(tx, kindPublished, place(i), &d); err != nil {
				return err
			}
			if err := tx.Delete(publishedEndKey(&d, place(i))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := ended(20 * dayMillis); len(got) > 0 {
		t.Fatalf("the order was not removed: %v", got)
	}
	for more := true; more; {
		if err := st.Update(func(tx *store.Tx) (err error) {
			cursor, _, err = indexEnds(tx, cursor)
			more = cursor != nil
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	check()
}
