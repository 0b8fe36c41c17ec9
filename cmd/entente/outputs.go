package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/node/outputs"
	"github.com/entente-mesh/entente/node/outputs/format"
	"github.com/entente-mesh/entente/node/outputs/score"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
)

// outputFlags are those of an export that is a list of values, scored and aged.
type outputFlags struct {
	view, topic, explain string
	least                int
	scored               bool
}

func (o *outputFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.view, "view", "", "only of this view ('entente view list')")
	f.StringVar(&o.topic, "topic", "", "only of this topic")
	f.IntVar(&o.least, "min-score", score.Default, "put out what has at least this score, 1 to 100")
	f.BoolVar(&o.scored, "scored", false, "csv and jsonl: values with their scores, in place of records")
	f.StringVar(&o.explain, "explain", "", "say why this value is put out, or is not")
}

// exportFormats are those of records and those of values.
func exportFormats() []string {
	list := node.ExportFormats()
	for _, f := range format.Formats() {
		if !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	return list
}

// wanted reports whether a format is of values.
func (o *outputFlags) wanted(cmd *cobra.Command, name string) (bool, error) {
	if o.scored && !format.Format(name).Valid() {
		return false, fmt.Errorf("format %q has no scores; --scored is for csv and jsonl", name)
	}
	values := o.explain != "" || o.scored || format.Format(name).Valid() && !node.ExportFormat(name).Valid()
	for _, flag := range []string{"view", "topic", "min-score"} {
		if !values && cmd.Flags().Changed(flag) && !(flag == "topic" && cmd.Flags().Changed("own")) {
			return false, fmt.Errorf("--%s is for lists of values: %s, or csv and jsonl with --scored", flag, strings.Join(format.Formats(), ", "))
		}
	}
	for _, flag := range []string{"since", "cursor-file", "own"} {
		if values && cmd.Flags().Changed(flag) {
			return false, fmt.Errorf("--%s is for records; a list of values is whole each time", flag)
		}
	}
	return values, nil
}

func (o *outputFlags) query() url.Values {
	q := url.Values{"min_score": {strconv.Itoa(o.least)}}
	for k, v := range map[string]string{"view": o.view, "topic": o.topic} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

func (a *app) exportValues(ctx context.Context, o *outputFlags, name, out string) error {
	if o.explain != "" {
		return a.explainValue(ctx, o)
	}
	count, err := a.download(ctx, "outputs/"+url.PathEscape(name), o.query(), out, api.OutputTrailer)
	if err == nil {
		fmt.Fprintf(a.err, "%s values\n", count)
	}
	return err
}

func (a *app) explainValue(ctx context.Context, o *outputFlags) error {
	q := o.query()
	q.Set("value", o.explain)
	var x outputs.Explanation
	if err := a.ask(ctx, "GET", "outputs/explain", q, nil, &x); err != nil {
		return err
	}
	return a.print(x, func(w io.Writer) { showValue(w, &x) })
}

func showValue(w io.Writer, x *outputs.Explanation) {
	fmt.Fprintf(w, "%s %s: score %d of sources %d, put out from %d on\n", x.Kind, printable(x.Value), x.Score, x.Sources, x.Least)
	if x.Listed != nil {
		fmt.Fprintf(w, "It %s\n", printable(x.Listed.String()))
	}
	for _, d := range x.Disputes {
		fmt.Fprintf(w, "%s says %s\n", d.By.Short(), d.Opinion)
	}
	if len(x.Reports) == 0 {
		fmt.Fprintln(w, "Nothing that you may see reports it so that it may be acted on alone.")
	} else {
		rows := [][]string{{"RECORD", "BY", "BASE", "NOW", "CONFIRMED", "UNTIL", "SEEN"}}
		for i := range x.Reports {
			r := &x.Reports[i]
			until := fmt.Sprintf("%d days", r.Lifetime)
			if !r.Until.IsZero() {
				until = r.Until.Format("2006-01-02 15:04")
			}
			by := r.Originator.Name
			if r.Copy {
				by += ", origin withheld"
			}
			rows = append(rows, []string{r.Record.String(), by, strconv.Itoa(r.Base), strconv.Itoa(r.Score), r.Confirmed.Format("2006-01-02 15:04"), until, strconv.Itoa(r.Seen)})
		}
		table(w, rows...)
	}
	rows := [][]string{{"FORMAT", "", "WHY"}}
	for _, v := range x.Formats {
		in := "out"
		if v.In {
			in = "in"
		}
		rows = append(rows, []string{string(v.Format), in, v.Text})
	}
	table(w, rows...)
}

func (a *app) warninglistCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "warninglist",
		Short: "Keep what is well known and harmless away from machines that block",
		Long: "Warninglists in MISP's format (list.json of MISP/misp-warninglists) say what is never put out to machines\n" +
			"that block, and is marked in csv and jsonl. Special-purpose addresses, public resolvers, root name servers,\n" +
			"public suffixes and networks that are too wide are always held. Each node has lists of its own.",
	}
	cmd.AddCommand(a.warninglistAdd(), a.warninglistProtect(), a.warninglistList(), a.warninglistRemove())
	return cmd
}

