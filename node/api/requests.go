package api

import (
	"net/http"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) requestRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/requests":               s.requests,
		"POST /v1/requests":              s.acting(s.ask),
		"GET /v1/requests/{name}":        s.request,
		"POST /v1/requests/{name}/reply": s.acting(s.reply),
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// Ask asks an organisation, by name or id.
type Ask struct {
	Org     string   `json:"organisation"`
	Purpose string   `json:"purpose,omitempty"`
	Text    string   `json:"text,omitempty"`
	Values  []string `json:"values,omitempty"`
}

// Reply answers a request, or declines it.
type Reply struct {
	Decline bool     `json:"decline,omitempty"`
	Text    string   `json:"text,omitempty"`
	Records []string `json:"records,omitempty"`
}

func (s *Server) requests(r *http.Request) (any, error) {
	return s.node.Requests(r.URL.Query().Get("all") != "")
}

func (s *Server) request(r *http.Request) (any, error) {
	info, recs, err := s.reader(r).Request(r.PathValue("name"))
	if err == nil && len(recs) > 0 {
		err = s.disclose(r, "count for a request", info.ID, recs)
	}
	return info, err
}

func (s *Server) ask(r *http.Request) (any, error) {
	var q Ask
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	org, err := s.node.FindOrg(q.Org)
	if err != nil {
		return nil, err
	}
	return s.node.Ask(r.Context(), node.Request{To: org, Purpose: q.Purpose, Text: q.Text, Values: q.Values})
}

func (s *Server) reply(r *http.Request) (any, error) {
	var q Reply
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	var ids []protocol.RecordID
	if len(q.Records) > 0 {
		found, err := s.find(r, q.Records)
		if err != nil {
			return nil, err
		}
		ids = idsOf(found)
	}
	return s.node.Reply(r.Context(), r.PathValue("name"), q.Decline, q.Text, ids)
}
