package hosttest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// outside returns an address that looks public: no other is told to a peer that is to call it.
func outside(i int) string { return fmt.Sprintf("9.77.0.%d", i+1) }

// behindNAT makes the namespace i of a wire a router that translates the addresses of a network behind it, and returns the namespace of the
// one host in that. What was not asked for from inside is not let in. masquerade is nft's statement: a plain one keeps the port, whoever is
// called (RFC 4787, endpoint-independent mapping); one that is fully-random takes another for each that is called.
func behindNAT(t *testing.T, i int, masquerade string) string {
	t.Helper()
	router, inner := namespace(i), namespace(i)+"-in"
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	run("ip", "netns", "add", inner)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", inner).Run() })
	run("ip", "-n", router, "link", "add", "in", "mtu", "1400", "type", "veth", "peer", "name", "eth0", "mtu", "1400", "netns", inner)
	for _, args := range [][]string{
		{"-n", router, "addr", "add", fmt.Sprintf("192.168.%d.1/24", i), "dev", "in"}, {"-n", router, "link", "set", "in", "up"},
		{"-n", inner, "addr", "add", fmt.Sprintf("192.168.%d.2/24", i), "dev", "eth0"}, {"-n", inner, "link", "set", "eth0", "up"}, {"-n", inner, "link", "set", "lo", "up"},
		{"-n", inner, "route", "add", "default", "via", fmt.Sprintf("192.168.%d.1", i)},
	} {
		run(append([]string{"ip"}, args...)...)
	}
	run("ip", "netns", "exec", router, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	run("ip", "netns", "exec", router, "nft", `table ip nat {
	chain out { type nat hook postrouting priority srcnat; oifname "t0" `+masquerade+`; }
	chain in { type filter hook input priority filter; iifname "t0" ct state new,invalid counter drop; }
	chain through { type filter hook forward priority filter; iifname "t0" ct state new,invalid drop; }
}`)
	return inner
}

// turnedAway reports whether a router got a packet that nobody behind it had asked for.
func turnedAway(t *testing.T, i int) bool {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", namespace(i), "nft", "list", "chain", "ip", "nat", "in").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return !strings.Contains(string(out), "counter packets 0 ")
}

// TestBehindNAT: two nodes behind routers that translate addresses meet by a relay of their network. Where the routers keep a port
// whoever is called, they reach each other directly after a while; where each call has a port of its own, they stay on the relay. Records go both ways.
func TestBehindNAT(t *testing.T) {
	if why := unavailable(); why != "" {
		summary("NOT RUN behind NAT: %s", why)
		t.Skip("NOT RUN: " + why)
	}
	if _, err := exec.LookPath("nft"); err != nil {
		summary("NOT RUN behind NAT: the command nft is missing")
		t.Skip("NOT RUN: the command nft is missing")
	}
	for _, tt := range []struct{ name, masquerade, want string }{
		{"one port for all", "masquerade", "direct"},
		{"a port for each", "masquerade fully-random", "relay"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const relay, a, b = 0, 1, 2
			newWireOf(t, outside, 3, 11)
			hosts := []*host{relay: newHost(t, "Relay", "cert", outside(relay), "ip", "netns", "exec", namespace(relay))}
			for _, i := range []int{a, b} {
				hosts = append(hosts, newHost(t, fmt.Sprintf("Host %d", i), "cert", "0.0.0.0", "ip", "netns", "exec", behindNAT(t, i, tt.masquerade)))
			}
			hosts[relay].flags = []string{"--relay"}
			hosts[relay].must("network", "create", "test")
			hosts[relay].start()
			path := func(from, to int) string {
				var peers []struct {
					Organisation struct{ Name string }
					Nodes        []struct{ Path string }
				}
				hosts[from].json(&peers, "peers")
				for _, p := range peers {
					if p.Organisation.Name == hosts[to].name && len(p.Nodes) == 1 {
						return p.Nodes[0].Path
					}
				}
				return ""
			}
			for _, i := range []int{a, b} {
				card, inv := filepath.Join(t.TempDir(), "card"), filepath.Join(t.TempDir(), "inv")
				hosts[i].must("id", "--card", card)
				hosts[relay].must("network", "invite", card, "-o", inv)
				hosts[i].must("network", "join", inv)
				hosts[i].start()
				hosts[i].until("has reached the relay", func() bool { return path(i, relay) == "direct" })
				hosts[i].must("topic", "join", "c2")
			}
			for _, from := range []int{a, b} {
				hosts[from].until("is connected with the other", func() bool { return path(from, a+b-from) != "" })
			}
			agree(t, hosts[a], hosts[b])
			agree(t, hosts[b], hosts[a])
			exchange := func(when string) {
				t.Helper()
				for _, from := range []int{a, b} {
					value, to := fmt.Sprintf("%s-%d.example.net", when, from), hosts[a+b-from]
					hosts[from].says(value)
					to.reads(value)
				}
			}
			exchange("first")
			if tt.want == "direct" {
				hosts[a].until("reaches the other directly", func() bool { return path(a, b) == "direct" && path(b, a) == "direct" })
			} else {
				for _, i := range []int{a, b} {
					hosts[i].until("was called directly", func() bool { return turnedAway(t, i) })
				}
				exchange("meanwhile")
				if x, y := path(a, b), path(b, a); x != "relay" || y != "relay" {
					t.Errorf("they reach each other by %q and %q", x, y)
				}
			}
			exchange("then")
			summary("RAN behind NAT, %s: %s", tt.name, path(a, b))
		})
	}
}
