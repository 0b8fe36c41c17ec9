// Package serve is where the organisation's other systems come in over the network: one HTTPS
// listener, on which packages above mount what they speak (TAXII, MISP, feeds, streams). Here is who
// comes (HTTP Basic, a bearer token, or a bare token as MISP sends it), what they may see (node.Reader),
// and what bounds them. Nothing is shown by this package itself.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entente-mesh/entente/node"
)

// Bounds on requests.
const (
	// MaxBody bounds the body of a request, unless a handler sets a lower bound.
	MaxBody = 256 << 20
	// maxRequests bounds the requests that are answered at once, and maxPerConsumer those of one
	// consumer.
	maxRequests    = 512
	maxPerConsumer = 64
	maxHeaders     = 64 << 10
)

// ErrorFunc writes an error in the way of a protocol. For 401, WWW-Authenticate is set already.
type ErrorFunc func(w http.ResponseWriter, r *http.Request, status int, text string)

// Server is an http.Handler for consumers.
type Server struct {
	node *node.Node
	mux  *http.ServeMux
	log  *slog.Logger
	open map[string]bool // patterns that need nobody
	errs []errorsOf

	mu      sync.Mutex
	live    map[*visit]struct{}
	byName  map[string]int
	refused atomic.Uint64
}

type errorsOf struct {
	prefix string
	fn     ErrorFunc
}

// visit is a request that is being answered.
type visit struct {
	node     *node.Node
	consumer *node.Consumer
	cancel   context.CancelFunc
	over     chan struct{}
}

type key struct{}

// New makes a server for the consumers of a node.
func New(n *node.Node, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{node: n, mux: http.NewServeMux(), log: log, open: map[string]bool{}, live: map[*visit]struct{}{}, byName: map[string]int{}}
	n.OnPeople(s.judgeAll)
	return s
}

// Handle has h answer what a pattern of net/http matches, to consumers that are known.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// HandleOpen is Handle for everybody: for what says nothing of what the node holds.
func (s *Server) HandleOpen(pattern string, h http.Handler) {
	s.open[pattern] = true
	s.mux.Handle(pattern, h)
}

// Errors sets how errors are written below a path. The longest path counts.
func (s *Server) Errors(prefix string, fn ErrorFunc) {
	s.errs = append(s.errs, errorsOf{prefix, fn})
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	best := errorsOf{fn: func(w http.ResponseWriter, _ *http.Request, status int, text string) { http.Error(w, text, status) }}
	for _, e := range s.errs {
		if strings.HasPrefix(r.URL.Path, e.prefix) && len(e.prefix) >= len(best.prefix) {
			best = e
		}
	}
	best.fn(w, r, status, text)
}

// Consumer returns who makes a request. It is nil where nobody needs to be known.
func Consumer(r *http.Request) *node.Consumer {
	v, _ := r.Context().Value(key{}).(*visit)
	if v == nil {
		return nil
	}
	return v.consumer
}

// Reader returns what whoever makes a request may see: every record that is served goes through it.
func Reader(r *http.Request) *node.Reader {
	v, _ := r.Context().Value(key{}).(*visit)
	if v == nil {
		panic("serve: a route that needs nobody reads records")
	}
	return v.node.Reader(v.consumer.Principal)
}

// RequireScope wraps a handler for consumers that have a scope; others get 403.
func (s *Server) RequireScope(scope node.Scope, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := Consumer(r); c == nil || !c.May(scope) {
			s.fail(w, r, http.StatusForbidden, fmt.Sprintf("this token does not allow to %s; 'entente consumer add' gives one that does", scope))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store") // handlers that have ETags say otherwise
	rc := http.NewResponseController(w)
	r.Body = http.MaxBytesReader(w, &patientBody{r.Body, rc}, MaxBody)
	_, pattern := s.mux.Handler(r)
	if s.open[pattern] {
		s.mux.ServeHTTP(&patientWriter{w, rc, r.Context()}, r)
		return
	}
	c, err := s.consumer(r)
	switch {
	case errors.Is(err, node.ErrUnauthorised):
		s.unknown(w, r, err)
		return
	case err != nil:
		s.log.Error("finding out who asks", "err", err)
		s.fail(w, r, http.StatusInternalServerError, "finding out who asks failed; the log of the node says why")
		return
	}
	ctx, cancel := context.WithDeadline(r.Context(), c.Expires)
	defer cancel()
	v := &visit{node: s.node, consumer: c, cancel: cancel, over: make(chan struct{})}
	if !s.enter(v) {
		dismiss(w)
		w.Header().Set("Retry-After", "5")
		s.fail(w, r, http.StatusTooManyRequests, fmt.Sprintf("at most %d requests are answered at once, and %d of one consumer; ask again", maxRequests, maxPerConsumer))
		return
	}
	defer s.leave(v)
	if err := s.stands(v); err != nil { // it ended before this was known to be open
		s.unknown(w, r, err)
		return
	}
	// A write that waits for its reader does not look at the context.
	stop := context.AfterFunc(ctx, func() {
		_ = rc.SetWriteDeadline(time.Now().Add(farewell))
		_ = rc.SetReadDeadline(time.Now().Add(farewell))
	})
	defer stop()
	w = &patientWriter{w, rc, ctx}
	ctx = node.WithCaller(context.WithValue(ctx, key{}, v), node.Caller{Person: c.Principal.ID, Purpose: c.Principal.Purpose})
	s.mux.ServeHTTP(w, r.WithContext(ctx))
}

// unknown answers somebody who may not come.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request, err error) {
	s.refused.Add(1)
	dismiss(w)
	w.Header().Set("WWW-Authenticate", `Basic realm="entente", charset="UTF-8"`)
	w.Header().Add("WWW-Authenticate", `Bearer realm="entente"`)
	s.fail(w, r, http.StatusUnauthorized, err.Error())
}

