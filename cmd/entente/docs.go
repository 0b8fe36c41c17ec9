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
		Use: "man DIR", Short: "Write a manual page for each verb, and one of entente.toml, into a directory",
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
	if err := writePages(root, dir); err != nil {
		return err
	}
	up, _, err := root.Find([]string{"up"})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "entente.toml.5"), []byte(configPage(bindKeys(up))), 0o644)
}

// roff escapes text of one line: backslashes, hyphens that are to be copied as they stand, and what roff would take
// for a request at the beginning.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

// configPage is entente.toml(5): what configText says of each key, as a page of man(7).
func configPage(keys []boundKey) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".nh\n.TH \"ENTENTE.TOML\" \"5\" \"\" \"Entente %s\" \"Entente\"\n", version())
	fmt.Fprintf(&b, ".SH NAME\nentente.toml \\- configuration of a node\n.SH DESCRIPTION\n")
	for line := range strings.Lines(configOrder) {
		b.WriteString(roff(line))
	}
	b.WriteString("\nStrings stand in quotation marks, lists in brackets. Paths are absolute. No secret belongs into the file.\n")
	section := ""
	for i := range keys {
		k := &keys[i]
		if k.section() != section {
			section = k.section()
			fmt.Fprintf(&b, ".SH [%s]\n", strings.ToUpper(section))
		}
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fP = %s\n", roff(k.short()), roff(asTOML(k, k.defaults())))
		for line := range strings.SplitSeq(k.text(), "\n") {
			fmt.Fprintln(&b, roff(line))
		}
		b.WriteString(".br\n")
		if k.flag != "" {
			fmt.Fprintf(&b, "Flag %s, variable %s.\n", roff("--"+k.flag), k.variable())
		} else {
			fmt.Fprintf(&b, "Variable %s.\n", k.variable())
		}
	}
	b.WriteString(".SH SEE ALSO\n.BR entente (1),\n.BR entente\\-config\\-check (1),\n.BR entente\\-setup (1),\n.BR entente\\-up (1)\n")
	return b.String()
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
