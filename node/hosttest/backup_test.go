package hosttest

import (
	"context"
	"errors"
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

// killed runs a verb and kills it after a while; done says that it had ended before.
func (h *host) killed(after time.Duration, args ...string) (done bool) {
	h.t.Helper()
	cmd := h.command(context.Background(), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	timer.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	if exit != nil && exit.ExitCode() >= 0 {
		h.t.Fatalf("entente %s failed before it was killed: %v", strings.Join(args, " "), err)
	}
	return err == nil
}

// TestKilledBackup: whoever makes or restores a backup is killed in the middle, the node that is
// backed up among them. A file that is there is whole; a directory that is there is that of a
// whole node, or says that the restore did not finish, and is restored into again.
// ENTENTE_KILL_ROUNDS says how often, ENTENTE_KILL_SEED which.
func TestKilledBackup(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes take their time; go test without -short runs it")
	}
	rounds := number("ENTENTE_KILL_ROUNDS", 1)
	seed := number("ENTENTE_KILL_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("ENTENTE_KILL_SEED=%d ENTENTE_KILL_ROUNDS=%d", seed, rounds)
	rng := rand.New(rand.NewPCG(uint64(seed), 8))
	pub, reader := newHost(t, "Publisher", "vendor", "127.0.0.1"), newHost(t, "Reader", "police", "127.0.0.1")
	network(t, pub, reader)
	agree(t, pub, reader)
	want := map[string]bool{}
	for list := range 6 {
		text := ""
		for i := range 4000 {
			v := fmt.Sprintf("host-%d-%d-%x.example.net", list, i, rng.Uint64())
			text += v + "\n"
			want[v] = true
		}
		if err := pub.publish(text); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(t.TempDir(), "key")
	var made struct{ Recipient string }
	pub.json(&made, "backup", "keygen", "-o", key)
	dir := t.TempDir()
	file := filepath.Join(dir, "node.backup")
	create := []string{"backup", "create", "--recipient", made.Recipient, "-o", file}

	started := time.Now()
	pub.must(create...)
	takes := time.Since(started) // only to spread the kills over the work
	pub.must("backup", "verify", file, "--identity", key)
	whole, cut := 0, 0
	for range rounds {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		after := time.Duration(rng.Int64N(int64(takes)))
		if rng.IntN(2) == 0 {
			pub.killed(after, create...)
		} else {
			go func(p *os.Process) {
				time.Sleep(after)
				_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
			}(pub.proc.Process)
			_, err := pub.try(create...) // the node that it asks dies, or had answered before
			_ = pub.proc.Wait()
			if _, serr := os.Stat(file); (err == nil) != (serr == nil) {
				t.Fatalf("the command says %v, and the file is there: %v", err, serr == nil)
			}
			pub.start()
		}
		if _, err := os.Stat(file); err == nil {
			whole++
			pub.must("backup", "verify", file, "--identity", key)
		} else {
			cut++
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".backup-*")); err != nil {
			t.Fatal(err)
		} else {
			for _, f := range left { // what a killed command leaves is not taken for a backup
				if out, err := pub.try("backup", "verify", f, "--identity", key); err == nil && !strings.Contains(out, "whole         yes") {
					t.Errorf("half a file verifies: %s", out)
				}
				os.Remove(f)
			}
		}
	}
	pub.must(create...)
	pub.must("backup", "verify", file, "--identity", key)

	// The machine is lost. Its restore is killed, too, again and again into one directory.
	pub.kill()
	old := pub.dir
	pub.dir = filepath.Join(t.TempDir(), "new")
	restore := []string{"backup", "restore", file, "--identity", key}
	done := false
	for range rounds {
		if done = pub.killed(time.Duration(rng.Int64N(int64(4*time.Second))), restore...); done {
			break
		}
		out, err := pub.try("status")
		switch {
		case err == nil:
			done = true // it was killed after it had done everything
		case strings.Contains(err.Error(), "did not finish"), strings.Contains(err.Error(), "there is no organisation in"):
		default:
			t.Fatalf("what a killed restore left says %s, %v", out, err)
		}
		if done {
			break
		}
	}
	if !done {
		pub.must(restore...)
	}
	if _, err := pub.try("search", "--type", "indicator"); err == nil || !strings.Contains(err.Error(), "restored from an earlier state") {
		t.Errorf("records are shown before it is known what was erased: %v", err)
	}
	pub.start()
	pub.until("has heard of the erasures since its backup", func() bool { _, err := pub.try("search", "--type", "indicator"); return err == nil })
	have := pub.values()
	for v := range want {
		if !have[v] {
			t.Fatalf("%s was acknowledged and backed up, and is not there", v)
		}
	}
	if err := pub.publish("after-the-restore.example.net\n"); err != nil {
		t.Fatal(err)
	}
	reader.until("reads what the restored node publishes", func() bool { return reader.values()["after-the-restore.example.net"] })
	for _, h := range []*host{pub, reader} {
		if st := h.status(); st.Forked > 0 {
			t.Errorf("%s knows of a fork: %+v", h.name, st.Problems)
		}
	}
	if _, err := os.Stat(old); err != nil {
		t.Error(err)
	}
	summary("RAN killed backup %d: %d files whole, %d not there", rounds, whole, cut)
}
