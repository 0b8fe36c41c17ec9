package api

import (
	"net/http"
	"strings"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/intake"
	"github.com/entente-mesh/entente/node/source"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Where the node fetches what it publishes, and what of that was set aside. All of it needs the right to
// administer; of dead letters only those are there whose handling lets the caller read them.
func (s *Server) sourceRoutes() {
	s.declare("sources",
		answers("GET /v1/sources", "Sources", rules.Administer, "Lists the sources, and how far each came.", s.sources),
		takes("POST /v1/sources", "SourceAdd", rules.Administer, "Has a folder, a URL, a TAXII collection or a MISP feed fetched and published.", s.sourceAdd),
		answers("GET /v1/sources/{name}", "Source", rules.Administer, "Shows a source.", s.source).path("name", sourceName),
		answers("DELETE /v1/sources/{name}", "SourceRemove", rules.Administer, "Ends a source; what it published stays.", s.sourceRemove).path("name", sourceName),
		takes("POST /v1/sources/{name}/run", "SourceRun", rules.Administer, "Runs a source now.", s.sourceRun).path("name", sourceName),
		answers("POST /v1/sources/{name}/pause", "SourcePause", rules.Administer, "Pauses a source.", s.sourcePause(true)).path("name", sourceName),
		answers("POST /v1/sources/{name}/resume", "SourceResume", rules.Administer, "Lets a source go on.", s.sourcePause(false)).path("name", sourceName),
		takes("POST /v1/sources/{name}/own", "SourceOwn", rules.Administer, "Has one of the people answer for a source.", s.sourceOwn).path("name", sourceName),
		answers("GET /v1/deadletters", "DeadLetters", rules.Letters, "Lists what sources fetched and could not publish, and why.", s.deadLetters),
		answers("GET /v1/deadletters/{id}", "DeadLetter", rules.Letters, "Shows a dead letter.", s.deadLetter).path("id", "The id of a dead letter."),
		takes("POST /v1/deadletters/retry", "DeadRetry", rules.Letters, "Tries dead letters again.", s.deadRetry),
		takes("POST /v1/deadletters/drop", "DeadDrop", rules.Letters, "Forgets dead letters.", s.deadDrop),
	)
}

const sourceName = "The name of a source."

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
func (h *SourceHandling) query() *PublishQuery {
	return &PublishQuery{TLP: h.TLP, PAP: h.PAP, Personal: h.Personal, Countries: h.Country, Purposes: h.Purpose, Retention: uint64(max(h.Retention, 0)), To: h.To, Exclude: h.Exclude,
		Onward: h.Onward, OnwardTLP: h.OnwardTLP, Origin: h.Origin}
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
	CA              string               `json:"ca,omitempty"`      // PEM
	Replace         bool                 `json:"replace,omitempty"` // one of the same name, which keeps what it gave; all settings are given anew
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

func (s *Server) sources(*http.Request, *none) ([]SourceView, error) {
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

func (s *Server) source(r *http.Request, _ *none) (*SourceView, error) {
	src, err := s.node.Source(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return s.sourceView(src)
}

func (s *Server) sourceAdd(r *http.Request, q *SourceAdd) (*SourceView, error) {
	flags, err := s.flags(q.Handling.query())
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
	set := s.node.SetSource
	if q.Replace {
		set = s.node.ReplaceSource
	}
	if err := set(r.Context(), src); err != nil {
		return nil, err
	}
	added, err := s.node.Source(src.Name)
	if err != nil {
		return nil, err
	}
	return s.sourceView(added)
}

// SourceName names a source.
type SourceName struct {
	Source string `json:"source"`
}

// SourceRemoveQuery says what is to become of what could not be published.
type SourceRemoveQuery struct {
	Drop bool `query:"drop" doc:"forget its dead letters, too"`
}

func (s *Server) sourceRemove(r *http.Request, q *SourceRemoveQuery) (*SourceName, error) {
	name := r.PathValue("name")
	return &SourceName{name}, s.node.RemoveSource(r.Context(), name, q.Drop)
}

func (s *Server) sourcePause(paused bool) func(*http.Request, *none) (*SourceName, error) {
	return func(r *http.Request, _ *none) (*SourceName, error) {
		name := r.PathValue("name")
		return &SourceName{name}, s.node.PauseSource(r.Context(), name, paused)
	}
}

func (s *Server) sourceOwn(r *http.Request, q *ConsumerOwn) (*SourceName, error) {
	name := r.PathValue("name")
	return &SourceName{name}, s.node.OwnSource(r.Context(), name, q.Owner)
}

// SourceRun asks to run a source.
type SourceRun struct {
	AcceptMissing bool `json:"accept_missing,omitempty"` // withdraw what is gone, even if it is more than half
}

func (s *Server) sourceRun(r *http.Request, q *SourceRun) (*source.Report, error) {
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

// DeadLettersQuery says which dead letters are listed.
type DeadLettersQuery struct {
	Source string `query:"source" doc:"of one source only"`
	Held   bool   `query:"held" doc:"those that are kept under a legal hold only, too"`
}

func (s *Server) deadLetters(r *http.Request, q *DeadLettersQuery) ([]node.DeadLetter, error) {
	list, err := s.reader(r).DeadLetters(q.Source, q.Held)
	if err == nil && len(list) > 0 {
		err = s.node.Disclose(r.Context(), node.Disclosure{Act: "look at dead letters", Query: q.Source})
	}
	return list, err
}

func (s *Server) deadLetter(r *http.Request, _ *none) (*node.DeadLetter, error) {
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

func (s *Server) pick(r *http.Request, q *DeadPick) (list []node.DeadLetter, err error) {
	if q.All == (len(q.IDs) > 0) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "name dead letters, or ask for all of them")
	}
	reader := s.reader(r)
	if q.All {
		return reader.DeadLetters(q.Source, false)
	}
	for _, id := range q.IDs {
		l, err := reader.DeadLetter(id)
		if err != nil {
			return nil, err
		}
		if l.Gone != nil {
			return nil, protocol.Errorf(protocol.ErrMalformed, "%s is only kept under a legal hold (%s)", l.ID, strings.Join(l.Held, ", "))
		}
		list = append(list, *l)
	}
	return list, nil
}

func (s *Server) deadRetry(r *http.Request, q *DeadPick) (*DeadResult, error) {
	list, err := s.pick(r, q)
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

func (s *Server) deadDrop(r *http.Request, q *DeadPick) (*DeadResult, error) {
	list, err := s.pick(r, q)
	if err != nil {
		return nil, err
	}
	if err := s.node.DropDead(r.Context(), list); err != nil {
		return nil, err
	}
	return s.waiting(r, &DeadResult{Letters: len(list)})
}

// waiting counts what waits now of what the caller may read.
func (s *Server) waiting(r *http.Request, out *DeadResult) (*DeadResult, error) {
	left, err := s.reader(r).DeadLetters("", false)
	out.Waiting = len(left)
	return out, err
}
