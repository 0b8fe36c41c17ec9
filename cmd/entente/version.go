package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// program is what peers are told that this node runs.
func program() string {
	p := "entente " + printable(version())
	return strings.ToValidUTF8(p[:min(len(p), protocol.MaxProgramSize)], "")
}

// versionInfo is what version prints.
type versionInfo struct {
	Version string   `json:"version"`
	Speaks  []string `json:"speaks"` // protocols, the best of each first, and formats
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of the program, and what it speaks and reads (needs no node)",
		Example: "  entente version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{Version: version(), Speaks: node.Speaks()}
			return a.print(&v, func(w io.Writer) {
				fmt.Fprintf(w, "entente %s\nspeaks  %s\n", v.Version, strings.Join(v.Speaks, "\n        "))
			})
		},
	}
}
