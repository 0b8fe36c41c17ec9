package api

import (
	"net/http"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) mandateRoutes() {
	s.declare("mandates",
		answers("GET /v1/mandates", "Mandates", rules.Sign, "Lists mandates, given and held.", s.mandates),
		takes("POST /v1/mandates", "MandateGive", rules.Sign, "Gives an agent the mandate to publish on this organisation's behalf.", s.mandateGive).acting(),
		takes("POST /v1/mandates/import", "MandateImport", rules.Sign, "Takes a mandate that was carried here by hand.", s.mandateImport).acting(),
		takes("POST /v1/mandates/{id}/revoke", "MandateRevoke", rules.Sign, "Revokes a mandate.", s.mandateRevoke).path("id", "The id of a mandate.").acting(),
		answers("GET /v1/mandates/{id}/file", "MandateFile", rules.Sign, "Hands out a mandate as a file.", s.mandateFile).path("id", "The id of a mandate."),
		answers("POST /v1/origins/{id}/prove", "OriginProve", rules.Administer, "Proves who made a record that was passed on without its origin.", s.originProve).path("id", "The whole id of a record."),
	)
}

// Mandate is what is to be signed for an agent.
type Mandate struct {
	Agent  string    `json:"agent" required:"true"`
	Topics []string  `json:"topics,omitempty"` // none: all
	TLP    string    `json:"tlp,omitempty"`    // the ceiling; absent: none
	From   time.Time `json:"from,omitzero"`    // absent: now
	Until  time.Time `json:"until" required:"true"`
}

// MandateID names a mandate.
type MandateID struct {
	Mandate protocol.MandateID `json:"mandate"`
}

// FileBody is a file that is carried by hand: a mandate, or the proof of an origin.
type FileBody struct {
	File []byte `json:"file" required:"true"`
}

func (s *Server) mandates(*http.Request, *none) ([]node.MandateInfo, error) {
	return s.node.Mandates(), nil
}

func (s *Server) mandateGive(r *http.Request, q *Mandate) (*MandateID, error) {
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
	return &MandateID{id}, err
}

func (s *Server) mandateImport(r *http.Request, q *FileBody) (*MandateID, error) {
	if err := s.node.NoteAct(r.Context(), audit.Agreement, "import mandate", ""); err != nil {
		return nil, err
	}
	id, err := s.node.ImportMandate(q.File)
	return &MandateID{id}, err
}

func (s *Server) mandateRevoke(r *http.Request, q *Reason) (*MandateID, error) {
	id, err := protocol.ParseMandateID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return &MandateID{id}, s.node.RevokeMandate(id, q.Reason)
}

func (s *Server) mandateFile(r *http.Request, _ *none) (*FileBody, error) {
	id, err := protocol.ParseMandateID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	b, err := s.node.MandateFile(id)
	return &FileBody{b}, err
}

func (s *Server) originProve(r *http.Request, _ *none) (*FileBody, error) {
	id, err := protocol.ParseRecordID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	b, err := s.node.ProveOrigin(r.Context(), id)
	return &FileBody{b}, err
}
