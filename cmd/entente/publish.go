package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/entente-mesh/entente/client"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/policy"
)

type publishFlags struct {
	topic, format, tlp, pap, personal string
	countries, to, exclude, purposes  []string
	retention, copies                 int
	received                          []string
	onward                            []string
	onwardTLP                         string
	origin, onBehalf                  string
	reliability, credibility          string
	evaluation, europolText           string
	europolHandling                   []string
	personalChecked                   bool
	wait                              time.Duration
	yes, dryRun, ids                  bool
}

func (a *app) publishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish FILE|-",
		Short: "Publish a file to those whom agreements authorise",
		Long: "Reads a STIX 2.1 bundle, a MISP event, or a list of observables, shows who will receive how much,\n" +
			"and asks. What the file states about handling holds; flags may narrow it, never widen it.\n\n" +
			"What cannot be read is reported with file and line and set aside; the rest is published, all of it\n" +
			"or nothing, and the exit status is then 2.",
		Example: "  entente publish c2.txt --topic c2 --tlp amber --country TH\n" +
			"  entente publish case.json --topic c2 --tlp red --to \"Example Police\" --yes",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.publish(cmd.Context(), args[0], &f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.topic, "topic", "", "topic to publish in")
	fs.StringVar(&f.format, "format", "", "auto, stix, misp or list (default: look at the contents)")
	fs.StringVar(&f.tlp, "tlp", "", "clear, green, amber, amber+strict or red")
	fs.StringVar(&f.pap, "pap", "", "permissible actions: clear, green, amber or red")
	fs.StringSliceVar(&f.countries, "country", nil, "country concerned, as TH; may be repeated")
	fs.StringVar(&f.personal, "personal", "", "personal data: none, network (addresses of victims) or all (default: undetermined, treated as all)")
	fs.BoolVar(&f.personalChecked, "personal-checked", false, "a person looked at records that seem to hold more personal data than is stated")
	fs.StringArrayVar(&f.to, "to", nil, "only to this organisation; may be repeated; needed for red")
	fs.StringArrayVar(&f.exclude, "exclude", nil, "never to this organisation; may be repeated")
	fs.StringSliceVar(&f.purposes, "purpose", nil, "what it may be used for; may be repeated")
	fs.StringArrayVar(&f.onward, "onward", nil, "to whom readers may pass it on: partners, kind:police, or an organisation; may be repeated (default: nobody)")
	fs.StringVar(&f.onwardTLP, "onward-tlp", "", "with --onward: up to this TLP")
	fs.StringVar(&f.origin, "origin", "", "named or withheld: whether who may pass it on may withhold whose it is (default: named)")
	fs.StringVar(&f.onBehalf, "on-behalf", "", "publish on behalf of this organisation, which gave you a mandate")
	fs.IntVar(&f.retention, "retention-days", 0, "how long readers may keep it")
	fs.StringVar(&f.reliability, "reliability", "", "of a list: reliability of its source on the Admiralty scale, A to F")
	fs.StringVar(&f.credibility, "credibility", "", "of a list: credibility of what it says on the Admiralty scale, 1 to 6")
	fs.StringVar(&f.evaluation, "europol-evaluation", "", "of a list: Europol's evaluation, as B2")
	fs.StringSliceVar(&f.europolHandling, "europol-handling", nil, "of a list: Europol's handling codes, H0 to H3; may be repeated")
	fs.StringVar(&f.europolText, "europol-text", "", "of a list: what the handling codes restrict, in words; required with H3")
	fs.IntVar(&f.copies, "copies", 0, "wait until so many other nodes have signed that they hold it")
	fs.StringArrayVar(&f.received, "received", nil, "wait until this organisation has signed that it opened what is for it; may be repeated")
	fs.DurationVar(&f.wait, "wait", time.Minute, "how long to wait for --copies and --received")
	fs.BoolVarP(&f.yes, "yes", "y", false, "publish without asking")
	fs.BoolVar(&f.dryRun, "dry-run", false, "show who would receive how much, and stop")
	fs.BoolVar(&f.ids, "ids", false, "list the ids of all records in the receipt")
	_ = cmd.MarkFlagRequired("topic")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	return cmd
}

