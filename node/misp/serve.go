package misp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Bounds on what an instance sends.
const (
	// MaxEvent bounds an event that is pushed.
	MaxEvent = 64 << 20
	// maxQuery bounds the body of a search.
	maxQuery = 8 << 20
)

// Bounds on what is answered.
const (
	// maxBuilding bounds the requests of one consumer that build every event, at once.
	maxBuilding = 2
	// maxRecords bounds the records in an answer to a search: the events are in memory.
	maxRecords = 200_000
)

// server answers MISP instances.
type server struct {
	node *node.Node
	now  func() time.Time
	log  *slog.Logger

	mu      sync.Mutex
	shelves map[string]*shelf // by the name of the view, or topicPrefix and that of the topic
	busy    map[string]int    // requests that build every event, by consumer
	pushing sync.Mutex        // what is pushed is taken one after the other: an edit reads what stands
}

// Mount puts MISP's calls below /misp, and feeds below /misp/feed. log may be nil.
func Mount(s *serve.Server, n *node.Node, log *slog.Logger) error {
	newServer(n, time.Now, log).mount(s)
	return nil
}

func newServer(n *node.Node, now func() time.Time, log *slog.Logger) *server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &server{node: n, now: now, log: log, shelves: map[string]*shelf{}, busy: map[string]int{}}
}

func (s *server) mount(srv *serve.Server) {
	srv.Errors("/misp/", func(w http.ResponseWriter, r *http.Request, status int, text string) { fail(w, r, status, text) })
	for scope, routes := range map[node.Scope]map[string]func(http.ResponseWriter, *http.Request) error{
		node.ScopeRead: {
			"GET /misp/feed/{view}/{file}":                         s.feed,
			"GET /misp/servers/getVersion":                         s.version,
			"GET /misp/servers/getVersion.json":                    s.version,
			"GET /misp/servers/getPyMISPVersion.json":              s.pymisp,
			"POST /misp/servers/postTest":                          s.postTest,
			"GET /misp/servers/getAvailableSyncFilteringRules":     s.rules,
			"GET /misp/users/view/me":                              s.me,
			"GET /misp/users/view/me.json":                         s.me,
			"GET /misp/attributes/describeTypes.json":              s.describeTypes,
			"POST /misp/events/index":                              s.index,
			"GET /misp/events/index":                               s.index,
			"GET /misp/events/view/{id}":                           s.view, // and HEAD
			"GET /misp/events/view/{id}/{rest...}":                 s.view,
			"POST /misp/events/view/{id}":                          s.view,
			"POST /misp/events/restSearch":                         s.searchEvents,
			"POST /misp/events/restSearch/{rest...}":               s.searchEvents,
			"POST /misp/attributes/restSearch":                     s.searchAttributes,
			"POST /misp/attributes/restSearch.json":                s.searchAttributes,
			"POST /misp/attributes/restSearch/{rest...}":           s.searchAttributes,
			"POST /misp/sightings/restSearch/event":                s.searchSightings,
			"POST /misp/sightings/filterSightingUuidsForPush/{id}": s.filterSightings,
			"POST /misp/galaxy_clusters/restSearch":                empty(`{"response":[]}`),
			"GET /misp/shadow_attributes/index/{rest...}":          empty(`[]`),
			"POST /misp/analyst_data/indexMinimal":                 empty(`{}`),
		},
		node.ScopePublish: {
			"GET /misp/eventReports/add":                  empty(`{"description":"Event reports are taken as a part of their event."}`), // asked before each is pushed
			"POST /misp/events/filterEventIdsForPush":     s.filterEvents,
			"POST /misp/events/add":                       s.add,
			"POST /misp/events/add/{rest...}":             s.add,
			"POST /misp/events/edit/{id}":                 s.edit,
			"POST /misp/events/edit/{id}/{rest...}":       s.edit,
			"POST /misp/events/publish/{id}":              s.publish,
			"POST /misp/sightings/add":                    s.addSighting,
			"POST /misp/sightings/add/{id}":               s.addSighting,
			"POST /misp/sightings/bulkSaveSightings/{id}": s.bulkSightings,
		},
		node.ScopeWithdraw: {
			"POST /misp/events/delete/{id}":   s.remove,
			"DELETE /misp/events/delete/{id}": s.remove,
		},
	} {
		for pattern, fn := range routes {
			srv.Handle(pattern, srv.RequireScope(scope, s.handler(fn)))
		}
	}
	srv.Handle("/misp/", s.handler(func(http.ResponseWriter, *http.Request) error {
		return &refusal{http.StatusNotFound, "this node does not answer that call of MISP; docs/misp.md lists those it does", ""}
	}))
}

// refusal is an answer that is no success.
type refusal struct {
	status   int
	text     string
	location string
}

func (e *refusal) Error() string { return e.text }

func notFound(what string) error { return &refusal{http.StatusNotFound, "Invalid " + what, ""} }

