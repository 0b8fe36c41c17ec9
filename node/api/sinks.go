package api

import (
	"net/http"

	"github.com/entente-mesh/entente/node"
	streams "github.com/entente-mesh/entente/node/stream"
	"github.com/entente-mesh/entente/policy/rules"
)

func (s *Server) sinkRoutes() {
	s.declare("streams",
		answers("GET /v1/sinks", "Sinks", rules.Administer, "Lists where changes are delivered, and how far each came.", s.sinks),
		takes("POST /v1/sinks", "SinkAdd", rules.Administer, "Has changes delivered to a receiver.", s.sinkAdd),
		answers("DELETE /v1/sinks/{name}", "SinkRemove", rules.Administer, "Ends the delivery to a receiver.", s.sinkRemove).path("name", sinkName),
		answers("POST /v1/sinks/{name}/test", "SinkTest", rules.Administer, "Sends a receiver a message that says nothing, and tells what came of it.", s.sinkTest).path("name", sinkName),
		takes("POST /v1/sinks/{name}/own", "SinkOwn", rules.Administer, "Has one of the people answer for a sink.", s.sinkOwn).path("name", sinkName),
		takes("POST /v1/sinks/{name}/replay", "SinkReplay", rules.Administer, "Delivers again what came after a cursor.", s.sinkReplay).path("name", sinkName),
	)
}

const sinkName = "The name of a sink."

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

func (s *Server) sinks(*http.Request, *none) ([]node.SinkInfo, error) { return s.node.Sinks() }

func (s *Server) sinkAdd(r *http.Request, q *AddSink) (*AddedSink, error) {
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
	return &AddedSink{*info, made}, nil
}

func (s *Server) sinkRemove(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.RemoveSink(r.Context(), r.PathValue("name"))
}

func (s *Server) sinkTest(r *http.Request, _ *none) (none, error) {
	return none{}, streams.Test(r.Context(), s.node, r.PathValue("name"))
}

func (s *Server) sinkOwn(r *http.Request, q *ConsumerOwn) (none, error) {
	return none{}, s.node.OwnSink(r.Context(), r.PathValue("name"), q.Owner)
}

// ReplaySink says from where on a sink delivers.
type ReplaySink struct {
	From uint64 `json:"from"`
}

func (s *Server) sinkReplay(r *http.Request, q *ReplaySink) (none, error) {
	return none{}, s.node.ReplaySink(r.Context(), r.PathValue("name"), q.From)
}
