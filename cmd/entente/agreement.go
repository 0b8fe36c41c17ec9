package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

func (a *app) agreementCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agreement",
		Short: "Draft, propose, countersign and end agreements",
		Long: "An agreement says who may send whom what: topics, kinds, TLP ceiling, countries, personal data.\n" +
			"It is in force when every party's operational key has signed it.",
	}
	cmd.AddCommand(a.agreementNew(), a.agreementCheck(), a.agreementPropose(), a.agreementList("list", "List all agreements", ""),
		a.agreementList("inbox", "List the proposals that wait for your answer", "1"), a.agreementShow(),
		a.agreementAct("countersign", "Sign a proposal, after you read it with 'agreement show'", false),
		a.agreementAct("reject", "Answer a proposal with no", true),
		a.agreementAct("terminate", "End an agreement for yourself, by your own word: at once, or with notice on a date", true),
		a.agreementAct("suspend", "Stop an agreement at once, by your own word, until you resume it", true),
		a.agreementAct("resume", "Take your suspension of an agreement back", true),
		a.agreementExport(), a.agreementImport())
	cmd.AddCommand(a.termCommands()...)
	return cmd
}

func (a *app) agreementNew() *cobra.Command {
	var with string
	cmd := &cobra.Command{
		Use: "new --with ORG", Short: "Print a commented draft to edit", Example: "  entente agreement new --with \"Example Police\" > a.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r struct {
				YAML string `json:"yaml"`
			}
			if err := a.ask(cmd.Context(), "GET", "agreements/template", url.Values{"with": {with}}, nil, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprint(w, r.YAML) })
		},
	}
	cmd.Flags().StringVar(&with, "with", "", "the other party, by name or id")
	_ = cmd.MarkFlagRequired("with")
	return cmd
}

func (a *app) agreementCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Show what a draft allows, and what looks wrong", Example: "  entente agreement check a.yaml", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.readFile(args[0], 1<<20)
			if err != nil {
				return err
			}
			var c api.Check
			if err := a.ask(cmd.Context(), "POST", "agreements/check", nil, b, &c); err != nil {
				return err
			}
			if err := a.print(c, func(w io.Writer) {
				fmt.Fprint(w, printLines(c.Text))
				for _, f := range c.Findings {
					where := ""
					if f.Term > 0 {
						where = fmt.Sprintf("term %d: ", f.Term)
					}
					fmt.Fprintf(w, "%s: %s%s\n", f.Severity, where, printable(f.Text))
				}
			}); err != nil {
				return err
			}
			if !c.OK {
				return fmt.Errorf("the draft cannot be proposed as it is")
			}
			return nil
		},
	}
}

func printLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

func (a *app) agreementPropose() *cobra.Command {
	return &cobra.Command{
		Use: "propose FILE", Short: "Sign a draft and send it to the other parties", Example: "  entente agreement propose a.yaml", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.readFile(args[0], 1<<20)
			if err != nil {
				return err
			}
			var r struct {
				Agreement string `json:"agreement"`
			}
			if err := a.ask(cmd.Context(), "POST", "agreements", nil, b, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Proposed %s\nIt is in force when the other parties have countersigned it.\n", r.Agreement)
			})
		},
	}
}

func (a *app) agreementList(use, short, inbox string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: "  entente agreement " + use, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if inbox != "" {
				q.Set("inbox", inbox)
			}
			var list []api.Agreement
			if err := a.ask(cmd.Context(), "GET", "agreements", q, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"STATE", "TITLE", "PARTIES", "UNTIL", "ID"}}
				for _, g := range list {
					rows = append(rows, []string{string(g.State), g.Title, orgNames(g.Parties), g.NotAfter.Format("2006-01-02"), g.ID.String()})
				}
				table(w, rows...)
			})
		},
	}
}

func orgNames(refs []node.OrgRef) string {
	var out []string
	for _, r := range refs {
		out = append(out, r.Name)
	}
	return strings.Join(out, ", ")
}

func (a *app) agreementShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show an agreement in words", Example: "  entente agreement show agr:abcdefghij", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var g api.Agreement
			if err := a.ask(cmd.Context(), "GET", "agreements/"+url.PathEscape(args[0]), nil, nil, &g); err != nil {
				return err
			}
			return a.print(g, func(w io.Writer) {
				fmt.Fprintf(w, "%s\nState: %s\n", g.ID, g.State)
				fmt.Fprintf(w, "Signed by: %s\n", printable(orgNames(g.Signed)))
				if len(g.Missing) > 0 {
					fmt.Fprintf(w, "Not signed by: %s\n", printable(orgNames(g.Missing)))
				}
				if g.Ended != "" {
					fmt.Fprintf(w, "It was %s\n", printable(g.Ended))
				}
				if g.Warning != "" {
					fmt.Fprintf(w, "Note: %s\n", printable(g.Warning))
				}
				fmt.Fprintln(w, "Life:")
				for _, e := range g.Life {
					fmt.Fprintf(w, "  %s  %s", e.At.Format("2006-01-02 15:04:05"), printable(e.What))
					if e.Org != nil {
						fmt.Fprintf(w, ": %s", printable(e.Org.Name))
					}
					if e.Text != "" {
						fmt.Fprintf(w, " (%s)", printable(e.Text))
					}
					fmt.Fprintln(w)
				}
				fmt.Fprintf(w, "\n%s", printLines(g.Text))
			})
		},
	}
}

