package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// maxDraft bounds a draft in a file, in bytes.
const maxDraft = 1 << 20

// termCommands are what is done with an agreement before it is signed.
func (a *app) termCommands() []*cobra.Command {
	return []*cobra.Command{a.agreementDiff(), a.agreementSimulate(), a.agreementAmend(), a.agreementAnew(), a.agreementRenew(), a.agreementSchema(), a.agreementIEP(), a.agreementFromIEP()}
}

// agreementRef is an agreement by its id, or the draft in a file.
func (a *app) agreementRef(arg string) (api.AgreementRef, error) {
	if strings.HasPrefix(arg, "agr:") {
		return api.AgreementRef{ID: arg}, nil
	}
	b, err := a.readFile(arg, maxDraft)
	if err == nil && len(b) == 0 {
		err = fmt.Errorf("%s is empty", arg)
	}
	return api.AgreementRef{YAML: string(b)}, err
}

func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func (a *app) agreementDiff() *cobra.Command {
	return &cobra.Command{
		Use: "diff [BEFORE] AFTER", Short: "Say in words what an agreement changes of another, and whether that widens or narrows",
		Long: "Compares two agreements, each a draft in a file or one that is known here, by its id. Of one alone it says what\n" +
			"it changes of the agreement that it amends. Terms are compared with those that are most like them, wherever\n" +
			"they stand. If nothing widens, nothing may be shared that might not before.",
		Example: "  entente agreement diff amended.yaml\n  entente agreement diff agr:abcdefghij draft.yaml", Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: files,
		RunE: func(cmd *cobra.Command, args []string) error {
			after, err := a.agreementRef(args[len(args)-1])
			if err != nil {
				return err
			}
			q := api.DiffRequest{After: after}
			if len(args) == 2 {
				before, err := a.agreementRef(args[0])
				if err != nil {
					return err
				}
				q.Before = &before
			}
			var d api.Diff
			if err := a.ask(cmd.Context(), "POST", "agreements/diff", nil, q, &d); err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) { fmt.Fprint(w, printLines(d.Text)) })
		},
	}
}

func (a *app) agreementSimulate() *cobra.Command {
	since := "90d"
	cmd := &cobra.Command{
		Use: "simulate FILE|ID", Short: "Say what would have been shared, had an agreement been signed",
		Long: "Goes through the records that were published and received since a time, and decides about each class of them\n" +
			"twice, as is done when they are sealed: under the agreements of now, and with this one signed (in the place of\n" +
			"the one that it amends). Takes a draft in a file, or a proposal by its id. Limits of records a day are not\n" +
			"counted. Nothing is written or sent.",
		Example: "  entente agreement simulate draft.yaml --since 90d\n  entente agreement simulate agr:abcdefghij --since 2027-01-31", Args: cobra.ExactArgs(1),
		ValidArgsFunction: files,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := a.agreementRef(args[0])
			if err != nil {
				return err
			}
			var m node.Simulation
			if err := a.ask(cmd.Context(), "POST", "agreements/simulate", nil, api.SimulateRequest{Agreement: ref, Since: since}, &m); err != nil {
				return err
			}
			return a.print(m, func(w io.Writer) { printSimulation(w, &m) })
		},
	}
	cmd.Flags().StringVar(&since, "since", since, "published or received since: 2026-01-31, RFC 3339, 36h, 90d")
	return cmd
}

func printSimulation(w io.Writer, m *node.Simulation) {
	fmt.Fprintf(w, "%q, as if it were signed", printable(m.Title))
	if m.Amends != nil {
		fmt.Fprintf(w, ", in the place of %s", m.Amends)
	}
	fmt.Fprintf(w, ": %d records published and %d received since %s\n", m.Own, m.Received, m.Since.Format("2006-01-02 15:04"))
	for _, part := range []struct {
		head string
		orgs []node.SimulatedOrg
	}{{"Published, would go to:", m.Sends}, {"Received, would come from:", m.Comes}, {"Received, could be passed on to:", m.PassOn}} {
		if len(part.orgs) == 0 {
			continue
		}
		fmt.Fprintln(w, part.head)
		for i := range part.orgs {
			printSimulated(w, &part.orgs[i])
		}
	}
}

