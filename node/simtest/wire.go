package simtest

import (
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"

	"github.com/entente-mesh/entente/protocol"
)

// Latency between any two nodes, one way.
const Latency = 20 * time.Millisecond

// Capture hands fn the bytes of every packet that any node sends from now on.
func (w *World) Capture(fn func(b []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.captured = fn
}

// Sent returns how many bytes all nodes have sent, in packets: what QUIC makes of them, without
// the headers of UDP and IP. Packets that the world dropped are not counted.
func (w *World) Sent() int64 { return w.sent.Load() }

// Cut drops packets from now on where fn says so, by the indexes of nodes. nil heals.
func (w *World) Cut(fn func(from, to int) bool) {
	if fn == nil {
		w.cut.Store(nil)
		return
	}
	index := map[string]int{}
	for _, n := range w.Nodes {
		index[n.ip] = n.index
	}
	byIP := func(from, to string) bool {
		a, okA := index[from]
		b, okB := index[to]
		return okA && okB && fn(a, b)
	}
	w.cut.Store(&byIP)
}

// watch counts the connections of a node that end.
func (w *World) watch(n *Node) libp2p.Option {
	self := n.Keys.Host.Public()
	return libp2p.WithFxOption(fx.Invoke(func(h host.Host) {
		h.Network().Notify(&network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) {
			raw, err := c.RemotePublicKey().Raw()
			if err != nil || len(raw) != len(self) {
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended[[2]protocol.NodeID{self, protocol.NodeID(raw)}]++
		}})
	}))
}

// Ended counts the connections among nodes that ended since the last call.
func (w *World) Ended(nodes []*Node) (count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range nodes {
		for _, b := range nodes {
			pair := [2]protocol.NodeID{a.Keys.Host.Public(), b.Keys.Host.Public()}
			count += w.ended[pair]
			delete(w.ended, pair)
		}
	}
	return count
}

// quic is x/simlibp2p's option with a connection of our own around the simulated one.
func (w *World) quic(n *Node) libp2p.Option {
	self := net.ParseIP(n.ip)
	return libp2p.QUICReuse(
		func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
			cm, err := quicreuse.NewConnManager(reset, token, opts...)
			if err != nil {
				return nil, err
			}
			l.Append(fx.StopHook(cm.Close))
			return cm, nil
		},
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sourceIP{self}, nil }),
		quicreuse.OverrideListenUDP(func(_ string, address *net.UDPAddr) (net.PacketConn, error) {
			c := w.net.NewEndpoint(address, simnet.NodeBiDiLinkSettings{Downlink: n.link, Uplink: n.link})
			return &conn{PacketConn: c, w: w, ip: n.ip}, nil
		}))
}

type sourceIP struct{ ip net.IP }

func (s sourceIP) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return s.ip, nil }

// conn drops what the world cuts.
type conn struct {
	net.PacketConn
	w  *World
	ip string
}

// WriteTo implements net.PacketConn. A dropped packet is sent, as far as the sender knows.
func (c *conn) WriteTo(b []byte, to net.Addr) (int, error) {
	if fn := c.w.cut.Load(); fn != nil {
		if a, ok := to.(*net.UDPAddr); ok && (*fn)(c.ip, a.IP.String()) {
			return len(b), nil
		}
	}
	c.w.mu.Lock()
	captured := c.w.captured
	c.w.mu.Unlock()
	if captured != nil {
		captured(slices.Clone(b))
	}
	c.w.sent.Add(int64(len(b)))
	return c.PacketConn.WriteTo(b, to)
}
