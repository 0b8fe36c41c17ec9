package api

import (
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/audit"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// The headers in which a request says on whose behalf it is, and for what. Nobody checks what they
// say: whoever may open the socket is the operator. They go to the audit log.
const (
	PersonHeader  = "Entente-Person"
	PurposeHeader = "Entente-Purpose"
)

// caller reads who a request says that it is for.
func caller(r *http.Request) (c node.Caller, err error) {
	for name, to := range map[string]*string{PersonHeader: &c.Person, PurposeHeader: &c.Purpose} {
		v := r.Header.Get(name)
		if len(v) > audit.MaxName || !utf8.ValidString(v) {
			return c, protocol.Errorf(protocol.ErrOversize, "header %s has at most %d bytes of UTF-8", name, audit.MaxName)
		}
		for _, x := range v {
			if unicode.IsControl(x) {
				return c, protocol.Errorf(protocol.ErrMalformed, "header %s holds control characters", name)
			}
		}
		*to = v
	}
	return c, nil
}

// acting runs a handler that changes trust, agreements, the network or keys on behalf of who it is
// for. What erases and withdraws says so itself.
func (s *Server) acting(fn func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (v any, err error) {
		err = s.node.Acting(node.CallerOf(r.Context()), func() error {
			if err := r.Context().Err(); err != nil { // who asks left while it waited
				return err
			}
			v, err = fn(r)
			return err
		})
		return v, err
	}
}

func (s *Server) auditRoutes() {
	s.declare("audit",
		answers("GET /v1/audit", "Audit", rules.Protect, "Shows entries of the audit log, the newest last.", s.auditShow).note("That they were looked at is an entry itself."),
		takes("POST /v1/audit/verify", "AuditVerify", rules.Verify, "Verifies the audit logs, also against checkpoints that were kept elsewhere.", s.auditVerify),
		answers("GET /v1/audit/checkpoint", "AuditCheckpoint", rules.Verify, "Hands out a signed checkpoint of the audit log.", s.auditCheckpoint),
		answers("GET /v1/audit/cosigned", "AuditCosigned", rules.Verify, "Lists the logs of other nodes that were cosigned here.", s.auditCosigned),
		takes("POST /v1/audit/cosigned", "AuditCompare", rules.Verify, "Holds a checkpoint of another node's log against the one that was cosigned here.", s.auditCompare),
		answers("GET /v1/audit/proof/{n}", "AuditProof", rules.Verify, "Proves that an entry is in the log.", s.auditProve).path("n", "The number of an entry."),
		takes("POST /v1/audit/erase", "AuditErase", rules.Protect, "Erases the details of entries; that they were there stays.", s.auditErase),
		serves("GET /v1/audit/export", "AuditExport", rules.Protect, "Writes the audit log to a file that anybody can verify.", s.auditExport).
			sends(AuditTrailer, "One object a line. The trailer holds how many entries it has.", mediaBytes),
		serves("GET /v1/audit/report", "AuditReport", rules.Protect, "Reports what was shared with an organisation, and what was withheld from it.", s.auditReport).
			sends("", "The report, in the format that was asked for.", mediaJSON, mediaCSV, mediaHTML),
		serves("GET /v1/audit/register", "AuditRegister", rules.Protect, "Writes the register of processing.", s.auditRegister).
			sends("", "The register, in the format that was asked for.", mediaJSON, mediaCSV),
	)
}

// The media types of reports and registers.
const (
	mediaCSV  = "text/csv; charset=utf-8"
	mediaHTML = "text/html; charset=utf-8"
)

func logOf(text string) (*audit.ID, error) {
	if text == "" {
		return nil, nil
	}
	id := new(audit.ID)
	return id, id.UnmarshalText([]byte(text))
}

// span reads from and to.
func span(first, last string) (from, to time.Time, err error) {
	if from, err = since(first); err == nil {
		to, err = since(last)
	}
	return from, to, err
}

// AuditQuery says which entries to show.
type AuditQuery struct {
	Kind      string `query:"kind" doc:"only of this kind: publish, disclose and so on"`
	Person    string `query:"person" doc:"only what was done for this person"`
	From      string `query:"from" doc:"since: 2026-01-31, 2026-01-31T09:30:00Z, 36h or 7d"`
	To        string `query:"to" doc:"until"`
	Org       string `query:"org" doc:"only what concerns this organisation"`
	Agreement string `query:"agreement" doc:"only what was decided under this agreement"`
	Record    string `query:"record" doc:"only what concerns this record, by its whole id"`
	Log       string `query:"log" doc:"an earlier log that is held; without it, the present one"`
	Limit     uint64 `query:"limit" doc:"at most as many"`
}

func (s *Server) auditShow(r *http.Request, v *AuditQuery) ([]node.AuditEntry, error) {
	q := node.AuditQuery{Kind: v.Kind, Person: v.Person, Limit: int(min(v.Limit, node.MaxLimit))}
	var err error
	if q.From, q.To, err = span(v.From, v.To); err != nil {
		return nil, err
	}
	if v.Org != "" {
		if q.Org, err = s.node.FindOrg(v.Org); err != nil {
			return nil, err
		}
	}
	if v.Agreement != "" {
		if q.Agreement, err = s.node.FindAgreement(v.Agreement); err != nil {
			return nil, err
		}
	}
	if v.Record != "" { // also of one that is not held any more
		if q.Record, err = protocol.ParseRecordID(v.Record); err != nil {
			return nil, err
		}
	}
	if q.Log, err = logOf(v.Log); err != nil {
		return nil, err
	}
	return s.node.Audit(r.Context(), q)
}

// AuditVerify holds checkpoints that were kept elsewhere.
type AuditVerify struct {
	Since []string `json:"since,omitempty"`
}

func (s *Server) auditVerify(_ *http.Request, q *AuditVerify) ([]node.AuditCheck, error) {
	var list [][]byte
	for _, c := range q.Since {
		list = append(list, []byte(c))
	}
	return s.node.VerifyAudit(list)
}

func (s *Server) auditCosigned(*http.Request, *none) ([]node.CosignedLog, error) {
	return s.node.Cosigned()
}

// Compared is what came of holding a checkpoint against the one that was cosigned here.
type Compared struct {
	*node.CosignedLog
	OneLength bool `json:"one_length"` // only then the two can be compared by themselves
	Differs   bool `json:"differs"`
}

// AuditCompare holds a checkpoint of another node's log, as another cosigner has it.
type AuditCompare struct {
	Checkpoint string `json:"checkpoint" required:"true"`
}

func (s *Server) auditCompare(_ *http.Request, q *AuditCompare) (*Compared, error) {
	log, told, forked, err := s.node.CompareCosigned([]byte(q.Checkpoint))
	if err != nil {
		return nil, err
	}
	return &Compared{log, told, forked}, nil
}

// Checkpoint is a signed checkpoint.
type Checkpoint struct {
	Log        audit.ID `json:"log"`
	Entries    uint64   `json:"entries"`
	Checkpoint string   `json:"checkpoint"`
}

func (s *Server) auditCheckpoint(*http.Request, *none) (*Checkpoint, error) {
	c, err := s.node.AuditCheckpoint()
	if err != nil {
		return nil, err
	}
	return &Checkpoint{Log: c.Log, Entries: c.Size, Checkpoint: string(c.Note)}, nil
}

// LogQuery names an audit log.
type LogQuery struct {
	Log string `query:"log" doc:"an earlier log that is held; without it, the present one"`
}

func (s *Server) auditProve(r *http.Request, q *LogQuery) (*node.AuditProof, error) {
	n, err := strconv.ParseUint(r.PathValue("n"), 10, 48)
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%q is not the number of an entry", r.PathValue("n"))
	}
	log, err := logOf(q.Log)
	if err != nil {
		return nil, err
	}
	return s.node.ProveAudit(log, n)
}

