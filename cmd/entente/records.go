package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/client"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func (a *app) searchCommand() *cobra.Command {
	var typ, topic, since string
	var limit int
	var withdrawn, versions bool
	cmd := &cobra.Command{
		Use:   "search [VALUE]",
		Short: "Search what this organisation can read",
		Long: "VALUE is an observable in any notation, defanged ones too, or a STIX id. A host is found in URLs\n" +
			"and with ports, an address also in the networks around it.",
		Example: "  entente search 'hxxp://198[.]51[.]100[.]7/gate'\n  entente search --type indicator --since 7d",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if len(args) == 1 {
				q.Set("value", args[0])
			}
			for k, v := range map[string]string{"type": typ, "topic": topic, "since": since} {
				if v != "" {
					q.Set(k, v)
				}
			}
			if len(args) == 0 && typ == "" && topic == "" && since == "" {
				return errors.New("say what to search for: a value, --type, --topic or --since")
			}
			if withdrawn {
				q.Set("withdrawn", "1")
			}
			if versions {
				q.Set("versions", "1")
			}
			var res api.SearchResult
			if err := a.ask(cmd.Context(), "GET", "records", q, nil, &res); err != nil {
				return err
			}
			return a.print(res, func(w io.Writer) {
				if len(res.Records) == 0 {
					fmt.Fprintln(w, "nothing found")
					return
				}
				rows := [][]string{{"WHAT", "TLP", "COUNTRIES", "FROM", "RECEIVED", "RECORD"}}
				assessed := slices.ContainsFunc(res.Records, func(r node.Record) bool { return r.Assessment != nil })
				if assessed {
					rows[0] = slices.Insert(rows[0], 2, "CODES")
				}
				for i := range res.Records {
					r := &res.Records[i]
					row := []string{title(r), r.Handling.TLP, dash(strings.Join(r.Handling.Countries, " ")), source(r),
						r.Received.Format("2006-01-02 15:04"), r.ID.String()}
					if assessed {
						codes := ""
						if r.Assessment != nil {
							codes = r.Assessment.Codes()
						}
						row = slices.Insert(row, 2, dash(codes))
					}
					rows = append(rows, row)
				}
				table(w, rows...)
				if res.Next > 0 {
					fmt.Fprintf(w, "there is more: raise --limit\n")
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&typ, "type", "", "STIX type, as indicator")
	f.StringVar(&topic, "topic", "", "only of this topic")
	f.StringVar(&since, "since", "", "received since: 2026-01-31, RFC 3339, 36h, 7d")
	f.IntVar(&limit, "limit", node.DefaultLimit, "at most so many")
	f.BoolVar(&withdrawn, "withdrawn", false, "withdrawn records too")
	f.BoolVar(&versions, "versions", false, "all versions of an object, not only the newest")
	return cmd
}

// title says in few words what a record is.
func title(r *node.Record) string {
	var o struct{ Name, Pattern, Value string }
	_ = json.Unmarshal(r.Object, &o)
	text := o.Name
	if text == "" {
		text = o.Pattern
	}
	if text == "" {
		text = o.Value
	}
	if text == "" {
		text = r.StixID
	}
	if cut := []rune(text); len(cut) > 60 {
		text = string(cut[:59]) + "…"
	}
	if r.Withdrawn {
		text = "(withdrawn) " + text
	}
	return r.Type + " " + text
}

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a record: its object, handling, origin", Example: "  entente show rec:abcdefghij\n  entente show indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []node.Record
			if err := a.ask(cmd.Context(), "GET", "records/"+url.PathEscape(args[0]), nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				for i := range list {
					showRecord(w, &list[i])
				}
			})
		},
	}
}

func showRecord(w io.Writer, r *node.Record) {
	fmt.Fprintf(w, "%s\n", r.ID)
	fmt.Fprintf(w, "  originator  %s\n", printable(r.Originator.Name))
	if b := r.OnBehalf; b != nil {
		fmt.Fprintf(w, "  on behalf   of %s, which did not sign it (mandate %s)\n", printable(b.Principal.Name), b.Mandate)
	}
	if r.Withheld {
		fmt.Fprintln(w, "  origin      withheld: its originator had it of another, and answers for it")
	}
	if r.Publisher.ID != r.Originator.ID {
		fmt.Fprintf(w, "  publisher   %s\n", printable(r.Publisher.Name))
	}
	fmt.Fprintf(w, "  topic       %s\n", printable(r.Topic))
	h := &r.Handling
	fmt.Fprintf(w, "  handling    TLP:%s", strings.ToUpper(h.TLP))
	if h.PAP != "" {
		fmt.Fprintf(w, ", PAP:%s", strings.ToUpper(h.PAP))
	}
	if len(h.Countries) > 0 {
		fmt.Fprintf(w, ", countries %s", strings.Join(h.Countries, " "))
	}
	fmt.Fprintf(w, ", personal data %s, onward %s\n", h.PersonalData, h.Onward)
	if r.Assessment != nil {
		fmt.Fprintf(w, "  assessment  %s\n", printable(r.Assessment.String()))
	}
	showGranular(w, r.Object)
	fmt.Fprintf(w, "  received    %s, cursor %d\n", r.Received.Format("2006-01-02 15:04:05 MST"), r.Cursor)
	if r.Withdrawn {
		fmt.Fprintf(w, "  WITHDRAWN   %s\n", printable(r.WithdrawReason))
	}
	fmt.Fprintf(w, "%s\n", printLines(indentJSON(r.Object)))
}

