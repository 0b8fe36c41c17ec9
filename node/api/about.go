package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// What is held about a value, requests to erase, and legal holds. All of it needs the right to administer,
// and of records only those are there that the caller may read.
func (s *Server) aboutRoutes() {
	s.declare("erasure",
		answers("GET /v1/about", "About", rules.Protect, "Lists what is held about a value, wherever it stands.", s.about),
		takes("POST /v1/about/erase", "AboutErase", rules.Protect, "Erases what is held about a value, and asks others to.", s.aboutErase),
		answers("GET /v1/erasures/requests", "ErasureRequests", rules.Protect, "Lists requests to erase that were made to this organisation.", s.erasureRequests),
		answers("GET /v1/erasures/asked", "ErasuresAsked", rules.Protect, "Lists requests to erase that this organisation made.", s.erasuresAsked),
		takes("POST /v1/erasures/ask", "ErasureAsk", rules.Protect, "Asks organisations to erase records.", s.erasureAsk),
		takes("POST /v1/erasures/{id}/answer", "ErasureAnswer", rules.Protect, "Answers a request to erase.", s.erasureAnswer).path("id", "The id of a request to erase."),
		answers("GET /v1/holds", "Holds", rules.Protect, "Lists legal holds.", s.holds),
		takes("POST /v1/holds", "HoldAdd", rules.Protect, "Sets a legal hold of a record, a value or an organisation.", s.holdAdd).as(HoldAdd{Value: "c2.example.net", Authority: "District court", Reason: "case 17"}),
		takes("POST /v1/holds/{id}/release", "HoldRelease", rules.Protect, "Releases a legal hold.", s.holdRelease).path("id", "The id of a legal hold."),
		answers("GET /v1/holds/kept", "HoldKept", rules.Protect, "Shows what would have been erased, and is under a legal hold.", s.holdKept),
	)
}

func (s *Server) erasureRequests(*http.Request, *none) ([]node.ErasureAsk, error) {
	return s.node.ErasureRequests()
}

func (s *Server) erasuresAsked(*http.Request, *none) ([]node.ErasureAsk, error) {
	return s.node.ErasuresAsked()
}

// HoldsQuery says which legal holds to list.
type HoldsQuery struct {
	All bool `query:"all" doc:"also those that ended"`
}

func (s *Server) holds(_ *http.Request, q *HoldsQuery) ([]node.HoldInfo, error) {
	return s.node.Holds(q.All)
}

// AboutQuery names a value.
type AboutQuery struct {
	Value string `query:"value" required:"true" doc:"a value in any notation"`
	Exact bool   `query:"exact" doc:"only what the index finds"`
	Limit uint64 `query:"limit" doc:"at most as many records; 0: 100; never more than 10000"`
}

func (s *Server) about(r *http.Request, q *AboutQuery) (*node.About, error) {
	return s.reader(r).About(r.Context(), node.AboutQuery{Value: q.Value, Exact: q.Exact, Limit: int(min(q.Limit, node.MaxLimit))})
}

// AboutErase erases what is held about a value.
type AboutErase struct {
	Value  string `json:"value" required:"true"`
	Exact  bool   `json:"exact,omitempty"` // only what the index finds
	Reason string `json:"reason" required:"true" enum:"request,legal,error"`
	DryRun bool   `json:"dry_run,omitempty"`
	Ask    bool   `json:"ask,omitempty"` // ask the recipients, originators and publishers as well
	Due    string `json:"due,omitempty"` // as ErasureAsk has it
	Onward bool   `json:"onward,omitempty"`
	Text   string `json:"text,omitempty"`
}

func (s *Server) aboutErase(r *http.Request, q *AboutErase) (*node.ErasedAbout, error) {
	reason, err := protocol.ParseEraseReason(q.Reason)
	if err != nil {
		return nil, err
	}
	due, err := later("due", q.Due)
	if err != nil {
		return nil, err
	}
	return s.reader(r).EraseAbout(r.Context(), node.EraseAbout{Value: q.Value, Exact: q.Exact, Reason: reason, DryRun: q.DryRun, Ask: q.Ask, Due: due, Onward: q.Onward, Text: q.Text})
}

// ErasureAsk asks organisations to erase records.
type ErasureAsk struct {
	IDs    []string `json:"ids"`                     // of records; whole ids where they are not held any more
	Orgs   []string `json:"organisations,omitempty"` // none: who got them from here, their originators and publishers
	Reason string   `json:"reason" required:"true" enum:"request,legal,error"`
	Due    string   `json:"due" required:"true"` // 30d, a date, or RFC 3339
	Onward bool     `json:"onward,omitempty"`
	Text   string   `json:"text,omitempty"`
}

