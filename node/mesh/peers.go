package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/entente-mesh/entente/protocol"
)

// PeerInfo is a connected peer that was let in.
type PeerInfo struct {
	Node    protocol.NodeID
	Org     protocol.OrgID // zero if it ceased to be known a moment ago
	Addrs   []string       // of its connections, as seen from here
	Inbound bool           // it called this node

	Path  Path            // the best of its connections
	Relay protocol.NodeID // that forwards, if Path is ByRelay
	// Resets counts how often the watchdog ended its connections because it shared no topic.
	Resets int
}

// Path is how a peer is reached.
type Path string

// The paths, the best first.
const (
	Direct  Path = "direct"
	ByProxy Path = "proxy" // the HTTP proxy of this node
	ByRelay Path = "relay"
)

// pathOf says how a connection goes.
func (m *Mesh) pathOf(c network.Conn) (Path, protocol.NodeID) {
	a := c.RemoteMultiaddr()
	switch {
	case isRelayed(a):
		_, relay, _ := protocol.SplitRelayed(a.String())
		return ByRelay, relay
	case m.cfg.Proxy != nil && c.Stat().Direction == network.DirOutbound:
		return ByProxy, protocol.NodeID{}
	}
	return Direct, protocol.NodeID{}
}

// paths reports whether a peer is connected without a relay, and by way of one.
func (m *Mesh) paths(node protocol.NodeID) (direct, relayed bool) {
	for _, c := range m.host.Network().ConnsToPeer(peerOf(node)) {
		if isRelayed(c.RemoteMultiaddr()) {
			relayed = true
		} else {
			direct = true
		}
	}
	return direct, relayed
}

// Connect calls a node at one of its addresses and says hello. It returns nil if the node
// is connected and was let in, now or before. Addresses that cannot be read are passed
// over, unless that leaves none.
func (m *Mesh) Connect(ctx context.Context, node protocol.NodeID, addrs []string) error {
	if node == m.self {
		return errors.New("connecting: this is the node itself")
	}
	if m.admitted(node) {
		return nil
	}
	if m.waits(node) {
		return fmt.Errorf("connecting to node %s: %w", node, errVersion)
	}
	info := peer.AddrInfo{ID: peerOf(node)}
	var bad []error
	var circuits []circuitAddr
	for _, s := range addrs[:min(len(addrs), 2*protocol.MaxAddrs)] {
		if s == protocol.RelayHere {
			continue
		}
		a, err := parseAddr(node, s)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		direct, relay, ok := protocol.SplitRelayed(a.String())
		switch {
		case !ok, m.admitted(relay):
			info.Addrs = append(info.Addrs, a)
		case relay != m.self && relay != node:
			circuits = append(circuits, circuitAddr{a, relay, direct})
		}
	}
	if err := m.call(ctx, info, circuits, bad); err != nil {
		return fmt.Errorf("connecting to node %s: %w", node, err)
	}
	if m.admitted(node) {
		return nil
	}
	if err := m.greet(ctx, node); err != nil {
		// Both may have called at once, and the other's hello was the one that counted.
		if m.admitted(node) {
			return nil
		}
		return fmt.Errorf("connecting to node %s: %w", node, err)
	}
	return nil
}

// circuitAddr is an address by way of a relay that is not connected.
type circuitAddr struct {
	addr   ma.Multiaddr
	relay  protocol.NodeID
	direct string
}

const (
	maxRelaysCalled = 3 // for one peer
	ownWayTime      = 8 * time.Second
)

// call connects with a peer: directly or by way of relays that are connected, and where that
// fails, by way of others. Relays forward for those only that said hello to them.
func (m *Mesh) call(ctx context.Context, info peer.AddrInfo, circuits []circuitAddr, bad []error) error {
	if len(info.Addrs)+len(circuits) == 0 {
		if len(bad) == 0 {
			bad = append(bad, errors.New("it has no address; ask its operator for one"))
		}
		return errors.Join(bad...)
	}
	// How often to try is the owner's to say; libp2p's own pauses grow to minutes.
	if s, ok := m.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(info.ID)
	}
	if len(info.Addrs) > 0 {
		err := m.callWithin(ctx, info, len(circuits) > 0)
		if err == nil || len(circuits) == 0 {
			return err
		}
		bad = append(bad, err)
	}
	byRelay := map[protocol.NodeID][]string{}
	for _, c := range circuits {
		if byRelay[c.relay] != nil || len(byRelay) < maxRelaysCalled {
			byRelay[c.relay] = append(byRelay[c.relay], c.direct)
		}
	}
	var wg sync.WaitGroup
	for relay, addrs := range byRelay {
		wg.Go(func() {
			if err := m.Connect(ctx, relay, addrs); err != nil {
				m.log.Debug("relay cannot be reached", "relay", relay, "err", err)
			}
		})
	}
	wg.Wait()
	info.Addrs = nil
	for _, c := range circuits {
		if m.admitted(c.relay) {
			info.Addrs = append(info.Addrs, c.addr)
		}
	}
	if len(info.Addrs) == 0 {
		return errors.Join(append(bad, errors.New("no relay by way of which it can be called lets this node in"))...)
	}
	if s, ok := m.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(info.ID)
	}
	if err := m.host.Connect(ctx, info); err != nil {
		return errors.Join(append(bad, err)...)
	}
	return nil
}

// callWithin connects; with a bound of its own where something else is left to be tried.
func (m *Mesh) callWithin(ctx context.Context, info peer.AddrInfo, bound bool) error {
	if bound {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ownWayTime)
		defer cancel()
	}
	return m.host.Connect(ctx, info)
}
func (m *Mesh) admitted(node protocol.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[node]
	return p != nil && p.admitted
}

// Peers returns the connected peers that were let in, ordered by node.
func (m *Mesh) Peers() []PeerInfo {
	m.mu.Lock()
	var out []PeerInfo
	for node, p := range m.peers {
		if p.admitted {
			info := PeerInfo{Node: node}
			if l := m.alone[node]; l != nil {
				info.Resets = l.resets
			}
			out = append(out, info)
		}
	}
	m.mu.Unlock()
	for i := range out {
		p := &out[i]
		p.Org, _ = m.cfg.Known(p.Node)
		for _, c := range m.host.Network().ConnsToPeer(peerOf(p.Node)) {
			p.Addrs = append(p.Addrs, c.RemoteMultiaddr().String())
			p.Inbound = c.Stat().Direction == network.DirInbound
			if path, relay := m.pathOf(c); p.Path == "" || path < p.Path {
				p.Path, p.Relay = path, relay // their names are in order
			}
		}
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	return out
}
