package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	sources "github.com/entente-mesh/entente/node/source"
)

func (a *app) sourceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "source", Short: "Fetch what is published from folders, URLs, TAXII servers and MISP feeds",
		Long: "A source is looked at by its schedule while the node is up, and what is new in it is published: with the\n" +
			"handling that it states, or that you give as a default, which narrows and never widens. What could not be\n" +
			"read or may not go out waits as a dead letter that says why.",
	}
	cmd.AddCommand(a.sourceAdd(), a.sourceList(), a.sourceShow(), a.sourceRun(), a.sourcePause("pause"), a.sourcePause("resume"), a.sourceRemove(), a.sourceDead(), a.sourceRetry(), a.sourceDrop(), a.ownCommand("source", "blocklist"))
	return cmd
}

func (a *app) sourceAdd() *cobra.Command {
	var q api.SourceAdd
	var every, cron, labels, ca, password, token string
	cmd := &cobra.Command{
		Use: "add folder|url|taxii|misp NAME WHERE", Short: "Add a source",
		Long: "WHERE is a folder, or a URL: of a document, of the API root of a TAXII 2.1 server, of a MISP feed.\n\n" +
			"Of a folder, whole files are taken: those that nobody writes to and that stayed as they are for two seconds,\n" +
			"or were renamed into place. Names that begin with '.' or end in .tmp, .part or '~' are left alone.",
		Example: "  entente source add folder drop /srv/drop --topic c2 --tlp amber --move-done\n" +
			"  entente source add url blocklist https://lists.example/c2.txt --topic c2 --tlp green --format list --every 15m --withdraw-missing",
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Kind, q.Name, q.Where = args[0], args[1], args[2]
			if q.Kind == string(node.SourceFolder) {
				abs, err := filepath.Abs(q.Where)
				if err != nil {
					return err
				}
				q.Where = abs
			}
			switch {
			case every != "":
				q.Schedule = "every " + every
			case cron != "":
				q.Schedule = cron
			}
			for _, f := range []struct {
				path string
				line bool
				to   *string
			}{{labels, false, &q.Labels}, {ca, false, &q.CA}, {password, true, &q.Password}, {token, true, &q.Token}} {
				if f.path == "" {
					continue
				}
				b, err := a.readFile(f.path, node.MaxSourceLabels)
				if err != nil {
					return err
				}
				if f.line {
					if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
						return fmt.Errorf("%s is empty", f.path)
					}
				}
				*f.to = string(b)
			}
			var v api.SourceView
			if err := a.ask(cmd.Context(), "POST", "sources", nil, q, &v); err != nil {
				return err
			}
			return a.print(v, func(w io.Writer) {
				done := "Added"
				if q.Replace {
					done = "Changed"
				}
				fmt.Fprintf(w, "%s. It is looked at while the node is up (%s); 'entente source run %s' looks now.\n", done, v.Schedule, v.Name)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Topic, "topic", "", "topic to publish in")
	f.StringVar(&every, "every", "", "how often to look, as 5m (default: 1h, a folder 1m)")
	f.StringVar(&cron, "cron", "", "when to look: five fields as in crontab, in UTC, or 'manual'")
	f.StringVar(&q.Collection, "collection", "", "of a TAXII server: id of the collection")
	f.StringVar(&q.Format, "format", "", "auto, stix, misp or list (default: look at the contents)")
	f.StringVar(&labels, "labels", "", "CSV file with columns value, country, tlp, for what states none")
	h := &q.Handling
	f.StringVar(&h.TLP, "tlp", "", "clear, green, amber, amber+strict or red; without, what states none is set aside")
	f.StringVar(&h.PAP, "pap", "", "permissible actions: clear, green, amber or red")
	f.StringSliceVar(&h.Country, "country", nil, "country concerned, as TH; may be repeated")
	f.StringVar(&h.Personal, "personal", "", "personal data: none, network or all (default: undetermined, treated as all)")
	f.StringSliceVar(&h.Purpose, "purpose", nil, "what it may be used for; may be repeated")
	f.IntVar(&h.Retention, "retention-days", 0, "how long readers may keep it")
	f.StringArrayVar(&h.To, "to", nil, "only to this organisation; may be repeated; needed for red")
	f.StringArrayVar(&h.Exclude, "exclude", nil, "never to this organisation; may be repeated")
	f.StringArrayVar(&h.Onward, "onward", nil, "to whom readers may pass it on: partners, kind:police, or an organisation; may be repeated (default: nobody)")
	f.StringVar(&h.OnwardTLP, "onward-tlp", "", "with --onward: up to this TLP")
	f.StringVar(&h.Origin, "origin", "", "named or withheld: whether who may pass it on may withhold whose it is (default: named)")
	c := &q.Assessment
	f.StringVar(&c.Reliability, "reliability", "", "with --format list: reliability of the source on the Admiralty scale, A to F")
	f.StringVar(&c.Credibility, "credibility", "", "with --format list: credibility of what it says on the Admiralty scale, 1 to 6")
	f.StringVar(&c.Evaluation, "europol-evaluation", "", "with --format list: Europol's evaluation, as B2")
	f.StringSliceVar(&c.Handling, "europol-handling", nil, "with --format list: Europol's handling codes, H0 to H3; may be repeated")
	f.StringVar(&c.Text, "europol-text", "", "with --format list: what the handling codes restrict, in words; required with H3")
	f.StringVar(&q.Principal, "principal", "", "as whom it publishes, for the local rules: somebody of the people file (default: 'source NAME')")
	f.Uint32Var(&q.MaxRecords, "max-records", 0, fmt.Sprintf("records to publish in one run; the rest follows in the next (default %d)", node.DefSourceRecords))
	f.Uint64Var(&q.MaxBytes, "max-bytes", 0, fmt.Sprintf("bytes of a document, unpacked (default %d)", node.DefSourceBytes))
	f.BoolVar(&q.WithdrawMissing, "withdraw-missing", false, "of a URL that is a whole list: withdraw what this source published and what is not there any more")
	f.BoolVar(&q.MoveDone, "move-done", false, "of a folder: move files to its folder 'done' once they were published")
	f.BoolVar(&q.Private, "private-addresses", false, "let the URL lead to private and local addresses")
	f.StringVar(&q.User, "user", "", "name to log in with")
	f.StringVar(&password, "password-file", "", "file that holds the password to log in with; - for standard input")
	f.StringVar(&token, "token-file", "", "file that holds the bearer token to log in with; - for standard input")
	f.StringVar(&ca, "ca", "", "PEM file of certificates to trust in place of the system's")
	f.BoolVar(&q.Paused, "paused", false, "do not look at it until it is resumed or run by hand")
	f.BoolVar(&q.Replace, "replace", false, "change the source of this name, which keeps what it gave; give all of its settings anew, and credentials")
	_ = cmd.MarkFlagRequired("topic")
	cmd.MarkFlagsMutuallyExclusive("every", "cron")
	cmd.MarkFlagsMutuallyExclusive("token-file", "user")
	cmd.MarkFlagsMutuallyExclusive("token-file", "password-file")
	return cmd
}

// when is a time of a source's state in words.
func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func sourceStanding(v *api.SourceView) string {
	switch {
	case v.State.Running:
		return "running"
	case v.Paused:
		return "paused"
	case v.State.Failures > 0:
		return fmt.Sprintf("failed %d×", v.State.Failures)
	case v.State.Last == nil:
		return "new"
	}
	return "ok"
}

func (a *app) sourceList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the sources", Example: "  entente source list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []api.SourceView
			if err := a.ask(cmd.Context(), "GET", "sources", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"NAME", "KIND", "TOPIC", "SCHEDULE", "STATE", "OWNER", "LAST RUN", "PUBLISHED", "DEAD LETTERS"}}
				for i := range list {
					v := &list[i]
					rows = append(rows, []string{v.Name, string(v.Kind), v.Topic, v.Schedule, sourceStanding(v), dash(v.Person), when(v.State.Last), strconv.FormatUint(v.State.All.Published, 10), strconv.Itoa(v.State.Dead)})
				}
				table(w, rows...)
			})
		},
	}
}

