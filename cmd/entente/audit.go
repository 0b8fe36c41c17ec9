package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/node/audit"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show, verify and report what this node decided",
		Long: "A node keeps an account of every decision: for whom records were sealed and from whom they were\n" +
			"withheld, what was shown to whom, what was erased, and every change of trust. The account is a Merkle\n" +
			"log: it cannot be rewritten without contradicting a checkpoint that somebody keeps. Its leaves say\n" +
			"nothing of whom or what they are about; the details beside them are encrypted, and can be erased.",
	}
	cmd.AddCommand(a.auditShow(), a.auditVerify(), a.auditExport(), a.auditCheckpoint(), a.auditCosigned(), a.auditProve(), a.auditErase(), a.auditReport(), a.auditRegister())
	return cmd
}

func (a *app) auditShow() *cobra.Command {
	var q struct {
		from, to, org, kind, log  string
		agreement, record, person string
		limit                     int
	}
	cmd := &cobra.Command{
		Use: "show", Short: "Show entries of the audit log, the newest last", Args: cobra.NoArgs,
		Long:    "That the entries were looked at is an entry itself.",
		Example: "  entente audit show --from 7d --kind disclose\n  entente audit show --person alice --record rec:abcdefghij\n  entente audit show --org \"Example Police\" --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := url.Values{"limit": {strconv.Itoa(q.limit)}}
			for name, value := range map[string]string{"from": q.from, "to": q.to, "org": q.org, "kind": q.kind, "log": q.log, "agreement": q.agreement, "record": q.record, "person": q.person} {
				if value != "" {
					v.Set(name, value)
				}
			}
			var list []node.AuditEntry
			if err := a.ask(cmd.Context(), "GET", "audit", v, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"ENTRY", "AT", "KIND", "ACT", "BY", "PERSON", "PURPOSE", "CONCERNS", "RECORDS", "MORE"}}
				for i := range list {
					rows = append(rows, auditRow(&list[i]))
				}
				table(w, rows...)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.from, "from", "", "from then on: 2026-01-31, RFC 3339, 36h, 7d")
	f.StringVar(&q.from, "since", "", "the same as --from")
	f.StringVar(&q.to, "to", "", "before then")
	f.StringVar(&q.org, "org", "", "only what concerns this organisation, or was its act")
	f.StringVar(&q.agreement, "agreement", "", "only what was done under this agreement, or is about it")
	f.StringVar(&q.record, "record", "", "only what is about this record, by its id, also if it is not held any more")
	f.StringVar(&q.person, "person", "", "only what this person did, or was refused")
	cmd.MarkFlagsMutuallyExclusive("from", "since")
	f.StringVar(&q.kind, "kind", "", strings.Join(audit.Kinds(), ", "))
	f.StringVar(&q.log, "log", "", "only of this log (default: all that are held)")
	f.IntVar(&q.limit, "limit", node.DefaultLimit, "at most so many, the newest")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(audit.Kinds(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func auditRow(e *node.AuditEntry) []string {
	row := []string{fmt.Sprint(e.Number), e.Day, e.Kind, dash(e.Act), "-", dash(e.Person), dash(e.Purpose)}
	if e.At != nil {
		row[1], row[4] = e.At.Format("2006-01-02 15:04:05"), e.By.Name
	}
	var concerns, more []string
	for _, o := range e.Orgs {
		concerns = append(concerns, o.Name)
	}
	concerns = append(concerns, e.Allowed...)
	for _, r := range e.Refused {
		concerns = append(concerns, "not "+r.Org+" ("+r.Reason+")")
	}
	if e.Erased != nil {
		more = append(more, fmt.Sprintf("details erased, as entry %d says", *e.Erased))
	}
	if e.Handling != nil {
		more = append(more, e.Type+" TLP:"+strings.ToUpper(e.Handling.TLP)+" "+strings.Join(e.Handling.Countries, " "))
	}
	for _, s := range []string{e.Topic, e.Reason, e.Text} {
		if s != "" {
			more = append(more, s)
		}
	}
	for _, d := range e.Decisions {
		more = append(more, fmt.Sprintf("decision %d", d))
	}
	return append(row, dash(strings.Join(concerns, ", ")), fmt.Sprint(e.Records), dash(strings.Join(more, "; ")))
}

func (a *app) auditVerify() *cobra.Command {
	var since []string
	var file, key string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify the audit log, or an exported one",
		Long: "Recomputes the log from its leaves, and holds the details that are left, the checkpoints, and those\n" +
			"given with --since, against it. A checkpoint that was kept elsewhere shows that nothing before it was\n" +
			"taken away, changed or replaced. With --file an exported log is verified, without a node; --key is the\n" +
			"key that it has to be signed with, else the file's own word is taken for it.",
		Example: "  entente audit verify --since /media/stick/checkpoint.txt\n  entente audit verify --file audit.jsonl --since checkpoint.txt",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var notes []string
			for _, path := range since {
				b, err := a.readFile(path, audit.MaxCheckpoint)
				if err != nil {
					return err
				}
				notes = append(notes, string(b))
			}
			var list []node.AuditCheck
			var err error
			if file != "" {
				list, err = a.verifyFile(file, key, notes)
			} else {
				err = a.ask(cmd.Context(), "POST", "audit/verify", nil, map[string]any{"since": notes}, &list)
			}
			if err != nil {
				return err
			}
			whole := true
			if err := a.print(list, func(w io.Writer) {
				for i := range list {
					showAuditCheck(w, &list[i])
				}
			}); err != nil {
				return err
			}
			for i := range list {
				whole = whole && list[i].Whole
			}
			if !whole {
				return errors.New("the audit log does not verify: see the problems above")
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&since, "since", nil, "file with a checkpoint that was kept; may be repeated")
	cmd.Flags().StringVar(&file, "file", "", "verify this exported log instead")
	cmd.Flags().StringVar(&key, "key", "", "key that the exported log has to be signed with, as 'audit verify' prints it")
	return cmd
}

// verifyFile verifies an exported log. It needs no node and no data directory.
func (a *app) verifyFile(path, key string, notes []string) ([]node.AuditCheck, error) {
	f, err := a.openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var since []audit.Since
	for _, n := range notes {
		since = append(since, audit.Since{What: "the checkpoint given", Signed: []byte(n)})
	}
	x, err := audit.VerifyExport(f, key, since)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if key == "" && !a.json {
		fmt.Fprintln(a.err, "the key is the one that the file names: hold it against what you know of its organisation, or give --key")
	}
	return []node.AuditCheck{node.AuditCheckOf(&x.Verified, x.Key)}, nil
}

func showAuditCheck(w io.Writer, c *node.AuditCheck) {
	fmt.Fprintf(w, "log          %s\n", c.Log)
	fmt.Fprintf(w, "key          %s\n", printable(c.Key))
	fmt.Fprintf(w, "entries      %d, root %s\n", c.Entries, c.Root)
	fmt.Fprintf(w, "checkpoints  %d held against it\n", c.Checkpoints)
	fmt.Fprintf(w, "details      %d are those committed to, %d erased, %d not in the file\n", c.Details, c.Erased, c.Without)
	for _, x := range c.Cosigners {
		fmt.Fprintf(w, "cosigned     by %s up to %d entries at %s\n", printable(x.Org.Name), x.Entries, x.At.Format("2006-01-02 15:04 MST"))
	}
	if c.Index != "" {
		fmt.Fprintf(w, "index        was made anew: %s\n", printable(c.Index))
	}
	for _, p := range c.Problems {
		fmt.Fprintf(w, "PROBLEM      %s\n", printable(p))
	}
	if c.More > 0 {
		fmt.Fprintf(w, "PROBLEM      and %d more\n", c.More)
	}
	fmt.Fprintf(w, "whole        %s\n", yes(c.Whole))
}

func (a *app) auditExport() *cobra.Command {
	var out, log string
	var details bool
	cmd := &cobra.Command{
		Use: "export -o FILE", Short: "Write the audit log to a file that anybody can verify",
		Long: "Writes the leaves, the checkpoints and the proofs that each continues the one before it. They say\n" +
			"nothing of whom or what the entries are about. With --details they do: such a file holds personal data.",
		Example: "  entente audit export -o audit.jsonl\n  entente audit export --details -o audit-full.jsonl --for \"request 12/2026 of the DPO\"", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if log != "" {
				q.Set("log", log)
			}
			if details {
				q.Set("details", "1")
			}
			entries, err := a.fetchInto(cmd.Context(), "audit/export", q, out, api.AuditTrailer)
			if err != nil {
				return err
			}
			if out == "-" {
				return nil
			}
			return a.print(map[string]string{"file": out, "entries": entries}, func(w io.Writer) { fmt.Fprintf(w, "Wrote %s entries to %s\n", entries, out) })
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write; - for standard output")
	cmd.Flags().StringVar(&log, "log", "", "an earlier log that is held (default: the current one)")
	cmd.Flags().BoolVar(&details, "details", false, "with the details")
	_ = cmd.MarkFlagRequired("output")
	return cmd
}

// fetchInto writes an answer to a file, whole or not at all, and returns its trailer, which must have
// come if it has a name.
func (a *app) fetchInto(ctx context.Context, path string, q url.Values, out, trailer string) (string, error) {
	c, err := a.client(ctx)
	if err != nil {
		return "", err
	}
	defer c.close()
	resp, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	w := a.out
	var f *os.File
	if out != "-" {
		if f, err = os.CreateTemp(filepath.Dir(out), ".entente-*"); err != nil {
			return "", err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		w = f
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return "", fmt.Errorf("reading the node's answer: %w", err)
	}
	said := resp.Trailer.Get(trailer)
	if trailer != "" && said == "" {
		return "", errors.New("the answer broke off; what was written is not whole")
	}
	if f != nil {
		err = errors.Join(f.Sync(), f.Close(), os.Rename(f.Name(), out)) // mode 0600, as it was made
	}
	return said, err
}

func (a *app) auditCheckpoint() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "checkpoint -o FILE", Short: "Write a signed checkpoint of the audit log, to be kept elsewhere",
		Long: "Whoever keeps the checkpoint can show later that the log was not rewritten: 'entente audit verify\n" +
			"--since FILE'. It says nothing of what is in the log. It is a signed note in the form of C2SP\n" +
			"tlog-checkpoint.",
		Example: "  entente audit checkpoint -o /media/stick/checkpoint.txt", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var c api.Checkpoint
			if err := a.ask(cmd.Context(), "GET", "audit/checkpoint", nil, nil, &c); err != nil {
				return err
			}
			if out == "-" {
				_, err := io.WriteString(a.out, c.Checkpoint)
				return err
			}
			if err := replaceFile(out, []byte(c.Checkpoint)); err != nil {
				return err
			}
			return a.print(c, func(w io.Writer) { fmt.Fprintf(w, "Checkpoint of %d entries of log %s in %s\n", c.Entries, c.Log, out) })
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write; - for standard output")
	_ = cmd.MarkFlagRequired("output")
	return cmd
}

func (a *app) auditCosigned() *cobra.Command {
	var org, out, against string
	cmd := &cobra.Command{
		Use: "cosigned", Short: "Show the audit logs of other nodes that this node cosigned", Args: cobra.NoArgs,
		Long: "Nodes of organisations that have agreements cosign each other's audit logs as they grow, and see no\n" +
			"more of them than how long they are. With -o the checkpoint that was cosigned last is written: handed\n" +
			"to who audits that organisation, or to another partner of it, it shows whether all were shown one\n" +
			"account. --against holds one that another partner gave you against the one that is held here.",
		Example: "  entente audit cosigned\n  entente audit cosigned --org \"Example Police\" -o checkpoint.txt\n  entente audit cosigned --against theirs.txt",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if against != "" {
				return a.auditAgainst(cmd, against)
			}
			var list []node.CosignedLog
			if err := a.ask(cmd.Context(), "GET", "audit/cosigned", nil, nil, &list); err != nil {
				return err
			}
			if org != "" {
				list = slices.DeleteFunc(list, func(c node.CosignedLog) bool { return c.Org.Name != org && c.Org.ID.String() != org })
			}
			if out != "" {
				if len(list) != 1 {
					return fmt.Errorf("%d logs were cosigned of whom you name; -o takes one, see 'entente audit cosigned'", len(list))
				}
				if out == "-" {
					_, err := io.WriteString(a.out, list[0].Checkpoint)
					return err
				}
				if err := replaceFile(out, []byte(list[0].Checkpoint)); err != nil {
					return err
				}
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"ORGANISATION", "NODE", "LOG", "ENTRIES", "COSIGNED", "STATE"}}
				for _, c := range list {
					state := "continued"
					switch {
					case c.Forked:
						state = "FORKED: it signed two accounts of this length"
					case c.Against != "":
						state = "BROKEN: it showed another one later"
					}
					rows = append(rows, []string{printable(c.Org.Name), c.Node.String(), c.Log.String(), fmt.Sprint(c.Entries), c.At.Format("2006-01-02 15:04 MST"), state})
				}
				table(w, rows...)
			})
		},
	}
	cmd.Flags().StringVar(&org, "org", "", "only logs of nodes of this organisation")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the checkpoint to this file; - for standard output")
	cmd.Flags().StringVar(&against, "against", "", "file with a checkpoint of such a log, to be compared with the one held here")
	return cmd
}

