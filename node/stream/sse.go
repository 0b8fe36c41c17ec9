package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/serve"
)

// Server-sent events are the text/event-stream of the HTML standard, section 9.2. The id of an event is the
// cursor of its change, its type the kind; who comes back with Last-Event-ID gets what came after that.

const (
	// keepAlive is how often a comment is written where there is nothing else, so that nobody in between
	// takes the connection for dead; the standard recommends 15 seconds.
	keepAlive = 15 * time.Second
	// writePatience is how long a reader may take nothing before it is let go; it comes back where it was.
	writePatience = 30 * time.Second
	// Streams at once, of one consumer and of all.
	maxStreamsEach = 8
	maxStreams     = 256
	// retryHint tells a reader when to come back, in milliseconds.
	retryHint = 3000
)

// Mount serves streams at /stream, and at /stream/VIEW those of what a view holds.
func Mount(s *serve.Server, n *node.Node) error {
	h := s.RequireScope(node.ScopeRead, &events{n: n, open: map[string]int{}})
	s.Handle("GET /stream", h)
	s.Handle("GET /stream/{view}", h)
	return nil
}

// events serves streams.
type events struct {
	n *node.Node

	mu   sync.Mutex
	open map[string]int
	all  int
}

// enter counts a stream; false: there are too many.
func (h *events) enter(who string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= maxStreams || h.open[who] >= maxStreamsEach {
		return false
	}
	h.all++
	h.open[who]++
	return true
}

func (h *events) leave(who string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.open[who]--; h.open[who] == 0 {
		delete(h.open, who)
	}
}

// ServeHTTP implements http.Handler.
func (h *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var view *node.View
	if name := r.PathValue("view"); name != "" {
		v, err := h.n.View(name)
		if err != nil {
			status := http.StatusInternalServerError
			if errors.Is(err, node.ErrNotFound) {
				status = http.StatusNotFound
			}
			http.Error(w, fmt.Sprintf("view %q: %v", name, err), status)
			return
		}
		view = v
	}
	format := node.SinkFormat(r.URL.Query().Get("format"))
	if format == "" {
		format = node.SinkJSON
	}
	if format != node.SinkJSON && format != node.SinkSTIX {
		http.Error(w, fmt.Sprintf("there is no format %q; use json or stix", format), http.StatusBadRequest)
		return
	}
	after, status, err := h.after(r)
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	c := serve.Consumer(r)
	if !h.enter(c.Name) {
		w.Header().Set("Retry-After", "60")
		http.Error(w, fmt.Sprintf("there are as many streams as there may be, %d of one consumer and %d of all; end another", maxStreamsEach, maxStreams), http.StatusTooManyRequests)
		return
	}
	defer h.leave(c.Name)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	ctx, cancel := context.WithCancel(r.Context())
	out := &eventWriter{w: w, rc: http.NewResponseController(w), format: format, cancel: cancel}
	if out.write(fmt.Sprintf("retry: %d\n\n", retryHint)) != nil {
		cancel()
		return
	}
	kept := make(chan struct{})
	go func() { defer close(kept); out.keepAlive(ctx) }()
	defer func() { cancel(); <-kept }()
	detail := "for " + c.Name
	if view != nil {
		detail = "of view " + view.Name + ", for " + c.Name
	}
	_ = serve.Reader(r).Follow(ctx, view, after, detail, func(ch *node.Change) error {
		if !h.stands(c) {
			return errOthers
		}
		return out.send(ch)
	}, func() {})
}

// errOthers ends a stream under other rules than those that it began under: its reader comes back, and is
// judged by the new ones.
var errOthers = errors.New("the people file changed")

// stands reports whether a consumer is still who it was to local rules.
func (h *events) stands(c *node.Consumer) bool {
	if p := h.n.PersonOf(c.As); p != nil {
		return reflect.DeepEqual(p, c.Principal)
	}
	return !h.n.HasPeople()
}

// after returns from where on a reader wants changes: after the last event that it got, or, if it got
// none, after the cursor of the query; "now" is the last one.
func (h *events) after(r *http.Request) (uint64, int, error) {
	last, err := lastCursor(h.n)
	if err != nil {
		return 0, http.StatusServiceUnavailable, err
	}
	text, from := r.Header.Get("Last-Event-ID"), "Last-Event-ID"
	if text == "" {
		text, from = r.URL.Query().Get("after"), "after"
	}
	switch text {
	case "":
		return 0, 0, nil
	case "now":
		if from == "after" {
			return last, 0, nil
		}
	}
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, http.StatusBadRequest, fmt.Errorf("%s is %q, and no cursor", from, text)
	}
	if after > last {
		// To wait until it is given would skip what comes before it.
		return 0, http.StatusConflict, fmt.Errorf("this node has not given cursor %d, its last one is %d: it is not the node that gave it, or went back in time; begin again with after=0", after, last)
	}
	return after, 0, nil
}

// lastCursor returns the greatest cursor that was given.
func lastCursor(n *node.Node) (uint64, error) {
	return n.CursorAt(time.Now().AddDate(100, 0, 0)) // clocks may have been wrong
}

// eventWriter writes events and comments, one at a time.
type eventWriter struct {
	mu     sync.Mutex
	w      http.ResponseWriter
	rc     *http.ResponseController
	format node.SinkFormat
	cancel context.CancelFunc
	wrote  time.Time
}

func (o *eventWriter) write(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.rc.SetWriteDeadline(time.Now().Add(writePatience)) // not all writers have one
	if _, err := o.w.Write([]byte(text)); err != nil {
		o.cancel()
		return err
	}
	if err := o.rc.Flush(); err != nil {
		o.cancel()
		return err
	}
	o.wrote = time.Now()
	return nil
}

func (o *eventWriter) send(c *node.Change) error {
	body, err := encode(c, node.SinkWebhook, o.format)
	if err != nil {
		return err
	}
	return o.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", c.Cursor, c.Kind, body))
}

// keepAlive writes a comment whenever nothing was written for a while.
func (o *eventWriter) keepAlive(ctx context.Context) {
	for wait := keepAlive; ; {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		o.mu.Lock()
		wait = keepAlive - time.Since(o.wrote)
		o.mu.Unlock()
		if wait > 0 {
			continue
		}
		if o.write(": keep-alive\n\n") != nil {
			return
		}
		wait = keepAlive
	}
}
