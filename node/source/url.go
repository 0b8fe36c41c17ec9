package source

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/text/encoding/htmlindex"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/outbound"
	"github.com/entente-mesh/entente/protocol"
)

// Bounds on what a server may do.
const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 30 * time.Second
	fetchTimeout  = 10 * time.Minute
	maxRedirects  = 5
	maxETag       = 1 << 10
)

// checkURL checks the place of a source that is fetched by HTTP.
func checkURL(src *node.Source) (*url.URL, error) {
	u, err := url.Parse(src.Where)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, bad("%q is no URL", src.Where)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, bad("%q is fetched neither by https nor by http", src.Where)
	case u.User != nil:
		return nil, bad("a URL must not hold credentials: it is shown and noted; give --user or --token-file")
	case u.Scheme == "http" && !src.Secret.IsZero():
		return nil, bad("credentials would go over the network as they are; use https")
	case u.Scheme == "http" && len(src.CA) > 0:
		return nil, bad("there is nothing to check with --ca on plain http; use https")
	}
	return u, nil
}

// client returns an HTTP client that goes where a source may lead, and nowhere else: addresses are judged when
// they are connected to, after names were looked up, so that no name can lead elsewhere in between. By way of
// the node's proxy go all sources but those at private addresses, which are inside of its network: the proxy looks names
// up, and here is judged what can be without. Proxies of the environment are not used.
func client(src *node.Source, proxy *outbound.Proxy) (*http.Client, error) {
	d := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && !src.Private && !outbound.Public(at.Addr()) {
			return fmt.Errorf("%s is a private or local address; if the source is meant to be there, add it with --private-addresses", at.Addr())
		}
		return err
	}}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(src.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(src.CA)
	}
	t := &http.Transport{DialContext: d.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: headerTimeout,
		MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, IdleConnTimeout: headerTimeout, ForceAttemptHTTP2: true}
	if proxy != nil && !src.Private {
		outside := func(host string) error {
			if err := outbound.CheckNamed(host); err != nil {
				return fmt.Errorf("%w; if the source is meant to be there, add it with --private-addresses, and it is fetched without the proxy", err)
			}
			return nil
		}
		if u, err := url.Parse(src.Where); err != nil {
			return nil, err
		} else if u.Scheme == "https" { // however it is written
			t.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(addr)
				if err == nil {
					err = outside(host)
				}
				if err != nil {
					return nil, err
				}
				return proxy.Dial(ctx, addr)
			}
		} else {
			// Few proxies allow CONNECT to port 80: they are asked for the document itself (RFC 9112, 3.2.2).
			t.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
			t.TLSClientConfig = proxy.TLS
			t.Proxy = func(r *http.Request) (*url.URL, error) { return proxy.URL, outside(r.URL.Hostname()) }
		}
	}
	return &http.Client{Transport: t, Timeout: fetchTimeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("it redirected more than %d times", maxRedirects)
		case r.URL.Scheme != via[0].URL.Scheme:
			return fmt.Errorf("it redirects from %s to %s; add the source with the URL that it leads to, if that is right", via[0].URL.Scheme, r.URL.Scheme)
		}
		return nil // net/http takes the credentials away where the host is another
	}}, nil
}

// login adds the credentials of a source to a request.
func login(r *http.Request, s *node.SourceSecret) {
	switch {
	case s.Token != "":
		r.Header.Set("Authorization", "Bearer "+s.Token)
	case s.User != "" || s.Password != "":
		r.SetBasicAuth(s.User, s.Password)
	}
}

// urlCursor is what a server said of the document that was taken last.
type urlCursor struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8    // 1
	ETag     string
	Modified string // Last-Modified, as it was sent
}

// urlSource fetches one document, which is all that the source holds.
type urlSource struct {
	src    *node.Source
	client *http.Client
}

func newURL(src *node.Source, proxy *outbound.Proxy) (*urlSource, error) {
	if _, err := checkURL(src); err != nil {
		return nil, err
	}
	c, err := client(src, proxy)
	return &urlSource{src, c}, err
}

