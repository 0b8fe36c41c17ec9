package main

import (
	"bytes"
	"os"
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
		if !strings.HasPrefix(string(page), ".nh\n.TH \"ENTENTE") || !bytes.Contains(page, []byte("\"1\" \"\" \"Entente ")) {
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

// TestManualSaysWhereItFails: a directory that is not there is named.
func TestManualSaysWhereItFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	root := newRoot()
	root.SetArgs([]string{"docs", "man", dir})
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}