// AuditErase says of which entries the details are to be erased.
type AuditErase struct {
	Entries   []uint64 `json:"entries,omitempty"`
	Before    string   `json:"before,omitempty"` // of all entries before: 2026-01-31, RFC 3339, 36h, 365d
	Authority string   `json:"authority" required:"true"`
	Reason    string   `json:"reason,omitempty"`
}

func (s *Server) auditErase(r *http.Request, q *AuditErase) (*node.AuditErased, error) {
	before, err := since(q.Before)
	if err != nil {
		return nil, err
	}
	return s.node.EraseAudit(r.Context(), node.AuditErasure{Entries: q.Entries, Before: before, Authority: q.Authority, Reason: q.Reason})
}

// AuditTrailer is the HTTP trailer in which an export of the audit log says how many entries it
// holds. A file that came without it is not whole; it says so itself, too.
const AuditTrailer = "Entente-Entries"

// AuditExportQuery says what to export of the audit log.
type AuditExportQuery struct {
	Log     string `query:"log" doc:"an earlier log that is held; without it, the present one"`
	Details bool   `query:"details" doc:"with the details: such a file holds personal data"`
}

func (s *Server) auditExport(w http.ResponseWriter, r *http.Request, q *AuditExportQuery) {
	log, err := logOf(q.Log)
	if err != nil {
		fail(w, err)
		return
	}
	sendWith(w, r, AuditTrailer, func(w io.Writer) (any, error) {
		return s.node.ExportAudit(r.Context(), w, log, q.Details)
	})
}

