package mesh

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	circuitpb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// Bounds on what a relay does for others. A circuit may last and carry as much as it wants:
// libp2p calls a connection limited where its relay says otherwise, and pubsub does not use such.
const (
	reservationTime = time.Hour // a reservation holds so long; it is renewed at half of it

	maxReservations       = 256 // of all organisations
	maxReservationsPerOrg = 16
	maxReservationsPerIP  = 64 // an agency may sit behind one address

	maxCircuits       = 1024 // at a time
	maxCircuitsPerOrg = 128
	maxCircuitsOf     = 64 // of one node, both ends counted
	relayBuffer       = 16 << 10
)

// gatedHost is the host as libp2p's services see it: what they serve, they serve to known peers.
type gatedHost struct {
	host.Host
	m *Mesh
}

func (h gatedHost) SetStreamHandler(id libp2pprotocol.ID, handle network.StreamHandler) {
	h.Host.SetStreamHandler(id, h.m.gated(handle))
}

func (h gatedHost) SetStreamHandlerMatch(id libp2pprotocol.ID, match func(libp2pprotocol.ID) bool, handle network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, match, h.m.gated(handle))
}

// relaying is what a relay knows of its work. It is the relay service's access control, and is
// told by it what it does.
type relaying struct {
	m        *Mesh
	circuits atomic.Int64
	bytes    atomic.Uint64

	reservationsPerOrg, circuitsPerOrg int

	mu       sync.Mutex
	reserved map[peer.ID]time.Time // and until when
}

// serveRelay begins to relay for known peers.
func (m *Mesh) serveRelay() error {
	r := &relaying{m: m, reserved: map[peer.ID]time.Time{}, reservationsPerOrg: maxReservationsPerOrg, circuitsPerOrg: maxCircuitsPerOrg}
	service, err := relayv2.New(gatedHost{m.host, m}, relayv2.WithACL(r), relayv2.WithMetricsTracer(r),
		relayv2.WithResources(relayv2.Resources{ReservationTTL: reservationTime, MaxReservations: maxReservations,
			MaxCircuits: maxCircuitsOf, BufferSize: relayBuffer,
			MaxReservationsPerIP: maxReservationsPerIP, MaxReservationsPerASN: maxReservations}),
		// Where a relay listens is on its card. Addresses in an answer would not be signed.
		relayv2.WithReservationAddressFilter(func(ma.Multiaddr) bool { return false }))
	if err != nil {
		return err
	}
	m.stopRelay = service.Close
	m.relaying.Store(r)
	return nil
}

// AllowReserve implements relayv2.ACLFilter: known peers may, in the bounds of their organisation.
func (r *relaying) AllowReserve(p peer.ID, _ ma.Multiaddr) bool {
	node, ok := r.m.known(p)
	if !ok {
		return false
	}
	org, ok := r.m.cfg.Known(node)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.reserved, func(_ peer.ID, until time.Time) bool { return now.After(until) })
	count := 0
	for other := range r.reserved {
		if other == p {
			continue
		}
		if n, ok := nodeOf(other); ok {
			if o, ok := r.m.cfg.Known(n); ok && o == org {
				count++
			}
		}
	}
	if count >= r.reservationsPerOrg {
		r.m.log.Info("refusing a reservation: its organisation has used up its share", "node", node)
		return false
	}
	r.reserved[p] = now.Add(reservationTime)
	return true
}

// AllowConnect implements relayv2.ACLFilter: known peers may call known peers.
func (r *relaying) AllowConnect(src peer.ID, _ ma.Multiaddr, dest peer.ID) bool {
	caller, ok := r.m.known(src)
	if !ok {
		return false
	}
	if _, ok := r.m.known(dest); !ok {
		return false
	}
	org, ok := r.m.cfg.Known(caller)
	if !ok || r.circuits.Load() >= maxCircuits {
		return false
	}
	if r.circuitsOf(func(p peer.ID) bool {
		n, ok := nodeOf(p)
		if !ok {
			return false
		}
		o, ok := r.m.cfg.Known(n)
		return ok && o == org
	}) > r.circuitsPerOrg { // with the one that is asked for
		r.m.log.Info("refusing a circuit: the caller's organisation has used up its share", "node", caller)
		return false
	}
	return true
}

