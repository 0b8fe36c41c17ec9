// Package proxytest is an HTTP proxy for tests.
package proxytest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/entente-mesh/entente/node/outbound"
)

// Proxy is an HTTP proxy that wants a password: CONNECT, and GET of whole URLs. It leads every name to one server.
type Proxy struct {
	*httptest.Server
	to string

	mu    sync.Mutex
	asked []string // method and target
}

// New starts a proxy that leads to a server, an address or a URL, and ends with the test.
func New(t *testing.T, to string) (*Proxy, *outbound.Proxy) {
	t.Helper()
	p := &Proxy{to: strings.TrimPrefix(strings.TrimPrefix(to, "https://"), "http://")}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	way, err := outbound.ReadProxy(strings.Replace(p.URL, "http://", "http://alice:bob@", 1))
	if err != nil {
		t.Fatal(err)
	}
	return p, way
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	if r.Header.Get("Proxy-Authorization") != "Basic YWxpY2U6Ym9i" {
		http.Error(w, "who is it?", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		r.URL.Host, r.RequestURI = p.to, ""
		r.Header.Del("Proxy-Authorization")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		if where := resp.Header.Get("Location"); where != "" {
			w.Header().Set("Location", where)
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
		return
	}
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	w.WriteHeader(http.StatusOK)
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	go func() { _, _ = io.Copy(out, rw) }()
	_, _ = io.Copy(c, out)
}

// Asked lists what was asked for so far: methods and targets.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}
