package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Accounts of tests: the number of a user, whom no operating system needs to know.
const (
	firstUID   = 70001
	nobodysUID = 70000
)

// account makes a server take a number for an account.
func (s *Server) account(uid int, name string) {
	s.users.put(uid, account{name, time.Now().Add(time.Hour)})
}

// askUID is a request by an account.
func askUID(s *Server, uid int, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey, uid)))
	return w
}

// peopled is a server with a person of each role, called as it, and of the accounts after firstUID in the
// order of rules.Roles. What they are called by the operating system is "os-" and their name.
func peopled(t *testing.T, more ...func(*node.Config)) *Server {
	t.Helper()
	s := testServer(t, more...)
	for i, role := range slices.Backward(rules.Roles()) { // the admin first
		s.account(firstUID+i, "os-"+role)
		if _, _, err := s.node.SetPerson(t.Context(), node.PersonChange{ID: role, Roles: []string{role}, User: "os-" + role}); err != nil {
			t.Fatal(err)
		}
	}
	s.account(nobodysUID, "stranger")
	return s
}

func uidOf(role string) int { return firstUID + slices.Index(rules.Roles(), role) }

const (
	tableBegin = "<!-- made by 'go test ./node/api -run TestRolesAndRoutes -update' -->\n"
	tableEnd   = "<!-- end -->\n"
)

// TestRolesAndRoutes: each route needs one right, the table of docs/people.md says which roles have it, and whoever
// has it not gets 403.
func TestRolesAndRoutes(t *testing.T) {
	s := peopled(t)
	var table strings.Builder
	fmt.Fprintf(&table, "| route | right | %s |\n|---|---|%s\n", strings.Join(rules.Roles(), " | "), strings.Repeat(":-:|", len(rules.Roles())))
	params := strings.NewReplacer("{id}", "x", "{name}", "x", "{number}", "1", "{n}", "1", "{format}", "list", "{uuid}", "x", "{node}", "x")
	patterns := slices.Clone(s.mux.patterns)
	slices.SortFunc(patterns, func(a, b string) int {
		am, ap, _ := strings.Cut(a, " ")
		bm, bp, _ := strings.Cut(b, " ")
		return strings.Compare(ap+" "+am, bp+" "+bm)
	})
	for _, pattern := range patterns {
		method, path, _ := strings.Cut(pattern, " ")
		if pattern == "GET /v1/watch" {
			path += "?follow=0"
		}
		path = params.Replace(path)
		right := s.rightFor(pattern)
		fmt.Fprintf(&table, "| %s | %s |", pattern, right)
		for _, role := range rules.Roles() {
			who := s.node.PersonOf(role)
			may := who.Bound(right) == nil
			fmt.Fprintf(&table, " %s |", map[bool]string{true: "yes"}[may])
			// Whom it lets is asked with a request that does nothing: all that act lack what they need.
			if w := askUID(s, uidOf(role), method, path, ""); (w.Code != http.StatusForbidden) != may {
				t.Errorf("%s as %s: %d %s", pattern, role, w.Code, w.Body)
			}
		}
		table.WriteByte('\n')
		w := askUID(s, nobodysUID, method, path, "")
		if open := pattern == "GET /v1/status"; (w.Code == http.StatusOK) != open || !open && w.Code != http.StatusForbidden {
			t.Errorf("%s as somebody whom nobody added: %d %s", pattern, w.Code, w.Body)
		}
	}
	const name = root + "docs/people.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", name)
	}
	fresh(t, name, []byte(before+tableBegin+"\n"+table.String()+"\n"+tableEnd+after))
}

