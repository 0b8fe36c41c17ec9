package mesh

import (
	"context"
	"errors"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/entente-mesh/entente/node/outbound"
)

// proxied is the TCP transport that calls by way of a proxy. Names stay names: what peers are
// called would otherwise be asked of a resolver that cannot or must not know.
type proxied struct {
	*tcp.TcpTransport
	upgrader transport.Upgrader
	limits   network.ResourceManager
	dialer   *outbound.Proxy
}

// newProxied returns the constructor that libp2p wants.
func newProxied(d *outbound.Proxy) func(transport.Upgrader, network.ResourceManager) (*proxied, error) {
	return func(u transport.Upgrader, limits network.ResourceManager) (*proxied, error) {
		t, err := tcp.NewTCPTransport(u, limits, nil)
		return &proxied{TcpTransport: t, upgrader: u, limits: limits, dialer: d}, err
	}
}

// CanDial takes TCP at an address or a name.
func (t *proxied) CanDial(a ma.Multiaddr) bool {
	if len(a) != 2 || a[1].Code() != ma.P_TCP {
		return false
	}
	switch a[0].Code() {
	case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return true
	}
	return false
}

// SkipResolve implements transport.SkipResolver.
func (t *proxied) SkipResolve(context.Context, ma.Multiaddr) bool { return true }

// Dial implements transport.Transport.
func (t *proxied) Dial(ctx context.Context, a ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	return t.DialWithUpdates(ctx, a, p, nil)
}

// DialWithUpdates implements transport.DialUpdater, which the TCP transport would by itself.
func (t *proxied) DialWithUpdates(ctx context.Context, a ma.Multiaddr, p peer.ID, _ chan<- transport.DialUpdate) (transport.CapableConn, error) {
	scope, err := t.limits.OpenConnection(network.DirOutbound, true, a)
	if err != nil {
		return nil, err
	}
	conn, err := t.call(ctx, a, p, scope)
	if err != nil {
		scope.Done()
		return nil, err
	}
	return t.upgrader.Upgrade(ctx, t, conn, network.DirOutbound, p, scope)
}

func (t *proxied) call(ctx context.Context, a ma.Multiaddr, p peer.ID, scope network.ConnManagementScope) (manet.Conn, error) {
	if err := scope.SetPeer(p); err != nil {
		return nil, err
	}
	_, addr, err := manet.DialArgs(a)
	if err != nil {
		return nil, err
	}
	conn, err := t.dialer.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	local, err := manet.FromNetAddr(conn.LocalAddr())
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &proxyConn{conn, local, a}, nil
}

// proxyConn is a connection by way of a proxy; its remote address is the one that was called.
type proxyConn struct {
	net.Conn
	local, remote ma.Multiaddr
}

func (c *proxyConn) LocalMultiaddr() ma.Multiaddr  { return c.local }
func (c *proxyConn) RemoteMultiaddr() ma.Multiaddr { return c.remote }

// noResolver resolves nothing: behind a proxy a node asks for no names.
type noResolver struct{}

func (noResolver) ResolveDNSAddr(context.Context, peer.ID, ma.Multiaddr, int, int) ([]ma.Multiaddr, error) {
	return nil, errors.New("names are left to the proxy")
}

func (noResolver) ResolveDNSComponent(context.Context, ma.Multiaddr, int) ([]ma.Multiaddr, error) {
	return nil, errors.New("names are left to the proxy")
}