// auditAgainst compares a checkpoint that somebody else has with the one that was cosigned here.
func (a *app) auditAgainst(cmd *cobra.Command, path string) error {
	b, err := a.readFile(path, audit.MaxCheckpoint)
	if err != nil {
		return err
	}
	var c api.Compared
	if err := a.ask(cmd.Context(), "POST", "audit/cosigned", nil, map[string]any{"checkpoint": string(b)}, &c); err != nil {
		return err
	}
	if err := a.print(c, func(w io.Writer) {
		switch {
		case c.Differs:
			fmt.Fprintf(w, "FORKED: node %s of %s signed two accounts of %d entries. Both checkpoints are kept.\n", c.Node, printable(c.Org.Name), c.Entries)
		case c.OneLength:
			fmt.Fprintf(w, "The same: both are of the first %d entries of log %s.\n", c.Entries, c.Log)
		default:
			fmt.Fprintf(w, "They are of two lengths, which alone tells nothing: %d entries were cosigned here. Ask %s for the log ('audit export'),\n"+
				"and hold both against it: 'entente audit verify --file LOG --since ONE --since OTHER'.\n", c.Entries, printable(c.Org.Name))
		}
	}); err != nil {
		return err
	}
	if c.Differs {
		return errors.New("there are two accounts")
	}
	return nil
}

