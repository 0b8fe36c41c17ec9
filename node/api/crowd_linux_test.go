package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/policy/rules"
)

// peopleSocket serves a server's people socket, and returns its path.
func peopleSocket(t *testing.T, s *Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "people.sock")
	l, err := ListenPeople(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServePeople(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

// asks sends a request over a connection, and returns the answer; the deadline is for tests that hang.
func asks(t *testing.T, c net.Conn, request string) (int, string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(c, request) // it may have been closed
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestPeopleSocketIsBounded: an account of nobody's has a few connections, is told so with the next, and has another as
// soon as it ends one. What it does not send is not waited for.
func TestPeopleSocketIsBounded(t *testing.T) {
	s := peopled(t) // none of whom has the account that runs the tests
	path := peopleSocket(t, s)
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	const request = "GET /v1/status HTTP/1.1\r\nHost: node\r\n\r\n"
	var open []net.Conn
	for range maxConnsStranger {
		c := dial()
		if status, text := asks(t, c, request); status != http.StatusOK || !strings.Contains(text, `"problems_hidden":true`) {
			t.Fatalf("%d %s", status, text)
		}
		open = append(open, c)
	}
	if status, text := asks(t, dial(), request); status != http.StatusServiceUnavailable || !strings.Contains(text, "end some") {
		t.Errorf("one too many: %d %s", status, text)
	}
	if status, _ := asks(t, open[0], request); status != http.StatusOK {
		t.Errorf("over one that was open: %d", status)
	}
	if status, text := asks(t, open[0], "PUT /v1/people/mallory HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n\r\n{"); status != http.StatusForbidden {
		t.Errorf("%d %s", status, text)
	}
	if _, err := io.Copy(io.Discard, open[0]); err != nil { // it is closed, for the rest did not come
		t.Error(err)
	}
	// It counts until the server is done with it.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if status, _ := asks(t, dial(), request); status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a connection that ended is counted still")
		}
	}
}

// TestStrangersDoNotCrowdOut: many accounts of nobody's have together no more than a bound, and a person's account has
// its own.
func TestStrangersDoNotCrowdOut(t *testing.T) {
	s := peopled(t)
	c := newCrowd(nil, s.somebodys)
	for uid := range maxConnsNobody {
		if leave, _ := c.enter(90000 + uid); leave == nil {
			t.Fatalf("account %d of nobody's is refused", uid)
		}
	}
	for _, uid := range []int{99999, unknownUID, os.Getuid()} {
		if leave, _ := c.enter(uid); leave != nil {
			t.Errorf("account %d is one too many of nobody's, and has a connection", uid)
		}
	}
	var leaves []func()
	for range maxConnsPerson {
		leave, _ := c.enter(uidOf(rules.RoleReader))
		if leave == nil {
			t.Fatal("a person is refused for what strangers have open")
		}
		leaves = append(leaves, leave)
	}
	if leave, _ := c.enter(uidOf(rules.RoleReader)); leave != nil {
		t.Error("a person has no bound")
	}
	for _, leave := range leaves {
		leave()
	}
	if leave, _ := c.enter(uidOf(rules.RoleReader)); leave == nil || c.of[uidOf(rules.RoleReader)] != 1 || c.nobodys != maxConnsNobody {
		t.Errorf("what ended is counted: %v", c.of)
	}
	// What is looked up is not remembered without end.
	for uid := range 3 * maxUsers {
		s.users.put(uid, account{strconv.Itoa(uid), time.Now()})
	}
	if len(s.users.of) > maxUsers {
		t.Errorf("%d names are held", len(s.users.of))
	}
}
