package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (a *app) peopleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "people",
		Short: "Say who may use this node, and what each may do",
		Long: "A person is known by the account of the operating system that opens the node's socket. Roles say what\n" +
			"they may do: reader, publisher, approver, officer (agreements, erasure, audit), admin. As soon as there is\n" +
			"one person, every other account sees the status of the node, and nothing else. All nodes of the organisation\n" +
			"share the people. While the node is stopped, whoever owns its data directory may run these, too.",
	}
	cmd.AddCommand(a.peopleSetCommand("add"), a.peopleSetCommand("set"), a.peopleRemoveCommand(), a.peopleHandOverCommand(), a.peopleListCommand(), a.peopleShowCommand(), a.peopleConfirmCommand(), a.peopleRequireCommand(), a.peopleMeCommand())
	return cmd
}

func (a *app) peopleSetCommand(verb string) *cobra.Command {
	var q api.PersonSet
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add a person, or give one more roles; the first is to be an admin", Args: cobra.ExactArgs(1),
		Example: "  entente people add alice --role admin --name \"Alice Example\"\n  entente people add bob --role reader --role publisher --os-user bexample",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Only = verb == "set" && cmd.Flags().Changed("role")
			var got api.PersonChanged
			if err := a.ask(cmd.Context(), "PUT", "people/"+url.PathEscape(args[0]), nil, &q, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) {
				fmt.Fprintf(w, "%s (account %s): %s\n", printable(got.Person.ID), printable(got.Person.User), strings.Join(got.Person.Roles, ", "))
				if !slices.Contains(got.Person.Roles, rules.RoleAdmin) {
					setUp(w, slices.DeleteFunc(got.Person.SetUp, func(o node.Owned) bool { return o.Kind == node.OwnedView }), "")
				}
				stillOpen(w, got.Still)
			})
		},
	}
	roles := "what they may do besides: "
	if verb == "set" {
		cmd.Use, cmd.Short = "set NAME", "Change who a person is, and what they may do"
		cmd.Example = "  entente people set bob --role reader\n  entente people set bob --os-user bob2"
		roles = "all that they may do: "
	}
	f := cmd.Flags()
	f.StringArrayVar(&q.Roles, "role", nil, roles+strings.Join(rules.Roles(), ", ")+", or one of the people file of the rules; may be repeated")
	f.StringVar(&q.User, "os-user", "", "the account of the operating system by which they come (default, of somebody new: the name)")
	f.StringVar(&q.FullName, "name", "", "their name in full")
	f.StringVar(&q.Purpose, "purpose", "", "for which they read; local rules may speak of it")
	return cmd
}

func stillOpen(w io.Writer, count int) {
	if count > 0 {
		fmt.Fprintf(w, "%d requests were told to end, and had not after five seconds\n", count)
	}
}

