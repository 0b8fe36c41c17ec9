package mesh

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	circuitclient "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	circuitpb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/entente-mesh/entente/protocol"
)

func relays(c *Config) { c.Relay = true }

// at makes a member want to be reachable by way of relays, as soon as it is a member.
func at(relays ...*member) func(*Config) {
	return func(c *Config) {
		self := c.Key.Public()
		c.Relays = func() (out []Relay) {
			if _, ok := c.Known(self); !ok {
				return nil // a relay that refuses is not tried again for a while
			}
			for _, r := range relays {
				out = append(out, Relay{r.self, r.Addrs()})
			}
			return out
		}
	}
}

// by returns where a member is reached by way of a relay.
func by(r *member) []string {
	var out []string
	for _, a := range r.Addrs() {
		out = append(out, protocol.RelayedAddr(a, r.self))
	}
	return out
}

func (m *member) info(node protocol.NodeID) (p PeerInfo) {
	for _, p := range m.Peers() {
		if p.Node == node {
			return p
		}
	}
	return p
}

// reserved waits until a member has a reservation at each of relays.
func reserved(t *testing.T, m *member, relays ...*member) {
	t.Helper()
	eventually(t, "the reservations are there", func() bool {
		m.LookForRelays()
		held := map[protocol.NodeID]bool{}
		for _, r := range m.Reservations() {
			held[r.Relay] = true
		}
		for _, r := range relays {
			if !held[r.self] {
				return false
			}
		}
		return len(held) == len(relays)
	})
}

