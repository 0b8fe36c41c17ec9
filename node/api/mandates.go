package api

import (
	"net/http"
	"time"

	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) mandateRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/mandates":              s.mandates,
		"POST /v1/mandates":             s.acting(s.mandateGive),
		"POST /v1/mandates/import":      s.acting(s.mandateImport),
		"POST /v1/mandates/{id}/revoke": s.acting(s.mandateRevoke),
		"GET /v1/mandates/{id}/file":    s.mandateFile,
		"POST /v1/origins/{id}/prove":   s.originProve,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// Mandate is what is to be signed for an agent.
type Mandate struct {
	Agent  string    `json:"agent"`
	Topics []string  `json:"topics,omitempty"` // none: all
	TLP    string    `json:"tlp,omitempty"`    // the ceiling; absent: none
	From   time.Time `json:"from,omitzero"`    // absent: now
	Until  time.Time `json:"until"`
}

// MandateID names a mandate.
type MandateID struct {
	Mandate protocol.MandateID `json:"mandate"`
}

// FileBody is a file that is carried by hand: a mandate, or the proof of an origin.
type FileBody struct {
	File []byte `json:"file"`
}

func (s *Server) mandates(*http.Request) (any, error) { return s.node.Mandates(), nil }

func (s *Server) mandateGive(r *http.Request) (any, error) {
	var q Mandate
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	agent, err := s.node.FindOrg(q.Agent)
	if err != nil {
		return nil, err
	}
	tlp := protocol.TLPUnset
	if q.TLP != "" {
		if tlp, err = protocol.ParseTLP(q.TLP); err != nil {
			return nil, err
		}
	}
	from := uint64(0)
	if !q.From.IsZero() {
		from = uint64(max(q.From.UnixMilli(), 0))
	}
	id, err := s.node.GiveMandate(agent, q.Topics, tlp, from, uint64(max(q.Until.UnixMilli(), 0)))
	return MandateID{id}, err
}

func (s *Server) mandateImport(r *http.Request) (any, error) {
	var q FileBody
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	id, err := s.node.ImportMandate(q.File)
	return MandateID{id}, err
}

func (s *Server) mandateRevoke(r *http.Request) (any, error) {
	var q reasonRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	id, err := protocol.ParseMandateID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return MandateID{id}, s.node.RevokeMandate(id, q.Reason)
}

func (s *Server) mandateFile(r *http.Request) (any, error) {
	id, err := protocol.ParseMandateID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	b, err := s.node.MandateFile(id)
	return FileBody{b}, err
}

func (s *Server) originProve(r *http.Request) (any, error) {
	id, err := protocol.ParseRecordID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	b, err := s.node.ProveOrigin(r.Context(), id)
	return FileBody{b}, err
}
