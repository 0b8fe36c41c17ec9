package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAgreementTermsRefuse(t *testing.T) {
	s := testServer(t)
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"diff without an agreement", "POST", "agreements/diff", `{}`, http.StatusBadRequest, "lacks \"after\""},
		{"diff of nothing", "POST", "agreements/diff", `{"after":{}}`, http.StatusBadRequest, "one of them"},
		{"diff of both", "POST", "agreements/diff", `{"after":{"id":"agr:abcdefghij","yaml":"title: x"}}`, http.StatusBadRequest, "one of them"},
		{"diff of an unknown id", "POST", "agreements/diff", `{"after":{"id":"agr:abcdefghij"}}`, http.StatusNotFound, "agreement list"},
		{"diff of no agreement", "POST", "agreements/diff", `{"after":{"yaml":"title: x"}}`, http.StatusBadRequest, "reading agreement"},
		{"diff with more", "POST", "agreements/diff", `{"after":{"id":"x"},"force":true}`, http.StatusBadRequest, "force"},
		{"simulate nothing", "POST", "agreements/simulate", `{"agreement":{}}`, http.StatusBadRequest, "one of them"},
		{"simulate since a word", "POST", "agreements/simulate", `{"agreement":{"id":"x"},"since":"ever"}`, http.StatusBadRequest, "is not a time"},
		{"renew what is not there", "POST", "agreements/agr:abcdefghij/renew", `{"until":"2099-01-01T00:00:00Z"}`, http.StatusNotFound, "agreement list"},
		{"amend what is not there", "GET", "agreements/agr:abcdefghij/amendment", "", http.StatusNotFound, "agreement list"},
		{"export what is not there", "GET", "agreements/agr:abcdefghij/iep", "", http.StatusNotFound, "agreement list"},
		{"import from nobody", "POST", "agreements/iep?from=nobody&to=nobody", "[]", http.StatusBadRequest, "nobody"},
		{"what if nothing", "POST", "records/rec:abcdefghij/what-if", `{}`, http.StatusBadRequest, "record id"},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(row.method, "/v1/"+row.path, strings.NewReader(row.body)))
		var e Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != row.status || !strings.Contains(e.Message, row.want) {
			t.Errorf("%s: %d %s, want %d %q", row.name, w.Code, w.Body, row.status, row.want)
		}
	}
}
