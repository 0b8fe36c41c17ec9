package api

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/entente-mesh/entente/node"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestMetricsAreWellFormedAndMove(t *testing.T) {
	s := testServer(t)
	reg := registry(s.node)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Fatalf("%v, %v", problems, err)
	}
	value := func(name string) string {
		code, text := get(t, s, "/metrics")
		if code != 200 {
			t.Fatalf("/metrics answers %d: %s", code, text)
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				return strings.TrimSpace(rest)
			}
		}
		t.Fatalf("%s is not measured", name)
		return ""
	}
	if value("entente_members") != "0" || value("entente_records") != "0" {
		t.Error("a new node counts something")
	}
	if _, text := get(t, s, "/metrics"); strings.Contains(text, "disk_free_bytes") {
		t.Error("a node in memory knows how much its disk has left")
	}
	const alone = `entente_problems{kind="no-network",severity="warning"}`
	if value(alone) != "1" {
		t.Error("a problem of the status is not counted by its kind")
	}
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if _, text := get(t, s, "/metrics"); strings.Contains(text, alone) {
		t.Error("a problem that is over is still counted")
	}
	if err := s.node.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/publish?topic=c2&tlp=green&country=TH", strings.NewReader("198.51.100.1\n198.51.100.2\n")))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"receipt"`) {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	for name, want := range map[string]string{"entente_members": "1", "entente_records": "2", "entente_records_published_total": "2",
		"entente_online": "0", "entente_ready": "0", `entente_topic_feeds{topic="c2"}`: "1", `entente_topic_entries{topic="c2"}`: "1"} {
		if got := value(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}})
	if err != nil {
		t.Fatal(err)
	}
	h := Monitoring(n)
	if code, text := get(t, h, "/healthz"); code != 200 {
		t.Errorf("/healthz answers %d: %s", code, text)
	}
	code, text := get(t, h, "/readyz")
	var answer struct {
		Ready   bool
		Reasons []string
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || code != 503 || answer.Ready || len(answer.Reasons) != 1 || !strings.Contains(answer.Reasons[0], "network create") {
		t.Errorf("without a network /readyz answers %d: %s", code, text)
	}
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.Run(ctx, func([]string) { close(up) }) }()
	<-up
	if code, text := get(t, h, "/readyz"); code != 200 {
		t.Errorf("on the network /readyz answers %d: %s", code, text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if code, _ := get(t, h, "/healthz"); code != 503 {
		t.Errorf("with its store closed /healthz answers %d", code)
	}
	if code, _ := get(t, h, "/v1/status"); code != 404 {
		t.Errorf("monitoring answers %d to what is not its business", code)
	}
}

// lockedBuffer is a log that goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// TestLogsHoldNoValues: whatever is done with a record, and whatever fails, neither the log
// at its most talkative nor the metrics hold anything that it says.
func TestLogsHoldNoValues(t *testing.T) {
	var log lockedBuffer
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s := New(n)
	if _, err := n.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := n.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	const canary = "canary-7f3a9.example.net"
	bundle := `{"type":"bundle","id":"bundle--26ffb872-1dd9-446e-b6f5-d58527e5b5d2","objects":[{"type":"domain-name","spec_version":"2.1","id":"domain-name--26ffb872-1dd9-446e-b6f5-d58527e5b5d2","value":"` + canary + `","created":"` + canary + `"}]}`
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/v1/publish?topic=c2&tlp=green&country=TH&file=" + canary, canary + "\n"},
		{"POST", "/v1/publish?topic=c2&tlp=green", bundle},
		{"POST", "/v1/publish?topic=nowhere&tlp=green", canary + "\n"},
		{"POST", "/v1/publish?topic=c2&tlp=" + canary, canary + "\n"},
		{"POST", "/v1/publish?topic=c2", canary + "\n"},
		{"GET", "/v1/records?value=" + canary, ""},
		{"GET", "/v1/records/" + canary, ""},
		{"GET", "/v1/export?format=lines", ""},
		{"POST", "/v1/withdraw", `{"ids":["indicator--00000000-0000-4000-8000-000000000000"],"reason":"` + canary + `"}`},
	} {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body)))
	}
	recs, _, err := n.Search(node.Query{Value: canary})
	if err != nil || len(recs) == 0 {
		t.Fatalf("%d records: %v", len(recs), err)
	}
	for _, path := range []string{"/v1/withdraw", "/v1/erase"} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(`{"ids":["`+recs[0].ID.String()+`"],"reason":"legal"}`)))
		if w.Code != 200 {
			t.Fatalf("%s: %d: %s", path, w.Code, w.Body)
		}
	}
	_, text := get(t, s, "/metrics")
	for what, out := range map[string]string{"the log": log.String(), "/metrics": text} {
		if strings.Contains(out, "canary-7f3a9") {
			t.Errorf("%s holds the value: %s", what, out)
		}
	}
}