// showGranular says which parts of an object carry which marking. They restrict the whole of it, as its
// handling says.
func showGranular(w io.Writer, object []byte) {
	o, err := stix.Parse(object)
	if err != nil {
		return
	}
	for _, g := range o.Granular() {
		what := g.Marking
		if tlp := stix.MarkingTLP(g.Marking); tlp != protocol.TLPUnset {
			what = "TLP:" + strings.ToUpper(tlp.String())
		}
		if g.Lang != "" {
			what = "language " + g.Lang
		}
		fmt.Fprintf(w, "  marked      %s: %s\n", printable(strings.Join(g.Selectors, ", ")), printable(what))
	}
}

func indentJSON(raw json.RawMessage) string {
	var v any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return string(raw)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if enc.Encode(v) != nil {
		return string(raw)
	}
	return strings.TrimSpace(b.String())
}

func (a *app) explainCommand() *cobra.Command {
	var org, with, at string
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Account for a record: who reads it, by which agreement, who does not and why",
		Long: "Of own records: all readers, by which agreement and term, and who is refused and why.\n" +
			"Of received ones: why we may read it, to whom we may pass it on, and its provenance.\n" +
			"With --with or --at: who might have it if an agreement were signed, or as the agreements stand on a day.",
		Example: "  entente explain rec:abcdefghij --org \"Example Police\"\n  entente explain rec:abcdefghij --with draft.yaml", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if with != "" || at != "" {
				return a.whatIf(cmd.Context(), args[0], org, with, at)
			}
			q := url.Values{}
			if org != "" {
				q.Set("org", org)
			}
			var x node.Explanation
			if err := a.ask(cmd.Context(), "GET", "records/"+url.PathEscape(args[0])+"/explain", q, nil, &x); err != nil {
				return err
			}
			return a.print(x, func(w io.Writer) { showExplanation(w, &x) })
		},
	}
	cmd.Flags().StringVar(&org, "org", "", "only what concerns this organisation")
	cmd.Flags().StringVar(&with, "with", "", "as if this agreement were signed: a draft in a file, or a proposal by its id")
	cmd.Flags().StringVar(&at, "at", "", "as the agreements stand on this day (UTC), of those known now")
	return cmd
}

// source is whose a record is, in a word.
func source(r *node.Record) string {
	switch {
	case r.OnBehalf != nil:
		return r.Originator.Name + ", on behalf of " + r.OnBehalf.Principal.Name
	case r.Withheld:
		return r.Originator.Name + ", origin withheld"
	}
	return r.Originator.Name
}