func (a *app) auditProve() *cobra.Command {
	var log string
	cmd := &cobra.Command{
		Use: "prove N", Short: "Prove that entry N stands in the audit log",
		Long: "Prints a proof in the form of C2SP tlog-proof, with the leaf and the key that it verifies with. The\n" +
			"proof says nothing of any other entry.",
		Example: "  entente audit prove 17", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if log != "" {
				q.Set("log", log)
			}
			var p node.AuditProof
			if err := a.ask(cmd.Context(), "GET", "audit/proof/"+url.PathEscape(args[0]), q, nil, &p); err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { fmt.Fprintf(w, "key   %s\nleaf  %x\n\n%s", p.Key, p.Leaf, p.Proof) })
		},
	}
	cmd.Flags().StringVar(&log, "log", "", "an earlier log that is held (default: the current one)")
	return cmd
}

func (a *app) auditErase() *cobra.Command {
	var authority, reason, before string
	cmd := &cobra.Command{
		Use: "erase [N...]", Short: "Erase details of entries of the audit log for ever",
		Long: "Destroys what entries say. That there were such entries, their kind and day, and on whose authority\n" +
			"their details were erased stays, and the log goes on verifying. What --before names is erased in all\n" +
			"entries before that day.",
		Example: "  entente audit erase 17 18 --authority \"DPO, file 12/2026\" --reason \"request of the person\"\n  entente audit erase --before 2021-01-01 --authority \"retention rule 5\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			entries := []uint64{}
			for _, text := range args {
				n, err := strconv.ParseUint(text, 10, 48)
				if err != nil {
					return fmt.Errorf("%q is not the number of an entry; 'entente audit show' shows them", text)
				}
				entries = append(entries, n)
			}
			var r node.AuditErased
			body := map[string]any{"entries": entries, "before": before, "authority": authority, "reason": reason}
			if err := a.ask(cmd.Context(), "POST", "audit/erase", nil, body, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "Erased: the details of %d entries\n", r.Erased) })
		},
	}
	cmd.Flags().StringVar(&authority, "authority", "", "on whose word; the log keeps it")
	cmd.Flags().StringVar(&reason, "reason", "", "why; the log keeps it")
	cmd.Flags().StringVar(&before, "before", "", "all details of entries before this day: 2021-01-01, 3650d")
	_ = cmd.MarkFlagRequired("authority")
	return cmd
}

