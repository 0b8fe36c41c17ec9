package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/policy/rules"
)

func (a *app) rulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Say what this organisation forbids itself, and what its own people and machines may do",
		Long: "Rules are Cedar policies. They only narrow what agreements allow: forbid (principal, action ==\n" +
			"Action::\"share\", resource) when { ... }. The rules in rules.cedar of the data directory, and the people\n" +
			"in people.json beside it, are taken when the node is opened, if they changed. A set that is wrong is\n" +
			"refused whole, with file, line and column, and the one before it stays in force, also across a restart.\n" +
			"To end all rules, load an empty file.",
	}
	cmd.AddCommand(a.rulesShowCommand(), a.rulesCheckCommand(), a.rulesLoadCommand(), a.rulesConfirmCommand(), a.rulesSchemaCommand())
	return cmd
}

func (a *app) rulesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the rules in force", Example: "  entente rules show", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var info node.RulesInfo
			if err := a.ask(cmd.Context(), "GET", "rules", nil, nil, &info); err != nil {
				return err
			}
			return a.print(info, func(w io.Writer) { showRules(w, &info) })
		},
	}
}

func showRules(w io.Writer, info *node.RulesInfo) {
	switch {
	case info.Confirm:
		fmt.Fprintf(w, "These rules, set %s, are not in force: %s.\n", info.Set, printable(info.Problem))
		fmt.Fprintf(w, "Until somebody who may administer confirms them ('entente rules confirm %s'), or loads others, nothing is let through.\n", info.Set)
		if len(info.Rules) == 0 {
			fmt.Fprintln(w, "There are none: agreements alone would say what goes where.")
		}
	case info.State == node.RulesLocked:
		fmt.Fprintln(w, "Rules cannot be read, and until they can nothing is let through.")
	case info.State == node.RulesNone || len(info.Rules) == 0:
		fmt.Fprintln(w, "No rules are in force: agreements alone say what goes where.")
	default:
		fmt.Fprintf(w, "%d rules in force since %s, from %s\n", len(info.Rules), info.Since.Format("2006-01-02 15:04 MST"), printable(info.File))
	}
	for _, r := range info.Rules {
		fmt.Fprintf(w, "\n%s (%s, line %d): %ss %s\n", r.Name, printable(r.File), r.Line, r.Effect, strings.Join(r.Actions, ", "))
		for line := range strings.Lines(r.Text) {
			fmt.Fprintf(w, "  %s\n", printable(strings.TrimRight(line, "\r\n")))
		}
	}
	if info.People != "" {
		fmt.Fprintf(w, "\nPeople and machines\n%s\n", printLines(strings.TrimSpace(info.People)))
	}
	if !info.Confirm && info.State == node.RulesInForce && len(info.Rules) > 0 {
		fmt.Fprintf(w, "\nset %s\n", info.Set)
	}
	if info.Problem != "" && !info.Confirm {
		fmt.Fprintf(w, "\nNot in force: %s\n", printLines(info.Problem))
	}
}

// rulesRequest reads the files of a rule set.
func (a *app) rulesRequest(file, people string) (*api.RulesRequest, error) {
	text, err := a.readFile(file, rules.MaxText)
	if err != nil {
		return nil, err
	}
	q := &api.RulesRequest{File: filepath.Base(file), Text: string(text)}
	if people != "" {
		b, err := a.readFile(people, rules.MaxPeople)
		if err != nil {
			return nil, err
		}
		s := string(b)
		q.PeopleFile, q.People = filepath.Base(people), &s
	}
	return q, nil
}

const peopleUsage = "the people and machines that the rules are about, as Cedar entities in JSON (default: those in force)"

func (a *app) rulesCheckCommand() *cobra.Command {
	var people string
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Check rules, and change nothing", Example: "  entente rules check rules.cedar --people people.json", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.rulesRequest(args[0], people)
			if err != nil {
				return err
			}
			var c api.RulesCheck
			if err := a.ask(cmd.Context(), "POST", "rules/check", nil, q, &c); err != nil {
				return err
			}
			if err := a.print(c, func(w io.Writer) {
				for _, p := range c.Problems {
					fmt.Fprintln(w, printable(p.String()))
				}
				if c.OK {
					fmt.Fprintf(w, "%d rules, nothing wrong with them\n", len(c.Rules))
				}
			}); err != nil || c.OK {
				return err
			}
			return errors.New("the rules are not taken as they are")
		},
	}
	cmd.Flags().StringVar(&people, "people", "", peopleUsage)
	return cmd
}

func (a *app) rulesLoadCommand() *cobra.Command {
	var people string
	var all bool
	cmd := &cobra.Command{
		Use: "load FILE", Short: "Put rules in force in place of those so far",
		Long: "What is decided from now on is decided by them, whether the node runs or not. What was shared before stays\n" +
			"shared; what earlier rules kept out is looked at again. Every node has rules of its own, and 'entente status'\n" +
			"tells where they differ; --all-nodes signs these with the operational key, and the others take them.",
		Example: "  entente rules load rules.cedar --people people.json\n  entente rules load rules.cedar --all-nodes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.loadRules(cmd.Context(), args[0], people, all) },
	}
	cmd.Flags().StringVar(&people, "people", "", peopleUsage)
	cmd.Flags().BoolVar(&all, "all-nodes", false, "at all nodes of this organisation; where the operational key is")
	return cmd
}

func (a *app) loadRules(ctx context.Context, file, people string, all bool) error {
	q, err := a.rulesRequest(file, people)
	if err != nil {
		return err
	}
	q.AllNodes = all
	var info node.RulesInfo
	if err := a.ask(ctx, "POST", "rules", nil, q, &info); err != nil {
		return err
	}
	return a.print(info, func(w io.Writer) { fmt.Fprintf(w, "%d rules are in force\n", len(info.Rules)) })
}

func (a *app) rulesConfirmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "confirm SET", Short: "Confirm the rules that came with restored data, so that the node shares and shows again",
		Long: "Data that was restored may hold rules that were replaced since by narrower ones. Where it does, or nobody can\n" +
			"tell, nothing is let through before somebody has looked at them. SET is the name of the set, as 'entente rules\n" +
			"show' prints it.",
		Example: "  entente rules show\n  entente rules confirm sha256:abcdefghij", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var info node.RulesInfo
			if err := a.ask(cmd.Context(), "POST", "rules/confirm", nil, map[string]string{"set": args[0]}, &info); err != nil {
				return err
			}
			return a.print(info, func(w io.Writer) { fmt.Fprintf(w, "%d rules are in force, set %s\n", len(info.Rules), info.Set) })
		},
	}
}

func (a *app) rulesSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print what rules may speak of, as a Cedar schema with comments", Example: "  entente rules schema > entente.cedarschema", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.print(map[string]string{"schema": rules.Schema()}, func(w io.Writer) { fmt.Fprint(w, rules.Schema()) })
		},
	}
}
