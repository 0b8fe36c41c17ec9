package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
)

const (
	mandateArmour = "ENTENTE MANDATE"
	originArmour  = "ENTENTE ORIGIN"
)

func (a *app) mandateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mandate", Short: "Let another organisation publish on your behalf, or publish on another's",
		Long: "An organisation whose node is down, or that runs none from day to day, gives one that has a node a mandate.\n" +
			"What that one publishes with 'publish --on-behalf' is its own, under its own agreements, and says on whose\n" +
			"behalf it is: readers verify the mandate, and never take it for the other's own signature.",
	}
	cmd.AddCommand(a.mandateGive(), a.mandateList(), a.mandateRevoke(), a.mandateExport(), a.mandateImport())
	return cmd
}

func (a *app) mandateGive() *cobra.Command {
	var q api.Mandate
	var until, to, out string
	cmd := &cobra.Command{
		Use: "give --to ORG --until DATE", Short: "Let an organisation publish on your behalf",
		Example: "  entente mandate give --to \"Example Cert\" --topic c2 --tlp amber --until 2026-12-31", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			date, err := time.Parse(time.DateOnly, until)
			if err != nil {
				return fmt.Errorf("%q is no date; --until takes one as 2026-12-31", until)
			}
			q.Agent, q.Until = to, date.AddDate(0, 0, 1) // the whole day
			var r api.MandateID
			if err := a.ask(cmd.Context(), "POST", "mandates", nil, q, &r); err != nil {
				return err
			}
			if out != "" {
				if err := a.writeMandate(cmd, r.Mandate.String(), out); err != nil {
					return err
				}
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s\nIt is on its way to %s, whenever its node is up.\n", r.Mandate, printable(to))
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the organisation that is to publish, by name or id")
	cmd.Flags().StringSliceVar(&q.Topics, "topic", nil, "only in this topic; may be repeated (default: all)")
	cmd.Flags().StringVar(&q.TLP, "tlp", "", "nothing above this TLP (default: no ceiling)")
	cmd.Flags().StringVar(&until, "until", "", "the last day, as 2026-12-31; at most a year from now")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write it to a file, too, to be carried by hand")
	_ = cmd.MarkFlagRequired("to")
	_ = cmd.MarkFlagRequired("until")
	return cmd
}

func (a *app) writeMandate(cmd *cobra.Command, id, out string) error {
	var f api.FileBody
	if err := a.ask(cmd.Context(), "GET", "mandates/"+url.PathEscape(id)+"/file", nil, nil, &f); err != nil {
		return err
	}
	return writeFile(out, []byte(armour(mandateArmour, f.File)))
}

func (a *app) mandateList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the mandates that you gave and have", Example: "  entente mandate list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.MandateInfo
			if err := a.ask(cmd.Context(), "GET", "mandates", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"STATE", "ON BEHALF OF", "BY", "TOPICS", "TLP", "UNTIL", "MANDATE"}}
				for _, m := range list {
					rows = append(rows, []string{m.State, m.Principal.Name, m.Agent.Name, strings.Join(m.Topics, ", "), dash(m.TLP), m.Until.Format("2006-01-02 15:04"), m.ID.String()})
				}
				table(w, rows...)
			})
		},
	}
}

func (a *app) mandateRevoke() *cobra.Command {
	var reason, out string
	cmd := &cobra.Command{
		Use: "revoke MANDATE", Short: "End a mandate that you gave, for what is published from now on", Example: "  entente mandate revoke mdt:abcdefghij --reason \"our node is back\"", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r api.MandateID
			if err := a.ask(cmd.Context(), "POST", "mandates/"+url.PathEscape(args[0])+"/revoke", nil, map[string]string{"reason": reason}, &r); err != nil {
				return err
			}
			if out != "" {
				if err := a.writeMandate(cmd, r.Mandate.String(), out); err != nil {
					return err
				}
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintln(w, "Revoked. The one that had it and your partners are told; what was published under it stays.")
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write it to a file, too, for those whom no agreement reaches")
	return cmd
}

func (a *app) mandateExport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export MANDATE -o FILE", Short: "Write a mandate to a file, with its revocation if there is one", Example: "  entente mandate export mdt:abcdefghij -o mandate.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.writeMandate(cmd, args[0], out) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the file")
	_ = cmd.MarkFlagRequired("output")
	return cmd
}

func (a *app) mandateImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE|-", Short: "Take a mandate, or its revocation, from a file", Example: "  entente mandate import mandate.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.readArmour(args[0], mandateArmour)
			if err != nil {
				return err
			}
			var r api.MandateID
			if err := a.ask(cmd.Context(), "POST", "mandates/import", nil, api.FileBody{File: b}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprintln(w, r.Mandate) })
		},
	}
}

func (a *app) originCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "origin", Short: "Prove where a record came from whose origin was withheld, or check such a proof",
		Long: "What 'release approve --withhold-origin' publishes commits to where it came from. Who published it can prove\n" +
			"that to an authority; the proof holds nothing of what the record says.",
	}
	var out string
	prove := &cobra.Command{
		Use: "prove RECORD -o FILE", Short: "Write the proof of a record's origin to a file", Example: "  entente origin prove rec:abcdefghij -o origin.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var f api.FileBody
			if err := a.ask(cmd.Context(), "POST", "origins/"+url.PathEscape(args[0])+"/prove", nil, map[string]string{}, &f); err != nil {
				return err
			}
			return writeFile(out, []byte(armour(originArmour, f.File)))
		},
	}
	prove.Flags().StringVarP(&out, "output", "o", "", "the file")
	_ = prove.MarkFlagRequired("output")
	verify := &cobra.Command{
		Use: "verify FILE|-", Short: "Check a proof of a record's origin; it needs no node", Example: "  entente origin verify origin.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.readFile(args[0], 2*protocol.MaxOriginProof)
			if err != nil {
				return err
			}
			b, _, err := unarmour(args[0], text, originArmour)
			if err != nil {
				return err
			}
			o, err := node.ReadOriginProof(b)
			if err != nil {
				return fmt.Errorf("%s proves nothing: %w", args[0], err)
			}
			return a.print(o, func(w io.Writer) { showOrigin(w, o) })
		},
	}
	cmd.AddCommand(prove, verify)
	return cmd
}

func showOrigin(w io.Writer, o *node.OriginStatement) {
	party := func(what string, p *node.OriginParty) {
		fmt.Fprintf(w, "%s %s\n  %s\n  words %s\n", what, printable(p.Name), p.ID, p.Words)
	}
	fmt.Fprintf(w, "The proof holds.\n\n")
	party("Published, the origin withheld, by", &o.Publisher)
	fmt.Fprintf(w, "  %s, %s\n", o.Record, o.Published)
	party("Made by", &o.Originator)
	fmt.Fprintf(w, "  %s, %s\n", o.Original, o.Signed)
	for i := range o.PassedOn {
		party("Passed on by", &o.PassedOn[i])
	}
	fmt.Fprintln(w, "\nNames are what the organisations say of themselves: compare the words with them by phone.")
}
