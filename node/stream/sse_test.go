package stream

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
)

// streams is a node's real server, over TLS.
type streams struct {
	*httptest.Server
	n *node.Node
}

func newStreams(t *testing.T) *streams {
	n := testNode(t)
	s := serve.New(n, nil)
	if err := Mount(s, n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go s.Watch(ctx)
	srv := httptest.NewTLSServer(s)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return &streams{srv, n}
}

func (s *streams) consumer(t *testing.T, name, as string, scopes ...node.Scope) string {
	t.Helper()
	token, err := s.n.AddConsumer(node.Consumer{Name: name, As: as, Scopes: scopes, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// event is one as the HTML standard, section 9.2.6, has a client understand it.
type event struct {
	id, kind string
	change   node.Change
	data     string
}

// get asks for a stream; the body ends with the context.
func (s *streams) get(ctx context.Context, t *testing.T, path, token, last string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// follow reads events until the body ends.
func follow(t *testing.T, body io.ReadCloser) <-chan event {
	out := make(chan event, 1000)
	go func() {
		defer close(out)
		defer body.Close()
		var e event
		r := bufio.NewReader(body)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return // what is not ended by an empty line does not count
			}
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data += value
			case "":
				if line == "\n" && e.data != "" {
					if err := json.Unmarshal([]byte(e.data), &e.change); err != nil || strconv.FormatUint(e.change.Cursor, 10) != e.id || string(e.change.Kind) != e.kind {
						t.Errorf("event %+v: %v", e, err)
					}
					out <- e
					e = event{}
				}
			}
		}
	}()
	return out
}

// TestStreamResumes: a client that is cut off again and again gets each change once, in order, of what it may
// export only, with what came meanwhile, and erasures.
func TestStreamResumes(t *testing.T) {
	s := newStreams(t)
	loadRules(t, s.n, noAmber, people)
	token := s.consumer(t, "siem", "ann", node.ScopeRead)
	var got []string
	last := ""
	for round := range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		resp := s.get(ctx, t, "/stream", token, last)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s %v", resp.Status, resp.Header)
		}
		events := follow(t, resp.Body)
		publish(t, s.n, protocol.TLPAmber, fmt.Sprintf("203.0.113.%d", round))
		ids := publish(t, s.n, protocol.TLPGreen, fmt.Sprintf("198.51.100.%d", 2*round), fmt.Sprintf("198.51.100.%d", 2*round+1))
		if round%2 == 1 {
			erase(t, s.n, ids[0])
		}
		for range 1 + round%3 { // then it is cut off, in the middle or not
			e := receive(t, events, "an event")
			if strings.Contains(e.data, "amber") {
				t.Errorf("told of what its reader may not export: %s", e.data)
			}
			got = append(got, e.id+" "+e.kind)
			last = e.id
		}
		cancel()
		for range events {
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	list, _, err := s.n.Reader(s.n.PersonOf("ann")).Changes(nil, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	events := follow(t, s.get(ctx, t, "/stream", token, last).Body)
	for end := strconv.FormatUint(list[len(list)-1].Cursor, 10); last != end; {
		e := receive(t, events, "the last event")
		got = append(got, e.id+" "+e.kind)
		last = e.id
	}
	seen := map[string]bool{}
	before := uint64(0)
	for _, text := range got {
		id, err := strconv.ParseUint(strings.Fields(text)[0], 10, 64)
		if err != nil || id <= before || seen[text] {
			t.Errorf("not once and in order: %q", got)
		}
		before, seen[text] = id, true
	}
	for i := range list {
		// What was added and erased since may have come or not, as it was read before or after that.
		if text := fmt.Sprintf("%d %s", list[i].Cursor, list[i].Kind); !seen[text] {
			t.Errorf("%s never came; %q did", text, got)
		}
	}
	outs, err := s.n.Handouts()
	if err != nil || len(outs) != 1 || outs[0].Detail != "for siem" { // it came back, and goes on with the one
		t.Errorf("hand-outs %+v, %v", outs, err)
	}
}

// TestStreamOfAView: only what the view holds, as STIX objects, from now on.
func TestStreamOfAView(t *testing.T) {
	s := newStreams(t)
	token := s.consumer(t, "siem", "siem", node.ScopeRead)
	if err := s.n.SetView(&node.View{Name: "open", MaxTLP: protocol.TLPGreen}); err != nil {
		t.Fatal(err)
	}
	publish(t, s.n, protocol.TLPGreen, "198.51.100.1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp := s.get(ctx, t, "/stream/open?format=stix&after=now", token, "")
	events := follow(t, resp.Body)
	publish(t, s.n, protocol.TLPAmber, "198.51.100.2")
	publish(t, s.n, protocol.TLPGreen, "198.51.100.3")
	e := receive(t, events, "an event")
	var change STIXChange
	if err := json.Unmarshal([]byte(e.data), &change); err != nil || change.Cursor != 3 || !strings.Contains(string(change.Object), "198.51.100.3") || !strings.Contains(string(change.Object), "object_marking_refs") {
		t.Errorf("%s, %v", e.data, err)
	}
}

// TestStreamRefuses: what is wrong with a request, and who may not make one.
func TestStreamRefuses(t *testing.T) {
	s := newStreams(t)
	loadRules(t, s.n, noAmber, people)
	publish(t, s.n, protocol.TLPGreen, "198.51.100.1")
	reads := s.consumer(t, "siem", "ann", node.ScopeRead)
	writes := s.consumer(t, "misp", "ann", node.ScopePublish)
	for _, c := range []struct {
		path, token, last string
		status            int
		says              string
	}{
		{"/stream", "nobody", "", 401, ""},
		{"/stream", writes, "", 403, "does not allow to read"},
		{"/stream/none", reads, "", 404, "view list"},
		{"/stream?format=cef", reads, "", 400, "json or stix"},
		{"/stream?after=x", reads, "", 400, "no cursor"},
		{"/stream?after=-1", reads, "", 400, "no cursor"},
		{"/stream", reads, "now", 400, "no cursor"},
		{"/stream?after=0", reads, "x", 400, "Last-Event-ID"},
		{"/stream", reads, "2", 409, "begin again with after=0"},
		{"/stream?after=2", reads, "", 409, "has not given cursor 2"},
	} {
		resp := s.get(t.Context(), t, c.path, c.token, c.last)
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(b), c.says) {
			t.Errorf("%s: %s %q, %v", c.path, resp.Status, b, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range maxStreamsEach {
		if resp := s.get(ctx, t, "/stream", reads, ""); resp.StatusCode != 200 {
			t.Fatalf("stream %d: %s", i, resp.Status)
		}
	}
	if resp := s.get(ctx, t, "/stream", reads, ""); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s", resp.Status)
	}
	cancel()
	until(t, "a stream is free again", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return s.get(ctx, t, "/stream", reads, "").StatusCode == 200
	})
}

// TestStreamUnderOtherRules: a stream ends when its reader is somebody else to the rules, and another
// cannot begin once they are nobody.
func TestStreamUnderOtherRules(t *testing.T) {
	s := newStreams(t)
	loadRules(t, s.n, noAmber, strings.Replace(people, `"id": "analyst"`, `"id": "officer"`, 1))
	token := s.consumer(t, "siem", "ann", node.ScopeRead)
	events := follow(t, s.get(t.Context(), t, "/stream", token, "").Body)
	publish(t, s.n, protocol.TLPAmber, "198.51.100.1")
	if e := receive(t, events, "an event"); e.change.Record.Handling.TLP != "amber" {
		t.Errorf("%+v", e)
	}
	loadRules(t, s.n, noAmber, people)
	publish(t, s.n, protocol.TLPAmber, "198.51.100.2")
	publish(t, s.n, protocol.TLPGreen, "198.51.100.3")
	for e := range events {
		t.Errorf("after the rules changed: %+v", e)
	}
	again := follow(t, s.get(t.Context(), t, "/stream", token, "1").Body)
	if e := receive(t, again, "an event"); e.id != "3" {
		t.Errorf("%+v", e)
	}
	loadRules(t, s.n, noAmber, nobody)
	for e := range again {
		t.Errorf("after she left: %+v", e)
	}
	if resp := s.get(t.Context(), t, "/stream", token, "3"); resp.StatusCode != 401 {
		t.Errorf("after she left: %s", resp.Status)
	}
}

// pipe is a ResponseWriter that takes what it gets, or hangs.
type pipe struct {
	mu     sync.Mutex
	header http.Header
	text   strings.Builder
}

func (p *pipe) Header() http.Header { return p.header }
func (p *pipe) WriteHeader(int)     {}
func (p *pipe) Flush()              {}
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// TestKeepAlive: where nothing comes, a comment does every 15 seconds; where something did, 15 seconds
// after that.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := testNode(t)
		s := serve.New(n, nil)
		if err := Mount(s, n); err != nil {
			t.Fatal(err)
		}
		token, err := n.AddConsumer(node.Consumer{Name: "siem", Scopes: []node.Scope{node.ScopeRead}, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "/stream", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := &pipe{header: http.Header{}}
		done := make(chan struct{})
		go func() { defer close(done); s.ServeHTTP(w, r) }()
		time.Sleep(10 * time.Second)
		publish(t, n, protocol.TLPGreen, "198.51.100.1")
		time.Sleep(14 * time.Second)
		if got := w.String(); !strings.HasPrefix(got, "retry: 3000\n\nid: 1\nevent: added\ndata: {") || strings.Contains(got, "keep-alive") {
			t.Errorf("after 24 seconds: %q", got)
		}
		time.Sleep(2 * time.Second)
		if got := w.String(); strings.Count(got, ": keep-alive\n\n") != 1 {
			t.Errorf("after 26 seconds: %q", got)
		}
		time.Sleep(time.Minute)
		if got := w.String(); strings.Count(got, ": keep-alive\n\n") != 5 {
			t.Errorf("after 86 seconds: %q", got)
		}
		cancel()
		<-done
	})
}
