package api

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// SearchResult is one page of records.
type SearchResult struct {
	Records []node.Record `json:"records"`
	Next    uint64        `json:"next,omitempty"` // cursor of the next page; none at the end
}

func (s *Server) search(r *http.Request) (any, error) {
	q := r.URL.Query()
	query := node.Query{Value: q.Get("value"), Type: q.Get("type"), Topic: q.Get("topic"),
		Withdrawn: q.Get("withdrawn") != "", Versions: q.Get("versions") != ""}
	var err error
	if query.Since, err = since(q.Get("since")); err != nil {
		return nil, err
	}
	if query.After, err = number(q.Get("after")); err != nil {
		return nil, err
	}
	limit, err := number(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	query.Limit = int(min(limit, node.MaxLimit))
	recs, next, err := s.reader(r).Search(query)
	if err == nil {
		asked, _ := url.QueryUnescape(r.URL.RawQuery)
		err = s.disclose(r, "search", asked, recs)
	}
	if err != nil {
		return nil, err
	}
	return SearchResult{recs, next}, nil
}

// since reads a time, a date, or how long ago: 2026-01-31, RFC 3339, 36h, 7d.
func since(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if days, ok := cutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 36500 {
			return time.Now().AddDate(0, 0, -n), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, protocol.Errorf(protocol.ErrMalformed, "%q is not a time; use 2026-01-31, 2026-01-31T09:30:00Z, 36h or 7d", text)
	}
	return time.Now().Add(-d), nil
}

func cutSuffix(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n > 0 && s[n:] == suffix {
		return s[:n], true
	}
	return s, false
}

func number(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, protocol.Errorf(protocol.ErrMalformed, "%q is not a number", text)
	}
	return v, nil
}

func (s *Server) show(r *http.Request) (any, error) {
	found, err := s.reader(r).Find(r.PathValue("id"))
	if err == nil {
		err = s.disclose(r, "show", r.PathValue("id"), found)
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// disclose notes that records are about to be shown. What cannot be noted is not shown.
func (s *Server) disclose(r *http.Request, act, query string, list []node.Record) error {
	d := node.Disclosure{Act: act, Query: query}
	for i := range list {
		d.Records = append(d.Records, list[i].ID)
	}
	return s.node.Disclose(r.Context(), d)
}

func (s *Server) explain(r *http.Request) (any, error) {
	found, err := s.reader(r).Find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var only *protocol.OrgID
	if text := r.URL.Query().Get("org"); text != "" {
		org, err := s.node.FindOrg(text)
		if err != nil {
			return nil, err
		}
		only = &org
	}
	if err := s.disclose(r, "explain", r.PathValue("id"), found[:1]); err != nil {
		return nil, err
	}
	x, err := s.node.Explain(found[0].ID, only)
	if err == nil {
		x.Record.Assessment = found[0].Assessment // of what the caller may read
	}
	return x, err
}

// watch streams records from a cursor on, and goes on with those that arrive, until the
// client leaves. With follow=0 it ends where there are no more.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	from, err := number(r.URL.Query().Get("from"))
	if err != nil {
		fail(w, err)
		return
	}
	out := newStream(w)
	gone := false
	err = s.reader(r).Stream(r.Context(), from, r.URL.Query().Get("follow") != "0", func(rec *node.Record) error {
		err := out.send(rec)
		gone = err != nil
		return err
	}, func() {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	})
	if err != nil && !gone {
		_ = out.send(Error{Message: err.Error()})
	}
}

func (s *Server) handouts(*http.Request) (any, error) { return s.node.Handouts() }

// CursorTrailer is the HTTP trailer in which an export says where the next one begins.
const CursorTrailer = "Entente-Cursor"

func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err := number(q.Get("since"))
	if err != nil {
		fail(w, err)
		return
	}
	format := node.ExportFormat(q.Get("format"))
	if format == "" {
		format = node.ExportLines
	}
	if !format.Valid() {
		fail(w, protocol.Errorf(protocol.ErrMalformed, "format %q is not known", format))
		return
	}
	out := &lateWriter{w: w, trailer: CursorTrailer, media: format.MediaType()}
	next, err := s.reader(r).Export(r.Context(), out, format, from)
	if err != nil && !out.begun {
		fail(w, err)
		return
	}
	out.begin() // also where there is nothing to export
	if err != nil {
		// The status is gone already: an export that ends without its trailer is not whole.
		panic(http.ErrAbortHandler)
	}
	w.Header().Set(CursorTrailer, strconv.FormatUint(next, 10))
}
