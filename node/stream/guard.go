package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound"
)

// A sink's address is a name, and names may lead anywhere: to the machine itself, to what only its network
// can reach, to a cloud's metadata service. What a sink may call is judged by the address that is connected
// to, after its name was resolved, for every connection anew: a name that leads elsewhere the next time
// (DNS rebinding) changes nothing.

// checkAddr says whether an address may be called; private also allows loopback, link-local and private
// ones.
func checkAddr(a netip.Addr, private bool) error {
	switch {
	case outbound.Local(a):
		if !private {
			return fmt.Errorf("%s is a loopback, link-local or private address; --allow-private lets a sink call one", a.Unmap().WithZone(""))
		}
		return nil
	case outbound.Public(a):
		return nil
	}
	return fmt.Errorf("%s is no address that a sink may call", a)
}

// errRefused marks what the guard refused.
var errRefused = errors.New("refused")

const dialTimeout = 10 * time.Second

// dialer connects to what a sink may call.
func dialer(private bool) *net.Dialer {
	return &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || network != "tcp4" && network != "tcp6" {
			return fmt.Errorf("connecting to %s %s: %w", network, address, errRefused)
		}
		if err := checkAddr(at.Addr(), private); err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		return nil
	}}
}

// dialing returns what connects to what a sink may call; by way of a proxy, which looks names up, if there is one.
func dialing(private bool, proxy *outbound.Proxy) func(ctx context.Context, network, address string) (net.Conn, error) {
	if proxy == nil {
		return dialer(private).DialContext
	}
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err == nil {
			err = outbound.CheckNamed(host)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w; --allow-private lets a sink call one inside of the network, without the proxy", errRefused, err)
		}
		return proxy.Dial(ctx, address)
	}
}

// tlsConfig verifies a sink's receiver: by the system's roots, or by those that the sink names.
func tlsConfig(s *node.Sink, host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if len(s.Roots) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(s.Roots) {
			return nil, errors.New("the file of certificates holds none in PEM form (-----BEGIN CERTIFICATE-----)")
		}
	}
	return c, nil
}
