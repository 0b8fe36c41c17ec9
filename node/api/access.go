package api

import (
	"net/http"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func (s *Server) accessRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/views":               func(*http.Request) (any, error) { return s.node.Views() },
		"PUT /v1/views/{name}":        s.acting(s.viewSet),
		"DELETE /v1/views/{name}":     s.acting(func(r *http.Request) (any, error) { return nil, s.node.RemoveView(r.PathValue("name")) }),
		"GET /v1/consumers":           func(*http.Request) (any, error) { return s.node.Consumers() },
		"POST /v1/consumers":          s.acting(s.consumerAdd),
		"DELETE /v1/consumers/{name}": s.acting(func(r *http.Request) (any, error) { return nil, s.node.RemoveConsumer(r.PathValue("name")) }),
		"GET /v1/changes":             s.changes,
	} {
		s.mux.HandleFunc(pattern, call(fn))
	}
}

// ViewRequest is a view as it is set.
type ViewRequest struct {
	Title         string      `json:"title,omitempty"`
	Topics        []string    `json:"topics,omitempty"`
	Types         []string    `json:"types,omitempty"`
	Kinds         []stix.Kind `json:"kinds,omitempty"`
	Originators   []string    `json:"originators,omitempty"` // ids or names
	Countries     []string    `json:"countries,omitempty"`
	Labels        []string    `json:"labels,omitempty"`
	MaxTLP        string      `json:"max_tlp,omitempty"`
	MinConfidence uint8       `json:"min_confidence,omitempty"`
}

func (s *Server) viewSet(r *http.Request) (any, error) {
	var q ViewRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	v := &node.View{Name: r.PathValue("name"), Title: q.Title, Topics: q.Topics, Types: q.Types, Kinds: q.Kinds, Countries: q.Countries, Labels: q.Labels, MinConfidence: q.MinConfidence}
	var err error
	if q.MaxTLP != "" {
		if v.MaxTLP, err = protocol.ParseTLP(q.MaxTLP); err != nil {
			return nil, err
		}
	}
	if v.Originators, err = s.findOrgs(q.Originators); err != nil {
		return nil, err
	}
	return v, s.node.SetView(v)
}

// ConsumerRequest says who may come over the network.
type ConsumerRequest struct {
	Name    string       `json:"name"`
	As      string       `json:"as,omitempty"` // somebody of the people file; absent: of the same name
	Scopes  []node.Scope `json:"scopes"`
	Topics  []string     `json:"topics,omitempty"`
	Expires time.Time    `json:"expires"`
}

// ConsumerToken is the token that a consumer was given. It is not shown again.
type ConsumerToken struct {
	Name    string    `json:"name"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

func (s *Server) consumerAdd(r *http.Request) (any, error) {
	var q ConsumerRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	token, err := s.node.AddConsumer(node.Consumer{Name: q.Name, As: q.As, Scopes: q.Scopes, Topics: q.Topics, Expires: q.Expires})
	if err != nil {
		return nil, err
	}
	return ConsumerToken{Name: q.Name, Token: token, Expires: q.Expires}, nil
}

// ChangesResult is one page of changes.
type ChangesResult struct {
	Changes []node.Change `json:"changes"`
	Next    uint64        `json:"next"` // to go on from; as it was asked for: there are no more for now
}

func (s *Server) changes(r *http.Request) (any, error) {
	q := r.URL.Query()
	after, err := number(q.Get("after"))
	if err != nil {
		return nil, err
	}
	limit, err := number(q.Get("limit"))
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = node.DefaultLimit
	}
	var view *node.View
	if name := q.Get("view"); name != "" {
		if view, err = s.node.View(name); err != nil {
			return nil, err
		}
	}
	list, next, err := s.reader(r).Changes(view, after, int(min(limit, node.MaxLimit)))
	if err != nil {
		return nil, err
	}
	var shown []node.Record
	for i := range list {
		if list[i].Record != nil {
			shown = append(shown, *list[i].Record)
		}
	}
	if list == nil {
		list = []node.Change{}
	}
	return ChangesResult{list, next}, s.disclose(r, "changes", r.URL.RawQuery, shown)
}
