package taxii

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

// Where the server is. There is one API root: what belongs to whom is for local rules to say.
const (
	discoveryPath = "/taxii2/"
	rootPath      = "/taxii2/root/"
)

// MaxContent bounds the body of a POST: 16 MiB.
const MaxContent = 16 << 20

// server answers TAXII for one node.
type server struct {
	node    *node.Node
	tokens  *tokens
	catalog *catalog
	log     *slog.Logger
}

// Mount puts a TAXII 2.1 server on s, under /taxii2/. log may be nil.
func Mount(s *serve.Server, n *node.Node, log *slog.Logger) error {
	key, err := n.TaxiiKey()
	if err != nil {
		return fmt.Errorf("mounting TAXII: %w", err)
	}
	t, err := newTokens(key)
	if err != nil {
		return err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	srv := &server{node: n, tokens: t, catalog: newCatalog(n), log: log}
	s.Handle(discoveryPath, srv)
	s.Errors(discoveryPath, func(w http.ResponseWriter, _ *http.Request, status int, text string) { writeError(w, status, text) })
	return nil
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.route(w, r); err != nil {
		s.fail(w, r, err)
	}
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *failure
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		writeError(w, f.code, f.text)
	case errors.As(err, &large):
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes; send the objects in parts", MaxContent))
	case r.Context().Err() != nil: // nobody waits for it, or the token does not count any more
		writeError(w, http.StatusServiceUnavailable, "the request ended before it was answered")
	case node.Forbidden(err):
		writeError(w, http.StatusForbidden, err.Error())
	default:
		s.log.Error("answering TAXII", "path", r.URL.Path, "err", err)
		writeError(w, http.StatusInternalServerError, "the node could not answer; its log says why")
	}
}

// notFound is for what is not there, and for what is not there for who asks.
func notFound() error { return failf(http.StatusNotFound, "there is nothing here, or not for you") }

// route finds the endpoint (TAXII 3.1). Paths end in "/"; one that does not is taken for one that does.
func (s *server) route(w http.ResponseWriter, r *http.Request) error {
	if !accepts(r.Header) {
		return failf(http.StatusNotAcceptable, "this server sends %s; ask for that in Accept", mediaType)
	}
	rest, ok := strings.CutPrefix(strings.TrimSuffix(r.URL.EscapedPath(), "/")+"/", discoveryPath)
	if !ok {
		return notFound()
	}
	if rest == "" {
		return only(w, r, s.discovery, http.MethodGet)
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil || parts[i] == "" {
			return notFound()
		}
	}
	if parts[0] != "root" {
		return notFound()
	}
	switch parts = parts[1:]; {
	case len(parts) == 0:
		return only(w, r, s.root, http.MethodGet)
	case len(parts) == 2 && parts[0] == "status":
		return only(w, r, func(w http.ResponseWriter, r *http.Request) error { return s.getStatus(w, r, parts[1]) }, http.MethodGet)
	case parts[0] != "collections" || len(parts) > 5:
		return notFound()
	case len(parts) == 1:
		return only(w, r, s.getCollections, http.MethodGet)
	}
	return s.inCollection(w, r, parts[1], parts[2:])
}

// only refuses other methods.
func only(w http.ResponseWriter, r *http.Request, h func(http.ResponseWriter, *http.Request) error, methods ...string) error {
	if slices.Contains(methods, r.Method) || r.Method == http.MethodHead && slices.Contains(methods, http.MethodGet) {
		return h(w, r)
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return failf(http.StatusMethodNotAllowed, "%s is not for this endpoint; use %s", r.Method, strings.Join(methods, " or "))
}

func (s *server) discovery(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusOK, discovery{Title: "Entente", Description: "Threat intelligence that this organisation may read, by topic and by saved search.", Default: rootPath, Roots: []string{rootPath}})
	return nil
}

func (s *server) root(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusOK, apiRoot{Title: "Entente", Description: "A collection for each topic and for each view of this node.", Versions: []string{mediaType}, MaxContent: MaxContent})
	return nil
}

// collection is one as a consumer sees it.
type collection struct {
	Collection
	list  *list
	topic string // in which what is added to it is published; "": nothing can be added
	view  string // of which it is; "": of a topic
}

