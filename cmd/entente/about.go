package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

func (a *app) aboutCommand() *cobra.Command {
	var exact, erase, dryRun, ask, onward bool
	var reason, due, text string
	var limit int
	cmd := &cobra.Command{
		Use:   "about VALUE",
		Short: "Show everything that is held about a value, and erase it",
		Long: "VALUE is an observable in any notation, an e-mail address, an account, a name. Observables and STIX ids\n" +
			"are found by the index, all versions and withdrawn ones too. Names and other texts stand in no index: every\n" +
			"readable record is gone through for VALUE as whole words, whatever its case. --exact leaves that out.\n" +
			"For each record it says from whom and by which way it came, by which agreement it is here, until when,\n" +
			"who has it from here, and which legal hold or request to erase it is under. What waits for release, was\n" +
			"set aside, left in exports or stands in the audit log is listed, and what cannot be looked into is counted.\n\n" +
			"--erase erases all of that, as 'entente erase' does; with --dry-run it says what it would do. --ask has the\n" +
			"recipients, originators and publishers asked to erase it, too.",
		Example: "  entente about a.person@example.org\n  entente about 'Example Person' --erase --reason legal --dry-run\n  entente about 198.51.100.7 --exact --erase --reason legal --ask --due 30d",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !erase {
				if dryRun || ask || reason != "" {
					return errors.New("--reason, --dry-run and --ask go with --erase; 'entente erase ask' asks others and keeps the records here")
				}
				q := url.Values{"value": {args[0]}, "limit": {strconv.Itoa(limit)}}
				if exact {
					q.Set("exact", "1")
				}
				var out node.About
				if err := a.ask(cmd.Context(), "GET", "about", q, nil, &out); err != nil {
					return err
				}
				return a.print(out, func(w io.Writer) { showAbout(w, &out) })
			}
			if reason == "" {
				return errors.New("say why with --reason: request, legal or error")
			}
			var out node.ErasedAbout
			q := api.AboutErase{Value: args[0], Exact: exact, Reason: reason, DryRun: dryRun, Ask: ask, Due: due, Onward: onward, Text: text}
			if err := a.ask(cmd.Context(), "POST", "about/erase", nil, q, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) { showErasedAbout(w, &out) })
		},
	}
	f := cmd.Flags()
	f.BoolVar(&exact, "exact", false, "only what the index finds; texts are not gone through")
	f.IntVar(&limit, "limit", node.DefaultAbout, "at most so many records")
	f.BoolVar(&erase, "erase", false, "erase what is found")
	f.BoolVar(&dryRun, "dry-run", false, "with --erase: only say what would be done")
	f.BoolVar(&ask, "ask", false, "with --erase: ask recipients, originators and publishers to erase it, too")
	f.StringVar(&reason, "reason", "", "with --erase: class of the reason, which all nodes see: request, legal, error")
	askFlags(cmd, &due, &text, &onward)
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions([]string{"request", "legal", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func askFlags(cmd *cobra.Command, due, text *string, onward *bool) {
	f := cmd.Flags()
	f.StringVar(due, "due", "30d", "by when those who are asked are to answer: 30d, a date, RFC 3339")
	f.StringVar(text, "text", "", "what those who are asked are told")
	f.BoolVar(onward, "onward", true, "whoever passed it on is to ask in its turn")
}

const minute = "2006-01-02 15:04"

func showAbout(w io.Writer, x *node.About) {
	how := "by the index"
	if x.Scanned > 0 {
		how = fmt.Sprintf("by the index, and in the texts of %d records", x.Scanned)
	}
	fmt.Fprintf(w, "%d records, looked for %s\n", len(x.Records), how)
	if x.More {
		fmt.Fprintln(w, "There are more: raise --limit")
	}
	for i := range x.Records {
		showAboutRecord(w, &x.Records[i])
	}
	for i := range x.Kept {
		showKept(w, &x.Kept[i])
	}
	for _, r := range x.Releases {
		fmt.Fprintf(w, "Waits for release %d: %d records, to %s\n", r.Number, r.Records, printable(orgNames(r.To)))
	}
	for _, q := range x.Quarantine {
		fmt.Fprintf(w, "Set aside %s (%s): of %s, %s\n", q.ID, q.Match, printable(q.Publisher.Name), printable(q.Text))
	}
	for i := range x.Dead {
		l := &x.Dead[i]
		fmt.Fprintf(w, "Dead letter %s (%s): of source %s, from %s\n", l.ID, l.Match, l.Source, printable(l.Where))
	}
	for _, h := range x.Holds {
		fmt.Fprintf(w, "Legal hold %s: %s, on the authority of %s\n", h.ID, printable(h.What()), printable(h.Authority))
	}
	for i := range x.Asks {
		showAsk(w, &x.Asks[i])
	}
	for i := range x.Requests {
		q := &x.Requests[i]
		fmt.Fprintf(w, "Said in request %s of %s to %s, %s\n", q.ID, printable(q.From.Name), printable(q.To.Name), requestState(q))
	}
	for _, b := range x.Handouts {
		fmt.Fprintf(w, "May be in %s\n", printable(b.What))
	}
	if len(x.Audit) > 0 {
		fmt.Fprintf(w, "Audit log, %d entries; 'entente audit erase' destroys their details:\n", len(x.Audit)+x.AuditMore)
		rows := [][]string{}
		for _, e := range x.Audit {
			rows = append(rows, []string{"  " + fmt.Sprint(e.Number), e.At.Format(minute), e.Act, dash(e.Person), "by " + e.Names})
		}
		table(w, rows...)
		if x.AuditMore > 0 {
			fmt.Fprintf(w, "  and %d more\n", x.AuditMore)
		}
	}
	c := &x.Closed
	fmt.Fprintf(w, "Not looked into: %d envelopes sealed for others, %d that await a key, %d without their bodies, %d not gone through yet, %d set aside that do not open; %d audit entries whose details were erased\n",
		c.ForOthers, c.AwaitingKey, c.AwaitingBody, c.Pending, c.Quarantined, c.AuditErased)
}

func showAboutRecord(w io.Writer, r *node.AboutRecord) {
	fmt.Fprintf(w, "%s  %s (%s)\n", r.ID, printable(title(&r.Record)), r.Match)
	var way []string
	for _, h := range r.Path {
		way = append(way, fmt.Sprintf("%s (%s)", printable(h.Org.Name), h.Role))
	}
	fmt.Fprintf(w, "  way        %s\n", strings.Join(way, " -> "))
	switch {
	case r.Why != nil:
		fmt.Fprintf(w, "  here by    %s, term %d: %s\n", printable(r.Why.Title), r.Why.Term, printable(r.Why.Text))
	case r.Own:
		fmt.Fprintln(w, "  here by    this organisation published it")
	}
	if r.Personal != "" {
		fmt.Fprintf(w, "  personal   %s\n", r.Personal)
	}
	until := "no end"
	if r.Ends != nil {
		until = r.Ends.Format(minute)
	}
	fmt.Fprintf(w, "  kept until %s\n", until)
	for _, x := range r.Recipients {
		state := "no receipt"
		switch {
		case x.Opened != nil:
			state = "opened, receipt of " + x.Opened.Format(minute)
		case x.Held != nil:
			state = "held sealed, receipt of " + x.Held.Format(minute)
		}
		fmt.Fprintf(w, "  given to   %s: sealed %s, %s\n", printable(x.Org.Name), x.Sealed.Format(minute), state)
	}
	if len(r.Holds) > 0 {
		fmt.Fprintf(w, "  held by    %s\n", strings.Join(r.Holds, ", "))
	}
	if len(r.Asked) > 0 {
		fmt.Fprintf(w, "  asked      %s\n", strings.Join(r.Asked, ", "))
	}
}

func showErasedAbout(w io.Writer, x *node.ErasedAbout) {
	if x.DryRun {
		fmt.Fprintf(w, "Would erase %d records: %d everywhere, %d of others here only\n", len(x.Records), x.Others, x.Here)
		for i := range x.Records {
			r := &x.Records[i]
			fmt.Fprintf(w, "  %s  %s (%s)\n", r.ID, printable(title(&r.Record)), r.Match)
		}
	}
	if x.More {
		fmt.Fprintln(w, "There are more than are erased at once: do it again afterwards")
	}
	if x.DryRun && x.Held > 0 {
		fmt.Fprintf(w, "Under a legal hold: of %d records a copy would be kept aside, shown by 'entente hold show'\n", x.Held)
	}
	if x.Set > 0 {
		fmt.Fprintf(w, "Set aside: %d records; what holds them is destroyed, too\n", x.Set)
	}
	if x.Dead > 0 {
		fmt.Fprintf(w, "Dead letters of sources: %d; they are destroyed, those under a legal hold kept aside\n", x.Dead)
	}
	if x.Requests > 0 {
		fmt.Fprintf(w, "Requests for information: the words and values of %d go, here and at this organisation's other nodes\n", x.Requests)
	}
	if x.DryRun {
		for _, o := range x.WouldAsk {
			fmt.Fprintf(w, "Would ask %s about %d records\n", printable(o.Org.Name), o.Records)
		}
		return
	}
	for i := range x.Asked {
		fmt.Fprintf(w, "Asked %s about %d records: %s\n", printable(x.Asked[i].To.Name), len(x.Asked[i].Records), x.Asked[i].ID)
	}
	if x.Report == nil {
		if x.Requests+x.Dead == 0 {
			fmt.Fprintln(w, "Nothing found")
		}
		return
	}
	showErasure(w, x.Report)
}

func (a *app) eraseAskCommand() *cobra.Command {
	var reason, due, text string
	var onward bool
	var orgs []string
	cmd := &cobra.Command{
		Use: "ask ID...", Short: "Ask who has records to erase them, and to confirm it",
		Long: "A signed request goes to every organisation for which the records were sealed here, and to their originators\n" +
			"and publishers, or to those that --org names. Their people answer, signed, what they did;\n" +
			"'entente erase asked' shows it. Ask before you erase here: afterwards --org has to say whom.",
		Example: "  entente erase ask rec:abcdefghij --reason legal --due 14d --text 'Request of the person concerned'",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("say why with --reason: request, legal or error")
			}
			var list []node.ErasureAsk
			q := api.ErasureAsk{IDs: args, Orgs: orgs, Reason: reason, Due: due, Onward: onward, Text: text}
			if err := a.ask(cmd.Context(), "POST", "erasures/ask", nil, q, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) { showAsks(w, list) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "class of the reason: request, legal, error")
	cmd.Flags().StringArrayVar(&orgs, "org", nil, "whom to ask, by name or id; may be repeated")
	askFlags(cmd, &due, &text, &onward)
	return cmd
}

func (a *app) eraseListCommand(name, short, path string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Example: "  entente erase " + name, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.ErasureAsk
			if err := a.ask(cmd.Context(), "GET", path, nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) { showAsks(w, list) })
		},
	}
}

