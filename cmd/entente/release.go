package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

func (a *app) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "release", Short: "Pass on to your partners what others sent you, by rule or one by one",
		Long: "What its originator lets be passed on, under terms that let it be passed on, goes to those of your partners\n" +
			"whose agreement covers it: by itself ('release mode auto'), or after you approve it ('release mode ask').\n" +
			"What a term wants approved waits in either mode, for as many persons as it wants. The default is off.",
	}
	cmd.AddCommand(a.releaseList(), a.releaseShow(), a.releaseVote("approve", "Pass records on, or say that you would"), a.releaseVote("deny", "Keep records here"), a.releaseModeCommand())
	return cmd
}

func (a *app) releaseList() *cobra.Command {
	return listCommand(a, "releases", "List what waits for approval", "entente release list", "also what was decided", func(w io.Writer, list []node.ReleaseItem) {
		rows := [][]string{{"NUMBER", "STATE", "FROM", "RECORDS", "TLP", "TO", "APPROVED", "SINCE", "WHY"}}
		for _, r := range list {
			from := r.Originator.Name
			if r.Publisher.ID != r.Originator.ID {
				from += ", by " + r.Publisher.Name
			}
			rows = append(rows, []string{fmt.Sprint(r.Number), r.State, from, fmt.Sprint(r.Records), r.TLP, orgNames(r.To),
				fmt.Sprintf("%d of %d", len(r.Approved), r.Needs), r.Since.Format("2006-01-02 15:04"), r.Why})
		}
		table(w, rows...)
	})
}

func (a *app) releaseShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NUMBER", Short: "Show what waits for approval, with the ids of its records", Example: "  entente release show 7", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r node.ReleaseItem
			if err := a.ask(cmd.Context(), "GET", "releases/"+url.PathEscape(args[0]), nil, nil, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				printRelease(w, &r)
				for _, id := range r.IDs {
					fmt.Fprintln(w, id)
				}
			})
		},
	}
}

func printRelease(w io.Writer, r *node.ReleaseItem) {
	var kinds []string
	for _, k := range r.Kinds {
		kinds = append(kinds, fmt.Sprintf("%d %s", k.Count, k.Type))
	}
	fmt.Fprintf(w, "Release %d, %s: %s of %s in topic %s, TLP:%s, to %s\n", r.Number, r.State, printable(strings.Join(kinds, ", ")), printable(r.Originator.Name),
		printable(r.Topic), strings.ToUpper(r.TLP), printable(orgNames(r.To)))
	fmt.Fprintf(w, "Approved by %d of %d persons: %s\n", len(r.Approved), r.Needs, printable(r.Why))
	for _, v := range r.Approved {
		fmt.Fprintf(w, "  %s  %s\n", v.At.Format("2006-01-02 15:04:05"), printable(v.Person))
	}
	if r.Denied != nil {
		fmt.Fprintf(w, "Denied by %s at %s: %s\n", printable(r.Denied.Person), r.Denied.At.Format("2006-01-02 15:04:05"), printable(r.Denied.Reason))
	}
}

func (a *app) releaseVote(verb, short string) *cobra.Command {
	var reason string
	var withhold, dryRun bool
	cmd := &cobra.Command{
		Use: verb + " NUMBER", Short: short, Example: "  entente release " + verb + " 7 --as \"A. Officer\"", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "releases/" + url.PathEscape(args[0])
			if withhold {
				var p node.WithheldPlan
				if err := a.ask(cmd.Context(), "GET", path+"/withheld", nil, nil, &p); err != nil {
					return err
				}
				if dryRun {
					return a.print(p, func(w io.Writer) { printWithheld(w, &p) })
				}
				if !a.json {
					printWithheld(a.out, &p)
				}
			} else if dryRun {
				return errors.New("--dry-run shows what --withhold-origin would leave out; give that, too")
			}
			var r node.ReleaseItem
			if err := a.ask(cmd.Context(), "POST", path+"/"+verb, nil, api.ReleaseVote{Person: a.caller().Person, Reason: reason, WithholdOrigin: withhold}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { printRelease(w, &r) })
		},
	}
	if verb == "deny" {
		cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	} else {
		cmd.Flags().BoolVar(&withhold, "withhold-origin", false, "publish it as your own, and do not say whose it is: you answer for it, and can prove it ('entente origin prove')")
		cmd.Flags().BoolVar(&dryRun, "dry-run", false, "with --withhold-origin: show what would be left out, and stop")
	}
	return cmd
}

