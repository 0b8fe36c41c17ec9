package api

import (
	"cmp"
	"net/http"
	"time"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

func (s *Server) accessRoutes() {
	s.declare("access",
		answers("GET /v1/views", "Views", rules.Administer, "Lists the views: searches that are kept by name.", s.views),
		takes("PUT /v1/views/{name}", "ViewSet", rules.Administer, "Keeps a view, in the place of one of the same name.", s.viewSet).as(ViewRequest{Topics: []string{"c2"}, Kinds: []stix.Kind{"ipv4", "domain"}, MaxTLP: "amber"}).path("name", viewName).acting(),
		answers("DELETE /v1/views/{name}", "ViewRemove", rules.Administer, "Removes a view.", s.viewRemove).path("name", viewName).acting(),
		answers("GET /v1/consumers", "Consumers", rules.Administer, "Lists who may come over the network.", s.consumers),
		takes("POST /v1/consumers", "ConsumerAdd", rules.Administer, "Lets a person or a machine come over the network, and makes its token.", s.consumerAdd).acting(),
		answers("DELETE /v1/consumers/{name}", "ConsumerRemove", rules.Administer, "Removes a consumer; its token opens nothing any more.", s.consumerRemove).path("name", "The name of a consumer.").acting(),
		takes("POST /v1/consumers/{name}/own", "ConsumerOwn", rules.Administer, "Has one of the people answer for a consumer.", s.consumerOwn).path("name", "The name of a consumer.").acting(),
		answers("POST /v1/consumers/{name}/confirm", "ConsumerConfirm", rules.Administer, "Confirms a consumer that came from a backup; its token opens again.", s.consumerConfirm).path("name", "The name of a consumer.").acting(),
		answers("GET /v1/changes", "Changes", perRecord, "Lists what happened to what this organisation can read, in order, after a cursor.", s.changes),
	)
}

const viewName = "The name of a view."

func (s *Server) views(*http.Request, *none) ([]node.View, error) { return s.node.Views() }

func (s *Server) viewRemove(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.RemoveView(r.PathValue("name"))
}

func (s *Server) consumers(*http.Request, *none) ([]node.Consumer, error) { return s.node.Consumers() }

func (s *Server) consumerRemove(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.RemoveConsumer(r.PathValue("name"))
}

func (s *Server) consumerConfirm(r *http.Request, _ *none) (none, error) {
	return none{}, s.node.ConfirmConsumer(r.PathValue("name"))
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

func (s *Server) viewSet(r *http.Request, q *ViewRequest) (*node.View, error) {
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
	Name    string       `json:"name" required:"true"`
	As      string       `json:"as,omitempty"` // somebody of the people file; absent: of the same name
	Scopes  []node.Scope `json:"scopes" required:"true"`
	Topics  []string     `json:"topics,omitempty"`
	Owner   string       `json:"owner,omitempty"` // one of the people; absent: whoever it comes as, or who asks
	Expires time.Time    `json:"expires" required:"true"`
}

// ConsumerToken is the token that a consumer was given. It is not shown again.
type ConsumerToken struct {
	Name    string    `json:"name"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

func (s *Server) consumerAdd(r *http.Request, q *ConsumerRequest) (*ConsumerToken, error) {
	as, who := s.node.PersonOf(cmp.Or(q.As, q.Name)), callerOf(r)
	if q.Owner == "" && who.Account && (as == nil || !as.Account) {
		q.Owner = who.ID
	}
	token, err := s.node.AddConsumer(node.Consumer{Name: q.Name, As: q.As, Owner: q.Owner, Scopes: q.Scopes, Topics: q.Topics, Expires: q.Expires})
	if err != nil {
		return nil, err
	}
	return &ConsumerToken{Name: q.Name, Token: token, Expires: q.Expires}, nil
}

// ConsumerOwn says who answers for a consumer, a sink or a source.
type ConsumerOwn struct {
	Owner string `json:"owner" required:"true"` // one of the people
}

func (s *Server) consumerOwn(r *http.Request, q *ConsumerOwn) (none, error) {
	return none{}, s.node.OwnConsumer(r.PathValue("name"), q.Owner)
}

// ChangesResult is one page of changes.
type ChangesResult struct {
	Changes []node.Change `json:"changes"`
	Next    uint64        `json:"next"` // to go on from; as it was asked for: there are no more for now
}

// ChangesQuery says which changes to list.
type ChangesQuery struct {
	After uint64 `query:"after" doc:"the cursor that the last page ended with"`
	Limit uint64 `query:"limit" doc:"at most as many; 0: 100; never more than 10000"`
	View  string `query:"view" doc:"only of the records that a view holds"`
}

func (s *Server) changes(r *http.Request, q *ChangesQuery) (*ChangesResult, error) {
	limit := q.Limit
	if limit == 0 {
		limit = node.DefaultLimit
	}
	var view *node.View
	var err error
	if q.View != "" {
		if view, err = s.node.View(q.View); err != nil {
			return nil, err
		}
	}
	list, next, err := s.reader(r).Changes(view, q.After, int(min(limit, node.MaxLimit)))
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
	return &ChangesResult{list, next}, s.disclose(r, "changes", r.URL.RawQuery, shown)
}
