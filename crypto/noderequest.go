package crypto

import (
	"fmt"

	"github.com/entente-mesh/entente/protocol"
)

// NodeRequest is a request whose keys signed that they are of one node and want to belong to
// its organisation. Whether the organisation wants it, people say who compare its words.
type NodeRequest struct {
	protocol.NodeRequest
	Name   protocol.Hash // of which Words makes the words
	Signed protocol.Signed
}

// SignNodeRequest signs a request with the node's signing key.
func SignNodeRequest(r *protocol.NodeRequest, key SigningPrivate) (protocol.Signed, error) {
	if err := r.Validate(); err != nil {
		return protocol.Signed{}, err
	}
	b := protocol.Encode(r)
	return protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: key.Public(),
		Sig: key.sign(protocol.ContextNodeRequest, protocol.NoNetwork, b)}}}, nil
}

// VerifyNodeRequest verifies a request: by the signing key that it names, and by both keys
// in its binding.
func VerifyNodeRequest(s *protocol.Signed) (*NodeRequest, error) {
	r := &NodeRequest{Signed: *s, Name: protocol.NodeRequestName(s.Statement)}
	if err := protocol.Decode(s.Statement, protocol.MaxStatementSize, &r.NodeRequest); err != nil {
		return nil, fmt.Errorf("reading node request: %w", err)
	}
	if len(s.Sigs) != 1 || s.Sigs[0].Key != r.Entry.Signing {
		return nil, protocol.Errorf(protocol.ErrBadSignature, "node request is not signed by the node that it is of")
	}
	if err := Verify(r.Entry.Signing, protocol.ContextNodeRequest, protocol.NoNetwork, s.Statement, s.Sigs[0].Sig); err != nil {
		return nil, err
	}
	return r, verifyBinding(r.Org, r.Entry.Node, r.Entry.Signing, &r.Entry.Binding)
}

// Words returns the words of the request, to be read out from the new machine.
func (r *NodeRequest) Words() []string { return Words(protocol.OrgID(r.Name)) }

// MatchWords reports whether somebody said the words of the request.
func (r *NodeRequest) MatchWords(said string) bool { return MatchWords(protocol.OrgID(r.Name), said) }
