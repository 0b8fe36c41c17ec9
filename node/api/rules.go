package api

import (
	"errors"
	"net/http"

	"github.com/entente-mesh/entente/policy/rules"
)

func (s *Server) rulesRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/rules":          s.rulesShow,
		"POST /v1/rules":         s.acting(s.rulesLoad),
		"POST /v1/rules/check":   s.rulesCheck,
		"POST /v1/rules/confirm": s.acting(s.rulesConfirm),
		"GET /v1/rules/schema":   s.rulesSchema,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// RulesRequest holds rules, and the people that they are about. Without people, those in force
// stay.
type RulesRequest struct {
	File       string  `json:"file"` // names of files are for messages
	Text       string  `json:"text"`
	PeopleFile string  `json:"people_file,omitempty"`
	People     *string `json:"people,omitempty"`
	AllNodes   bool    `json:"all_nodes,omitempty"` // of the organisation, where the operational key is
}

func (s *Server) rulesSource(r *http.Request) (rules.Source, bool, error) {
	var q RulesRequest
	if err := decode(r, &q); err != nil {
		return rules.Source{}, false, err
	}
	src := rules.Source{File: q.File, Text: []byte(q.Text)}
	if q.People != nil {
		src.PeopleFile, src.People = q.PeopleFile, []byte(*q.People)
	}
	return src, q.AllNodes, nil
}

func (s *Server) rulesShow(*http.Request) (any, error) { return s.node.Rules(), nil }

func (s *Server) rulesSchema(*http.Request) (any, error) {
	return map[string]string{"schema": rules.Schema()}, nil
}

func (s *Server) rulesLoad(r *http.Request) (any, error) {
	src, all, err := s.rulesSource(r)
	if err != nil {
		return nil, err
	}
	if all {
		return s.node.LoadRulesEverywhere(src)
	}
	return s.node.LoadRules(src)
}

// rulesConfirm takes {set}.
func (s *Server) rulesConfirm(r *http.Request) (any, error) {
	var q struct {
		Set string `json:"set"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return s.node.ConfirmRules(q.Set)
}

// RulesCheck is the answer to a check of rules.
type RulesCheck struct {
	OK       bool            `json:"ok"`
	Rules    []rules.Rule    `json:"rules"`
	Problems []rules.Problem `json:"problems"`
}

func (s *Server) rulesCheck(r *http.Request) (any, error) {
	src, _, err := s.rulesSource(r)
	if err != nil {
		return nil, err
	}
	info, err := s.node.CheckRules(src)
	var errs rules.Errors
	if errors.As(err, &errs) {
		return RulesCheck{Rules: []rules.Rule{}, Problems: errs}, nil
	}
	if err != nil {
		return nil, err
	}
	return RulesCheck{OK: true, Rules: info.Rules, Problems: []rules.Problem{}}, nil
}

// status leaves out how many records there are where the caller may not know of all.
func (s *Server) status(r *http.Request) (any, error) {
	st, err := s.node.Status()
	if err == nil && s.node.May(callerOf(r), rules.Administer) != nil {
		st.Records, st.Quarantined, st.Kept, st.CountsHidden, st.Mirror = 0, 0, 0, true, nil
	}
	return st, err
}
