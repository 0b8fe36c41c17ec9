package mesh

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/entente-mesh/entente/protocol"
)

// Hole punching (DCUtR): two peers that are connected by way of a relay call each other at the
// same time, so that the firewalls on both sides take the other's packets for answers. The relay
// has to tell each from where it sees it.

// maxPunchAddrs bounds the addresses that a peer may have this node call.
const maxPunchAddrs = 8

// seen is where relays see this node: what to tell a peer that is to call it. It is told to
// peers for hole punching only, and never stands on a card.
type seen struct {
	mu    sync.Mutex
	addrs map[peer.ID][]ma.Multiaddr // by relay, newest last, at most one for each transport
}

// startPunching begins to replace circuits by direct connections.
func (m *Mesh) startPunching() error {
	ids, ok := m.host.(interface{ IDService() identify.IDService })
	if !ok {
		return errors.New("the host has no identify service")
	}
	sub, err := m.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	m.wg.Go(func() {
		defer sub.Close()
		for {
			select {
			case <-m.ctx.Done():
				return
			case e, ok := <-sub.Out():
				if !ok {
					return
				}
				m.noteSeen(e.(event.EvtPeerIdentificationCompleted))
			}
		}
	})
	service, err := holepunch.NewService(gatedHost{m.host, m}, ids.IDService(), m.punchAddrs, holepunch.WithAddrFilter(punchFilter{}))
	if err != nil {
		return err
	}
	m.stopPunching = service.Close
	return nil
}

// noteSeen takes a relay's word for where this node's packets come from, if they left from
// where the node listens: others would answer a port that takes no calls.
func (m *Mesh) noteSeen(e event.EvtPeerIdentificationCompleted) {
	if e.ObservedAddr == nil || e.Conn == nil || isRelayed(e.Conn.RemoteMultiaddr()) || !manet.IsPublicAddr(e.ObservedAddr) || !m.relays(e.Peer) {
		return
	}
	if _, ok := m.known(e.Peer); !ok {
		return
	}
	if !m.listensAt(e.Conn.LocalMultiaddr()) || transportOf(e.ObservedAddr) != transportOf(e.Conn.LocalMultiaddr()) {
		return
	}
	m.seen.mu.Lock()
	defer m.seen.mu.Unlock()
	same := func(a ma.Multiaddr) bool { return transportOf(a) == transportOf(e.ObservedAddr) }
	m.seen.addrs[e.Peer] = append(slices.DeleteFunc(m.seen.addrs[e.Peer], same), e.ObservedAddr)
}

// listensAt reports whether a local address has the port of one that is listened on.
func (m *Mesh) listensAt(local ma.Multiaddr) bool {
	kind, port := transportOf(local), portOf(local)
	return slices.ContainsFunc(m.host.Network().ListenAddresses(), func(l ma.Multiaddr) bool {
		return transportOf(l) == kind && portOf(l) == port && port != ""
	})
}

func transportOf(a ma.Multiaddr) string {
	if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err == nil {
		return "quic-v1"
	}
	if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
		return "tcp"
	}
	return ""
}

func portOf(a ma.Multiaddr) string {
	for _, code := range []int{ma.P_UDP, ma.P_TCP} {
		if port, err := a.ValueForProtocol(code); err == nil {
			return port
		}
	}
	return ""
}

// punchAddrs returns where peers can try to reach this node: where relays see it, and the public
// addresses that it listens on.
func (m *Mesh) punchAddrs() []ma.Multiaddr {
	var out []ma.Multiaddr
	m.seen.mu.Lock()
	for _, addrs := range m.seen.addrs {
		out = append(out, addrs...)
	}
	m.seen.mu.Unlock()
	for _, a := range m.host.Addrs() {
		if manet.IsPublicAddr(a) && !isRelayed(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b ma.Multiaddr) int { return a.Compare(b) })
	return slices.CompactFunc(out, func(a, b ma.Multiaddr) bool { return a.Equal(b) })
}

// forgetSeen forgets what a relay said that is not connected any more.
func (m *Mesh) forgetSeen(p peer.ID) {
	m.seen.mu.Lock()
	defer m.seen.mu.Unlock()
	delete(m.seen.addrs, p)
}

// punchFilter bounds what a peer has this node call: a few public addresses of the transports
// that there are.
type punchFilter struct{}

func (punchFilter) FilterLocal(_ peer.ID, addrs []ma.Multiaddr) []ma.Multiaddr {
	return addrs[:min(len(addrs), maxPunchAddrs)]
}

func (punchFilter) FilterRemote(_ peer.ID, addrs []ma.Multiaddr) []ma.Multiaddr {
	addrs = slices.DeleteFunc(addrs, func(a ma.Multiaddr) bool { return !manet.IsPublicAddr(a) || transportOf(a) == "" || isRelayed(a) })
	return addrs[:min(len(addrs), maxPunchAddrs)]
}

// CallDirectly tries to reach a peer without a relay that is connected by way of one. It returns
// nil if there is a direct connection afterwards.
func (m *Mesh) CallDirectly(ctx context.Context, node protocol.NodeID, addrs []string) error {
	info := peer.AddrInfo{ID: peerOf(node)}
	for _, s := range addrs[:min(len(addrs), protocol.MaxAddrs)] {
		if a, err := parseAddr(node, s); err == nil && !isRelayed(a) {
			info.Addrs = append(info.Addrs, a)
		}
	}
	if len(info.Addrs) == 0 {
		return errors.New("calling directly: it has no address of its own")
	}
	return m.host.Connect(network.WithForceDirectDial(ctx, "without a relay"), info)
}
