package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: what is written to ptm was typed, what is read from it is on the screen.
func terminal(t *testing.T) (ptm, pts *os.File) {
	t.Helper()
	ptm, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { ptm.Close() })
	if err := unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	if pts, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	return ptm, pts
}

// TestSetupOnATerminal types the answers when they are asked for.
func TestSetupOnATerminal(t *testing.T) {
	ptm, pts := terminal(t)
	home := t.TempDir()
	cmd := exec.Command("entente", "setup")
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = home, pts, pts, pts
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pts.Close()
	var screen bytes.Buffer
	// The deadline is for tests that hang.
	stop := time.AfterFunc(90*time.Second, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	buf := make([]byte, 4096)
	for _, step := range []struct{ wait, typed string }{
		{"1 of 5", "Example Vendor"}, {"2 of 5", "wizard"}, {"wizard", "vendor"}, {"3 of 5", "DE"}, {"4 of 5", ""}, {"5 of 5", "sea-operation"}, {"Do this?", "yes"},
	} {
		for from := screen.Len(); !strings.Contains(screen.String()[from:], "> ") || !strings.Contains(screen.String(), step.wait); {
			n, err := ptm.Read(buf)
			screen.Write(buf[:n])
			if err != nil {
				t.Fatalf("waiting for %q: %v\n%s", step.wait, err, screen.String())
			}
		}
		if _, err := ptm.WriteString(step.typed + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	for {
		n, err := ptm.Read(buf) // EIO when the other side is closed
		screen.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, screen.String())
	}
	for _, want := range []string{"This will be done", "found the network sea-operation", "What is left to do"} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("%q is not on the screen:\n%s", want, screen.String())
		}
	}
	for _, path := range []string{".entente/keys/op.key", ".entente/entente.toml", ".entente-root-key.txt", ".entente-card.pem"} {
		if _, err := os.Stat(filepath.Join(home, path)); err != nil {
			t.Error(err)
		}
	}
}

// TestSetupForAService: root sets up the node of another user, who alone can read it and can run it; root talks to it, and
// touches nothing of it while it does not run.
func TestSetupForAService(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	nobody, err := findAccount("nobody")
	if err != nil {
		t.Skip(err)
	}
	work := t.TempDir()
	if err := os.Chmod(filepath.Dir(work), 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(work, name) }
	if err := os.WriteFile(at("answers.toml"), []byte("organisation = \"Example Vendor\"\nkind = \"vendor\"\nnetwork = \"sea\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command("entente", args...)
		cmd.Dir, cmd.Env = work, []string{"HOME=" + at("root"), "PATH=" + os.Getenv("PATH")}
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	config := at("etc/entente.toml")
	if out, err := run("--dir", at("data"), "--config", config, "setup", "--system", "--user", "nobody", "--answers", "answers.toml", "--root-file", at("root-key.txt")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := 0
	for _, dir := range []string{"data", "data.anchor"} {
		err := filepath.Walk(at(dir), func(path string, info os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			seen++
			st := info.Sys().(*syscall.Stat_t)
			if int(st.Uid) != nobody.uid || int(st.Gid) != nobody.gid || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is of %d:%d with mode %o", path, st.Uid, st.Gid, info.Mode().Perm())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if seen < 8 {
		t.Errorf("saw only %d files", seen)
	}
	for path, mode := range map[string]os.FileMode{"root-key.txt": 0o600, "etc/entente.toml": 0o644} {
		info, err := os.Stat(at(path))
		if err != nil || info.Mode().Perm() != mode || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	for _, args := range [][]string{{"status"}, {"up"}} {
		if out, err := run(append(args, "--config", config)...); err == nil || !strings.Contains(out, "is that of the user nobody") {
			t.Errorf("root opened the store of another user: %v\n%s", err, out)
		}
	}

	// The user need not be able to reach the directory of the test binary.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	up := exec.Command("/proc/self/fd/3")
	up.Args = []string{"entente", "up", "--config", config}
	up.ExtraFiles = []*os.File{self}
	up.Dir = "/"
	if err := errors.Join(os.Mkdir(at("run"), 0o755), os.Chown(at("run"), nobody.uid, nobody.gid)); err != nil {
		t.Fatal(err)
	}
	socket := "ENTENTE_NODE_PEOPLE_SOCKET=" + at("run/api.sock")
	up.Env = []string{"HOME=/nonexistent", `ENTENTE_NETWORK_LISTEN=/ip4/127.0.0.1/tcp/0`, socket}
	up.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(nobody.uid), Gid: uint32(nobody.gid)}}
	var log bytes.Buffer
	up.Stdout, up.Stderr = &log, &log
	if err := up.Start(); err != nil {
		t.Skip("cannot run as another user here: ", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	var out string
	for end := time.Now().Add(90 * time.Second); !strings.Contains(out, "up since"); {
		select {
		case err := <-ended:
			t.Fatalf("%v\n%s", err, log.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("never up:\n%s", out)
		}
		out, _ = run("status", "--config", config)
	}
	if !strings.Contains(out, "127.0.0.1/tcp/") || !strings.Contains(out, "network       sea") {
		t.Error(out)
	}
	// Whoever may not open the data directory is somebody else by the socket of the people.
	other := exec.Command("/proc/self/fd/3")
	other.Args = []string{"entente", "status", "--config", config}
	other.ExtraFiles, other.Dir = []*os.File{self}, "/"
	other.Env = []string{"HOME=/nonexistent", socket}
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(nobody.uid) - 1, Gid: uint32(nobody.gid) - 1}}
	if b, err := other.CombinedOutput(); err != nil || !strings.Contains(string(b), "are not shown to an account") {
		t.Errorf("status as another user: %v\n%s", err, b)
	}
	if err := up.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
}
