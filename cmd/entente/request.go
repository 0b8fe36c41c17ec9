package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

func (a *app) requestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "request", Short: "Ask partners what they know, and answer what they ask",
		Long: "Asks a partner under an agreement that lets it answer. Within which time it promised to, the agreement's\n" +
			"terms say (reply_hours); what is overdue stands in 'entente status'. What answers a request are records,\n" +
			"published as any, or words.",
	}
	var q api.Ask
	makeOne := &cobra.Command{
		Use: "make ORG [VALUE...]", Short: "Ask a partner, about values or in words", Example: "  entente request make \"Example Vendor\" 198.51.100.7 --text \"Who ran this server in May?\" --purpose investigation",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Org, q.Values = args[0], args[1:]
			return a.oneRequest(cmd, "POST", "requests", q)
		},
	}
	makeOne.Flags().StringVar(&q.Text, "text", "", "the question")
	makeOne.Flags().StringVar(&q.Purpose, "purpose", "", "what for; one that the agreement's terms name, if they name any")
	list := listCommand(a, "requests", "List the requests that wait for a reply", "entente request list --all", "also those that have a reply", func(w io.Writer, list []node.RequestInfo) {
		for i := range list {
			r := &list[i]
			fmt.Fprintf(w, "%s  %s asks %s  %s  %s\n", r.ID, printable(r.From.Name), printable(r.To.Name), requestState(r), printable(firstOf(r)))
		}
		if len(list) == 0 {
			fmt.Fprintln(w, "Nothing waits for a reply.")
		}
	})
	show := &cobra.Command{
		Use: "show ID", Short: "Show a request, and what is held about it", Example: "  entente request show req:0123456789ab", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.oneRequest(cmd, "GET", "requests/"+url.PathEscape(args[0]), nil)
		},
	}
	cmd.AddCommand(makeOne, list, show, a.replyCommand("answer", "Answer a request, with words or records that were published for who asked", false),
		a.replyCommand("decline", "Decline a request", true))
	return cmd
}

func (a *app) replyCommand(verb, short string, decline bool) *cobra.Command {
	q := api.Reply{Decline: decline}
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Example: "  entente request " + verb + " req:0123456789ab --text \"We know nothing of it.\"", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.oneRequest(cmd, "POST", "requests/"+url.PathEscape(args[0])+"/reply", q)
		},
	}
	cmd.Flags().StringVar(&q.Text, "text", "", "the reply")
	if !decline {
		cmd.Flags().StringArrayVar(&q.Records, "record", nil, "a record that answers it; may be repeated")
	}
	return cmd
}

func (a *app) oneRequest(cmd *cobra.Command, method, path string, body any) error {
	var r node.RequestInfo
	if err := a.ask(cmd.Context(), method, path, nil, body, &r); err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s asks %s, %s\n", r.ID, printable(r.From.Name), printable(r.To.Name), r.At.Format("2006-01-02 15:04:05"))
		fmt.Fprintf(w, "  under agreement %s, %s\n", r.Agreement.Short(), requestState(&r))
		if r.Purpose != "" {
			fmt.Fprintf(w, "  for %s\n", printable(r.Purpose))
		}
		for _, v := range r.Values {
			fmt.Fprintf(w, "  about %s\n", printable(v))
		}
		if r.Text != "" {
			fmt.Fprintf(w, "  %s\n", printable(r.Text))
		}
		if r.Held > 0 {
			fmt.Fprintf(w, "  %d records about it are held here; %d of them were published for %s\n", r.Held, r.Shared, printable(r.From.Name))
		}
		if r.Reply != "" {
			fmt.Fprintf(w, "  Reply: %s\n", printable(r.Reply))
		}
		for _, id := range r.Records {
			fmt.Fprintf(w, "  Reply: %s\n", id)
		}
	})
}

func requestState(r *node.RequestInfo) string {
	switch {
	case r.Replied != nil:
		return r.State + " " + r.Replied.Format("2006-01-02 15:04:05")
	case r.Overdue:
		return "OVERDUE since " + r.Due.Format("2006-01-02 15:04:05")
	case r.Due != nil:
		return "to be answered until " + r.Due.Format("2006-01-02 15:04:05")
	}
	return "open; the agreement promises no time"
}

func firstOf(r *node.RequestInfo) string {
	if len(r.Values) > 0 {
		return strings.Join(r.Values[:min(3, len(r.Values))], ", ")
	}
	line, _, _ := strings.Cut(r.Text, "\n")
	return line
}
