package crypto

import "github.com/entente-mesh/entente/protocol"

// SignDirectTopic signs a direct topic with the key of the node that appends to it.
func SignDirectTopic(d *protocol.DirectTopic, key SigningPrivate) (protocol.Signed, error) {
	if err := d.Validate(); err != nil {
		return protocol.Signed{}, err
	}
	b := protocol.Encode(d)
	if len(b) > protocol.MaxDirectSize {
		return protocol.Signed{}, protocol.Errorf(protocol.ErrOversize, "direct topic has %d bytes, at most %d are allowed", len(b), protocol.MaxDirectSize)
	}
	sig := protocol.KeySignature{Key: key.Public(), Sig: key.sign(protocol.ContextDirectTopic, d.Network, b)}
	return protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{sig}}, nil
}

// VerifyDirectTopic verifies a direct topic with the key that it names as its author's. Whose key
// that is, is for the caller to find out.
func VerifyDirectTopic(network protocol.NetworkID, s *protocol.Signed) (*protocol.DirectTopic, error) {
	var d protocol.DirectTopic
	if err := protocol.Decode(s.Statement, protocol.MaxDirectSize, &d); err != nil {
		return nil, err
	}
	switch {
	case d.Network != network:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "direct topic belongs to another network")
	case len(s.Sigs) != 1 || s.Sigs[0].Key != d.Author:
		return nil, protocol.Errorf(protocol.ErrBadSignature, "direct topic is not signed by its author")
	}
	return &d, Verify(d.Author, protocol.ContextDirectTopic, network, s.Statement, s.Sigs[0].Sig)
}
