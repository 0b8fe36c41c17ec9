package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

func (a *app) carryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "carry",
		Short: "Carry by hand, as files, what a connection would bring",
		Long: "For networks with no connection. A pack holds cards, roster, agreements and sealed records, as much as\n" +
			"a comparison over the network would bring, sealed to the nodes of one organisation; it is verified and\n" +
			"merged in just the same way. Packs may be applied in any order and any number of times, by a node that\n" +
			"is up or down, and anybody may bring them.",
	}
	cmd.AddCommand(a.carryPackCommand(), a.carryRequestCommand(), a.carryInspectCommand(), a.carryApplyCommand())
	return cmd
}

func (a *app) carryPackCommand() *cobra.Command {
	var to, after, out string
	var topics []string
	cmd := &cobra.Command{
		Use: "pack --to ORG", Short: "Pack what this node holds for another organisation",
		Long: "Without --after everything is packed, of all topics that this node is in. A request, made by the other\n" +
			"side with 'entente carry request', leaves out what is held there already.",
		Example: "  entente carry pack --to \"Example Police\" -o police.carry\n" +
			"  entente carry pack --after police.request -o police.carry",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" && after == "" {
				return errors.New("say for which organisation with --to, or give its request with --after")
			}
			q := url.Values{"topic": topics}
			if to != "" {
				q.Set("to", to)
			}
			var body io.Reader
			if after != "" {
				f, err := a.openFile(after)
				if err != nil {
					return err
				}
				defer f.Close()
				q.Set("after", "1")
				body = f
			}
			return a.carryOut(cmd.Context(), "carry/pack", q, body, out, func(w io.Writer, c *node.Carried) {
				fmt.Fprintf(w, "Packed for %s: %d cards, %d roster statements, %d envelopes, %s\n",
					printable(c.To.Name), c.Cards, c.Statements, c.Envelopes, size(c.Bytes))
				showSiblings(w, c)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "organisation to pack for: only its nodes can open the file")
	f.StringArrayVar(&topics, "topic", nil, "only this topic, and agreements; may be repeated (default: all)")
	f.StringVar(&after, "after", "", "leave out what this request says is held there")
	f.StringVarP(&out, "out", "o", "", "write it to this file (default: standard output)")
	return cmd
}

func (a *app) carryRequestCommand() *cobra.Command {
	var to, out string
	cmd := &cobra.Command{
		Use: "request --to ORG", Short: "Say what this node holds, so that a pack need hold only the rest",
		Example: "  entente carry request --to \"Example Vendor\" -o mine.request", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.carryOut(cmd.Context(), "carry/request", url.Values{"to": {to}}, nil, out, func(w io.Writer, c *node.Carried) {
				fmt.Fprintf(w, "Request to %s, %s; it answers with 'entente carry pack --after FILE'\n", printable(c.To.Name), size(c.Bytes))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "organisation that is to pack: only its nodes can open the request")
	f.StringVarP(&out, "out", "o", "", "write it to this file (default: standard output)")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

// carryOut asks the node for a file and keeps it only if it came whole.
func (a *app) carryOut(ctx context.Context, path string, q url.Values, body io.Reader, out string, text func(io.Writer, *node.Carried)) error {
	var info node.Carried
	// It is sealed, and meant for others; some sticks have no modes.
	f := fetch{path: path, query: q, body: body, out: out, mode: 0o644, trailer: api.CarriedTrailer, doing: "packing", tmp: ".carry-"}
	said, err := a.fetchFile(ctx, f, &info)
	if err != nil {
		return err
	}
	if out != "" && a.json {
		return a.print(&info, nil)
	}
	text(said, &info)
	return nil
}

func (a *app) carryInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE|-", Short: "Show what a carried file holds, and whether it is whole, without changing anything",
		Example: "  entente carry inspect police.carry", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			var info node.Carried
			if err := errors.Join(a.carryIn(cmd.Context(), c, "carry/inspect", args[0], &info), c.close()); err != nil {
				return err
			}
			if err := a.print(&info, func(w io.Writer) { showCarried(w, &info) }); err != nil {
				return err
			}
			if !info.Whole || len(info.Refused) > 0 {
				return &partialError{"the file is not whole, or holds what does not verify; see above"}
			}
			return nil
		},
	}
}

func (a *app) carryApplyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "apply FILE...|-", Short: "Take what a pack brings",
		Long: "Verifies and merges what the packs hold, exactly as if a peer had sent it. Order does not matter: a pack\n" +
			"that had to wait for another is applied again after it. The exit status is 2 if a file was not whole,\n" +
			"something was refused, or something is still missing; everything else was taken.",
		Example: "  entente carry apply vendor.carry\n  entente carry apply /media/stick/*.carry", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.carryApply(cmd.Context(), args) },
	}
}

