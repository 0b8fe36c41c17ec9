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
	"github.com/libp2p/go-libp2p/core/transport"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	circuitclient "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/fx"

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
	if err := m.checkProxy(listen); err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("entente"),
		libp2p.ProtocolVersion("entente/1"),
		libp2p.ConnectionManager(conns),
		libp2p.ConnectionGater(gater{m}),
		// libp2p's own relay transport would take circuits that strangers bring.
		libp2p.DisableRelay(),
		libp2p.WithFxOption(fx.Invoke(func(h host.Host, u transport.Upgrader) error {
			return circuitclient.AddTransport(gatedHost{h, m}, u)
		})),
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
	}
	if m.cfg.Proxy == nil {
		opts = append(opts, libp2p.Transport(libp2pquic.NewTransport))
	} else {
		opts = append(opts, libp2p.MultiaddrResolver(noResolver{}))
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
	overTCP := libp2p.Transport(tcp.NewTCPTransport)
	if m.cfg.Proxy != nil {
		overTCP = libp2p.Transport(newProxied(m.cfg.Proxy))
	}
	return libp2p.New(append(opts, overTCP, libp2p.ResourceManager(circuitsHaveNoIP{limits}))...)
}

// checkProxy refuses to listen where a proxy leaves no transport for it.
func (m *Mesh) checkProxy(listen []ma.Multiaddr) error {
	for _, a := range listen {
		if transportOf(a) == "quic-v1" && m.cfg.Proxy != nil {
			return protocol.Errorf(protocol.ErrMalformed, "address %s cannot be listened on beside a proxy, which is for TCP alone; leave it out", a)
		}
	}
	return nil
}

func newLimits() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	relayLimits(&limits)
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
	if _, _, ok := protocol.SplitRelayed(a.String()); isRelayed(a) && !ok {
		return nil, protocol.Errorf(protocol.ErrMalformed, "address %q is not one by way of a single named relay, as /ip4/192.0.2.1/tcp/443/p2p/12D3KooW…/p2p-circuit", s)
	}
	return a, nil
}

// ReadAddr reads an address of node that is to stand on a card, and returns it in the form of a
// card: without a peer ID at its end.
func ReadAddr(node protocol.NodeID, s string) (string, error) {
	a, err := parseAddr(node, s)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// ReadRelay reads where a relay is: its address with its peer ID at the end.
func ReadRelay(s string) (Relay, error) {
	const want = "write it like /dns4/relay.example.org/tcp/443/p2p/12D3KooW…, as 'entente relay' shows it"
	i := strings.LastIndex(s, "/p2p/")
	if i < 0 {
		return Relay{}, protocol.Errorf(protocol.ErrMalformed, "relay %q does not say which node it is; %s", s, want)
	}
	node, err := protocol.ParseNodeID(s[i+len("/p2p/"):])
	if err != nil {
		return Relay{}, fmt.Errorf("relay %q: %w; %s", s, err, want)
	}
	a, err := parseAddr(node, s)
	if err != nil {
		return Relay{}, err
	}
	if isRelayed(a) {
		return Relay{}, protocol.Errorf(protocol.ErrMalformed, "relay %q is itself behind a relay; %s", s, want)
	}
	return Relay{Node: node, Addrs: []string{a.String()}}, nil
}

// IsPublic reports whether an address may be reached from everywhere. A name may.
func IsPublic(s string) bool {
	a, err := ma.NewMultiaddr(s)
	return err == nil && !isRelayed(a) && manet.IsPublicAddr(a)
}

// Addrs returns the addresses that this node listens on, with their ports, sorted. Loopback
// addresses are left out if there are others.
func (m *Mesh) Addrs() []string {
	var all, public []string
	for _, a := range m.host.Addrs() {
		if isRelayed(a) {
			continue
		}
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
