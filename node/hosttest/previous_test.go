package hosttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// previousRef is the commit of the release before this one.
const previousRef = "dc07fc1"

// buildAt builds the command as it was at a commit. Where the history is not there, as in a copy of the
// sources, the test is skipped.
func buildAt(t *testing.T, ref string) string {
	t.Helper()
	if path := os.Getenv("ENTENTE_PREVIOUS_BINARY"); path != "" {
		return path
	}
	bin := filepath.Join(filepath.Dir(binary), "entente-"+ref) // once for all tests
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	dir := t.TempDir()
	var archive bytes.Buffer
	cmd := exec.Command("git", "archive", ref)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stdout = &archive
	if err := cmd.Run(); err != nil {
		summary("NOT RUN %s: commit %s is not in the history", t.Name(), ref)
		t.Skipf("commit %s is not there: %v", ref, err)
	}
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = &archive
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking: %v: %s", err, out)
	}
	build := exec.Command("go", "build", "-o", bin, "./cmd/entente")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v: %s", ref, err, out)
	}
	return bin
}

// end stops the node as its operator does.
func (h *host) end() {
	h.t.Helper()
	if h.proc == nil {
		return
	}
	_ = syscall.Kill(-h.proc.Process.Pid, syscall.SIGTERM)
	if err := h.proc.Wait(); err != nil {
		h.t.Errorf("%s ended: %v", h.name, err)
	}
	h.proc = nil
}

// reads waits until a node finds values.
func (h *host) reads(values ...string) {
	h.t.Helper()
	h.until("reads "+strings.Join(values, ", "), func() bool {
		have := h.values()
		for _, v := range values {
			if !have[v] {
				return false
			}
		}
		return true
	})
}

// loses waits until a node does not find a value any more.
func (h *host) loses(value string) {
	h.t.Helper()
	h.until("does not show "+value, func() bool { return !h.values()[value] })
}

func (h *host) says(text string) {
	h.t.Helper()
	if err := h.publish(text + "\n"); err != nil {
		h.t.Fatal(err)
	}
}

// idOf finds the record of a value.
func (h *host) idOf(value string) string {
	h.t.Helper()
	return between(h.must("search", value, "--json"), `"id": "`, `"`)
}

// TestPreviousRelease: the program of the release before this one and the present one, as processes, exchange
// records, withdrawals and erasures both ways; then the older one is replaced in place: its data is backed up
// and migrated by the present program, and they go on reading each other.
func TestPreviousRelease(t *testing.T) {
	if os.Getenv("ENTENTE_PREVIOUS") == "" {
		summary("NOT RUN %s: ENTENTE_PREVIOUS is not set", t.Name())
		t.Skip("builds the release before this one; ENTENTE_PREVIOUS=1 runs it")
	}
	before := buildAt(t, previousRef)
	older := newHostWith(t, before, "Older Vendor", "vendor")
	present := newHost(t, "Present Police", "police", "127.0.0.1")
	network(t, older, present)
	agree(t, older, present)
	agree(t, present, older)

	exchange := func(n string) {
		t.Helper()
		older.says("old" + n + ".example.net")
		present.says("new" + n + ".example.net")
		older.reads("new" + n + ".example.net")
		present.reads("old" + n + ".example.net")
		older.says("gone" + n + ".example.net")
		present.says("back" + n + ".example.net")
		older.reads("back" + n + ".example.net")
		present.reads("gone" + n + ".example.net")
		older.must("erase", older.idOf("gone"+n+".example.net"), "--reason", "request")
		present.must("withdraw", present.idOf("back"+n+".example.net"), "--reason", "a mistake")
		present.loses("gone" + n + ".example.net")
		older.loses("back" + n + ".example.net")
	}
	exchange("1")
	// What one missed comes by comparison, whoever asks.
	older.end()
	present.says("while-older-slept.example.net")
	older.start()
	older.reads("while-older-slept.example.net")
	present.end()
	older.says("while-present-slept.example.net")
	present.start()
	present.reads("while-present-slept.example.net")

	// Upgraded in place.
	older.end()
	older.bin = binary
	if _, err := older.try("up"); err == nil || !strings.Contains(err.Error(), "entente migrate") {
		t.Fatalf("the present program on the data of the one before: %v", err)
	}
	if _, err := older.try("migrate"); err == nil || !strings.Contains(err.Error(), "entente backup create") {
		t.Fatalf("migrating without a backup: %v", err)
	}
	key, file := filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "backup")
	recipient := strings.Fields(between(older.must("backup", "keygen", "-o", key)+"\n", "recipient ", "\n"))[0]
	older.must("backup", "create", "--recipient", recipient, "-o", file)
	older.must("backup", "verify", file, "--identity", key)
	older.bin = before // nothing of it was touched: the program before still opens it
	older.must("status")
	older.bin = binary
	older.must("migrate")
	older.bin = before
	if _, err := older.try("status"); err == nil {
		t.Error("the program before opens data that was migrated")
	}
	older.bin = binary
	older.start()
	older.until("is connected again", func() bool { return older.status().Connected > 0 })
	if out := older.must("audit", "show", "--kind", "migration"); !strings.Contains(out, "store format 3 to 4") {
		t.Errorf("the account says of the migration: %s", out)
	}
	if out := older.must("handouts"); strings.Count(out, "backup") != 1 {
		t.Errorf("the backup is not among the hand-outs: %s", out)
	}
	exchange("2")
	older.reads("old1.example.net", "new1.example.net", "while-older-slept.example.net")
	for _, h := range []*host{older, present} {
		if s := h.status(); s.Forked != 0 || s.Missing != 0 {
			t.Errorf("%s: %d forked, %d missing", h.name, s.Forked, s.Missing)
		}
		if h.values()["gone1.example.net"] {
			t.Errorf("%s shows what was erased", h.name)
		}
	}
	summary("RAN %s: both ways with %s, then upgraded in place", t.Name(), previousRef)
}

// newHostWith founds an organisation with another program.
func newHostWith(t *testing.T, bin, name, kind string) *host {
	t.Helper()
	was := binary
	binary = bin
	h := newHost(t, name, kind, "127.0.0.1")
	binary = was
	h.bin = bin
	return h
}
