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
)

func (a *app) consumerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consumer",
		Short: "Say which systems and people of this organisation may come over the network, and what they may do",
		Long: "A consumer is a SIEM, a firewall, a MISP instance, a script: something that reads from, or hands in to,\n" +
			"a node that runs with 'entente up --serve'. It comes with a token, by HTTP Basic (its name and the token),\n" +
			"as a bearer token, or as MISP sends it. Local rules see it as somebody of the people file.",
	}
	cmd.AddCommand(a.consumerAddCommand(), a.consumerListCommand(), a.ownCommand("consumer", "siem"), a.consumerConfirmCommand(), a.consumerRemoveCommand())
	return cmd
}

func (a *app) consumerAddCommand() *cobra.Command {
	var q api.ConsumerRequest
	var may []string
	var days int
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Give a consumer a token, which is shown once", Args: cobra.ExactArgs(1),
		Example: "  entente consumer add siem\n  entente consumer add misp-prod --as misp --may read --may publish --topic malware --days 90",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name, q.Expires = args[0], time.Now().AddDate(0, 0, days)
			for _, s := range may {
				q.Scopes = append(q.Scopes, node.Scope(s))
			}
			var got api.ConsumerToken
			if err := a.ask(cmd.Context(), "POST", "consumers", nil, &q, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) {
				fmt.Fprintf(w, "%s may %s until %s. Its token, which is not shown again:\n%s\n", printable(got.Name), strings.Join(may, ", "), got.Expires.Format(time.DateOnly), got.Token)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.As, "as-person", "", "as whom local rules see it: a person or a machine of the people file (default: of the same name)")
	f.StringVar(&q.Owner, "owner", "", "who of the node's people answers for it: it may do no more than they, and ends when they leave (default: you)")
	f.StringArrayVar(&may, "may", []string{string(node.ScopeRead)}, "read, publish or withdraw; may be repeated")
	f.StringArrayVar(&q.Topics, "topic", nil, "where it may publish; the first is where it does if nothing else is said; may be repeated (default: anywhere)")
	f.IntVar(&days, "days", 365, "how many days the token lasts")
	return cmd
}

func (a *app) consumerListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the consumers", Example: "  entente consumer list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.Consumer
			if err := a.ask(cmd.Context(), "GET", "consumers", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"NAME", "AS", "MAY", "TOPICS", "UNTIL", "OWNER"}}
				for _, c := range list {
					var may []string
					for _, s := range c.Scopes {
						may = append(may, string(s))
					}
					until := c.Expires.Format(time.DateOnly)
					if time.Now().After(c.Expires) {
						until += " (over)"
					}
					if c.Unconfirmed {
						until += " (refused: from a backup, not confirmed)"
					}
					rows = append(rows, []string{c.Name, c.As, strings.Join(may, ", "), dash(strings.Join(c.Topics, ", ")), until, dash(c.Owner)})
				}
				table(w, rows...)
			})
		},
	}
}

// ownCommand is of consumers, sinks and sources alike.
func (a *app) ownCommand(kind, example string) *cobra.Command {
	return &cobra.Command{
		Use: "own NAME PERSON", Short: "Have one of the node's people answer for a " + kind, Example: "  entente " + kind + " own " + example + " alice", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "POST", kind+"s/"+url.PathEscape(args[0])+"/own", nil, &api.ConsumerOwn{Owner: args[1]}, nil); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s answers for %s\n", printable(args[1]), printable(args[0]))
			return nil
		},
	}
}

func (a *app) consumerConfirmCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "confirm NAME|--all", Short: "After a restore, let a consumer come again by the token that it had",
		Long: "A backup may hold consumers that were removed after it was made. After a restore all are refused until\n" +
			"somebody confirms them; remove those that were removed before.",
		Example: "  entente consumer confirm siem\n  entente consumer confirm --all", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return fmt.Errorf("give the name of a consumer, or --all")
			}
			if all {
				var list []node.Consumer
				if err := a.ask(cmd.Context(), "GET", "consumers", nil, nil, &list); err != nil {
					return err
				}
				for _, c := range list {
					if c.Unconfirmed {
						args = append(args, c.Name)
					}
				}
			}
			for _, name := range args {
				if err := a.ask(cmd.Context(), "POST", "consumers/"+url.PathEscape(name)+"/confirm", nil, nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s may come again\n", printable(name))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that are to be confirmed")
	return cmd
}

func (a *app) consumerRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "End a consumer's token, and what it reads just now", Example: "  entente consumer remove siem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "DELETE", "consumers/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "removed; the token of %s does not count any more\n", printable(args[0]))
			return nil
		},
	}
}