// handler writes what fn returns as MISP writes errors.
func (s *server) handler(fn func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := fn(w, r)
		var no *refusal
		var large *http.MaxBytesError
		switch {
		case err == nil:
		case errors.As(err, &no):
			if no.location != "" {
				w.Header().Set("Location", no.location)
			}
			fail(w, r, no.status, no.text)
		case errors.As(err, &large) || errors.Is(err, protocol.ErrOversize):
			fail(w, r, http.StatusRequestEntityTooLarge, err.Error())
		case errors.Is(err, protocol.ErrMalformed):
			fail(w, r, http.StatusBadRequest, err.Error())
		case errors.Is(err, node.ErrForbidden) || errors.Is(err, node.ErrRefused):
			fail(w, r, http.StatusForbidden, err.Error())
		case errors.Is(err, node.ErrNotFound):
			fail(w, r, http.StatusNotFound, err.Error())
		case r.Context().Err() != nil: // nobody waits for it, or the token does not count any more
			fail(w, r, http.StatusServiceUnavailable, "the request ended before it was answered")
		default:
			s.log.Error("answering MISP", "path", r.URL.Path, "err", err)
			fail(w, r, http.StatusInternalServerError, "the node could not answer; its log says why")
		}
	})
}

// fail writes an error as MISP does.
func fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"name": text, "message": text, "url": r.URL.Path}) // who asked is gone, or reads it
}

func answer(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // who asked is gone, or reads it
	return nil
}

func empty(body string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error { return answer(w, json.RawMessage(body)) }
}

// body reads a JSON body into v. None at all leaves v as it is.
func body(w http.ResponseWriter, r *http.Request, bound int64, v any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bound))
	if err != nil || len(data) == 0 {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return protocol.Errorf(protocol.ErrMalformed, "the body is not the JSON expected: %v", err)
	}
	return nil
}

// asker is the version that an instance says it has, in its User-Agent.
var asker = regexp.MustCompile(`^MISP (2\.[45]\.[0-9]{1,4})\b`)

// ownVersion is the version of MISP that this node passes for with others than MISP.
const ownVersion = "2.5.0"

// version answers by the version of who asks: an instance refuses to speak with one that is older or
// newer by a minor version, and what is spoken here is the same in both.
func (s *server) version(w http.ResponseWriter, r *http.Request) error {
	version := ownVersion
	if m := asker.FindStringSubmatch(r.UserAgent()); m != nil {
		version = m[1]
	}
	c := serve.Consumer(r)
	return answer(w, map[string]any{"version": version, "pymisp_recommended_version": version, "perm_sync": c.May(node.ScopePublish), "perm_sighting": c.May(node.ScopePublish),
		"perm_galaxy_editor": false, "perm_analyst_data": false, "uuid": core.OrgUUID(s.node.Org()), "request_encoding": []string{}, "filter_sightings": true})
}

func (s *server) pymisp(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]string{"version": ownVersion})
}

func (s *server) postTest(w http.ResponseWriter, r *http.Request) error {
	var sent map[string]any
	if err := body(w, r, maxQuery, &sent); err != nil {
		return err
	}
	return answer(w, map[string]any{"body": sent, "headers": map[string]string{"Content-type": r.Header.Get("Content-Type"), "Accept": r.Header.Get("Accept"), "Authorization": "OK"}})
}

// rules names the organisations and tags by which an instance may filter what it pulls: those of the
// events that it sees are in the events.
func (s *server) rules(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]any{"organisations": []string{}, "tags": []string{}})
}

func (s *server) me(w http.ResponseWriter, r *http.Request) error {
	c := serve.Consumer(r)
	org := s.node.Self()
	publish := c.May(node.ScopePublish)
	return answer(w, map[string]any{
		"User":         map[string]any{"id": "1", "email": c.Name, "org_id": "1", "role_id": "1", "disabled": false, "server_id": "0"},
		"Role":         map[string]any{"id": "1", "name": "entente consumer", "perm_auth": true, "perm_sync": publish, "perm_add": publish, "perm_modify": publish, "perm_modify_org": publish, "perm_publish": publish, "perm_sighting": publish, "perm_site_admin": false, "perm_admin": false, "perm_tagger": false},
		"UserSetting":  []any{},
		"Organisation": map[string]any{"id": "1", "name": org.Name, "uuid": core.OrgUUID(org.ID)},
	})
}

func (s *server) describeTypes(w http.ResponseWriter, _ *http.Request) error {
	types, categories := core.Types()
	mapping, defaults := map[string][]string{}, map[string]any{}
	for _, c := range categories {
		mapping[c] = types
	}
	for _, t := range types {
		category, ids := core.DefaultOf(t)
		defaults[t] = map[string]any{"default_category": category, "to_ids": ids}
	}
	return answer(w, map[string]any{"result": map[string]any{"sane_defaults": defaults, "types": types, "categories": categories, "category_type_mappings": mapping}})
}

// everything is the name of the shelf that is of no view.
const everything = "*"

