package api

import (
	"github.com/entente-mesh/entente/protocol"
)

// country is where an organisation says that it is, "" if its card is not known.
func (s *Server) country(id protocol.OrgID) string {
	if c := s.node.Card(id); c != nil {
		return c.Inception.Country
	}
	return ""
}
