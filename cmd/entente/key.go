package main

import "github.com/spf13/cobra"

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "Look at the keys of this node, and replace them",
		Example: "  entente key list",
	}
	rotate := &cobra.Command{
		Use: "rotate", Short: "Replace a key by another",
		Example: "  entente key rotate age",
	}
	rotate.AddCommand(a.keyRotateAgeCommand())
	cmd.AddCommand(rotate, a.keyListCommand(), a.keyHSMCommand())
	return cmd
}
