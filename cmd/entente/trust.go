package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

func (a *app) trustCommand() *cobra.Command {
	var words string
	cmd := &cobra.Command{
		Use:   "trust CARD --words \"...\"",
		Short: "Trust an organisation whose words you compared by phone",
		Long: "Pins the organisation of a card. Its people read out the words that 'entente id' shows them, over a\n" +
			"channel on which you know them, and you give what you heard: not what a file or mail says.\n" +
			"Trust opens nothing by itself; it lets you sign an agreement.",
		Example: "  entente trust partner.pem --words \"abandon ability able about above absent absorb abstract absurd abuse access accident\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			card, err := a.readArmour(args[0], cardArmour)
			if err != nil {
				return err
			}
			var id api.ID
			if err := a.ask(cmd.Context(), "POST", "trust", nil, map[string]any{"card": card, "words": words}, &id); err != nil {
				return err
			}
			return a.print(id, func(w io.Writer) { fmt.Fprintf(w, "Trusted: %s (%s)\n", printable(id.Name), id.Org) })
		},
	}
	cmd.Flags().StringVar(&words, "words", "", "the twelve words that the organisation's people read out")
	_ = cmd.MarkFlagRequired("words")
	return cmd
}

func (a *app) untrustCommand() *cobra.Command {
	return &cobra.Command{
		Use: "untrust ORG", Short: "Take trust back; agreements stay until they are terminated", Example: "  entente untrust \"Example Vendor\"",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "POST", "untrust", nil, map[string]string{"organisation": args[0]}, nil); err != nil {
				return err
			}
			return a.print(map[string]string{"untrusted": args[0]}, func(w io.Writer) { fmt.Fprintf(w, "No longer trusted: %s\n", printable(args[0])) })
		},
	}
}

func (a *app) peersCommand() *cobra.Command {
	var card, out string
	cmd := &cobra.Command{
		Use: "peers", Short: "List the organisations known here: members, trust, agreements, connections", Args: cobra.NoArgs,
		Long: "With --card the card of one of them is written to a file, as it is held here. An organisation that lost its\n" +
			"only node asks a partner for it: 'entente node request' on a new machine takes it.",
		Example: "  entente peers\n  entente peers --card \"Example Vendor\" -o vendor.pem",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (card == "") != (out == "") {
				return errors.New("--card and -o go together: whose card, and the file for it")
			}
			var peers []node.PeerStatus
			if err := a.ask(cmd.Context(), "GET", "peers", nil, nil, &peers); err != nil {
				return err
			}
			if card != "" {
				p, err := peerNamed(peers, card)
				if err != nil {
					return err
				}
				if err := writeFile(out, []byte(armour(cardArmour, p.Signed))); err != nil {
					return err
				}
				return a.print(p, func(w io.Writer) {
					fmt.Fprintf(w, "Card %s of %s (%s): %s\n", p.Card, printable(p.Org.Name), p.Org.ID, out)
				})
			}
			return a.print(peers, func(w io.Writer) {
				rows := [][]string{{"ORGANISATION", "KIND", "COUNTRY", "MEMBER", "TRUSTED", "AGREEMENT", "CONNECTED", "PROGRAM", "ID"}}
				for _, p := range peers {
					up := 0
					var programs []string
					for _, n := range p.Nodes {
						if n.Connected {
							up++
							programs = append(programs, cmp.Or(n.Program, "not told"))
						}
					}
					slices.Sort(programs)
					rows = append(rows, []string{p.Org.Name, string(p.Kind), dash(p.Country), yes(p.Member), yes(p.Trusted), yes(p.Agreement),
						fmt.Sprintf("%d of %d", up, len(p.Nodes)), dash(strings.Join(slices.Compact(programs), ", ")), p.Org.ID.String()})
				}
				table(w, rows...)
				for _, p := range peers {
					for _, n := range p.Nodes {
						if how := reachedBy(&n); how != "" {
							fmt.Fprintf(w, "%s of %s: %s\n", n.Node, printable(p.Org.Name), how)
						}
						if n.Problem != "" {
							fmt.Fprintf(w, "%s of %s: %s\n", n.Node, printable(p.Org.Name), printable(n.Problem))
						}
						if n.Ends != "" {
							fmt.Fprintf(w, "%s of %s: %s\n", n.Node, printable(p.Org.Name), printable(n.Ends))
						}
					}
				}
			})
		},
	}
	cmd.Flags().StringVar(&card, "card", "", "write the card of this organisation, by its name or id")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file for the card")
	return cmd
}

// peerNamed finds an organisation by its id, or by a name that no other has.
func peerNamed(peers []node.PeerStatus, name string) (*node.PeerStatus, error) {
	var found *node.PeerStatus
	for i := range peers {
		p := &peers[i]
		if p.Org.ID.String() == name {
			return p, nil
		}
		if p.Org.Name == name {
			if found != nil {
				return nil, fmt.Errorf("several organisations are called %q: give the id, which 'entente peers' shows", name)
			}
			found = p
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no organisation %q is known here: 'entente peers' lists them", name)
	}
	return found, nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func dash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}