func (a *app) peopleRemoveCommand() *cobra.Command {
	var q = url.Values{}
	var to string
	var end bool
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Remove a person; what they have open ends at once", Args: cobra.ExactArgs(1),
		Long: "When it returns, their streams have ended, their tokens open nothing, their votes and what they asked a\n" +
			"second person for are void; sinks and sources that they set up stand still. --hand-over has another answer for all\n" +
			"that instead, and --end removes the sinks and sources. Both are about this node: at the organisation's other nodes tokens\n" +
			"end and the rest stands still, so run 'entente people hand-over' there before. Nodes that are not connected hear of the\n" +
			"removal when they have met. What they took along before is gone: see 'entente audit show --person NAME'.",
		Example: "  entente people remove bob\n  entente people remove bob --hand-over alice",
		RunE: func(cmd *cobra.Command, args []string) error {
			if to != "" {
				q.Set("hand_over", to)
			}
			if end {
				q.Set("end", "true")
			}
			var got node.Removed
			if err := a.ask(cmd.Context(), "DELETE", "people/"+url.PathEscape(args[0]), q, nil, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) {
				fmt.Fprintf(w, "%s is none of this node's people any more\n", printable(got.Person))
				if len(got.Ended) > 0 {
					fmt.Fprintf(w, "tokens ended: %s\n", printable(strings.Join(got.Ended, ", ")))
				}
				if len(got.HandedOver) > 0 {
					fmt.Fprintf(w, "handed over to %s: %s\n", printable(to), printable(strings.Join(got.HandedOver, ", ")))
				}
				setUp(w, got.SetUp, to)
				if got.Acts+got.Votes > 0 {
					fmt.Fprintf(w, "void: %d acts that waited for a second person, %d votes on releases\n", got.Acts, got.Votes)
				}
				stillOpen(w, got.Still)
				elsewhere(w, got.Person, got.Elsewhere)
				for _, id := range got.Unheard {
					fmt.Fprintf(w, "node %s is not connected: there they may come until it has met this one, or until it is told there\n", id)
				}
			})
		},
	}
	cmd.Flags().StringVar(&to, "hand-over", "", "who is to answer for the consumers, sinks, sources and views that they own at this node")
	cmd.Flags().BoolVar(&end, "end", false, "remove the sinks and sources that they set up at this node")
	cmd.MarkFlagsMutuallyExclusive("hand-over", "end")
	return cmd
}

// setUp says what became of what somebody had set up.
func setUp(w io.Writer, list []node.Owned, to string) {
	for i := range list {
		switch o := &list[i]; o.State {
		case node.OwnedHanded:
			fmt.Fprintf(w, "%s %s: handed over to %s\n", o.Kind, o.Name, printable(to))
		case node.OwnedStands:
			again := fmt.Sprintf("'entente source resume %s' lets it go on", o.Name)
			if o.Kind == node.OwnedSink {
				again = fmt.Sprintf("'entente sink replay %s --from CURSOR' lets it go on ('entente sink list' has the cursor)", o.Name)
			}
			fmt.Fprintf(w, "%s %s: stands still; %s as yours, 'entente %s remove %s' ends it\n", o.Kind, o.Name, again, o.Kind, o.Name)
		default:
			fmt.Fprintf(w, "%s %s: %s\n", o.Kind, o.Name, o.State)
		}
	}
}

// elsewhere says that what somebody owns is of one node.
func elsewhere(w io.Writer, id string, nodes []protocol.NodeID) {
	for _, node := range nodes {
		fmt.Fprintf(w, "node %s: what %s owns there is not handed over: their tokens end, and the rest stands still, when it hears of the removal; look there with 'entente people show %s' and hand over what is wanted\n", node, printable(id), printable(id))
	}
}

func (a *app) peopleHandOverCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hand-over NAME OTHER", Short: "Have another answer for what a person set up at this node", Args: cobra.ExactArgs(2),
		Long: "Consumers, sinks, sources and views of NAME are OTHER's from then on, who must be allowed to have them. What comes as\n" +
			"NAME stays. Do it at each node of the organisation before NAME is removed; of somebody who was removed, what stands still\n" +
			"gets another owner and stands still until it is told to go on.",
		Example: "  entente people hand-over bob alice",
		RunE: func(cmd *cobra.Command, args []string) error {
			var got node.HandedOver
			if err := a.ask(cmd.Context(), "POST", "people/"+url.PathEscape(args[0])+"/hand-over", nil, &api.PersonHandOver{To: args[1]}, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) {
				for _, name := range got.Consumers {
					fmt.Fprintf(w, "consumer %s: handed over to %s\n", printable(name), printable(got.To))
				}
				setUp(w, got.SetUp, got.To)
				if len(got.Consumers)+len(got.SetUp) == 0 {
					fmt.Fprintf(w, "%s owns nothing at this node\n", printable(got.From))
				}
				for _, id := range got.Elsewhere {
					fmt.Fprintf(w, "node %s: what %s owns there is not handed over; do it there, too\n", id, printable(got.From))
				}
			})
		},
	}
}

