package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestSinks: who administers sets, tests, replays and removes sinks, others do not see them; a secret is
// in the first answer only.
func TestSinks(t *testing.T) {
	s := testServer(t)
	loadRules(t, s, analystReads)
	got := make(chan *http.Request, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	defer receiver.Close()
	body := `{"name": "x", "kind": "webhook", "url": "` + receiver.URL + `/in", "reader": "siem", "allow_private": true, "allow_plain": true}`
	for _, c := range []struct {
		as, method, path, body string
		status                 int
		says                   string
	}{
		{"ann", "GET", "/v1/sinks", "", 403, "permits"},
		{"ann", "POST", "/v1/sinks", body, 403, "permits"},
		{"", "POST", "/v1/sinks", strings.Replace(body, "siem", "eve", 1), 403, "names no person"},
		{"", "POST", "/v1/sinks", strings.Replace(body, `"allow_plain": true`, `"view": "none", "allow_plain": true`, 1), 404, "view"},
		{"", "POST", "/v1/sinks", strings.Replace(body, `, "allow_plain": true`, "", 1), 400, "--allow-plain"},
		{"", "POST", "/v1/sinks", strings.Replace(body, "reader", "writer", 1), 400, "not the JSON"},
		{"", "POST", "/v1/sinks", strings.Replace(body, "}", `, "from": 99}`, 1), 400, "has not given cursor 99"},
		{"", "GET", "/v1/sinks", "", 200, "[]\n"},
		{"", "POST", "/v1/sinks/x/test", "{}", 404, "not found"},
		{"", "POST", "/v1/sinks/x/replay", `{"from": 0}`, 404, "not found"},
		{"", "DELETE", "/v1/sinks/x", "", 404, "not found"},
	} {
		if w := ask(s, c.as, c.method, c.path, c.body); w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s %s %s: %d %s", c.as, c.method, c.path, c.body, w.Code, w.Body)
		}
	}
	w := ask(s, "", "POST", "/v1/sinks", body)
	var added struct {
		Made string `json:"made_secret"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &added); err != nil || w.Code != 200 || !strings.HasPrefix(added.Made, "whsec_") {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/sinks", "", 200}, {"POST", "/v1/sinks/x/test", "{}", 200}, {"POST", "/v1/sinks/x/replay", `{"from": 0}`, 200},
		{"POST", "/v1/sinks/x/replay", `{"from": 5}`, 400}, {"POST", "/v1/sinks", body, 400}, {"DELETE", "/v1/sinks/x", "", 200}, {"GET", "/v1/sinks", "", 200},
	} {
		w := ask(s, "", c.method, c.path, c.body)
		if w.Code != c.status || strings.Contains(w.Body.String(), added.Made[6:16]) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if len(got) != 1 {
		t.Errorf("the receiver was called %d times", len(got))
	}
}