// consumer finds out who makes a request.
func (s *Server) consumer(r *http.Request) (*node.Consumer, error) {
	if user, password, ok := r.BasicAuth(); ok {
		if user == "" {
			return nil, node.ErrUnauthorised
		}
		return s.node.ConsumerOf(user, password)
	}
	token := strings.TrimSpace(r.Header.Get("Authorization"))
	if scheme, rest, ok := strings.Cut(token, " "); ok {
		if !strings.EqualFold(scheme, "Bearer") {
			return nil, node.ErrUnauthorised
		}
		token = strings.TrimSpace(rest)
	}
	if token == "" {
		return nil, node.ErrUnauthorised
	}
	return s.node.ConsumerOf("", token) // MISP sends it without a scheme
}

func (s *Server) enter(v *visit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) >= maxRequests || s.byName[v.consumer.Name] >= maxPerConsumer {
		return false
	}
	s.live[v] = struct{}{}
	s.byName[v.consumer.Name]++
	return true
}

func (s *Server) leave(v *visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, v)
	close(v.over)
	if s.byName[v.consumer.Name]--; s.byName[v.consumer.Name] == 0 {
		delete(s.byName, v.consumer.Name)
	}
}

// Refused returns how many requests came with a token that is nobody's, or without one.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// stands returns why a request may not go on as it was begun.
func (s *Server) stands(v *visit) error {
	now, err := s.node.Renewed(v.consumer)
	if err == nil && !slices.Equal(now.Scopes, v.consumer.Scopes) {
		err = fmt.Errorf("what %s may do changed: %w", v.consumer.Name, node.ErrUnauthorised)
	}
	return err
}

// judgeAll is the node.Judge of what consumers read.
func (s *Server) judgeAll(ctx context.Context) (still int) {
	s.mu.Lock()
	var list []*visit
	for v := range s.live {
		list = append(list, v)
	}
	s.mu.Unlock()
	list = slices.DeleteFunc(list, func(v *visit) bool { return !errors.Is(s.stands(v), node.ErrUnauthorised) })
	for _, v := range list {
		v.cancel() // what it does not look at is cut off; see ServeHTTP
	}
	for _, v := range list {
		select {
		case <-v.over:
		case <-ctx.Done():
			select {
			case <-v.over:
			default:
				still++
			}
		}
	}
	return still
}

// Watch ends what consumers read whose tokens do not count any more, until ctx ends.
func (s *Server) Watch(ctx context.Context) {
	for {
		changed := s.node.Changed()
		s.mu.Lock()
		var list []*visit
		for v := range s.live {
			list = append(list, v)
		}
		s.mu.Unlock()
		for _, v := range list {
			if _, err := s.node.Renewed(v.consumer); errors.Is(err, node.ErrUnauthorised) {
				v.cancel()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		select { // a node that takes records changes all the time
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Serve answers on l until ctx ends. With a nil config it speaks plain HTTP, which is for a loopback
// address, behind a proxy that speaks TLS.
func (s *Server) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeaders, TLSConfig: config,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	done := make(chan error, 1)
	go func() {
		if config == nil {
			done <- srv.Serve(limited(l))
		} else {
			done <- srv.ServeTLS(limited(l), "", "")
		}
	}()
	go s.Watch(ctx)
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
