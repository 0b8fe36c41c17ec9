package hosttest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire is a network of hosts, each in a network namespace of its own. Every packet between
// them passes through it, and may be lost, late, or cut in one direction. It does what tc's
// netem does, in user space, because the kernel's module for that is missing on many machines.
type wire struct {
	t    *testing.T
	tuns []*os.File
	at   map[netip.Addr]int
	// filter, if not nil, lets a packet through or not. It is set before there is any.
	filter func(from, to int, packet []byte) bool

	mu    sync.Mutex
	rng   *rand.Rand
	loss  float64
	delay time.Duration
	cut   func(from, to int) bool
	sent  int
	lost  int
	// filtered counts what filter did not let through.
	filtered int
}

// namespace returns the name of a host's namespace.
func namespace(i int) string { return fmt.Sprintf("entente-%d-%d", os.Getpid(), i) }

func address(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

// unavailable says why there can be no namespaces here; empty if there can.
func unavailable() string {
	switch {
	case os.Getenv("ENTENTE_HOSTS") == "":
		return "ENTENTE_HOSTS is not set"
	case os.Geteuid() != 0:
		return "root is needed for network namespaces"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "the command ip is missing"
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		return "no /dev/net/tun: " + err.Error()
	} else {
		f.Close()
	}
	if out, err := exec.Command("ip", "netns", "add", namespace(99)).CombinedOutput(); err != nil {
		return "ip netns: " + strings.TrimSpace(string(out))
	}
	_ = exec.Command("ip", "netns", "del", namespace(99)).Run()
	return ""
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// newWire makes count namespaces. Nothing of the machine's own network is touched.
func newWire(t *testing.T, count int, seed uint64) *wire { return newWireOf(t, address, count, seed) }

// newWireOf makes count namespaces, each with its address in a network of 24 bits.
func newWireOf(t *testing.T, address func(int) string, count int, seed uint64) *wire {
	w := &wire{t: t, at: map[netip.Addr]int{}, rng: rand.New(rand.NewPCG(seed, 3))}
	for i := range count {
		ip(t, "netns", "add", namespace(i))
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", namespace(i)).Run() })
		f, err := openTun(namespace(i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		for _, args := range [][]string{{"addr", "add", address(i) + "/24", "dev", "t0"}, {"link", "set", "t0", "mtu", "1400", "up"}, {"link", "set", "lo", "up"}} {
			ip(t, append([]string{"-n", namespace(i)}, args...)...)
		}
		w.tuns = append(w.tuns, f)
		w.at[netip.MustParseAddr(address(i))] = i
	}
	for i := range count {
		go w.read(i)
	}
	return w
}

// openTun makes the device t0 in a namespace; its file stays usable from outside.
func openTun(ns string) (*os.File, error) {
	runtime.LockOSThread() // and not unlocked if the thread cannot go back: it then ends
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(own)
	there, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(there)
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		var req *unix.Ifreq
		if req, err = unix.NewIfreq("t0"); err == nil {
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
	}
	if berr := unix.Setns(own, unix.CLONE_NEWNET); berr != nil {
		return nil, berr
	}
	runtime.UnlockOSThread()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

func (w *wire) read(from int) {
	b := make([]byte, 2000)
	for {
		n, err := w.tuns[from].Read(b)
		if err != nil {
			return
		}
		if n < 20 || b[0]>>4 != 4 {
			continue
		}
		to, ok := w.at[netip.AddrFrom4([4]byte(b[16:20]))]
		if !ok || to == from {
			continue
		}
		packet := append([]byte(nil), b[:n]...)
		w.mu.Lock()
		if w.filter != nil && !w.filter(from, to, packet) {
			w.filtered++
			w.mu.Unlock()
			continue
		}
		w.sent++
		drop := w.rng.Float64() < w.loss || w.cut != nil && w.cut(from, to)
		if drop {
			w.lost++
		}
		delay := w.delay
		w.mu.Unlock()
		switch {
		case drop:
		case delay == 0:
			_, _ = w.tuns[to].Write(packet)
		default:
			time.AfterFunc(delay, func() { _, _ = w.tuns[to].Write(packet) })
		}
	}
}

func (w *wire) set(loss float64, delay time.Duration, cut func(from, to int) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss, w.delay, w.cut = loss, delay, cut
}

// TestI1RealHosts: five hosts in network namespaces; a fifth of all packets is lost and the
// others are late; then one host hears nothing; then another can say nothing. After healing
// everything is everywhere.
func TestI1RealHosts(t *testing.T) {
	if why := unavailable(); why != "" {
		summary("NOT RUN hosts: %s", why)
		t.Skip("NOT RUN: " + why)
	}
	w := newWire(t, 5, 1)
	var hosts []*host
	for i := range 5 {
		hosts = append(hosts, newHost(t, fmt.Sprintf("Host %d", i), "cert", address(i), "ip", "netns", "exec", namespace(i)))
	}
	network(t, hosts...)
	for _, b := range hosts[1:] {
		agree(t, hosts[0], b)
	}
	agree(t, hosts[3], hosts[1])
	count := map[int]int{}
	publish := func(i int) {
		t.Helper()
		count[i]++
		if err := hosts[i].publish(fmt.Sprintf("h%d-%d.example.net\n", i, count[i])); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond) // the fault lasts; nothing waits for anything here
	}
	w.set(0.2, 200*time.Millisecond, nil)
	for range 5 {
		publish(0)
		publish(3)
	}
	w.set(0.2, 200*time.Millisecond, func(_, to int) bool { return to == 2 })
	for range 3 {
		publish(0)
	}
	hosts[2].until("has lost its peers", func() bool { return hosts[2].status().Connected == 0 })
	w.set(0.2, 200*time.Millisecond, func(from, _ int) bool { return from == 0 })
	for range 3 {
		publish(0)
		publish(3)
	}
	w.set(0, 0, nil)
	has := func(h *host, publishers ...int) func() bool {
		return func() bool {
			have := h.values()
			for _, p := range publishers {
				for k := range count[p] {
					if !have[fmt.Sprintf("h%d-%d.example.net", p, k+1)] {
						return false
					}
				}
			}
			return true
		}
	}
	hosts[1].until("has everything of both publishers", has(hosts[1], 0, 3))
	for _, h := range hosts[2:] {
		h.until("has everything", has(h, 0))
	}
	for _, h := range hosts {
		h.until("lacks nothing", func() bool { return h.status().Missing == 0 })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost == 0 {
		t.Error("no packet was lost: the wire was not as bad as it should have been")
	}
	summary("RAN hosts %d (%d of %d packets lost)", len(hosts), w.lost, w.sent)
}
