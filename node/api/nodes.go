package api

import (
	"net/http"

	"github.com/entente-mesh/entente/crypto"
	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/policy/rules"
	"github.com/entente-mesh/entente/protocol"
)

func (s *Server) nodeRoutes() {
	s.declare("nodes",
		answers("GET /v1/nodes", "Nodes", anyone, "Lists the nodes of this organisation, and those that were removed.", s.nodes),
		takes("POST /v1/nodes/approve", "NodeApprove", rules.Administer, "Puts a new node on the card, and makes the enrolment that it takes.", s.nodeApprove).acting(),
		takes("POST /v1/nodes/enrol", "NodeEnrol", rules.Administer, "Makes this node, which asked for it, a node of its organisation.", s.nodeEnrol).acting(),
		takes("POST /v1/nodes/remove", "NodeRemove", rules.Administer, "Revokes a node: removes it from the card, and says where its feeds end.", s.nodeRemove).acting(),
		takes("POST /v1/nodes/renew", "NodeRenew", rules.Administer, "Lets a node that is still on the card go on.", s.nodeRenew).acting(),
		takes("POST /v1/nodes/reseal", "NodeReseal", rules.Administer, "Seals anew what a removed node published, for whoever lacks its keys.", s.nodeReseal),
	)
}

func (s *Server) nodes(*http.Request, *none) ([]node.OwnNode, error) { return s.node.OwnNodes(), nil }

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

// NodeApprove is the request of a new node, and the words that a person compared.
type NodeApprove struct {
	Request []byte `json:"request" required:"true"`
	Words   string `json:"words" required:"true"`
}

// Enrolment is what a new node takes.
type Enrolment struct {
	Enrolment []byte `json:"enrolment" required:"true"`
}

func (s *Server) nodeApprove(r *http.Request, q *NodeApprove) (*Enrolment, error) {
	var signed protocol.Signed
	if err := protocol.Decode(q.Request, protocol.MaxStatementSize, &signed); err != nil {
		return nil, err
	}
	if err := s.node.SecondPerson(r.Context(), node.ActKeyChange, "put a node on the card, whose words are: "+q.Words, q.Request); err != nil {
		return nil, err
	}
	inv, err := s.node.ApproveNode(&signed, q.Words)
	if err != nil {
		return nil, err
	}
	return &Enrolment{protocol.Encode(inv)}, nil
}

// Enrolled is a node that is one of its organisation's now.
type Enrolled struct {
	Node    protocol.NodeID    `json:"node"`
	Network protocol.NetworkID `json:"network"`
}

func (s *Server) nodeEnrol(_ *http.Request, q *Enrolment) (*Enrolled, error) {
	var inv protocol.Invite
	if err := protocol.Decode(q.Enrolment, protocol.MaxInviteSize, &inv); err != nil {
		return nil, err
	}
	network, err := s.node.Enrol(&inv)
	return &Enrolled{s.node.ID(), network}, err
}

// NodeName names a node of this organisation, by its id, the beginning of it, or its name.
type NodeName struct {
	Node string `json:"node" required:"true"`
}

// NodeRemove says which node to remove.
type NodeRemove struct {
	Node string `json:"node" required:"true"`
	Now  bool   `json:"now,omitempty"` // without waiting for what it may still have to say

	// Reason is stolen, lost or retired (the default). What is stolen or lost is not waited for.
	Reason string `json:"reason,omitempty"`
}

func (s *Server) nodeRemove(r *http.Request, q *NodeRemove) (*node.RemovedNodeReport, error) {
	id, err := s.node.FindNode(q.Node)
	if err != nil {
		return nil, err
	}
	reason := node.NodeReason(q.Reason)
	if reason == "" {
		reason = node.NodeRetired
	}
	return s.node.RevokeNode(node.RevokeRequest{Node: id, Reason: reason, Now: q.Now, By: node.CallerOf(r.Context())})
}

// NodeRef is a node that something was done about.
type NodeRef struct {
	Node protocol.NodeID `json:"node"`
}

func (s *Server) nodeRenew(r *http.Request, q *NodeName) (*NodeRef, error) {
	id, err := s.node.FindNode(q.Node)
	if err != nil {
		return nil, err
	}
	if s.node.Lapsed(id) { // it counts for nothing, and would again
		if err := s.node.SecondPerson(r.Context(), node.ActKeyChange, "let node "+id.String()+" go on, whose time has passed", id[:]); err != nil {
			return nil, err
		}
	}
	return &NodeRef{id}, s.node.RenewNode(node.CallerOf(r.Context()), id)
}

// Resealed says how many entries of a node were sealed anew.
type Resealed struct {
	Node    protocol.NodeID `json:"node"`
	Entries int             `json:"entries"`
}

func (s *Server) nodeReseal(r *http.Request, q *NodeName) (*Resealed, error) {
	id, err := s.node.FindNode(q.Node)
	if err != nil {
		return nil, err
	}
	count, err := s.node.ResealRemoved(r.Context(), id)
	return &Resealed{id, count}, err
}