func (a *app) carryApply(ctx context.Context, files []string) error {
	if len(files) > 1 && slices.Contains(files, "-") {
		return errors.New("give files, or '-' for standard input alone")
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	results, err := a.applyFiles(ctx, c, files)
	if err = errors.Join(err, c.close()); err != nil && len(results) == 0 {
		return err
	}
	if perr := a.print(results, func(w io.Writer) {
		for _, r := range results {
			showApplied(w, r)
		}
	}); perr != nil || err != nil {
		return errors.Join(err, perr)
	}
	for _, r := range results {
		if r.Partial() {
			return &partialError{"not everything could be taken; see above"}
		}
	}
	return nil
}

// applyFiles applies the files in order, and those that wait for others again, as long as
// anything is new. With an error come the results of the files before it.
func (a *app) applyFiles(ctx context.Context, c *nodeClient, files []string) ([]*carryFileResult, error) {
	var results []*carryFileResult
	for again := true; again; {
		again = false
		for i, file := range files {
			first := i >= len(results)
			if !first && !results[i].waits() {
				continue
			}
			var got node.CarryApplied
			if err := a.carryIn(ctx, c, "carry/apply", file, &got); err != nil {
				return results, err
			}
			if first {
				results = append(results, &carryFileResult{File: file, CarryApplied: got})
			} else {
				results[i].merge(&got)
			}
			// What this file brought may be what an earlier one waits for.
			again = again || got.New != (node.CarryCounts{})
		}
		again = again && len(files) > 1
	}
	return results, nil
}

// carryFileResult is what became of one file, in all passes over it.
type carryFileResult struct {
	File string `json:"file"`
	node.CarryApplied
}

// waits reports whether applying the file again may bring more.
func (r *carryFileResult) waits() bool { return len(r.Missing) > 0 || len(r.Refused) > 0 }

// merge takes over a later pass: what was new adds up, and is not what was held already; the
// rest is as it stands now.
func (r *carryFileResult) merge(later *node.CarryApplied) {
	before, records := r.New, r.Records
	r.CarryApplied = *later
	for _, c := range []struct{ added, held, before *int }{
		{&r.New.Cards, &r.Held.Cards, &before.Cards},
		{&r.New.Statements, &r.Held.Statements, &before.Statements},
		{&r.New.Envelopes, &r.Held.Envelopes, &before.Envelopes},
	} {
		*c.added += *c.before
		*c.held = max(*c.held-*c.before, 0)
	}
	r.Records += records
}

// carryIn sends a file to the node and reads its answer.
func (a *app) carryIn(ctx context.Context, c *nodeClient, path, file string, answer any) error {
	f, err := a.openFile(file)
	if err != nil {
		return err
	}
	defer f.Close()
	total := int64(-1)
	if s, ok := f.(interface{ Stat() (os.FileInfo, error) }); ok {
		if fi, err := s.Stat(); err == nil && fi.Mode().IsRegular() {
			total = fi.Size()
		}
	}
	bar := a.bytesBar(total, "reading")
	defer bar.Close()
	resp, err := c.do(ctx, http.MethodPost, path, nil, io.TeeReader(f, bar))
	if err == nil {
		defer resp.Body.Close()
		if err = json.NewDecoder(resp.Body).Decode(answer); err != nil {
			err = fmt.Errorf("reading the node's answer: %w", err)
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return err
}

func (a *app) openFile(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.in), nil
	}
	return os.Open(path)
}

// bytesBar shows how much of a file went through, where somebody looks.
func (a *app) bytesBar(total int64, what string) *progressbar.ProgressBar {
	out, ok := a.err.(interface{ Fd() uintptr })
	if a.json || !ok || !term.IsTerminal(int(out.Fd())) {
		return progressbar.NewOptions64(total, progressbar.OptionSetVisibility(false), progressbar.OptionSetSpinnerChangeInterval(0))
	}
	// Without a total the library turns a spinner in a goroutine that reads what Write writes.
	return progressbar.NewOptions64(total, progressbar.OptionSetSpinnerChangeInterval(0), progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}

func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func showCarriedHead(w io.Writer, c *node.Carried) {
	signed := "signed by one of its nodes"
	if !c.Known {
		signed = "not signed by a node of a member as far as is known here; only what it holds counts"
	}
	fmt.Fprintf(w, "%-13s from %s, %s\n", c.Kind, printable(c.From.Name), signed)
	fmt.Fprintf(w, "              for %s, made %s\n", printable(c.To.Name), c.Made.Format("2006-01-02 15:04 MST"))
	if c.Answers != nil {
		fmt.Fprintf(w, "              holds what was lacking at %s\n", c.Answers.Format("2006-01-02 15:04 MST"))
	}
	if len(c.Topics) > 0 {
		fmt.Fprintf(w, "              of topics %s\n", printable(strings.Join(c.Topics, ", ")))
	}
}

func showCarried(w io.Writer, c *node.Carried) {
	showCarriedHead(w, c)
	fmt.Fprintf(w, "network       %s\n", c.Network)
	if c.Kind == "request" {
		fmt.Fprintf(w, "states        %d cards and roster statements, %d feeds\n", c.Hashes, len(c.Feeds))
	} else {
		fmt.Fprintf(w, "holds         %d cards, %d roster statements, %d envelopes, %s\n", c.Cards, c.Statements, c.Envelopes, size(c.Bytes))
		showSiblings(w, c)
	}
	rows := [][]string{{"TOPIC", "ORGANISATION", "ENVELOPES", "SEQ", "BYTES", "SENDER HAD", "HELD HERE"}}
	for _, f := range c.Feeds {
		seq := "-"
		if f.From > 0 {
			seq = fmt.Sprintf("%d-%d", f.From, f.To)
		}
		rows = append(rows, []string{f.Topic, f.Org.Name, fmt.Sprint(f.Envelopes), seq, size(f.Bytes), upTo(f.Head), upTo(f.Here)})
	}
	if len(rows) > 1 {
		fmt.Fprintln(w)
		table(w, rows...)
		fmt.Fprintln(w)
	}
	showRefusals(w, "does not verify", c)
	showWhole(w, c)
}

func upTo(seq uint64) string {
	if seq == 0 {
		return "-"
	}
	return fmt.Sprintf("to %d", seq)
}

func showWhole(w io.Writer, c *node.Carried) {
	if c.Whole {
		fmt.Fprintln(w, "whole         yes")
		return
	}
	fmt.Fprintf(w, "whole         no: %s\n", printable(c.Problem))
}

func showRefusals(w io.Writer, what string, c *node.Carried) {
	for _, r := range c.Refused {
		fmt.Fprintf(w, "%-13s %d %ss: %s\n", what, r.Count, r.What, printable(r.Reason))
	}
}

// showSiblings tells that a file brings what only nodes of one organisation give each other.
func showSiblings(w io.Writer, c *node.Carried) {
	if c.Siblings > 0 {
		fmt.Fprintf(w, "for own nodes %d keys, agreements, topics and other things that nodes of the organisation hold in common\n", c.Siblings)
	}
}

func showApplied(w io.Writer, r *carryFileResult) {
	fmt.Fprintln(w, printable(r.File))
	showCarriedHead(w, &r.Carried)
	fmt.Fprintf(w, "new           %d cards, %d roster statements, %d envelopes\n", r.New.Cards, r.New.Statements, r.New.Envelopes)
	fmt.Fprintf(w, "held already  %d cards, %d roster statements, %d envelopes\n", r.Held.Cards, r.Held.Statements, r.Held.Envelopes)
	fmt.Fprintf(w, "readable now  %d more records\n", r.Records)
	for _, l := range r.LeftOut {
		fmt.Fprintf(w, "left out      %d envelopes of topic %s, in which this node is not\n", l.Envelopes, printable(l.Topic))
	}
	showRefusals(w, "refused", &r.Carried)
	for _, m := range r.Missing {
		fmt.Fprintf(w, "missing       entries %d to %d of %s in topic %s", m.From, m.To, printable(m.Org.Name), printable(m.Topic))
		if m.Behind > 0 {
			fmt.Fprintf(w, ": %d entries of this file come after them; apply the file that holds them, then this one again", m.Behind)
		} else {
			fmt.Fprint(w, ": its sender had them; ask for them with 'entente carry request'")
		}
		fmt.Fprintln(w)
	}
	showWhole(w, &r.Carried)
}
