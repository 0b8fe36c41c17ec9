package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

// askBack connects two members and has the first ask the second.
func askBack(t *testing.T, from, to *member, addrs ...string) *DialBack {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := from.Connect(ctx, to.self, to.Addrs()); err != nil {
		t.Fatal(err)
	}
	out, err := from.AskDialBack(ctx, to.self, addrs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDialBackReachesWhatListens(t *testing.T) {
	c := newClub()
	a, b, other := newMember(t, c, overQUIC, func(cfg *Config) { cfg.Listen = append(cfg.Listen, overTCP) }), newMember(t, c, overQUIC), newMember(t, c, overTCP)
	c.add(a.self, b.self, other.self)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	addrs := append(a.Addrs(), nobody, other.Addrs()[0])
	c.announce(a.self, addrs...)
	out := askBack(t, a, b, addrs...)
	want := []protocol.DialOutcome{protocol.DialReached, protocol.DialReached, protocol.DialRefused, protocol.DialWrongNode}
	if !slices.Equal(out.Outcomes, want) {
		t.Errorf("of %v: %v, want %v", addrs, out.Outcomes, want)
	}
	// Both are this process, and so is their clock.
	if out.Offset.Abs() > out.Within {
		t.Errorf("the clock is %s off, give or take %s", out.Offset, out.Within)
	}
	if got := a.CallSelf(context.Background(), addrs); !slices.Equal(got, want) {
		t.Errorf("calling itself: %v, want %v", got, want)
	}
}

// TestDialBackTakesNoConnectionThatThereIs: who called out, and listens nowhere, is connected and is not
// reached.
func TestDialBackTakesNoConnectionThatThereIs(t *testing.T) {
	c := newClub()
	a, b := newMember(t, c, ""), newMember(t, c, overQUIC)
	c.add(a.self, b.self)
	// It may have come out of a forwarder, behind which it is anywhere: what it did not announce is not called.
	c.announce(a.self, "/ip4/127.0.0.1/tcp/1")
	out := askBack(t, a, b, "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/1/p2p/"+peerOf(b.self).String(), "/ip4/198.51.100.1/tcp/1")
	if want := []protocol.DialOutcome{protocol.DialRefused, protocol.DialNotAllowed, protocol.DialNotAllowed, protocol.DialNotAllowed}; !slices.Equal(out.Outcomes, want) {
		t.Errorf("got %v, want %v", out.Outcomes, want)
	}
	if out := askBack(t, a, b); len(out.Outcomes) != 0 {
		t.Errorf("asked for the clock alone, got %v", out.Outcomes)
	}
}

func TestDialBackIsLimited(t *testing.T) {
	c := newClub()
	a, b := newMember(t, c, overQUIC), newMember(t, c, overQUIC)
	c.add(a.self, b.self)
	for i := range dialBackBurst {
		if out := askBack(t, a, b, "/ip4/198.51.100.1/tcp/1"); out.Outcomes[0] != protocol.DialNotAllowed {
			t.Fatalf("request %d: %v", i, out.Outcomes)
		}
	}
	if out := askBack(t, a, b, a.Addrs()[0]); out.Outcomes[0] != protocol.DialBusy {
		t.Errorf("beyond the bound: %v", out.Outcomes)
	}
	var d dialBacks
	for i := range maxDialBacks {
		if !d.begin(protocol.NodeID{byte(i)}) || d.begin(protocol.NodeID{byte(i)}) {
			t.Errorf("node %d: a second request beside the first is served, or the first is not", i)
		}
	}
	if d.begin(protocol.NodeID{99}) {
		t.Error("more requests at a time than the bound")
	}
	d.end(protocol.NodeID{0})
	if !d.begin(protocol.NodeID{99}) {
		t.Error("nothing is served after one ended")
	}
}

// TestDialBackCallsAFew: the addresses of one request that are called are bounded.
func TestDialBackCallsAFew(t *testing.T) {
	c := newClub()
	a, b := newMember(t, c, overQUIC), newMember(t, c, overQUIC)
	c.add(a.self, b.self)
	c.announce(a.self, a.Addrs()...)
	out := askBack(t, a, b, slices.Repeat([]string{a.Addrs()[0]}, protocol.MaxAddrs)...)
	for i, o := range out.Outcomes {
		if want := i >= maxDialBackCalls; (o == protocol.DialBusy) != want {
			t.Errorf("address %d: %s", i, o)
		}
	}
}

// TestDialBackRefusals: strangers are not served, nor is what cannot be read.
func TestDialBackRefusals(t *testing.T) {
	c := newClub()
	a, b := newMember(t, c, overQUIC), newMember(t, c, overQUIC)
	c.add(a.self, b.self)
	askBack(t, a, b)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	for name, data := range map[string][]byte{
		"nonsense":          []byte("nonsense"),
		"no version":        protocol.Encode(&protocol.DialBackRequest{Addrs: []string{}}),
		"too long an array": protocol.Encode(&protocol.DialBackRequest{Version: 1, Addrs: make([]string, protocol.MaxAddrs+1)}),
		"too large":         make([]byte, protocol.MaxDialBackSize+1),
	} {
		s, err := a.host.NewStream(ctx, peerOf(b.self), dialBackProtocol)
		if err != nil {
			t.Fatal(err)
		}
		_ = writeFrame(s, data)
		if _, err := readFrame(s, protocol.MaxDialBackSize); !errors.Is(err, network.ErrReset) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	if _, err := a.AskDialBack(ctx, b.self, make([]string, protocol.MaxAddrs+1)); !errors.Is(err, protocol.ErrOversize) {
		t.Errorf("too many addresses go out: %v", err)
	}
	if _, err := a.AskDialBack(ctx, crypto.GenerateNode().Public(), nil); !errors.Is(err, protocol.ErrUnknownAuthor) {
		t.Errorf("a stranger is asked: %v", err)
	}
	old := newMember(t, c, overQUIC)
	c.add(old.self)
	old.host.RemoveStreamHandler(dialBackProtocol)
	if err := a.Connect(ctx, old.self, old.Addrs()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AskDialBack(ctx, old.self, nil); !errors.Is(err, ErrNoDialBack) {
		t.Errorf("a peer of an older version: %v", err)
	}
	c.remove(a.self)
	s, err := a.host.NewStream(ctx, peerOf(old.self), dialBackProtocol)
	if err == nil {
		_ = writeFrame(s, protocol.Encode(&protocol.DialBackRequest{Version: 1, Addrs: []string{}}))
		_, err = readFrame(s, protocol.MaxDialBackSize)
	}
	if err == nil {
		t.Error("who is not known is answered")
	}
}

// TestCallRule: whom a node lets itself be sent to.
func TestCallRule(t *testing.T) {
	const public, private, loop = "203.0.113.9", "10.1.2.3", "127.0.0.1"
	for _, c := range []struct {
		addr, conn string
		onCard     bool
		want       protocol.DialOutcome // 0: it is called
		inside     bool
	}{
		{"/ip4/203.0.113.9/tcp/4401", public, false, 0, false},
		{"/ip4/203.0.113.9/udp/4401/quic-v1", public, true, 0, false},
		{"/ip4/198.51.100.7/tcp/4401", public, false, protocol.DialNotAllowed, false},
		{"/ip4/198.51.100.7/tcp/4401", public, true, 0, false},
		{"/ip4/198.51.100.7/tcp/4401", private, true, 0, false},
		{"/ip4/10.1.2.3/tcp/4401", private, true, 0, false},
		{"/ip4/10.1.2.3/tcp/22", private, false, protocol.DialNotAllowed, false}, // a forwarder's, perhaps
		{"/ip4/100.64.0.1/tcp/22", "100.64.0.1", false, protocol.DialNotAllowed, false},
		{"/ip6/fd00::1/tcp/22", "fd00::1", false, protocol.DialNotAllowed, false},
		{"/ip6/fe80::1/tcp/22", "fe80::1", true, protocol.DialNotAllowed, false},
		{"/ip4/10.1.2.4/tcp/4401", private, false, protocol.DialNotAllowed, false},
		{"/ip4/10.1.2.4/tcp/4401", private, true, 0, true},
		{"/ip4/10.1.2.4/tcp/4401", public, true, protocol.DialNotAllowed, true},
		{"/ip4/100.64.0.1/tcp/4401", public, true, protocol.DialNotAllowed, true},
		{"/ip6/fd00::1/tcp/4401", public, true, protocol.DialNotAllowed, true},
		{"/ip4/127.0.0.1/tcp/22", public, true, protocol.DialNotAllowed, false},
		{"/ip6/::1/tcp/22", loop, true, protocol.DialNotAllowed, false},
		{"/ip4/127.0.0.1/tcp/4401", loop, true, 0, false},
		{"/ip4/127.0.0.1/tcp/22", loop, false, protocol.DialNotAllowed, false},
		{"/ip6/::ffff:127.0.0.1/tcp/4401", public, true, protocol.DialNotAllowed, false},
		{"/ip4/0.0.0.0/tcp/4401", public, true, protocol.DialNotAllowed, false},
		{"/ip4/224.0.0.1/udp/4401/quic-v1", public, true, protocol.DialNotAllowed, false},
		{"/ip4/255.255.255.255/udp/4401/quic-v1", public, true, protocol.DialNotAllowed, false},
		{"/ip4/169.254.169.254/tcp/80", public, true, protocol.DialNotAllowed, false},
		{"/ip6/fe80::1/tcp/4401", public, true, protocol.DialNotAllowed, false},
		{"/ip4/198.51.100.7/tcp/4401", "", true, 0, false},
		{"/ip4/198.51.100.7/tcp/4401", "", false, protocol.DialNotAllowed, false},
		{"/ip4/10.1.2.4/tcp/4401", "", true, protocol.DialNotAllowed, true},
		{"/dns4/node.example.org/tcp/4401", public, true, 0, false},
		{"/dns4/node.example.org/tcp/4401", public, false, protocol.DialNotAllowed, false},
		{"/dnsaddr/node.example.org", public, true, protocol.DialNotAllowed, false},
		{"/unix/run/other.sock", public, true, protocol.DialNotAllowed, false},
		{"/ip4/203.0.113.9/tcp/4401/p2p/12D3KooWEjodgmSYmBCALgdqcdXBvmFoodzNRcbLoJVSSjKhuyPg/p2p-circuit", public, true, protocol.DialRelay, false},
	} {
		addr, err := ma.NewMultiaddr(c.addr)
		if err != nil {
			t.Fatal(err)
		}
		r := &callRule{onCard: c.onCard}
		if c.conn != "" {
			r.conn = netip.MustParseAddr(c.conn)
		}
		if got := r.judge(addr); got != c.want || r.inside != c.inside {
			t.Errorf("%s of a connection from %q, on the card %v: %s inside %v, want %s inside %v", c.addr, c.conn, c.onCard, got, r.inside, c.want, c.inside)
		}
		if c.inside && (r.told(protocol.DialRefused) != protocol.DialFailed || r.told(protocol.DialReached) != protocol.DialReached) {
			t.Errorf("%s: it is told how a machine in a private network answers", c.addr)
		}
	}
	// An address of this machine that is not private: the connection came out of something that runs here.
	here := &callRule{conn: netip.MustParseAddr(public), ours: true}
	if addr := ma.StringCast("/ip4/203.0.113.9/tcp/22"); here.judge(addr) != protocol.DialNotAllowed {
		t.Error("a peer behind a forwarder on this machine has its ports called")
	}
	if !isOurs(netip.MustParseAddr(loop)) || isOurs(netip.MustParseAddr(public)) {
		t.Error("addresses of this machine are not told from others")
	}
	// What a name of a card means is judged when it was looked up.
	r := &callRule{onCard: true, conn: netip.MustParseAddr(public)}
	for addr, want := range map[string]bool{"/ip4/198.51.100.7/tcp/1": true, "/ip4/10.0.0.1/tcp/1": false, "/ip4/127.0.0.1/tcp/1": false, "/ip4/169.254.169.254/tcp/80": false} {
		a, err := ma.NewMultiaddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.InterceptAddrDial("", a); got != want {
			t.Errorf("a name that means %s: %v", addr, got)
		}
	}
}

func TestOnCard(t *testing.T) {
	node := crypto.GenerateNode().Public()
	addr, err := parseAddr(node, "/ip4/198.51.100.7/udp/4401/quic-v1")
	if err != nil {
		t.Fatal(err)
	}
	if !onCard(node, addr, []string{"broken", "/ip4/198.51.100.7/udp/4401/quic-v1/p2p/" + peerOf(node).String()}) {
		t.Error("the same address, written with the node, is not taken for it")
	}
	if onCard(node, addr, []string{"/ip4/198.51.100.7/tcp/4401", "/ip4/198.51.100.8/udp/4401/quic-v1"}) || onCard(node, addr, nil) {
		t.Error("another address is taken for it")
	}
}

// TestMeasure: whatever the two clocks say and however long it takes, the offset is right to what is said
// of it.
func TestMeasure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(-maxOffset/2, maxOffset/2).Draw(t, "offset")
		there := rapid.Int64Range(0, 9000).Draw(t, "out")
		work := rapid.Int64Range(0, 9000).Draw(t, "work")
		back := rapid.Int64Range(0, 9000).Draw(t, "back")
		begun := time.UnixMilli(maxOffset)
		received := uint64(begun.UnixMilli() + offset + there)
		got := measure(begun, time.Duration(there+work+back)*time.Millisecond, received, received+uint64(work))
		if d := got.Offset - time.Duration(offset)*time.Millisecond; d.Abs() > got.Within {
			t.Fatalf("off by %s, and it says within %s", d, got.Within)
		}
		if got.Within > time.Duration(there+back)*time.Millisecond/2+time.Millisecond {
			t.Fatalf("within %s of %d ms on the way", got.Within, there+back)
		}
	})
	// A peer that says anything makes nothing overflow.
	for _, c := range [][2]uint64{{0, 0}, {0, 1<<64 - 1}, {1<<64 - 1, 1<<64 - 1}} {
		got := measure(time.Now(), time.Second, c[0], c[1])
		if got.Within < 0 || got.Within > time.Second || got.Offset.Abs() > maxOffset*time.Millisecond {
			t.Errorf("%v: %+v", c, got)
		}
	}
}

// TestNoRouteIsNotTheAskers: who answers without a route of a family says nothing of an address of it; of its own it says so.
func TestNoRouteIsNotTheAskers(t *testing.T) {
	err := fmt.Errorf("dialling: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)})
	if !noRoute(err) || noRoute(nil) || noRoute(syscall.EHOSTUNREACH) || noRoute(syscall.ECONNREFUSED) {
		t.Error("no route is told wrongly")
	}
	if o := outcomeOf(t.Context(), err); o != protocol.DialUnreachable {
		t.Errorf("of the own address: %v", o)
	}
}