func (a *app) auditReport() *cobra.Command {
	var org, agreement, from, to, format, out string
	cmd := &cobra.Command{
		Use:   "report --org ORG --from DATE --to DATE -o FILE",
		Short: "Report what was shared with an organisation, and what was withheld from it",
		Long: "Makes the disclosure report: every record that was shared with the organisation between two days, under\n" +
			"which agreement and term, with what its nodes signed to have received; and everything withheld, with the\n" +
			"reasons. --format html is a page for people, csv for spreadsheets, json for machines.",
		Example: "  entente audit report --org \"Example Police\" --from 2026-01-01 --to 2026-04-01 --format html -o report.html",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"org": {org}, "from": {from}, "format": {format}}
			if agreement != "" {
				q.Set("agreement", agreement)
			}
			if to != "" {
				q.Set("to", to)
			}
			if _, err := a.fetchInto(cmd.Context(), "audit/report", q, out, ""); err != nil || out == "-" {
				return err
			}
			return a.print(map[string]string{"file": out}, func(w io.Writer) { fmt.Fprintf(w, "Wrote %s\n", out) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&org, "org", "", "the organisation, by name or id")
	f.StringVar(&agreement, "agreement", "", "only what was decided under this agreement")
	f.StringVar(&from, "from", "", "first day: 2026-01-31, or 90d ago")
	f.StringVar(&to, "to", "", "day after the last (default: now)")
	f.StringVar(&format, "format", "json", strings.Join(node.ReportFormats(), ", "))
	f.StringVarP(&out, "output", "o", "", "file to write; - for standard output")
	for _, name := range []string{"org", "from", "output"} {
		_ = cmd.MarkFlagRequired(name)
	}
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(node.ReportFormats(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) auditRegister() *cobra.Command {
	var from, to, format, out string
	cmd := &cobra.Command{
		Use:   "register --from DATE -o FILE",
		Short: "Write the register of processing: who may get what, on what basis, and what was shared",
		Long: "For each term under which this organisation gives: recipient, legal basis, categories, personal data,\n" +
			"purposes, retention, and how many records of which category went under it in the time.",
		Example: "  entente audit register --from 2026-01-01 --to 2027-01-01 --format csv -o register.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"from": {from}, "format": {format}}
			if to != "" {
				q.Set("to", to)
			}
			if _, err := a.fetchInto(cmd.Context(), "audit/register", q, out, ""); err != nil || out == "-" {
				return err
			}
			return a.print(map[string]string{"file": out}, func(w io.Writer) { fmt.Fprintf(w, "Wrote %s\n", printable(out)) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "first day: 2026-01-31, or 365d ago")
	f.StringVar(&to, "to", "", "day after the last (default: now)")
	f.StringVar(&format, "format", "json", strings.Join(node.RegisterFormats(), ", "))
	f.StringVarP(&out, "output", "o", "", "file to write; - for standard output")
	for _, name := range []string{"from", "output"} {
		_ = cmd.MarkFlagRequired(name)
	}
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(node.RegisterFormats(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