func printWithheld(w io.Writer, p *node.WithheldPlan) {
	fmt.Fprintf(w, "%d records, their origin withheld, to %s; who reads them may pass them on to nobody\n", p.Records, printable(orgNames(p.To)))
	if len(p.Removed) > 0 {
		fmt.Fprintf(w, "  left out of them: %s\n", printable(strings.Join(p.Removed, ", ")))
	}
	for i, why := range p.Refused {
		if i == maxShown {
			fmt.Fprintf(w, "  and %d more; --json lists them all\n", len(p.Refused)-i)
			break
		}
		fmt.Fprintf(w, "  refused: %s\n", printable(why))
	}
}

func (a *app) excludeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "exclude", Short: "Take own records back from some organisations, wherever they went",
		Long: "Tells everybody who has the records, by every hop, that they are to go to some organisations no more:\n" +
			"whoever has that word seals them for those organisations no more, whatever its agreements say. What\n" +
			"they read before they have.",
	}
	var orgs []string
	add := &cobra.Command{
		Use: "add ID... --org ORG", Short: "Say to whom own records are to go no more", Example: "  entente exclude add rec:abcdefghij --org \"Example Cert\"", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r struct {
				Records int `json:"records"`
			}
			if err := a.ask(cmd.Context(), "POST", "exclusions", nil, api.Exclude{Records: args, Orgs: orgs}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Told: %d records are to go to %s no more\n'entente exclude list' shows who acknowledged it.\n", r.Records, printable(strings.Join(orgs, ", ")))
			})
		},
	}
	add.Flags().StringArrayVar(&orgs, "org", nil, "the organisation, by name or id; may be repeated")
	_ = add.MarkFlagRequired("org")
	list := &cobra.Command{
		Use: "list", Short: "List what originators said, and who acknowledged it", Example: "  entente exclude list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.ExclusionInfo
			if err := a.ask(cmd.Context(), "GET", "exclusions", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				for _, x := range list {
					fmt.Fprintf(w, "%s  %s: %d records, no more to %s\n", x.At.Format("2006-01-02 15:04:05"), printable(x.Originator.Name), len(x.Records), printable(orgNames(x.Excluded)))
					for _, t := range x.Told {
						fmt.Fprintf(w, "  %s: %s\n", printable(t.Org.Name), acknowledged(&t))
					}
					for _, t := range x.Further {
						fmt.Fprintf(w, "  %s, told by %s: %s\n", printable(t.Org.Name), printable(t.By.Name), acknowledged(&t.ExclusionAt))
					}
				}
			})
		},
	}
	cmd.AddCommand(add, list)
	return cmd
}

func acknowledged(t *node.ExclusionAt) string {
	switch {
	case t.Opened != nil:
		return "acknowledged " + t.Opened.Format("2006-01-02 15:04:05")
	case t.Overdue:
		return "OVERDUE"
	}
	return "not acknowledged yet"
}

func (a *app) releaseModeCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "mode [off|ask|auto]", Short: "Show or set what is done with records that may be passed on", Example: "  entente release mode auto",
		Args: cobra.MaximumNArgs(1), ValidArgs: []string{"off", "ask", "auto"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var m api.ReleaseMode
			var err error
			if len(args) == 0 {
				err = a.ask(cmd.Context(), "GET", "release-mode", nil, nil, &m)
			} else {
				err = a.ask(cmd.Context(), "POST", "release-mode", nil, api.ReleaseMode{Mode: args[0], All: all}, &m)
			}
			if err != nil {
				return err
			}
			return a.print(m, func(w io.Writer) { fmt.Fprintln(w, m.Mode) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "look also at what came before")
	return cmd
}
