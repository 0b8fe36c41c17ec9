package mesh

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds on an HTTP proxy.
const (
	proxyTime     = 10 * time.Second // to reach it, and for it to reach the peer
	maxProxyReply = 16 << 10         // its answer, with all headers
)

// ReadProxy reads the URL of an HTTP proxy: http or https, host, port, and a user with a
// password if it wants one.
func ReadProxy(s string) (*url.URL, error) {
	const want = "write it like http://proxy.example.org:3128 or https://user:password@proxy.example.org:443"
	u, err := url.Parse(s)
	if err != nil {
		// The error of package url repeats what may hold a password.
		return nil, protocol.Errorf(protocol.ErrMalformed, "the proxy cannot be read; %s", want)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, protocol.Errorf(protocol.ErrMalformed, "the proxy %s is none; %s", u.Redacted(), want)
	}
	return u, nil
}

// proxyDialer calls TCP addresses by way of an HTTP proxy, by CONNECT (RFC 9110, 9.3.6).
type proxyDialer struct {
	proxy *url.URL
	tls   *tls.Config // nil: the system's
}

// dial opens a connection to host:port. A name is resolved by the proxy.
func (d *proxyDialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	// Addresses come from cards, and a name may hold what a header must not.
	if strings.ContainsFunc(addr, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._:[]", r))
	}) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%q is not a host and a port", printable(addr))
	}
	ctx, cancel := context.WithTimeout(ctx, proxyTime)
	defer cancel()
	port := d.proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[d.proxy.Scheme]
	}
	var nd net.Dialer
	raw, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(d.proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("reaching the proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	conn := raw
	if d.proxy.Scheme == "https" {
		cfg := d.tls.Clone()
		if cfg == nil {
			cfg = &tls.Config{}
		}
		cfg.ServerName = d.proxy.Hostname()
		conn = tls.Client(conn, cfg)
	}
	if err := d.ask(conn, addr); err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("asking the proxy for %s: %w", addr, err)
	}
	if !stop() {
		return nil, fmt.Errorf("asking the proxy for %s: %w", addr, context.Cause(ctx))
	}
	return conn, nil
}

func (d *proxyDialer) ask(conn net.Conn, addr string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: entente\r\n", addr, addr)
	if u := d.proxy.User; u != nil {
		password, _ := u.Password()
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	b.WriteString("\r\n")
	if _, err := conn.Write(b.Bytes()); err != nil {
		return err
	}
	header, err := readHeader(conn)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(header)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return errors.New("its answer is not HTTP")
	}
	switch {
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return errors.New("it wants another user or password: give them in --proxy, as http://user:password@host:port (Basic authentication)")
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("it answered %q; it has to allow CONNECT to this host and port", printable(resp.Status))
	}
	return nil
}

// readHeader reads up to the empty line and not a byte further: what follows is the peer's.
func readHeader(r io.Reader) ([]byte, error) {
	var out []byte
	b := make([]byte, 1)
	for !bytes.HasSuffix(out, []byte("\r\n\r\n")) {
		if len(out) == maxProxyReply {
			return nil, protocol.Errorf(protocol.ErrOversize, "the proxy's answer has more than %d bytes", maxProxyReply)
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		out = append(out, b[0])
	}
	return out, nil
}

// proxied is the TCP transport that calls by way of a proxy. Names stay names: what peers are
// called would otherwise be asked of a resolver that cannot or must not know.
type proxied struct {
	*tcp.TcpTransport
	upgrader transport.Upgrader
	limits   network.ResourceManager
	dialer   *proxyDialer
}

// newProxied returns the constructor that libp2p wants.
func newProxied(d *proxyDialer) func(transport.Upgrader, network.ResourceManager) (*proxied, error) {
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
	conn, err := t.dialer.dial(ctx, addr)
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
