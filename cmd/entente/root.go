package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/entente-mesh/entente/node"
)

// app is what all verbs share.
type app struct {
	dir     string
	socket  string
	people  string // path of the second socket of 'entente up'
	json    bool
	as      string
	purpose string
	out     io.Writer
	err     io.Writer
	in      io.Reader

	config string // --config
}

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "entente",
		Short: "Exchange threat intelligence with those, and only those, whom an agreement authorises",
		Long: "Entente runs your organisation's node of a federated exchange. Records are sealed for the\n" +
			"organisations that a countersigned agreement authorises, and gossiped through everybody else.\n\n" +
			"See it work:          entente demo\n" +
			"Set up your own:      entente setup\n" +
			"Run the node:         entente up",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.out, a.err, a.in = cmd.OutOrStdout(), cmd.ErrOrStderr(), cmd.InOrStdin()
			return a.configure(cmd)
		},
	}
	root.PersistentFlags().StringVar(&a.dir, "dir", homeDir(), "data directory (or set ENTENTE_DIR)")
	root.PersistentFlags().StringVar(&a.config, "config", "", "configuration file (or set ENTENTE_CONFIG; default: entente.toml in the data directory, else "+systemConfig+")")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.PersistentFlags().StringVar(&a.as, "as", os.Getenv("ENTENTE_PERSON"), "who does this: somebody of the people file, if there is one, and a name for the audit log (or set ENTENTE_PERSON)")
	root.PersistentFlags().StringVar(&a.purpose, "for", os.Getenv("ENTENTE_PURPOSE"), "for what, for the audit log (or set ENTENTE_PURPOSE)")
	root.PersistentFlags().StringVar(&a.socket, "socket", os.Getenv("ENTENTE_SOCKET"), "socket of a running node that all its people may open, see 'entente up --people-socket' (default: the one in the data directory; or set ENTENTE_SOCKET)")
	_ = root.MarkPersistentFlagDirname("dir")
	_ = root.MarkPersistentFlagFilename("config", "toml")
	root.AddCommand(
		a.initCommand(), a.ceremonyCommand(), a.keyCommand(), a.idCommand(), a.verifyCommand(), a.nodeCommand(), a.networkCommand(),
		a.trustCommand(), a.untrustCommand(), a.peersCommand(), a.agreementCommand(),
		a.setupCommand(), a.configCommand(), a.versionCommand(),
		a.upCommand(), a.relayCommand(), a.statusCommand(), a.doctorCommand(), a.topicCommand(), a.rulesCommand(),
		a.publishCommand(), a.validateCommand(), a.searchCommand(), a.showCommand(), a.explainCommand(), a.watchCommand(), a.exportCommand(),
		a.withdrawCommand(), a.eraseCommand(), a.aboutCommand(), a.holdCommand(), a.handoutsCommand(), a.releaseCommand(), a.excludeCommand(), a.mandateCommand(), a.sourceCommand(), a.originCommand(), a.requestCommand(), a.matchCommand(), a.viewCommand(), a.consumerCommand(), a.mispCommand(), a.warninglistCommand(), a.apiCommand(), a.feedsCommand(), a.quarantineCommand(), a.carryCommand(), a.backupCommand(), a.auditCommand(), a.postgresCommand(), a.sinkCommand(), a.demoCommand(), a.benchCommand(), simulateCommand(),
		a.migrateCommand(), a.peopleCommand(), a.approveCommand(), docsCommand(),
	)
	return root
}

// caller is on whose behalf the command acts: whom it names, or the account that it runs under.
func (a *app) caller() node.Caller {
	c := node.Caller{Person: a.as, Purpose: a.purpose}
	if u, err := user.Current(); err == nil {
		c.User = u.Username
	}
	if c.Person == "" {
		c.Person = c.User
	}
	return c
}

// homeDir is the data directory where nobody names one.
func homeDir() string {
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