// Pull implements Puller.
func (u *urlSource) Pull(ctx context.Context, cursor []byte, fn func(*Document) error) error {
	defer u.client.CloseIdleConnections()
	var last urlCursor
	if len(cursor) > 0 {
		if err := protocol.Decode(cursor, 4*maxETag, &last); err != nil {
			return fmt.Errorf("reading where the source stands: %w", err)
		}
	}
	d, err := u.fetch(ctx, &last)
	if err != nil || d == nil {
		return err
	}
	return fn(d)
}

// fetch fetches the document; nil: it is as it was.
func (u *urlSource) fetch(ctx context.Context, last *urlCursor) (*Document, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.src.Where, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "entente")
	r.Header.Set("Accept-Encoding", "gzip")
	if last.ETag != "" {
		r.Header.Set("If-None-Match", last.ETag)
	}
	if last.Modified != "" {
		r.Header.Set("If-Modified-Since", last.Modified)
	}
	login(r, &u.src.Secret)
	resp, err := u.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && (last.ETag != "" || last.Modified != ""):
		return nil, nil
	case resp.StatusCode != http.StatusOK:
		return nil, statusError(resp)
	}
	media, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		media, params = "", nil
	}
	if media == "text/html" || media == "application/xhtml+xml" {
		return nil, fmt.Errorf("it answered with a web page, not with data; look at the URL in a browser: perhaps somebody has to log in")
	}
	d := &Document{Where: u.src.Where, Format: u.src.Format, Full: true}
	if d.Bytes, err = u.body(resp); errors.Is(err, protocol.ErrOversize) {
		// It may be as large the next time: a failure, so that whoever looks is told, and nothing is lost.
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if d.Bytes, err = decodeText(d.Bytes, params["charset"]); err != nil {
		return nil, err
	}
	next := urlCursor{Version: 1, ETag: resp.Header.Get("ETag"), Modified: resp.Header.Get("Last-Modified")}
	if len(next.ETag) > maxETag || len(next.Modified) > maxETag {
		next = urlCursor{Version: 1}
	}
	d.Next = protocol.Encode(&next)
	return d, nil
}

// statusError tells of an answer that is no document, and for how long to leave the server alone.
func statusError(resp *http.Response) error {
	err := fmt.Errorf("it answered %s", resp.Status)
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		err = fmt.Errorf("it answered %s; look at the credentials of the source", resp.Status)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if s, perr := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); perr == nil {
			return &laterError{err, time.Duration(s) * time.Second}
		}
		if t, perr := http.ParseTime(resp.Header.Get("Retry-After")); perr == nil {
			return &laterError{err, time.Until(t)}
		}
	}
	return err
}

// body reads an answer, unpacked: as it says, or because it is a packed file. What is unpacked is bounded as
// what is not.
func (u *urlSource) body(resp *http.Response) ([]byte, error) {
	limit := int64(u.src.MaxBytes)
	data, err := readUpTo(resp.Body, limit)
	if err != nil {
		return nil, err
	}
	switch enc := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		if data, err = gunzip(data, limit); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("it is packed as %q, which nobody asked for", enc)
	}
	if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
		return gunzip(data, limit)
	}
	return data, nil
}

func gunzip(data []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	return readUpTo(z, limit)
}

// readUpTo reads all, and fails where there is more than a limit.
func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = protocol.Errorf(protocol.ErrOversize, "the document has more than %d bytes; change the source (--replace) to a larger --max-bytes", limit)
	}
	if data == nil {
		data = []byte{}
	}
	return data, err
}

// decodeText turns text in a stated character set into UTF-8.
func decodeText(data []byte, charset string) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		charset = "utf-16le"
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		charset = "utf-16be"
	case charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii"):
		return data, nil
	}
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return nil, fmt.Errorf("it is in the character set %q, which is not known here", charset)
	}
	out, err := enc.NewDecoder().Bytes(data)
	if err != nil {
		return nil, fmt.Errorf("it is not in the character set %q, as it says: %w", charset, err)
	}
	if len(out) > intake.MaxFile {
		return nil, protocol.Errorf(protocol.ErrOversize, "the document has more than %d bytes", intake.MaxFile)
	}
	return bytes.TrimPrefix(out, bom), nil
}
