package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
)

// app is what all verbs share.
type app struct {
	dir     string
	json    bool
	as      string
	purpose string
	out     io.Writer
	err     io.Writer
	in      io.Reader
}

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "entente",
		Short: "Exchange threat intelligence with those, and only those, whom an agreement authorises",
		Long: "Entente runs your organisation's node of a federated exchange. Records are sealed for the\n" +
			"organisations that a countersigned agreement authorises, and gossiped through everybody else.\n\n" +
			"See it work:          entente demo\n" +
			"Found your own:       entente init --name ... --kind ... --country ...\n" +
			"Run the node:         entente up",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			a.out, a.err, a.in = cmd.OutOrStdout(), cmd.ErrOrStderr(), cmd.InOrStdin()
		},
	}
	root.PersistentFlags().StringVar(&a.dir, "dir", defaultDir(), "data directory (or set ENTENTE_DIR)")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.PersistentFlags().StringVar(&a.as, "as", os.Getenv("ENTENTE_PERSON"), "who does this: somebody of the people file, if there is one, and a name for the audit log (or set ENTENTE_PERSON)")
	root.PersistentFlags().StringVar(&a.purpose, "for", os.Getenv("ENTENTE_PURPOSE"), "for what, for the audit log (or set ENTENTE_PURPOSE)")
	_ = root.MarkPersistentFlagDirname("dir")
	root.AddCommand(
		a.initCommand(), a.idCommand(), a.verifyCommand(), a.nodeCommand(), a.networkCommand(),
		a.trustCommand(), a.untrustCommand(), a.peersCommand(), a.agreementCommand(),
		a.upCommand(), a.statusCommand(), a.topicCommand(), a.rulesCommand(),
		a.publishCommand(), a.validateCommand(), a.searchCommand(), a.showCommand(), a.explainCommand(), a.watchCommand(), a.exportCommand(),
		a.withdrawCommand(), a.eraseCommand(), a.aboutCommand(), a.holdCommand(), a.handoutsCommand(), a.releaseCommand(), a.excludeCommand(), a.mandateCommand(), a.sourceCommand(), a.originCommand(), a.requestCommand(), a.matchCommand(), a.viewCommand(), a.consumerCommand(), a.mispCommand(), a.warninglistCommand(), a.apiCommand(), a.feedsCommand(), a.quarantineCommand(), a.carryCommand(), a.backupCommand(), a.auditCommand(), a.postgresCommand(), a.sinkCommand(), a.demoCommand(), a.benchCommand(), simulateCommand(), docsCommand(),
	)
	return root
}

// buildVersion is set by the linker for a release: -X main.buildVersion=1.2.3.
var buildVersion string

func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// caller is on whose behalf the command acts: whom it names, or the account that it runs under.
func (a *app) caller() node.Caller {
	c := node.Caller{Person: a.as, Purpose: a.purpose}
	if c.Person == "" {
		if u, err := user.Current(); err == nil {
			c.Person = u.Username
		}
	}
	return c
}

func defaultDir() string {
	if d := os.Getenv("ENTENTE_DIR"); d != "" {
		return d
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".entente"
	}
	return filepath.Join(home, ".entente")
}

// print writes v as JSON where --json was given, and otherwise what text writes.
func (a *app) print(v any, text func(w io.Writer)) error {
	if a.json {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	text(a.out)
	return nil
}

// table writes rows in columns.
func table(w io.Writer, rows ...[]string) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	t.Flush()
}

// printable keeps text of other organisations from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' || r == '\u202d' || r == '\u2066' || r == '\u2067' {
			return '?'
		}
		return r
	}, s)
}
