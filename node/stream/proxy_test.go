package stream

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound/proxytest"
)

// TestByProxy: receivers that are outside are called by way of the proxy, by name; those inside are not.
func TestByProxy(t *testing.T) {
	taken := make(chan struct{}, 10)
	take := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { taken <- struct{}{} })
	hook := httptest.NewTLSServer(take)
	defer hook.Close()
	inside := httptest.NewServer(take)
	defer inside.Close()
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
	bus := natsServer(t, t.TempDir(), natsserver.RANDOM_PORT, nil)
	secret := node.NewSinkSecret(NewSecret())
	for _, tt := range []struct {
		sink  node.Sink
		to    string
		want  string // what the proxy is asked for; empty: nothing
		fails string
	}{
		{sink: node.Sink{Kind: node.SinkWebhook, URL: "https://example.com/in", Secret: secret, Roots: roots}, to: hook.Listener.Addr().String(), want: "CONNECT example.com:443"},
		{sink: node.Sink{Kind: node.SinkNATS, URL: "nats://bus.example.org", Plain: true, Stream: "S"}, to: bus.Addr().String(), want: "CONNECT bus.example.org:4222"},
		{sink: node.Sink{Kind: node.SinkWebhook, URL: inside.URL, Secret: secret, Plain: true, Private: true}},
		{sink: node.Sink{Kind: node.SinkWebhook, URL: inside.URL, Secret: secret, Plain: true}, fails: "--allow-private"},
		{sink: node.Sink{Kind: node.SinkWebhook, URL: "https://siem/in", Secret: secret}, fails: "--allow-private"},
		{sink: node.Sink{Kind: node.SinkNATS, URL: "tls://bus.internal"}, fails: "--allow-private"},
	} {
		p, way := proxytest.New(t, tt.to)
		if err := Prepare(&tt.sink); err != nil {
			t.Fatal(err)
		}
		to, err := newSender(&tt.sink, way)
		if err != nil {
			t.Fatal(err)
		}
		_, err = to.send(t.Context(), []message{{id: "a", kind: node.ChangeAdded, topic: "c2", typ: "x", body: []byte("{}")}})
		to.close()
		if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %v", tt.sink.URL, err)
		}
		asked := p.Asked()
		if tt.want == "" && len(asked) > 0 || tt.want != "" && (len(asked) == 0 || slices.ContainsFunc(asked, func(s string) bool { return s != tt.want })) {
			t.Errorf("%s: the proxy was asked for %q", tt.sink.URL, asked)
		}
	}
	if len(taken) != 2 {
		t.Errorf("%d requests came, not 2", len(taken))
	}
}

// TestNoSyslogByProxy: what confirms bytes would be the proxy's system, so that nothing that is added says it delivers so.
func TestNoSyslogByProxy(t *testing.T) {
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card, Proxy: "http://proxy.example.org:3128"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s := node.Sink{Name: "log", Kind: node.SinkSyslog, Reader: "ann", URL: "tls://log.example.org:6514"}
	if _, err := Complete(n, &s, nil, false); err == nil || !strings.Contains(err.Error(), "syslog does not go by way of the proxy") {
		t.Errorf("a receiver outside: %v", err)
	}
	s.Private = true
	if _, err := Complete(n, &s, nil, false); err != nil {
		t.Errorf("a receiver inside: %v", err)
	}
}
