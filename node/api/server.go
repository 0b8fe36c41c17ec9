// Package api is a node's local HTTP interface: what the command line speaks, over a Unix
// socket in the data directory. Whoever may open the socket is the organisation's operator;
// it is made with mode 0600. Answers are JSON; streams are one JSON object a line.
package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// SocketName is the name of the socket in the data directory.
const SocketName = "api.sock"

// Bounds on requests.
const (
	maxRequest = 16 << 20  // of most requests; an invitation has up to 8 MiB, and a third more as text
	maxUpload  = 256 << 20 // of a file to publish
)

// Server answers for one node.
type Server struct {
	node     *node.Node
	mux      *routeMux
	declared map[string]*route // by pattern
	users    sync.Map          // names of the users that called, by uid
}

// New makes a server; it is an http.Handler, and may be used without a socket.
func New(n *node.Node) *Server {
	s := &Server{node: n, mux: &routeMux{ServeMux: http.NewServeMux()}, declared: map[string]*route{}}
	s.routes()
	return s
}

// Listen makes the socket of a data directory. A socket left by a node that died is replaced;
// the store's lock keeps two nodes from running. Nobody else can connect at any time: the
// socket is made in a directory of its own, and moved to its place with mode 0600.
func Listen(dir string) (net.Listener, error) {
	private, err := os.MkdirTemp(dir, ".s")
	if err != nil {
		return nil, fmt.Errorf("making socket: %w", err)
	}
	defer os.RemoveAll(private)
	path := filepath.Join(private, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("making socket: %w (a path of more than 100 bytes is too long for a socket: choose a shorter --dir)", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it would look for the socket where it was made
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Rename(path, filepath.Join(dir, SocketName))); err != nil {
		return nil, errors.Join(fmt.Errorf("making socket: %w", err), l.Close())
	}
	return l, nil
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	// Streams end with the node: their requests get its context.
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: connected}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close()
	}
	<-done
	return nil
}

// Error is how a request fails.
type Error struct {
	Message string `json:"error"`
	Class   string `json:"class,omitempty"` // a class of SPEC.md, "Failure classes"
}

func fail(w http.ResponseWriter, err error) {
	if noting, ok := w.(*refusals); ok && node.Forbidden(err) {
		noting.note(err)
	}
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, node.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, node.ErrStale):
		status = http.StatusConflict
	case errors.Is(err, protocol.ErrOversize):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, node.ErrNoOperationalKey), errors.Is(err, node.ErrForbidden):
		status = http.StatusForbidden
	}
	e := Error{Message: err.Error(), Class: protocol.Class(err)}
	if e.Class == "other" {
		e.Class = ""
	}
	reply(w, status, e)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

// call wraps a handler that answers with one value.
func call(fn func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		v, err := fn(r)
		if err != nil {
			fail(w, err)
			return
		}
		if v == nil {
			v = struct{}{}
		}
		reply(w, http.StatusOK, v)
	}
}

// decode reads a JSON request, strictly: members that are unknown, that come twice, or that are
// spelt otherwise are refused, and so is what lacks a member that is tagged as required.
func decode(r *http.Request, v any) error {
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = jsonv2.Unmarshal(b, v, jsonv2.RejectUnknownMembers(true))
	}
	if err != nil {
		return protocol.Errorf(protocol.ErrMalformed, "request is not the JSON that is expected here: %v", err)
	}
	var given any
	if err := jsonv2.Unmarshal(b, &given); err != nil {
		return protocol.Errorf(protocol.ErrMalformed, "request is not the JSON that is expected here: %v", err)
	}
	t := reflect.TypeOf(v).Elem()
	if null := findNull(given, t, false); null != "" {
		return protocol.Errorf(protocol.ErrMalformed, "request is not the JSON that is expected here: %s is null", cmp.Or(strings.Trim(null, "/"), "it"))
	}
	for f := range members(t) {
		name, _ := member(f)
		if _, ok := given.(map[string]any)[name]; !ok && f.Tag.Get("required") == "true" {
			return protocol.Errorf(protocol.ErrMalformed, "the request lacks %q", name)
		}
	}
	return nil
}

// findNull returns where a value of type t holds a null that is not allowed; "": nowhere. Only a
// list that is a member may be null: Go writes one so that holds nothing.
func findNull(v any, t reflect.Type, allowed bool) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch x := v.(type) {
	case nil:
		if !allowed {
			return "/"
		}
	case []any:
		for i := range x {
			if null := findNull(x[i], t.Elem(), false); null != "" {
				return "/" + strconv.Itoa(i) + null
			}
		}
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return ""
		}
		for f := range members(t) {
			name, _ := member(f)
			if value, ok := x[name]; ok {
				if null := findNull(value, f.Type, mayBeNull(f.Type)); null != "" {
					return "/" + name + null
				}
			}
		}
	}
	return ""
}

func mayBeNull(t reflect.Type) bool { return t.Kind() == reflect.Slice || t.Kind() == reflect.Map }

func body(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrOversize, "reading request: %v", err)
	}
	return b, nil
}

// stream writes JSON lines.
type stream struct {
	w   http.ResponseWriter
	enc *json.Encoder
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &stream{w: w, enc: enc}
}

func (s *stream) send(v any) error {
	if err := s.enc.Encode(v); err != nil {
		return err
	}
	if f, ok := s.w.(http.Flusher); ok {
		f.Flush()
	}
	return nil
}
