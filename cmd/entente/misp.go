package main

import (
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
)

func (a *app) mispCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "misp",
		Short: "Say how MISP instances that pull from this node and push to it are dealt with",
		Long: "With 'entente up --serve' a node answers MISP instances below /misp, and serves feeds below /misp/feed/VIEW.\n" +
			"Sharing groups of MISP name organisations by UUIDs of MISP: say which members of the mesh they are.\n" +
			"What an instance pushes without a TLP is refused, unless a label for it is set.",
	}
	org := &cobra.Command{Use: "org", Short: "Say which members of the mesh the organisations of MISP are"}
	org.AddCommand(a.mispOrgAddCommand(), a.mispOrgRemoveCommand())
	cmd.AddCommand(org, a.mispShowCommand(), a.mispTLPCommand())
	return cmd
}

func (a *app) mispShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the organisations that are known, and the label of what is pushed without one", Example: "  entente misp show", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var got node.MISPSettings
			if err := a.ask(cmd.Context(), "GET", "misp", nil, nil, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) { showMISP(w, &got) })
		},
	}
}

func showMISP(w io.Writer, s *node.MISPSettings) {
	if s.TLP == protocol.TLPUnset {
		fmt.Fprintln(w, "what is pushed without a TLP is refused")
	} else {
		fmt.Fprintf(w, "what is pushed without a TLP is TLP:%s\n", s.TLP)
	}
	if len(s.Orgs) == 0 {
		return
	}
	rows := [][]string{{"UUID IN MISP", "IS"}}
	for _, o := range s.Orgs {
		rows = append(rows, []string{o.UUID, o.Org.Name})
	}
	table(w, rows...)
}

func (a *app) mispOrgAddCommand() *cobra.Command {
	return &cobra.Command{
		Use: "add UUID ORGANISATION", Short: "Say which member of the mesh an organisation of MISP is, for sharing groups",
		Example: "  entente misp org add 55f6ea5e-2c60-40e5-964f-47a8950d210f 'Example CERT'", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var got node.MISPSettings
			if err := a.ask(cmd.Context(), "PUT", "misp/orgs/"+url.PathEscape(args[0]), nil, api.MISPOrgRequest{Org: args[1]}, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) { showMISP(w, &got) })
		},
	}
}

func (a *app) mispOrgRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove UUID", Short: "Forget which member of the mesh an organisation of MISP is", Example: "  entente misp org remove 55f6ea5e-2c60-40e5-964f-47a8950d210f", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "DELETE", "misp/orgs/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "removed; sharing groups that name it do not reach it any more")
			return nil
		},
	}
}

func (a *app) mispTLPCommand() *cobra.Command {
	return &cobra.Command{
		Use: "tlp LABEL", Short: "Set the TLP of what an instance pushes without one; none: it is refused", Example: "  entente misp tlp amber\n  entente misp tlp none", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.MISPTLPRequest{TLP: args[0]}
			if q.TLP == "none" {
				q.TLP = ""
			}
			var got node.MISPSettings
			if err := a.ask(cmd.Context(), "PUT", "misp/tlp", nil, q, &got); err != nil {
				return err
			}
			return a.print(got, func(w io.Writer) { showMISP(w, &got) })
		},
	}
}
