package hosttest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Accounts that exist nowhere but in the kernel: what they are called is their number.
const (
	aliceUID     = 70001 + iota // admin
	carolUID                    // reader, who leaves
	erinUID                     // reader
	peterUID                    // publisher
	strangersUID                // nobody's
)

// dialAs connects to a socket as an account: in Linux each thread has one of its own.
func dialAs(uid int, path string) (net.Conn, error) {
	set := func(uid int) error {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			return errno
		}
		return nil
	}
	runtime.LockOSThread() // for good, if it cannot be taken back: then the thread ends with the goroutine
	if err := set(uid); err != nil {
		return nil, err
	}
	c, err := net.Dial("unix", path)
	if back := set(0); back != nil {
		return nil, back
	}
	runtime.UnlockOSThread()
	return c, err
}

// clientAs asks over a socket as an account.
func clientAs(t *testing.T, uid int, path string) *http.Client {
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dialAs(uid, path) }}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// request asks once, and returns an answer that is still open. The deadline is for tests that hang.
func request(t *testing.T, c *http.Client, method, url, body string, header ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// answer is request of which the answer is read to its end.
func answer(t *testing.T, c *http.Client, method, url, body string, header ...string) (int, string) {
	t.Helper()
	resp := request(t, c, method, url, body, header...)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return resp.StatusCode, string(b)
}

// routesOfRoles reads the table of docs/people.md: method, path, and whether a reader may.
func routesOfRoles(t *testing.T) (list [][3]string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/people.md")
	if err != nil {
		t.Fatal(err)
	}
	params := strings.NewReplacer("{id}", "x", "{name}", "x", "{number}", "1", "{n}", "1", "{format}", "list", "{uuid}", "x", "{node}", "x")
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) < 8 {
			continue
		}
		method, path, ok := strings.Cut(strings.TrimSpace(cells[1]), " ")
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		if path = params.Replace(path); path == "/v1/watch" {
			path += "?follow=0"
		}
		list = append(list, [3]string{method, path, strings.TrimSpace(cells[3])})
	}
	return list
}

