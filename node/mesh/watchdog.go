package mesh

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/entente-mesh/entente/protocol"
)

// The watchdog. Both sides of a connection are members, and every member is in the control topic.
// A peer that is connected and in none of this node's topics has a gossip stream that died, or
// never began, without either side having been told; nothing mends that but a new connection.
const (
	aloneFor  = 2 * time.Minute // connected without a topic in common, it is reset; doubling
	aloneMost = 32 * time.Minute
	aloneKept = 2 * aloneMost // since it was last alone; then its resets are forgotten

	// directFor is how long a direct connection has to last before the circuit beside it ends.
	directFor = 30 * time.Second
)

// lonely is a peer that shares no topic with this node.
type lonely struct {
	since  time.Time // zero: it shares one now
	last   time.Time // when it was last seen to share none
	wait   time.Duration
	resets int
}

// watchTopics ends the connections of peers that share no topic, so that they are made anew.
func (m *Mesh) watchTopics(now time.Time) {
	topics := m.Topics()
	if len(topics) == 0 {
		return
	}
	shares := map[protocol.NodeID]bool{}
	for _, name := range topics {
		for _, p := range m.pubsub.ListPeers(name) {
			if id, ok := nodeOf(p); ok {
				shares[id] = true
			}
		}
	}
	peers := m.Peers()
	connected := map[protocol.NodeID]bool{}
	for _, p := range peers {
		connected[p.Node] = true
	}
	var due []protocol.NodeID
	m.mu.Lock()
	for id, l := range m.alone {
		if shares[id] || !connected[id] {
			l.since = time.Time{}
		}
		if now.Sub(l.last) > aloneKept {
			delete(m.alone, id)
		}
	}
	for _, p := range peers {
		if shares[p.Node] {
			continue
		}
		l := m.alone[p.Node]
		if l == nil {
			l = &lonely{wait: aloneFor} // of known nodes only, so it is bounded by the roster
			m.alone[p.Node] = l
		}
		if l.since.IsZero() {
			l.since = now
		}
		l.last = now
		if now.Sub(l.since) >= l.wait && m.serving[p.Node] == 0 && !m.busy(p.Node) {
			l.since, l.wait, l.resets = time.Time{}, min(2*l.wait, aloneMost), l.resets+1
			due = append(due, p.Node)
		}
	}
	m.mu.Unlock()
	for _, id := range due {
		m.log.Warn("resetting a peer that is connected and shares no topic", "node", id)
		m.resets.Add(1)
		m.disconnect(id)
	}
}

// busy reports whether this node asks a peer something: an answer on its way is worth more than
// gossip, and it is asked again.
func (m *Mesh) busy(node protocol.NodeID) bool {
	for _, c := range m.host.Network().ConnsToPeer(peerOf(node)) {
		for _, s := range c.GetStreams() {
			if slices.Contains(syncProtocols, s.Protocol()) {
				return true
			}
		}
	}
	return false
}

// Resets returns how many connections the watchdog ended since the start.
func (m *Mesh) Resets() uint64 { return m.resets.Load() }

// Punched returns how many times a direct connection took the place of a circuit.
func (m *Mesh) Punched() uint64 { return m.punched.Load() }

// endCircuits ends the circuits of peers that are connected directly as well: relays are for
// those that have nothing better.
func (m *Mesh) endCircuits(now time.Time) {
	for _, p := range m.Peers() {
		var circuits []network.Conn
		direct := false
		for _, c := range m.host.Network().ConnsToPeer(peerOf(p.Node)) {
			switch {
			case isRelayed(c.RemoteMultiaddr()):
				circuits = append(circuits, c)
			case now.Sub(c.Stat().Opened) >= directFor:
				direct = true
			}
		}
		for _, c := range circuits {
			if !direct || slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool { return slices.Contains(syncProtocols, s.Protocol()) }) {
				continue
			}
			m.punched.Add(1)
			m.log.Debug("ending a circuit beside a direct connection", "node", p.Node)
			_ = c.Close()
		}
	}
}
