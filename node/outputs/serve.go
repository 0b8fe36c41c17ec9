package outputs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outputs/format"
	"github.com/entente-mesh/entente/node/outputs/score"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
)

// Everything is the name, in place of a view's, of all that whoever asks may see.
const Everything = "-"

// patience is how long a list may take to be read, so that who reads slowly does not hold it for ever.
const patience = 10 * time.Minute

type server struct {
	n *node.Node
	e *Engine
}

// Mount serves lists at /feeds/VIEW/FORMAT, to consumers that may read. Parameters are min_score and, of
// Everything, topic.
func Mount(s *serve.Server, n *node.Node) error {
	h := &server{n: n, e: New(n, true)}
	s.Errors("/feeds/", fail)
	s.Handle("GET /feeds/{view}/{format}", s.RequireScope(node.ScopeRead, http.HandlerFunc(h.list)))
	return nil
}

func fail(w http.ResponseWriter, _ *http.Request, status int, text string) {
	http.Error(w, text, status)
}

// query reads what a request asks for.
func (h *server) query(r *http.Request) (q Query, err error) {
	q = Query{Format: format.Format(r.PathValue("format")), Least: score.Default}
	if !q.Format.Valid() {
		return q, fmt.Errorf("format %q: %w; there are %s", q.Format, node.ErrNotFound, strings.Join(format.Formats(), ", "))
	}
	args := r.URL.Query()
	name := r.PathValue("view")
	for k, v := range args {
		if k != "min_score" && (k != "topic" || name != Everything) || len(v) != 1 {
			return q, protocol.Errorf(protocol.ErrMalformed, "parameter %q is not known here, or was given twice; use min_score, and with /feeds/%s/ topic", k, Everything)
		}
	}
	if text := args.Get("min_score"); text != "" {
		if q.Least, err = strconv.Atoi(text); err != nil {
			return q, protocol.Errorf(protocol.ErrMalformed, "min_score is a number from 1 to 100, not %q", text)
		}
	}
	switch {
	case name != Everything:
		q.View, err = h.n.View(name)
	case args.Get("topic") != "":
		q.View = node.TopicView(args.Get("topic"))
	}
	if err == nil {
		err = q.Check()
	}
	return q, err
}

func (h *server) list(w http.ResponseWriter, r *http.Request) {
	q, err := h.query(r)
	if err != nil {
		failWith(w, r, err)
		return
	}
	l, err := h.e.Open(r.Context(), serve.Reader(r), q, time.Now())
	if err != nil {
		failWith(w, r, err)
		return
	}
	defer l.Close()
	zipped := accepts(r.Header.Values("Accept-Encoding"), "gzip")
	etag := `"` + l.ETag + `"`
	if zipped { // the bytes are others
		etag = `"` + l.ETag + `-gzip"`
	}
	head := w.Header()
	head.Set("ETag", etag)
	head.Set("Vary", "Accept-Encoding, Authorization")
	head.Set("Cache-Control", "private, no-cache") // to be kept, and asked about each time
	if matches(r.Header.Values("If-None-Match"), l.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Type", q.Format.MediaType())
	if zipped {
		head.Set("Content-Encoding", "gzip")
	} else {
		head.Set("Content-Length", strconv.FormatInt(l.Size, 10))
	}
	if r.Method == http.MethodHead {
		return
	}
	what := fmt.Sprintf("%s of %s, for %s", q.Format, q.name(), serve.Consumer(r).Name)
	end, err := h.n.HandList(r.Context(), what, l.Cursor, l.Values)
	if err != nil {
		for _, name := range []string{"ETag", "Content-Encoding", "Content-Length"} {
			head.Del(name)
		}
		failWith(w, r, err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)) // a recorder of tests has none
	if zipped {
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if _, err = l.WriteTo(z); err == nil {
			err = z.Close()
		}
	} else {
		_, err = l.WriteTo(w)
	}
	if err := errors.Join(err, end()); err != nil {
		panic(http.ErrAbortHandler) // the status is gone already: half a list must not look whole
	}
}

// failWith says why a list is not there.
func failWith(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, node.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, protocol.ErrMalformed):
		status = http.StatusBadRequest
	case errors.Is(err, node.ErrForbidden):
		status = http.StatusForbidden
	case errors.Is(err, ErrBusy), errors.Is(err, ErrFull), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "10")
	}
	fail(w, r, status, err.Error())
}

// matches reports whether If-None-Match names an ETag, however the answer is encoded (RFC 9110, 13.1.2).
func matches(fields []string, etag string) bool {
	for _, f := range fields {
		for one := range strings.SplitSeq(f, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == "*" || one == `"`+etag+`"` || one == `"`+etag+`-gzip"` {
				return true
			}
		}
	}
	return false
}

// accepts reports whether Accept-Encoding names an encoding, and does not refuse it (RFC 9110, 12.5.3).
func accepts(fields []string, encoding string) bool {
	for _, f := range fields {
		for one := range strings.SplitSeq(f, ",") {
			name, params, _ := strings.Cut(one, ";")
			if !strings.EqualFold(strings.TrimSpace(name), encoding) {
				continue
			}
			q, ok := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(params, " ", "")), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !ok || err == nil && weight > 0
		}
	}
	return false
}