func (s *Server) erasureAsk(r *http.Request, q *ErasureAsk) ([]node.ErasureAsk, error) {
	reason, err := protocol.ParseEraseReason(q.Reason)
	if err != nil {
		return nil, err
	}
	due, err := later("due", q.Due)
	if err != nil {
		return nil, err
	}
	orgs, err := s.findOrgs(q.Orgs)
	if err != nil {
		return nil, err
	}
	var ids []protocol.RecordID
	for _, text := range q.IDs {
		found, err := s.find(r, []string{text})
		if id, perr := protocol.ParseRecordID(text); errors.Is(err, node.ErrNotFound) && perr == nil && len(orgs) > 0 { // erased here before, perhaps
			ids = append(ids, id)
			continue
		}
		if errors.Is(err, node.ErrNotFound) {
			err = fmt.Errorf("%w; if it was erased here, say with --org whom to ask", err)
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, idsOf(found)...)
	}
	if len(ids) == 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "name the records that are to be erased")
	}
	return s.node.AskErasure(r.Context(), node.AskRequest{Records: ids, Orgs: orgs, Reason: reason, Text: q.Text, Due: due, Onward: q.Onward})
}

// later reads a time to come: 30d, 36h, 2026-01-31, RFC 3339.
func later(what, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if days, ok := cutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 36500 {
			return time.Now().AddDate(0, 0, n), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return time.Time{}, protocol.Errorf(protocol.ErrMalformed, "%s: %q is not a time to come; use 30d, 36h, 2026-01-31 or 2026-01-31T09:30:00Z", what, text)
	}
	return time.Now().Add(d), nil
}

// ErasureAnswer answers a request to erase.
type ErasureAnswer struct {
	Erase   bool     `json:"erase,omitempty"`    // what of it is held, but for Except
	Except  []string `json:"except,omitempty"`   // records that are kept, on the basis that Text names
	NotHeld bool     `json:"not_held,omitempty"` // refused if something is held
	Exports string   `json:"exports" required:"true" enum:"none,erased,remain"`
	Text    string   `json:"text,omitempty"`
}

func (s *Server) erasureAnswer(r *http.Request, q *ErasureAnswer) (*node.ErasureAsk, error) {
	exports, err := protocol.ParseErasureExports(q.Exports)
	if err != nil {
		return nil, err
	}
	a := node.AnswerRequest{ID: r.PathValue("id"), Erase: q.Erase, NotHeld: q.NotHeld, Exports: exports, Text: q.Text}
	for _, text := range q.Except {
		id, err := protocol.ParseRecordID(text)
		if err != nil {
			return nil, err
		}
		a.Except = append(a.Except, id)
	}
	return s.node.AnswerErasure(r.Context(), a)
}

// HoldAdd sets a legal hold of one of a record, a value and an organisation.
type HoldAdd struct {
	Record    string `json:"record,omitempty"`
	Value     string `json:"value,omitempty"`
	From      string `json:"from,omitempty"`
	Authority string `json:"authority" required:"true"`
	Reason    string `json:"reason" required:"true"`
	Until     string `json:"until,omitempty"` // 90d, a date, or RFC 3339
}

func (s *Server) holdAdd(r *http.Request, q *HoldAdd) (*node.HoldInfo, error) {
	h := node.HoldRequest{Value: q.Value, Authority: q.Authority, Reason: q.Reason}
	var err error
	if h.Until, err = later("until", q.Until); err != nil {
		return nil, err
	}
	if q.Record != "" {
		found, err := s.find(r, []string{q.Record})
		if err != nil {
			return nil, err
		}
		if len(found) > 1 {
			return nil, protocol.Errorf(protocol.ErrMalformed, "%d versions have this id; hold them one by one, or by --value", len(found))
		}
		h.Record = found[0].ID
	}
	if q.From != "" {
		if h.From, err = s.node.FindOrg(q.From); err != nil {
			return nil, err
		}
	}
	return s.node.AddHold(r.Context(), h)
}

// HoldRelease releases a legal hold.
type HoldRelease struct {
	Reason string `json:"reason" required:"true"`
}

func (s *Server) holdRelease(r *http.Request, q *HoldRelease) (*node.HoldInfo, error) {
	return s.node.ReleaseHold(r.Context(), r.PathValue("id"), q.Reason)
}

// HoldKeptQuery names a legal hold.
type HoldKeptQuery struct {
	Hold string `query:"hold" doc:"only under this one"`
}

func (s *Server) holdKept(r *http.Request, q *HoldKeptQuery) ([]node.KeptRecord, error) {
	list, err := s.reader(r).Kept(q.Hold)
	if err == nil {
		d := node.Disclosure{Act: "show what is under a legal hold", Query: q.Hold}
		for i := range list {
			d.Records = append(d.Records, list[i].ID)
		}
		err = s.node.Disclose(r.Context(), d)
	}
	if err != nil {
		return nil, err
	}
	return list, nil
}