func (a *app) agreementAct(verb, short string, reasoned bool) *cobra.Command {
	var reason, on string
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Example: "  entente agreement " + verb + " agr:abcdefghij", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"reason": reason}
			if on != "" {
				date, err := time.Parse(time.DateOnly, on)
				if err != nil {
					return fmt.Errorf("--on takes a date such as 2027-01-31: %q", on)
				}
				body["on"] = date
			}
			return a.actOnAgreement(cmd.Context(), verb, args[0], body)
		},
	}
	if reasoned {
		cmd.Flags().StringVar(&reason, "reason", "", "why, for the other parties and for the record")
	}
	if verb == "terminate" {
		cmd.Flags().StringVar(&on, "on", "", "give notice: the agreement goes on until the first moment (UTC) of this day")
	}
	return cmd
}

func (a *app) agreementExport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export ID", Short: "Write an agreement, with its signatures so far, to a file that its parties can import",
		Long: "Writes the signed agreement as text that can be mailed, for a party that no connection reaches, or for the\n" +
			"file. It is as confidential as the agreement: seal it on the way, as you would the paper.",
		Example: "  entente agreement export agr:abcdefghij -o agreement.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var d api.Document
			if err := a.ask(cmd.Context(), "GET", "agreements/"+url.PathEscape(args[0])+"/document", nil, nil, &d); err != nil {
				return err
			}
			text := armour(agreementArmour, d.Document)
			if out == "" {
				return a.print(d, func(w io.Writer) { fmt.Fprint(w, text) })
			}
			if err := writeFileMode(out, []byte(text), 0o600); err != nil {
				return err
			}
			return a.print(map[string]any{"agreement": d.ID, "state": d.State, "file": out}, func(w io.Writer) {
				fmt.Fprintf(w, "Agreement %s, %s: %s\n", d.ID, d.State, printable(out))
				if len(d.Missing) > 0 {
					fmt.Fprintf(w, "Not signed by: %s\n", printable(orgNames(d.Missing)))
				}
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write it to this file (default: standard output)")
	return cmd
}

// maxAgreementFile bounds a file of agreements, in bytes: a node takes about 4 MiB at once, and text
// has a third more.
const maxAgreementFile = 8 << 20

func (a *app) agreementImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE...", Short: "Take agreements from files, as if they had come from their parties",
		Long: "Verifies the agreements that 'agreement export' wrote, exactly as what comes over the network, and joins\n" +
			"their signatures with those that are held: all files, or none. The cards of all parties must be known here\n" +
			"('entente trust'). What you have not signed waits in 'agreement inbox' for your answer. Files may hold several.",
		Example: "  entente agreement import agreement.pem", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var documents [][]byte
			for _, path := range args {
				list, err := a.readArmours(path, agreementArmour, maxAgreementFile)
				if err != nil {
					return err
				}
				documents = append(documents, list...)
			}
			var done []api.Imported
			if err := a.ask(cmd.Context(), "POST", "agreements/import", nil, map[string]any{"documents": documents}, &done); err != nil {
				return err
			}
			return a.print(done, func(w io.Writer) {
				for _, d := range done {
					fmt.Fprintf(w, "%s: %s", d.ID, d.State)
					if d.Added == 0 {
						fmt.Fprint(w, ", nothing new")
					}
					fmt.Fprintln(w)
					if d.State == node.AgreementIncoming {
						fmt.Fprintln(w, "  Read it with 'entente agreement show', then countersign or reject it.")
					}
				}
			})
		},
	}
}

func (a *app) actOnAgreement(ctx context.Context, verb, id string, body map[string]any) error {
	var r struct {
		Agreement string `json:"agreement"`
	}
	if err := a.ask(ctx, "POST", "agreements/"+url.PathEscape(id)+"/"+verb, nil, body, &r); err != nil {
		return err
	}
	done := map[string]string{"countersign": "Countersigned", "reject": "Rejected", "terminate": "Terminated", "suspend": "Suspended", "resume": "Resumed"}[verb]
	if body["on"] != nil {
		done = "Gave notice of the end of"
	}
	return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", done, r.Agreement) })
}
