package api

import (
	"errors"
	"net/http"
	"slices"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/doctor"
	"github.com/entente-mesh/entente/policy/rules"
)

func (s *Server) rulesRoutes() {
	s.declare("rules",
		answers("GET /v1/rules", "Rules", rules.Administer, "Shows the local rules that are in force, and the people that they are about.", s.rulesShow),
		takes("POST /v1/rules", "RulesLoad", rules.Administer, "Puts local rules in force.", s.rulesLoad).acting(),
		takes("POST /v1/rules/check", "RulesCheck", rules.Administer, "Checks local rules, and changes nothing.", s.rulesCheck),
		takes("POST /v1/rules/confirm", "RulesConfirm", rules.Administer, "Confirms the rules that are in doubt here.", s.rulesConfirm).acting(),
		answers("GET /v1/rules/schema", "RulesSchema", anyone, "Hands out the Cedar schema of local rules.", s.rulesSchema),
	)
}

// RulesRequest holds rules, and the people that they are about. Without people, those in force
// stay.
type RulesRequest struct {
	File       string  `json:"file,omitempty"` // names of files are for messages
	Text       string  `json:"text,omitempty"`
	PeopleFile string  `json:"people_file,omitempty"`
	People     *string `json:"people,omitempty"`
	AllNodes   bool    `json:"all_nodes,omitempty"` // of the organisation, where the operational key is
}

func (q *RulesRequest) source() rules.Source {
	src := rules.Source{File: q.File, Text: []byte(q.Text)}
	if q.People != nil {
		src.PeopleFile, src.People = q.PeopleFile, []byte(*q.People)
	}
	return src
}

func (s *Server) rulesShow(*http.Request, *none) (*node.RulesInfo, error) { return s.node.Rules(), nil }

// RulesSchema is the Cedar schema of local rules.
type RulesSchema struct {
	Schema string `json:"schema"`
}

func (s *Server) rulesSchema(*http.Request, *none) (*RulesSchema, error) {
	return &RulesSchema{rules.Schema()}, nil
}

func (s *Server) rulesLoad(_ *http.Request, q *RulesRequest) (*node.RulesInfo, error) {
	if q.AllNodes {
		return s.node.LoadRulesEverywhere(q.source())
	}
	return s.node.LoadRules(q.source())
}

// RulesConfirm names the set of rules that is to be confirmed.
type RulesConfirm struct {
	Set string `json:"set" required:"true"`
}

func (s *Server) rulesConfirm(_ *http.Request, q *RulesConfirm) (*node.RulesInfo, error) {
	return s.node.ConfirmRules(q.Set)
}

// RulesCheck is the answer to a check of rules.
type RulesCheck struct {
	OK       bool            `json:"ok"`
	Rules    []rules.Rule    `json:"rules"`
	Problems []rules.Problem `json:"problems"`
}

func (s *Server) rulesCheck(_ *http.Request, q *RulesRequest) (*RulesCheck, error) {
	info, err := s.node.CheckRules(q.source())
	var errs rules.Errors
	if errors.As(err, &errs) {
		return &RulesCheck{Rules: []rules.Rule{}, Problems: errs}, nil
	}
	if err != nil {
		return nil, err
	}
	return &RulesCheck{OK: true, Rules: info.Rules, Problems: []rules.Problem{}}, nil
}

// status leaves out how many records there are where the caller may not know of all.
func (s *Server) status(r *http.Request, _ *none) (*node.Status, error) {
	if who := callerOf(r); who.Account && len(who.Roles) == 0 { // nobody of the people's
		return s.node.Pulse(), nil
	}
	st, err := s.node.Status()
	if err == nil && s.node.May(callerOf(r), rules.Administer) != nil {
		st.Records, st.Quarantined, st.Kept, st.CountsHidden, st.Mirror = 0, 0, 0, true, nil
		// Which secret is open to whom is not for everybody to know.
		st.Problems = slices.DeleteFunc(st.Problems, func(p node.Problem) bool { return doctor.Kinds[p.Kind] == "permissions" })
	}
	return st, err
}