func (a *app) eraseAnswerCommand() *cobra.Command {
	var done, keep, notHeld bool
	var except []string
	var exports, text string
	cmd := &cobra.Command{
		Use: "answer REQUEST", Short: "Answer a request to erase, signed",
		Long: "--done erases here what of the request is held, but for the records that --except names, and asks those to\n" +
			"whom they were given from here, if the request wants that; --keep keeps all; --not-held says that there is\n" +
			"nothing. What the answer says of each record is what the node finds: erased, kept aside under a legal hold,\n" +
			"kept on a basis that --text names, or not held. What became of exports only you can say: see\n" +
			"'entente erase requests' and 'entente handouts'. A later answer takes the place of an earlier one.",
		Example: "  entente erase answer ask:abcdefghij --done --exports none\n  entente erase answer ask:abcdefghij --keep --text 'Evidence in case 12/26' --exports remain",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			count := 0
			for _, set := range []bool{done, keep, notHeld} {
				if set {
					count++
				}
			}
			if count != 1 {
				return errors.New("say one of --done, --keep and --not-held")
			}
			if exports == "" {
				return errors.New("say with --exports what became of what was exported: none, erased or remain")
			}
			var out node.ErasureAsk
			q := api.ErasureAnswer{Erase: done, Except: except, NotHeld: notHeld, Exports: exports, Text: text}
			if err := a.ask(cmd.Context(), "POST", "erasures/"+url.PathEscape(args[0])+"/answer", nil, q, &out); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) { showAsk(w, &out) })
		},
	}
	f := cmd.Flags()
	f.BoolVar(&done, "done", false, "erase here what is held of it")
	f.BoolVar(&keep, "keep", false, "keep it, on the basis that --text names")
	f.BoolVar(&notHeld, "not-held", false, "nothing of it is held")
	f.StringArrayVar(&except, "except", nil, "with --done: a record that is kept; may be repeated")
	f.StringVar(&exports, "exports", "", "what became of exports: none (there were none), erased, remain")
	f.StringVar(&text, "text", "", "what the asker is told: the legal basis, what remains")
	return cmd
}