func showExplanation(w io.Writer, x *node.Explanation) {
	fmt.Fprintf(w, "%s\n%s, TLP:%s\n", x.Record.ID, printable(title(&x.Record)), strings.ToUpper(x.Record.Handling.TLP))
	if b := x.Record.OnBehalf; b != nil {
		fmt.Fprintf(w, "Published by %s on behalf of %s (mandate %s)\n", printable(x.Record.Originator.Name), printable(b.Principal.Name), b.Mandate)
	}
	if x.Record.Withheld {
		fmt.Fprintf(w, "Published by %s, which had it of another and withholds of whom\n", printable(x.Record.Originator.Name))
	}
	if a := x.Record.Assessment; a != nil {
		fmt.Fprintf(w, "It says of itself, kept and shown, not enforced: %s\n", printable(a.String()))
	}
	part := func(head string, list []node.Verdict) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\n", head)
		for _, v := range list {
			fmt.Fprintf(w, "  %s: %s", printable(v.Org.Name), printable(v.Text))
			if v.Agreement != "" {
				fmt.Fprintf(w, " [%s, term %d: %s]", printable(v.Title), v.Term, v.Agreement)
			}
			fmt.Fprintf(w, " (%s)\n", v.Reason)
			if v.Approval != "" {
				fmt.Fprintf(w, "    after approval: %s\n", printable(v.Approval))
			}
		}
	}
	if x.Own {
		part("Readers", x.Readers)
		if len(x.Readers) == 0 {
			fmt.Fprintln(w, "\nNobody else reads it.")
		}
		part("Refused", x.Refused)
	} else {
		if x.Why != nil {
			part("We may read it", []node.Verdict{*x.Why})
		}
		if len(x.PassedTo) > 0 {
			fmt.Fprintf(w, "\nPassed on to %s\n", printable(orgNames(x.PassedTo)))
		}
		part("We may pass it on to", x.PassOn)
		part("We may not pass it on to", x.DoNotPass)
	}
	fmt.Fprintf(w, "\nHolders\n  may store it sealed: %s\n", printable(x.Holders.String()))
	if len(x.Holders.Signed) > 0 {
		fmt.Fprintf(w, "  signed that they do: %s\n", printable(orgNames(x.Holders.Signed)))
	}
	fmt.Fprintln(w, "\nProvenance")
	for _, h := range x.Path {
		fmt.Fprintf(w, "  %s: %s", h.Role, printable(h.Org.Name))
		if h.Feed != "" {
			fmt.Fprintf(w, ", feed %s entry %d", h.Feed, h.Seq)
		}
		fmt.Fprintln(w)
	}
}

func (a *app) watchCommand() *cobra.Command {
	var from uint64
	var once bool
	cmd := &cobra.Command{
		Use:     "watch",
		Short:   "Print records as they arrive, from a cursor on",
		Long:    "Prints one record a line; with --json one JSON object a line, whose cursor is where to go on after a break.",
		Example: "  entente watch --json --from 4711", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"from": {strconv.FormatUint(from, 10)}}
			if once {
				q.Set("follow", "0")
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			if !c.live && !once {
				return errors.Join(errors.New("the node does not run; 'entente up' starts it, and --once prints what is stored"), c.close())
			}
			return errors.Join(a.watch(cmd.Context(), c, q), c.close())
		},
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "go on after this cursor")
	cmd.Flags().BoolVar(&once, "once", false, "stop where there are no more")
	return cmd
}

