package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/outputs"
	"github.com/entente-mesh/entente/node/outputs/format"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// OutputTrailer is the HTTP trailer in which a list says how many values it has.
const OutputTrailer = "Entente-Values"

func (s *Server) outputRoutes() {
	e := outputs.New(s.node, false)
	s.declare("outputs",
		serves("GET /v1/outputs/{format}", "Output", perRecord, "Writes the values of a view that may go to a machine, scored and aged, less what is on a warninglist.",
			func(w http.ResponseWriter, r *http.Request, q *OutputQuery) { s.output(e, w, r, q) }).path("format", "list, csv, jsonl, rpz, suricata, nftables, md5, sha1 or sha256.").
			sends(OutputTrailer, "The list. The trailer says how many values it has.", outputMedia()...),
		answers("GET /v1/outputs/explain", "OutputExplain", perRecord, "Says why a value is on the lists for machines, or is not.",
			func(r *http.Request, q *OutputExplainQuery) (*outputs.Explanation, error) {
				return s.outputExplain(e, r, q)
			}),
		answers("GET /v1/warninglists", "Warninglists", rules.Administer, "Lists the warninglists: values that are never put out to machines.", s.warninglists),
		serves("POST /v1/warninglists", "WarninglistAdd", rules.Administer, "Keeps a warninglist, in the place of one of the same name.", s.warninglistAdd).
			reads(mediaBytes, "A list in MISP's format (list.json).").replies(reflect.TypeFor[node.Warninglist]()),
		answers("DELETE /v1/warninglists/{name}", "WarninglistRemove", rules.Administer, "Forgets a warninglist.", s.warninglistRemove).path("name", "The name of a warninglist.").acting(),
		takes("POST /v1/warninglists/protected", "WarninglistProtect", rules.Administer, "Says which names and networks are never put out: this organisation's own.", s.warninglistProtect).acting(),
	)
}

// outputMedia are the media types of the lists, by their formats.
func outputMedia() (list []string) {
	for _, f := range format.Formats() {
		if m := format.Format(f).MediaType(); !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// OutputQuery says of which records a list for machines is made.
type OutputQuery struct {
	View     string `query:"view" doc:"the name of a view"`
	Topic    string `query:"topic" doc:"a topic, instead of a view"`
	MinScore uint64 `query:"min_score" default:"30" doc:"the least score, 1 to 100"`
}

// OutputExplainQuery names a value.
type OutputExplainQuery struct {
	OutputQuery
	Value string `query:"value" required:"true" doc:"an address, a domain, a URL, a hash"`
}

// outputQuery reads a format, and what the values are of.
func (s *Server) outputQuery(name string, args *OutputQuery) (q outputs.Query, err error) {
	q = outputs.Query{Format: format.Format(name), Least: int(min(args.MinScore, 1000))}
	switch {
	case args.View != "" && args.Topic != "":
		err = protocol.Errorf(protocol.ErrMalformed, "give a view or a topic")
	case args.View != "":
		q.View, err = s.node.View(args.View)
	case args.Topic != "":
		q.View = node.TopicView(args.Topic)
	}
	return q, err
}

func (s *Server) output(e *outputs.Engine, w http.ResponseWriter, r *http.Request, args *OutputQuery) {
	q, err := s.outputQuery(r.PathValue("format"), args)
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		fail(w, err)
		return
	}
	l, err := e.Open(r.Context(), s.reader(r), q, time.Now())
	if err != nil {
		fail(w, err)
		return
	}
	defer l.Close()
	asked, _ := url.QueryUnescape(r.URL.RawQuery)
	end, err := s.node.HandOut(r.Context(), fmt.Sprintf("%s %s", q.Format, asked))
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Trailer", OutputTrailer)
	w.Header().Set("Content-Type", q.Format.MediaType())
	_, err = l.WriteTo(w)
	if err := errors.Join(err, end(l.Cursor, l.Values)); err != nil {
		panic(http.ErrAbortHandler) // the status is gone already: half a list must not look whole
	}
	w.Header().Set(OutputTrailer, strconv.FormatUint(l.Values, 10))
}

func (s *Server) outputExplain(e *outputs.Engine, r *http.Request, args *OutputExplainQuery) (*outputs.Explanation, error) {
	q, err := s.outputQuery("", &args.OutputQuery)
	if err != nil {
		return nil, err
	}
	value := args.Value
	x, err := e.Explain(r.Context(), s.reader(r), q.View, value, q.Least, time.Now())
	if err != nil {
		return nil, err
	}
	var ids []protocol.RecordID
	for i := range x.Reports {
		ids = append(ids, x.Reports[i].Record)
	}
	return x, s.node.Disclose(r.Context(), node.Disclosure{Act: "explain an output", Query: value, Records: ids})
}

func (s *Server) warninglistRemove(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.RemoveWarninglist(r.PathValue("name"))
}

func (s *Server) warninglists(*http.Request, *none) ([]node.Warninglist, error) {
	list, _, err := s.node.Warninglists()
	return list, err
}

// warninglistAdd takes a list in MISP's format as it is.
func (s *Server) warninglistAdd(w http.ResponseWriter, r *http.Request, _ *none) {
	r.Body = http.MaxBytesReader(w, r.Body, warninglist.MaxFile)
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, protocol.Errorf(protocol.ErrOversize, "a warninglist has at most %d bytes", warninglist.MaxFile))
		return
	}
	l, err := warninglist.Parse(raw)
	if err == nil {
		err = s.node.Acting(node.CallerOf(r.Context()), func() error { return s.node.SetWarninglist(l) })
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, node.Warninglist{Name: l.Name, Type: l.Type, Version: l.Version, Entries: len(l.Entries), Matching: l.Matching, Set: time.Now().UTC()})
}

// Protected are names and networks that are never put out: this organisation's own.
type Protected struct {
	Values []string `json:"values"`
}

func (s *Server) warninglistProtect(_ *http.Request, q *Protected) (*Protected, error) {
	return q, s.node.Protect(q.Values)
}
