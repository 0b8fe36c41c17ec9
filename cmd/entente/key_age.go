package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
)

func (a *app) keyRotateAgeCommand() *cobra.Command {
	var suspected bool
	cmd := &cobra.Command{
		Use: "age", Short: "Replace this node's age identity now, to which keys and letters are sealed",
		Long: "A node does this by itself every 27 to 30 days. The new recipient goes on the card, where this node has\n" +
			"the operational key, or by way of the sibling that has it. The identity so far is kept for what is on\n" +
			"its way, and destroyed 60 days after the card named another, or later, while letters may be missing.\n" +
			"With --suspected partners make new keys at once. Who had the identity also had the rest of the node:\n" +
			"'entente node remove' and a new node are the remedy where that was a thief.",
		Example: "  entente key rotate age", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var info node.IdentityInfo
			if err := a.ask(cmd.Context(), "POST", "keys/age", nil, map[string]any{"suspected": suspected}, &info); err != nil {
				return err
			}
			return a.print(&info, func(w io.Writer) {
				fmt.Fprintf(w, "New age recipient %s: %s\n", info.Recipient, info.State)
				if info.State != node.IdentityOnCard {
					fmt.Fprintln(w, "It goes on the card when the node with the operational key hears of it; until then the one so far is used.")
				}
			})
		},
	}
	cmd.Flags().BoolVar(&suspected, "suspected", false, "somebody else may have the present identity: partners make new keys at once")
	return cmd
}

// showOwnKeys shows the age identities of this node, and what ends when.
func showOwnKeys(w io.Writer, l *node.KeyList) {
	day := func(at *time.Time) string {
		if at == nil {
			return "-"
		}
		return at.Format(time.DateOnly)
	}
	rows := [][]string{{"AGE IDENTITY", "STATE", "MADE", "UNTIL"}}
	for _, id := range l.Identities {
		rows = append(rows, []string{id.Recipient, id.State, day(id.Made), day(id.Until)})
	}
	table(w, rows...)
	fmt.Fprintln(w)
	rows = [][]string{{"ENDS", "WHAT", "WHOSE", "RENEWED"}}
	for _, e := range l.Expiries {
		by := "by people"
		if e.Renews {
			by = "by itself"
		}
		rows = append(rows, []string{e.At.Format(time.DateOnly), e.What, e.Who, by})
	}
	table(w, rows...)
}
