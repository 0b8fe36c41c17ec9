package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// configOrder says which file counts, what is above it, and when.
const configOrder = "A node is configured by one file: what --config or ENTENTE_CONFIG names; else entente.toml in the data\n" +
	"directory; else " + systemConfig + ", for whoever names no other data directory than the one in it\n" +
	"and has no node of their own. The first that is there counts; two are never merged. Flags are above the file,\n" +
	"and variables ENTENTE_SECTION_KEY above both. A change takes effect at the next start of the node; rules and\n" +
	"the people of rules by 'entente rules load' at once."

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check and show the configuration, entente.toml",
		Long:    configOrder,
		Example: "  entente config check",
	}
	cmd.AddCommand(a.configCheckCommand(), a.configShowCommand(), a.configKeysCommand())
	return cmd
}

// checkReport is what 'config check --json' prints.
type checkReport struct {
	File     string          `json:"file"`
	Keys     int             `json:"keys"` // that the file sets
	Problems []configProblem `json:"problems"`
}

func (a *app) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Check the configuration: line, reason, and what to write instead; exit status 1 if anything is wrong",
		Long: "Checks the file with what the environment says on top of it, as 'entente up' would, and tells all that is wrong at\n" +
			"once; only a mistake in the syntax hides what comes after it. Files are looked at with the rights of who asks.",
		Example: "  entente config check /etc/entente/entente.toml", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.config = args[0]
			}
			up, _, _ := cmd.Root().Find([]string{"up"})
			file, _, problems, err := a.configuration(bindKeys(up), a.surroundings())
			if err != nil {
				return err
			}
			report := checkReport{Problems: problems}
			if report.Problems == nil {
				report.Problems = []configProblem{}
			}
			if file != nil {
				report.File, report.Keys = file.path, len(file.entries)
			}
			err = a.print(report, func(w io.Writer) {
				for i := range problems {
					fmt.Fprintln(w, printable(problems[i].String()))
				}
				switch {
				case len(problems) > 0:
				case file == nil:
					fmt.Fprintln(w, "there is no configuration file; defaults hold ('entente config show')")
				default:
					fmt.Fprintf(w, "%s: %s, no problems\n", report.File, count(report.Keys, "key"))
				}
			})
			if err == nil && len(problems) > 0 {
				err = fmt.Errorf("the configuration has %s", count(len(problems), "problem"))
			}
			return err
		},
	}
}

// shownSetting is what 'config show --json' prints of a key.
type shownSetting struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	From   string   `json:"from"`
}

func (a *app) configShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Show what holds for each key, and who says so", Args: cobra.NoArgs,
		Long:    "Takes the flags of 'entente up' as well, and shows what would hold with them.",
		Example: "  entente config show\n  entente config show --metrics 127.0.0.1:9464",
	}
	up := a.upCommand()
	cmd.Flags().AddFlagSet(up.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		keys := bindKeys(cmd)
		file, s, problems, err := a.configuration(keys, a.surroundings())
		if err != nil {
			return err
		}
		if len(problems) > 0 {
			return configError(problems)
		}
		var list []shownSetting
		for i := range keys {
			v := s.of(keys[i].name)
			list = append(list, shownSetting{keys[i].name, shown(&keys[i], v.values), v.from})
		}
		return a.print(list, func(w io.Writer) {
			if file == nil {
				fmt.Fprintln(w, "file  none")
			} else {
				fmt.Fprintf(w, "file  %s\n", printable(file.path))
			}
			rows := [][]string{{"KEY", "VALUE", "FROM"}}
			for i, v := range list {
				rows = append(rows, []string{v.Key, asTOML(&keys[i], v.Values), v.From})
			}
			table(w, rows...)
		})
	}
	return cmd
}

// shown leaves out what is secret.
func shown(k *boundKey, values []string) []string {
	out := []string{}
	for _, v := range values {
		if u, err := url.Parse(v); k.secret && v != "" {
			v = "(not shown)"
		} else if err == nil && u.User != nil {
			v = u.Redacted()
		}
		out = append(out, v)
	}
	return out
}

func (a *app) configKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keys", Short: "Print entente.toml with every key, its meaning and its default", Example: "  entente config keys > entente.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			up, _, _ := cmd.Root().Find([]string{"up"})
			keys := bindKeys(up)
			var list []describedKey
			for i := range keys {
				k := &keys[i]
				list = append(list, describedKey{Key: k.name, Type: k.kind(), Default: k.defaults(), Flag: k.flag, Variable: k.variable(), Text: k.text()})
			}
			return a.print(list, func(w io.Writer) { fmt.Fprint(w, configText(keys, nil)) })
		},
	}
}

// describedKey is what 'config keys --json' prints of a key.
type describedKey struct {
	Key      string   `json:"key"`
	Type     string   `json:"type"`
	Default  []string `json:"default"`
	Flag     string   `json:"flag,omitempty"`
	Variable string   `json:"variable"`
	Text     string   `json:"text"`
}

// configText is a whole entente.toml: every key with its meaning; those of chosen with their
// values, all others commented out with their defaults.
func configText(keys []boundKey, chosen map[string][]string) string {
	var b strings.Builder
	b.WriteString(`# Configuration of a node of Entente. 'entente config check' says what is wrong in it,
# 'entente config show' what holds and who says so. What is commented out is the default.
# Flags of 'entente up' are above this file, and the variables named here above both.
# Everything takes effect at the next start of the node. No secret belongs in here: the file may be read by all.
`)
	section := ""
	for i := range keys {
		k := &keys[i]
		if k.section() != section {
			section = k.section()
			fmt.Fprintf(&b, "\n[%s]\n", section)
		} else {
			b.WriteByte('\n')
		}
		for line := range strings.SplitSeq(k.text(), "\n") {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		says := k.variable()
		if k.flag != "" {
			says = "--" + k.flag + ", " + says
		}
		fmt.Fprintf(&b, "# (%s)\n", says)
		if v, ok := chosen[k.name]; ok {
			fmt.Fprintf(&b, "%s = %s\n", k.short(), asTOML(k, v))
		} else {
			fmt.Fprintf(&b, "#%s = %s\n", k.short(), asTOML(k, k.defaults()))
		}
	}
	return b.String()
}

// asTOML writes values as they stand in the file.
func asTOML(k *boundKey, values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		if quoted[i] = v; k.kind() != typeBool && k.kind() != typeInt {
			quoted[i] = tomlString(v)
		}
	}
	switch {
	case k.kind() == typeList:
		return "[" + strings.Join(quoted, ", ") + "]"
	case len(quoted) == 0:
		return `""`
	}
	return quoted[len(quoted)-1]
}

// tomlString writes a basic string of TOML.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}