func (a *app) sourceShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a source and how far it has come", Example: "  entente source show blocklist", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v api.SourceView
			if err := a.ask(cmd.Context(), "GET", "sources/"+url.PathEscape(args[0]), nil, nil, &v); err != nil {
				return err
			}
			return a.print(v, func(w io.Writer) { showSource(w, &v) })
		},
	}
}

func showSource(w io.Writer, v *api.SourceView) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-13s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("source", "%s, %s", v.Name, sourceStanding(v))
	line("kind", "%s", v.Kind)
	line("where", "%s", v.Where)
	if v.Collection != "" {
		line("collection", "%s", v.Collection)
	}
	if v.HasLogin {
		line("credentials", "given; they are not shown")
	}
	line("schedule", "%s", v.Schedule)
	who := v.Principal
	if who == "" {
		who = "source " + v.Name
	}
	line("publishes", "in topic %s, as %s", v.Topic, who)
	tlp := v.Handling.TLP
	if tlp == "unset" || tlp == "" {
		tlp = "as documents state it"
	}
	line("TLP", "%s", tlp)
	if v.WithdrawMissing {
		line("what is gone", "is withdrawn")
	}
	next := when(v.State.Next)
	if v.State.Next == nil && !v.State.Manual {
		next = "at once"
	}
	line("last run", "%s, the last good one %s; next %s", when(v.State.Last), when(v.State.Good), next)
	if v.State.Error != "" {
		line("failed", "%d times one after the other: %s", v.State.Failures, v.State.Error)
	}
	line("then", "%s", countsText(&v.State.Run))
	line("in all", "%s", countsText(&v.State.All))
	line("dead letters", "%d wait, %d went to make room", v.State.Dead, v.State.Evicted)
}

