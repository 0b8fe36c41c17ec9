package hosttest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	// The command is built of it: a change there makes the results of these tests stale.
	_ "github.com/entente-mesh/entente/node/api"
)

// binary is the command, built once.
var binary string

func TestMain(m *testing.M) {
	if addr := os.Getenv(proxyEnv); addr != "" {
		fmt.Fprintln(os.Stderr, "proxy ended:", beProxy(addr))
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "entente-hosttest")
	if err == nil {
		binary = filepath.Join(dir, "entente")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, "../../cmd/entente").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the command:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// summary notes that a job ran, or why not.
func summary(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Println(line)
	path := os.Getenv("ENTENTE_SUMMARY")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// host is one organisation with one node, a real process.
type host struct {
	t      *testing.T
	name   string
	dir    string
	bin    string // the command; empty: the present one
	ip     string
	port   int
	prefix []string // of every command: in which network namespace it runs
	flags  []string // of 'entente up', beside the address
	up     []string // how it is brought up; empty: 'up' with its address
	proc   *exec.Cmd
	log    *syncBuffer
}

// syncBuffer is a buffer that a process writes and a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newHost founds an organisation.
func newHost(t *testing.T, name, kind, ip string, prefix ...string) *host {
	t.Helper()
	return newHostIn(t, filepath.Join(t.TempDir(), "d"), name, kind, ip, prefix...)
}

// newHostIn founds an organisation whose data directory is dir.
func newHostIn(t *testing.T, dir, name, kind, ip string, prefix ...string) *host {
	t.Helper()
	h := &host{t: t, name: name, dir: dir, ip: ip, port: 4401, prefix: prefix, log: &syncBuffer{}}
	if ip == "127.0.0.1" {
		h.port = freePort(t)
	}
	h.must("init", "--name", name, "--kind", kind, "--root-file", filepath.Join(t.TempDir(), "root"))
	t.Cleanup(func() {
		if h.proc != nil {
			h.kill()
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, tail(h.log.String(), 4000))
		}
	})
	return h
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func (h *host) command(ctx context.Context, args ...string) *exec.Cmd {
	all := append(append([]string{}, h.prefix...), cmp.Or(h.bin, binary), "--dir", h.dir)
	all = append(all, args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(h.dir), "ENTENTE_PASSPHRASE_FILE=")
	return cmd
}

// try runs a verb and returns its output. The deadline is for tests that hang.
func (h *host) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := h.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: entente %s: %w: %s", h.name, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

func (h *host) must(args ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h *host) json(v any, args ...string) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.must(append(args, "--json")...)), v); err != nil {
		h.t.Fatal(err)
	}
}

// start brings the node up and waits until it answers.
func (h *host) start() {
	h.t.Helper()
	h.launch()
	h.until("is up", func() bool { return h.status().Online })
}

// launch starts the node and does not wait for it.
func (h *host) launch() {
	h.t.Helper()
	up := h.up
	if up == nil {
		up = append([]string{"up", "--listen", fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", h.ip, h.port)}, h.flags...)
	}
	h.proc = h.command(context.Background(), up...)
	h.proc.Stdout, h.proc.Stderr = h.log, h.log
	h.proc.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.proc.Start(); err != nil {
		h.t.Fatal(err)
	}
}

// kill ends the process as a power failure of the process would: SIGKILL.
func (h *host) kill() {
	if h.proc == nil {
		return
	}
	_ = syscall.Kill(-h.proc.Process.Pid, syscall.SIGKILL)
	_ = h.proc.Wait()
	h.proc = nil
}

// status is what the tests need of a node's status.
type status struct {
	Online    bool   `json:"online"`
	Connected int    `json:"connected"`
	Forked    int    `json:"forked"`
	Missing   uint64 `json:"missing"`
	Records   uint64 `json:"records"`
	Problems  []struct{ Kind, Severity, Text string }
}

func (h *host) status() (s status) {
	out, err := h.try("status", "--json")
	if err == nil {
		_ = json.Unmarshal([]byte(out), &s)
	}
	return s
}

// until waits for what comes sooner or later; three minutes are for tests that hang.
func (h *host) until(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	h.t.Fatalf("%s: three minutes passed before it %s", h.name, what)
}

// values lists everything that a node can read.
func (h *host) values() map[string]bool {
	h.t.Helper()
	have := map[string]bool{}
	for v := range strings.Lines(h.must("export", "--format", "lines")) {
		have[strings.TrimSpace(v)] = true
	}
	return have
}

// network makes hosts members of one network, founded by the first, and brings all up.
func network(t *testing.T, hosts ...*host) {
	t.Helper()
	founder := hosts[0]
	founder.must("network", "create", "test")
	founder.start()
	for _, h := range hosts[1:] {
		card, inv := filepath.Join(t.TempDir(), "card"), filepath.Join(t.TempDir(), "inv")
		h.must("id", "--card", card)
		founder.must("network", "invite", card, "-o", inv)
		h.must("network", "join", inv)
		h.start()
	}
	for _, h := range hosts {
		h.until("is connected", func() bool { return h.status().Connected > 0 })
		h.must("topic", "join", "c2")
	}
}

// agree signs an agreement by which a may send to b.
func agree(t *testing.T, a, b *host) {
	t.Helper()
	for _, pair := range [][2]*host{{a, b}, {b, a}} {
		card := filepath.Join(t.TempDir(), "card")
		var id struct{ Words []string }
		pair[1].json(&id, "id")
		pair[1].must("id", "--card", card)
		pair[0].must("trust", card, "--words", strings.Join(id.Words, " "))
	}
	draft := filepath.Join(t.TempDir(), "a.yaml")
	a.until("knows "+b.name, func() bool {
		out, err := a.try("agreement", "new", "--with", b.name)
		return err == nil && os.WriteFile(draft, []byte(out), 0o600) == nil
	})
	a.must("agreement", "propose", draft)
	var inbox []struct {
		ID string `json:"id"`
	}
	b.until("has the proposal", func() bool { b.json(&inbox, "agreement", "inbox"); return len(inbox) > 0 })
	b.must("agreement", "countersign", inbox[0].ID)
	a.until("has the countersignature", func() bool {
		out, err := a.try("agreement", "show", inbox[0].ID)
		return err == nil && strings.Contains(out, "State: in force")
	})
}

// publish publishes a list and returns whether it was acknowledged.
func (h *host) publish(lines string) error {
	file := filepath.Join(h.t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		return err
	}
	_, err := h.try("publish", file, "--topic", "c2", "--tlp", "amber", "--country", "TH", "--personal", "none", "--yes")
	return err
}
