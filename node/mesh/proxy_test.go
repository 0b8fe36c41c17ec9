package mesh

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node/outbound"
	"github.com/entente-mesh/entente/protocol"
)

// connectProxy is an HTTP proxy that knows CONNECT alone, and names of its own.
type connectProxy struct {
	l     net.Listener
	auth  string            // the header that is wanted; empty: none
	names map[string]string // host:port, and where that is

	mu    sync.Mutex
	asked []string
}

func newProxy(t *testing.T, auth string) *connectProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &connectProxy{l: l, auth: auth, names: map[string]string{}}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *connectProxy) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	req, err := http.ReadRequest(br)
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, req.Host)
	to, ok := p.names[req.Host]
	p.mu.Unlock()
	switch {
	case p.auth != "" && req.Header.Get("Proxy-Authorization") != p.auth:
		fmt.Fprint(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
		return
	case !ok:
		fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		return
	}
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	fmt.Fprint(c, "HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
	go func() { _, _ = io.Copy(out, br); out.Close() }()
	_, _ = io.Copy(c, out)
}

func (p *connectProxy) askedFor() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

func (p *connectProxy) url(t *testing.T, user string) *outbound.Proxy {
	t.Helper()
	u, err := outbound.ReadProxy("http://" + user + p.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestByProxyAlone: a member that may reach nothing but an HTTP proxy calls a relay by name, which
// the proxy alone can resolve, and another member by way of that relay; and can be called.
func TestByProxyAlone(t *testing.T) {
	c := newClub()
	r := newMember(t, c, overTCP, relays)
	b := newMember(t, c, "", at(r))
	c.add(r.self, b.self)
	proxy := newProxy(t, "Basic YWxpY2U6Ym9i") // alice:bob
	_, port, _ := strings.Cut(r.Addrs()[0], "/tcp/")
	proxy.names["relay.example.org:443"] = "127.0.0.1:" + port
	named := Relay{r.self, []string{"/dns4/relay.example.org/tcp/443"}}
	a := newMember(t, c, "", func(c *Config) {
		self, known := c.Key.Public(), c.Known
		c.Proxy, c.Relays = proxy.url(t, "alice:bob@"), func() []Relay {
			if _, ok := known(self); !ok {
				return nil
			}
			return []Relay{named}
		}
	})
	c.add(a.self)
	reserved(t, a, r)
	reserved(t, b, r)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := a.Connect(ctx, b.self, []string{protocol.RelayedAddr(named.Addrs[0], r.self), "/ip4/127.0.0.1/udp/4401/quic-v1"}); err != nil {
		t.Fatal(err)
	}
	if p := a.info(r.self); p.Path != ByProxy {
		t.Errorf("the relay is reached by %q", p.Path)
	}
	if p := a.info(b.self); p.Path != ByRelay || p.Relay != r.self {
		t.Errorf("the other is reached by %q, %s", p.Path, p.Relay)
	}
	other := newMember(t, c, "")
	c.add(other.self)
	if err := other.Connect(ctx, a.self, by(r)); err != nil {
		t.Errorf("who is behind a proxy cannot be called: %v", err)
	}
	joinAll(t, []*member{a, b}, func(int) int { return 1 })
	if err := b.Publish(ctx, testTopic, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, "gossip came", a.got); got.data != "hello" {
		t.Errorf("got %+v", got)
	}
	for _, host := range proxy.askedFor() {
		if host != "relay.example.org:443" {
			t.Errorf("the proxy was asked for %s", host)
		}
	}
	// Where there is no way by TCP there is none.
	if err := a.Connect(ctx, protocol.NodeID{1}, []string{"/ip4/127.0.0.1/udp/4401/quic-v1"}); err == nil {
		t.Error("a member behind a proxy calls by QUIC")
	}
	if _, err := New(t.Context(), Config{Key: a.cfg.Key, Listen: []string{overQUIC}, Proxy: a.cfg.Proxy, Known: c.known, OwnHello: a.cfg.OwnHello, Hello: a.cfg.Hello, Validate: a.cfg.Validate, Deliver: a.cfg.Deliver, Serve: a.cfg.Serve}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("listening by QUIC beside a proxy: %v", err)
	}
}

func TestProxyRefusals(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	answer := func(text string) *outbound.Proxy {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						_, _ = io.WriteString(c, text)
					}
				}()
			}
		}()
		return &outbound.Proxy{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}}
	}
	locked := newProxy(t, "Basic eDp5")
	for _, tt := range []struct {
		name, want string
		proxy      *outbound.Proxy
		addr       string
	}{
		{"another password", "another user or password", locked.url(t, "x:z@"), "192.0.2.1:443"},
		{"no password", "another user or password", locked.url(t, ""), "192.0.2.1:443"},
		{"not allowed", "403 Forbidden", newProxy(t, "").url(t, ""), "192.0.2.1:443"},
		{"no HTTP", "not HTTP", answer("SSH-2.0-x\r\n\r\n"), "192.0.2.1:443"},
		{"no end", "more than 16384 bytes", answer("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 5000)), "192.0.2.1:443"},
		{"it hangs up", "EOF", answer(""), "192.0.2.1:443"},
		{"a name that holds a header", "not a host and a port", locked.url(t, ""), "a\r\nX: y:443"},
	} {
		conn, err := (&outbound.Proxy{URL: tt.proxy.URL}).Dial(ctx, tt.addr)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "x:z") {
			t.Errorf("%s: the error holds the password", tt.name)
		}
	}
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := (&outbound.Proxy{URL: &url.URL{Scheme: "http", Host: silent.Addr().String()}}).Dial(short, "192.0.2.1:443"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a proxy that says nothing: %v", err)
	}
}

// TestProxyKeepsWhatFollows: what the peer says at once is not taken for the proxy's answer, also
// where TLS leads to the proxy.
func TestProxyKeepsWhatFollows(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "[2001:db8::1]:443" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nat once")
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of who does not trust it
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&outbound.Proxy{URL: u, TLS: &tls.Config{RootCAs: roots}}).Dial(t.Context(), "[2001:db8::1]:443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "at once" {
		t.Errorf("what follows is %q, %v", got, err)
	}
	if _, err := (&outbound.Proxy{URL: u}).Dial(t.Context(), "[2001:db8::1]:443"); err == nil {
		t.Error("a proxy whose certificate nobody vouches for is trusted with a password")
	}
}

func TestReadProxy(t *testing.T) {
	for _, tt := range []struct {
		s  string
		ok bool
	}{
		{"http://proxy.example.org:3128", true},
		{"https://user:secret@proxy.example.org", true},
		{"http://[2001:db8::1]:3128/", true},
		{"socks5://proxy.example.org:1080", false},
		{"proxy.example.org:3128", false},
		{"http://", false},
		{"http://user:secret@proxy.example.org/path", false},
		{"http://user:secret@proxy.example.org?x=y", false},
		{"http://user:secret@proxy.example.org:x", false},
	} {
		_, err := outbound.ReadProxy(tt.s)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v, want ok %v", tt.s, err, tt.ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}
