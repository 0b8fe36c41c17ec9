package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/mesh"
)

// relayListen is where a relay listens if nothing is said: on the port that most firewalls let out to.
var relayListen = []string{"/ip4/0.0.0.0/tcp/443", "/ip6/::/tcp/443"}

func (a *app) relayCommand() *cobra.Command {
	var listen []string
	var process process
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Run the node as a relay for members that cannot be called",
		Long: "Runs the node of the data directory with little besides: members of the network that sit behind\n" +
			"firewalls reserve a place here, and others reach them by way of it. What is forwarded is encrypted\n" +
			"between the two ends. It is a node as others are: 'entente init --kind relay' and 'network join'\n" +
			"make it an organisation of its own, for which nothing is ever sealed, which is best; 'node request'\n" +
			"and 'node approve' make it a node of yours, which is given your keys.",
		Example: "  entente relay --announce /dns4/relay.example.org/tcp/443",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(listen) == 0 {
				listen = relayListen
			}
			return a.up(cmd.Context(), &process, &serving{}, &mirrored{}, node.Config{Listen: listen, Relay: true})
		},
	}
	cmd.Flags().StringArrayVar(&listen, "listen", nil, "address to listen on; may be repeated (default: TCP port 443)")
	process.flags(cmd)
	return cmd
}

// showReach tells how the node reaches others and is reached.
func showReach(w io.Writer, st *node.Status) {
	r := st.Reach
	if r == nil {
		return
	}
	if r.Proxy != "" {
		fmt.Fprintf(w, "proxy         %s\n", printable(r.Proxy))
	}
	if r.ByRelay+r.ByProxy > 0 || len(r.Reservations) > 0 {
		fmt.Fprintf(w, "reached       %d peers directly, %d by the proxy, %d by relays\n", r.Direct, r.ByProxy, r.ByRelay)
	}
	for _, rel := range r.Reservations {
		fmt.Fprintf(w, "callable by   the relay %s of %s, until %s and on\n", rel.Node, printable(rel.Org.Name), rel.Until.Format("15:04 MST"))
	}
	if r.Relaying != nil {
		fmt.Fprintf(w, "relaying      for %d nodes, %d connections now, %d MiB so far\n", r.Relaying.Reservations, r.Relaying.Circuits, r.Relaying.Bytes>>20)
		for _, v := range r.Via {
			fmt.Fprintf(w, "              --via %s\n", v)
		}
	}
}

// reachedBy says how a connected peer is reached, if there is something to say.
func reachedBy(n *node.PeerNode) string {
	var out []string
	switch n.Path {
	case mesh.ByProxy:
		out = append(out, "reached by the proxy")
	case mesh.ByRelay:
		out = append(out, "reached by the relay of "+printable(n.By.Name))
	}
	if n.Relays {
		out = append(out, "relays for others")
	}
	if n.Resets > 0 {
		out = append(out, fmt.Sprintf("reset %d times, since it shares no topic", n.Resets))
	}
	return strings.Join(out, "; ")
}
