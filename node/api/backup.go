package api

import (
	"io"
	"net/http"
	"reflect"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
)

// BackupTrailer is the HTTP trailer in which the answer to a backup says, as JSON, what the file
// holds. A file that came without it is not whole.
const BackupTrailer = "Entente-Backup"

// BackupRequest is what POST /v1/backup takes.
type BackupRequest struct {
	Recipients   []string `json:"recipients" required:"true"` // age recipients, whose keys are kept off line
	WithoutOpKey bool     `json:"without_op_key,omitempty"`
}

func (s *Server) backupRoutes() {
	s.declare("node",
		serves("POST /v1/backup", "Backup", rules.Administer, "Makes a backup of one moment, sealed to keys that are kept off line.", s.backup).
			readsJSON(reflect.TypeFor[BackupRequest]()).sends(BackupTrailer, "The backup. The trailer says as JSON what it holds.", mediaBytes),
	)
}

// backup streams a backup of one moment; memory does not grow with it.
func (s *Server) backup(w http.ResponseWriter, r *http.Request, _ *none) {
	var q BackupRequest
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := decode(r, &q); err != nil {
		fail(w, err)
		return
	}
	sendWith(w, r, BackupTrailer, func(w io.Writer) (any, error) {
		return s.node.Backup(r.Context(), w, node.BackupRequest{Recipients: q.Recipients, WithoutOpKey: q.WithoutOpKey})
	})
}
