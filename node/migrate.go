package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/node/store"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// Migrate says what becomes of a store of an earlier version.
type Migrate uint8

// The values. A migration that has begun goes on in any case.
const (
	MigrateNo         Migrate = iota // the node does not open
	MigrateWithBackup                // it is migrated if a backup was made within the last hour
	MigrateForced                    // it is migrated
)

// migrations are the steps from each format to the next. One stays for as long as a release that wrote
// its format is supported (SPEC 43.5).
var migrations = []store.Migration{
	{From: 3, Name: "ordering what was published by the end of its retention", Count: countPublished, Step: indexEnds},
}

// BackupAge is how old the backup may be without which nothing is migrated.
const BackupAge = time.Hour

// ErrMigrate is returned by Open where the data was written by an earlier version of the program.
var ErrMigrate = errors.New("this data directory was written by an earlier version of the program: make a backup with 'entente backup create', then run 'entente migrate'")

// ErrNoBackup is returned where nothing is migrated because there is no backup to go back to.
var ErrNoBackup = errors.New("no backup of this data directory is known that was made within the last hour")

// migrationDoc is how the data directory was migrated from one format to the next.
type migrationDoc struct {
	_      struct{} `cbor:",toarray"`
	From   uint8
	Name   string
	Begun  uint64 // Unix milliseconds
	Ended  uint64 // the same; 0: not yet
	Backup uint64 // when the last backup before it was made, the same; 0: there was none
	Forced bool
	Person string
	Noted  bool // it stands in the account
}

// migrateStore brings a store to the format of this program, if it may.
func migrateStore(cfg *Config, st *store.Store) error {
	from, begun, older := st.Older()
	if !older {
		return nil
	}
	log := cfg.Log
	doc := migrationDoc{Forced: cfg.Migrate == MigrateForced, Person: cfg.MigrateBy.Person}
	if !begun {
		if cfg.Migrate == MigrateNo {
			return fmt.Errorf("%w (store format %d, this program needs %d)", ErrMigrate, from, store.Format)
		}
		at, err := lastBackup(cfg, st)
		if err != nil {
			return err
		}
		if !doc.Forced && time.Since(at) > BackupAge {
			last := "none is known"
			if !at.IsZero() {
				last = "the last is of " + at.Format("2006-01-02 15:04 MST")
			}
			return fmt.Errorf("%w (%s): make one with 'entente backup create'; only from a backup can you go back to the earlier version. 'entente migrate --force' does without", ErrNoBackup, last)
		}
		if doc.Forced = doc.Forced && time.Since(at) > BackupAge; !at.IsZero() {
			doc.Backup = uint64(at.UnixMilli())
		}
		log.Info("migrating the store", "from", from, "to", store.Format)
	} else {
		log.Info("a migration of the store was interrupted, and goes on", "from", from, "to", store.Format)
	}
	how := store.Migrating{List: migrations,
		Begin: func(tx *store.Tx, m *store.Migration) error {
			d := doc
			if begun { // on what terms stands with the one before it
				if _, err := getDoc(tx, kindMigration, []byte{m.From - 1}, &d); err != nil {
					return err
				}
			}
			d.From, d.Name, d.Begun, d.Ended, d.Noted = m.From, m.Name, uint64(nowMillis()), 0, false
			return putDoc(tx, kindMigration, []byte{m.From}, &d)
		},
		End: func(tx *store.Tx, m *store.Migration) error {
			var d migrationDoc
			if _, err := getDoc(tx, kindMigration, []byte{m.From}, &d); err != nil {
				return err
			}
			d.Ended = uint64(nowMillis())
			return putDoc(tx, kindMigration, []byte{m.From}, &d)
		},
		Progress: func(m *store.Migration, done, total uint64) {
			if cfg.Progress != nil {
				cfg.Progress(m.Name, done, total)
			}
		},
	}
	if err := st.Migrate(context.Background(), how); err != nil {
		return err
	}
	log.Info("the store was migrated", "to", store.Format)
	return nil
}