func (a *app) warninglistAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add FILE|DIRECTORY...", Short: "Keep warninglists, in the place of those of the same names",
		Long:    "Takes files in MISP's format, and of a directory all files named *.json in it and below it.",
		Example: "  entente warninglist add misp-warninglists/lists/cloudflare/list.json", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var files []string
			for _, arg := range args {
				found, err := listFiles(arg)
				if err != nil {
					return err
				}
				files = append(files, found...)
			}
			if len(files) == 0 {
				return errors.New("there is no file named *.json")
			}
			for _, path := range files {
				if err := a.addWarninglist(cmd.Context(), path); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
			return nil
		},
	}
}

func listFiles(path string) (files []string, err error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(p, ".json") {
			files = append(files, p)
		}
		return err
	})
	return files, err
}

func (a *app) addWarninglist(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, warninglist.MaxFile+1))
	if err != nil {
		return err
	}
	if _, err := warninglist.Parse(raw); err != nil { // the error names the file
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	resp, err := c.do(ctx, "POST", "warninglists", nil, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var l node.Warninglist
	if err := json.NewDecoder(resp.Body).Decode(&l); err != nil {
		return fmt.Errorf("reading the node's answer: %w", err)
	}
	return a.print(l, func(w io.Writer) { fmt.Fprintf(w, "%s: %d entries of type %s\n", printable(l.Name), l.Entries, l.Type) })
}

func (a *app) warninglistProtect() *cobra.Command {
	return &cobra.Command{
		Use: "protect NAME|NETWORK...", Short: "Never put out names, with all that is below them, and addresses: your own",
		Example: "  entente warninglist protect bank.example 203.0.113.0/24", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "POST", "warninglists/protected", nil, api.Protected{Values: args}, nil); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "protected: %s\n", printable(strings.Join(args, " ")))
			return nil
		},
	}
}

func (a *app) warninglistList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the warninglists", Example: "  entente warninglist list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.Warninglist
			if err := a.ask(cmd.Context(), "GET", "warninglists", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"NAME", "TYPE", "ENTRIES", "VERSION", "SET"}}
				for i := range list {
					l := &list[i]
					set := ""
					if !l.Set.IsZero() {
						set = l.Set.Format(time.DateOnly)
					}
					rows = append(rows, []string{l.Name, l.Type, strconv.Itoa(l.Entries), strconv.Itoa(l.Version), dash(set)})
				}
				table(w, rows...)
			})
		},
	}
}

func (a *app) warninglistRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a warninglist", Example: "  entente warninglist remove 'protected names'", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "DELETE", "warninglists/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "removed: %s\n", printable(args[0]))
			return nil
		},
	}
}
