package api

import (
	"net/http"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) requestRoutes() {
	const name = "The id of a request, or its beginning."
	s.declare("requests",
		answers("GET /v1/requests", "Requests", rules.Release, "Lists requests for information that wait for a reply, own ones and those of others.", s.requests),
		takes("POST /v1/requests", "Ask", rules.Release, "Asks an organisation for information.", s.ask).as(Ask{Org: "Example Vendor", Text: "What is known of this address?", Values: []string{"198.51.100.7"}}).acting(),
		answers("GET /v1/requests/{name}", "Request", rules.Release, "Shows a request with its replies, and how many records are held about it.", s.request).path("name", name),
		takes("POST /v1/requests/{name}/reply", "Reply", rules.Release, "Replies to a request, or declines it.", s.reply).as(Reply{Text: "Seen in May.", Records: []string{"rec:abcdefghij"}}).path("name", name).acting(),
	)
}

// Ask asks an organisation, by name or id.
type Ask struct {
	Org     string   `json:"organisation" required:"true"`
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

// RequestsQuery says which requests to list.
type RequestsQuery struct {
	All bool `query:"all" doc:"also those that have a reply"`
}

func (s *Server) requests(_ *http.Request, q *RequestsQuery) ([]node.RequestInfo, error) {
	return s.node.Requests(q.All)
}

func (s *Server) request(r *http.Request, _ *none) (*node.RequestInfo, error) {
	info, recs, err := s.reader(r).Request(r.PathValue("name"))
	if err == nil && len(recs) > 0 {
		err = s.disclose(r, "count for a request", info.ID, recs)
	}
	return info, err
}

func (s *Server) ask(r *http.Request, q *Ask) (*node.RequestInfo, error) {
	org, err := s.node.FindOrg(q.Org)
	if err != nil {
		return nil, err
	}
	return s.node.Ask(r.Context(), node.Request{To: org, Purpose: q.Purpose, Text: q.Text, Values: q.Values})
}

func (s *Server) reply(r *http.Request, q *Reply) (*node.RequestInfo, error) {
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
