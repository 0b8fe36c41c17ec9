package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) networkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Create, join and tend a network",
		Long:  "A network's roster says who may connect and relay, nothing more: it opens no record and is not trust.",
	}
	var hours int
	var out, reason string
	create := &cobra.Command{
		Use: "create NAME", Short: "Found a network, with this organisation as its steward", Example: "  entente network create sea-operation",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r struct {
				Network string `json:"network"`
				Name    string `json:"name"`
			}
			if err := a.ask(cmd.Context(), "POST", "network", nil, map[string]string{"name": args[0]}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "Founded network %s\n  %s\n", printable(args[0]), r.Network) })
		},
	}
	invite := &cobra.Command{
		Use: "invite CARD", Short: "Invite the organisation of a card; the invitation goes to standard output",
		Long:    "The invitation is bound to the card's organisation and to its node's keys: nobody else can use it.",
		Example: "  entente network invite partner.pem > invitation.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			card, err := a.readArmour(args[0], cardArmour)
			if err != nil {
				return err
			}
			var r struct {
				Invitation []byte `json:"invitation"`
				Invitee    string `json:"invitee"`
			}
			if err := a.ask(cmd.Context(), "POST", "network/invite", nil, map[string]any{"card": card, "hours": hours}, &r); err != nil {
				return err
			}
			if out != "" {
				if err := writeFile(out, []byte(armour(invitationArmour, r.Invitation))); err != nil {
					return err
				}
				return a.print(map[string]string{"invitee": r.Invitee, "file": out}, func(w io.Writer) { fmt.Fprintf(w, "Invitation for %s: %s\n", r.Invitee, out) })
			}
			return a.print(r, func(w io.Writer) { fmt.Fprint(w, armour(invitationArmour, r.Invitation)) })
		},
	}
	invite.Flags().IntVar(&hours, "hours", 7*24, "how long the invitation may be used, at most 720")
	invite.Flags().StringVarP(&out, "out", "o", "", "write it to this file")
	join := &cobra.Command{
		Use: "join INVITATION", Short: "Join the network that you were invited to", Example: "  entente network join invitation.pem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := a.readArmour(args[0], invitationArmour)
			if err != nil {
				return err
			}
			var r struct {
				Network string `json:"network"`
			}
			if err := a.ask(cmd.Context(), "POST", "network/join", nil, map[string]any{"invitation": inv}, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Joined network %s\nThis lets your node connect and relay. To read and to share, make agreements.\n", r.Network)
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove ORG", Short: "Remove a member (stewards only)", Example: "  entente network remove \"Example Vendor\" --reason \"left the operation\"", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "POST", "network/remove", nil, map[string]string{"organisation": args[0], "reason": reason}, nil); err != nil {
				return err
			}
			return a.print(map[string]string{"removed": args[0]}, func(w io.Writer) { fmt.Fprintf(w, "Removed %s\n", printable(args[0])) })
		},
	}
	remove.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.AddCommand(create, invite, join, remove)
	return cmd
}

// writeFile writes a file that others are meant to read: a card, an invitation, an export.
func writeFile(path string, b []byte) error { return writeFileMode(path, b, 0o644) }

func writeFileMode(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return f.Close()
}
