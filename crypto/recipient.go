package crypto

import (
	"fmt"

	"github.com/entente-mesh/entente/protocol"
)

// SignRecipient has a node say, with its signing key, which age recipient is to stand on the card.
func SignRecipient(r *protocol.Recipient, key SigningPrivate) (*protocol.SiblingRecipient, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	b := protocol.Encode(r)
	return &protocol.SiblingRecipient{Node: r.Node, Statement: b, Sig: key.sign(protocol.ContextRecipient, protocol.NoNetwork, b)}, nil
}

// VerifyRecipient verifies what a node of org said so, key being its signing key on the card. Something
// can be sealed to the recipient.
func VerifyRecipient(s *protocol.SiblingRecipient, org protocol.OrgID, key protocol.SigningKey) (*protocol.Recipient, error) {
	var r protocol.Recipient
	if err := protocol.Decode(s.Statement, protocol.MaxRecipientSize+1<<10, &r); err != nil {
		return nil, fmt.Errorf("reading age recipient of a node: %w", err)
	}
	if r.Org != org || r.Node != s.Node {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "age recipient is of another node, or of another organisation")
	}
	if err := Verify(key, protocol.ContextRecipient, protocol.NoNetwork, s.Statement, s.Sig); err != nil {
		return nil, err
	}
	if _, err := SealTo(r.Recipient, nil); err != nil {
		return nil, err
	}
	return &r, nil
}