// shelf returns the shelf of a view, or of a topic; nil: of everything.
func (s *server) shelf(view *node.View) *shelf {
	name := everything
	if view != nil {
		if name = view.Name; name == "" {
			name = topicPrefix + view.Topics[0]
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.shelves[name]
	if x == nil || view != nil && !bytes.Equal(protocol.Encode(view), protocol.Encode(x.view)) { // it was set anew
		x = newShelf(s.node, view)
		s.shelves[name] = x
	}
	return x
}

// keepOnly forgets the shelves of views and topics that are there no more.
func (s *server) keepOnly(views []node.View, topics []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.shelves {
		topic, ok := strings.CutPrefix(name, topicPrefix)
		if name != everything && !(ok && slices.Contains(topics, topic)) && !slices.ContainsFunc(views, func(v node.View) bool { return v.Name == name }) {
			delete(s.shelves, name)
		}
	}
}

// building admits a request that builds any number of events; done ends it.
func (s *server) building(w http.ResponseWriter, r *http.Request) (done func(), err error) {
	name := serve.Consumer(r).Name
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[name] >= maxBuilding {
		w.Header().Set("Retry-After", "5")
		return nil, &refusal{http.StatusTooManyRequests, fmt.Sprintf("at most %d requests of one consumer that go through every event are answered at once; ask again, or for values", maxBuilding), ""}
	}
	s.busy[name]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy[name]--; s.busy[name] == 0 {
			delete(s.busy, name)
		}
	}, nil
}

// bounded returns an error if an answer would hold too many records.
func bounded(records int) error {
	if records <= maxRecords {
		return nil
	}
	return protocol.Errorf(protocol.ErrOversize, "the answer would hold more than %d records; ask for less at once, with limit and page", maxRecords)
}

// look looks at a view as whoever asks sees it, and calls fn.
func (s *server) look(r *http.Request, view *node.View, fn func(*sight) error) error {
	at, err := s.shelf(view).look(serve.Reader(r), s.now())
	if err != nil {
		return err
	}
	defer at.done()
	return fn(at)
}

// outlines returns what whoever asks sees of a view.
func (s *server) outlines(r *http.Request, view *node.View) (list []*outline, err error) {
	err = s.look(r, view, func(at *sight) error { list = at.all(); return nil })
	return list, err
}

// outline returns what whoever asks sees of an event.
func (s *server) outline(r *http.Request, view *node.View, uuid string) (o *outline, err error) {
	err = s.look(r, view, func(at *sight) error {
		if o = at.byUUID(uuid); o == nil {
			return notFound("event.")
		}
		return nil
	})
	return o, err
}

// disclose notes which records leave, before they do.
func (s *server) disclose(r *http.Request, what string, ids []protocol.RecordID) error {
	return s.node.HandRecords(r.Context(), node.HandoutMISP, "for "+serve.Consumer(r).Name, node.Disclosure{Act: "misp", Query: what, Records: ids})
}

// build reads the records of an event, and makes it. shown are the records that are in it.
func (s *server) build(ctx context.Context, reader *node.Reader, o *outline) (event map[string]any, shown []protocol.RecordID, err error) {
	g := &core.Group{Key: o.event.key, UUID: o.uuid}
	for _, id := range o.entries {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		rec, err := find(reader, id)
		if err != nil {
			return nil, nil, err
		}
		if rec == nil {
			continue // gone in the meantime
		}
		if m, ok := rec.MISPMember(o.changed[id]); ok {
			g.Members = append(g.Members, m)
			shown = append(shown, id)
		}
	}
	clusters := map[string]*stix.Object{}
	event, _ = g.Build(core.Building{Grown: true, At: o.at, Before: o.before, Find: func(id string) *stix.Object {
		if c, ok := clusters[id]; ok {
			return c
		}
		clusters[id] = nil
		list, err := reader.Find(id)
		for i := range list {
			if err == nil && list[i].Originator.ID == o.event.key.Originator && !list[i].Withdrawn && reader.MayExport(&list[i]) && clusters[id] == nil {
				if c, err := stix.Parse(list[i].Object); err == nil && core.IsCluster(c) {
					clusters[id] = c
					shown = append(shown, list[i].ID)
				}
			}
		}
		return clusters[id]
	}})
	return event, shown, nil
}

// head makes what a manifest says of an event, and returns the record that says it, if one does.
func (s *server) head(reader *node.Reader, o *outline) (head map[string]any, by []protocol.RecordID, err error) {
	var report *stix.Object
	marks := o.marks
	for _, id := range o.report {
		rec, err := find(reader, id)
		if err != nil {
			return nil, nil, err
		}
		if rec == nil || rec.Withdrawn {
			continue
		}
		if r, err := stix.Parse(rec.Object); err == nil && !r.Revoked && (report == nil || !r.Modified.Before(report.Modified)) {
			report, marks, by = r, rec.Marks(), []protocol.RecordID{id}
		}
	}
	return o.event.key.Head(core.Building{UUID: o.uuid, Org: o.event.org, At: o.at, Before: o.before}, o.first, report, marks), by, nil
}

// find returns a record that the reader may read and export; nil if there is none.
func find(reader *node.Reader, id protocol.RecordID) (*node.Record, error) {
	list, err := reader.Find(id.String())
	if errors.Is(err, node.ErrNotFound) || err == nil && (len(list) == 0 || !reader.MayExport(&list[0])) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading record %s: %w", id.Short(), err)
	}
	return &list[0], nil
}
