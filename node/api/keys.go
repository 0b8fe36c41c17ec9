package api

import (
	"net/http"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
)

func (s *Server) keyRoutes() {
	s.declare("nodes",
		answers("GET /v1/keys", "Keys", rules.Administer, "Lists the keys of this organisation and of this node, in force and retired, where they are, and what ends when. Nothing in it is secret.", s.keys),
		takes("POST /v1/keys/age", "KeyRotateAge", rules.Administer, "Makes a new age identity, whose recipient goes on the card.", s.keyRotateAge).acting(),
	)
}

func (s *Server) keys(*http.Request, *none) (*node.KeyList, error) { return s.node.KeyList() }

// KeyRotateAge asks for a new age identity.
type KeyRotateAge struct {
	Suspected bool `json:"suspected,omitempty"` // somebody else may have the present one
}

func (s *Server) keyRotateAge(r *http.Request, q *KeyRotateAge) (*node.IdentityInfo, error) {
	// What somebody else may have is replaced at once, by whoever notices.
	if !q.Suspected {
		if err := s.node.SecondPerson(r.Context(), node.ActKeyChange, "replace the age identity of this node", []byte("replace the age identity")); err != nil {
			return nil, err
		}
	}
	return s.node.RotateRecipient(r.Context(), q.Suspected)
}
