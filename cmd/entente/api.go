package main

import (
	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node/api"
)

func (a *app) apiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Describe the local API, which other programs may speak as well",
		Long:  "A running node answers HTTP on the socket api.sock in its data directory. For Go there is package client.",
	}
	cmd.AddCommand(&cobra.Command{
		Use: "openapi", Short: "Print the description of the local API as OpenAPI 3.1, in JSON",
		Long:    "The description is part of this program: no node is needed. A running node hands it out at /v1/openapi.json.",
		Example: "  entente api openapi > entente.openapi.json\n  curl --unix-socket ~/.entente/api.sock http://node/v1/openapi.json", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			doc, err := api.OpenAPI()
			if err != nil {
				return err
			}
			_, err = a.out.Write(doc)
			return err
		},
	})
	return cmd
}