// RegisterQuery says of what time the register is to be.
type RegisterQuery struct {
	From   string `query:"from" doc:"first day: 2026-01-31, or 365d ago"`
	To     string `query:"to" doc:"day after the last; without it, now"`
	Format string `query:"format" default:"json" enum:"json,csv"`
}

// auditRegister answers with the register of processing.
func (s *Server) auditRegister(w http.ResponseWriter, r *http.Request, q *RegisterQuery) {
	from, to, err := span(q.From, q.To)
	if err != nil {
		fail(w, err)
		return
	}
	if to.IsZero() {
		to = time.Now()
	}
	reg, err := s.node.Register(r.Context(), from, to)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", map[string]string{"json": mediaJSON, "csv": mediaCSV}[q.Format])
	if err := reg.Write(w, q.Format); err != nil {
		panic(http.ErrAbortHandler) // the status is gone already
	}
}

// ReportQuery says of whom and of what time a report is to be.
type ReportQuery struct {
	Org       string `query:"org" required:"true" doc:"the organisation, by name or id"`
	Agreement string `query:"agreement" doc:"only what was decided under this agreement"`
	From      string `query:"from" doc:"first day: 2026-01-31, or 90d ago"`
	To        string `query:"to" doc:"day after the last; without it, now"`
	Format    string `query:"format" default:"json" enum:"json,csv,html"`
}

func (s *Server) auditReport(w http.ResponseWriter, r *http.Request, v *ReportQuery) {
	var q node.ReportQuery
	var err error
	if q.Org, err = s.node.FindOrg(v.Org); err != nil {
		fail(w, err)
		return
	}
	if v.Agreement != "" {
		if q.Agreement, err = s.node.FindAgreement(v.Agreement); err != nil {
			fail(w, err)
			return
		}
	}
	if q.From, q.To, err = span(v.From, v.To); err != nil {
		fail(w, err)
		return
	}
	if q.To.IsZero() {
		q.To = time.Now()
	}
	rep, err := s.node.Report(r.Context(), q)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", map[string]string{"json": mediaJSON, "csv": mediaCSV, "html": mediaHTML}[v.Format])
	if err := rep.Write(w, v.Format); err != nil {
		panic(http.ErrAbortHandler) // the status is gone already
	}
}
