package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/source"
	"github.com/entente-mesh/entente/protocol"
)

// Where the node fetches what it publishes, and what of that was set aside. All of it needs the right to
// administer; of dead letters only those are there whose handling lets the caller read them.
func (s *Server) sourceRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/sources":                s.sources,
		"POST /v1/sources":               s.sourceAdd,
		"GET /v1/sources/{name}":         s.source,
		"DELETE /v1/sources/{name}":      s.sourceRemove,
		"POST /v1/sources/{name}/run":    s.sourceRun,
		"POST /v1/sources/{name}/pause":  s.sourcePause(true),
		"POST /v1/sources/{name}/resume": s.sourcePause(false),
		"GET /v1/deadletters":            s.deadLetters,
		"GET /v1/deadletters/{id}":       s.deadLetter,
		"POST /v1/deadletters/retry":     s.deadRetry,
		"POST /v1/deadletters/drop":      s.deadDrop,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// SourceHandling is the default handling of a source, in the words of 'publish'.
type SourceHandling struct {
	TLP       string   `json:"tlp,omitempty"`
	PAP       string   `json:"pap,omitempty"`
	Personal  string   `json:"personal,omitempty"`
	Country   []string `json:"country,omitempty"`
	Purpose   []string `json:"purpose,omitempty"`
	Retention int      `json:"retention_days,omitempty"`
	To        []string `json:"to,omitempty"`
	Exclude   []string `json:"exclude,omitempty"`
	Onward    []string `json:"onward,omitempty"`
	OnwardTLP string   `json:"onward_tlp,omitempty"`
	Origin    string   `json:"origin,omitempty"`
}

// query returns the handling as the parameters of a publication.
func (h *SourceHandling) query() url.Values {
	q := url.Values{"country": h.Country, "purpose": h.Purpose, "to": h.To, "exclude": h.Exclude, "onward": h.Onward}
	for k, v := range map[string]string{"tlp": h.TLP, "pap": h.PAP, "personal": h.Personal, "onward_tlp": h.OnwardTLP, "origin": h.Origin} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if h.Retention > 0 {
		q.Set("retention", strconv.Itoa(h.Retention))
	}
	return q
}

// SourceAdd is a source to add.
type SourceAdd struct {
	Name            string               `json:"name"`
	Kind            string               `json:"kind"`                 // folder, url, taxii or misp
	Where           string               `json:"where"`                // a folder's whole path, or a URL
	Collection      string               `json:"collection,omitempty"` // of a TAXII server
	Schedule        string               `json:"schedule,omitempty"`   // absent: every hour, a folder every minute
	Topic           string               `json:"topic"`
	Handling        SourceHandling       `json:"handling"`
	Format          string               `json:"format,omitempty"`
	Labels          string               `json:"labels,omitempty"` // CSV: value, country, tlp
	Assessment      node.AssessmentCodes `json:"assessment,omitzero"`
	Principal       string               `json:"principal,omitempty"` // as whom it publishes; absent: as itself
	MaxRecords      uint32               `json:"max_records,omitempty"`
	MaxBytes        uint64               `json:"max_bytes,omitempty"`
	Private         bool                 `json:"private_addresses,omitempty"`
	WithdrawMissing bool                 `json:"withdraw_missing,omitempty"`
	MoveDone        bool                 `json:"move_done,omitempty"`
	Paused          bool                 `json:"paused,omitempty"`
	User            string               `json:"user,omitempty"`
	Password        string               `json:"password,omitempty"`
	Token           string               `json:"token,omitempty"`
	CA              string               `json:"ca,omitempty"` // PEM
}

// SourceView is a source and how far it has come.
type SourceView struct {
	node.Source
	State node.SourceState `json:"state"`
}

func (s *Server) sourceView(src *node.Source) (*SourceView, error) {
	st, err := s.node.SourceState(src.Name)
	if err != nil {
		return nil, err
	}
	return &SourceView{*src, *st}, nil
}

func (s *Server) sources(*http.Request) (any, error) {
	list, err := s.node.Sources()
	out := []SourceView{}
	for i := range list {
		v, verr := s.sourceView(&list[i])
		if verr != nil {
			return nil, verr
		}
		out = append(out, *v)
	}
	return out, err
}

