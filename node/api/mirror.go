package api

import (
	"net/http"

	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) mirrorRoutes() {
	s.declare("node",
		answers("DELETE /v1/mirror/{node}", "MirrorForget", rules.Administer, "Removes from the database that follows this node what another node wrote that will not come back.", s.mirrorForget).path("node", "The peer ID of the node.").acting(),
	)
}

func (s *Server) mirrorForget(r *http.Request, _ *none) (none, error) {
	id, err := protocol.ParseNodeID(r.PathValue("node"))
	if err != nil {
		return none{}, err
	}
	return none{}, s.node.ForgetMirror(r.Context(), id)
}
