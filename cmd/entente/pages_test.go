package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documents are the pages that show commands.
func documents(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(list) < 4 {
		t.Fatalf("docs holds %d pages (%v)", len(list), err)
	}
	more, _ := filepath.Glob("../../examples/*/README.md")
	return append(append(list, more...), "../../README.md", "../../SECURITY.md", "../../CONTRIBUTING.md")
}

// spaced splits a line of a page as a shell would, as far as pages need it: quotes, and what comes after
// " #" or an operator is left out.
func spaced(line string) (words []string) {
	word, quote, in := "", rune(0), false
	for _, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word += string(r)
			}
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in || word != "" {
				words = append(words, word)
			}
			word, in = "", false
		default:
			word += string(r)
		}
	}
	if in || word != "" {
		words = append(words, word)
	}
	for i, w := range words {
		if strings.HasPrefix(w, "#") || slices.Contains([]string{"|", "&&", "||", ">", ">>", "<", ";", "&"}, w) || strings.HasPrefix(w, "&&") {
			return words[:i]
		}
	}
	return words
}

// prompt says at whose machine a line is typed.
var prompt = regexp.MustCompile(`^[a-z]+\$ `)

var inBackticks = regexp.MustCompile("`(?:sudo )?(entente [^`]+)`")

// shownCommands are the commands of a page: lines of its blocks, and what stands between backticks.
func shownCommands(text string) (lines []string) {
	joined := strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(joined) {
		if rest, ok := strings.CutPrefix(line, "    "); ok {
			for _, part := range regexp.MustCompile(`&&|;|\|`).Split(rest, -1) {
				part = prompt.ReplaceAllString(strings.TrimSpace(part), "")
				part = strings.TrimPrefix(part, "sudo ")
				part = strings.TrimPrefix(part, "go run ./cmd/")
				if strings.HasPrefix(part, "entente ") {
					lines = append(lines, part)
				}
			}
		}
	}
	for _, m := range inBackticks.FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Join(strings.Fields(m[1]), " "))
	}
	return lines
}

// TestPagesShowCommandsThatExist holds every command that the pages show against the command tree: the
// verb, and each flag.
func TestPagesShowCommandsThatExist(t *testing.T) {
	checked := 0
	for _, page := range documents(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range shownCommands(string(text)) {
			checked++
			if problem := unknownIn(line); problem != "" {
				t.Errorf("%s: %q: %s", page, line, problem)
			}
			if flag := requiredBy(line); flag != "" && strings.Contains(string(text), "    "+line) {
				t.Errorf("%s: %q does not run without --%s", page, line, flag)
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d commands were found in the pages", checked)
	}
	if requiredBy("entente audit register --from 7d") != "output" || requiredBy("entente audit register --from 7d -o x") != "" {
		t.Error("a flag that is required is not missed")
	}
	for _, bad := range []string{"entente serch x", "entente search x --sinse 7d", "entente agreement sing ID", "entente node"} {
		if bad != "entente node" && unknownIn(bad) == "" {
			t.Errorf("%q passes", bad)
		}
	}
}

// requiredBy is a flag that a command does not run without, and that the line lacks.
func requiredBy(line string) (missing string) {
	if strings.Contains(line, "...") && !strings.Contains(line, "rec:...") || strings.Contains(line, "…") {
		return "" // something was left out
	}
	cmd, rest, err := newRoot().Find(spaced(line)[1:])
	if err != nil {
		return ""
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, required := f.Annotations[cobra.BashCompOneRequiredFlag]; !required {
			return
		}
		if !slices.ContainsFunc(rest, func(w string) bool {
			return w == "-"+f.Shorthand || w == "--"+f.Name || strings.HasPrefix(w, "--"+f.Name+"=")
		}) {
			missing = f.Name
		}
	})
	return missing
}

func unknownIn(line string) string {
	words := spaced(line)[1:]
	if len(words) == 0 || strings.ContainsAny(words[0], "…|[") {
		return ""
	}
	if words[0] == "completion" || words[0] == "help" || strings.HasPrefix(words[0], "-") {
		return ""
	}
	cmd := newRoot()
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == words[0] || c.HasAlias(words[0]) })
		if i < 0 {
			if cmd.HasSubCommands() && !cmd.Runnable() && words[0] == strings.ToLower(words[0]) && !strings.ContainsAny(words[0], "`…") {
				return "there is no verb " + words[0]
			}
			break
		}
		cmd, words = cmd.Commands()[i], words[1:]
	}
	for _, w := range words {
		name, _, _ := strings.Cut(w, "=")
		switch {
		case strings.HasPrefix(name, "--") && len(name) > 2:
			name = strings.TrimRight(name[2:], ",.;:)")
			if either, _, ok := strings.Cut(name, "|"); ok {
				name = either
			}
			if cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil && name != "help" {
				return cmd.CommandPath() + " has no flag --" + name
			}
		case len(name) == 2 && name[0] == '-' && name[1] >= 'a' && name[1] <= 'z':
			if cmd.Flags().ShorthandLookup(name[1:]) == nil && cmd.InheritedFlags().ShorthandLookup(name[1:]) == nil && name != "-h" {
				return cmd.CommandPath() + " has no flag " + name
			}
		}
	}
	return ""
}
