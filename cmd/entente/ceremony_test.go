package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCeremonyWantsNoNetwork: loopback and what is down do not count.
func TestCeremonyWantsNoNetwork(t *testing.T) {
	lo := net.Interface{Name: "lo", Flags: net.FlagUp | net.FlagLoopback}
	down := net.Interface{Name: "wlan0"}
	eth := net.Interface{Name: "eth0", Flags: net.FlagUp | net.FlagBroadcast}
	for _, test := range []struct {
		list      []net.Interface
		ok        bool
		want, say string
	}{
		{nil, false, "", ""},
		{[]net.Interface{lo, down}, false, "", ""},
		{[]net.Interface{lo, eth, down}, false, "eth0 is up", ""},
		{[]net.Interface{lo, eth}, true, "", "rehearsal only"},
	} {
		var b bytes.Buffer
		err := refuseNetwork(networksUp(test.list), test.ok, &b)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.list, err, test.want)
		}
		if !strings.Contains(b.String(), test.say) {
			t.Errorf("%v: says %q, want %q", test.list, b.String(), test.say)
		}
	}
}

// TestPlanOfShares: what cannot be is refused before a key is made.
func TestPlanOfShares(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, "root-set-0-share-1.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(threshold, count int, dirs ...string) *shareSet {
		return &shareSet{threshold: threshold, count: count, dirs: dirs}
	}
	same := func(s *shareSet) *shareSet { s.sameMedium = true; return s }
	for _, test := range []struct {
		name       string
		root, next *shareSet
		want       string // empty: it can be
	}{
		{"asked for one after the other", set(2, 3), set(2, 3), ""},
		{"the threshold goes for both", set(2, 3), set(0, 2), ""},
		{"one medium, a rehearsal", same(set(1, 0, a, b)), set(1, 0, a), ""},
		{"one medium", set(1, 0, a), set(1, 0, a), "on one medium"},
		{"no threshold", set(0, 3), set(1, 3), "0 of 3 shares"},
		{"more than there are", set(4, 3), set(1, 3), "4 of 3 shares"},
		{"the next set too small for it", set(3, 3), set(0, 2), "3 of 2 shares"},
		{"too many", set(1, 9), set(1, 3), "9 shares"},
		{"no shares", set(1, 0), set(1, 3), "give a --share"},
		{"two numbers", set(1, 3, a), set(1, 3), "--shares says 3, and there are 1"},
		{"no such directory", set(1, 0, filepath.Join(a, "none")), set(1, 3), "none"},
		{"no directory", set(1, 0, file), set(1, 3), "is no directory"},
		{"a medium with a share", set(1, 0, taken), set(1, 3), "holds a share already"},
	} {
		err := plan(test.root, test.next)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if err := plan(nil, set(1, 2)); err != nil {
		t.Errorf("a following set alone: %v", err)
	}
}

// TestNothingIsOverwritten: a share that is there already stays.
func TestNothingIsOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "share")
	if err := writeNew(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, []byte("second")); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("writing over a share: %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "first" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read a share: %v, %v", info.Mode(), err)
	}
}
