package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/protocol"
)

//go:embed sample/list.txt
var sampleList string

//go:embed sample/labels.csv
var sampleLabels string

func (a *app) demoCommand() *cobra.Command {
	var data, labels string
	var keep, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run five organisations on this machine and see who can read what",
		Long: "Starts five nodes, each with its own data directory and keys, on real connections over loopback: a vendor,\n" +
			"an international police organisation, police units of TH and VN, and a relay without any agreement.\n" +
			"They sign agreements over the mesh, the vendor publishes, and a table shows what each holds and reads.\n" +
			"What it must be is computed from the file and the agreements by separate code; the exit status is 0\n" +
			"only if the two are equal and every single entry was found where it should be and nowhere else.\n\n" +
			"Where neither the file nor --labels say what an entry concerns, this rule does: of the SHA-256 of its\n" +
			"canonical value (or STIX id), the first byte gives the country (0-99 TH, 100-179 VN, 180-219 DE, else\n" +
			"none), the second the TLP (0-127 GREEN, 128-211 AMBER, else AMBER+STRICT).",
		Example: "  entente demo\n  entente demo --data list.txt --labels labels.csv --keep",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{app: a, keep: keep, verbose: verbose, started: time.Now()}
			return d.run(cmd.Context(), data, labels)
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", "", "STIX bundle, MISP event or list to publish (default: a small sample)")
	f.StringVar(&labels, "labels", "", "CSV that says what entries concern: value, country, tlp")
	f.BoolVar(&keep, "keep", false, "leave the nodes up until interrupted, and print how to talk to each")
	f.BoolVar(&verbose, "verbose", false, "show the nodes' logs")
	return cmd
}

const demoTopic = "c2"

// demo is one run.
type demo struct {
	app     *app
	keep    bool
	verbose bool
	started time.Time
	dir     string
	orgs    []*demoOrg
	stop    context.CancelFunc
}

// say prints a step with the time since the start.
func (d *demo) say(format string, args ...any) {
	if !d.app.json {
		fmt.Fprintf(d.app.out, "%6.1fs  %s\n", time.Since(d.started).Seconds(), printable(fmt.Sprintf(format, args...)))
	}
}

func (d *demo) run(ctx context.Context, data, labels string) (err error) {
	in, err := d.read(data, labels)
	if err != nil {
		return err
	}
	// A short path: that of a Unix socket has at most some hundred bytes.
	if d.dir, err = os.MkdirTemp("", "entente-"); err != nil {
		return fmt.Errorf("making demo directory: %w", err)
	}
	ctx, d.stop = context.WithCancel(ctx)
	defer func() {
		err = errors.Join(err, d.close())
		if rerr := os.RemoveAll(d.dir); rerr != nil {
			err = errors.Join(err, fmt.Errorf("removing demo directory: %w", rerr))
		}
	}()
	for _, step := range []func(context.Context) error{d.found, d.connect, d.agree, d.joinTopic} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	table, err := d.exchange(ctx, in)
	if err != nil {
		return err
	}
	if err := d.app.print(table, func(w io.Writer) { table.show(w) }); err != nil {
		return err
	}
	if d.keep && ctx.Err() == nil {
		d.printKeep()
		<-ctx.Done()
	}
	if !table.Exact {
		return errors.New("the table is not what the file and the agreements say")
	}
	return nil
}

// read reads the input, and gives each entry the handling that the demo decides by.
func (d *demo) read(data, labels string) (*intake.Result, error) {
	name, body, labelName, labelBody := "sample/list.txt", io.Reader(strings.NewReader(sampleList)), "sample/labels.csv", io.Reader(strings.NewReader(sampleLabels))
	if data != "" {
		f, err := os.Open(data)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		name, body, labelBody = filepath.Base(data), f, nil
	}
	if labels != "" {
		f, err := os.Open(labels)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		labelName, labelBody = filepath.Base(labels), f
	}
	opts := intake.Options{}
	if labelBody != nil {
		l, problems, err := intake.ReadLabels(labelName, labelBody)
		if err != nil {
			return nil, err
		}
		d.problems(problems)
		opts.Labels = l
	}
	in, err := intake.Read(name, body, opts)
	if err != nil {
		return nil, err
	}
	if len(in.Items) == 0 {
		d.problems(in.Problems)
		return nil, fmt.Errorf("%s holds nothing that can be published", name)
	}
	d.say("read %s as %s: %d entries, %d distinct, %d set aside", name, in.Format, len(in.Items)+in.Duplicates+len(in.Problems), len(in.Items), len(in.Problems))
	for _, n := range in.Notes {
		d.say("note: %s", n)
	}
	d.problems(in.Problems)
	d.assign(in)
	return in, nil
}

func (d *demo) problems(list []intake.Problem) {
	for i, p := range list {
		if i == maxShown {
			d.say("… and %d more", len(list)-i)
			break
		}
		d.say("set aside: %s", p.String())
	}
}

// assign applies the documented rule where neither file nor labels say anything.
func (d *demo) assign(in *intake.Result) {
	countries, tlps := 0, 0
	for i := range in.Items {
		it := &in.Items[i]
		country, tlp := intake.AssignDemo(*it)
		if it.Handling.TLP == protocol.TLPUnset {
			it.Handling.TLP = tlp
			tlps++
		}
		if len(it.Handling.Countries) == 0 && country != "" {
			it.Handling.Countries = []string{country}
			countries++
		}
		it.Handling.Normalise()
	}
	if countries+tlps > 0 {
		d.say("neither the file nor labels say everything: the rule of 'entente demo --help' assigned %d countries and %d TLPs", countries, tlps)
	}
}

func (d *demo) printKeep() {
	w := d.app.out
	fmt.Fprintln(w, "\nThe nodes stay up until you press Ctrl-C. Talk to them from another terminal:")
	for _, o := range d.orgs {
		fmt.Fprintf(w, "  %-32s entente --dir %s status\n", o.name, o.dir)
	}
	fmt.Fprintf(w, "for example\n  entente --dir %s agreement list\n  entente --dir %s search --type indicator\n", d.orgs[1].dir, d.orgs[2].dir)
}

func (d *demo) close() error {
	d.stop()
	var err error
	for _, o := range d.orgs {
		err = errors.Join(err, o.close())
	}
	return err
}

// wait polls until ok, or until the demo has no more patience.
func (d *demo) wait(ctx context.Context, what string, n *node.Node, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		changed := n.Changed()
		done, err := ok()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-changed:
		case <-time.After(100 * time.Millisecond):
		}
	}
}
