package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
)

// What is held about a value, requests to erase, and legal holds. All of it needs the right to administer,
// and of records only those are there that the caller may read.
func (s *Server) aboutRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/about":                 s.about,
		"POST /v1/about/erase":          s.aboutErase,
		"GET /v1/erasures/requests":     func(*http.Request) (any, error) { return s.node.ErasureRequests() },
		"GET /v1/erasures/asked":        func(*http.Request) (any, error) { return s.node.ErasuresAsked() },
		"POST /v1/erasures/ask":         s.erasureAsk,
		"POST /v1/erasures/{id}/answer": s.erasureAnswer,
		"GET /v1/holds":                 func(r *http.Request) (any, error) { return s.node.Holds(r.URL.Query().Get("all") != "") },
		"POST /v1/holds":                s.holdAdd,
		"POST /v1/holds/{id}/release":   s.holdRelease,
		"GET /v1/holds/kept":            s.holdKept,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

func (s *Server) about(r *http.Request) (any, error) {
	q := r.URL.Query()
	limit, err := number(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	return s.reader(r).About(r.Context(), node.AboutQuery{Value: q.Get("value"), Exact: q.Get("exact") != "", Limit: int(min(limit, node.MaxLimit))})
}

// AboutErase erases what is held about a value.
type AboutErase struct {
	Value  string `json:"value"`
	Exact  bool   `json:"exact,omitempty"` // only what the index finds
	Reason string `json:"reason"`          // request, legal, error
	DryRun bool   `json:"dry_run,omitempty"`
	Ask    bool   `json:"ask,omitempty"` // ask the recipients, originators and publishers as well
	Due    string `json:"due,omitempty"` // as ErasureAsk has it
	Onward bool   `json:"onward,omitempty"`
	Text   string `json:"text,omitempty"`
}

func (s *Server) aboutErase(r *http.Request) (any, error) {
	var q AboutErase
	if err := decode(r, &q); err != nil {
		return nil, err
	}
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
	Reason string   `json:"reason"`                  // request, legal, error
	Due    string   `json:"due"`                     // 30d, a date, or RFC 3339
	Onward bool     `json:"onward,omitempty"`
	Text   string   `json:"text,omitempty"`
}

func (s *Server) erasureAsk(r *http.Request) (any, error) {
	var q ErasureAsk
	if err := decode(r, &q); err != nil {
		return nil, err
	}
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
	Exports string   `json:"exports"`            // none, erased, remain
	Text    string   `json:"text,omitempty"`
}

func (s *Server) erasureAnswer(r *http.Request) (any, error) {
	var q ErasureAnswer
	if err := decode(r, &q); err != nil {
		return nil, err
	}
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
	Authority string `json:"authority"`
	Reason    string `json:"reason"`
	Until     string `json:"until,omitempty"` // 90d, a date, or RFC 3339
}

func (s *Server) holdAdd(r *http.Request) (any, error) {
	var q HoldAdd
	if err := decode(r, &q); err != nil {
		return nil, err
	}
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
	Reason string `json:"reason"`
}

func (s *Server) holdRelease(r *http.Request) (any, error) {
	var q HoldRelease
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return s.node.ReleaseHold(r.Context(), r.PathValue("id"), q.Reason)
}

func (s *Server) holdKept(r *http.Request) (any, error) {
	hold := r.URL.Query().Get("hold")
	list, err := s.reader(r).Kept(hold)
	if err == nil {
		d := node.Disclosure{Act: "show what is under a legal hold", Query: hold}
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