// owned names things that somebody owns.
func owned(list []node.Owned) string {
	var names []string
	for i := range list {
		names = append(names, fmt.Sprintf("%s %s (%s)", list[i].Kind, list[i].Name, list[i].State))
	}
	return strings.Join(names, ", ")
}

func (a *app) peopleListCommand() *cobra.Command {
	return listCommand(a, "people", "List the people", "entente people list --all", "also those who left", func(w io.Writer, list []node.Person) {
		rows := [][]string{{"NAME", "ACCOUNT", "ROLES", "FULL NAME", "STATE"}}
		for i := range list {
			rows = append(rows, []string{list[i].ID, list[i].User, dash(strings.Join(list[i].Roles, ", ")), dash(list[i].FullName), personState(&list[i])})
		}
		table(w, rows...)
	})
}

func personState(p *node.Person) string {
	switch {
	case p.Removed:
		return "left"
	case p.Unconfirmed:
		return "refused: from a backup, not confirmed"
	case p.Ambiguous:
		return "refused: the account is another's, too"
	}
	return "may come"
}

func (a *app) peopleShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a person", Example: "  entente people show bob", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p node.Person
			if err := a.ask(cmd.Context(), "GET", "people/"+url.PathEscape(args[0]), nil, nil, &p); err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) {
				table(w, []string{"name", p.ID}, []string{"full name", dash(p.FullName)}, []string{"account", p.User}, []string{"roles", dash(strings.Join(p.Roles, ", "))},
					[]string{"purpose", dash(p.Purpose)}, []string{"state", personState(&p)}, []string{"consumers", dash(strings.Join(p.Consumers, ", "))}, []string{"set up", dash(owned(p.SetUp))})
			})
		},
	}
}

func (a *app) peopleConfirmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "confirm NAME...", Short: "After a restore, let people come again", Args: cobra.MinimumNArgs(1),
		Long: "A backup may hold people who left after it was made. After a restore none may come until somebody\n" +
			"confirms them: the first, an admin, is confirmed on the stopped node by whoever owns its data directory.",
		Example: "  entente people confirm alice",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if err := a.ask(cmd.Context(), "POST", "people/"+url.PathEscape(name)+"/confirm", nil, nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s may come again\n", printable(name))
			}
			return nil
		},
	}
}

func (a *app) peopleRequireCommand() *cobra.Command {
	var act, role string
	cmd := &cobra.Command{
		Use: "require [two|one]", Short: "Say which acts need a second person, or list them", Args: cobra.MaximumNArgs(1), ValidArgs: []string{"two", "one"},
		Long: "Acts are agreement-sign, key-change, release and people (to add people and roles). To suspend or terminate an\n" +
			"agreement, and to remove a node, a member or a person, never needs a second one. Where an act needs two, so does\n" +
			"to want one for it.",
		Example: "  entente people require\n  entente people require two --for agreement-sign --role officer\n  entente people require one --for agreement-sign",
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []node.Requirement
			if len(args) == 0 {
				if act != "" || role != "" {
					return errors.New("say whether it is to need one or two: 'entente people require two --for ACT'")
				}
				if err := a.ask(cmd.Context(), "GET", "requirements", nil, nil, &list); err != nil {
					return err
				}
			} else {
				if args[0] != "one" && args[0] != "two" || act == "" {
					return errors.New("say 'entente people require two --for ACT', or one")
				}
				var got node.Requirement
				if err := a.ask(cmd.Context(), "POST", "requirements", nil, &api.RequireTwo{Act: node.Act(act), Two: args[0] == "two", Role: role}, &got); err != nil {
					return err
				}
				list = append(list, got)
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"ACT", "PERSONS", "THE SECOND"}}
				for _, r := range list {
					row := []string{string(r.Act), "one", "-"}
					if r.Two {
						row = []string{string(r.Act), "two", r.Role}
					}
					rows = append(rows, row)
				}
				table(w, rows...)
			})
		},
	}
	cmd.Flags().StringVar(&act, "for", "", "agreement-sign, key-change, release or people")
	cmd.Flags().StringVar(&role, "role", "", "what the second person must be: approver, officer or admin (default: as is usual for the act)")
	return cmd
}