// TestAccountOfNobody sees that the node is up, and nothing of whom it works with.
func TestAccountOfNobody(t *testing.T) {
	s := testServer(t)
	s.account(nobodysUID, "stranger")
	if w := askUID(s, nobodysUID, "GET", "/v1/id", ""); w.Code != http.StatusForbidden {
		t.Errorf("an account that is not the node's own, before there are people: %d %s", w.Code, w.Body)
	}
	if w := ask(s, "", "PUT", "/v1/people/alice", `{"roles":["reader"]}`); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "--role admin") {
		t.Errorf("the first is no admin: %d %s", w.Code, w.Body)
	}
	s = peopled(t)
	w := askUID(s, nobodysUID, "GET", "/v1/status", "")
	var st node.Status
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err)
	}
	if !st.ProblemsHidden || !st.CountsHidden || len(st.Problems) != 0 || len(st.Addrs) != 0 || len(st.Nodes) != 0 || st.Generation != 0 {
		t.Errorf("shown: %s", w.Body)
	}
	if w := ask(s, "", "GET", "/v1/id", ""); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "people add") {
		t.Errorf("the node's own account is nobody's: %d %s", w.Code, w.Body)
	}
	if w := ask(s, "admin", "GET", "/v1/id", ""); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "may not speak for") {
		t.Errorf("with the name of another: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest("GET", "/v1/people", nil)
	r.Header.Set(AsHeader, "officer")
	got := httptest.NewRecorder()
	s.ServeHTTP(got, r.WithContext(context.WithValue(r.Context(), userKey, uidOf("admin"))))
	if got.Code != http.StatusForbidden {
		t.Errorf("an admin in the name of another: %d %s", got.Code, got.Body)
	}
	s.account(unknownUID, "os-admin")
	if _, _, err := s.node.SetPerson(t.Context(), node.PersonChange{ID: "unknown", Roles: []string{rules.RoleAdmin}}); err != nil {
		t.Fatal(err)
	}
	if w := askUID(s, unknownUID, "GET", "/v1/id", ""); w.Code != http.StatusForbidden {
		t.Errorf("whom the kernel does not name: %d", w.Code)
	}
}

// TestAdminReadsNothing: whoever administers sees no record by that.
func TestAdminReadsNothing(t *testing.T) {
	s := testServer(t)
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := s.node.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	if w := ask(s, "", "POST", "/v1/publish?topic=c2&tlp=green", "198.51.100.1\n"); w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	for i, role := range slices.Backward(rules.Roles()) {
		s.account(firstUID+i, "os-"+role)
		if _, _, err := s.node.SetPerson(t.Context(), node.PersonChange{ID: role, Roles: []string{role}, User: "os-" + role}); err != nil {
			t.Fatal(err)
		}
	}
	admin, reader := s.node.Reader(s.node.PersonOf("admin")), s.node.Reader(s.node.PersonOf("reader"))
	if recs, _, err := reader.Search(node.Query{}); err != nil || len(recs) != 1 {
		t.Fatalf("%d records, %v", len(recs), err)
	}
	if recs, _, err := admin.Search(node.Query{}); err != nil || len(recs) != 0 {
		t.Errorf("an admin sees %d records, %v", len(recs), err)
	}
	if w := askUID(s, uidOf("admin"), "GET", "/v1/status", ""); strings.Contains(w.Body.String(), "198.51.100.1") {
		t.Errorf("%s", w.Body)
	}
	// A token of theirs would read for them.
	expires := time.Now().AddDate(0, 1, 0).UTC().Format(time.RFC3339)
	if w := askUID(s, uidOf("admin"), "POST", "/v1/consumers", `{"name":"own","scopes":["read"],"expires":"`+expires+`"}`); w.Code != http.StatusForbidden {
		t.Errorf("an admin's reading token: %d %s", w.Code, w.Body)
	}
	// Roles change what a reader that is open sees.
	if _, _, err := s.node.SetPerson(t.Context(), node.PersonChange{ID: "reader", Roles: []string{"admin"}, Only: true}); err != nil {
		t.Fatal(err)
	}
	if recs, _, err := reader.Search(node.Query{}); err != nil || len(recs) != 0 {
		t.Errorf("a reader that is one no more sees %d records, %v", len(recs), err)
	}
	// Local rules narrow what roles give.
	loadRules(t, asAdmin(s), `@id("none") forbid (principal in Role::"publisher", action == Action::"read", resource);`)
	if recs, _, err := s.node.Reader(s.node.PersonOf("publisher")).Search(node.Query{}); err != nil || len(recs) != 0 {
		t.Errorf("whom a rule forbids sees %d records, %v", len(recs), err)
	}
}

// asAdmin makes the account that runs the tests that of the admin.
func asAdmin(s *Server) *Server {
	s.account(os.Getuid(), "os-admin")
	return s
}

// remote serves over real connections; who comes is said in a header.
func remote(t *testing.T, s *Server) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, err := strconv.Atoi(r.Header.Get("Test-UID"))
		if err != nil {
			t.Error(err)
		}
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey, uid)))
	}))
	t.Cleanup(srv.Close)
	return srv
}