func (f *publishFlags) query(file string) url.Values {
	q := url.Values{"topic": {f.topic}, "file": {file}}
	set := func(k, v string) {
		if v != "" {
			q.Set(k, v)
		}
	}
	set("format", f.format)
	set("tlp", f.tlp)
	set("pap", f.pap)
	set("personal", f.personal)
	q["country"], q["to"], q["exclude"], q["purpose"] = f.countries, f.to, f.exclude, f.purposes
	q["onward"] = f.onward
	set("onward_tlp", f.onwardTLP)
	set("origin", f.origin)
	set("on_behalf", f.onBehalf)
	set("reliability", f.reliability)
	set("credibility", f.credibility)
	set("europol_evaluation", f.evaluation)
	set("europol_text", f.europolText)
	q["europol_handling"] = f.europolHandling
	if f.personalChecked {
		q.Set("personal_checked", "1")
	}
	if f.retention > 0 {
		q.Set("retention", strconv.Itoa(f.retention))
	}
	if f.ids {
		q.Set("ids", "1")
	}
	if f.copies > 0 || len(f.received) > 0 {
		q.Set("copies", strconv.Itoa(f.copies))
		q["received"] = f.received
		q.Set("wait", f.wait.String())
	}
	return q
}

func (a *app) publish(ctx context.Context, file string, f *publishFlags) error {
	data, err := a.readFile(file, intake.MaxFile)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	return errors.Join(a.publishWith(ctx, c, file, data, f), c.close())
}

func (a *app) publishWith(ctx context.Context, c *nodeClient, file string, data []byte, f *publishFlags) error {
	q := f.query(filepath.Base(file))
	q.Set("dry_run", "1")
	var out api.PublishEvent
	if err := c.publish(ctx, q, data, func(e *api.PublishEvent) { out.Plan = e.Plan }); err != nil {
		return err
	}
	if out.Plan == nil {
		return errors.New("the node showed no plan")
	}
	part := partly(out.Plan)
	if f.dryRun {
		if err := a.print(out, func(w io.Writer) { showPlan(w, out.Plan) }); err != nil {
			return err
		}
		return part
	}
	if !a.json {
		showPlan(a.out, out.Plan)
	}
	if out.Plan.Records == 0 {
		return errors.New("nothing can be published: no record is left")
	}
	if !f.yes {
		if err := a.confirm(file, fmt.Sprintf("Publish %d records in topic %s?", out.Plan.Records, f.topic)); err != nil {
			return err
		}
		// What somebody agreed to is published, or nothing. Who does not want to be asked wants what
		// is decided at the time.
		q.Set("generation", strconv.FormatUint(out.Plan.Generation, 10))
	}
	q.Del("dry_run")
	bar := a.progress(out.Plan.Records, "sealing")
	err := c.publish(ctx, q, data, func(e *api.PublishEvent) {
		if e.Done > 0 {
			_ = bar.Set(e.Done)
		}
		if e.Receipt != nil {
			out.Receipt = e.Receipt
		}
		if e.Waited != nil {
			out.Waited = e.Waited
		}
	})
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if out.Receipt == nil {
		return errors.New("the node's answer ended without a receipt; 'entente search' shows whether the records are there")
	}
	if err := a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "Published %d records in %d entries; they are durable here and on their way.\n", out.Receipt.Records, out.Receipt.Envelopes)
		if len(out.Receipt.IDs) > 0 && (f.ids || len(out.Receipt.IDs) <= 10) {
			for _, id := range out.Receipt.IDs {
				fmt.Fprintln(w, "  "+id.String())
			}
		}
		switch {
		case out.Waited == nil:
		case out.Waited.Came:
			fmt.Fprintln(w, "The copies and receipts that were asked for are there.")
		default:
			fmt.Fprintf(w, "Not yet: %s\n", printable(out.Waited.Missing))
		}
	}); err != nil {
		return err
	}
	if out.Waited != nil && !out.Waited.Came {
		return errors.Join(part, &partialError{"it is published; 'entente explain' shows where copies are"})
	}
	return part
}

// partly returns an error if some of the file was set aside.
func partly(p *api.Plan) error {
	if n := len(p.Problems) + len(p.Refused); n > 0 {
		return &partialError{fmt.Sprintf("%d entries of the file were set aside; see above", n)}
	}
	return nil
}

