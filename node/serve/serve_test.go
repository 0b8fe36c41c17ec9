package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
)

func testNode(t *testing.T) *node.Node {
	t.Helper()
	ident, err := node.NewIdentity(node.InitRequest{Name: "Example", Kind: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(node.Config{Keys: ident.Keys, Card: &ident.Card})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func token(t *testing.T, n *node.Node, name string, scopes ...node.Scope) string {
	t.Helper()
	text, err := n.AddConsumer(node.Consumer{Name: name, Scopes: scopes, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWhoComes(t *testing.T) {
	n := testNode(t)
	s := New(n, nil)
	s.Handle("/x/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, Consumer(r).Name, " ", node.CallerOf(r.Context()).Person, " ", Reader(r) != nil)
	}))
	s.Handle("/x/out", s.RequireScope(node.ScopePublish, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "out") })))
	s.HandleOpen("/open", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "open ", Consumer(r) == nil) }))
	s.Errors("/x/", func(w http.ResponseWriter, _ *http.Request, status int, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "x says %s", text)
	})
	siem := token(t, n, "siem", node.ScopeRead)
	misp := token(t, n, "misp", node.ScopeRead, node.ScopePublish)
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for _, tc := range []struct {
		path, auth string
		status     int
		says       string
	}{
		{"/open", "", 200, "open true"},
		{"/open", "Bearer nobody", 200, "open true"},
		{"/x/", "", 401, "x says who asks"},
		{"/nothing", "", 401, "who asks"}, // what there is is not for strangers
		{"/nothing", "Bearer " + siem, 404, ""},
		{"/x/", "Bearer " + siem, 200, "siem siem true"},
		{"/x/", "bearer " + siem, 200, "siem siem true"},
		{"/x/", misp, 200, "misp misp true"}, // as MISP sends it
		{"/x/", basic("siem", siem), 200, "siem siem true"},
		{"/x/", basic("misp", siem), 401, "x says"},
		{"/x/", basic("", siem), 401, "x says"},
		{"/x/", basic("siem", ""), 401, "x says"},
		{"/x/", "Digest " + siem, 401, "x says"},
		{"/x/", "Bearer  ", 401, "x says"},
		{"/x/out", "Bearer " + siem, 403, "x says this token does not allow to publish"},
		{"/x/out", "Bearer " + misp, 200, "out"},
	} {
		r := httptest.NewRequest("GET", tc.path, nil)
		if tc.auth != "" {
			r.Header.Set("Authorization", tc.auth)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tc.status || !strings.HasPrefix(w.Body.String(), tc.says) {
			t.Errorf("%s %q: %d %q, want %d %q", tc.path, tc.auth, w.Code, w.Body, tc.status, tc.says)
		}
		if challenge := len(w.Header().Values("WWW-Authenticate")); (tc.status == 401) != (challenge > 0) {
			t.Errorf("%s %q: %d challenges with status %d", tc.path, tc.auth, challenge, tc.status)
		}
	}
	if s.Refused() == 0 {
		t.Error("nothing was counted as refused")
	}
}