func countsText(c *node.SourceCounts) string {
	out := []string{fmt.Sprintf("%d documents, %d published, %d known, %d held already, %d set aside", c.Documents, c.Published, c.Known, c.Held, c.SetAside)}
	if c.Withdrawn > 0 {
		out = append(out, fmt.Sprintf("%d withdrawn", c.Withdrawn))
	}
	if c.Left > 0 {
		out = append(out, fmt.Sprintf("%d left for the next run", c.Left))
	}
	return strings.Join(out, ", ")
}

func (a *app) sourceRun() *cobra.Command {
	var q api.SourceRun
	cmd := &cobra.Command{
		Use: "run NAME", Short: "Look at a source now", Example: "  entente source run blocklist", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var rep sources.Report
			if err := a.ask(cmd.Context(), "POST", "sources/"+url.PathEscape(args[0])+"/run", nil, q, &rep); err != nil {
				return err
			}
			if err := a.print(rep, func(w io.Writer) {
				fmt.Fprintln(w, countsText(&rep.Counts))
				if rep.Error != "" {
					fmt.Fprintf(w, "failed: %s\n", printable(rep.Error))
				}
			}); err != nil {
				return err
			}
			switch {
			case rep.Error != "":
				return errors.New("the source failed; what it gave before is published")
			case rep.Counts.SetAside > 0:
				return &partialError{fmt.Sprintf("%d were set aside; 'entente source dead %s' says why", rep.Counts.SetAside, args[0])}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&q.AcceptMissing, "accept-missing", false, "with a source that withdraws: do so even if more than half is gone")
	return cmd
}

func (a *app) sourcePause(act string) *cobra.Command {
	short := "Stop looking at a source"
	if act == "resume" {
		short = "Go on looking at a source"
	}
	return &cobra.Command{
		Use: act + " NAME", Short: short, Example: "  entente source " + act + " blocklist", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r api.SourceName
			if err := a.ask(cmd.Context(), "POST", "sources/"+url.PathEscape(args[0])+"/"+act, nil, struct{}{}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "%s: %sd\n", r.Source, act) })
		},
	}
}

func (a *app) sourceRemove() *cobra.Command {
	var drop bool
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Remove a source; what it published stays", Example: "  entente source remove blocklist --drop", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if drop {
				q.Set("drop", "1")
			}
			var r api.SourceName
			if err := a.ask(cmd.Context(), "DELETE", "sources/"+url.PathEscape(args[0]), q, nil, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintln(w, "Removed. What it published stays; 'entente withdraw' takes records back.")
			})
		},
	}
	cmd.Flags().BoolVar(&drop, "drop", false, "drop its dead letters, too")
	return cmd
}

