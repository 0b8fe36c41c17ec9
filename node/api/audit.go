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
		err = s.node.Acting(node.CallerOf(r.Context()), func() error { v, err = fn(r); return err })
		return v, err
	}
}

func (s *Server) auditRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/audit":            s.auditShow,
		"POST /v1/audit/verify":    s.auditVerify,
		"GET /v1/audit/checkpoint": s.auditCheckpoint,
		"GET /v1/audit/cosigned":   s.auditCosigned,
		"POST /v1/audit/cosigned":  s.auditCompare,
		"GET /v1/audit/proof/{n}":  s.auditProve,
		"POST /v1/audit/erase":     s.auditErase,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
	s.mux.HandleFunc("GET /v1/audit/export", s.auditExport)
	s.mux.HandleFunc("GET /v1/audit/report", s.auditReport)
	s.mux.HandleFunc("GET /v1/audit/register", s.auditRegister)
}

func logOf(r *http.Request) (*audit.ID, error) {
	text := r.URL.Query().Get("log")
	if text == "" {
		return nil, nil
	}
	id := new(audit.ID)
	return id, id.UnmarshalText([]byte(text))
}

// span reads from and to.
func span(r *http.Request) (from, to time.Time, err error) {
	if from, err = since(r.URL.Query().Get("from")); err == nil {
		to, err = since(r.URL.Query().Get("to"))
	}
	return from, to, err
}

func (s *Server) auditShow(r *http.Request) (any, error) {
	v := r.URL.Query()
	q := node.AuditQuery{Kind: v.Get("kind"), Person: v.Get("person")}
	var err error
	if q.From, q.To, err = span(r); err != nil {
		return nil, err
	}
	if text := v.Get("org"); text != "" {
		if q.Org, err = s.node.FindOrg(text); err != nil {
			return nil, err
		}
	}
	if text := v.Get("agreement"); text != "" {
		if q.Agreement, err = s.node.FindAgreement(text); err != nil {
			return nil, err
		}
	}
	if text := v.Get("record"); text != "" { // also of one that is not held any more
		if q.Record, err = protocol.ParseRecordID(text); err != nil {
			return nil, err
		}
	}
	if q.Log, err = logOf(r); err != nil {
		return nil, err
	}
	limit, err := number(v.Get("limit"))
	if err != nil {
		return nil, err
	}
	q.Limit = int(min(limit, node.MaxLimit))
	return s.node.Audit(r.Context(), q)
}

// auditVerify takes {since: [checkpoint]} and answers with what was found of each log.
func (s *Server) auditVerify(r *http.Request) (any, error) {
	var q struct {
		Since []string `json:"since"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	var list [][]byte
	for _, c := range q.Since {
		list = append(list, []byte(c))
	}
	return s.node.VerifyAudit(list)
}

func (s *Server) auditCosigned(*http.Request) (any, error) { return s.node.Cosigned() }

// Compared is what came of holding a checkpoint against the one that was cosigned here.
type Compared struct {
	*node.CosignedLog
	OneLength bool `json:"one_length"` // only then the two can be compared by themselves
	Differs   bool `json:"differs"`
}

// auditCompare takes {checkpoint} of another node's log, as another cosigner has it.
func (s *Server) auditCompare(r *http.Request) (any, error) {
	var q struct {
		Checkpoint string `json:"checkpoint"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	log, told, forked, err := s.node.CompareCosigned([]byte(q.Checkpoint))
	if err != nil {
		return nil, err
	}
	return Compared{log, told, forked}, nil
}

// Checkpoint is a signed checkpoint.
type Checkpoint struct {
	Log        audit.ID `json:"log"`
	Entries    uint64   `json:"entries"`
	Checkpoint string   `json:"checkpoint"`
}

func (s *Server) auditCheckpoint(*http.Request) (any, error) {
	c, err := s.node.AuditCheckpoint()
	if err != nil {
		return nil, err
	}
	return Checkpoint{Log: c.Log, Entries: c.Size, Checkpoint: string(c.Note)}, nil
}

func (s *Server) auditProve(r *http.Request) (any, error) {
	n, err := strconv.ParseUint(r.PathValue("n"), 10, 48)
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%q is not the number of an entry", r.PathValue("n"))
	}
	log, err := logOf(r)
	if err != nil {
		return nil, err
	}
	return s.node.ProveAudit(log, n)
}

// auditErase takes {entries, before, authority, reason}.
func (s *Server) auditErase(r *http.Request) (any, error) {
	var q struct {
		Entries   []uint64 `json:"entries"`
		Before    string   `json:"before"`
		Authority string   `json:"authority"`
		Reason    string   `json:"reason"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	before, err := since(q.Before)
	if err != nil {
		return nil, err
	}
	return s.node.EraseAudit(r.Context(), node.AuditErasure{Entries: q.Entries, Before: before, Authority: q.Authority, Reason: q.Reason})
}

// AuditTrailer is the HTTP trailer in which an export of the audit log says how many entries it
// holds. A file that came without it is not whole; it says so itself, too.
const AuditTrailer = "Entente-Entries"

func (s *Server) auditExport(w http.ResponseWriter, r *http.Request) {
	log, err := logOf(r)
	if err != nil {
		fail(w, err)
		return
	}
	sendWith(w, r, AuditTrailer, func(w io.Writer) (any, error) {
		return s.node.ExportAudit(r.Context(), w, log, r.URL.Query().Get("details") != "")
	})
}

// auditRegister answers with the register of processing.
func (s *Server) auditRegister(w http.ResponseWriter, r *http.Request) {
	from, to, err := span(r)
	if err != nil {
		fail(w, err)
		return
	}
	if to.IsZero() {
		to = time.Now()
	}
	format := r.URL.Query().Get("format")
	if format == "" {
		format = "json"
	}
	media := map[string]string{"json": "application/json", "csv": "text/csv; charset=utf-8"}[format]
	if media == "" {
		fail(w, protocol.Errorf(protocol.ErrMalformed, "format %q is not known; use json or csv", format))
		return
	}
	reg, err := s.node.Register(r.Context(), from, to)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", media)
	if err := reg.Write(w, format); err != nil {
		panic(http.ErrAbortHandler) // the status is gone already
	}
}

func (s *Server) auditReport(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	var q node.ReportQuery
	var err error
	if q.Org, err = s.node.FindOrg(v.Get("org")); err != nil {
		fail(w, err)
		return
	}
	if text := v.Get("agreement"); text != "" {
		if q.Agreement, err = s.node.FindAgreement(text); err != nil {
			fail(w, err)
			return
		}
	}
	if q.From, q.To, err = span(r); err != nil {
		fail(w, err)
		return
	}
	if q.To.IsZero() {
		q.To = time.Now()
	}
	format := v.Get("format")
	media := map[string]string{"": "application/json", "json": "application/json", "csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8"}[format]
	if media == "" {
		fail(w, protocol.Errorf(protocol.ErrMalformed, "format %q is not known", format))
		return
	}
	if format == "" {
		format = "json"
	}
	rep, err := s.node.Report(r.Context(), q)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", media)
	if err := rep.Write(w, format); err != nil {
		panic(http.ErrAbortHandler) // the status is gone already
	}
}