func printSimulated(w io.Writer, o *node.SimulatedOrg) {
	fmt.Fprintf(w, "  %s: %d, now %d (+%d -%d)\n", printable(o.Org.Name), o.Planned, o.Now, o.Gained, o.Lost)
	if o.Quarantined > 0 {
		fmt.Fprintf(w, "    %d more lie in quarantine, and are judged once it is signed\n", o.Quarantined)
	}
	for _, part := range []struct {
		sign    string
		by      map[policy.Reason]int
		example []node.SimulatedRecord
	}{{"+", o.GainedBy, o.Gains}, {"-", o.LostBy, o.Losses}} {
		for _, reason := range slices.Sorted(maps.Keys(part.by)) {
			fmt.Fprintf(w, "    %s%d refused %s: %s\n", part.sign, part.by[reason], map[string]string{"+": "now", "-": "then"}[part.sign], reason)
		}
		for _, e := range part.example {
			fmt.Fprintf(w, "      %s TLP:%s %s (%s)\n", printable(e.StixID), strings.ToUpper(printable(e.TLP)), printable(strings.Join(e.Countries, ",")), printable(e.Text))
		}
	}
}

func (a *app) agreementAmend() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "amend ID", Short: "Print an agreement as a draft that amends it, to edit",
		Long: "Prints the agreement with its id in 'amends'. Edit it, look at it with 'agreement diff' and 'agreement simulate',\n" +
			"and propose it. It takes the place of the other once all parties have signed it.",
		Example: "  entente agreement amend agr:abcdefghij -o amended.yaml", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var d api.Draft
			if err := a.ask(cmd.Context(), "GET", "agreements/"+url.PathEscape(args[0])+"/amendment", nil, nil, &d); err != nil {
				return err
			}
			return a.printOrWrite(out, d, []byte(d.YAML))
		},
	}
	outFlag(cmd, &out)
	return cmd
}

func (a *app) agreementAnew() *cobra.Command {
	var of, dir string
	cmd := &cobra.Command{
		Use: "anew CARD", Short: "Draft what an organisation that was founded anew has to sign again",
		Long: "Takes the card of the organisation that was founded in the place of this one, whose root is lost, and lists the\n" +
			"agreements that count; with -o it writes a draft of each, in which the new organisation stands wherever the one\n" +
			"before stood. Read each, then propose it from the new organisation's node. A partner does the same with --of.",
		Example: "  entente agreement anew new.pem -o drafts\n  entente agreement anew new.pem --of 'Example Vendor' -o drafts", Args: cobra.ExactArgs(1),
		ValidArgsFunction: files,
		RunE: func(cmd *cobra.Command, args []string) error {
			card, err := a.readArmour(args[0], cardArmour)
			if err != nil {
				return err
			}
			var list []api.Anew
			if err := a.ask(cmd.Context(), "POST", "agreements/anew", nil, api.AnewRequest{Card: card, Of: of}, &list); err != nil {
				return err
			}
			rows := [][]string{{"TITLE", "PARTIES", "SIGNED AS", "DRAFT"}}
			if dir != "" {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return err
				}
			}
			for i := range list {
				file := ""
				if dir != "" {
					file = filepath.Join(dir, fmt.Sprintf("%d.yaml", i+1))
					if err := createFile(file, []byte(list[i].YAML), 0o600); err != nil {
						return err
					}
				}
				rows = append(rows, []string{list[i].Title, orgNames(list[i].Parties), list[i].ID.String(), dash(file)})
			}
			return a.print(list, func(w io.Writer) {
				if len(list) == 0 {
					fmt.Fprintln(w, "no agreement counts: nothing is to be signed anew")
					return
				}
				table(w, rows...)
			})
		},
	}
	cmd.Flags().StringVar(&of, "of", "", "in whose place it was founded, by name or id (default: this organisation)")
	cmd.Flags().StringVarP(&dir, "out", "o", "", "directory for the drafts, 1.yaml and on; none is overwritten (default: list them only)")
	return cmd
}

func outFlag(cmd *cobra.Command, out *string) {
	cmd.Flags().StringVarP(out, "out", "o", "", "write it to this file (default: standard output)")
}

// printOrWrite prints a text, or writes it to a file if one is named.
func (a *app) printOrWrite(path string, v any, text []byte) error {
	if path == "" {
		return a.print(v, func(w io.Writer) { _, _ = w.Write(text) })
	}
	if err := writeFileMode(path, text, 0o600); err != nil {
		return err
	}
	return a.print(map[string]any{"file": path}, func(w io.Writer) { fmt.Fprintln(w, printable(path)) })
}

func (a *app) agreementRenew() *cobra.Command {
	var until string
	cmd := &cobra.Command{
		Use: "renew ID --until DATE", Short: "Propose an agreement once more, with a later end",
		Long: "Proposes the same agreement until a later date. It begins when the one that it renews ends, and is in force when\n" +
			"the other parties have countersigned it.",
		Example: "  entente agreement renew agr:abcdefghij --until 2028-01-31", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := time.Parse(time.DateOnly, until)
			if err != nil {
				return fmt.Errorf("--until takes a date such as 2028-01-31, its first moment (UTC): %q", until)
			}
			var r struct {
				Agreement protocol.AgreementID `json:"agreement"`
				Renews    protocol.AgreementID `json:"renews"`
			}
			if err := a.ask(cmd.Context(), "POST", "agreements/"+url.PathEscape(args[0])+"/renew", nil, api.RenewRequest{Until: date}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Proposed %s\nIt renews %s when the other parties have countersigned it.\n", r.Agreement, r.Renews)
			})
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "when it ends: the first moment (UTC) of this day")
	_ = cmd.MarkFlagRequired("until")
	return cmd
}

