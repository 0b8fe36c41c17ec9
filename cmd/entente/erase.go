package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
)

func (a *app) eraseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "erase ID...",
		Short: "Destroy records for ever",
		Long: "Of records that this node published every copy in the mesh is destroyed: a signed statement tells\n" +
			"all nodes, and whoever comes with an old copy later. Records of others are destroyed here only.\n" +
			"Records that share an envelope with them are sealed anew first, so nobody loses those.\n\n" +
			"The report lists the copies that this cannot reach. 'entente erase ask' asks other organisations to erase,\n" +
			"'entente about VALUE --erase' erases what mentions a value. To retract a record that may stay in the files,\n" +
			"use 'entente withdraw'.",
		Example: "  entente erase rec:abcdefghij --reason legal",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("say why with --reason: request, legal or error")
			}
			var r node.EraseReport
			if err := a.ask(cmd.Context(), "POST", "erase", nil, map[string]any{"ids": args, "reason": reason}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { showErasure(w, &r) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "class of the reason, which all nodes see: request, legal, error")
	cmd.AddCommand(a.eraseAskCommand(), a.eraseAnswerCommand(),
		a.eraseListCommand("requests", "List what other organisations ask this one to erase", "erasures/requests"),
		a.eraseListCommand("asked", "List what this organisation asked others to erase, with their answers, and what is overdue", "erasures/asked"))
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions([]string{"request", "legal", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) handoutsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "handouts", Short: "List what left this node: exports, lists, streams, carried files, backups",
		Long: "Every export, stream, carried file and backup is noted when it is made, so that the report of an\n" +
			"erasure can name the copies that it does not reach. What they hold is not noted. What a consumer\n" +
			"reads again and again (lists, streams, TAXII, MISP) is one line, with when it read last.",
		Example: "  entente handouts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.Handout
			if err := a.ask(cmd.Context(), "GET", "handouts", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"AT", "LAST", "WHAT", "DETAIL", "RECORDS"}}
				for _, h := range list {
					records := dash("")
					if h.Records > 0 {
						records = fmt.Sprint(h.Records)
					}
					what, last := h.Kind, dash("")
					if !h.Last.IsZero() {
						last = h.Last.Format("2006-01-02 15:04 MST")
					}
					if h.Open {
						what += " (going on)"
					}
					rows = append(rows, []string{h.At.Format("2006-01-02 15:04 MST"), last, what, dash(h.Detail), records})
				}
				table(w, rows...)
			})
		},
	}
}

func showErasure(w io.Writer, r *node.EraseReport) {
	fmt.Fprintf(w, "Erased: %d records, the bodies of %d envelopes\n", r.Erased, r.Entries)
	if r.Resealed > 0 {
		fmt.Fprintf(w, "Sealed anew: %d records that shared an envelope with them\n", r.Resealed)
	}
	if r.Siblings > 0 {
		fmt.Fprintf(w, "Published by another node of this organisation, which erases them for everybody: %d records\n", r.Siblings)
	}
	if r.Local > 0 {
		fmt.Fprintf(w, "Of others, erased here only: %d records\n", r.Local)
	}
	if r.Held > 0 {
		fmt.Fprintf(w, "Kept aside under a legal hold, and shown by 'entente hold show' only: %d records\n", r.Held)
	}
	if r.Signed > 0 {
		names := make([]string, len(r.Told))
		for i, o := range r.Told {
			names[i] = printable(o.Name)
		}
		fmt.Fprintf(w, "Every node is told; they were sealed for: %s\n", dash(strings.Join(names, ", ")))
	}
	fmt.Fprintln(w, "Not reached:")
	for _, b := range r.Beyond {
		fmt.Fprintf(w, "  %s\n    -> %s\n", printable(b.What), printable(b.Do))
	}
}

func (a *app) feedsCommand() *cobra.Command {
	var missing bool
	cmd := &cobra.Command{
		Use:   "feeds",
		Short: "Show per feed what is held, what is missing, and of whom",
		Long: "Two nodes that show the same digest for a feed hold the same entries. What exists is known from the\n" +
			"signed heads of the authors; a feed of which none was seen is never shown as complete.",
		Example: "  entente feeds\n  entente feeds --missing --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.FeedStatus
			if err := a.ask(cmd.Context(), "GET", "feeds", nil, nil, &list); err != nil {
				return err
			}
			if missing {
				rest := []node.FeedStatus{}
				for i := range list {
					if !list[i].Complete || list[i].Forked != 0 || list[i].Silent || list[i].Awaiting > 0 {
						rest = append(rest, list[i])
					}
				}
				list = rest
			}
			return a.print(list, func(w io.Writer) { showFeeds(w, list) })
		},
	}
	cmd.Flags().BoolVar(&missing, "missing", false, "only feeds that are not complete, forked, or silent")
	return cmd
}

func showFeeds(w io.Writer, list []node.FeedStatus) {
	rows := [][]string{{"ORGANISATION", "TOPIC", "FEED", "HELD", "DIGEST", "STATE"}}
	for i := range list {
		f := &list[i]
		topic := f.Topic
		if strings.HasPrefix(topic, "!") {
			topic = "(letters)"
		}
		rows = append(rows, []string{f.Org.Name, topic, f.Feed.Short(), fmt.Sprint(f.Held), f.Digest.Short(), feedState(f)})
	}
	table(w, rows...)
}

// feedState says in words how a feed stands.
func feedState(f *node.FeedStatus) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if f.Forked != 0 {
		add("forked by its author at entry %d", f.Forked)
	}
	if f.Missing > 0 {
		held := "no connected peer says that it has them"
		if len(f.HeldBy) > 0 {
			names := make([]string, len(f.HeldBy))
			for i, o := range f.HeldBy {
				names[i] = o.Name
			}
			held = "held by " + strings.Join(names, ", ")
		}
		add("missing %d of %d since %s, %s", f.Missing, f.Head, f.Since.Format("2006-01-02 15:04"), held)
	}
	if f.Awaiting > 0 {
		if f.Withheld != "" {
			add("%d envelopes await a key from %s (withheld: %s)", f.Awaiting, f.Org.Name, f.Withheld)
		} else {
			add("%d envelopes await a key from %s", f.Awaiting, f.Org.Name)
		}
	}
	if f.Silent {
		add("silent since %s", f.Stated.Format("2006-01-02 15:04"))
	}
	if f.Unknown {
		add("no head seen: whether there is more is not known")
	}
	if f.Closed {
		add("closed")
	}
	if f.Removed {
		add("its node was removed; ended")
	}
	if len(parts) == 0 {
		return "complete"
	}
	return strings.Join(parts, "; ")
}