// collections lists those that whoever makes a request may read or write, in an order that stays: all,
// or, if it is not "", the one that has an id or an alias.
func (s *server) collections(r *http.Request, name string) ([]*collection, error) {
	who, reader := serve.Consumer(r), serve.Reader(r)
	topics := s.node.TopicNames()
	views, err := s.node.Views()
	if err != nil {
		return nil, err
	}
	network := s.node.CollectionSpace()
	var all []*collection
	for _, topic := range topics {
		c := &collection{topic: topic}
		c.ID, c.Title, c.Alias = identifier(network, "topic", topic), topic, "topic-"+topic
		c.Description = "All that this organisation may read in topic " + topic + "."
		c.list = s.catalog.get(c.ID, topic, node.TopicView(topic))
		all = append(all, c)
	}
	for i := range views {
		v := &views[i]
		c := &collection{view: v.Name}
		c.ID, c.Title, c.Alias = identifier(network, "view", v.Name), v.Title, "view-"+v.Name
		if c.Title == "" {
			c.Title = v.Name
		}
		c.Description = "The view " + v.Name + " of this organisation."
		if v.MaxTLP != protocol.TLPUnset {
			c.Description += " Nothing in it is above TLP:" + strings.ToUpper(v.MaxTLP.String()) + "."
		}
		if len(v.Topics) == 1 && slices.Contains(topics, v.Topics[0]) {
			c.topic = v.Topics[0]
		}
		c.list = s.catalog.get(c.ID, v.Name, v)
		all = append(all, c)
	}
	known := map[string]bool{}
	var held []*list
	for _, c := range all {
		known[c.ID], held = true, append(held, c.list)
	}
	s.catalog.keepOnly(known)
	if err := s.catalog.sync(r.Context(), held...); err != nil {
		return nil, err
	}
	var out []*collection
	for _, c := range all {
		if name != "" && c.ID != name && c.Alias != name {
			continue
		}
		of := c.list.view.Topics
		if len(of) == 0 {
			of = topics
		}
		mayRead := slices.ContainsFunc(of, func(t string) bool { return reader.MayInTopic(rules.Read, t) && reader.MayInTopic(rules.Export, t) }) || c.list.shows(reader)
		c.MediaTypes = []string{stix21}
		c.CanRead = mayRead && who.May(node.ScopeRead)
		c.CanWrite = c.topic != "" && who.May(node.ScopePublish) && who.MayTopic(c.topic) && reader.MayInTopic(rules.Publish, c.topic)
		if mayRead || c.CanWrite {
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *server) getCollections(w http.ResponseWriter, r *http.Request) error {
	list, err := s.collections(r, "")
	if err != nil {
		return err
	}
	var out collections
	for _, c := range list {
		out.Collections = append(out.Collections, c.Collection)
	}
	write(w, http.StatusOK, out)
	return nil
}

// inCollection routes below a collection, which is named by its id or its alias.
func (s *server) inCollection(w http.ResponseWriter, r *http.Request, name string, rest []string) error {
	list, err := s.collections(r, name)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return notFound()
	}
	c := list[0]
	bind := func(h func(http.ResponseWriter, *http.Request, *collection) error) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error { return h(w, r, c) }
	}
	switch {
	case len(rest) == 0:
		return only(w, r, func(w http.ResponseWriter, _ *http.Request) error {
			write(w, http.StatusOK, c.Collection)
			return nil
		}, http.MethodGet)
	case len(rest) == 1 && rest[0] == "manifest":
		return only(w, r, bind(s.getManifest), http.MethodGet)
	case len(rest) == 1 && rest[0] == "objects":
		if r.Method == http.MethodPost {
			return s.addObjects(w, r, c)
		}
		return only(w, r, bind(s.getObjects), http.MethodGet, http.MethodPost)
	case len(rest) == 2 && rest[0] == "objects":
		if r.Method == http.MethodDelete {
			return s.deleteObject(w, r, c, rest[1])
		}
		return only(w, r, func(w http.ResponseWriter, r *http.Request) error { return s.getObject(w, r, c, rest[1]) }, http.MethodGet, http.MethodDelete)
	case len(rest) == 3 && rest[0] == "objects" && rest[2] == "versions":
		return only(w, r, func(w http.ResponseWriter, r *http.Request) error { return s.getVersions(w, r, c, rest[1]) }, http.MethodGet)
	}
	return notFound()
}

// mayRead refuses who may not read a collection (TAXII 5.3 to 5.8).
func mayRead(c *collection) error {
	if !c.CanRead {
		return failf(http.StatusForbidden, "this collection may not be read with this token; 'entente consumer add' gives one with the scope read")
	}
	return nil
}