// TestOverTLS runs the real listener: the certificate that the node makes is the one that clients can
// pin, stays the same after a restart, and a consumer that is removed is cut off while it reads.
func TestOverTLS(t *testing.T) {
	n := testNode(t)
	s := New(n, nil)
	begun := make(chan struct{})
	s.Handle("/stream", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "begins")
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-r.Context().Done()
	}))
	config, der, err := OwnConfig(n, []string{"127.0.0.1", "node.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := OwnConfig(n, []string{"127.0.0.1"}); err != nil || string(again) != string(der) {
		t.Errorf("another certificate was made, %v", err)
	}
	if _, other, err := OwnConfig(n, []string{"127.0.0.2"}); err != nil || string(other) == string(der) {
		t.Errorf("the certificate does not fit the name, %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, config) }()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	req, err := http.NewRequest("GET", "https://"+l.Addr().String()+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("siem", token(t, n, "siem", node.ScopeRead))
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-begun
	if err := n.RemoveConsumer("siem"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "begins\n" {
		t.Errorf("read %q, %v", b, err)
	}
	if resp, err := client.Do(req); err != nil || resp.StatusCode != 401 {
		t.Errorf("afterwards: %v, %v", resp, err)
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestFileConfig(t *testing.T) {
	dir := t.TempDir()
	if _, err := FileConfig(filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")); err == nil {
		t.Error("files that are not there were taken")
	}
	if err := os.WriteFile(filepath.Join(dir, "c.pem"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "k.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FileConfig(filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")); err == nil {
		t.Error("what is no certificate was taken")
	}
}

// TestStuckClients: a stranger that sends nothing is dismissed, and a consumer that does not read is cut
// off when its token goes.
func TestStuckClients(t *testing.T) {
	n := testNode(t)
	s := New(n, nil)
	ended := make(chan error, 1)
	begun := make(chan struct{})
	s.Handle("POST /in", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	s.Handle("GET /much", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		part := make([]byte, 1<<20)
		for {
			if _, err := w.Write(part); err != nil {
				ended <- err
				return
			}
		}
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, nil) }()
	say := func(text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c
	}
	// It promises a body, and sends none: the answer comes all the same, and the connection ends.
	stranger := say("POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
	if b, err := io.ReadAll(stranger); !strings.HasPrefix(string(b), "HTTP/1.1 401") {
		t.Errorf("a stranger got %q, %v", b, err)
	}
	say("GET /much HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token(t, n, "siem", node.ScopeRead) + "\r\n\r\n")
	<-begun
	if err := n.RemoveConsumer("siem"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("it went on")
	}
	cancel()
	<-done
}

func TestConnectionsAreBounded(t *testing.T) {
	l := &limitedListener{byHost: map[string]int{}}
	for range maxPerAddress {
		if !l.take("192.0.2.1") {
			t.Fatal("fewer than are allowed")
		}
	}
	if l.take("192.0.2.1") || !l.take("192.0.2.2") || !l.take("") {
		t.Error("one address takes the place of others, or more than its own")
	}
	l.free("192.0.2.1")
	if !l.take("192.0.2.1") {
		t.Error("what was freed is not free")
	}
	for l.take("") {
	}
	if l.all != maxConnections {
		t.Errorf("%d connections", l.all)
	}
}

// TestRemovedOwnerEndsWhatIsRead: when the removal of who answers for a consumer returns, a page that it was
// being sent has ended, also where it takes nothing of it, and its token is 401.
func TestRemovedOwnerEndsWhatIsRead(t *testing.T) {
	n := testNode(t)
	for _, c := range []node.PersonChange{{ID: "alice", Roles: []string{"admin"}}, {ID: "bob", Roles: []string{"reader"}}, {ID: "carol", Roles: []string{"publisher"}}} {
		if _, _, err := n.SetPerson(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	owned := func(name, owner string) string {
		text, err := n.AddConsumer(node.Consumer{Name: name, Owner: owner, Scopes: []node.Scope{node.ScopeRead}, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	siem, other := owned("siem", "bob"), owned("other", "carol")
	s := New(n, nil)
	begun, ended := make(chan string, 2), make(chan string, 2)
	s.Handle("/page", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := Consumer(r).Name
		begun <- name
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				ended <- name
				return
			}
		}
	}))
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	get := func(token string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/page", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	get(siem)
	get(other)
	<-begun
	<-begun
	removed, err := n.RemovePerson(t.Context(), "bob", "")
	if err != nil || removed.Still != 0 || len(removed.Ended) != 1 {
		t.Fatalf("%+v %v", removed, err)
	}
	select {
	case name := <-ended:
		if name != "siem" {
			t.Errorf("the page of %s ended", name)
		}
	default:
		t.Error("the page goes on after the removal returned")
	}
	if resp := get(siem); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d", resp.StatusCode)
	}
	if _, _, err := n.SetPerson(t.Context(), node.PersonChange{ID: "carol", Roles: []string{"admin"}, Only: true}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	default:
		t.Error("a page goes on whose owner may read no more")
	}
}
