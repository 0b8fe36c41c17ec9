package api

import (
	"net/http"
	"strconv"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) releaseRoutes() {
	const number = "The number of a release."
	s.declare("releases",
		answers("GET /v1/releases", "Releases", rules.Release, "Lists what waits for persons before it is passed on.", s.releases),
		answers("GET /v1/releases/{number}", "Release", rules.Release, "Shows a release.", s.release).path("number", number),
		answers("GET /v1/releases/{number}/withheld", "ReleaseWithheld", rules.Release, "Says what publishing it with its origin withheld would leave out, or why it is refused.", s.releaseWithheld).path("number", number),
		takes("POST /v1/releases/{number}/approve", "ReleaseApprove", rules.Release, "Approves a release.", s.releaseApprove).path("number", number),
		takes("POST /v1/releases/{number}/deny", "ReleaseDeny", rules.Release, "Denies a release.", s.releaseDeny).path("number", number),
		answers("GET /v1/exclusions", "Exclusions", rules.Protect, "Lists exclusions of organisations from own records, with who acknowledged them.", s.exclusions),
		takes("POST /v1/exclusions", "Exclude", rules.Protect, "Takes own records back from organisations.", s.exclude).as(Exclude{Records: []string{"rec:abcdefghij"}, Orgs: []string{"Example Police"}}).acting(),
		answers("GET /v1/release-mode", "ReleaseMode", rules.Administer, "Says what is done with records that may be passed on.", s.releaseMode),
		takes("POST /v1/release-mode", "SetReleaseMode", rules.Administer, "Sets what is done with records that may be passed on.", s.setReleaseMode),
	)
}

// ReleaseMode is what is done with records that may be passed on.
type ReleaseMode struct {
	Mode string `json:"mode" required:"true" enum:"off,ask,auto"`
	All  bool   `json:"all,omitempty"` // in a request: look also at what came before
}

// ReleaseVote is what a person says of a release.
type ReleaseVote struct {
	Person string `json:"person" required:"true"`
	Reason string `json:"reason,omitempty"`
	// WithholdOrigin approves that they are published as this organisation's own, and not passed on.
	WithholdOrigin bool `json:"withhold_origin,omitempty"`
}

// ReleasesQuery says which releases to list.
type ReleasesQuery struct {
	All bool `query:"all" doc:"also those that were decided"`
}

func (s *Server) releases(_ *http.Request, q *ReleasesQuery) ([]node.ReleaseItem, error) {
	return s.node.Releases(q.All)
}

func releaseNumber(r *http.Request) (uint64, error) {
	n, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil {
		return 0, protocol.Errorf(protocol.ErrMalformed, "%q is not the number of a release; 'entente release list' shows them", r.PathValue("number"))
	}
	return n, nil
}

func (s *Server) release(r *http.Request, _ *none) (*node.ReleaseItem, error) {
	n, err := releaseNumber(r)
	if err != nil {
		return nil, err
	}
	return s.node.ReleaseOf(n)
}

// releaseWithheld says what approving a release with its origin withheld would do.
func (s *Server) releaseWithheld(r *http.Request, _ *none) (*node.WithheldPlan, error) {
	n, err := releaseNumber(r)
	if err != nil {
		return nil, err
	}
	return s.node.PlanWithheld(n)
}

// vote reads who votes on which release.
func (s *Server) vote(r *http.Request, person string) (number uint64, who string, err error) {
	if who, err = s.voter(r, person); err != nil {
		return 0, "", err
	}
	number, err = releaseNumber(r)
	return number, who, err
}

func (s *Server) releaseApprove(r *http.Request, q *ReleaseVote) (*node.ReleaseItem, error) {
	number, who, err := s.vote(r, q.Person)
	if err != nil {
		return nil, err
	}
	return s.node.ApproveRelease(r.Context(), number, who, q.WithholdOrigin)
}

func (s *Server) releaseDeny(r *http.Request, q *ReleaseVote) (*node.ReleaseItem, error) {
	number, who, err := s.vote(r, q.Person)
	if err != nil {
		return nil, err
	}
	return s.node.DenyRelease(r.Context(), number, who, q.Reason)
}

// Exclude takes own records back from organisations.
type Exclude struct {
	Records []string `json:"records" required:"true"`
	Orgs    []string `json:"organisations" required:"true"`
}

// Excluded says of how many records organisations were excluded.
type Excluded struct {
	Records int `json:"records"`
}

func (s *Server) exclusions(*http.Request, *none) ([]node.ExclusionInfo, error) {
	return s.node.Exclusions()
}

func (s *Server) exclude(r *http.Request, q *Exclude) (*Excluded, error) {
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
	return &Excluded{len(records)}, s.node.Exclude(r.Context(), records, orgs)
}

func (s *Server) releaseMode(*http.Request, *none) (*ReleaseMode, error) {
	mode, err := s.node.Release()
	return &ReleaseMode{Mode: mode.String()}, err
}

func (s *Server) setReleaseMode(r *http.Request, q *ReleaseMode) (*ReleaseMode, error) {
	mode, err := node.ParseReleaseMode(q.Mode)
	if err != nil {
		return nil, err
	}
	return &ReleaseMode{Mode: mode.String()}, s.node.SetRelease(r.Context(), mode, q.All)
}
