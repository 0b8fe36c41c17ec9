package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func (a *app) viewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "view",
		Short: "Keep searches by name, of which collections, lists and streams for other systems are made",
		Long: "A view says which records a collection, a list or a stream is made of. All conditions that are given\n" +
			"must hold. It gives nobody a right: what somebody may not see is in no view.",
	}
	cmd.AddCommand(a.viewAddCommand(), a.viewListCommand(), a.viewRemoveCommand())
	return cmd
}

func (a *app) viewAddCommand() *cobra.Command {
	var q api.ViewRequest
	var kinds []string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Keep a view, in the place of one of the same name", Example: "  entente view add firewall --topic c2 --kind ipv4 --kind domain --max-tlp amber", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, k := range kinds {
				q.Kinds = append(q.Kinds, stix.Kind(k))
			}
			for i, c := range q.Countries {
				q.Countries[i] = strings.ToUpper(c)
			}
			var v node.View
			if err := a.ask(cmd.Context(), "PUT", "views/"+url.PathEscape(args[0]), nil, &q, &v); err != nil {
				return err
			}
			return a.print(v, func(w io.Writer) { fmt.Fprintf(w, "view %s: %s\n", v.Name, describeView(&v)) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Title, "title", "", "what people see it called")
	f.StringArrayVar(&q.Topics, "topic", nil, "records of this topic; may be repeated")
	f.StringArrayVar(&q.Types, "type", nil, "of this STIX type; may be repeated")
	f.StringArrayVar(&kinds, "kind", nil, "with an observable of this kind, as ipv4, domain, url, sha256; may be repeated")
	f.StringArrayVar(&q.Originators, "originator", nil, "made by this organisation; may be repeated")
	f.StringArrayVar(&q.Countries, "country", nil, "that concern this country; may be repeated")
	f.StringArrayVar(&q.Labels, "label", nil, "with this label; may be repeated")
	f.StringVar(&q.MaxTLP, "max-tlp", "", "nothing above this TLP")
	f.Uint8Var(&q.MinConfidence, "min-confidence", 0, "of at least this STIX confidence, 0 to 100")
	return cmd
}

func describeView(v *node.View) string {
	var parts []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			parts = append(parts, what+" "+strings.Join(list, " or "))
		}
	}
	add("topic", v.Topics)
	add("type", v.Types)
	var list []string
	for _, k := range v.Kinds {
		list = append(list, string(k))
	}
	add("with", list)
	list = nil
	for _, o := range v.Originators {
		list = append(list, o.Short())
	}
	add("by", list)
	add("concerning", v.Countries)
	add("labelled", v.Labels)
	if v.MaxTLP != protocol.TLPUnset {
		parts = append(parts, "up to TLP:"+strings.ToUpper(v.MaxTLP.String()))
	}
	if v.MinConfidence > 0 {
		parts = append(parts, "of confidence "+strconv.Itoa(int(v.MinConfidence))+" or more")
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

func (a *app) viewListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the views", Example: "  entente view list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []node.View
			if err := a.ask(cmd.Context(), "GET", "views", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"NAME", "RECORDS", "OWNER", "TITLE"}}
				for i := range list {
					rows = append(rows, []string{list[i].Name, describeView(&list[i]), dash(list[i].Owner), list[i].Title})
				}
				table(w, rows...)
			})
		},
	}
}

func (a *app) viewRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a view", Example: "  entente view remove firewall", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "DELETE", "views/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "removed; what was made of %s is not served any more\n", printable(args[0]))
			return nil
		},
	}
}
