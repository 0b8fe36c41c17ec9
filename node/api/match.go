package api

import (
	"fmt"
	"net/http"
)

// Match asks for indicators whose patterns compare something with one of the values.
type Match struct {
	Values []string `json:"values"`
}

func (s *Server) matchRoutes() {
	s.declare("records",
		takes("POST /v1/match", "Match", perRecord, "Finds the indicators whose patterns compare something with one of the values.", s.match).as(Match{Values: []string{"198.51.100.7", "c2.example.net"}}).
			note("At most 1,000 values. Whether a pattern matches is for the caller to find out."),
		answers("GET /v1/match/open", "MatchOpen", perRecord, "Lists the indicators whose patterns compare otherwise than with a value.", s.matchOpen),
	)
}

func (s *Server) match(r *http.Request, q *Match) (*SearchResult, error) {
	list, err := s.reader(r).PatternsAbout(q.Values)
	if err == nil && len(list) > 0 {
		err = s.disclose(r, "match", fmt.Sprintf("%d values", len(q.Values)), list)
	}
	return &SearchResult{Records: list}, err
}

// MatchOpenQuery says from where to go on.
type MatchOpenQuery struct {
	After uint64 `query:"after" doc:"the cursor that the last page ended with"`
}

func (s *Server) matchOpen(r *http.Request, q *MatchOpenQuery) (*SearchResult, error) {
	list, next, err := s.reader(r).OpenPatterns(q.After)
	if err == nil && len(list) > 0 {
		err = s.disclose(r, "match", "patterns without values", list)
	}
	return &SearchResult{Records: list, Next: next}, err
}
