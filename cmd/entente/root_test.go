package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryVerbHasHelp: each command says in a line what it does and shows an example.
func TestEveryVerbHasHelp(t *testing.T) {
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			seen++
			if sub.Short == "" {
				t.Errorf("%s has no description", sub.CommandPath())
			}
			if sub.Runnable() && sub.Example == "" {
				t.Errorf("%s has no example", sub.CommandPath())
			}
			if sub.InheritedFlags().Lookup("json") == nil {
				t.Errorf("%s has no --json", sub.CommandPath())
			}
			walk(sub)
		}
	}
	walk(newRoot())
	if seen < 30 {
		t.Errorf("saw only %d commands", seen)
	}
}
