package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/node/audit"
)

// TestAuditOverTheAPI: a request says on whose behalf it is, what it is answered is noted before, and
// what it states of itself is bounded.
func TestAuditOverTheAPI(t *testing.T) {
	s := testServer(t)
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string, header http.Header) (int, string) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		for k, v := range header {
			r.Header[k] = v
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	as := http.Header{PersonHeader: {"Álice"}, PurposeHeader: {"case 17"}}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/records?value=198.51.100.1", ""}, {"POST", "/v1/topics/c2", ""},
	} {
		if code, body := ask(c.method, c.path, c.body, as); code != 200 {
			t.Fatal(c.path, code, body)
		}
	}
	_, list := ask("GET", "/v1/audit", "", nil)
	for _, want := range []string{
		`"kind":"disclose","day"`, `"act":"search","person":"Álice","purpose":"case 17"`, `"text":"value=198.51.100.1"`,
		`"act":"join topic","person":"Álice","purpose":"case 17"`,
	} {
		if !strings.Contains(list, want) {
			t.Errorf("the account does not hold %s: %s", want, list)
		}
	}
	if _, again := ask("GET", "/v1/audit?kind=disclose", "", as); !strings.Contains(again, `"act":"look at the audit log"`) {
		t.Errorf("that the account was looked at is not noted: %s", again)
	}
	_, c := ask("GET", "/v1/audit/checkpoint", "", nil)
	if !strings.Contains(c, "entente/audit/") {
		t.Errorf("checkpoint: %s", c)
	}
	for _, tc := range []struct {
		method, path, body string
		header             http.Header
		status             int
		says               string
	}{
		{"GET", "/v1/audit?kind=gossip", "", nil, 400, "no kind of entry"},
		{"GET", "/v1/audit?from=yesterday", "", nil, 400, "is not a time"},
		{"GET", "/v1/audit?log=xyz", "", nil, 400, "is no log"},
		{"GET", "/v1/audit?org=nobody", "", nil, 400, "no organisation"},
		{"GET", "/v1/audit/proof/x", "", nil, 400, "not the number of an entry"},
		{"GET", "/v1/audit/proof/4711", "", nil, 404, "not in the log"},
		{"GET", "/v1/audit/export?log=" + strings.Repeat("0", 32), "", nil, 404, "no audit log"},
		{"GET", "/v1/audit/report?org=nobody", "", nil, 400, "no organisation"},
		{"GET", "/v1/audit/report?org=Example&format=pdf&from=7d", "", nil, 400, "not known"},
		{"GET", "/v1/audit/report?org=Example&from=2026-02-01&to=2026-01-01", "", nil, 400, "to a later one"},
		{"POST", "/v1/audit/verify", `{"since":["junk"]}`, nil, 400, "not a checkpoint"},
		{"POST", "/v1/audit/verify", `{"before":1}`, nil, 400, "not the JSON"},
		{"POST", "/v1/audit/erase", `{"entries":[0],"authority":"x"}`, nil, 400, "its details stay"},
		{"POST", "/v1/audit/erase", `{"entries":[4711],"authority":"x"}`, nil, 404, "not in the log"},
		{"POST", "/v1/audit/erase", `{"entries":[1]}`, nil, 400, `lacks \"authority`},
		{"POST", "/v1/audit/erase", `{"entries":[1],"authority":""}`, nil, 400, "on whose authority"},
		{"GET", "/v1/status", "", http.Header{PersonHeader: {strings.Repeat("x", audit.MaxName+1)}}, 413, "at most"},
		{"GET", "/v1/status", "", http.Header{PurposeHeader: {"a\x07b"}}, 400, "control characters"},
		{"GET", "/v1/status", "", http.Header{PersonHeader: {"\xff"}}, 413, "UTF-8"},
	} {
		if code, body := ask(tc.method, tc.path, tc.body, tc.header); code != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s %s: %d, want %d: %s, want %q", tc.method, tc.path, code, tc.status, body, tc.says)
		}
	}
	if code, body := ask("POST", "/v1/audit/verify", `{"since":[]}`, nil); code != 200 || !strings.Contains(body, `"whole":true`) {
		t.Errorf("%d, %s", code, body)
	}
}
