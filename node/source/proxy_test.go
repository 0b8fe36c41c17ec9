package source

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound"
)

// httpProxy is an HTTP proxy: CONNECT, and GET of whole URLs. It leads every name to one server.
type httpProxy struct {
	*httptest.Server
	to string

	mu    sync.Mutex
	asked []string // method and target
}

func newHTTPProxy(t *testing.T, to string) (*httpProxy, *outbound.Proxy) {
	t.Helper()
	p := &httpProxy{to: strings.TrimPrefix(strings.TrimPrefix(to, "https://"), "http://")}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	way, err := outbound.ReadProxy(strings.Replace(p.URL, "http://", "http://alice:bob@", 1))
	if err != nil {
		t.Fatal(err)
	}
	return p, way
}

func (p *httpProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

func (p *httpProxy) askedFor() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// TestByProxy: sources of each kind that are outside are fetched by way of the proxy, which is asked for names.
func TestByProxy(t *testing.T) {
	serve := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/list.txt":
			_, _ = io.WriteString(w, "c2.example.net\n")
		case "/moved.txt":
			http.Redirect(w, r, "http://127.0.0.1:1/list.txt", http.StatusFound)
		case "/manifest.json":
			_, _ = io.WriteString(w, "{}")
		default:
			w.Header().Set("Content-Type", "application/taxii+json;version=2.1")
			_ = json.NewEncoder(w).Encode(map[string]any{"title": "x", "versions": []string{"application/taxii+json;version=2.1"}, "max_content_length": 1 << 20, "more": false, "collections": []any{map[string]any{"id": "91a7b528-80eb-42ed-a74d-c6fbd5a26116", "title": "x", "can_read": true, "can_write": false}}})
		}
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(serve))
	defer secure.Close()
	plain := httptest.NewServer(http.HandlerFunc(serve))
	defer plain.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	for _, tt := range []struct {
		src   node.Source
		want  string // what the proxy is asked for; empty: nothing
		fails string
	}{
		{src: node.Source{Kind: node.SourceURL, Where: "https://example.com/list.txt", CA: ca}, want: "CONNECT example.com:443"},
		{src: node.Source{Kind: node.SourceURL, Where: "HTTPS://example.com/list.txt", CA: ca}, want: "CONNECT example.com:443"},
		{src: node.Source{Kind: node.SourceMISP, Where: "https://example.com/", CA: ca}, want: "CONNECT example.com:443"},
		{src: node.Source{Kind: node.SourceTAXII, Where: "https://example.com/api/", Collection: "91a7b528-80eb-42ed-a74d-c6fbd5a26116", CA: ca}, want: "CONNECT example.com:443"},
		{src: node.Source{Kind: node.SourceURL, Where: "http://lists.example.net/list.txt"}, want: "GET http://lists.example.net/list.txt"},
		{src: node.Source{Kind: node.SourceURL, Where: "http://lists.example.net/moved.txt"}, want: "GET http://lists.example.net/moved.txt", fails: "--private-addresses"},
		{src: node.Source{Kind: node.SourceURL, Where: "https://10.0.0.1/list.txt"}, fails: "--private-addresses"},
		{src: node.Source{Kind: node.SourceURL, Where: "http://127.1/list.txt"}, fails: "--private-addresses"},
		{src: node.Source{Kind: node.SourceURL, Where: "https://intranet/list.txt"}, fails: "--private-addresses"},
		{src: node.Source{Kind: node.SourceURL, Where: plain.URL + "/list.txt", Private: true}},
	} {
		to := plain.URL
		if strings.HasPrefix(strings.ToLower(tt.src.Where), "https") {
			to = secure.URL
		}
		p, way := newHTTPProxy(t, to)
		tt.src.MaxBytes = 1 << 20
		puller, err := newPuller(&tt.src, &node.SourceState{}, newSifter(&Start{}, nil), way)
		if err != nil {
			t.Fatal(err)
		}
		err = puller.Pull(context.Background(), nil, func(*Document) error { return nil })
		if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s %s: %v", tt.src.Kind, tt.src.Where, err)
		}
		if err != nil && strings.Contains(err.Error(), "bob") {
			t.Errorf("%s: the error holds the password", tt.src.Where)
		}
		asked := p.askedFor()
		if tt.want == "" && len(asked) > 0 || tt.want != "" && (len(asked) == 0 || slices.ContainsFunc(asked, func(s string) bool { return s != tt.want })) {
			t.Errorf("%s %s: the proxy was asked for %q", tt.src.Kind, tt.src.Where, asked)
		}
	}
}

// TestNodesProxy: what a node is told of a proxy holds for its sources, run by schedule or by hand.
func TestNodesProxy(t *testing.T) {
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "c2.example.net\n") }))
	defer list.Close()
	p, way := newHTTPProxy(t, list.URL)
	n := testNodeBy(t, way.URL.String())
	add(t, n, node.Source{Name: "list", Kind: node.SourceURL, Where: "http://lists.example.net/list.txt", Flags: green})
	rep, err := Run(t.Context(), n, "list", Options{})
	if err != nil || rep.Error != "" {
		t.Fatalf("%v, %+v", err, rep)
	}
	if _, err := runSource(t.Context(), n, "list", Options{}, New(n, nil).puller); err != nil {
		t.Fatal(err)
	}
	if got, want := p.askedFor(), "GET http://lists.example.net/list.txt"; !slices.Equal(got, []string{want, want}) {
		t.Errorf("the proxy was asked for %q", got)
	}
}
