package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/api"
)

func (a *app) sinkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sink", Short: "Have the node deliver what changes to a webhook, to NATS or to syslog",
		Long: "A sink is a receiver to which the running node delivers every change of what its reader may read and\n" +
			"export: records that came, were withdrawn, restored, erased. Each is delivered at least once, the first time\n" +
			"in order; a sink that fails goes on where it stopped.",
	}
	cmd.AddCommand(a.sinkAdd(), a.sinkList(), a.sinkRemove(), a.sinkTest(), a.sinkReplay(), a.ownCommand("sink", "siem"))
	return cmd
}

func (a *app) sinkAdd() *cobra.Command {
	var q api.AddSink
	var roots, secret, format string
	cmd := &cobra.Command{
		Use: "add webhook|nats|syslog URL --name NAME", Short: "Add a receiver, or change one",
		Example: "  entente sink add webhook https://siem.example.org/hooks/entente --name siem --view malware --reader siem",
		Args:    cobra.ExactArgs(2), ValidArgs: []string{string(node.SinkWebhook), string(node.SinkNATS), string(node.SinkSyslog)},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q.Kind, q.URL, q.Format = node.SinkKind(args[0]), args[1], node.SinkFormat(format)
			if secret != "" {
				if q.Secret, err = a.readFile(secret, 16<<10); err != nil {
					return err
				}
			}
			if roots != "" {
				if q.Roots, err = a.readFile(roots, 64<<10); err != nil {
					return err
				}
			}
			var r struct {
				node.SinkProgress
				Made string `json:"made_secret,omitempty"`
			}
			if err := a.ask(cmd.Context(), "POST", "sinks", nil, q, &r); err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "Sink %s delivers what comes after cursor %d while the node is up.\n", q.Name, r.Cursor)
				if r.Made != "" {
					fmt.Fprintf(w, "The receiver verifies the signatures (standardwebhooks.com) with this secret, which is not shown again:\n%s\n", r.Made)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Name, "name", "", "what to call it: a-z, 0-9 and '-'")
	f.StringVar(&q.View, "view", "", "only what this view holds (default: everything that the reader may read)")
	f.StringVar(&q.Reader, "reader", "", "as whom it reads: a person or machine of the people file (default: who adds it)")
	f.StringVar(&format, "format", "", "json or stix; of syslog cef or json (default: json, cef)")
	f.IntVar(&q.Batch, "batch", 0, "changes delivered at once, up to 1000 (default: 64, of syslog 500)")
	f.StringVar(&secret, "secret-file", "", "webhook: one or two whsec_… secrets (default: one is made); NATS: a credentials file, USER:PASSWORD or a token")
	f.StringVar(&roots, "ca-file", "", "PEM certificates that the receiver's is verified by (default: the system's)")
	f.BoolVar(&q.Private, "allow-private", false, "the receiver may have a loopback, link-local or private address")
	f.BoolVar(&q.Plain, "allow-plain", false, "the receiver may be spoken to without TLS")
	f.StringVar(&q.Stream, "stream", "", "NATS: the JetStream stream to publish to, which is made if there is none")
	f.StringVar(&q.Subject, "subject", "", "NATS: what subjects begin with (default: entente, as entente.TOPIC.TYPE)")
	f.Uint64Var(&q.From, "from", 0, "deliver what comes after this cursor (default: everything)")
	f.BoolVar(&q.Replace, "replace", false, "change the sink of this name, which keeps its place")
	_ = cmd.MarkFlagRequired("name")
	_ = cmd.MarkFlagFilename("secret-file")
	_ = cmd.MarkFlagFilename("ca-file")
	return cmd
}

func (a *app) sinkList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the sinks, and how far they have come", Example: "  entente sink list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []struct {
				Name    string    `json:"name"`
				Kind    string    `json:"kind"`
				URL     string    `json:"url"`
				View    string    `json:"view,omitempty"`
				Reader  string    `json:"reader"`
				Format  string    `json:"format"`
				Owner   string    `json:"owner,omitempty"`
				Created time.Time `json:"created"`
				Secret  string    `json:"secret,omitempty"`
				node.SinkProgress
			}
			if err := a.ask(cmd.Context(), "GET", "sinks", nil, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"SINK", "KIND", "TO", "VIEW", "READER", "FORMAT", "OWNER", "CURSOR", "DELIVERED", "STATE"}}
				for i := range list {
					s := &list[i]
					rows = append(rows, []string{s.Name, s.Kind, s.URL, dash(s.View), s.Reader, s.Format, dash(s.Owner),
						strconv.FormatUint(s.Cursor, 10), strconv.FormatUint(s.Delivered, 10), sinkState(&s.SinkProgress)})
				}
				table(w, rows...)
			})
		},
	}
}

func sinkState(p *node.SinkProgress) string {
	switch {
	case !p.Stopped.IsZero():
		return "stopped: " + p.Error
	case !p.Failing.IsZero():
		return fmt.Sprintf("failing since %s: %s", p.Failing.Format("2006-01-02 15:04"), p.Error)
	case !p.Behind.IsZero():
		return "behind since " + p.Behind.Format("2006-01-02 15:04")
	}
	return "up to date"
}

func (a *app) sinkRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "End a sink; what it delivered stays where it is", Example: "  entente sink remove siem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), "DELETE", "sinks/"+url.PathEscape(args[0]), nil, nil, nil)
		},
	}
}

func (a *app) sinkTest() *cobra.Command {
	return &cobra.Command{
		Use: "test NAME", Short: "Send a message that says it is a test, and tell whether the receiver took it", Example: "  entente sink test siem", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.ask(cmd.Context(), "POST", "sinks/"+url.PathEscape(args[0])+"/test", nil, nil, nil); err != nil {
				return err
			}
			return a.print(struct{}{}, func(w io.Writer) { fmt.Fprintln(w, "The receiver took it.") })
		},
	}
}

func (a *app) sinkReplay() *cobra.Command {
	var q api.ReplaySink
	cmd := &cobra.Command{
		Use: "replay NAME --from CURSOR", Short: "Deliver what comes after a cursor, again or leaving something out", Example: "  entente sink replay siem --from 0", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), "POST", "sinks/"+url.PathEscape(args[0])+"/replay", nil, q, nil)
		},
	}
	cmd.Flags().Uint64Var(&q.From, "from", 0, "the cursor; 0: from the beginning")
	_ = cmd.MarkFlagRequired("from")
	return cmd
}
