package api

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
)

func ask(s *Server, as, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if as != "" {
		r.Header.Set(AsHeader, as)
	}
	s.ServeHTTP(w, r)
	return w
}

const analystReads = "permit (principal, action in [Action::\"release\", Action::\"sign\", Action::\"administer\"], resource) unless { principal in Role::\"analyst\" };\n" +
	"@id(\"no-publish\") forbid (principal in Role::\"analyst\", action == Action::\"publish\", resource);"

func loadRules(t *testing.T, s *Server, text string) {
	t.Helper()
	people := `[{"uid":{"type":"Person","id":"ann"},"attrs":{"name":"Ann"},"parents":[{"type":"Role","id":"analyst"}]},` +
		`{"uid":{"type":"Machine","id":"siem"},"attrs":{"name":"SIEM"},"parents":[{"type":"Role","id":"sink"}]}]`
	b, err := json.Marshal(RulesRequest{File: "own.cedar", Text: text, PeopleFile: "people.json", People: &people})
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(s, "", "POST", "/v1/rules", string(b)); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

// TestEveryRouteHasARight: whoever may do nothing gets what needs no right, and nothing else.
func TestEveryRouteHasARight(t *testing.T) {
	s := testServer(t)
	loadRules(t, s, analystReads)
	params := strings.NewReplacer("{id}", "x", "{name}", "x", "{number}", "1", "{n}", "1")
	open := 0
	for _, pattern := range s.mux.patterns {
		method, path, _ := strings.Cut(pattern, " ")
		if pattern == "GET /v1/watch" {
			path += "?follow=0"
		}
		free := s.rightFor(pattern).Asked() == ""
		if free {
			open++
		}
		w := ask(s, "ann", method, params.Replace(path), "")
		if refused := w.Code == http.StatusForbidden; refused == free {
			t.Errorf("%s: %d %s", pattern, w.Code, w.Body)
		}
	}
	// Whoever adds one to these says why it shows nothing that rules are about.
	if open != 31 {
		t.Errorf("%d routes are open", open)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	s := testServer(t)
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := s.node.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	if w := ask(s, "ann", "GET", "/v1/status", ""); w.Code != http.StatusOK {
		t.Errorf("a name where there is no file of people: %d %s", w.Code, w.Body)
	}
	loadRules(t, s, analystReads)
	if w := ask(s, "nobody of the file", "GET", "/v1/status", ""); w.Code != http.StatusForbidden {
		t.Errorf("somebody whom the file does not name: %d %s", w.Code, w.Body)
	}
	for _, tc := range []struct {
		as, method, path, body string
		status                 int
		says                   string
	}{
		{"", "GET", "/v1/quarantine", "", 200, ""},
		{"", "GET", "/v1/status", "", 200, `"quarantined":0`},
		{"ann", "GET", "/v1/status", "", 200, `"counts_hidden":true`},
		{"ann", "GET", "/v1/quarantine", "", 403, "no local rule permits ann to administer it"},
		{"siem", "GET", "/v1/quarantine", "", 200, ""},
		{"ann", "GET", "/v1/releases", "", 403, "no local rule permits ann to release it"},
		{"siem", "GET", "/v1/releases", "", 200, ""},
		{"siem", "POST", "/v1/releases/1/approve", `{"person":"Olaf"}`, 403, `cannot vote as \"Olaf\"`},
		{"siem", "POST", "/v1/releases/1/deny", `{"person":"Olaf"}`, 403, "cannot vote"},
		{"siem", "POST", "/v1/releases/1/approve", `{"person":"SIEM"}`, 404, ""},
		{"ann", "GET", "/v1/records?topic=c2", "", 200, `"records":[]`},
		{"ann", "POST", "/v1/publish?topic=c2&tlp=green", "198.51.100.1\n", 403, `local rule \"no-publish\" forbids`},
		{"siem", "POST", "/v1/publish?topic=c2&tlp=green", "198.51.100.1\n", 200, "receipt"},
		{"ann", "POST", "/v1/withdraw", `{"ids":["STIX"],"reason":"x"}`, 403, "no-publish"},
		{"ann", "POST", "/v1/rules", `{"file":"x","text":""}`, 403, ""},
		{"ann", "GET", "/v1/rules", "", 403, ""},
		{"ann", "GET", "/v1/rules/schema", "", 200, "entity Record"},
		{"eve", "GET", "/v1/id", "", 403, `no person or machine \"eve\"`},
		{"", "POST", "/v1/rules", `{"file":"x","text":"forbid"}`, 400, "x:1:"},
		{"", "POST", "/v1/rules", `{"file":"x","text":"","extra":1}`, 400, "not the JSON"},
		{"", "POST", "/v1/rules/check", `{"file":"x","text":"forbid"}`, 200, `"line":1`},
		{"", "POST", "/v1/rules/check", `{"file":"x","text":""}`, 200, `"ok":true`},
	} {
		if strings.Contains(tc.body, "STIX") {
			recs, _, err := s.node.Search(node.Query{Topic: "c2"})
			if err != nil || len(recs) != 1 {
				t.Fatal(len(recs), err)
			}
			tc.body = strings.Replace(tc.body, "STIX", recs[0].StixID, 1)
		}
		if w := ask(s, tc.as, tc.method, tc.path, tc.body); w.Code != tc.status || !strings.Contains(w.Body.String(), tc.says) {
			t.Errorf("%s: %s %s: %d %s, want %d with %q", tc.as, tc.method, tc.path, w.Code, w.Body, tc.status, tc.says)
		}
	}
}

// TestNobodySpeaksForAnother but who may administer: a name in a header is no proof.
func TestNobodySpeaksForAnother(t *testing.T) {
	s := testServer(t)
	who, err := s.caller(httptest.NewRequest("GET", "/", nil))
	if err != nil || who.ID == "" || len(who.Roles) != 0 {
		t.Fatalf("%+v, %v", who, err)
	}
	loadRules(t, s, "forbid (principal == Person::\""+who.ID+"\", action == Action::\"administer\", resource);")
	if w := ask(s, "siem", "GET", "/v1/id", ""); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "may not speak for") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(s, who.ID, "GET", "/v1/id", ""); w.Code != http.StatusOK {
		t.Errorf("as itself: %d %s", w.Code, w.Body)
	}
	if got := s.rightFor("DELETE /v1/whatever"); got != rules.Administer {
		t.Errorf("a route that nobody named needs %q", got)
	}
}

// TestPeerOfSocket: the kernel says who opened the socket.
func TestPeerOfSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("known on Linux only")
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if uid, ok := connected(t.Context(), accepted).Value(userKey).(int); !ok || uid != os.Getuid() {
		t.Errorf("user %d, %v; want %d", uid, ok, os.Getuid())
	}
}