func (a *app) sourceDead() *cobra.Command {
	var held bool
	cmd := &cobra.Command{
		Use: "dead [NAME|DEADLETTER]", Short: "List dead letters: what sources gave and what was not published, and why",
		Example: "  entente source dead blocklist\n  entente source dead dead:0123456789abcdef", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && strings.HasPrefix(args[0], "dead:") {
				var l node.DeadLetter
				if err := a.ask(cmd.Context(), "GET", "deadletters/"+url.PathEscape(args[0]), nil, nil, &l); err != nil {
					return err
				}
				return a.print(l, func(w io.Writer) {
					showDead(w, &l)
					fmt.Fprintf(w, "\n%s\n", printableLines(l.Text))
				})
			}
			q := url.Values{}
			if len(args) == 1 {
				q.Set("source", args[0])
			}
			if held {
				q.Set("held", "1")
			}
			var list []node.DeadLetter
			if err := a.ask(cmd.Context(), "GET", "deadletters", q, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				for i := range list {
					showDead(w, &list[i])
				}
				if len(list) == 0 {
					fmt.Fprintln(w, "no dead letters")
				}
			})
		},
	}
	cmd.Flags().BoolVar(&held, "held", false, "those that do not wait any more, and are kept under legal holds")
	return cmd
}

func showDead(w io.Writer, l *node.DeadLetter) {
	where := l.Where
	if l.Line > 0 {
		where = fmt.Sprintf("%s:%d", where, l.Line)
	}
	kept := fmt.Sprintf("%d bytes kept", l.Size)
	if l.Size == 0 {
		kept = "nothing kept"
	}
	fmt.Fprintf(w, "%s  %s  source %s, %d in %s, %s\n  %s\n  -> %s\n", l.ID, when(&l.At), l.Source, l.Count, printable(where), kept, printable(l.Reason), printable(l.Do))
	if len(l.Held) > 0 {
		fmt.Fprintf(w, "  under a legal hold: %s\n", strings.Join(l.Held, ", "))
	}
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		out = append(out, printable(strings.TrimRight(line, "\r\n")))
	}
	return strings.Join(out, "\n")
}

func (a *app) deadAct(ctx context.Context, act string, q api.DeadPick) error {
	if q.All == (len(q.IDs) > 0) {
		return errors.New("name dead letters, or give --all")
	}
	var r api.DeadResult
	if err := a.ask(ctx, "POST", "deadletters/"+act, nil, q, &r); err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) {
		for i := range r.Reports {
			fmt.Fprintf(w, "source %s: %s\n", r.Reports[i].Source, countsText(&r.Reports[i].Counts))
		}
		for _, why := range r.Failed {
			fmt.Fprintf(w, "not tried again: %s\n", printable(why))
		}
		fmt.Fprintf(w, "%d dead letters wait.\n", r.Waiting)
	}); err != nil {
		return err
	}
	for i := range r.Reports {
		if r.Reports[i].Counts.SetAside > 0 {
			return &partialError{"some were set aside again; 'entente source dead' says why"}
		}
	}
	if len(r.Failed) > 0 {
		return &partialError{fmt.Sprintf("%d dead letters were not tried again", len(r.Failed))}
	}
	return nil
}

func (a *app) sourceRetry() *cobra.Command {
	var q api.DeadPick
	cmd := &cobra.Command{
		Use: "retry DEADLETTER...|--all", Short: "Try dead letters again", Example: "  entente source retry dead:0123456789abcdef\n  entente source retry --all --source blocklist",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.IDs = args
			return a.deadAct(cmd.Context(), "retry", q)
		},
	}
	cmd.Flags().BoolVar(&q.All, "all", false, "all that wait")
	cmd.Flags().StringVar(&q.Source, "source", "", "with --all: of this source only")
	return cmd
}

func (a *app) sourceDrop() *cobra.Command {
	var q api.DeadPick
	cmd := &cobra.Command{
		Use: "drop DEADLETTER...|--all", Short: "Drop dead letters for good", Example: "  entente source drop dead:0123456789abcdef",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.IDs = args
			return a.deadAct(cmd.Context(), "drop", q)
		},
	}
	cmd.Flags().BoolVar(&q.All, "all", false, "all that wait")
	cmd.Flags().StringVar(&q.Source, "source", "", "with --all: of this source only")
	return cmd
}
