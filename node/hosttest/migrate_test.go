package hosttest

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
	twin := *h
	twin.dir = filepath.Join(t.TempDir(), "d")
	for _, suffix := range []string{"", ".anchor"} {
		if out, err := exec.Command("cp", "-a", h.dir+suffix, twin.dir+suffix).CombinedOutput(); err != nil {
			t.Fatalf("copying: %v: %s", err, out)
		}
	}
	key := filepath.Join(t.TempDir(), "key")
	var made struct{ Recipient string }
	h.json(&made, "backup", "keygen", "-o", key)
	h.must("backup", "create", "--recipient", made.Recipient, "-o", filepath.Join(t.TempDir(), "backup"))
	started := time.Now()
	h.must("migrate")
	takes := time.Since(started) // only to spread the kills over the work

	// The copy has no backup of its own: the notice is of a directory. It is forced.
	if _, err := twin.try("migrate"); err == nil || !strings.Contains(err.Error(), "entente backup create") {
		t.Fatalf("migrating the copy, of which there is no backup: %v", err)
	}
	force, untouched, halfway, done := []string{"migrate", "--force"}, 0, 0, false
	for kills := 0; !done && kills < 20; kills++ {
		args := force
		if halfway > 0 { // it goes on unasked
			args = [][]string{{"migrate"}, {"up", "--listen", "none"}}[kills%2]
		}
		after := time.Duration(rng.Int64N(int64(takes)))
		if args[0] == "migrate" {
			done = twin.killed(after, args...)
		} else {
			twin.killed(after, args...)
		}
		twin.bin = before
		out, err := twin.try("status")
		twin.bin = binary
		switch {
		case err == nil && (done || halfway > 0):
			t.Fatalf("the program before opens what the present one wrote:\n%s", out)
		case err == nil:
			untouched++
		case !strings.Contains(err.Error(), "this program knows 3; upgrade the program"):
			t.Fatalf("killed after %s: the program before says %v", after, err)
		case !done:
			halfway++
		}
	}
	if halfway == 0 {
		t.Error("no process was killed half-way; give more records by ENTENTE_MIGRATION")
	}
	if !done {
		twin.must("migrate")
	}
	if out := twin.must("migrate"); !strings.Contains(out, "Nothing to do") {
		t.Errorf("migrating again: %s", out)
	}
	have := twin.values()
	for v := range want {
		if !have[v] {
			t.Errorf("%s is lost", v)
			break
		}
	}
	if len(have) != len(want) {
		t.Errorf("there are %d values, not %d", len(have), len(want))
	}
	twin.start()
	if out := twin.must("audit", "show", "--kind", "migration"); !strings.Contains(out, "store format 3 to 4") || !strings.Contains(out, "forced") {
		t.Errorf("the account says of the migration: %s", out)
	}
	if err := twin.publish("afterwards.example.net\n"); err != nil {
		t.Error(err)
	}
	twin.kill()
	summary("RAN %s: %d records, killed %d times before anything was written and %d times half-way", t.Name(), count, untouched, halfway)
}
