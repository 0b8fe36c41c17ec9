package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up this node to a key that is kept off line, and restore it on an empty machine",
		Long: "A backup holds all that has to survive this machine: cards, roster, agreements, envelopes, keys of what\n" +
			"may be read and was published, records, erasures, evidence. It is sealed to age recipients whose secret\n" +
			"keys are kept off line. It does not hold the keys that a node signs and connects with: a restored node\n" +
			"is a new one of the same organisation, and gets again what it may read.\n\n" +
			"Beside the data directory DIR stands DIR.anchor, with the journal of erasures. It is not in a backup, on\n" +
			"purpose: where it is still there, a restored node knows at once what was erased since.",
	}
	cmd.AddCommand(a.backupKeygenCommand(), a.backupCreateCommand(), a.backupVerifyCommand(), a.backupRestoreCommand())
	return cmd
}

func (a *app) backupKeygenCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "keygen -o FILE", Short: "Make a key for backups: the file goes off line, the recipient to 'backup create'",
		Long: "Makes a post-quantum age identity, as 'age-keygen -pq' does. Make it on another machine than the node's,\n" +
			"or move the file off this one, and keep more than one copy: whoever has it can read every backup made\n" +
			"for it, and without it none can be restored.",
		Example: "  entente backup keygen -o backup-key.txt", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, recipient, err := crypto.GenerateBackupIdentity()
			if err != nil {
				return err
			}
			f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err // an older key is not overwritten: backups may need it
			}
			_, err = f.WriteString(text)
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return err
			}
			return a.print(map[string]string{"recipient": recipient, "file": out}, func(w io.Writer) {
				fmt.Fprintf(w, "Wrote %s: move it off this machine, to where the root key is.\nrecipient  %s\n", out, recipient)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "where the secret key goes; must not exist")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

func (a *app) backupCreateCommand() *cobra.Command {
	var recipients []string
	var out string
	var withoutOp bool
	cmd := &cobra.Command{
		Use: "create --recipient AGE -o FILE", Short: "Write a backup of this node as it stands now; it may be up or down",
		Long: "Recipients are age recipients whose secret keys are kept off line; those of a node are refused. Prefer the\n" +
			"post-quantum kind, age1pq1..., which 'entente backup keygen' and 'age-keygen -pq' make: a backup for an\n" +
			"age1... key can be read by whoever copies it today and has a quantum computer one day.\n\n" +
			"The organisation's operational key is in it, so that the file and the offline identity are enough to bring\n" +
			"the organisation back on an empty machine; whoever has both can also sign in its name. With\n" +
			"--without-op-key it is left out, and another node of the organisation has to approve the restored one.",
		Example: "  entente backup create --recipient age1pq1... -o node.backup", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := json.Marshal(api.BackupRequest{Recipients: recipients, WithoutOpKey: withoutOp})
			if err != nil {
				return err
			}
			var info node.BackupInfo
			said, err := a.createBackup(cmd.Context(), node.BackupRequest{Recipients: recipients, WithoutOpKey: withoutOp}, b, api.BackupTrailer, out, &info)
			if err != nil {
				return err
			}
			if out != "" && a.json {
				return a.print(&info, nil)
			}
			fmt.Fprintf(said, "Backed up %s: %d records, %d entries of %d feeds, %s\n", printable(info.Org.Name), info.Records, info.Entries, info.Feeds, size(info.Bytes))
			showBackupKeys(said, &info)
			fmt.Fprintln(said, "Check it with 'entente backup verify', where the offline identity is.")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&recipients, "recipient", nil, "age recipient, age1pq1... (or age1...); may be repeated")
	f.StringVarP(&out, "out", "o", "", "write it to this file (default: standard output)")
	f.BoolVar(&withoutOp, "without-op-key", false, "leave the organisation's operational key out")
	return cmd
}

func showBackupKeys(w io.Writer, info *node.BackupInfo) {
	if !info.PostQuantum {
		fmt.Fprintln(w, "note: its recipient is not post-quantum; the file is not safe against a future quantum computer (use age1pq1...)")
	}
	if info.OpKey {
		fmt.Fprintln(w, "It holds the organisation's operational key: guard the offline identity as you guard the root key.")
	} else {
		fmt.Fprintln(w, "It does not hold the organisation's operational key: another node of the organisation has to approve a restored one.")
	}
}

// withBackup opens a backup and the identities that open it.
func (a *app) withBackup(file, identity string, fn func(r io.Reader, ids []crypto.BackupIdentity) error) error {
	if identity == "" {
		return errors.New("a backup is opened with the offline identity that it was made for: give its file with --identity")
	}
	f, err := os.Open(identity)
	if err != nil {
		return fmt.Errorf("reading identity: %w", err)
	}
	ids, err := crypto.ParseBackupIdentities(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", identity, err)
	}
	in, err := a.openFile(file)
	if err != nil {
		return err
	}
	defer in.Close()
	return fn(in, ids)
}

func (a *app) backupVerifyCommand() *cobra.Command {
	var identity string
	cmd := &cobra.Command{
		Use: "verify FILE --identity FILE", Short: "Check everything in a backup, and show what is in it (needs no node)",
		Long: "Reads the whole backup: that it is whole and holds nothing unknown, every signature, every body's hash, the\n" +
			"chain of every feed, and that the records that it shows are those that their authors signed. The exit\n" +
			"status is 1 if anything is wrong, and 2 if something in it does not verify with the cards in it, which a\n" +
			"node would leave out, too. Nothing is written; the node of --dir is told, if the backup is of it.",
		Example: "  entente backup verify node.backup --identity backup-key.txt", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withBackup(args[0], identity, func(r io.Reader, ids []crypto.BackupIdentity) error {
				info, err := node.VerifyBackup(cmd.Context(), r, ids)
				if perr := a.print(info, func(w io.Writer) { showBackup(w, info) }); perr != nil || err != nil {
					return errors.Join(err, perr)
				}
				a.noteVerified(cmd.Context(), info)
				if len(info.LeftOut) > 0 {
					return &partialError{"the backup is whole, and holds what a node would leave out; see above"}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&identity, "identity", "", "file with the offline identity")
	return cmd
}

// noteVerified tells the node whose backup it is that it was verified, if that is the one of --dir. Whether it
// can be told changes nothing of what was verified: 'entente doctor' then does not know of it.
func (a *app) noteVerified(ctx context.Context, info *node.BackupInfo) {
	c, err := a.running()
	if err != nil {
		return
	}
	if c == nil {
		if _, err := os.Stat(filepath.Join(a.dir, "keys")); err != nil || node.NeedsPassphrase(a.dir) {
			return
		}
		if c, err = a.patient(ctx, 0); err != nil {
			return
		}
	}
	err = c.call(ctx, "POST", "backup/verified", nil, api.BackupVerified{Node: info.Node.String(), Made: info.Created}, nil)
	if err = errors.Join(err, c.close()); err == nil && !a.json {
		fmt.Fprintln(a.out, "noted         at this node, for 'entente doctor'")
	}
}

func showBackup(w io.Writer, info *node.BackupInfo) {
	if info.Version > 0 {
		name := info.Org.Name
		if name == "" {
			name = info.Org.ID.String()
		}
		fmt.Fprintf(w, "backup of     %s\n", printable(name))
		fmt.Fprintf(w, "              %s\n", info.Org.ID)
		fmt.Fprintf(w, "node          %s\n", info.Node)
		fmt.Fprintf(w, "made          %s, %s ago\n", info.Created.Format("2006-01-02 15:04 MST"), age(time.Since(info.Created)))
		fmt.Fprintf(w, "network       %s\n", info.Network)
		fmt.Fprintf(w, "holds         %d records (%d found in the entries as their authors signed them)\n", info.Records, info.Proven)
		fmt.Fprintf(w, "              %d entries of %d feeds; %d bodies erased, %d not held\n", info.Entries, info.Feeds, info.Erased, info.Absent)
		fmt.Fprintf(w, "              %d cards, statements, agreements and other documents, %s\n", info.Documents, size(info.Bytes))
		for _, l := range info.LeftOut {
			fmt.Fprintf(w, "does not verify  %d %ss: %s\n", l.Count, l.What, printable(l.Reason))
		}
		showBackupKeys(w, info)
	}
	if info.Whole {
		fmt.Fprintln(w, "whole         yes")
	} else {
		fmt.Fprintf(w, "whole         no: %s\n", printable(info.Problem))
	}
}

// age tells a duration in the unit that a person thinks of it in.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d minutes", max(0, int(d.Minutes())))
}

func (a *app) backupRestoreCommand() *cobra.Command {
	var identity, card string
	var ask bool
	cmd := &cobra.Command{
		Use: "restore FILE --identity FILE --dir DIR", Short: "Make a node of a backup, in an empty directory",
		Long: "Makes a new node of the organisation, with keys of its own, that holds what the backup holds. The whole\n" +
			"backup is checked while it is read; a restore that does not finish leaves a directory that no node starts\n" +
			"from, and is run again. If DIR.anchor of the lost node is still beside the directory, its journal of\n" +
			"erasures is used; else the node shows and serves nothing until it has heard of the erasures since the\n" +
			"backup from two other organisations ('entente up --accept-restored' ends the wait by your decision).\n\n" +
			"If the operational key is in the backup, the new node goes onto the organisation's card at once. The card\n" +
			"goes on from that in the backup, or from a newer one given with --card: give it if anything was changed\n" +
			"after the backup, above all if a node was removed or added, for a card that does not know of it lists it\n" +
			"again, or no more; a restore of this backup adds one, so give it when the same backup is restored again.\n" +
			"Nodes that were listed stay listed, so that their entries stay valid, and connect no more.",
		Example: "  entente --dir /var/lib/entente backup restore node.backup --identity backup-key.txt", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := node.RestoreRequest{Dir: a.dir, Armour: func(b []byte) []byte { return []byte(armour(nodeRequestArmour, b)) }}
			if card != "" {
				b, err := a.readArmour(card, cardArmour)
				if err != nil {
					return err
				}
				q.Card = new(protocol.SignedCard)
				if err := protocol.Decode(b, protocol.MaxCardSize, q.Card); err != nil {
					return fmt.Errorf("reading card: %w", err)
				}
			}
			return a.withBackup(args[0], identity, func(r io.Reader, ids []crypto.BackupIdentity) error {
				q.Identities = ids
				return a.restore(cmd.Context(), r, q, ask)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&identity, "identity", "", "file with the offline identity")
	f.StringVar(&card, "card", "", "the organisation's newest card, from a partner or another node, if it is newer than the backup")
	f.BoolVar(&ask, "passphrase", false, "seal the new keys with a passphrase instead of a key file")
	return cmd
}

func (a *app) restore(ctx context.Context, r io.Reader, q node.RestoreRequest, ask bool) (err error) {
	if err := notAsRoot(q.Dir); err != nil {
		return err
	}
	if ask {
		if q.Passphrase, err = newPassphrase(); err != nil {
			return err
		}
	}
	out, err := node.Restore(ctx, r, q)
	if err != nil {
		return err
	}
	return a.print(out, func(w io.Writer) { showRestored(w, out) })
}

func showRestored(w io.Writer, out *node.Restored) {
	fmt.Fprintf(w, "Restored %s from the backup of %s into %s\n", printable(out.Org.Name), out.Created.Format("2006-01-02 15:04 MST"), out.Dir)
	fmt.Fprintf(w, "holds         %d records, %d entries of %d feeds\n", out.Records, out.Entries, out.Feeds)
	for _, l := range out.LeftOut {
		fmt.Fprintf(w, "left out      %d %ss: %s\n", l.Count, l.What, printable(l.Reason))
	}
	fmt.Fprintf(w, "new node      %s\n", out.NewNode)
	if out.Enrolled {
		var ended []string
		for _, id := range out.Ended {
			ended = append(ended, id.String())
		}
		fmt.Fprintln(w, "It is on the organisation's next card, which it shows to others when it comes up.")
		fmt.Fprintf(w, "still listed, and let in no more: %s\n", strings.Join(ended, ", "))
		fmt.Fprintf(w, "  -> when this node has caught up ('entente feeds'), and the lost one will not come back: entente node revoke %s\n", out.Node)
		fmt.Fprintln(w, "  -> a node that was removed after the backup is listed again: remove it again; of one that lives say so: entente node renew NODE")
		fmt.Fprintln(w, "  -> a node that came to the card after the backup, also by an earlier restore of it, is on it no more, and what it publishes\n"+
			"     counts nowhere: before 'entente up', restore into another directory with the newest card, --card")
	} else {
		fmt.Fprintf(w, "It is on no card yet: the operational key is not in the backup, or is not in force any more.\n"+
			"  -> where the operational key is:  entente node approve %s --words \"%s\" -o enrolment.pem\n"+
			"  -> then here:                     entente node enrol enrolment.pem\n", out.Request, strings.Join(out.Words, " "))
	}
	if out.Journal {
		fmt.Fprintln(w, "The journal of erasures beside the directory is complete: nothing that was erased since is shown.")
	} else {
		fmt.Fprintln(w, "No complete journal of erasures stands beside the directory: it shows and serves nothing until it has\n"+
			"compared with two other organisations, or you run 'entente up --accept-restored'. What this organisation erased\n"+
			"since of records of others only its other nodes know: where none lives, erase it again.")
	}
	if out.Rules != "" {
		fmt.Fprintf(w, "LOCAL RULES   set %s; %s.\n"+
			"Nothing is shared, received, passed on or shown until somebody who may administer has looked at them:\n"+
			"  -> entente rules show, then: entente rules confirm %s\n"+
			"  -> or, if they are not the newest: entente rules load FILE\n", out.RulesSet, printable(out.Rules), out.RulesSet)
	}
	fmt.Fprintln(w, "Agreements are as they were when the backup was made: end again, before you publish, what was ended since ('entente agreement list').")
	fmt.Fprintln(w, "Next: 'entente up'.")
}
