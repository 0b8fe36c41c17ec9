package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
)

// everyPage is the path of each document of the repository.
func everyPage(t *testing.T) (list []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d pages (%v)", pattern, len(found), err)
		}
		list = append(list, found...)
	}
	return list
}

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	aLink      = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// prose is a page without its blocks of code, indented or fenced. A block follows an empty line and is indented by
// more than the list that it may stand in; what is indented otherwise goes on with the text before it.
func prose(text string) (lines []string) {
	fenced, code, empty := false, false, true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch indented := strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t"); {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced:
		case line == "":
			empty = true
			continue
		case indented && (code || empty):
			code = true
		default:
			code = false
			lines = append(lines, line)
		}
		empty = false
	}
	return lines
}

// anchors are the fragments that the headings of a page get where pages are shown: lower case, of letters, digits, "-"
// and "_", with "-" for a space and a number behind what was there before.
func anchors(text string) (list []string) {
	seen := map[string]int{}
	for _, line := range prose(text) {
		level := len(line) - len(strings.TrimLeft(line, "#"))
		if level == 0 || level > 6 || !strings.HasPrefix(line[level:], " ") {
			continue
		}
		heading := linkText.ReplaceAllString(strings.TrimSpace(line[level:]), "$1")
		id := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, heading)
		if n := seen[id]; n > 0 {
			list = append(list, id+"-"+string(rune('0'+n)))
		} else {
			list = append(list, id)
		}
		seen[id]++
	}
	return list
}

// deadLinks are the links of a page, by its path, that lead nowhere in the repository, each with the reason, and
// how many were followed.
func deadLinks(page, text string) (dead []string, followed int) {
	for _, m := range aLink.FindAllStringSubmatch(inlineCode.ReplaceAllString(strings.Join(prose(text), "\n"), ""), -1) {
		if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
			continue
		}
		followed++
		file, fragment, has := strings.Cut(m[1], "#")
		target, there := page, text
		if file != "" {
			target = filepath.Join(filepath.Dir(page), file)
			info, err := os.Stat(target)
			if err != nil {
				dead = append(dead, m[1]+": there is no such file")
				continue
			}
			if has && !info.IsDir() {
				b, err := os.ReadFile(target)
				if err != nil {
					dead = append(dead, m[1]+": "+err.Error())
					continue
				}
				there = string(b)
			}
		}
		if has && !slices.Contains(anchors(there), fragment) {
			dead = append(dead, m[1]+": "+filepath.Base(target)+" has no such heading")
		}
	}
	return dead, followed
}

// TestLinksOfPagesLead: every relative link leads to a file of the repository, and to a heading where it names one.
func TestLinksOfPagesLead(t *testing.T) {
	followed := 0
	for _, page := range everyPage(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		dead, n := deadLinks(page, string(text))
		followed += n
		for _, d := range dead {
			t.Errorf("%s: %s", page, d)
		}
	}
	if followed < 60 {
		t.Errorf("only %d links were found", followed)
	}
}

func TestDeadLinksAreFound(t *testing.T) {
	const page = "# A page\n\n## Is `it` so?\n\n## Is it so?\n\n"
	for _, tt := range []struct {
		text string
		dead int
	}{
		{"[a](#a-page) [b](#is-it-so) [c](#is-it-so-1)", 0},
		{"[a](#is-it-so-2)", 1},
		{"[a](../README.md) [a](../README.md#verbs) [b](https://example.org/absent)", 0},
		{"[a](absent.md)", 1},
		{"[a](../README.md#absent)", 1},
		{"`[a](absent.md)`", 0},
		{"\n    [a](absent.md) in a block\n", 0},
		{"* a list\n    [a](absent.md)", 1},
		{"```\n[a](absent.md)\n# not-a-heading\n```\n[b](#not-a-heading)", 1},
	} {
		if dead, _ := deadLinks("../../docs/x.md", page+tt.text); len(dead) != tt.dead {
			t.Errorf("%q: dead are %q", tt.text, dead)
		}
	}
}

// TestEveryPageIsLinked: whoever begins at README.md or docs/README.md comes to each page of docs.
func TestEveryPageIsLinked(t *testing.T) {
	index := ""
	for _, name := range []string{"../../README.md", "../../docs/README.md"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		index += string(b)
	}
	for _, page := range everyPage(t) {
		name := filepath.Base(page)
		if filepath.Base(filepath.Dir(page)) == "docs" && name != "README.md" && !strings.Contains(index, name+")") {
			t.Errorf("neither README.md nor docs/README.md links %s", name)
		}
	}
}

// mentioned are the verbs that a page names: commands as pages show them, and what stands between backticks without
// "entente" in a list of verbs, as `node list` in docs/README.md; what follows there may leave out the first word.
func mentioned(text string) map[string]bool {
	verbs := map[string]bool{}
	walk := func(cmd *cobra.Command, words []string) *cobra.Command {
		for len(words) > 0 {
			i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == words[0] })
			if i < 0 {
				break
			}
			cmd, words = cmd.Commands()[i], words[1:]
			if cmd.Runnable() {
				verbs[cmd.CommandPath()] = true
			}
		}
		return cmd
	}
	root := newRoot()
	for _, line := range shownCommands(text) {
		words := spaced(line)[1:]
		for len(words) > 2 && (words[0] == "--dir" || words[0] == "--socket") {
			words = words[2:]
		}
		walk(root, words)
	}
	for line := range strings.Lines(text) {
		family := root
		for _, m := range inlineCode.FindAllString(line, -1) {
			for _, part := range strings.Split(strings.Trim(m, "`"), "|") {
				words := strings.Fields(strings.TrimPrefix(part, "entente "))
				if family != root && !strings.HasPrefix(part, "entente ") && walk(family, words) != family {
					continue
				}
				if family = walk(root, words); family != root && !family.HasSubCommands() {
					family = family.Parent()
				}
			}
		}
	}
	return verbs
}

// TestEveryVerbIsOnAPage: whatever the command can do, some page says when one wants it.
func TestEveryVerbIsOnAPage(t *testing.T) {
	verbs := map[string]bool{}
	for _, page := range documents(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for verb := range mentioned(string(text)) {
			verbs[verb] = true
		}
	}
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			if sub.Runnable() {
				seen++
				if !verbs[sub.CommandPath()] {
					t.Errorf("no page names '%s'", sub.CommandPath())
				}
			}
			walk(sub)
		}
	}
	walk(newRoot())
	if seen < 100 {
		t.Errorf("saw only %d verbs", seen)
	}
}

func TestVerbsOfAPage(t *testing.T) {
	verbs := mentioned("| x | `hold add --value V`, `list`, `show` |\n\n    you$ entente --dir d people me ; entente origin verify FILE\n\nthe `key rotate op|root` of `nothing`; `release`\n")
	for verb, want := range map[string]bool{
		"entente hold add": true, "entente hold list": true, "entente hold show": true, "entente hold release": false,
		"entente people me": true, "entente origin verify": true, "entente origin prove": false, "entente key rotate op": true, "entente key rotate root": true, "entente show": false,
	} {
		if verbs[verb] != want {
			t.Errorf("%s: got %t, want %t", verb, verbs[verb], want)
		}
	}
}
