package api

import (
	"net/http"

	"github.com/entente-mesh/entente/node"
	streams "github.com/entente-mesh/entente/node/stream"
)

func (s *Server) sinkRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/sinks":                s.sinks,
		"POST /v1/sinks":               s.sinkAdd,
		"DELETE /v1/sinks/{name}":      s.sinkRemove,
		"POST /v1/sinks/{name}/test":   s.sinkTest,
		"POST /v1/sinks/{name}/replay": s.sinkReplay,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// AddSink says what is to be delivered where. Empty: kind's own format, batch and subject; the caller as
// reader; for a webhook a secret that is made here.
type AddSink struct {
	Name    string          `json:"name"`
	Kind    node.SinkKind   `json:"kind"`
	URL     string          `json:"url"`
	View    string          `json:"view,omitempty"`
	Reader  string          `json:"reader,omitempty"`
	Format  node.SinkFormat `json:"format,omitempty"`
	Batch   int             `json:"batch,omitempty"`
	Private bool            `json:"allow_private,omitempty"`
	Plain   bool            `json:"allow_plain,omitempty"`
	Roots   []byte          `json:"roots,omitempty"`
	Stream  string          `json:"stream,omitempty"`
	Subject string          `json:"subject,omitempty"`
	Secret  []byte          `json:"secret,omitempty"`
	From    uint64          `json:"from,omitempty"`    // cursor to begin after
	Replace bool            `json:"replace,omitempty"` // one of the same name, which keeps its place
}

// AddedSink is a sink that was added, with the secret if it was made here: it is told once.
type AddedSink struct {
	node.SinkInfo
	Made string `json:"made_secret,omitempty"`
}

func (s *Server) sinks(*http.Request) (any, error) { return s.node.Sinks() }

func (s *Server) sinkAdd(r *http.Request) (any, error) {
	var q AddSink
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	sink := node.Sink{Name: q.Name, Kind: q.Kind, URL: q.URL, View: q.View, Reader: q.Reader, Format: q.Format, Batch: q.Batch, Private: q.Private,
		Plain: q.Plain, Roots: q.Roots, Stream: q.Stream, Subject: q.Subject, Secret: node.NewSinkSecret(q.Secret)}
	made, err := streams.Complete(s.node, &sink, callerOf(r), q.Replace)
	if err != nil {
		return nil, err
	}
	info, err := s.node.SetSink(r.Context(), sink, q.From, q.Replace)
	if err != nil {
		return nil, err
	}
	return AddedSink{*info, made}, nil
}

func (s *Server) sinkRemove(r *http.Request) (any, error) {
	return nil, s.node.RemoveSink(r.Context(), r.PathValue("name"))
}

func (s *Server) sinkTest(r *http.Request) (any, error) {
	return nil, streams.Test(r.Context(), s.node, r.PathValue("name"))
}

// ReplaySink says from where on a sink delivers.
type ReplaySink struct {
	From uint64 `json:"from"`
}

func (s *Server) sinkReplay(r *http.Request) (any, error) {
	var q ReplaySink
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return nil, s.node.ReplaySink(r.Context(), r.PathValue("name"), q.From)
}
