package source

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outbound"
	"github.com/entente-mesh/entente/protocol"
)

// fetchFrom fetches once from a handler, by TLS that is trusted, with private addresses allowed.
func fetchFrom(t *testing.T, src node.Source, last *urlCursor, h http.HandlerFunc) (*Document, error) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	defer srv.Close()
	src.Kind, src.Where = node.SourceURL, srv.URL+"/list.txt"
	if src.MaxBytes == 0 {
		src.MaxBytes = 1 << 20
	}
	src.Private = true
	src.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	u, err := newURL(&src, nil)
	if err != nil {
		t.Fatal(err)
	}
	return u.fetch(context.Background(), last)
}

func gzipped(data []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, _ = z.Write(data)
	_ = z.Close()
	return buf.Bytes()
}

func TestFetchAsksOnlyForWhatChanged(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"7"`)
		w.Header().Set("Last-Modified", "Fri, 27 Feb 2026 10:30:00 GMT")
		if r.Header.Get("If-None-Match") == `"7"` && r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprintln(w, "198.51.100.1")
	}
	d, err := fetchFrom(t, node.Source{}, &urlCursor{}, h)
	if err != nil || string(d.Bytes) != "198.51.100.1\n" || !d.Full {
		t.Fatalf("%+v, %v", d, err)
	}
	var next urlCursor
	if err := protocol.Decode(d.Next, 1<<10, &next); err != nil || next.ETag != `"7"` {
		t.Fatalf("the cursor is %+v, %v", next, err)
	}
	if d, err := fetchFrom(t, node.Source{}, &next, h); err != nil || d != nil {
		t.Errorf("unchanged: %+v, %v", d, err)
	}
	// Who never had it is not told that it did not change.
	if d, err := fetchFrom(t, node.Source{}, &urlCursor{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }); err == nil {
		t.Errorf("304 to an unconditional request: %+v", d)
	}
}

func TestFetchRefuses(t *testing.T) {
	answer := func(header, value string, status int, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	bomb := gzipped(make([]byte, 64<<20))
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		want string
	}{
		"an error":              {answer("X", "y", 500, nil), "500"},
		"no access":             {answer("X", "y", 401, nil), "credentials"},
		"a part":                {answer("X", "y", 206, []byte("198.51.100.1\n")), "206"},
		"a web page":            {answer("Content-Type", "text/html; charset=utf-8", 200, []byte("<html>")), "web page"},
		"too much":              {answer("X", "y", 200, make([]byte, 1<<20+1)), "--max-bytes"},
		"a bomb":                {answer("Content-Encoding", "gzip", 200, bomb), "--max-bytes"},
		"a packed file, a bomb": {answer("X", "y", 200, bomb), "--max-bytes"},
		"bombs in one another":  {answer("Content-Encoding", "gzip", 200, gzipped(bomb)), "--max-bytes"},
		"cut off packing":       {answer("Content-Encoding", "gzip", 200, gzipped([]byte("198.51.100.1\n"))[:20]), "unexpected EOF"},
		"other packing":         {answer("Content-Encoding", "br", 200, nil), "nobody asked for"},
		"unknown text":          {answer("Content-Type", "text/plain; charset=klingon", 200, nil), "character set"},
		"another scheme": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://lists.example/", http.StatusFound)
		}, "redirects from https to http"},
		"a file": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, "redirects from https to file"},
		"in circles": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }, "more than 5 times"},
		"cut off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "198.51.100.1")
		}, "unexpected EOF"},
	} {
		d, err := fetchFrom(t, node.Source{}, &urlCursor{}, tt.h)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v; want %q", name, d, err, tt.want)
		}
	}
}

func TestFetchLeavesAloneWhoAsksForIt(t *testing.T) {
	_, err := fetchFrom(t, node.Source{}, &urlCursor{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7200")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if got := retryAfter(fmt.Errorf("fetching: %w", err)); got != 2*time.Hour {
		t.Errorf("left alone for %s (%v)", got, err)
	}
	if got := retryAfter(&laterError{errors.New("x"), 1000 * time.Hour}); got != 24*time.Hour {
		t.Errorf("left alone for %s", got)
	}
}

func TestFetchReads(t *testing.T) {
	const text = "# Zürich\n198.51.100.1\n"
	utf16 := []byte("\xff\xfe")
	for _, r := range text {
		utf16 = append(utf16, byte(r), byte(r>>8))
	}
	for name, h := range map[string]http.HandlerFunc{
		"plain": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) },
		"latin": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=iso-8859-1")
			fmt.Fprint(w, strings.ReplaceAll(text, "ü", "\xfc"))
		},
		"utf-16": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(utf16) },
		"packed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped([]byte(text)))
		},
		"a package": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(gzipped([]byte(text))) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/there" {
				http.Redirect(w, r, "/there", http.StatusFound)
				return
			}
			fmt.Fprint(w, text)
		},
	} {
		d, err := fetchFrom(t, node.Source{}, &urlCursor{}, h)
		if err != nil || string(d.Bytes) != text {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// TestCredentialsGoToTheirHostOnly, and print nowhere.
func TestCredentialsGoToTheirHostOnly(t *testing.T) {
	secret := node.SourceSecret{Token: "s3cret"}
	came := false
	stranger := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if came = true; r.Header.Get("Authorization") != "" {
			t.Error("the credentials went to another host")
		}
	}))
	defer stranger.Close()
	got := ""
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	}))
	defer srv.Close()
	u, err := newURL(&node.Source{Where: srv.URL, Private: true, MaxBytes: 1 << 20, Secret: secret, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := u.client.Transport.(*http.Transport)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == "example.com:443" { // for which both have a certificate
			addr = stranger.Listener.Addr().String()
		}
		return dial(ctx, network, addr)
	}
	_, err = u.fetch(context.Background(), &urlCursor{})
	if !came {
		t.Errorf("the redirect did not arrive: %v", err)
	}
	if got != "Bearer s3cret" {
		t.Errorf("the host was told %q", got)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", secret, secret, node.Source{Secret: secret}, err); strings.Contains(text, "s3cret") {
		t.Errorf("the secret prints: %s", text)
	}
}

// TestPrivateAddressesAreRefused, by whatever name they are reached, unless somebody allowed them.
func TestPrivateAddressesAreRefused(t *testing.T) {
	for _, addr := range strings.Fields("127.0.0.1 127.9.9.9 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 192.0.0.8 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255 " +
		":: ::1 fe80::1 fe80::1%eth0 fc00::1 fd12:3456::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2001::1 fec0::1") {
		if outbound.Public(netip.MustParseAddr(addr)) {
			t.Errorf("%s passes as public", addr)
		}
	}
	for _, addr := range strings.Fields("8.8.8.8 172.15.0.1 172.32.0.1 100.128.0.1 2606:4700::1 2001:4860:4860::8888 ::ffff:8.8.8.8") {
		if !outbound.Public(netip.MustParseAddr(addr)) {
			t.Errorf("%s passes as private", addr)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was reached") }))
	defer srv.Close()
	for _, where := range []string{srv.URL, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), strings.Replace(srv.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		u, err := newURL(&node.Source{Where: where, MaxBytes: 1 << 20}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.fetch(context.Background(), &urlCursor{}); err == nil || !strings.Contains(err.Error(), "--private-addresses") {
			t.Errorf("%s: %v", where, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, src := range map[string]node.Source{
		"no URL":              {Kind: node.SourceURL, Where: "lists.example"},
		"another scheme":      {Kind: node.SourceURL, Where: "ftp://lists.example/"},
		"credentials in it":   {Kind: node.SourceURL, Where: "https://a:b@lists.example/"},
		"credentials in http": {Kind: node.SourceURL, Where: "http://lists.example/", Secret: node.SourceSecret{Token: "x"}},
		"a CA for http":       {Kind: node.SourceURL, Where: "http://lists.example/", CA: []byte("x")},
		"a part of a path":    {Kind: node.SourceFolder, Where: "drop"},
		"login to a folder":   {Kind: node.SourceFolder, Where: "/drop", Secret: node.SourceSecret{Token: "x"}},
		"no schedule":         {Kind: node.SourceFolder, Where: "/drop", Schedule: "now and then"},
	} {
		if name != "no schedule" {
			src.Schedule = "every 5m"
		}
		if err := Check(&src); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