func showAsks(w io.Writer, list []node.ErasureAsk) {
	for i := range list {
		showAsk(w, &list[i])
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "none")
	}
}

func showAsk(w io.Writer, x *node.ErasureAsk) {
	state := x.State
	if x.Overdue {
		state += ", OVERDUE"
	}
	fmt.Fprintf(w, "%s  %s asks %s to erase %d records, reason %s, due %s: %s\n", x.ID, printable(x.From.Name), printable(x.To.Name), len(x.Records), x.Reason, x.Due.Format(minute), state)
	if x.Text != "" {
		fmt.Fprintf(w, "  says     %s\n", printable(x.Text))
	}
	if x.Parent != "" {
		fmt.Fprintf(w, "  passes on %s\n", x.Parent)
	}
	for _, id := range x.Records {
		fmt.Fprintf(w, "  record   %s%s\n", id, outcomeOf(x, id))
	}
	if x.Held > 0 {
		fmt.Fprintf(w, "  held     %d of them are shown here, or were set aside\n", x.Held)
	}
	for _, b := range x.Handouts {
		fmt.Fprintf(w, "  may be in %s\n", printable(b.What))
	}
	if v := x.Answer; v != nil {
		fmt.Fprintf(w, "  answer   %s: %s\n", v.At.Format(minute), printable(v.Summary))
		if len(v.Asked) > 0 {
			fmt.Fprintf(w, "  asked    %s\n", printable(orgNames(v.Asked)))
		}
	}
}

