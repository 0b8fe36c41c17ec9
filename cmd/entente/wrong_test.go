package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var wrongSection = regexp.MustCompile(`(?s)<!-- (wrong-[a-z]+) -->(.*?)(?:\n## |$)`)

// TestWhenThingsGoWrongIsRun holds the page that is read at night against the scripts: every command of a section is
// in the section's script, in the order of the page.
func TestWhenThingsGoWrongIsRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/when-things-go-wrong.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := wrongSection.FindAllStringSubmatch(string(page), -1)
	if scripts := wrongScripts(t); len(sections) != scripts {
		t.Errorf("the page has %d sections with a script, and there are %d scripts", len(sections), scripts)
	}
	for _, section := range sections {
		script, err := os.ReadFile("testdata/script/" + section[1] + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		if missing := notRun(section[2], string(script)); missing != "" {
			t.Errorf("%s: %q is not run there, or not at its place", section[1], missing)
		}
	}
	script := "exec entente --dir v node list\nexec entente --dir v key list\n"
	if notRun("\n    entente key list\n    entente node list\n", script) == "" || notRun("\n    entente key rotate age\n", script) == "" ||
		notRun("\n    entente node list    # all\n    entente key list\n", script) != "" {
		t.Error("what is not run is not found, or what is run is not")
	}
}

func wrongScripts(t *testing.T) (count int) {
	t.Helper()
	files, err := os.ReadDir("testdata/script")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "wrong-") {
			count++
		}
	}
	return count
}

// notRun returns the first command of a section that its script does not run after those before it.
func notRun(section, script string) string {
	var ran [][]string
	for line := range strings.Lines(script) {
		if i := strings.Index(line, "entente "); i >= 0 && strings.Contains(line, "exec ") {
			ran = append(ran, commandWords(strings.TrimSpace(line[i:])))
		}
	}
	for line := range strings.Lines(section) {
		command, ok := strings.CutPrefix(line, "    ")
		if !ok || !strings.HasPrefix(command, "entente ") {
			continue
		}
		want, at := commandWords(strings.TrimSpace(command)), -1
		for i := range ran {
			if sameCommand(want, ran[i]) {
				at = i
				break
			}
		}
		if at < 0 {
			return strings.TrimSpace(command)
		}
		ran = ran[at+1:]
	}
	return ""
}

// rehearsed are flags that a script needs and a page does not show, and whether they take a value.
var rehearsed = map[string]bool{"--dir": true, "--listen": true, "--network-ok": false, "--same-medium": false, "--no-passphrase": false}

func commandWords(line string) (words []string) {
	all := spaced(line)
	for i := 0; i < len(all); i++ {
		if value, ok := rehearsed[all[i]]; ok {
			if value {
				i++
			}
			continue
		}
		words = append(words, all[i])
	}
	return words
}

// sameCommand compares word by word; what a page writes in capitals stands for anything.
func sameCommand(page, script []string) bool {
	if len(page) != len(script) {
		// A command of a script may run in the background: "&name&".
		if len(script) != len(page)+1 || !strings.HasPrefix(script[len(page)], "&") {
			return false
		}
	}
	for i, w := range page {
		if w != script[i] && (w != strings.ToUpper(w) || strings.ToLower(w) == w) {
			return false
		}
	}
	return true
}
