package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds on connections. Members are few; the bounds are there for strangers, and for an
// organisation whose nodes share one address.
const (
	connsLow, connsHigh = 192, 256 // above the high mark, connections that are not protected are trimmed
	connGrace           = 20 * time.Second
	connsPerIPv4        = 16 // also per IPv6 /56
	connsPerIPv6Net     = 64 // per IPv6 /48
)

func (m *Mesh) newHost() (host.Host, error) {
	seed := m.cfg.Key.UnsafeSeed()
	key, err := libp2pcrypto.UnmarshalEd25519PrivateKey(append(seed[:], m.self[:]...))
	if err != nil {
		return nil, fmt.Errorf("reading node key: %w", err)
	}
	listen := make([]ma.Multiaddr, 0, len(m.cfg.Listen))
	for _, s := range m.cfg.Listen {
		a, err := parseAddr(m.self, s)
		if err != nil {
			return nil, err
		}
		listen = append(listen, a)
	}
	conns, err := connmgr.NewConnManager(connsLow, connsHigh, connmgr.WithGracePeriod(connGrace))
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("entente"),
		libp2p.ProtocolVersion("entente/1"),
		libp2p.ConnectionManager(conns),
		libp2p.ConnectionGater(gater{m}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		// What peers say this node's address is would end up on its signed card.
		libp2p.DisableIdentifyAddressDiscovery(),
		// The detectors stop dialling a transport after many failures. Here failures mean
		// that a few members are down, and say nothing about the transport.
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
		// TLS 1.3 alone, by TCP as by QUIC: Go's crypto/tls agrees on X25519MLKEM768,
		// libp2p's Noise on X25519, which a later quantum computer opens.
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.Transport(libp2pquic.NewTransport),
	}
	if len(listen) == 0 {
		opts = append(opts, libp2p.NoListenAddrs)
	} else {
		opts = append(opts, libp2p.ListenAddrs(listen...))
	}
	if m.cfg.HostOptions != nil {
		// Limits by address make no sense among simulated addresses.
		opts = append(opts, libp2p.ResourceManager(&network.NullResourceManager{}))
		return libp2p.New(append(opts, m.cfg.HostOptions...)...)
	}
	limits, err := newLimits()
	if err != nil {
		return nil, err
	}
	return libp2p.New(append(opts, libp2p.Transport(tcp.NewTCPTransport), libp2p.ResourceManager(limits))...)
}

func newLimits() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()), rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerIPv4}},
			[]rcmgr.ConnLimitPerSubnet{
				{PrefixLength: 56, ConnCount: connsPerIPv4}, {PrefixLength: 48, ConnCount: connsPerIPv6Net}}))
}

// peerIDPrefix is what stands before the key in the peer ID of an Ed25519 key.
const peerIDPrefix = "\x00\x24\x08\x01\x12\x20"

func peerOf(n protocol.NodeID) peer.ID { return peer.ID(peerIDPrefix + string(n[:])) }

// nodeOf returns false for keys other than Ed25519, which no node here has.
func nodeOf(p peer.ID) (n protocol.NodeID, ok bool) {
	if len(p) != len(peerIDPrefix)+len(n) || p[:len(peerIDPrefix)] != peerIDPrefix {
		return n, false
	}
	copy(n[:], p[len(peerIDPrefix):])
	return n, true
}

// parseAddr reads an address of node. A peer ID at its end must be node's, and is dropped.
func parseAddr(node protocol.NodeID, s string) (ma.Multiaddr, error) {
	const want = "write it like /ip4/192.0.2.1/udp/4001/quic-v1 or /dns4/node.example.org/tcp/4001"
	if len(s) > protocol.MaxAddrSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "address has %d bytes, at most %d; %s", len(s), protocol.MaxAddrSize, want)
	}
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		hint := ""
		if _, portErr := netip.ParseAddrPort(s); portErr == nil || !strings.HasPrefix(s, "/") {
			hint = "; a multiaddress begins with a slash"
		}
		return nil, protocol.Errorf(protocol.ErrMalformed, "address %q cannot be read%s; %s", s, hint, want)
	}
	a, id := peer.SplitAddr(a)
	if id != "" && id != peerOf(node) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "address %q is of another node than %s; leave out its /p2p/ part or mend it", s, node)
	}
	if a == nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "address %q names no host; %s", s, want)
	}
	return a, nil
}

// Addrs returns the addresses that this node listens on, with their ports, sorted. Loopback
// addresses are left out if there are others.
func (m *Mesh) Addrs() []string {
	var all, public []string
	for _, a := range m.host.Addrs() {
		all = append(all, a.String())
		if !manet.IsIPLoopback(a) {
			public = append(public, a.String())
		}
	}
	if len(public) > 0 {
		all = public
	}
	slices.Sort(all)
	return slices.Compact(all)
}
