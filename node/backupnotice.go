package node

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/protocol"
)

// That a backup was made stands beside the store rather than in it: also a store that is only read,
// because it has to be migrated, can be backed up. The file carries a code under the store's key, so that
// one that was copied from another data directory, or written by hand, counts for nothing.

// noticeFile stands in the data directory: encoded backupNotices, and HMAC-SHA256 of that.
const (
	noticeFile = "backup.last"
	noticeInfo = "entente/backup-notice/v1"
	maxNotices = 64
)

// backupNotices are the last backups, oldest first.
type backupNotices struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	List    []backupNotice
}

// backupNotice is a backup that was written to its end.
type backupNotice struct {
	_       struct{}      `cbor:",toarray"`
	At      uint64        // Unix milliseconds: the moment that it is of
	Sum     protocol.Hash // SHA-256 of the file as it was handed out
	Records uint64
	Detail  string // for whom
	Person  string // who made it
	Noted   bool   // it stands among the hand-outs, and in the account
}

func (b *backupNotices) seal(key [32]byte) ([]byte, error) {
	return noticeCode(key, protocol.Encode(b))
}

// noticeCode appends the code of a notice to it.
func noticeCode(key [32]byte, plain []byte) ([]byte, error) {
	k, err := hkdf.Key(sha256.New, key[:], nil, noticeInfo, sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, k)
	mac.Write(plain)
	return mac.Sum(slices.Clip(plain)), nil
}

// readNotices returns the backups of a data directory that are known; none if there is no file, or if it is
// not of this store: that costs another backup, and nothing else. One of a later version is an error.
func readNotices(dir string, key [32]byte) (*backupNotices, error) {
	out := &backupNotices{Version: 1}
	b, err := os.ReadFile(filepath.Join(dir, noticeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading when the last backup was made: %w", err)
	}
	if len(b) < sha256.Size {
		return out, nil
	}
	plain := b[:len(b)-sha256.Size]
	want, err := noticeCode(key, slices.Clone(plain))
	if err != nil || !hmac.Equal(want, b) {
		return out, err
	}
	if later := protocol.LaterVersion(plain, 1); later != nil {
		return nil, fmt.Errorf("reading when the last backup was made: %w", later)
	}
	var n backupNotices
	if protocol.Decode(plain, 1<<20, &n) != nil || n.Version != 1 {
		return out, nil
	}
	return &n, nil
}

func writeNotices(dir string, key [32]byte, b *backupNotices) error {
	if len(b.List) > maxNotices {
		b.List = b.List[len(b.List)-maxNotices:]
	}
	sealed, err := b.seal(key)
	if err != nil {
		return err
	}
	return writeDurable(filepath.Join(dir, noticeFile), sealed)
}

// onDisk reports whether the node has a data directory of its own.
func (c *Config) onDisk() bool { return c.Dir != "" && c.Disk == nil }

// noticeBackup notes a backup that is whole. That it cannot is no reason not to have made it.
func (n *Node) noticeBackup(b backupNotice) {
	n.backedUp.Store(b.At)
	if !n.cfg.onDisk() {
		return
	}
	n.noticing.Lock()
	defer n.noticing.Unlock()
	list, err := readNotices(n.cfg.Dir, n.keys.Store)
	if err == nil {
		list.List = append(list.List, b)
		err = writeNotices(n.cfg.Dir, n.keys.Store, list)
	}
	if err != nil {
		n.log.Error("it could not be noted that a backup was made; a migration will ask for another", "err", err)
	}
}

// noteBackups puts backups that were made of a store that was only read among the hand-outs.
func (n *Node) noteBackups() error {
	if !n.cfg.onDisk() {
		return nil
	}
	n.noticing.Lock()
	defer n.noticing.Unlock()
	list, err := readNotices(n.cfg.Dir, n.keys.Store)
	if err != nil || !slices.ContainsFunc(list.List, func(b backupNotice) bool { return !b.Noted }) {
		return err
	}
	n.handouts.mu.Lock()
	defer n.handouts.mu.Unlock()
	err = n.st.Update(func(tx *store.Tx) error {
		known := map[uint64]bool{} // by when: the process may have ended before the file was written
		if err := scanDocs(tx, kindHandout, func(_ []byte, d *handoutDoc) error {
			known[d.At] = known[d.At] || d.Kind == handoutBackup
			return nil
		}); err != nil {
			return err
		}
		for _, b := range list.List {
			if b.Noted || known[b.At] {
				continue
			}
			doc := handoutDoc{Kind: handoutBackup, Detail: b.Detail, At: b.At, To: math.MaxInt64, Records: b.Records, Sealed: true}
			id, gone, err := n.newHandout(tx, &doc)
			if err != nil {
				return err
			}
			delete(n.handouts.all, gone)
			if err := errors.Join(n.auditHandout(tx, Caller{Person: b.Person}, &doc), putDoc(tx, kindHandout, id, &doc)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("noting backups: %w", err)
	}
	for i := range list.List {
		list.List[i].Noted = true
	}
	return writeNotices(n.cfg.Dir, n.keys.Store, list)
}

// loadLastBackup finds out when this node was backed up.
func (n *Node) loadLastBackup() error {
	at, err := lastBackup(&n.cfg, n.st)
	if err == nil && !at.IsZero() {
		n.backedUp.Store(uint64(at.UnixMilli()))
	}
	return err
}

// LastBackup returns when the last backup of this data directory was begun, of which it is known that it
// was written to its end; ok is false if there is none.
func (n *Node) LastBackup() (at time.Time, ok bool) {
	last := n.backedUp.Load()
	return timeOf(last), last != 0 && last <= uint64(nowMillis())
}

// lastBackup finds the last backup in the notice, and among the hand-outs, where release 0.1 put it: one
// that failed, or during which the process ended, has no records or another end there. What is said to
// have been made later than now does not count, nor do hand-outs of before a restore: they are of the node
// whose backup that was, and came with it.
func lastBackup(cfg *Config, st *store.Store) (time.Time, error) {
	now, last := uint64(nowMillis()), uint64(0)
	take := func(at uint64) {
		if at <= now {
			last = max(last, at)
		}
	}
	if cfg.onDisk() {
		list, err := readNotices(cfg.Dir, cfg.Keys.Store)
		if err != nil {
			return time.Time{}, err
		}
		for _, b := range list.List {
			take(b.At)
		}
	}
	err := st.View(func(tx *store.Tx) error {
		var restored restoredDoc
		if _, err := getDoc(tx, kindSetting, []byte("restored"), &restored); err != nil {
			return err
		}
		return scanDocs(tx, kindHandout, func(_ []byte, d *handoutDoc) error {
			if d.At >= restored.At && d.Kind == handoutBackup && !d.Open && d.To == math.MaxInt64 && d.Records > 0 {
				take(d.At)
			}
			return nil
		})
	})
	if err != nil || last == 0 {
		return time.Time{}, err
	}
	return millis(last), nil
}