func call1(t *testing.T, srv *httptest.Server, uid int, method, path, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Test-UID", strconv.Itoa(uid))
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestRemovalEndsWhatIsOpen: when a removal answers, the streams of who was removed have ended, others' go
// on, and a role that is taken ends what it alone allowed.
func TestRemovalEndsWhatIsOpen(t *testing.T) {
	s := peopled(t)
	srv := remote(t, s)
	watching := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		count := 0
		for v := range s.live {
			if v.right == rules.Records {
				count++
			}
		}
		return count
	}
	open := func(role string) *http.Response {
		before := watching()
		got := make(chan *http.Response)
		go func() { got <- call1(t, srv, uidOf(role), "GET", "/v1/watch", "") }()
		for watching() <= before { // nothing is sent before there is a record
			time.Sleep(time.Millisecond)
		}
		t.Cleanup(func() {
			select {
			case <-got:
			default:
			}
		})
		go func() {
			if resp := <-got; resp != nil {
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		}()
		return nil
	}
	open("reader")
	open("publisher")
	open("approver")
	if n := watching(); n != 3 {
		t.Fatalf("%d streams are open", n)
	}
	resp := call1(t, srv, uidOf("admin"), "DELETE", "/v1/people/reader", "")
	var removed node.Removed
	if err := json.NewDecoder(resp.Body).Decode(&removed); err != nil || resp.StatusCode != http.StatusOK || removed.Still != 0 {
		t.Fatalf("%d %+v %v", resp.StatusCode, removed, err)
	}
	if n := watching(); n != 2 {
		t.Errorf("%d streams are open after the removal answered", n)
	}
	if resp := call1(t, srv, uidOf("reader"), "GET", "/v1/records", ""); resp.StatusCode != http.StatusForbidden {
		t.Errorf("who was removed gets %d", resp.StatusCode)
	}
	if resp := call1(t, srv, uidOf("admin"), "PUT", "/v1/people/publisher", `{"roles":["admin"],"only":true}`); resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
	if n := watching(); n != 1 {
		t.Errorf("%d streams are open after a role was taken", n)
	}
	if resp := call1(t, srv, uidOf("admin"), "PUT", "/v1/people/approver", `{"roles":["reader"],"only":true}`); resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
	if n := watching(); n != 1 {
		t.Errorf("%d streams are open of who may read still", n)
	}
	if resp := call1(t, srv, uidOf("admin"), "DELETE", "/v1/people/approver", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
	if n := watching(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
}

// TestRemovalCutsOff an answer whose reader takes nothing, and leaves the request that removes.
func TestRemovalCutsOff(t *testing.T) {
	s := peopled(t)
	begun := make(chan struct{})
	s.declare("records", serves("GET /v1/endless", "Endless", perRecord, "Writes for ever.", func(w http.ResponseWriter, _ *http.Request, _ *none) {
		close(begun)
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
				return
			}
		}
	}).sends("", "Bytes.", mediaBytes))
	srv := remote(t, s)
	r, err := http.NewRequest("GET", srv.URL+"/v1/endless", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Test-UID", strconv.Itoa(uidOf("reader")))
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-begun
	second := node.PersonChange{ID: "second", Roles: []string{rules.RoleAdmin}, User: "os-second"}
	if _, still, err := s.node.SetPerson(t.Context(), second); err != nil || still != 0 {
		t.Fatal(still, err)
	}
	// An admin removes themselves: their own request ends by itself.
	if w := askUID(s, uidOf("admin"), "DELETE", "/v1/people/admin", ""); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "still_open") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	removed, err := s.node.RemovePerson(t.Context(), "reader", "")
	if err != nil || removed.Still != 0 {
		t.Fatalf("%+v %v", removed, err)
	}
	if w := askUID(s, uidOf("admin"), "GET", "/v1/people", ""); w.Code != http.StatusForbidden {
		t.Errorf("an admin who left: %d", w.Code)
	}
}

// TestSecondPerson goes through what a second person sees and does.
func TestSecondPerson(t *testing.T) {
	s := peopled(t)
	admin := uidOf("admin")
	do := func(uid int, method, path, body string, status int, says string) string {
		t.Helper()
		w := askUID(s, uid, method, path, body)
		if w.Code != status || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s %s: %d %s, want %d with %q", method, path, w.Code, w.Body, status, says)
		}
		return w.Body.String()
	}
	pending := func() node.PendingAct {
		t.Helper()
		list, err := s.node.Pending(node.Caller{})
		if err != nil || len(list) == 0 {
			t.Fatalf("%d acts wait, %v", len(list), err)
		}
		return list[len(list)-1]
	}
	do(admin, "POST", "/v1/requirements", `{"act":"people","two":true}`, 400, "no two of the node's people")
	do(admin, "POST", "/v1/requirements", `{"act":"everything","two":true}`, 400, "is no act")
	do(admin, "POST", "/v1/requirements", `{"act":"people","two":true,"role":"reader"}`, 400, "one of approver, officer, admin")
	do(admin, "PUT", "/v1/people/other", `{"roles":["admin"],"os_user":"os-other"}`, 200, "os-other")
	s.account(80001, "os-other")
	do(admin, "POST", "/v1/requirements", `{"act":"people","two":true}`, 200, `"two":true`)

	// It waits, and nothing was done.
	do(admin, "PUT", "/v1/people/mallory", `{"roles":["reader"],"os_user":"os-mallory"}`, 202, "waits for a second person")
	if s.node.PersonOf("mallory") != nil {
		t.Fatal("it was done")
	}
	p := pending()
	do(admin, "PUT", "/v1/people/mallory", `{"roles":["reader"],"os_user":"os-mallory"}`, 202, p.ID)
	do(80001, "GET", "/v1/acts/"+p.ID, "", 200, `os-mallory`)
	do(admin, "POST", "/v1/acts/"+p.ID+"/approve", "", 403, "the second person is another")
	do(uidOf("officer"), "POST", "/v1/acts/"+p.ID+"/approve", "", 403, "of role admin")
	do(uidOf("reader"), "POST", "/v1/acts/"+p.ID+"/approve", "", 403, "")
	do(nobodysUID, "POST", "/v1/acts/"+p.ID+"/approve", "", 403, "")
	do(uidOf("reader"), "POST", "/v1/acts/"+p.ID+"/deny", `{}`, 403, "role admin")

	// It is done as it was asked for, once, and both stand in the account.
	do(80001, "POST", "/v1/acts/"+p.ID+"/approve", "", 200, "mallory")
	if s.node.PersonOf("mallory") == nil {
		t.Error("it was not done")
	}
	do(80001, "POST", "/v1/acts/"+p.ID+"/approve", "", 404, "")
	entries, err := s.node.Audit(t.Context(), node.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range entries {
		if e.Kind == "second" || e.Kind == "people" && strings.Contains(e.Text, "mallory") {
			said = append(said, e.Person+" "+e.Act)
		}
	}
	if want := []string{"admin ask for", "other approve", "admin add person"}; !slices.Equal(said, want) {
		t.Errorf("the account says %q, want %q", said, want)
	}

	// What changed meanwhile is not done.
	do(admin, "PUT", "/v1/people/mallory", `{"roles":["publisher"]}`, 202, "")
	p = pending()
	if _, _, err := s.node.SetPerson(node.WithOffline(t.Context()), node.PersonChange{ID: "mallory", FullName: "Mallory Example"}); err != nil {
		t.Fatal(err)
	}
	do(80001, "POST", "/v1/acts/"+p.ID+"/approve", "", 400, "not what admin asked for")
	do(admin, "POST", "/v1/acts/"+p.ID+"/deny", `{"reason":"a mistake"}`, 200, "")

	// What is done for safety waits for nobody, nor does what lets somebody do less.
	do(admin, "PUT", "/v1/people/mallory", `{"roles":["reader"],"only":true,"full_name":"M"}`, 200, "")
	do(admin, "PUT", "/v1/people/publisher", `{"roles":["admin"]}`, 202, "")
	do(admin, "DELETE", "/v1/people/mallory", "", 200, "mallory")

	// Who takes the account of who asked is not another person.
	do(admin, "POST", "/v1/requirements", `{"act":"people","two":false}`, 202, "one person")
	p = pending()
	if _, err := s.node.RemovePerson(t.Context(), "other", ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.node.SetPerson(node.WithOffline(t.Context()), node.PersonChange{ID: "admin", User: "os-elsewhere"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.node.SetPerson(node.WithOffline(t.Context()), node.PersonChange{ID: "twin", Roles: []string{"admin"}, User: "os-admin"}); err != nil {
		t.Fatal(err)
	}
	do(admin, "POST", "/v1/acts/"+p.ID+"/approve", "", 403, "the second person is another")

	// Who asked left: it is void.
	if removed, err := s.node.RemovePerson(t.Context(), "admin", ""); err != nil || removed.Acts != 2 {
		t.Fatalf("%+v %v", removed, err)
	}
	do(admin, "GET", "/v1/acts/"+p.ID, "", 404, "")
}

// TestPendingIsBounded, by number, size and time.
func TestPendingIsBounded(t *testing.T) {
	s := peopled(t)
	if _, _, err := s.node.SetPerson(t.Context(), node.PersonChange{ID: "other", Roles: []string{"admin"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.node.Require(t.Context(), node.Requirement{Act: node.ActPeople, Two: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if w := askUID(s, uidOf("admin"), "PUT", fmt.Sprintf("/v1/people/p%d", i), `{"roles":["reader"]}`); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if w := askUID(s, uidOf("admin"), "PUT", "/v1/people/p99", `{"roles":["reader"]}`); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	long := strings.Repeat(" ", node.MaxPendingBody)
	if _, err := s.node.Require(node.WithOffline(t.Context()), node.Requirement{Act: node.ActPeople}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.node.Require(t.Context(), node.Requirement{Act: node.ActSignAgreement, Two: true, Role: rules.RoleAdmin}); err != nil {
		t.Fatal(err)
	}
	ctx := node.WithCaller(node.WithRequest(t.Context(), func() (node.Kept, error) { return node.Kept{Method: "POST", Path: "/", Body: []byte(long + " ")}, nil }), node.Caller{Person: "officer"})
	if err := s.node.SecondPerson(ctx, node.ActSignAgreement, "x", nil); protocol.Class(err) != "oversize" {
		t.Errorf("a request that is too long: %v", err)
	}
	if err := s.node.SecondPerson(t.Context(), node.ActSignAgreement, "x", nil); !node.Forbidden(err) {
		t.Errorf("by nobody: %v", err)
	}
	for _, id := range []string{"", "x", "../../x", "act:1234567", strings.Repeat("a", 300)} {
		if _, _, err := s.node.PendingOf(id, node.Caller{}); protocol.Class(err) != "malformed" {
			t.Errorf("act %q: %v", id, err)
		}
	}
}

// TestOffline: whoever owns the data directory of a stopped node says who its people are, and does
// nothing else.
func TestOffline(t *testing.T) {
	live := peopled(t)
	s := NewOffline(live.node)
	if w := ask(s, "", "PUT", "/v1/people/rescue", `{"roles":["admin"]}`); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/v1/records", "/v1/id", "/v1/sinks"} {
		if w := ask(s, "", "GET", path, ""); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	entries, err := live.node.Audit(t.Context(), node.AuditQuery{Kind: "people"})
	if err != nil || len(entries) == 0 || !strings.HasPrefix(entries[len(entries)-1].Person, "account ") || !strings.HasSuffix(entries[len(entries)-1].Person, ", offline") {
		t.Errorf("%+v %v", entries, err)
	}
}

// TestPeopleRefuse what no person can be.
func TestPeopleRefuse(t *testing.T) {
	s := peopled(t)
	for _, tc := range []struct {
		name, body string
		says       string
	}{
		{"node", `{"roles":["reader"]}`, "is no name"},
		{"a%20b", `{"roles":["reader"]}`, "is no name"},
		{"x", `{"roles":[]}`, "say what x may do"},
		{"x", `{"roles":["boss"]}`, "there is no role"},
		{"x", `{"roles":["administrator"]}`, "give that"},
		{"x", `{"roles":["reader"],"os_user":"os-admin"}`, "is that of admin"},
		{"x", `{"roles":["reader"],"os_user":"a\u0007b"}`, "control characters"},
		{"x", `{"roles":["reader"],"full_name":"` + strings.Repeat("x", 200) + `"}`, "at most 128 bytes"},
		{"admin", `{"roles":["reader"],"only":true}`, "is the last who administers"},
	} {
		if w := askUID(s, uidOf("admin"), "PUT", "/v1/people/"+tc.name, tc.body); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tc.says) {
			t.Errorf("%s %s: %d %s", tc.name, tc.body, w.Code, w.Body)
		}
	}
	if w := askUID(s, uidOf("admin"), "DELETE", "/v1/people/admin", ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "last who administers") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := askUID(s, uidOf("admin"), "DELETE", "/v1/people/x", ""); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// A name is in one place.
	loadRules(t, asAdmin(s), "")
	if w := askUID(s, uidOf("admin"), "PUT", "/v1/people/ann", `{"roles":["reader"]}`); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "stands in the people file") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	twice := `[{"uid":{"type":"Person","id":"admin"},"attrs":{"name":"A"},"parents":[]}]`
	b, _ := json.Marshal(RulesRequest{File: "x", PeopleFile: "p", People: &twice})
	if w := askUID(s, uidOf("admin"), "POST", "/v1/rules", string(b)); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "one of this node's people") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestPeopleFileOpensNoSocket: before there is a person, whom the people file names is nobody at the socket that
// every account may open, whatever rules would let them, and speaks for nobody.
func TestPeopleFileOpensNoSocket(t *testing.T) {
	s := testServer(t)
	loadRules(t, s, "")
	s.account(nobodysUID, "ann")
	s.account(nobodysUID+1, "siem")
	for _, uid := range []int{nobodysUID, nobodysUID + 1} {
		for _, path := range []string{"/v1/id", "/v1/rules", "/v1/records", "/v1/people"} {
			if w := askUID(s, uid, "GET", path, ""); w.Code != http.StatusForbidden {
				t.Errorf("%d GET %s: %d %s", uid, path, w.Code, w.Body)
			}
		}
		if w := askUID(s, uid, "PUT", "/v1/people/mallory", `{"roles":["admin"]}`); w.Code != http.StatusForbidden {
			t.Errorf("%d makes an admin: %d %s", uid, w.Code, w.Body)
		}
		r := httptest.NewRequest("GET", "/v1/id", nil)
		r.Header.Set(AsHeader, "ann")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey, uid)))
		if w.Code != http.StatusForbidden {
			t.Errorf("%d in the name of another: %d %s", uid, w.Code, w.Body)
		}
	}
	for _, uid := range []int{os.Getuid(), 0} {
		s.account(uid, "ann")
		if w := askUID(s, uid, "GET", "/v1/id", ""); w.Code != http.StatusOK {
			t.Errorf("%d, whose node it is: %d %s", uid, w.Code, w.Body)
		}
	}
}

// TestOfflineDoctor: whoever has the keys of a stopped node needs no role to have the doctor look, and to note that a
// backup was verified; they see nothing else.
func TestOfflineDoctor(t *testing.T) {
	s := NewOffline(peopled(t).node)
	for _, tc := range []struct {
		method, path, body string
		forbidden          bool
	}{
		{"POST", "/v1/doctor", `{"quick":true,"checks":["keys"]}`, false},
		{"POST", "/v1/backup/verified", "{}", false},
		{"GET", "/v1/people", "", false},
		{"GET", "/v1/sinks", "", true},
		{"POST", "/v1/backup", "{}", true},
	} {
		if w := ask(s, "", tc.method, tc.path, tc.body); (w.Code == http.StatusForbidden) != tc.forbidden {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, w.Code, w.Body)
		}
	}
}

// whenPlanned calls a function when a publication has shown its plan, and before anything is published.
type whenPlanned struct {
	*httptest.ResponseRecorder
	once sync.Once
	fn   func()
}

func (w *whenPlanned) Write(b []byte) (int, error) {
	w.once.Do(w.fn)
	return w.ResponseRecorder.Write(b)
}

// TestRoleTakenEndsPublication: a publication that was planned is not carried out when the role was taken meanwhile,
// though whoever asked for it may still read.
func TestRoleTakenEndsPublication(t *testing.T) {
	s := peopled(t)
	if _, err := s.node.CreateNetwork("test"); err != nil {
		t.Fatal(err)
	}
	if err := s.node.JoinTopic("c2"); err != nil {
		t.Fatal(err)
	}
	taken := make(chan error, 1)
	w := &whenPlanned{ResponseRecorder: httptest.NewRecorder(), fn: func() {
		var own *visit
		s.mu.Lock()
		for v := range s.live {
			own = v
		}
		s.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, still, err := s.node.SetPerson(context.Background(), node.PersonChange{ID: "publisher", Roles: []string{rules.RoleReader}, Only: true})
			if err == nil && still != 0 {
				err = fmt.Errorf("%d requests did not end", still)
			}
			taken <- err
		}()
		select {
		case <-own.ctx.Done():
		case <-done: // nothing was told to end
		}
	}}
	r := httptest.NewRequest("POST", "/v1/publish?topic=c2&tlp=green&personal=none", strings.NewReader("198.51.100.1\n"))
	s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey, uidOf("publisher"))))
	if err := <-taken; err != nil {
		t.Error(err)
	}
	if b := w.Body.String(); !strings.Contains(b, "plan") || strings.Contains(b, "receipt") {
		t.Errorf("%d %s", w.Code, b)
	}
	if got := askUID(s, uidOf("publisher"), "GET", "/v1/records?topic=c2", ""); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"records":[]`) {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

// TestLapsedNodeNeedsTwo: a node of the organisation whose time has passed counts for nothing; to let it go on is a
// change of keys, and stands in the account with who asked and who approved.
func TestLapsedNodeNeedsTwo(t *testing.T) {
	s := peopled(t, func(c *node.Config) { c.ClockOK = true }) // it jumps by more than a year
	if _, _, err := s.node.SetPerson(t.Context(), node.PersonChange{ID: "other", Roles: []string{rules.RoleAdmin}, User: "os-other"}); err != nil {
		t.Fatal(err)
	}
	s.account(80001, "os-other")
	request, err := node.RequestNode(node.RequestInit{Dir: t.TempDir(), Card: &s.node.OwnCard().Signed})
	if err != nil {
		t.Fatal(err)
	}
	asks := NodeRequestOf(request)
	words, _ := json.Marshal(NodeApprove{asks.Bytes, strings.Join(asks.Words, " ")})
	if w := askUID(s, uidOf(rules.RoleAdmin), "POST", "/v1/nodes/approve", string(words)); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if _, err := s.node.Require(t.Context(), node.Requirement{Act: node.ActKeyChange, Two: true, Role: rules.RoleAdmin}); err != nil {
		t.Fatal(err)
	}
	renew := func(status int) {
		t.Helper()
		if w := askUID(s, uidOf(rules.RoleAdmin), "POST", "/v1/nodes/renew", `{"node":"`+asks.Node.String()+`"}`); w.Code != status {
			t.Fatalf("%d %s, want %d", w.Code, w.Body, status)
		}
	}
	renew(http.StatusOK) // it lives
	node.SetClock(400 * 24 * time.Hour)
	defer node.SetClock(0)
	renew(http.StatusAccepted)
	if !s.node.Lapsed(asks.Node) {
		t.Error("it goes on")
	}
	list, err := s.node.Pending(node.Caller{})
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	if w := askUID(s, 80001, "POST", "/v1/acts/"+list[0].ID+"/approve", ""); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if s.node.Lapsed(asks.Node) {
		t.Error("it does not go on")
	}
	entries, err := s.node.Audit(t.Context(), node.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range entries {
		if e.Kind == "second" || e.Act == "renew node" {
			said = append(said, e.Person+" "+e.Act)
		}
	}
	if want := []string{"admin renew node", "admin ask for", "other approve", "admin renew node"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
}
