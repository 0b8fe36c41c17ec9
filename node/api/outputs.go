package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outputs"
	"github.com/entente-mesh/entente/node/outputs/format"
	"github.com/entente-mesh/entente/node/outputs/score"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol"
)

// OutputTrailer is the HTTP trailer in which a list says how many values it has.
const OutputTrailer = "Entente-Values"

func (s *Server) outputRoutes() {
	e := outputs.New(s.node, false)
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/outputs/explain":         func(r *http.Request) (any, error) { return s.outputExplain(e, r) },
		"GET /v1/warninglists":            s.warninglists,
		"DELETE /v1/warninglists/{name}":  s.acting(func(r *http.Request) (any, error) { return nil, s.node.RemoveWarninglist(r.PathValue("name")) }),
		"POST /v1/warninglists/protected": s.acting(s.warninglistProtect),
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
	s.mux.HandleFunc("GET /v1/outputs/{format}", func(w http.ResponseWriter, r *http.Request) { s.output(e, w, r) })
	s.mux.HandleFunc("POST /v1/warninglists", s.warninglistAdd)
}

// outputQuery reads format, view, topic and min_score.
func (s *Server) outputQuery(r *http.Request) (q outputs.Query, err error) {
	args := r.URL.Query()
	q = outputs.Query{Format: format.Format(r.PathValue("format")), Least: score.Default}
	if text := args.Get("min_score"); text != "" {
		if q.Least, err = strconv.Atoi(text); err != nil {
			return q, protocol.Errorf(protocol.ErrMalformed, "min_score is a number from 1 to 100, not %q", text)
		}
	}
	switch name, topic := args.Get("view"), args.Get("topic"); {
	case name != "" && topic != "":
		err = protocol.Errorf(protocol.ErrMalformed, "give a view or a topic")
	case name != "":
		q.View, err = s.node.View(name)
	case topic != "":
		q.View = node.TopicView(topic)
	}
	return q, err
}

func (s *Server) output(e *outputs.Engine, w http.ResponseWriter, r *http.Request) {
	q, err := s.outputQuery(r)
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		fail(w, err)
		return
	}
	l, err := e.Open(r.Context(), s.reader(r), q, time.Now())
	if err != nil {
		fail(w, err)
		return
	}
	defer l.Close()
	asked, _ := url.QueryUnescape(r.URL.RawQuery)
	end, err := s.node.HandOut(r.Context(), fmt.Sprintf("%s %s", q.Format, asked))
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Trailer", OutputTrailer)
	w.Header().Set("Content-Type", q.Format.MediaType())
	_, err = l.WriteTo(w)
	if err := errors.Join(err, end(l.Cursor, l.Values)); err != nil {
		panic(http.ErrAbortHandler) // the status is gone already: half a list must not look whole
	}
	w.Header().Set(OutputTrailer, strconv.FormatUint(l.Values, 10))
}

func (s *Server) outputExplain(e *outputs.Engine, r *http.Request) (any, error) {
	q, err := s.outputQuery(r)
	if err != nil {
		return nil, err
	}
	value := r.URL.Query().Get("value")
	x, err := e.Explain(r.Context(), s.reader(r), q.View, value, q.Least, time.Now())
	if err != nil {
		return nil, err
	}
	var ids []protocol.RecordID
	for i := range x.Reports {
		ids = append(ids, x.Reports[i].Record)
	}
	return x, s.node.Disclose(r.Context(), node.Disclosure{Act: "explain an output", Query: value, Records: ids})
}

func (s *Server) warninglists(*http.Request) (any, error) {
	list, _, err := s.node.Warninglists()
	return list, err
}

// warninglistAdd takes a list in MISP's format as it is.
func (s *Server) warninglistAdd(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, warninglist.MaxFile)
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, protocol.Errorf(protocol.ErrOversize, "a warninglist has at most %d bytes", warninglist.MaxFile))
		return
	}
	l, err := warninglist.Parse(raw)
	if err == nil {
		err = s.node.Acting(node.CallerOf(r.Context()), func() error { return s.node.SetWarninglist(l) })
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, node.Warninglist{Name: l.Name, Type: l.Type, Version: l.Version, Entries: len(l.Entries), Matching: l.Matching, Set: time.Now().UTC()})
}

// Protected are names and networks that are never put out: this organisation's own.
type Protected struct {
	Values []string `json:"values"`
}

func (s *Server) warninglistProtect(r *http.Request) (any, error) {
	var q Protected
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return q, s.node.Protect(q.Values)
}