// circuitsOf counts the circuits that peers asked for. Those by which others call them are streams of
// another protocol, and count for who calls.
func (r *relaying) circuitsOf(of func(peer.ID) bool) (n int) {
	for _, c := range r.m.host.Network().Conns() {
		if !of(c.RemotePeer()) {
			continue
		}
		for _, s := range c.GetStreams() {
			if s.Protocol() == circuit.ProtoIDv2Hop {
				n++
			}
		}
	}
	return n
}

// gone forgets the reservation of a peer that is not connected any more.
func (r *relaying) gone(p peer.ID) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reserved, p)
}

// What follows implements relayv2.MetricsTracer.

func (r *relaying) ConnectionOpened()                         { r.circuits.Add(1) }
func (r *relaying) ConnectionClosed(time.Duration)            { r.circuits.Add(-1) }
func (r *relaying) BytesTransferred(n int)                    { r.bytes.Add(uint64(n)) }
func (r *relaying) RelayStatus(bool)                          {}
func (r *relaying) ConnectionRequestHandled(circuitpb.Status) {}
func (r *relaying) ReservationAllowed(bool)                   {}
func (r *relaying) ReservationClosed(int)                     {}

func (r *relaying) ReservationRequestHandled(circuitpb.Status) {}

// RelayWork is what a relay does for others now.
type RelayWork struct {
	Reservations int    // peers that can be called by way of this node
	Circuits     int    // connections that it forwards
	Bytes        uint64 // forwarded since the start, both ways
}

// Relaying returns what this node does as a relay; ok is false if it is none.
func (m *Mesh) Relaying() (w RelayWork, ok bool) {
	r := m.relaying.Load()
	if r == nil {
		return w, false
	}
	now := time.Now()
	r.mu.Lock()
	for _, until := range r.reserved {
		if now.Before(until) {
			w.Reservations++
		}
	}
	r.mu.Unlock()
	w.Circuits, w.Bytes = int(r.circuits.Load()), r.bytes.Load()
	return w, true
}

// relayLimits makes room for circuits in the bounds of libp2p, which are for 64 of them.
func relayLimits(limits *rcmgr.ScalingLimitConfig) {
	streams := func(n int, memory int64) rcmgr.BaseLimit {
		return rcmgr.BaseLimit{StreamsInbound: n, StreamsOutbound: n, Streams: 2 * n, Memory: memory}
	}
	all, one := streams(2*maxCircuits, 4*maxCircuits*relayBuffer), streams(2*maxCircuitsOf, 8<<20)
	limits.AddServiceLimit(relayv2.ServiceName, all, rcmgr.BaseLimitIncrease{})
	limits.AddServicePeerLimit(relayv2.ServiceName, one, rcmgr.BaseLimitIncrease{})
	for _, id := range []libp2pprotocol.ID{circuit.ProtoIDv2Hop, circuit.ProtoIDv2Stop} {
		limits.AddProtocolLimit(id, all, rcmgr.BaseLimitIncrease{})
		limits.AddProtocolPeerLimit(id, one, rcmgr.BaseLimitIncrease{})
	}
}

// circuitsHaveNoIP keeps circuits out of the limits by address, which would be that of the relay
// from which all of a node's may come. Loopback is what libp2p limits neither in number nor in
// rate; the bounds on strangers, and of the relay, stay.
type circuitsHaveNoIP struct{ network.ResourceManager }

var onLoopback = ma.StringCast("/ip4/127.0.0.1/p2p-circuit")

func (r circuitsHaveNoIP) OpenConnection(dir network.Direction, usefd bool, endpoint ma.Multiaddr) (network.ConnManagementScope, error) {
	if endpoint != nil && isRelayed(endpoint) {
		endpoint, usefd = onLoopback, false
	}
	return r.ResourceManager.OpenConnection(dir, usefd, endpoint)
}

func isRelayed(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}