func (a *app) watch(ctx context.Context, c *nodeClient, q url.Values) error {
	resp, err := c.do(ctx, "GET", "watch", q, nil)
	if err != nil {
		return err
	}
	for raw, err := range client.Lines[json.RawMessage](resp) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if a.json {
			if _, err := fmt.Fprintf(a.out, "%s\n", *raw); err != nil {
				return err
			}
			continue
		}
		var r node.Record
		if err := json.Unmarshal(*raw, &r); err != nil {
			return fmt.Errorf("reading the node's answer: %w", err)
		}
		if _, err := fmt.Fprintf(a.out, "%d  %s  %s  %s  TLP:%s  %s\n", r.Cursor, r.Received.Format("15:04:05"), printable(source(&r)), printable(r.Topic),
			strings.ToUpper(r.Handling.TLP), printable(title(&r))); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) exportCommand() *cobra.Command {
	var format, out, cursorFile string
	var since uint64
	var own bool
	var values outputFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write records in a form that other systems read",
		Long: "Writes everything after a cursor: lines (observables, for blocklists), csv, stix (a bundle) or jsonl.\n" +
			"The cursor to go on from is printed to standard error, or kept in --cursor-file.\n\n" +
			"For machines that block or watch it writes values that are scored, aged and on no warninglist: list, rpz (a\n" +
			"zone of DNS response policies), suricata (rules), nftables (sets), md5, sha1, sha256; csv and jsonl with --scored.",
		Example: "  entente export --format lines --cursor-file /var/lib/siem/entente.cursor >> blocklist.txt\n  entente export --format rpz --view firewall -o rpz.zone\n  entente export --explain evil.example", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ofValues, err := values.wanted(cmd, format); err != nil {
				return err
			} else if ofValues {
				return a.exportValues(cmd.Context(), &values, format, out)
			}
			if cursorFile != "" && !cmd.Flags().Changed("since") {
				b, err := os.ReadFile(cursorFile)
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("reading cursor: %w", err)
				}
				if text := strings.TrimSpace(string(b)); text != "" {
					if since, err = strconv.ParseUint(text, 10, 63); err != nil {
						return fmt.Errorf("%s holds no cursor", cursorFile)
					}
				}
			}
			q := url.Values{"format": {format}, "since": {strconv.FormatUint(since, 10)}}
			if own {
				q.Set("own", "true")
				q.Set("topic", values.topic)
			}
			next, err := a.download(cmd.Context(), "export", q, out, api.CursorTrailer)
			if err != nil {
				return err
			}
			if cursorFile != "" {
				return replaceFile(cursorFile, []byte(next+"\n"))
			}
			fmt.Fprintf(a.err, "cursor %s\n", next)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "lines", strings.Join(exportFormats(), ", "))
	values.add(cmd)
	f.Uint64Var(&since, "since", 0, "only what came after this cursor")
	f.BoolVar(&own, "own", false, "only what this organisation made and published itself; with --topic, of a topic")
	f.StringVarP(&out, "out", "o", "", "write to this file, replacing it when all is there")
	f.StringVar(&cursorFile, "cursor-file", "", "read the cursor from this file, and keep the next one there")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(exportFormats(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// download copies the node's answer and returns what its trailer says.
func (a *app) download(ctx context.Context, path string, q url.Values, out, trailer string) (string, error) {
	c, err := a.client(ctx)
	if err != nil {
		return "", err
	}
	defer c.close()
	resp, err := c.do(ctx, "GET", path, q, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	w := a.out
	var f *os.File
	if out != "" {
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
	next := resp.Trailer.Get(trailer)
	if next == "" {
		return "", errors.New("the export broke off; what was written is not whole")
	}
	if f != nil {
		if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close(), os.Rename(f.Name(), out)); err != nil {
			return "", err
		}
	}
	return next, nil
}

// replaceFile replaces a file so that a crash leaves the old or the new one.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".entente-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close(), os.Rename(f.Name(), path))
}

func (a *app) withdrawCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "withdraw ID...", Short: "Retract own records: every reader is told", Example: "  entente withdraw rec:abcdefghij --reason \"false positive\"", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r struct {
				Withdrawn []string `json:"withdrawn"`
			}
			if err := a.ask(cmd.Context(), "POST", "withdraw", nil, map[string]any{"ids": args, "reason": reason}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "Withdrawn: %d records\n", len(r.Withdrawn)) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the readers")
	return cmd
}

func (a *app) quarantineCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "quarantine", Short: "Look at what arrived and is not used", Long: "Records and entries that no agreement covers, or that are not what they claim, are set aside with the reason."}
	get := func(ctx context.Context, id string) ([]node.Quarantined, error) {
		q := url.Values{}
		if id != "" {
			q.Set("id", id)
		}
		var list []node.Quarantined
		return list, a.ask(ctx, "GET", "quarantine", q, nil, &list)
	}
	list := &cobra.Command{
		Use: "list", Short: "List what is in quarantine", Example: "  entente quarantine list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := get(cmd.Context(), "")
			if err != nil {
				return err
			}
			return a.print(l, func(w io.Writer) {
				rows := [][]string{{"ID", "FROM", "TOPIC", "WHAT", "REASON", "AT"}}
				for _, q := range l {
					rows = append(rows, []string{q.ID, q.Publisher.Name, q.Topic, dash(q.StixID), q.Reason, q.At.Format("2006-01-02 15:04")})
				}
				table(w, rows...)
			})
		},
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Show why something is in quarantine", Example: "  entente quarantine show feed:abc/7/0", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(l, func(w io.Writer) {
				for _, q := range l {
					fmt.Fprintf(w, "%s\n  from    %s\n  topic   %s\n  object  %s %s\n  record  %s\n  reason  %s: %s\n  at      %s\n", q.ID, printable(q.Publisher.Name),
						printable(q.Topic), printable(q.Type), printable(dash(q.StixID)), dash(q.Record), q.Reason, printable(q.Text), q.At.Format("2006-01-02 15:04:05 MST"))
				}
			})
		},
	}
	tell := &cobra.Command{
		Use: "tell ID", Short: "Tell its publisher that something was set aside, and why", Example: "  entente quarantine tell feed:abcdefghij/7/0", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var org node.OrgRef
			if err := a.ask(cmd.Context(), "POST", "quarantine/tell", nil, api.Tell{ID: args[0]}, &org); err != nil {
				return err
			}
			return a.print(org, func(w io.Writer) { fmt.Fprintf(w, "Told %s\n", printable(org.Name)) })
		},
	}
	refused := &cobra.Command{
		Use: "told", Short: "List what partners say that they set aside of what you published", Example: "  entente quarantine told", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.RefusalInfo
			if err := a.ask(cmd.Context(), "GET", "refusals", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"BY", "REASON", "TEXT", "RECORD", "AT"}}
				for _, r := range list {
					rows = append(rows, []string{r.Org.Name, r.Reason, r.Text, dash(r.Record), r.At.Format("2006-01-02 15:04")})
				}
				table(w, rows...)
			})
		},
	}
	cmd.AddCommand(list, show, tell, refused)
	return cmd
}
