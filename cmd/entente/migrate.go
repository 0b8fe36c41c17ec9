package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/store"
)

func (a *app) migrateCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the data of an earlier version of the program to this one",
		Long: "After the program was replaced by a later version, a node whose data has to be migrated does not come up,\n" +
			"and nothing of it was changed. With the node stopped:\n\n" +
			"  entente backup create --recipient AGE -o before.backup\n" +
			"  entente migrate\n\n" +
			"The backup must not be older than an hour: to go back to the earlier version is to restore it. --force\n" +
			"migrates without one. A migration that was killed, or for which the disk was full, goes on where it was,\n" +
			"with this command or with 'entente up'; the earlier version does not open the data any more from then on.",
		Example: "  entente migrate", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			how := node.MigrateWithBackup
			if force {
				how = node.MigrateForced
			}
			return a.migrate(cmd.Context(), how)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "migrate although no backup was made within the last hour")
	return cmd
}

// migrated is what migrate prints.
type migrated struct {
	Format   int  `json:"format"`
	Migrated bool `json:"migrated"` // it had to be
}

func (a *app) migrate(ctx context.Context, how node.Migrate) error {
	out := migrated{Format: store.Format}
	cfg := node.Config{Migrate: how, MigrateBy: a.caller(), Log: slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelError}))}
	report := a.migrating()
	cfg.Progress = func(what string, done, total uint64) {
		out.Migrated = true
		report(what, done, total)
	}
	n, err := a.open(ctx, cfg, func() bool { return a.dial() != nil })
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("%w; a data directory is migrated while its node is stopped", err)
	}
	if err != nil {
		return err
	}
	if err := n.Close(); err != nil {
		return err
	}
	return a.print(&out, func(w io.Writer) {
		if out.Migrated {
			fmt.Fprintf(w, "Migrated to store format %d. Next: 'entente up'.\n", out.Format)
			return
		}
		fmt.Fprintf(w, "Nothing to do: the data has store format %d already.\n", out.Format)
	})
}

// migrating tells on the error output how far a migration has come: each second, and at its end.
func (a *app) migrating() func(what string, done, total uint64) {
	var last time.Time
	return func(what string, done, total uint64) {
		if done < total && time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintf(a.err, "migrating: %s: %d of %d\n", what, done, total)
	}
}

// backupOlder makes a backup of data that has to be migrated, of which no node can.
func (a *app) backupOlder(ctx context.Context, q node.BackupRequest, out string, info *node.BackupInfo) (said io.Writer, err error) {
	keys, err := a.keys()
	if err != nil {
		return nil, err
	}
	var note func() error
	kept := func() error { return note() }
	return a.keepFile(fetch{out: out, mode: 0o600, doing: "backing up", tmp: ".backup-", kept: kept}, func(w io.Writer) error {
		var got *node.BackupInfo
		var err error
		got, note, err = node.BackupOlder(node.WithCaller(ctx, a.caller()), node.Config{Dir: a.dir, Keys: keys}, w, q)
		if err == nil {
			*info = *got
		}
		return err
	})
}

// createBackup asks the node for a backup, and makes one itself of data that no node of this version opens.
func (a *app) createBackup(ctx context.Context, q node.BackupRequest, body []byte, trailer, out string, info *node.BackupInfo) (said io.Writer, err error) {
	said, err = a.fetchFile(ctx, fetch{path: "backup", body: bytes.NewReader(body), out: out, mode: 0o600, trailer: trailer, doing: "backing up", tmp: ".backup-"}, info)
	if errors.Is(err, node.ErrMigrate) {
		return a.backupOlder(ctx, q, out, info)
	}
	return said, err
}