func (a *app) peopleMeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "me", Short: "Say who you are to this node, and what you may do", Example: "  entente people me", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var me api.Me
			if err := a.ask(cmd.Context(), "GET", "me", nil, nil, &me); err != nil {
				return err
			}
			return a.print(me, func(w io.Writer) {
				if !me.People {
					fmt.Fprintf(w, "account %s; the node has no people, and whoever may open its socket may do everything that local rules let them\n", printable(me.User))
					return
				}
				fmt.Fprintf(w, "%s, account %s\nroles   %s\nrights  %s\n", printable(me.Name), printable(me.User), strings.Join(me.Roles, ", "), strings.Join(me.Rights, ", "))
			})
		},
	}
}

func (a *app) approveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "approve ACT", Short: "As a second person, carry out what a first one asked for", Args: cobra.ExactArgs(1),
		Long: "What is carried out is what the first person asked for, byte for byte; both stand in the audit log.\n" +
			"The first person cannot be the second, whatever they are called: it takes another account.",
		Example: "  entente approve list\n  entente approve show k3x5p2aa\n  entente approve k3x5p2aa",
		RunE: func(cmd *cobra.Command, args []string) error {
			var got api.ActDone
			if err := a.ask(cmd.Context(), "POST", "acts/"+url.PathEscape(args[0])+"/approve", nil, nil, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) {
				fmt.Fprintf(w, "done, as %s asked: %s\n%s\n", printable(got.Act.By), printable(got.Act.Title), printable(strings.TrimSpace(got.Answer)))
			})
		},
	}
	cmd.AddCommand(a.approveListCommand(), a.approveShowCommand(), a.approveDenyCommand())
	return cmd
}

func (a *app) approveListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List what waits for a second person", Example: "  entente approve list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.PendingAct
			if err := a.ask(cmd.Context(), "GET", "acts", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"ID", "ACT", "ASKED BY", "NEEDS", "UNTIL", "WHAT"}}
				for _, p := range list {
					rows = append(rows, []string{p.ID, string(p.Act), p.By, p.Role, p.Until.Format("2006-01-02 15:04"), p.Title})
				}
				table(w, rows...)
			})
		},
	}
}

func (a *app) approveShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ACT", Short: "Show what waits, in words and as it was asked for", Example: "  entente approve show k3x5p2aa", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p node.PendingAct
			if err := a.ask(cmd.Context(), "GET", "acts/"+url.PathEscape(args[0]), nil, nil, &p); err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) {
				table(w, []string{"what", p.Title}, []string{"act", string(p.Act)}, []string{"asked by", p.By}, []string{"for", dash(p.Purpose)}, []string{"at", p.At.Format("2006-01-02 15:04:05 MST")},
					[]string{"until", p.Until.Format("2006-01-02 15:04:05 MST")}, []string{"needs", p.Role}, []string{"hash", p.Hash}, []string{"request", p.Request})
				for line := range strings.Lines(p.Body) {
					fmt.Fprintf(w, "  %s\n", printable(strings.TrimRight(line, "\r\n")))
				}
			})
		},
	}
}

func (a *app) approveDenyCommand() *cobra.Command {
	var q api.ActDeny
	cmd := &cobra.Command{
		Use: "deny ACT", Short: "Deny what waits for a second person, or take back what you asked for", Example: "  entente approve deny k3x5p2aa --reason \"the old terms\"", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "POST", "acts/"+url.PathEscape(args[0])+"/deny", nil, &q, nil); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "denied; nothing was done")
			return nil
		},
	}
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why")
	return cmd
}
