package main

import (
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
)

func (a *app) topicCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "topic", Short: "Join, leave and list topics",
		Long: "A node stores and forwards what is published in the topics that it is in. What it can read there is for agreements to say.",
	}
	act := func(use, method, short, done string) *cobra.Command {
		return &cobra.Command{
			Use: use + " NAME", Short: short, Example: "  entente topic " + use + " c2", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := a.ask(cmd.Context(), method, "topics/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
					return err
				}
				return a.print(map[string]string{"topic": args[0], "done": use}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", done, printable(args[0])) })
			},
		}
	}
	list := &cobra.Command{
		Use: "list", Short: "List the topics that this node is in", Example: "  entente topic list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var topics []node.TopicInfo
			if err := a.ask(cmd.Context(), "GET", "topics", nil, nil, &topics); err != nil {
				return err
			}
			return a.print(topics, func(w io.Writer) {
				rows := [][]string{{"TOPIC", "FEEDS", "ENVELOPES", "PEERS NOW"}}
				for _, t := range topics {
					rows = append(rows, []string{t.Name, fmt.Sprint(t.Feeds), fmt.Sprint(t.Envelopes), fmt.Sprint(t.Peers)})
				}
				table(w, rows...)
			})
		},
	}
	cmd.AddCommand(act("join", "POST", "Store, forward and read what is published in a topic", "Joined topic"),
		act("leave", "DELETE", "End that; what is stored stays", "Left topic"), list)
	return cmd
}
