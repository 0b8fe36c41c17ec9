package api

import (
	"net/http"
	"strings"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) nodeRoutes() {
	for pattern, fn := range map[string]func(*http.Request) (any, error){
		"GET /v1/nodes":          s.nodes,
		"POST /v1/nodes/approve": s.nodeApprove,
		"POST /v1/nodes/enrol":   s.nodeEnrol,
		"POST /v1/nodes/remove":  s.nodeRemove,
		"POST /v1/nodes/renew":   s.nodeRenew,
		"POST /v1/nodes/reseal":  s.nodeReseal,
	} {
		if strings.HasPrefix(pattern, "POST") && !strings.HasSuffix(pattern, "/reseal") {
			fn = s.acting(fn)
		}
		s.mux.HandleFunc(pattern, call(fn))
	}
}

func (s *Server) nodes(*http.Request) (any, error) { return s.node.OwnNodes(), nil }

// NodeRequest is a request of a new node as it is shown.
type NodeRequest struct {
	Org   protocol.OrgID  `json:"organisation"`
	Node  protocol.NodeID `json:"node"`
	Words []string        `json:"words"` // to be compared with what the approving side is told
	Bytes []byte          `json:"request"`
}

// NodeRequestOf describes a request.
func NodeRequestOf(r *crypto.NodeRequest) NodeRequest {
	return NodeRequest{Org: r.Org, Node: r.Entry.Node, Words: r.Words(), Bytes: protocol.Encode(&r.Signed)}
}

// nodeApprove takes {request, words} and answers with the enrolment.
func (s *Server) nodeApprove(r *http.Request) (any, error) {
	var q struct {
		Request []byte `json:"request"`
		Words   string `json:"words"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	var signed protocol.Signed
	if err := protocol.Decode(q.Request, protocol.MaxStatementSize, &signed); err != nil {
		return nil, err
	}
	inv, err := s.node.ApproveNode(&signed, q.Words)
	if err != nil {
		return nil, err
	}
	return map[string]any{"enrolment": protocol.Encode(inv)}, nil
}

// nodeEnrol takes {enrolment}.
func (s *Server) nodeEnrol(r *http.Request) (any, error) {
	var q struct {
		Enrolment []byte `json:"enrolment"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	var inv protocol.Invite
	if err := protocol.Decode(q.Enrolment, protocol.MaxInviteSize, &inv); err != nil {
		return nil, err
	}
	network, err := s.node.Enrol(&inv)
	return map[string]any{"node": s.node.ID(), "network": network}, err
}

type nodeName struct {
	Node string `json:"node"`
	Now  bool   `json:"now"`
}

func (s *Server) nodeNamed(r *http.Request) (id protocol.NodeID, now bool, err error) {
	var q nodeName
	if err := decode(r, &q); err != nil {
		return id, false, err
	}
	id, err = s.node.FindNode(q.Node)
	return id, q.Now, err
}

// nodeRemove takes {node, now} and answers with where the node's feeds end.
func (s *Server) nodeRemove(r *http.Request) (any, error) {
	id, now, err := s.nodeNamed(r)
	if err != nil {
		return nil, err
	}
	return s.node.RemoveNode(id, now)
}

// nodeRenew takes {node}.
func (s *Server) nodeRenew(r *http.Request) (any, error) {
	id, _, err := s.nodeNamed(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"node": id}, s.node.RenewNode(id)
}

// nodeReseal takes {node} and answers with how many entries were sealed anew.
func (s *Server) nodeReseal(r *http.Request) (any, error) {
	id, _, err := s.nodeNamed(r)
	if err != nil {
		return nil, err
	}
	count, err := s.node.ResealRemoved(r.Context(), id)
	return map[string]any{"node": id, "entries": count}, err
}
