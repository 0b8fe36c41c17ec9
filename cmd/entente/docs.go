package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// docsCommand writes what a package brings along. It is hidden: who runs a node has it already.
func docsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "docs", Short: "Write the documentation that is made from the command tree", Hidden: true,
	}
	cmd.AddCommand(&cobra.Command{
		Use: "man DIR", Short: "Write a manual page for each verb into a directory",
		Long:    "The pages depend on the program only: not on the day, the account, or the environment.",
		Example: "  entente docs man dist/man", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return writeManual(cmd.Root(), args[0]) },
	})
	return cmd
}

// neutral says what a page shows as the default of a flag whose default is this account's or this environment's.
var neutral = map[string]string{"dir": "~/.entente", "as": "", "for": "", "config": "", "socket": ""}

func writeManual(root *cobra.Command, dir string) error {
	for name, value := range neutral {
		root.PersistentFlags().Lookup(name).DefValue = value
	}
	root.InitDefaultCompletionCmd()
	return writePages(root, dir)
}

func writePages(cmd *cobra.Command, dir string) error {
	// cobra writes a month into each page, the present one unless told: it would make no two builds equal.
	never := time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Section: "1", Date: &never, Source: "Entente " + version(), Manual: "Entente"}
	cmd.DisableAutoGenTag = true
	var page bytes.Buffer
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return fmt.Errorf("writing the page of %q: %w", cmd.CommandPath(), err)
	}
	dated := never.Format("Jan 2006")
	if !bytes.Contains(page.Bytes(), []byte(dated)) {
		return fmt.Errorf("the page of %q has no date to take out", cmd.CommandPath())
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
	if err := os.WriteFile(filepath.Join(dir, name), bytes.Replace(page.Bytes(), []byte(dated), nil, 1), 0o644); err != nil {
		return err
	}
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
			continue
		}
		if err := writePages(sub, dir); err != nil {
			return err
		}
	}
	return nil
}