// TestByRelayAlone: two members that listen nowhere exchange everything by way of a relay, which
// neither had called before, and which is told nothing of it.
func TestByRelayAlone(t *testing.T) {
	c := newClub()
	r := newMember(t, c, overTCP, relays)
	b := newMember(t, c, "", at(r))
	a := newMember(t, c, "")
	c.add(r.self, a.self, b.self)
	reserved(t, b, r)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := a.Connect(ctx, b.self, by(r)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the called let the caller in", func() bool { return b.admitted(a.self) })
	for _, end := range []struct{ m, other *member }{{a, b}, {b, a}} {
		if p := end.m.info(end.other.self); p.Path != ByRelay || p.Relay != r.self {
			t.Errorf("it is reached by %q, relay %s", p.Path, p.Relay)
		}
		if p := end.m.info(r.self); p.Path != Direct {
			t.Errorf("the relay is reached by %q", p.Path)
		}
		for _, conn := range end.m.host.Network().ConnsToPeer(peerOf(end.other.self)) {
			// libp2p does not tell of a circuit that this end called what it agreed on.
			if s := conn.ConnState().Security; end.m == b && s != libp2ptls.ID || conn.Stat().Limited {
				t.Errorf("security inside of the circuit is %q, limited %v", s, conn.Stat().Limited)
			}
		}
	}
	joinAll(t, []*member{a, b}, func(int) int { return 1 })
	if err := a.Publish(ctx, testTopic, []byte("gossip")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, "gossip came", b.got); got.data != "gossip" || got.from != a.self {
		t.Errorf("got %+v", got)
	}
	req := &protocol.SyncMessage{Version: 1, Kind: protocol.SyncError, Error: "an answer"}
	if _, err := b.Ask(ctx, a.self, req); err == nil || !strings.Contains(err.Error(), "an answer") {
		t.Errorf("asking by way of the relay: %v", err)
	}
	if w, ok := r.Relaying(); !ok || w.Reservations != 1 || w.Circuits != 1 || w.Bytes == 0 {
		t.Errorf("the relay does %+v", w)
	}
	if len(r.got) > 0 || len(r.Topics()) > 0 {
		t.Error("the relay was given what it forwards")
	}
}

// TestRelayForMembersAlone: strangers get neither a reservation nor a circuit, and who is removed
// loses both at once.
func TestRelayForMembersAlone(t *testing.T) {
	c, ofRelay := newClub(), newClub()
	r := newMember(t, ofRelay, overTCP, relays)
	b := newMember(t, c, "", at(r))
	ofRelay.add(r.self, b.self)
	c.add(r.self, b.self)
	reserved(t, b, r)
	o := newOutsider(t, libp2p.Security(libp2ptls.ID, libp2ptls.New))
	if err := o.call(t, r); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	reserve := func() error {
		_, err := circuitclient.Reserve(network.WithNoDial(ctx, "test"), o, peer.AddrInfo{ID: peerOf(r.self)})
		return err
	}
	if err := reserve(); err == nil {
		t.Error("a stranger has a reservation")
	}
	// As a circuit client would ask, without one.
	connect := func(to protocol.NodeID) error { return askCircuit(ctx, o, r, to) }
	if err := connect(b.self); err == nil {
		t.Error("a stranger has a circuit")
	}
	ofRelay.add(o.id)
	if _, err := o.hello(t, r, nil); err != nil {
		t.Fatal(err)
	}
	if err := reserve(); err != nil {
		t.Errorf("a member has no reservation: %v", err)
	}
	if err := connect(protocol.NodeID{9}); err == nil {
		t.Error("a circuit leads to a stranger")
	}
	a := newMember(t, c, "")
	c.add(a.self)
	ofRelay.add(a.self)
	if err := a.Connect(ctx, b.self, by(r)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a circuit", func() bool { w, _ := r.Relaying(); return w.Circuits == 1 && w.Reservations == 2 && b.admitted(a.self) })
	// The other two do not know yet that b was removed; the relay does.
	ofRelay.remove(b.self)
	r.Recheck()
	eventually(t, "nothing is left of who was removed", func() bool {
		w, _ := r.Relaying()
		return w.Circuits == 0 && w.Reservations == 1 && !a.admitted(b.self)
	})
	if err := a.Connect(ctx, b.self, by(r)); err == nil {
		t.Error("who was removed is called by way of the relay")
	}
	if err := askCircuit(ctx, o, r, b.self); err == nil {
		t.Error("a circuit leads to who was removed")
	}
}

// TestOneMemberCannotTakeTheRelay: the nodes of one organisation have a share.
func TestOneMemberCannotTakeTheRelay(t *testing.T) {
	c := newClub()
	r := newMember(t, c, overTCP, relays)
	share := r.relaying.Load()
	share.reservationsPerOrg, share.circuitsPerOrg = 2, 1
	var hosts []*outsider
	for i := range 4 {
		o := newOutsider(t, libp2p.Security(libp2ptls.ID, libp2ptls.New))
		c.addOf(protocol.OrgID{byte(1 + i/3)}, o.id)
		hosts = append(hosts, o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	var got []bool
	for _, o := range hosts {
		if err := o.call(t, r); err != nil {
			t.Fatal(err)
		}
		_, err := circuitclient.Reserve(network.WithNoDial(ctx, "test"), o, peer.AddrInfo{ID: peerOf(r.self)})
		got = append(got, err == nil)
	}
	if got[0] != true || got[1] != true || got[2] != false || got[3] != true {
		t.Errorf("reservations are granted as %v", got)
	}
	// A renewal takes no further share.
	if _, err := circuitclient.Reserve(network.WithNoDial(ctx, "test"), hosts[1], peer.AddrInfo{ID: peerOf(r.self)}); err != nil {
		t.Errorf("renewing: %v", err)
	}
	allow := func(src, dest *outsider) bool { return share.AllowConnect(peerOf(src.id), nil, peerOf(dest.id)) }
	if !allow(hosts[0], hosts[3]) {
		t.Fatal("the first circuit is refused")
	}
	// A node is called without a share of its own.
	hosts[3].SetStreamHandler("/libp2p/circuit/relay/0.2.0/stop", func(network.Stream) {})
	for range 2 {
		if _, err := r.host.NewStream(network.WithNoDial(ctx, "test"), peerOf(hosts[3].id), "/libp2p/circuit/relay/0.2.0/stop"); err != nil {
			t.Fatal(err)
		}
	}
	if !allow(hosts[3], hosts[0]) {
		t.Error("calls to a node use up its own share")
	}
	for range 2 {
		s, err := hosts[0].NewStream(network.WithNoDial(ctx, "test"), peerOf(r.self), "/libp2p/circuit/relay/0.2.0/hop")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte{3}); err != nil { // the first byte of a request
			t.Fatal(err)
		}
	}
	eventually(t, "the share is used up", func() bool { return !allow(hosts[2], hosts[3]) })
	if !allow(hosts[3], hosts[0]) {
		t.Error("the share of one is taken from another")
	}
}

// TestRelayThatGrantsAndGoes: who loses a reservation within a minute waits, longer each time; who held it
// longer asks again at once.
func TestRelayThatGrantsAndGoes(t *testing.T) {
	c := newClub()
	r := newMember(t, c, overTCP, relays)
	m := newMember(t, c, overTCP, at(r))
	c.add(r.self, m.self)
	reserved(t, m, r)
	lose := func(held time.Duration) time.Duration {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.reserved[r.self], m.reservedAt[r.self] = time.Now().Add(reservationTime), time.Now().Add(-held)
		m.lostRelay(r.self)
		m.lostRelay(r.self) // told twice
		return m.relayTries[r.self].wait
	}
	if wait := lose(2 * relayHolds); wait != 0 || !m.mayTry(r.self) {
		t.Errorf("after a reservation of two minutes it waits %v", wait)
	}
	for want := relayRetryMin; want <= 4*relayRetryMin; want *= 2 {
		if wait := lose(0); wait != want || m.mayTry(r.self) {
			t.Errorf("after a reservation of no time it waits %v, and should %v", wait, want)
		}
	}
}

// TestRelayFails: when a relay goes, another takes its place, and the owner is told.
func TestRelayFails(t *testing.T) {
	c := newClub()
	told := make(chan struct{}, 16)
	var all []*member
	for range 3 {
		r := newMember(t, c, overTCP, relays)
		c.add(r.self)
		all = append(all, r)
	}
	b := newMember(t, c, "", at(all...), func(c *Config) { c.Reserved = func() { told <- struct{}{} } })
	c.add(b.self)
	reserved(t, b, all[0], all[1])
	next(t, "the owner is told", told)
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	reserved(t, b, all[1], all[2])
	next(t, "the owner is told", told)
	if why := b.RelayFailures(); len(why) != 1 || why[all[0].self] == "" {
		t.Errorf("failures of relays: %v", why)
	}
}

// TestLimitedRelayIsNotUsed: gossip does not run over connections that a relay cuts.
func TestLimitedRelayIsNotUsed(t *testing.T) {
	c := newClub()
	r := newMember(t, c, overTCP)
	c.add(r.self)
	service, err := relayv2.New(r.host)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	b := newMember(t, c, "", at(r))
	c.add(b.self)
	eventually(t, "the relay was tried", func() bool {
		b.LookForRelays()
		return strings.Contains(b.RelayFailures()[r.self], "gossip does not run over such")
	})
	if len(b.Reservations()) > 0 {
		t.Error("the reservation counts")
	}
}

// TestManyByOneRelay: circuits do not count as connections from the address of their relay.
func TestManyByOneRelay(t *testing.T) {
	c := newClub()
	r := newMember(t, c, overTCP, relays)
	b := newMember(t, c, "", at(r))
	c.add(r.self, b.self)
	reserved(t, b, r)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	for i := range connsPerIPv4 + 2 {
		a := newMember(t, c, "")
		c.add(a.self)
		if err := a.Connect(ctx, b.self, by(r)); err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
	}
}

func TestReadRelay(t *testing.T) {
	id := protocol.NodeID{7}.String()
	for _, tt := range []struct {
		s  string
		ok bool
	}{
		{"/dns4/relay.example.org/tcp/443/p2p/" + id, true},
		{"/ip4/192.0.2.1/udp/443/quic-v1/p2p/" + id, true},
		{"/ip4/192.0.2.1/tcp/443", false},
		{"/p2p/" + id, false},
		{"/ip4/192.0.2.1/tcp/443/p2p/12D3Koo", false},
		{"/ip4/192.0.2.1/tcp/443/p2p/" + id + "/p2p-circuit", false},
		{"/ip4/192.0.2.1/tcp/443/p2p/" + id + "/p2p-circuit/p2p/" + id, false},
		{"relay.example.org:443/p2p/" + id, false},
	} {
		r, err := ReadRelay(tt.s)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v, want ok %v", tt.s, err, tt.ok)
		}
		if tt.ok && (r.Node.String() != id || len(r.Addrs) != 1 || strings.Contains(r.Addrs[0], "p2p")) {
			t.Errorf("%s reads as %+v", tt.s, r)
		}
	}
}

// askCircuit asks a relay for a circuit, and closes it again.
func askCircuit(ctx context.Context, o *outsider, r *member, to protocol.NodeID) error {
	s, err := o.NewStream(network.WithNoDial(ctx, "test"), peerOf(r.self), "/libp2p/circuit/relay/0.2.0/hop")
	if err != nil {
		return err
	}
	defer s.Reset()
	if err := s.SetDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	err = util.NewDelimitedWriter(s).WriteMsg(&circuitpb.HopMessage{Type: circuitpb.HopMessage_CONNECT.Enum(), Peer: &circuitpb.Peer{Id: []byte(peerOf(to)), Addrs: [][]byte{ma.StringCast("/ip4/127.0.0.1/tcp/1").Bytes()}}})
	if err != nil {
		return err
	}
	var answer circuitpb.HopMessage
	if err := util.NewDelimitedReader(s, 4096).ReadMsg(&answer); err != nil {
		return err
	}
	if answer.GetStatus() != circuitpb.Status_OK {
		return errors.New(answer.GetStatus().String())
	}
	return nil
}
