package hosttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tcp returns the ports of a TCP packet in IPv4, and whether it opens a connection.
func tcp(b []byte) (from, to int, opens, ok bool) {
	head := int(b[0]&15) * 4
	if b[9] != 6 || len(b) < head+20 {
		return 0, 0, false, false
	}
	t := b[head:]
	return int(t[0])<<8 | int(t[1]), int(t[2])<<8 | int(t[3]), t[13]&0x12 == 0x02, true
}

// calls reports whether a packet is of a TCP connection that a host opened to a port of another.
func calls(b []byte, from, to, caller, called, port int) bool {
	src, dst, opens, ok := tcp(b)
	switch {
	case !ok:
		return false
	case from == caller && to == called:
		return dst == port
	case from == called && to == caller:
		return src == port && !opens
	}
	return false
}

// TestOnePortOut: a host may open TCP to port 443 of a relay and nothing else, another may reach
// an HTTP proxy and nothing else. Both join the network, publish, and receive.
func TestOnePortOut(t *testing.T) {
	if why := unavailable(); why != "" {
		summary("NOT RUN one port out: %s", why)
		t.Skip("NOT RUN: " + why)
	}
	const founder, relay, port443, proxied, proxy = 0, 1, 2, 3, 4
	w := newWire(t, 5, 7)
	w.filter = func(from, to int, b []byte) bool {
		for _, h := range []int{port443, proxied} {
			if from != h && to != h {
				continue
			}
			if h == port443 && !calls(b, from, to, h, relay, 443) || h == proxied && !calls(b, from, to, h, proxy, 3128) {
				return false
			}
		}
		return true
	}
	var hosts []*host
	for i, kind := range []string{"cert", "relay", "police", "cert"} {
		hosts = append(hosts, newHost(t, fmt.Sprintf("Host %d", i), kind, address(i), "ip", "netns", "exec", namespace(i)))
	}
	hosts[relay].up = []string{"relay", "--listen", "/ip4/" + address(relay) + "/tcp/443"}
	hosts[founder].up = []string{"up", "--listen", "/ip4/" + address(founder) + "/udp/4401/quic-v1", "--listen", "/ip4/" + address(founder) + "/tcp/4401"}
	hosts[port443].up = []string{"up", "--listen", "none"}
	hosts[proxied].up = []string{"up", "--proxy", "http://" + address(proxy) + ":3128"}

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := exec.Command("ip", "netns", "exec", namespace(proxy), self)
	p.Env = append(os.Environ(), proxyEnv+"="+address(proxy)+":3128")
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL); _ = p.Wait() })

	hosts[founder].must("network", "create", "test")
	hosts[founder].start()
	for i, h := range hosts[1:] {
		if i == 1 { // those that follow need the relay's address in their invitations
			hosts[founder].until("knows the relay", func() bool {
				out, err := hosts[founder].try("peers")
				return err == nil && strings.Contains(out, "relays for others")
			})
		}
		card, inv := filepath.Join(t.TempDir(), "card"), filepath.Join(t.TempDir(), "inv")
		h.must("id", "--card", card)
		hosts[founder].must("network", "invite", card, "-o", inv)
		h.must("network", "join", inv)
		h.start()
	}
	for _, h := range hosts {
		h.until("knows all others", func() bool {
			var peers []struct{ Member bool }
			h.json(&peers, "peers")
			return len(peers) == len(hosts)-1
		})
	}
	for _, i := range []int{founder, port443, proxied} {
		hosts[i].must("topic", "join", "c2")
	}
	agree(t, hosts[founder], hosts[port443])
	agree(t, hosts[port443], hosts[proxied])
	agree(t, hosts[proxied], hosts[founder])
	for from, to := range map[int]int{founder: port443, port443: proxied, proxied: founder} {
		value := fmt.Sprintf("from-%d.example.net", from)
		if err := hosts[from].publish(value + "\n"); err != nil {
			t.Fatal(err)
		}
		hosts[to].until("has "+value, func() bool { return hosts[to].values()[value] })
	}
	for i, want := range map[int]string{port443: "reached by the relay of Host 1", proxied: "reached by the proxy"} {
		if out := hosts[i].must("peers"); !strings.Contains(out, want) {
			t.Errorf("%s reaches its peers so:\n%s", hosts[i].name, out)
		}
	}
	for _, h := range []*host{hosts[port443], hosts[proxied]} {
		h.until("can be called by the relay", func() bool {
			out, err := h.try("status")
			return err == nil && strings.Contains(out, "callable by   the relay")
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.filtered == 0 {
		t.Error("nothing was filtered: the hosts did not try what they may not, or the filter is open")
	}
	summary("RAN one port out (%d packets that the firewalls did not let through)", w.filtered)
}
