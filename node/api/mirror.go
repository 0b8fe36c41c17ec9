package api

import (
	"net/http"

	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) mirrorRoutes() {
	s.mux.HandleFunc("DELETE /v1/mirror/{node}", call(s.acting(s.mirrorForget)))
}

// mirrorForget removes from the database what a node wrote that will not come back.
func (s *Server) mirrorForget(r *http.Request) (any, error) {
	id, err := protocol.ParseNodeID(r.PathValue("node"))
	if err != nil {
		return nil, err
	}
	return nil, s.node.ForgetMirror(r.Context(), id)
}
