package source

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound/proxytest"
)

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
		p, way := proxytest.New(t, to)
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
		asked := p.Asked()
		if tt.want == "" && len(asked) > 0 || tt.want != "" && (len(asked) == 0 || slices.ContainsFunc(asked, func(s string) bool { return s != tt.want })) {
			t.Errorf("%s %s: the proxy was asked for %q", tt.src.Kind, tt.src.Where, asked)
		}
	}
}

// TestNodesProxy: what a node is told of a proxy holds for its sources, run by schedule or by hand.
func TestNodesProxy(t *testing.T) {
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "c2.example.net\n") }))
	defer list.Close()
	p, way := proxytest.New(t, list.URL)
	n := testNodeBy(t, way.URL.String())
	add(t, n, node.Source{Name: "list", Kind: node.SourceURL, Where: "http://lists.example.net/list.txt", Flags: green})
	rep, err := Run(t.Context(), n, "list", Options{})
	if err != nil || rep.Error != "" {
		t.Fatalf("%v, %+v", err, rep)
	}
	if _, err := runSource(t.Context(), n, "list", Options{}, New(n, nil).puller); err != nil {
		t.Fatal(err)
	}
	if got, want := p.Asked(), "GET http://lists.example.net/list.txt"; !slices.Equal(got, []string{want, want}) {
		t.Errorf("the proxy was asked for %q", got)
	}
}