// noteMigrations puts migrations into the account.
func (n *Node) noteMigrations() error {
	var list []migrationDoc
	if err := n.st.View(func(tx *store.Tx) error {
		return scanDocs(tx, kindMigration, func(_ []byte, d *migrationDoc) error {
			if !d.Noted && d.Ended != 0 {
				list = append(list, *d)
			}
			return nil
		})
	}); err != nil || len(list) == 0 {
		return err
	}
	return n.st.Update(func(tx *store.Tx) error {
		for _, d := range list {
			e := n.details("migrated", Caller{Person: d.Person})
			e.Text = fmt.Sprintf("store format %d to %d: %s; begun %s", d.From, d.From+1, d.Name, millis(d.Begun).Format(time.RFC3339))
			switch {
			case d.Forced:
				e.Reason = "forced without a backup of the last hour"
			case d.Backup != 0:
				e.Reason = "backup of " + millis(d.Backup).Format(time.RFC3339)
			}
			if _, err := n.account.Append(tx, audit.Migration, e); err != nil {
				return err
			}
			d.Noted = true
			if err := putDoc(tx, kindMigration, []byte{d.From}, &d); err != nil {
				return err
			}
		}
		return nil
	})
}

// BackupOlder makes a backup of a data directory that has to be migrated, and leaves its store as it
// is: whoever goes back to the earlier version finds what that left. It is noted among the hand-outs when
// the store was migrated. note says that what was written to w is where it is to stay; before that the
// backup counts for nothing, since a power failure might take it away and leave the migration.
func BackupOlder(ctx context.Context, cfg Config, w io.Writer, q BackupRequest) (info *BackupInfo, note func() error, err error) {
	if err := CheckRestored(cfg.Dir); err != nil {
		return nil, nil, err
	}
	st, err := store.Open(store.Config{Dir: filepath.Join(cfg.Dir, storeDir), Key: cfg.Keys.Store, Log: cfg.Log, Older: true})
	if err != nil {
		return nil, nil, fmt.Errorf("opening store: %w", err)
	}
	info, notice, err := backupOlder(ctx, cfg, st, w, q)
	if err = errors.Join(err, st.Close()); err != nil {
		return nil, nil, err
	}
	return info, func() error {
		list, err := readNotices(cfg.Dir, cfg.Keys.Store)
		if err != nil {
			return err
		}
		list.List = append(list.List, *notice)
		return writeNotices(cfg.Dir, cfg.Keys.Store, list)
	}, nil
}

func backupOlder(ctx context.Context, cfg Config, st *store.Store, w io.Writer, q BackupRequest) (*BackupInfo, *backupNotice, error) {
	if _, begun, older := st.Older(); !older || begun {
		return nil, nil, errors.New("this data directory has not to be migrated, or that has begun: a node backs it up")
	}
	n := newNode(cfg, st)
	var restored restoredDoc
	err := st.View(func(tx *store.Tx) error {
		if _, err := getDoc(tx, kindSetting, []byte("restored"), &restored); err != nil {
			return err
		}
		s, err := n.loadSnapshot(tx, uint64(nowMillis()))
		n.snap.Store(s)
		return err
	})
	if err == nil && restored.At != 0 && !restored.Done {
		err = ErrRestored
	}
	if err != nil {
		return nil, nil, err
	}
	recipients, op, err := n.backupKeys(&q)
	if err != nil {
		return nil, nil, err
	}
	notice := backupNotice{At: uint64(nowMillis()), Detail: sealedFor(len(recipients)), Person: CallerOf(ctx).Person}
	sum := sha256.New()
	info, err := n.backup(ctx, io.MultiWriter(w, sum), recipients, op)
	if err != nil {
		return nil, nil, err
	}
	notice.Sum, notice.Records = protocol.Hash(sum.Sum(nil)), info.Records
	return info, &notice, nil
}

// newNode is a node of which nothing was read yet.
func newNode(cfg Config, st *store.Store) *Node {
	n := &Node{cfg: cfg, log: cfg.Log, org: cfg.Keys.Org, keys: cfg.Keys, st: st, started: nowMillis()}
	n.cache, n.auditTurn = policy.NewCache(), make(chan struct{}, 1)
	ages := slices.Clone(cfg.Keys.Identities)
	n.ages.Store(&ages)
	return n
}