// TestRealAccounts: the people socket knows who opens it by the operating system; every route of the API answers a
// stranger and a reader as the table of roles has it; what a person has open ends with their removal, and what they hold opens nothing.
func TestRealAccounts(t *testing.T) {
	switch {
	case os.Getenv("ENTENTE_HOSTS") == "":
		t.Skip("NOT RUN: ENTENTE_HOSTS is not set")
	case os.Geteuid() != 0:
		summary("NOT RUN real accounts: root is needed to be others")
		t.Skip("NOT RUN: root is needed to be others")
	}
	open, err := os.MkdirTemp("", "entente-people")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, "Example", "cert", "127.0.0.1")
	socket, port := filepath.Join(open, "api.sock"), freePort(t)
	h.flags = []string{"--people-socket", socket, "--serve", fmt.Sprintf("127.0.0.1:%d", port), "--serve-plain"}
	h.must("network", "create", "test")
	h.must("topic", "join", "c2")
	for _, p := range []struct {
		name, role string
		uid        int
	}{{"alice", "admin", aliceUID}, {"carol", "reader", carolUID}, {"erin", "reader", erinUID}, {"peter", "publisher", peterUID}} {
		h.must("people", "add", p.name, "--role", p.role, "--os-user", fmt.Sprint(p.uid))
	}
	h.must("people", "add", "ned", "--role", "admin", "--os-user", "nobody") // which is whom the kernel has no number for
	h.launch()
	h.until("opens the people socket", func() bool { c, err := dialAs(strangersUID, socket); return err == nil && c.Close() == nil })
	const node = "http://node"
	alice, carol, peter := clientAs(t, aliceUID, socket), clientAs(t, carolUID, socket), clientAs(t, peterUID, socket)

	for uid, name := range map[int]string{aliceUID: "alice", carolUID: "carol", peterUID: "peter"} {
		if status, text := answer(t, clientAs(t, uid, socket), "GET", node+"/v1/me", ""); status != http.StatusOK || !strings.Contains(text, `"name":"`+name+`","`) || !strings.Contains(text, fmt.Sprintf(`"os_user":"%d"`, uid)) {
			t.Errorf("account %d: %d %s", uid, status, text)
		}
	}

	// Every route, as a stranger and as a reader.
	stranger, reader := clientAs(t, strangersUID, socket), clientAs(t, erinUID, socket)
	routes := routesOfRoles(t)
	if len(routes) < 100 {
		t.Fatalf("the table has %d routes", len(routes))
	}
	for _, rt := range routes {
		status, text := answer(t, stranger, rt[0], node+rt[1], "")
		switch open := rt[0]+" "+rt[1] == "GET /v1/status"; {
		case open && (status != http.StatusOK || !strings.Contains(text, `"problems_hidden":true`) || strings.Contains(text, "c2")):
			t.Errorf("the status as a stranger: %d %s", status, text)
		case !open && status != http.StatusForbidden:
			t.Errorf("%s %s as a stranger: %d %s", rt[0], rt[1], status, text)
		}
		if status, text := answer(t, reader, rt[0], node+rt[1], ""); (status != http.StatusForbidden) != (rt[2] == "yes") {
			t.Errorf("%s %s as a reader, who may: %q: %d %s", rt[0], rt[1], rt[2], status, text)
		}
	}
	// With another's name it is no other account, and root is nobody's.
	if status, _ := answer(t, stranger, "GET", node+"/v1/people", "", "Entente-As", "alice"); status != http.StatusForbidden {
		t.Errorf("a stranger in an admin's name: %d", status)
	}
	if status, _ := answer(t, clientAs(t, 0, socket), "GET", node+"/v1/people", ""); status != http.StatusForbidden {
		t.Errorf("root: %d", status)
	}

	if status, text := answer(t, clientAs(t, 65534, socket), "GET", node+"/v1/people", ""); status != http.StatusForbidden {
		t.Errorf("the account of whoever has none: %d %s", status, text)
	}

	// What carol has open: a stream over the socket, one by her token, connections that were used.
	_, made := answer(t, alice, "POST", node+"/v1/consumers", fmt.Sprintf(`{"name":"carol","scopes":["read"],"expires":%q}`, time.Now().AddDate(0, 0, 5).UTC().Format(time.RFC3339)))
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(made), &token); err != nil || token.Token == "" {
		t.Fatal(made)
	}
	served := fmt.Sprintf("http://127.0.0.1:%d", port)
	bearer := []string{"Authorization", "Bearer " + token.Token}
	over := []string{"/taxii2/", "/misp/users/view/me.json", "/stream", "/feeds/none/list"}
	if status, text := answer(t, http.DefaultClient, "GET", served+"/taxii2/", "", append(bearer, "Accept", "application/taxii+json;version=2.1")...); status != http.StatusOK {
		t.Fatalf("by her token: %d %s", status, text)
	}
	if status, _ := answer(t, carol, "GET", node+"/v1/records", ""); status != http.StatusOK {
		t.Fatalf("%d", status)
	}
	ends := map[string]chan error{"watch": make(chan error, 1), "stream by a token": make(chan error, 1)}
	began := make(chan string, len(ends))
	follow := func(what string, resp *http.Response) {
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", what, resp.StatusCode)
		}
		r := bufio.NewReader(resp.Body)
		_, err := r.ReadByte()
		began <- what
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		ends[what] <- err
	}
	go func() { follow("watch", request(t, clientAs(t, carolUID, socket), "GET", node+"/v1/watch", "")) }()
	go func() {
		follow("stream by a token", request(t, &http.Client{}, "GET", served+"/stream", "", bearer...))
	}()
	for open, i := 0, 1; open < len(ends); i++ { // a record wakes what is open
		if i > 100 {
			t.Fatalf("%d of %d streams began", open, len(ends))
		}
		if status, text := answer(t, peter, "POST", node+"/v1/publish?topic=c2&tlp=green&personal=none", fmt.Sprintf("198.51.100.%d\n", i)); status != http.StatusOK || !strings.Contains(text, "receipt") {
			t.Fatalf("%d %s", status, text)
		}
		select {
		case <-began:
			open++
		case <-time.After(time.Second):
		}
	}

	status, text := answer(t, alice, "DELETE", node+"/v1/people/carol", "")
	if status != http.StatusOK || strings.Contains(text, "still_open") {
		t.Fatalf("%d %s", status, text)
	}
	for what, end := range ends {
		select {
		case <-end:
		case <-time.After(30 * time.Second):
			t.Errorf("%s goes on after the removal", what)
		}
	}
	for what, c := range map[string]*http.Client{"over a connection that was open": carol, "over a new one": clientAs(t, carolUID, socket)} {
		if status, text := answer(t, c, "GET", node+"/v1/records", ""); status != http.StatusForbidden || strings.Contains(text, "198.51.100.") {
			t.Errorf("who was removed, %s: %d %s", what, status, text)
		}
	}
	for _, path := range over {
		for what, c := range map[string]*http.Client{"over a connection that was open": http.DefaultClient, "over a new one": {Transport: &http.Transport{DisableKeepAlives: true}}} {
			for _, header := range [][]string{bearer, {"Authorization", token.Token}} {
				if status, text := answer(t, c, "GET", served+path, "", header...); status != http.StatusUnauthorized && !(status == http.StatusForbidden && strings.HasPrefix(path, "/misp/")) {
					t.Errorf("her token, %s, %s: %d %s", path, what, status, text)
				}
			}
		}
	}
	summary("RAN real accounts %d routes", len(routes))
}
