package api

import (
	"net/http"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) mispRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/misp":             func(*http.Request) (any, error) { return s.node.MISP() },
		"PUT /v1/misp/tlp":         s.acting(s.mispTLP),
		"PUT /v1/misp/orgs/{uuid}": s.acting(s.mispOrg),
		"DELETE /v1/misp/orgs/{uuid}": s.acting(func(r *http.Request) (any, error) {
			return nil, s.node.SetMISPOrg(r.PathValue("uuid"), protocol.OrgID{})
		}),
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// MISPOrgRequest says which member of the mesh an organisation of MISP is.
type MISPOrgRequest struct {
	Org string `json:"org"` // id or name
}

func (s *Server) mispOrg(r *http.Request) (any, error) {
	var q MISPOrgRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	orgs, err := s.findOrgs([]string{q.Org})
	if err != nil {
		return nil, err
	}
	if err := s.node.SetMISPOrg(r.PathValue("uuid"), orgs[0]); err != nil {
		return nil, err
	}
	return s.node.MISP()
}

// MISPTLPRequest sets the label of what an instance pushes without one; "": it is refused.
type MISPTLPRequest struct {
	TLP string `json:"tlp"`
}

func (s *Server) mispTLP(r *http.Request) (any, error) {
	var q MISPTLPRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	t := protocol.TLPUnset
	if q.TLP != "" {
		var err error
		if t, err = protocol.ParseTLP(q.TLP); err != nil {
			return node.MISPSettings{}, err
		}
	}
	if err := s.node.SetMISPTLP(t); err != nil {
		return nil, err
	}
	return s.node.MISP()
}
