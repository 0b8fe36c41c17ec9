package api

import (
	"net/http"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Doctor says what to look at.
type Doctor struct {
	Checks []string `json:"checks,omitempty"` // names of checks, as they stand in findings; none: all
	Quick  bool     `json:"quick,omitempty"`  // write nothing to the disk to measure it, and ask no peer
	Listen []string `json:"listen,omitempty"` // of a node that is down: multiaddresses that it is to listen on
}

// BackupVerified says that a backup of this node was verified and is whole.
type BackupVerified struct {
	Node string    `json:"node" required:"true"` // whose it is, as it states
	Made time.Time `json:"made" required:"true"` // when it was made, as it states
}

func (s *Server) doctorRoutes() {
	s.declare("node",
		takes("POST /v1/doctor", "Doctor", rules.Administer, "Looks at the node and its machine, asks peers whether it can be reached, and names the repair of what is not as it should be.", s.doctor).
			note("It takes up to about 15 seconds.").as(Doctor{Checks: []string{"clock", "reachability"}}),
		takes("POST /v1/backup/verified", "BackupVerified", rules.Administer, "Notes that a backup of this node was verified and is whole.", s.backupVerified).acting(),
	)
}

func (s *Server) doctor(r *http.Request, q *Doctor) (*node.DoctorReport, error) {
	return s.node.Doctor(r.Context(), node.DoctorRequest{Checks: q.Checks, Quick: q.Quick, Listen: q.Listen})
}

func (s *Server) backupVerified(_ *http.Request, q *BackupVerified) (none, error) {
	id, err := protocol.ParseNodeID(q.Node)
	if err != nil {
		return none{}, err
	}
	return none{}, s.node.NoteVerified(id, q.Made)
}
