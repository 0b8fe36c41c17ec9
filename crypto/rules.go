package crypto

import "github.com/entente-mesh/entente/protocol"

// SignRules signs a set of local rules for all nodes of the organisation. It belongs to no network.
func SignRules(o *protocol.RulesOffer, op OpSigner) (protocol.OrgSigned, error) {
	if err := o.Validate(); err != nil {
		return protocol.OrgSigned{}, err
	}
	return signByOrg(protocol.ContextRules, protocol.NoNetwork, o.Org, protocol.Encode(o), op)
}

// VerifyRules verifies a set of local rules with the newest card of its organisation. Only the
// operational key in force signs rules: one that was retired may have been stolen, and what it signed
// before was taken then.
func VerifyRules(s *protocol.OrgSigned, card *Card) (*protocol.RulesOffer, error) {
	if s.Org != card.Org || s.Key != card.RootEpoch.Op {
		return nil, protocol.Errorf(protocol.ErrBadSignature, "rules for all nodes are not signed with the operational key in force")
	}
	if err := Verify(s.Key, protocol.ContextRules, protocol.NoNetwork, s.Statement, s.Sig); err != nil {
		return nil, err
	}
	o := new(protocol.RulesOffer)
	if err := protocol.Decode(s.Statement, protocol.MaxSiblingItem, o); err != nil {
		return nil, err
	}
	if o.Org != s.Org {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "rules for all nodes name another organisation than their signature")
	}
	return o, nil
}
