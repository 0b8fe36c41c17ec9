package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestManualOfEveryVerb: each verb that is shown has a page with its example, and the pages are the same
// whoever writes them, where, and when.
func TestManualOfEveryVerb(t *testing.T) {
	write := func(home, epoch string) map[string][]byte {
		t.Setenv("HOME", home)
		t.Setenv("ENTENTE_DIR", home+"/data")
		t.Setenv("ENTENTE_PERSON", "somebody"+epoch)
		t.Setenv("ENTENTE_PURPOSE", "something"+epoch)
		t.Setenv("SOURCE_DATE_EPOCH", epoch)
		dir := t.TempDir()
		root := newRoot()
		root.SetArgs([]string{"docs", "man", dir})
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		pages := map[string][]byte{}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			pages[e.Name()] = b
		}
		return pages
	}
	one, two := write("/home/one", "1"), write("/home/two", "2000000000")
	if len(one) != len(two) {
		t.Errorf("%d pages, and then %d", len(one), len(two))
	}
	for name, page := range one {
		if !bytes.Equal(page, two[name]) {
			t.Errorf("%s depends on the account or the day", name)
		}
		section := name[len(name)-1:]
		if !strings.HasPrefix(string(page), ".nh\n.TH \"ENTENTE") || !bytes.Contains(page, []byte("\""+section+"\" \"\" \"Entente ")) {
			t.Errorf("%s begins with %.80q", name, page)
		}
	}
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			seen++
			page, ok := one[strings.ReplaceAll(sub.CommandPath(), " ", "-")+".1"]
			if !ok {
				t.Errorf("%s has no page", sub.CommandPath())
			} else if sub.Runnable() && !bytes.Contains(page, []byte(".SH EXAMPLE")) {
				t.Errorf("the page of %s shows no example", sub.CommandPath())
			}
			walk(sub)
		}
	}
	walk(newRoot())
	if seen < 30 {
		t.Errorf("saw only %d verbs", seen)
	}
	if _, ok := one["entente-docs.1"]; ok {
		t.Error("a hidden verb has a page")
	}
}

// TestManualOfConfiguration: entente.toml(5) has every key with its meaning, flag and variable, and nothing of the account
// that wrote it.
func TestManualOfConfiguration(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	dir := t.TempDir()
	root := newRoot()
	root.SetArgs([]string{"docs", "man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "entente.toml.5"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	if strings.Contains(page, "/home/somebody") || !strings.Contains(page, "~/.entente") {
		t.Errorf("the page has not the neutral data directory:\n%s", page)
	}
	up, _, _ := newRoot().Find([]string{"up"})
	for _, k := range bindKeys(up) {
		first, _, _ := strings.Cut(k.text(), "\n")
		for _, want := range []string{"\n\\fB" + k.short() + "\\fP = ", roff(first), k.variable()} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: %q is missing", k.name, want)
			}
		}
		if k.flag != "" && !strings.Contains(page, roff("--"+k.flag)) {
			t.Errorf("%s: its flag is missing", k.name)
		}
		if !strings.Contains(page, ".SH ["+strings.ToUpper(k.section())+"]\n") {
			t.Errorf("%s: its section is missing", k.name)
		}
	}
}

func TestRoff(t *testing.T) {
	for line, want := range map[string]string{
		"plain": "plain", "--dir": `\-\-dir`, ".TH": `\&.TH`, "'up'": `\&'up'`, `C:\x`: `C:\ex`, "a.b": "a.b",
	} {
		if got := roff(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// TestManualRenders gives all pages to mandoc or groff, whichever is there, which complain of what they do not understand.
func TestManualRenders(t *testing.T) {
	dir := t.TempDir()
	root := newRoot()
	root.SetArgs([]string{"docs", "man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Glob(filepath.Join(dir, "*.[15]"))
	if err != nil || len(list) < 100 {
		t.Fatalf("%d pages (%v)", len(list), err)
	}
	// What is less than an error are matters of style of the library that makes the pages, as tabs and empty lines.
	args := append([]string{"mandoc", "-Tlint", "-Werror"}, list...)
	if _, err := exec.LookPath("mandoc"); err != nil {
		if _, err := exec.LookPath("groff"); err != nil {
			t.Skip("neither mandoc nor groff is here")
		}
		args = append([]string{"groff", "-k", "-man", "-ww", "-Tutf8", "-z"}, list...)
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v\n%s", args[0], err, out)
	}
}

// TestManualSaysWhereItFails: a directory that is not there is named.
func TestManualSaysWhereItFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	root := newRoot()
	root.SetArgs([]string{"docs", "man", dir})
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}
