package outbound

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
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds on an HTTP proxy.
const (
	proxyTime     = 10 * time.Second // to reach it, and for it to reach the peer
	maxProxyReply = 16 << 10         // its answer, with all headers
)

// Proxy is an HTTP proxy by way of which addresses are called, by CONNECT (RFC 9110, 9.3.6).
type Proxy struct {
	URL *url.URL
	TLS *tls.Config // to an https proxy; nil: the system's
}

// String is the URL without its password.
func (p *Proxy) String() string { return p.URL.Redacted() }

// ReadProxy reads the URL of an HTTP proxy: http or https, host, port, and a user with a
// password if it wants one.
func ReadProxy(s string) (*Proxy, error) {
	const want = "write it like http://proxy.example.org:3128 or https://user:password@proxy.example.org:443"
	u, err := url.Parse(s)
	if err != nil {
		// The error of package url repeats what may hold a password.
		return nil, protocol.Errorf(protocol.ErrMalformed, "the proxy cannot be read; %s", want)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, protocol.Errorf(protocol.ErrMalformed, "the proxy %s is none; %s", u.Redacted(), want)
	}
	return &Proxy{URL: u}, nil
}

// Dial opens a connection to host:port. A name is resolved by the proxy.
func (p *Proxy) Dial(ctx context.Context, addr string) (net.Conn, error) {
	// Addresses come from cards, and a name may hold what a header must not.
	if strings.ContainsFunc(addr, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._:[]", r))
	}) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%q is not a host and a port", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, proxyTime)
	defer cancel()
	port := p.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[p.URL.Scheme]
	}
	var nd net.Dialer
	raw, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(p.URL.Hostname(), port))
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reaching the proxy: %w", ctx.Err())
		}
		return nil, fmt.Errorf("reaching the proxy: %v", err) // not to be taken for an error of the name that it was asked for
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	conn := raw
	if p.URL.Scheme == "https" {
		cfg := p.TLS.Clone()
		if cfg == nil {
			cfg = &tls.Config{}
		}
		cfg.ServerName = p.URL.Hostname()
		conn = tls.Client(conn, cfg)
	}
	if err := p.ask(conn, addr); err != nil {
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

func (p *Proxy) ask(conn net.Conn, addr string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: entente\r\n", addr, addr)
	if u := p.URL.User; u != nil {
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
		return fmt.Errorf("it answered %.256q; it has to allow CONNECT to this host and port", resp.Status)
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

// local are names that lead to this machine or its network by what they are (RFC 6761; RFC 6762 with its appendix G, which lists what networks
// use; RFC 8375; ICANN's .internal).
var local = []string{"localhost", "local", "internal", "home.arpa", "localdomain", "intranet", "private", "corp", "home", "lan"}

// CheckNamed says whether a host may be called where a proxy looks it up: what can be said of it without asking a resolver. An address
// has to be public; a name has to have a dot, not be one of local, and not end in a number, which some resolvers take for an address (127.1,
// 0x7f000001). Where a name leads is for the proxy to judge.
func CheckNamed(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil {
		if !Public(a) {
			return fmt.Errorf("%s is a private or local address", a)
		}
		return nil
	}
	for _, name := range local {
		if host == name || strings.HasSuffix(host, "."+name) {
			return fmt.Errorf("%q is a name of this machine or its network", host)
		}
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case host == last:
		return fmt.Errorf("%q is a name of this network; write the whole one, with its domain", host)
	case last == "" || '0' <= last[0] && last[0] <= '9':
		return fmt.Errorf("%q is neither a name nor an address", host)
	}
	return nil
}
