package api

import (
	"net/http"
	"strconv"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) releaseRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/releases":                   s.releases,
		"GET /v1/releases/{number}":          s.release,
		"GET /v1/releases/{number}/withheld": s.releaseWithheld,
		"POST /v1/releases/{number}/approve": s.releaseVote(s.approve),
		"POST /v1/releases/{number}/deny":    s.releaseVote(s.deny),
		"GET /v1/exclusions":                 s.exclusions,
		"POST /v1/exclusions":                s.acting(s.exclude),
		"GET /v1/release-mode":               s.releaseMode,
		"POST /v1/release-mode":              s.setReleaseMode,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// ReleaseMode is what is done with records that may be passed on.
type ReleaseMode struct {
	Mode string `json:"mode"`          // off, ask, auto
	All  bool   `json:"all,omitempty"` // in a request: look also at what came before
}

// ReleaseVote is what a person says of a release.
type ReleaseVote struct {
	Person string `json:"person"`
	Reason string `json:"reason,omitempty"`
	// WithholdOrigin approves that they are published as this organisation's own, and not passed on.
	WithholdOrigin bool `json:"withhold_origin,omitempty"`
}

func (s *Server) releases(r *http.Request) (any, error) {
	return s.node.Releases(r.URL.Query().Get("all") != "")
}

func releaseNumber(r *http.Request) (uint64, error) {
	n, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil {
		return 0, protocol.Errorf(protocol.ErrMalformed, "%q is not the number of a release; 'entente release list' shows them", r.PathValue("number"))
	}
	return n, nil
}

func (s *Server) release(r *http.Request) (any, error) {
	n, err := releaseNumber(r)
	if err != nil {
		return nil, err
	}
	return s.node.ReleaseOf(n)
}

// releaseWithheld says what approving a release with its origin withheld would do.
func (s *Server) releaseWithheld(r *http.Request) (any, error) {
	n, err := releaseNumber(r)
	if err != nil {
		return nil, err
	}
	return s.node.PlanWithheld(n)
}

// releaseVote answers a request of a person to approve or deny a release.
func (s *Server) releaseVote(vote func(r *http.Request, number uint64, q *ReleaseVote) (*node.ReleaseItem, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var q ReleaseVote
		if err := decode(r, &q); err != nil {
			return nil, err
		}
		if err := s.voter(r, q.Person); err != nil {
			return nil, err
		}
		number, err := releaseNumber(r)
		if err != nil {
			return nil, err
		}
		return vote(r, number, &q)
	}
}

func (s *Server) approve(r *http.Request, number uint64, q *ReleaseVote) (*node.ReleaseItem, error) {
	return s.node.ApproveRelease(r.Context(), number, q.Person, q.WithholdOrigin)
}

func (s *Server) deny(_ *http.Request, number uint64, q *ReleaseVote) (*node.ReleaseItem, error) {
	return s.node.DenyRelease(number, q.Person, q.Reason)
}

// Exclude takes own records back from organisations.
type Exclude struct {
	Records []string `json:"records"`
	Orgs    []string `json:"organisations"`
}

func (s *Server) exclusions(*http.Request) (any, error) { return s.node.Exclusions() }

func (s *Server) exclude(r *http.Request) (any, error) {
	var q Exclude
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	found, err := s.find(r, q.Records)
	if err != nil {
		return nil, err
	}
	records := idsOf(found)
	orgs, err := s.findOrgs(q.Orgs)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 || len(orgs) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "name the records, and the organisations that are to get them no more")
	}
	return map[string]any{"records": len(records)}, s.node.Exclude(r.Context(), records, orgs)
}

func (s *Server) releaseMode(*http.Request) (any, error) {
	mode, err := s.node.Release()
	return ReleaseMode{Mode: mode.String()}, err
}

func (s *Server) setReleaseMode(r *http.Request) (any, error) {
	var q ReleaseMode
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	mode, err := node.ParseReleaseMode(q.Mode)
	if err != nil {
		return nil, err
	}
	return ReleaseMode{Mode: mode.String()}, s.node.SetRelease(r.Context(), mode, q.All)
}