func (a *app) agreementSchema() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "schema", Short: "Write the JSON Schema of drafts, for editors",
		Long: "Editors that know YAML schemas complete and check drafts by it: 'agreement new' names it in its first line, as\n" +
			policy.SchemaFile + " beside the draft.",
		Example: "  entente agreement schema -o " + policy.SchemaFile, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.printOrWrite(out, json.RawMessage(policy.Schema()), policy.Schema())
		},
	}
	outFlag(cmd, &out)
	return cmd
}

func (a *app) agreementIEP() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "iep ID", Short: "Export the terms of an agreement as FIRST IEP 2.0 policies",
		Long: "Writes one policy of FIRST's Information Exchange Policy 2.0 for each term, as a JSON list. What IEP has no word\n" +
			"for stands in the description of the policy.",
		Example: "  entente agreement iep agr:abcdefghij -o policies.json", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []policy.IEPPolicy
			if err := a.ask(cmd.Context(), "GET", "agreements/"+url.PathEscape(args[0])+"/iep", nil, nil, &list); err != nil {
				return err
			}
			b, err := json.MarshalIndent(list, "", "  ")
			if err != nil {
				return err
			}
			return a.printOrWrite(out, list, append(b, '\n'))
		},
	}
	outFlag(cmd, &out)
	return cmd
}

func (a *app) agreementFromIEP() *cobra.Command {
	var out, from, to string
	cmd := &cobra.Command{
		Use: "from-iep FILE --from ORG --to ORG", Short: "Make a draft of FIRST IEP 2.0 policies, to edit",
		Long: "Makes of each policy in the file, one or a list, a term by which one organisation may send to the other. What does\n" +
			"not map stands in comments at the head of the draft.",
		Example: "  entente agreement from-iep policies.json --from 'Example Vendor' --to 'Example Police' -o draft.yaml", Args: cobra.ExactArgs(1),
		ValidArgsFunction: files,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.readFile(args[0], maxDraft)
			if err != nil {
				return err
			}
			var d api.Draft
			if err := a.ask(cmd.Context(), "POST", "agreements/iep", url.Values{"from": {from}, "to": {to}}, b, &d); err != nil {
				return err
			}
			return a.printOrWrite(out, d, []byte(d.YAML))
		},
	}
	outFlag(cmd, &out)
	cmd.Flags().StringVar(&from, "from", "", "the party that sends, by name or id")
	cmd.Flags().StringVar(&to, "to", "", "the party that receives, by name or id")
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

// whatIf answers 'explain' for another day, or for an agreement that is not signed.
func (a *app) whatIf(ctx context.Context, id, org, with, at string) error {
	q := api.WhatIfRequest{Org: org}
	if with != "" {
		ref, err := a.agreementRef(with)
		if err != nil {
			return err
		}
		q.With = &ref
	}
	if at != "" {
		date, err := time.Parse(time.DateOnly, at)
		if err != nil {
			return fmt.Errorf("--at takes a date such as 2027-01-31: %q", at)
		}
		q.At = &date
	}
	var x node.WhatIf
	if err := a.ask(ctx, "POST", "records/"+url.PathEscape(id)+"/what-if", nil, q, &x); err != nil {
		return err
	}
	return a.print(x, func(w io.Writer) { showWhatIf(w, &x) })
}

func showWhatIf(w io.Writer, x *node.WhatIf) {
	fmt.Fprintf(w, "%s\n%s, TLP:%s, on %s\n\n", x.Record.ID, printable(title(&x.Record)), strings.ToUpper(x.Record.Handling.TLP), x.At.Format("2006-01-02 15:04"))
	answer := func(v *node.Verdict) string {
		if v.Allowed {
			return "yes: " + v.Text
		}
		return "no: " + v.Text
	}
	if len(x.Orgs) == 0 {
		fmt.Fprintln(w, "No agreement lets it go to anybody.")
	}
	for i := range x.Orgs {
		o := &x.Orgs[i]
		fmt.Fprintf(w, "%s\n  by the agreements signed  %s\n", printable(o.Held.Org.Name), printable(answer(&o.Held)))
		if o.Planned != nil {
			fmt.Fprintf(w, "  with the planned one      %s\n", printable(answer(o.Planned)))
		}
	}
}