func outcomeOf(x *node.ErasureAsk, id string) string {
	if x.Answer != nil {
		for _, r := range x.Answer.Results {
			if r.Record == id {
				return "  " + r.Outcome
			}
		}
	}
	return ""
}

func (a *app) holdCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hold", Short: "Keep, visibly, what would be erased: legal holds",
		Long: "What is under a legal hold is copied aside before it is erased, whoever erases it: its retention, you, or its\n" +
			"originator. The erasure takes place all the same: nothing finds, exports, serves or passes on the record any\n" +
			"more, and its sealed copies are destroyed. Only 'entente hold show' and 'entente about' show the copy, marked.\n" +
			"When no hold keeps it any more it is destroyed at once.",
	}
	cmd.AddCommand(a.holdAdd(), a.holdList(), a.holdShow(), a.holdRelease())
	return cmd
}

func (a *app) holdAdd() *cobra.Command {
	var q api.HoldAdd
	cmd := &cobra.Command{
		Use: "add", Short: "Set a legal hold on a record, on a value, or on what came from an organisation",
		Example: "  entente hold add --value a.person@example.org --authority 'Example Court, 12/26' --reason 'evidence' --until 2027-12-31",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var h node.HoldInfo
			if err := a.ask(cmd.Context(), "POST", "holds", nil, q, &h); err != nil {
				return err
			}
			return a.print(h, func(w io.Writer) { showHolds(w, []node.HoldInfo{h}) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Record, "record", "", "a record, by its id")
	f.StringVar(&q.Value, "value", "", "all that mentions a value, now and later, as 'entente about' finds it")
	f.StringVar(&q.From, "from", "", "all that an organisation made or sent, now and later")
	f.StringVar(&q.Authority, "authority", "", "on whose word: a court's order, a rule")
	f.StringVar(&q.Reason, "reason", "", "why")
	f.StringVar(&q.Until, "until", "", "when it is over: 90d, a date, RFC 3339; without, when it is released")
	_ = cmd.MarkFlagRequired("authority")
	_ = cmd.MarkFlagRequired("reason")
	cmd.MarkFlagsOneRequired("record", "value", "from")
	cmd.MarkFlagsMutuallyExclusive("record", "value", "from")
	return cmd
}

func (a *app) holdList() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List legal holds", Example: "  entente hold list --all", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if all {
				q.Set("all", "1")
			}
			var list []node.HoldInfo
			if err := a.ask(cmd.Context(), "GET", "holds", q, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) { showHolds(w, list) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that ended")
	return cmd
}

func showHolds(w io.Writer, list []node.HoldInfo) {
	rows := [][]string{{"HOLD", "STATE", "OF", "AUTHORITY", "REASON", "SET", "UNTIL", "KEPT"}}
	for i := range list {
		h := &list[i]
		until := dash("")
		if h.Until != nil {
			until = h.Until.Format(minute)
		}
		set := h.At.Format(minute)
		if h.Person != "" {
			set += " by " + h.Person
		}
		rows = append(rows, []string{h.ID, h.State, h.What(), h.Authority, h.Reason, set, until, fmt.Sprint(h.Kept)})
	}
	table(w, rows...)
}

func (a *app) holdShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [HOLD]", Short: "Show what would have been erased, and is under a legal hold", Example: "  entente hold show hold:0123456789abcdef", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if len(args) == 1 {
				q.Set("hold", args[0])
			}
			var list []node.KeptRecord
			if err := a.ask(cmd.Context(), "GET", "holds/kept", q, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				for i := range list {
					showKept(w, &list[i])
				}
				if len(list) == 0 {
					fmt.Fprintln(w, "nothing")
				}
			})
		},
	}
}

func showKept(w io.Writer, k *node.KeptRecord) {
	fmt.Fprintf(w, "ERASED, %s\n", printable(k.Hold))
	showRecord(w, &k.Record)
	fmt.Fprintf(w, "  held by     %s\n", strings.Join(k.Held, ", "))
}

func (a *app) holdRelease() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "release HOLD", Short: "Release a legal hold: what only it kept is destroyed at once", Example: "  entente hold release hold:0123456789abcdef --reason 'case closed'", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var h node.HoldInfo
			if err := a.ask(cmd.Context(), "POST", "holds/"+url.PathEscape(args[0])+"/release", nil, api.HoldRelease{Reason: reason}, &h); err != nil {
				return err
			}
			return a.print(h, func(w io.Writer) { showHolds(w, []node.HoldInfo{h}) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}
