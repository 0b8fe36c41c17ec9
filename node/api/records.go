package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) recordRoutes() {
	const id = "A record id, its beginning, or a STIX id."
	s.declare("records",
		answers("GET /v1/records", "Search", perRecord, "Searches what this organisation can read.", s.search).
			note("Of several versions of an object the newest is shown. The search is an entry of the audit log."),
		answers("GET /v1/records/{id}", "Show", perRecord, "Shows a record, or the versions of an object.", s.show).path("id", id),
		answers("GET /v1/records/{id}/explain", "Explain", perRecord, "Explains who may have a record and why, and where it came from.", s.explain).path("id", id),
		takes("POST /v1/records/{id}/what-if", "WhatIf", rules.Protect, "Explains who might have a record at another time, or under a planned agreement.", s.whatIf).path("id", id).acting(),
		takes("POST /v1/withdraw", "Withdraw", rules.Publish, "Withdraws records that this organisation published.", s.withdraw).as(Withdraw{IDs: []string{"rec:abcdefghij"}, Reason: "a false positive"}),
		takes("POST /v1/erase", "Erase", rules.Protect, "Erases records in the whole mesh, and says what was reached and what was not.", s.erase).as(Erase{IDs: []string{"rec:abcdefghij"}, Reason: "request"}),
		serves("GET /v1/watch", "Watch", perRecord, "Streams records as they arrive, from a cursor on.", s.watch).streams(reflect.TypeFor[node.Record]()).
			note("A line that is an Error ends the stream. What is sent is an entry of the audit log."),
		serves("GET /v1/export", "Export", perRecord, "Writes the records after a cursor in a form that other systems read.", s.export).
			sends(CursorTrailer, "The records. The trailer holds the cursor from which the next export goes on.", exportMedia()...),
		serves("POST /v1/publish", "Publish", perRecord, "Publishes a file in a topic; with dry_run it shows only what would be done.", s.publish).
			reads(mediaBytes, "A STIX bundle, a MISP event or feed, or a list; at most 256 MiB.").as("198.51.100.7:443\nc2.example.net\n").streams(reflect.TypeFor[PublishEvent]()).
			note("The plan comes first, then how far it is, then the receipt: what it counts is durable here. A line with failed ends the stream."),
	)
}

// exportMedia are the media types of an export, by its formats.
func exportMedia() (list []string) {
	for _, f := range node.ExportFormats() {
		if m := node.ExportFormat(f).MediaType(); !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// SearchQuery says what to search for. Without anything, it is what came last.
type SearchQuery struct {
	Value     string `query:"value" doc:"an observable in any notation, defanged ones too, or a STIX id"`
	Type      string `query:"type" doc:"a STIX type"`
	Topic     string `query:"topic" doc:"only of this topic"`
	Since     string `query:"since" doc:"received since: 2026-01-31, 2026-01-31T09:30:00Z, 36h or 7d"`
	After     uint64 `query:"after" doc:"the cursor that the last page ended with"`
	Limit     uint64 `query:"limit" doc:"at most as many; 0: 100; never more than 10000"`
	Withdrawn bool   `query:"withdrawn" doc:"withdrawn records too"`
	Versions  bool   `query:"versions" doc:"all versions of an object, not only the newest"`
}

// SearchResult is one page of records.
type SearchResult struct {
	Records []node.Record `json:"records"`
	Next    uint64        `json:"next,omitempty"` // cursor of the next page; none at the end
}

func (s *Server) search(r *http.Request, q *SearchQuery) (*SearchResult, error) {
	query := node.Query{Value: q.Value, Type: q.Type, Topic: q.Topic, After: q.After, Limit: int(min(q.Limit, node.MaxLimit)),
		Withdrawn: q.Withdrawn, Versions: q.Versions}
	var err error
	if query.Since, err = since(q.Since); err != nil {
		return nil, err
	}
	recs, next, err := s.reader(r).Search(query)
	if err == nil {
		asked, _ := url.QueryUnescape(r.URL.RawQuery)
		err = s.disclose(r, "search", asked, recs)
	}
	if err != nil {
		return nil, err
	}
	return &SearchResult{recs, next}, nil
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

func (s *Server) show(r *http.Request, _ *none) ([]node.Record, error) {
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

// ExplainQuery says of whom to explain.
type ExplainQuery struct {
	Org string `query:"org" doc:"only what concerns this organisation"`
}

func (s *Server) explain(r *http.Request, q *ExplainQuery) (*node.Explanation, error) {
	found, err := s.reader(r).Find(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var only *protocol.OrgID
	if q.Org != "" {
		org, err := s.node.FindOrg(q.Org)
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

// WatchQuery says from where to watch.
type WatchQuery struct {
	From   uint64 `query:"from" doc:"the cursor of the last record that was seen"`
	Follow bool   `query:"follow" default:"true" doc:"go on with what comes later; false: end where there are no more"`
}

// watch streams records from a cursor on, and goes on with those that arrive, until the
// client leaves. With follow=0 it ends where there are no more.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, q *WatchQuery) {
	out := newStream(w)
	gone := false
	err := s.reader(r).Stream(r.Context(), q.From, q.Follow, func(rec *node.Record) error {
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

func (s *Server) handouts(*http.Request, *none) ([]node.Handout, error) { return s.node.Handouts() }

// CursorTrailer is the HTTP trailer in which an export says where the next one begins.
const CursorTrailer = "Entente-Cursor"

// ExportQuery says what to export.
type ExportQuery struct {
	Since  uint64 `query:"since" doc:"only what came after this cursor"`
	Format string `query:"format" default:"lines" enum:"lines,csv,stix,jsonl,misp" doc:"lines: observables, for blocklists; stix: a bundle; jsonl: one record a line; misp: events"`
	Own    bool   `query:"own" doc:"only what this organisation made and published itself"`
	Topic  string `query:"topic" doc:"with own: only of this topic"`
}

func (s *Server) export(w http.ResponseWriter, r *http.Request, q *ExportQuery) {
	format := node.ExportFormat(q.Format)
	if q.Topic != "" && !q.Own {
		fail(w, protocol.Errorf(protocol.ErrMalformed, "topic is for what this organisation published itself: give own as well"))
		return
	}
	out := &lateWriter{w: w, trailer: CursorTrailer, media: format.MediaType()}
	reader := s.reader(r)
	read := reader.Export
	if q.Own {
		read = func(ctx context.Context, w io.Writer, format node.ExportFormat, after uint64) (uint64, error) {
			return reader.ExportOwn(ctx, w, format, q.Topic, after)
		}
	}
	next, err := read(r.Context(), out, format, q.Since)
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