func (s *Server) source(r *http.Request) (any, error) {
	src, err := s.node.Source(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return s.sourceView(src)
}

func (s *Server) sourceAdd(r *http.Request) (any, error) {
	var q SourceAdd
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	flags, err := s.flags(&http.Request{URL: &url.URL{RawQuery: q.Handling.query().Encode()}})
	if err != nil {
		return nil, err
	}
	format, err := intake.ParseFormat(q.Format)
	if err != nil {
		return nil, err
	}
	src := node.Source{Name: q.Name, Kind: node.SourceKind(q.Kind), Where: q.Where, Collection: q.Collection, Schedule: q.Schedule, Topic: q.Topic, Flags: flags, Format: format,
		Labels: []byte(q.Labels), Assessment: q.Assessment, Principal: q.Principal, MaxRecords: q.MaxRecords, MaxBytes: q.MaxBytes, Private: q.Private,
		WithdrawMissing: q.WithdrawMissing, MoveDone: q.MoveDone, Paused: q.Paused, Secret: node.SourceSecret{User: q.User, Password: q.Password, Token: q.Token}, CA: []byte(q.CA)}
	if src.Schedule == "" {
		if src.Schedule = "every 1h"; src.Kind == node.SourceFolder {
			src.Schedule = "every 1m"
		}
	}
	if src.MaxRecords == 0 {
		src.MaxRecords = node.DefSourceRecords
	}
	if src.MaxBytes == 0 {
		src.MaxBytes = node.DefSourceBytes
	}
	if err := source.Check(&src); err != nil {
		return nil, err
	}
	if err := s.node.SetSource(r.Context(), src); err != nil {
		return nil, err
	}
	return s.source(withName(r, src.Name))
}

// withName is a request about something else.
func withName(r *http.Request, name string) *http.Request {
	r = r.Clone(r.Context())
	r.SetPathValue("name", name)
	return r
}

// SourceName names a source.
type SourceName struct {
	Source string `json:"source"`
}

func (s *Server) sourceRemove(r *http.Request) (any, error) {
	name := r.PathValue("name")
	return SourceName{name}, s.node.RemoveSource(r.Context(), name, r.URL.Query().Get("drop") != "")
}

func (s *Server) sourcePause(paused bool) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		name := r.PathValue("name")
		return SourceName{name}, s.node.PauseSource(r.Context(), name, paused)
	}
}

// SourceRun asks to run a source.
type SourceRun struct {
	AcceptMissing bool `json:"accept_missing,omitempty"` // withdraw what is gone, even if it is more than half
}

func (s *Server) sourceRun(r *http.Request) (any, error) {
	var q SourceRun
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	name, text := r.PathValue("name"), ""
	if _, err := s.node.Source(name); err != nil {
		return nil, err
	}
	if q.AcceptMissing {
		text = "what is gone is withdrawn, whatever it is"
	}
	if err := s.node.NoteSource(r.Context(), "run source", name, text); err != nil {
		return nil, err
	}
	return source.Run(r.Context(), s.node, name, source.Options{AcceptMissing: q.AcceptMissing})
}

func (s *Server) deadLetters(r *http.Request) (any, error) {
	q := r.URL.Query()
	list, err := s.reader(r).DeadLetters(q.Get("source"), q.Get("held") != "")
	if err == nil && len(list) > 0 {
		err = s.node.Disclose(r.Context(), node.Disclosure{Act: "look at dead letters", Query: q.Get("source")})
	}
	return list, err
}

func (s *Server) deadLetter(r *http.Request) (any, error) {
	l, err := s.reader(r).DeadLetter(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return l, s.node.Disclose(r.Context(), node.Disclosure{Act: "look at dead letters", Query: l.ID})
}

// DeadPick picks dead letters: by their ids, or all of a source, or all.
type DeadPick struct {
	IDs    []string `json:"ids,omitempty"`
	Source string   `json:"source,omitempty"`
	All    bool     `json:"all,omitempty"`
}

// DeadResult is what became of dead letters.
type DeadResult struct {
	Letters int             `json:"letters"`
	Reports []source.Report `json:"reports,omitempty"` // of those tried again
	Failed  []string        `json:"failed,omitempty"`  // and why
	Waiting int             `json:"waiting"`           // that are left, or were made anew
}

func (s *Server) pick(r *http.Request) (list []node.DeadLetter, q DeadPick, err error) {
	if err = decode(r, &q); err != nil {
		return nil, q, err
	}
	if q.All == (len(q.IDs) > 0) {
		return nil, q, protocol.Errorf(protocol.ErrMalformed, "name dead letters, or ask for all of them")
	}
	reader := s.reader(r)
	if q.All {
		list, err = reader.DeadLetters(q.Source, false)
		return list, q, err
	}
	for _, id := range q.IDs {
		l, err := reader.DeadLetter(id)
		if err != nil {
			return nil, q, err
		}
		if l.Gone != nil {
			return nil, q, protocol.Errorf(protocol.ErrMalformed, "%s is only kept under a legal hold (%s)", l.ID, strings.Join(l.Held, ", "))
		}
		list = append(list, *l)
	}
	return list, q, nil
}

func (s *Server) deadRetry(r *http.Request) (any, error) {
	list, _, err := s.pick(r)
	if err != nil {
		return nil, err
	}
	out := DeadResult{Letters: len(list)}
	for i := range list {
		if err := s.node.NoteSource(r.Context(), "try dead letter again", list[i].Source, list[i].ID); err != nil {
			return nil, err
		}
		rep, err := source.Retry(r.Context(), s.node, &list[i])
		if err != nil {
			out.Failed = append(out.Failed, list[i].ID+": "+err.Error())
			continue
		}
		out.Reports = append(out.Reports, *rep)
	}
	return s.waiting(r, &out)
}

func (s *Server) deadDrop(r *http.Request) (any, error) {
	list, _, err := s.pick(r)
	if err != nil {
		return nil, err
	}
	if err := s.node.DropDead(r.Context(), list); err != nil {
		return nil, err
	}
	return s.waiting(r, &DeadResult{Letters: len(list)})
}

// waiting counts what waits now of what the caller may read.
func (s *Server) waiting(r *http.Request, out *DeadResult) (any, error) {
	left, err := s.reader(r).DeadLetters("", false)
	out.Waiting = len(left)
	return out, err
}
