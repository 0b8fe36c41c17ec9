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
	s.mux.HandleFunc("POST /v1/match", call(s.match))
	s.mux.HandleFunc("GET /v1/match/open", call(s.matchOpen))
}

func (s *Server) match(r *http.Request) (any, error) {
	var q Match
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	list, err := s.reader(r).PatternsAbout(q.Values)
	if err == nil && len(list) > 0 {
		err = s.disclose(r, "match", fmt.Sprintf("%d values", len(q.Values)), list)
	}
	return SearchResult{Records: list}, err
}

func (s *Server) matchOpen(r *http.Request) (any, error) {
	after, err := number(r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	list, next, err := s.reader(r).OpenPatterns(after)
	if err == nil && len(list) > 0 {
		err = s.disclose(r, "match", "patterns without values", list)
	}
	return SearchResult{Records: list, Next: next}, err
}