// publish sends the file and hands on what the node answers, line by line.
func (c *nodeClient) publish(ctx context.Context, q url.Values, data []byte, fn func(*api.PublishEvent)) error {
	resp, err := c.do(ctx, "POST", "publish", q, bytes.NewReader(data))
	if err != nil {
		return err
	}
	for e, err := range client.Lines[api.PublishEvent](resp) {
		if err != nil {
			return err
		}
		fn(e)
	}
	return nil
}

// confirm asks on the terminal.
func (a *app) confirm(file, question string) error {
	in, ok := a.in.(interface{ Fd() uintptr })
	if file == "-" || !ok || !term.IsTerminal(int(in.Fd())) {
		return errors.New("nobody can be asked here; look at the plan, then give --yes")
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("not published")
	}
	return nil
}

// progress shows a bar where somebody looks.
func (a *app) progress(total int, what string) *progressbar.ProgressBar {
	out, ok := a.err.(interface{ Fd() uintptr })
	if a.json || !ok || !term.IsTerminal(int(out.Fd())) {
		return progressbar.DefaultSilent(int64(total))
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}

// maxShown bounds what is shown of a list of problems on a screen.
const maxShown = 20

func showPlan(w io.Writer, p *api.Plan) {
	fmt.Fprintf(w, "%d records to publish in topic %s (read as %s", p.Records, printable(p.Topic), p.Format)
	if p.Duplicates > 0 {
		fmt.Fprintf(w, ", %d duplicates left out", p.Duplicates)
	}
	fmt.Fprintln(w, ")")
	if b := p.OnBehalf; b != nil {
		fmt.Fprintf(w, "  on behalf of %s (mandate %s)\n", printable(b.Principal), b.Mandate)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "  note: %s\n", printable(n))
	}
	switch {
	case p.Records == 0:
	case len(p.Orgs) == 0:
		fmt.Fprintln(w, "No other organisation will receive anything: no agreement covers this topic.")
	default:
		fmt.Fprintln(w)
		rows := [][]string{{"ORGANISATION", "RECEIVES", "NOT", "WHY NOT"}}
		for _, o := range p.Orgs {
			refused := 0
			for _, n := range o.Refused {
				refused += n
			}
			rows = append(rows, []string{o.Name, strconv.Itoa(o.Records), strconv.Itoa(refused), whyNot(&o)})
		}
		table(w, rows...)
	}
	if len(p.Assessments) > 0 {
		fmt.Fprintln(w, "\nWhat they say of themselves, kept and shown, not enforced:")
	}
	for _, a := range p.Assessments {
		fmt.Fprintf(w, "  %d: %s\n", a.Records, printable(a.Text))
	}
	if len(p.Holders) > 1 || len(p.Holders) == 1 && !p.Holders[0].EveryMember {
		fmt.Fprintln(w)
		rows := [][]string{{"STORED SEALED BY", "RECORDS", "READ BY"}}
		for i := range p.Holders {
			h := &p.Holders[i]
			rows = append(rows, []string{h.String(), strconv.Itoa(h.Records), orgNames(h.Readers)})
		}
		table(w, rows...)
	}
	lines := []string{}
	for _, r := range p.Refused {
		lines = append(lines, fmt.Sprintf("line %d: %s: %s", r.Line, r.StixID, r.Reason))
	}
	lines = append(lines, p.Problems...)
	if len(lines) > 0 {
		fmt.Fprintf(w, "\nSet aside (%d):\n", len(lines))
	}
	for i, l := range lines {
		if i == maxShown {
			fmt.Fprintf(w, "  and %d more; --json lists them all\n", len(lines)-i)
			break
		}
		fmt.Fprintln(w, "  "+printable(l))
	}
}

// whyNot tells the reasons, and the local rules among them by name.
func whyNot(o *node.PlanOrg) string {
	text := reasonCounts(o.Refused)
	if len(o.Rules) > 0 {
		text += " (" + strings.Join(o.Rules, ", ") + ")"
	}
	return text
}

func reasonCounts(m map[policy.Reason]int) string {
	var reasons []policy.Reason
	for r := range m {
		reasons = append(reasons, r)
	}
	slices.SortFunc(reasons, func(a, b policy.Reason) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(string(a), string(b))
	})
	var out []string
	for _, r := range reasons {
		out = append(out, fmt.Sprintf("%d %s", m[r], r))
	}
	return dash(strings.Join(out, ", "))
}
