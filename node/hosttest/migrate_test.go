package hosttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refusal is what the program before says of data that the present one began to migrate.
const refusal = "this program knows 3; upgrade the program"

// formatFile is written when a migration begins; release 0.1 does not.
func formatFile(dir string) string { return filepath.Join(dir, "store", "format") }

// killedAtWork runs a verb and kills it a while after it began to migrate; done says that it had ended before.
func (h *host) killedAtWork(after time.Duration, args ...string) (done bool) {
	h.t.Helper()
	ended := make(chan struct{})
	defer close(ended)
	cmd := h.command(context.Background(), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		for {
			if _, err := os.Stat(formatFile(h.dir)); err == nil {
				break
			}
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
			}
		}
		select {
		case <-ended:
		case <-time.After(after):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}()
	return cmd.Wait() == nil
}

// TestMigrationKilled: a large store of the release before this one is migrated by processes that are killed at random moments, until
// one comes to its end. Nothing is lost. A store that is half-way is refused by the program before, which says why, and finished by the
// present one, by 'migrate' as by 'up'. ENTENTE_MIGRATION says how many records it has, ENTENTE_KILL_SEED which moments.
func TestMigrationKilled(t *testing.T) {
	count := number("ENTENTE_MIGRATION", 0)
	if count == 0 {
		summary("NOT RUN %s: ENTENTE_MIGRATION is not set", t.Name())
		t.Skip("builds the release before this one and a large store with it; ENTENTE_MIGRATION=200000 runs it")
	}
	seed := number("ENTENTE_KILL_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("ENTENTE_KILL_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 9))
	before := buildAt(t, previousRef)
	h := newHostWith(t, before, "Older Vendor", "vendor")
	h.must("network", "create", "test")
	h.start()
	h.must("topic", "join", "c2")
	want := map[string]bool{}
	for len(want) < count {
		var list strings.Builder
		for range min(10_000, count-len(want)) {
			v := fmt.Sprintf("host-%d.example.net", len(want))
			fmt.Fprintln(&list, v)
			want[v] = true
		}
		if err := h.publish(list.String()); err != nil {
			t.Fatal(err)
		}
	}
	h.end()
	h.bin = binary

	// Without a backup it is refused, by each way to ask for it, and nothing is touched.
	for _, args := range [][]string{{"migrate"}, {"up", "--migrate"}, {"up"}} {
		if _, err := h.try(args...); err == nil || !strings.Contains(err.Error(), "entente backup create") {
			t.Fatalf("%v without a backup: %v", args, err)
		}
	}
	// A copy is forced, and not killed: how long it takes spreads the kills over the work.
	forced := *h
	forced.dir = filepath.Join(t.TempDir(), "d")
	for _, suffix := range []string{"", ".anchor"} {
		if out, err := exec.Command("cp", "-a", h.dir+suffix, forced.dir+suffix).CombinedOutput(); err != nil {
			t.Fatalf("copying: %v: %s", err, out)
		}
	}
	started := time.Now()
	forced.must("migrate", "--force")
	takes := time.Since(started)
	begun, err := os.Stat(formatFile(forced.dir))
	if err != nil {
		t.Fatal(err)
	}
	works := time.Since(begun.ModTime())
	forced.bin = before
	if _, err := forced.try("status"); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("the program before on data that was migrated: %v", err)
	}

	key := filepath.Join(t.TempDir(), "key")
	var made struct{ Recipient string }
	h.json(&made, "backup", "keygen", "-o", key)
	h.must("backup", "create", "--recipient", made.Recipient, "-o", filepath.Join(t.TempDir(), "backup"))
	untouched, halfway, done := 0, 0, false
	for kills := 0; !done && kills < 12; kills++ {
		switch {
		case kills == 0: // most likely before anything is written
			done = h.killed(time.Duration(rng.Int64N(int64(takes))), "migrate")
		case halfway == 0:
			done = h.killedAtWork(time.Duration(rng.Int64N(int64(works))), "migrate")
		case kills%2 == 0: // it goes on unasked
			h.killed(time.Duration(rng.Int64N(int64(takes))), "up", "--listen", "none")
		default:
			done = h.killed(time.Duration(rng.Int64N(int64(takes))), "migrate")
		}
		h.bin = before
		out, err := h.try("status")
		h.bin = binary
		switch {
		case err == nil && (done || halfway > 0):
			t.Fatalf("the program before opens what the present one wrote:\n%s", out)
		case err == nil:
			untouched++
		case !strings.Contains(err.Error(), refusal):
			t.Fatalf("the program before does not say what is to be done: %v", err)
		case !done:
			halfway++
		}
	}
	if halfway == 0 {
		t.Error("no process was killed half-way; give more records by ENTENTE_MIGRATION")
	}
	if !done {
		h.must("migrate")
	}
	if out := h.must("migrate"); !strings.Contains(out, "Nothing to do") {
		t.Errorf("migrating again: %s", out)
	}
	have := h.values()
	for v := range want {
		if !have[v] {
			t.Errorf("%s is lost", v)
			break
		}
	}
	if len(have) != len(want) {
		t.Errorf("there are %d values, not %d", len(have), len(want))
	}
	h.start()
	if out := h.must("audit", "show", "--kind", "migration"); !strings.Contains(out, "store format 3 to 4") || strings.Contains(out, "forced") {
		t.Errorf("the account says of the migration: %s", out)
	}
	if err := h.publish("afterwards.example.net\n"); err != nil {
		t.Error(err)
	}
	h.kill()
	summary("RAN %s: %d records, killed %d times before anything was written and %d times half-way", t.Name(), count, untouched, halfway)
}
