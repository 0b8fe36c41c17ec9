// Package client speaks to a running node over the socket in its data directory: the same API that
// the command line speaks. It needs nothing but the standard library, so that a program that
// searches, publishes or follows records does not carry a node along.
//
// A method stands for each route; they and their types are made of the routes and types of the
// node itself (api.go), of which 'entente api openapi' prints a description for other languages.
// What a node of a later version answers beyond them is skipped.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"time"
)

// SocketName is the name of the socket in a node's data directory.
const SocketName = "api.sock"

// maxError bounds what is read of an answer that says why a request fails.
const maxError = 1 << 20

// The headers in which a request says for whom it is.
const (
	personHeader  = "Entente-Person"
	purposeHeader = "Entente-Purpose"
	asHeader      = "Entente-As"
)

// Client makes requests of one node. Its methods may be called concurrently; its fields are set
// before the first.
type Client struct {
	Person  string // for whom requests are made, for the audit log; at most 256 bytes
	Purpose string // for what; at most 256 bytes
	As      string // with whose rights, of the people file; only who may administer the node may say so

	http *http.Client
}

// Dial returns a client of the node that runs in a data directory. An error means that none does,
// or that its socket is not the caller's to open.
func Dial(dir string) (*Client, error) {
	c, err := DialSocket(filepath.Join(dir, SocketName))
	if err != nil {
		return nil, fmt.Errorf("no node can be reached in %s: %w", dir, err)
	}
	return c, nil
}

// DialSocket is Dial of a socket at another place: that which all people of a node may open.
func DialSocket(path string) (*Client, error) {
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if err != nil {
		return nil, fmt.Errorf("opening the socket of a node: %w", err)
	}
	conn.Close()
	return New(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}), nil
}

// New returns a client whose requests go through t, for whoever reaches a node in another way.
func New(t http.RoundTripper) *Client { return &Client{http: &http.Client{Transport: t}} }

// Close lets go of the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is how a node refuses a request.
type Error struct {
	Message string `json:"error"`
	// Class is a failure class of SPEC.md, or "stale": the state changed since the plan, or "awaits-second"; "" for
	// none of them. Branch on it, or on Status; the text is for people.
	Class  string `json:"class,omitempty"`
	Status int    `json:"-"` // of HTTP; 0: it broke off after it had begun
}

func (e *Error) Error() string { return e.Message }

// Do sends a request to any route and returns the answer, whose body is the caller's to close;
// whatever has not status 200 is an error, and an *Error if the node says why.
func (c *Client) Do(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	u := "http://node" + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{personHeader: c.Person, purposeHeader: c.Purpose, asHeader: c.As} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the node: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	if b, err := io.ReadAll(io.LimitReader(resp.Body, maxError)); err != nil || json.Unmarshal(b, e) != nil {
		return nil, fmt.Errorf("the node answered %s", resp.Status)
	} else if e.Message == "" { // of /healthz and /readyz: why not
		e.Message = fmt.Sprintf("the node answered %s: %s", resp.Status, bytes.TrimSpace(b))
	}
	return nil, e
}

// Call sends a value and reads one back. Either may be nil; a []byte is sent as it is, and so is
// what an io.Reader holds.
func (c *Client) Call(ctx context.Context, method, path string, q url.Values, send, receive any) error {
	var body io.Reader
	switch v := send.(type) {
	case nil:
	case io.Reader:
		body = v
	case []byte:
		body = bytes.NewReader(v)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.Do(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if receive == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(receive); err != nil {
		return fmt.Errorf("reading the node's answer: %w", err)
	}
	return nil
}

// jsonOf writes a value as the body of a request.
func jsonOf(v any) io.Reader {
	b, err := json.Marshal(v)
	if err != nil {
		return errReader{err}
	}
	return bytes.NewReader(b)
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// Lines yields the values of an answer that is one a line, and ends after the first error. The
// answer is closed with it.
func Lines[T any](resp *http.Response) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		defer resp.Body.Close()
		for dec := json.NewDecoder(resp.Body); ; {
			v, err := line[T](dec)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// line reads the next value, or the error that stands in its place.
func line[T any](dec *json.Decoder) (*T, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("reading the node's answer: %w", err)
		}
		return nil, err
	}
	var failed struct {
		Error
		Failed *Error `json:"failed"` // of a publication
	}
	if err := json.Unmarshal(raw, &failed); err != nil {
		return nil, fmt.Errorf("reading the node's answer: %w", err)
	}
	if failed.Failed != nil {
		return nil, failed.Failed
	}
	if failed.Message != "" {
		return nil, &failed.Error
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("reading the node's answer: %w", err)
	}
	return v, nil
}

// stream asks for values that come one a line.
func stream[T any](ctx context.Context, c *Client, method, path string, q url.Values, body io.Reader) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		resp, err := c.Do(ctx, method, path, q, body)
		if err != nil {
			yield(nil, err)
			return
		}
		Lines[T](resp)(yield)
	}
}

// Body is an answer that is bytes. Whoever asked for it closes it.
type Body struct {
	resp    *http.Response
	trailer string
}

// file asks for bytes, with the trailer that says that they came whole.
func (c *Client) file(ctx context.Context, method, path string, q url.Values, body io.Reader, trailer string) (*Body, error) {
	resp, err := c.Do(ctx, method, path, q, body)
	if err != nil {
		return nil, err
	}
	return &Body{resp, trailer}, nil
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) { return b.resp.Body.Read(p) }

// Close implements io.Closer.
func (b *Body) Close() error { return b.resp.Body.Close() }

// MediaType says what the bytes are.
func (b *Body) MediaType() string { return b.resp.Header.Get("Content-Type") }

// Trailer returns what the node says after the last byte, once everything was read: of an export,
// the cursor to go on from. An error means that the answer broke off, and that what was read is
// not whole.
func (b *Body) Trailer() (string, error) {
	said := b.resp.Trailer.Get(b.trailer)
	if said == "" && b.trailer != "" {
		return "", errors.New("the answer broke off, or was not read to its end; what was read is not whole")
	}
	return said, nil
}

// values makes a query of a struct whose fields have query tags. Zero values are left out, but for
// those that a route requires.
func values(v any) url.Values {
	q := url.Values{}
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		f, tag := s.Field(i), s.Type().Field(i).Tag
		if f.IsZero() && tag.Get("required") != "true" {
			continue
		}
		name := tag.Get("query")
		switch x := f.Interface().(type) {
		case string:
			q.Set(name, x)
		case bool:
			q.Set(name, strconv.FormatBool(x))
		case *bool:
			q.Set(name, strconv.FormatBool(*x))
		case uint64:
			q.Set(name, strconv.FormatUint(x, 10))
		case []string:
			q[name] = x
		}
	}
	return q
}
