package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node"
)

// carryNode is a node that carries to itself: its organisation's nodes do.
func carryNode(t *testing.T) *httptest.Server {
	t.Helper()
	s := testServer(t)
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := s.node.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	resp, err := http.Post(srv.URL+"/v1/publish?topic=c2&tlp=green", "text/plain", strings.NewReader("198.51.100.1\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return srv
}

// post sends a body and returns the answer whole, with what its trailer says.
func post(t *testing.T, url string, body io.Reader) (int, []byte, *node.Carried) {
	t.Helper()
	resp, err := http.Post(url, "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var info *node.Carried
	if text := resp.Trailer.Get(CarriedTrailer); text != "" {
		info = new(node.Carried)
		if err := json.Unmarshal([]byte(text), info); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, b, info
}

func TestCarry(t *testing.T) {
	srv := carryNode(t)
	status, request, info := post(t, srv.URL+"/v1/carry/request?to=Example", nil)
	if status != 200 || info == nil || info.Kind != "request" || !info.Whole {
		t.Fatalf("request: %d, %+v", status, info)
	}
	status, file, info := post(t, srv.URL+"/v1/carry/pack?to=Example&topic=c2", nil)
	if status != 200 || info == nil || info.Envelopes != 1 || !info.Whole {
		t.Fatalf("pack: %d, %+v", status, info)
	}
	if status, rest, info := post(t, srv.URL+"/v1/carry/pack?after=1", bytes.NewReader(request)); status != 200 || info.Envelopes != 0 || info.Answers == nil || len(rest) >= len(file) {
		t.Errorf("pack after a request: %d, %+v", status, info)
	}
	var inspected node.Carried
	status, b, _ := post(t, srv.URL+"/v1/carry/inspect", bytes.NewReader(file))
	if err := json.Unmarshal(b, &inspected); err != nil || status != 200 || len(inspected.Feeds) != 1 || !inspected.Whole {
		t.Errorf("inspect: %d, %s, %v", status, b, err)
	}
	var applied node.CarryApplied
	status, b, _ = post(t, srv.URL+"/v1/carry/apply", bytes.NewReader(file))
	if err := json.Unmarshal(b, &applied); err != nil || status != 200 || applied.Held.Envelopes != 1 || applied.Partial() {
		t.Errorf("apply: %d, %s, %v", status, b, err)
	}
	// JSON of a list that is empty is a list.
	if strings.Contains(string(b), "null") {
		t.Errorf("answer holds null: %s", b)
	}
}

// TestRefusalIsHeard: the answer to a large file that is refused at its first bytes arrives,
// however much of the file is still under way.
func TestRefusalIsHeard(t *testing.T) {
	srv := carryNode(t)
	status, b, _ := post(t, srv.URL+"/v1/carry/apply", io.LimitReader(zeros{}, 64<<20))
	if status != 400 || !strings.Contains(string(b), "not a carried file") {
		t.Errorf("got %d %s", status, b)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
