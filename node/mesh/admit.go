package mesh

import (
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds on strangers: peers that are connected and were not let in yet.
const (
	maxStrangers = 64
	helloWithin  = 10 * time.Second // after connecting, a stranger becomes known or goes
	backoffMin   = 5 * time.Second  // a refused stranger may come back after this, doubling
	backoffMax   = time.Minute
	maxBackoffs  = 1024
)

// peerState is a connected peer.
type peerState struct {
	admitted bool
	instance instance                   // of its process, as it last said; zero if it did not yet
	timer    *time.Timer                // runs expire while not admitted
	said     *protocol.Introduction     // nil: nothing
	unknown  map[protocol.SyncKind]bool // kinds of requests that it answered not to know
}

type backoff struct {
	until time.Time
	wait  time.Duration
}

type peerEvent struct {
	node      protocol.NodeID
	connected bool
}

func (m *Mesh) known(p peer.ID) (protocol.NodeID, bool) {
	node, ok := nodeOf(p)
	if ok {
		_, ok = m.cfg.Known(node)
	}
	return node, ok
}

// gated refuses streams of peers that are not known.
func (m *Mesh) gated(handle network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		if _, ok := m.known(s.Conn().RemotePeer()); !ok {
			_ = s.Reset()
			return
		}
		handle(s)
	}
}

// gater is the connection gater: it keeps strangers from filling the node.
type gater struct{ m *Mesh }

func (g gater) InterceptPeerDial(peer.ID) bool                                  { return true }
func (g gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool                    { return true }
func (g gater) InterceptAccept(network.ConnMultiaddrs) bool                     { return true }
func (g gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

func (g gater) InterceptSecured(dir network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	node, ok := nodeOf(p)
	if !ok {
		return false
	}
	if dir == network.DirOutbound {
		return true
	}
	m := g.m
	if _, ok := m.cfg.Known(node); ok {
		return !m.waits(node)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.closed && time.Now().After(m.backoffs[node].until) && m.strangers() < maxStrangers
}

// strangers counts peers that were not let in yet. The caller holds mu.
func (m *Mesh) strangers() (n int) {
	for _, p := range m.peers {
		if !p.admitted {
			n++
		}
	}
	return n
}

// notifiee follows the connections of the swarm. It never waits.
type notifiee struct{ m *Mesh }

func (n notifiee) Listen(network.Network, ma.Multiaddr)      {}
func (n notifiee) ListenClose(network.Network, ma.Multiaddr) {}

func (n notifiee) Connected(_ network.Network, c network.Conn) {
	node, ok := nodeOf(c.RemotePeer())
	if !ok {
		return // the gater let none in
	}
	m := n.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.peers[node] != nil {
		return
	}
	m.peers[node] = &peerState{timer: time.AfterFunc(helloWithin, func() { m.spawn(func() { m.expire(node) }) })}
}

func (n notifiee) Disconnected(nw network.Network, c network.Conn) {
	node, ok := nodeOf(c.RemotePeer())
	if !ok {
		return
	}
	m := n.m
	m.mu.Lock()
	defer m.mu.Unlock()
	// Asked under the lock, so that a connection that begins meanwhile is counted after.
	if p := m.peers[node]; p != nil && nw.Connectedness(c.RemotePeer()) != network.Connected {
		p.timer.Stop()
		delete(m.peers, node)
		m.filter.forget(c.RemotePeer())
		m.forgetSeen(c.RemotePeer())
		m.relaying.Load().gone(c.RemotePeer())
		m.lostRelay(node)
		if p.admitted {
			m.tell(node, false)
		}
	}
}

// admit lets a connected peer in. The caller knows that it is Known.
func (m *Mesh) admit(node protocol.NodeID) {
	m.mu.Lock()
	p := m.peers[node]
	if p == nil || m.closed {
		m.mu.Unlock()
		return
	}
	first := !p.admitted
	p.admitted = true
	p.timer.Stop()
	delete(m.backoffs, node)
	delete(m.foreign, node)
	if first {
		m.tell(node, true)
	}
	m.mu.Unlock()
	if first {
		m.host.ConnManager().Protect(peerOf(node), "entente")
		m.announcePeer(node)
	}
}

// announcePeer tells pubsub of a peer. Pubsub looks at a peer when it was identified, which
// was while it was a stranger.
func (m *Mesh) announcePeer(node protocol.NodeID) {
	for _, c := range m.host.Network().ConnsToPeer(peerOf(node)) {
		_ = m.identd.Emit(event.EvtPeerIdentificationCompleted{Peer: peerOf(node), Conn: c, Protocols: m.wire.gossip})
		return
	}
}

// refuse ends all connections with a peer that is not known, and makes it wait.
func (m *Mesh) refuse(node protocol.NodeID) {
	m.mu.Lock()
	now := time.Now()
	b := m.backoffs[node]
	b.wait = min(max(2*b.wait, backoffMin), backoffMax)
	b.until = now.Add(b.wait)
	for other, o := range m.backoffs {
		if len(m.backoffs) < maxBackoffs {
			break
		}
		// Expired ones first would want an order; to forget one early costs one hello.
		if other != node && (now.After(o.until) || len(m.backoffs) >= maxBackoffs) {
			delete(m.backoffs, other)
		}
	}
	m.backoffs[node] = b
	m.mu.Unlock()
	m.disconnect(node)
}

func (m *Mesh) disconnect(node protocol.NodeID) {
	m.host.ConnManager().Unprotect(peerOf(node), "entente")
	if err := m.host.Network().ClosePeer(peerOf(node)); err != nil {
		m.log.Debug("closing connection failed", "node", node, "err", err)
	}
}

// expire judges a peer that did not finish a hello in time.
func (m *Mesh) expire(node protocol.NodeID) {
	if _, ok := m.cfg.Known(node); ok {
		if !m.incompatible(node) {
			m.admit(node)
		}
		return
	}
	m.log.Debug("peer did not say hello in time", "node", node)
	m.refuse(node)
}

// Recheck looks again at who is known: it ends the connections of peers that were let in
// and are not known any more. The owner calls it when Known has changed.
func (m *Mesh) Recheck() {
	var admitted []protocol.NodeID
	m.mu.Lock()
	for node, p := range m.peers {
		if p.admitted {
			admitted = append(admitted, node)
		}
	}
	m.mu.Unlock()
	for _, node := range admitted {
		if _, ok := m.cfg.Known(node); !ok {
			m.log.Info("disconnecting a peer that is not known any more", "node", node)
			m.disconnect(node)
		}
	}
}

// tell queues an event for the owner. The caller holds mu.
func (m *Mesh) tell(node protocol.NodeID, connected bool) {
	m.events = append(m.events, peerEvent{node, connected})
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// tellEvents hands events to the owner, so that the swarm never waits for it.
func (m *Mesh) tellEvents() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake:
		}
		m.mu.Lock()
		events := m.events
		m.events = nil
		m.mu.Unlock()
		for _, e := range events {
			m.cfg.PeerChanged(e.node, e.connected)
		}
	}
}
