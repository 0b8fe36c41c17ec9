package api

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node"
)

func testServer(t *testing.T, more ...func(*node.Config)) *Server {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := node.Config{Keys: ident.Keys, Card: &ident.Card}
	for _, fn := range more {
		fn(&cfg)
	}
	n, err := node.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return New(n)
}

func TestRefusals(t *testing.T) {
	s := testServer(t)
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := s.node.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v1/nothing", "", 404, ""},
		{"DELETE", "/v1/status", "", 405, ""},
		{"GET", "/v1/records/rec:zzz", "", 400, "neither a record id"},
		{"GET", "/v1/records/indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2", "", 404, "not found"},
		{"GET", "/v1/records?since=yesterday", "", 400, "is not a time"},
		{"GET", "/v1/records?after=-1", "", 400, "is not a number"},
		{"GET", "/v1/export?format=xml", "", 400, "not known"},
		{"POST", "/v1/trust", `{"card":"AAAA","words":"x"}`, 400, ""},
		{"POST", "/v1/trust", `{"card":"AAAA","words":"x","extra":1}`, 400, "not the JSON"},
		{"POST", "/v1/network", `not json`, 400, "not the JSON"},
		{"POST", "/v1/network/join", `{"invitation":"AAAA"}`, 400, ""},
		{"POST", "/v1/topics/UPPER", "", 400, "cannot be used"},
		{"POST", "/v1/agreements", "title: x\nunknown: y\n", 400, "unknown"},
		{"POST", "/v1/agreements/agr:abcdefgh/terminate", `{"reason":""}`, 404, "not found"},
		{"GET", "/v1/agreements/agr:abcdefgh/document", "", 404, "not found"},
		{"POST", "/v1/agreements/import", `{"documents":[]}`, 400, "no agreement"},
		{"POST", "/v1/agreements/import", `{"documents":["AAAA"]}`, 400, "agreement 1 of 1"},
		{"POST", "/v1/agreements/import", `{"documents":["AAAA"],"trust":true}`, 400, "not the JSON"},
		{"POST", "/v1/agreements/import", `{"documents":["` + strings.Repeat("AAAA", 4<<20) + `"]}`, 400, "not the JSON"},
		{"POST", "/v1/publish?topic=c2&tlp=purple", "198.51.100.1\n", 400, "purple"},
		{"POST", "/v1/publish?topic=c2&tlp=green&country=Thailand", "198.51.100.1\n", 400, "ISO 3166"},
		{"POST", "/v1/publish?topic=c2&tlp=green&to=Nobody", "198.51.100.1\n", 400, "no organisation"},
		{"POST", "/v1/publish?topic=other&tlp=green", "198.51.100.1\n", 400, "not in topic"},
		{"POST", "/v1/publish?topic=c2&tlp=green&generation=999", "198.51.100.1\n", 409, "changed since the plan"},
		{"POST", "/v1/publish?topic=c2&format=stix", "{", 400, ""},
		{"GET", "/v1/quarantine?id=x", "", 404, "not found"},
		{"POST", "/v1/carry/pack", "", 400, "for which organisation"},
		{"POST", "/v1/carry/pack?to=Nobody", "", 400, "no organisation"},
		{"POST", "/v1/carry/pack?to=Example&topic=other", "", 400, "not in topic"},
		{"POST", "/v1/carry/pack?after=1", "no request", 400, "not a carried file"},
		{"POST", "/v1/carry/request", "", 400, "lacks the parameter"},
		{"POST", "/v1/carry/request?to=", "", 400, "no organisation"},
		{"POST", "/v1/carry/apply", "no pack", 400, "not a carried file"},
		{"POST", "/v1/carry/inspect", "no pack", 400, "not a carried file"},
		{"GET", "/v1/carry/apply", "", 405, ""},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body)))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.says) {
				t.Errorf("got %d %s, want %d with %q", w.Code, w.Body, tc.status, tc.says)
			}
			var e Error
			if tc.says != "" && (json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Message == "") {
				t.Errorf("answer is no error in JSON: %s", w.Body)
			}
		})
	}
}

func TestPublishAndWatch(t *testing.T) {
	s := testServer(t)
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := s.node.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	resp, err := http.Post(srv.URL+"/v1/publish?topic=c2&tlp=green&file=list.txt", "text/plain", strings.NewReader("198.51.100.1\n/scrap\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var plan, receipt bool
	for dec := json.NewDecoder(resp.Body); ; {
		var e PublishEvent
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		plan = plan || e.Plan != nil && e.Plan.Records == 1 && len(e.Plan.Problems) == 1 && strings.HasPrefix(e.Plan.Problems[0], "list.txt:2: ")
		receipt = receipt || e.Receipt != nil && e.Receipt.Records == 1 && len(e.Receipt.IDs) == 1
	}
	if !plan || !receipt {
		t.Errorf("plan %v, receipt %v", plan, receipt)
	}
	resp, err = http.Get(srv.URL + "/v1/watch?from=0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	var r node.Record
	if err := dec.Decode(&r); err != nil || r.Cursor != 1 {
		t.Fatalf("watched %+v, %v", r, err)
	}
	// The stream stays open, and brings what comes later.
	resp2, err := http.Post(srv.URL+"/v1/publish?topic=c2&tlp=green", "text/plain", strings.NewReader("198.51.100.2\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp2.Body)
	resp2.Body.Close()
	if err := dec.Decode(&r); err != nil || r.Cursor != 2 {
		t.Fatalf("watched %+v, %v", r, err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	dir, err := os.MkdirTemp("", "api") // a path short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, SocketName)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v, %v", fi.Mode(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- testServer(t).Serve(ctx, l) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if l, err = Listen(dir); err != nil { // in place of what a node that died left behind
		t.Fatal(err)
	}
	l.Close()
}
