// Package api is a node's local HTTP interface: what the command line speaks, over a Unix
// socket in the data directory, which is made with mode 0600, and over another that all may open. As long as
// the node has no people, whoever may open the first is the organisation's operator. Answers are JSON; streams are one JSON object a line.
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
	users    userNames         // accounts of who called
	offline  bool              // it is called by whoever opened the data directory, and no node runs

	mu     sync.Mutex
	live   map[*visit]struct{}
	judged uint64 // how often everything was judged anew
}

// New makes a server; it is an http.Handler, and may be used without a socket.
func New(n *node.Node) *Server {
	s := &Server{node: n, mux: &routeMux{ServeMux: http.NewServeMux()}, declared: map[string]*route{}, live: map[*visit]struct{}{}}
	s.routes()
	if n != nil { // of a description there is no node
		n.OnPeople(s.judgeAll)
	}
	return s
}

// NewOffline makes a server for whoever opened the data directory of a node that does not run, and has
// its keys. They may say who the people are, so that nobody is locked out for ever, and have the doctor look; it is noted as theirs.
func NewOffline(n *node.Node) *Server {
	s := New(n)
	s.offline = true
	return s
}

// Listen makes the socket of a data directory. A socket left by a node that died is replaced;
// the store's lock keeps two nodes from running. Nobody else can connect at any time: the
// socket is made in a directory of its own, and moved to its place with mode 0600.
func Listen(dir string) (net.Listener, error) {
	return listen(filepath.Join(dir, SocketName), 0o600)
}

// ListenPeople makes a second socket, at a path of the operator's choice, which every account of the machine may
// open: who does is what the kernel says, and what they may do their roles. It is for ServePeople alone.
func ListenPeople(path string) (net.Listener, error) {
	if !knowsPeers {
		return nil, errors.New("on this system it cannot be told who opens a socket; only the one in the data directory can be served")
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("making socket: %s is there, and no socket; name another path", path)
	}
	return listen(path, 0o666)
}

func listen(at string, mode os.FileMode) (net.Listener, error) {
	dir := filepath.Dir(at)
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
	if err := errors.Join(os.Chmod(path, mode), os.Rename(path, at)); err != nil {
		return nil, errors.Join(fmt.Errorf("making socket: %w", err), l.Close())
	}
	return l, nil
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return s.serve(ctx, l, connected) }

// ServePeople is Serve on a socket that others than the node's own user may open: whoever the kernel does not
// name is nobody. Each account has a bounded number of connections.
func (s *Server) ServePeople(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, newCrowd(l, s.somebodys), func(ctx context.Context, c net.Conn) context.Context {
		uid := unknownUID
		if c, ok := c.(*crowdConn); ok {
			uid = c.uid
		}
		return context.WithValue(ctx, userKey, uid)
	})
}

func (s *Server) serve(ctx context.Context, l net.Listener, connected func(context.Context, net.Conn) context.Context) error {
	// Streams end with the node: their requests get its context.
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: connected}
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
	case errors.Is(err, node.ErrAwaitsSecond):
		status = http.StatusAccepted
	case errors.Is(err, protocol.ErrOversize):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, node.ErrNoOperationalKey), errors.Is(err, node.ErrForbidden):
		status = http.StatusForbidden
	}
	e := Error{Message: err.Error(), Class: protocol.Class(err)}
	if e.Class == "other" {
		e.Class = ""
	}
	if errors.Is(err, node.ErrAwaitsSecond) {
		e.Class = "awaits-second"
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
