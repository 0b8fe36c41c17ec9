package api

import (
	"net/http"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) mispRoutes() {
	s.declare("access",
		answers("GET /v1/misp", "MISP", rules.Administer, "Tells which members of the mesh organisations of MISP are, and the label of what an instance pushes without one.", s.misp),
		takes("PUT /v1/misp/tlp", "MISPTLPSet", rules.Administer, "Sets the label of what an instance pushes without one.", s.mispTLP).as(MISPTLPRequest{TLP: "amber"}).acting(),
		takes("PUT /v1/misp/orgs/{uuid}", "MISPOrgSet", rules.Administer, "Says which member of the mesh an organisation of MISP is.", s.mispOrg).as(MISPOrgRequest{Org: "Example CERT"}).path("uuid", mispUUID).acting(),
		answers("DELETE /v1/misp/orgs/{uuid}", "MISPOrgRemove", rules.Administer, "Forgets which member of the mesh an organisation of MISP is.", s.mispOrgRemove).path("uuid", mispUUID).acting(),
	)
}

const mispUUID = "The UUID of an organisation in MISP."

func (s *Server) misp(*http.Request, *none) (node.MISPSettings, error) { return s.node.MISP() }

func (s *Server) mispOrgRemove(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.SetMISPOrg(r.PathValue("uuid"), protocol.OrgID{})
}

// MISPOrgRequest says which member of the mesh an organisation of MISP is.
type MISPOrgRequest struct {
	Org string `json:"org"` // id or name
}

func (s *Server) mispOrg(r *http.Request, q *MISPOrgRequest) (out node.MISPSettings, err error) {
	orgs, err := s.findOrgs([]string{q.Org})
	if err != nil {
		return out, err
	}
	if err := s.node.SetMISPOrg(r.PathValue("uuid"), orgs[0]); err != nil {
		return out, err
	}
	return s.node.MISP()
}

// MISPTLPRequest sets the label of what an instance pushes without one; "": it is refused.
type MISPTLPRequest struct {
	TLP string `json:"tlp"`
}

func (s *Server) mispTLP(_ *http.Request, q *MISPTLPRequest) (out node.MISPSettings, err error) {
	t := protocol.TLPUnset
	if q.TLP != "" {
		if t, err = protocol.ParseTLP(q.TLP); err != nil {
			return out, err
		}
	}
	if err := s.node.SetMISPTLP(t); err != nil {
		return out, err
	}
	return s.node.MISP()
}
