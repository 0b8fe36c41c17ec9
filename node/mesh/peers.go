package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/entente-mesh/entente/protocol"
)

// PeerInfo is a connected peer that was let in.
type PeerInfo struct {
	Node    protocol.NodeID
	Org     protocol.OrgID // zero if it ceased to be known a moment ago
	Addrs   []string       // of its connections, as seen from here
	Inbound bool           // it called this node
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
	for _, s := range addrs[:min(len(addrs), 2*protocol.MaxAddrs)] {
		a, err := parseAddr(node, s)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		info.Addrs = append(info.Addrs, a)
	}
	if len(info.Addrs) == 0 {
		if len(bad) == 0 {
			bad = append(bad, errors.New("it has no address; ask its operator for one"))
		}
		return fmt.Errorf("connecting to node %s: %w", node, errors.Join(bad...))
	}
	// How often to try is the owner's to say; libp2p's own pauses grow to minutes.
	if s, ok := m.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(info.ID)
	}
	if err := m.host.Connect(ctx, info); err != nil {
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
			out = append(out, PeerInfo{Node: node})
		}
	}
	m.mu.Unlock()
	for i := range out {
		p := &out[i]
		p.Org, _ = m.cfg.Known(p.Node)
		for _, c := range m.host.Network().ConnsToPeer(peerOf(p.Node)) {
			p.Addrs = append(p.Addrs, c.RemoteMultiaddr().String())
			p.Inbound = c.Stat().Direction == network.DirInbound
		}
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	return out
}
