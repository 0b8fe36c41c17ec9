package crypto

import (
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

func rosterContext(kind protocol.StatementKind) protocol.Context {
	switch kind {
	case protocol.StatementSponsorship:
		return protocol.ContextSponsorship
	case protocol.StatementRemoval:
		return protocol.ContextRemoval
	case protocol.StatementTopicSecret:
		return protocol.ContextTopicSecret
	}
	return protocol.ContextGenesis
}

// SignStatement signs a roster statement. A genesis is signed without a network, since it
// makes the network's id.
func SignStatement(kind protocol.StatementKind, statement []byte, network protocol.NetworkID, org protocol.OrgID, op OpSigner) (protocol.RosterStatement, error) {
	sig, err := op.Sign(rosterContext(kind), network, statement)
	return protocol.RosterStatement{Kind: kind, Statement: statement, Signer: org, Key: op.Public(), Sig: sig}, err
}

// VerifyStatement verifies a roster statement with the card of its signer, and returns what
// it says: a *protocol.Genesis, *Sponsorship, *Removal or *TopicSecret. Whether the signer
// may say so is the roster's business.
func VerifyStatement(s *protocol.RosterStatement, signer *Card) (any, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	var body any
	switch s.Kind {
	case protocol.StatementGenesis:
		body = new(protocol.Genesis)
	case protocol.StatementSponsorship:
		body = new(protocol.Sponsorship)
	case protocol.StatementRemoval:
		body = new(protocol.Removal)
	default:
		body = new(protocol.TopicSecret)
	}
	if err := protocol.Decode(s.Statement, protocol.MaxStatementSize, body); err != nil {
		return nil, err
	}
	var by protocol.OrgID
	network := protocol.NoNetwork
	switch b := body.(type) {
	case *protocol.Genesis:
		by = b.Founder
	case *protocol.Sponsorship:
		by, network = b.Sponsor, b.Network
	case *protocol.Removal:
		by, network = b.Steward, b.Network
	case *protocol.TopicSecret:
		by, network = b.Issuer, b.Network
	}
	if by != s.Signer || signer.Org != s.Signer {
		return nil, protocol.Errorf(protocol.ErrBadSignature, "roster statement is not signed by the organisation that it names")
	}
	if s.Kind == protocol.StatementGenesis && signer.opKeyEver(s.Key) {
		// The network's id is the hash of its genesis: a thief of the key can only found another one,
		// and the members of this one do not lose it with a key of its founder.
		return body, Verify(s.Key, protocol.ContextGenesis, network, s.Statement, s.Sig)
	}
	return body, verifyByOrg(signer, s.Key, rosterContext(s.Kind), network, s.Statement, s.Sig)
}

func verifyByOrg(card *Card, key protocol.OpKey, c protocol.Context, network protocol.NetworkID, statement []byte, sig protocol.Signature) error {
	if !card.OpKeyValid(key) {
		return protocol.Errorf(protocol.ErrBadSignature, "statement is signed with a key that is not, or no longer, the operational key of %s", card.Org.Short())
	}
	return Verify(key, c, network, statement, sig)
}

// Agreement is an agreement of which every signature that is there verified. It is
// countersigned when Missing is empty.
type Agreement struct {
	protocol.Agreement
	ID      protocol.AgreementID
	Signed  protocol.SignedAgreement
	Missing []protocol.OrgID // parties that have not signed
}

// SignAgreement signs an agreement's canonical bytes for one party.
func SignAgreement(canonical []byte, network protocol.NetworkID, org protocol.OrgID, op OpSigner) (protocol.PartySignature, error) {
	sig, err := op.Sign(protocol.ContextAgreement, network, canonical)
	return protocol.PartySignature{Org: org, Key: op.Public(), Sig: sig}, err
}

// VerifyAgreement verifies every signature that is there. A signature that does not verify,
// is of no party, or of a party whose card is not known, is an error; a missing one is not,
// and is listed in Missing.
func VerifyAgreement(s *protocol.SignedAgreement, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*Agreement, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	a := &Agreement{ID: s.ID(), Signed: *s}
	if err := protocol.Decode(s.Statement, protocol.MaxAgreementSize, &a.Agreement); err != nil {
		return nil, err
	}
	if a.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "agreement belongs to another network")
	}
	signed := map[protocol.OrgID]bool{}
	for _, sig := range s.Sigs {
		card := cards(sig.Org)
		switch {
		case !slices.Contains(a.Parties, sig.Org):
			return nil, protocol.Errorf(protocol.ErrBadSignature, "agreement is signed by %s, which is no party", sig.Org.Short())
		case card == nil:
			return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "agreement is signed by %s, of which no card is known", sig.Org.Short())
		}
		if err := verifyByOrg(card, sig.Key, protocol.ContextAgreement, network, s.Statement, sig.Sig); err != nil {
			return nil, err
		}
		signed[sig.Org] = true
	}
	for _, p := range a.Parties {
		if !signed[p] {
			a.Missing = append(a.Missing, p)
		}
	}
	return a, nil
}

// SignTermination signs a termination.
func SignTermination(t *protocol.Termination, op OpSigner) (protocol.OrgSigned, error) {
	return signByOrg(protocol.ContextTermination, t.Network, t.Org, protocol.Encode(t), op)
}

// SignRejection signs a rejection.
func SignRejection(r *protocol.Rejection, op OpSigner) (protocol.OrgSigned, error) {
	return signByOrg(protocol.ContextRejection, r.Network, r.Org, protocol.Encode(r), op)
}

func signByOrg(c protocol.Context, network protocol.NetworkID, org protocol.OrgID, statement []byte, op OpSigner) (protocol.OrgSigned, error) {
	sig, err := op.Sign(c, network, statement)
	return protocol.OrgSigned{Statement: statement, Org: org, Key: op.Public(), Sig: sig}, err
}

// VerifyTermination verifies a termination with the card of its signer.
func VerifyTermination(o *protocol.OrgSigned, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*protocol.Termination, error) {
	t := new(protocol.Termination)
	if err := verifyOrgSigned(o, protocol.ContextTermination, network, cards, t); err != nil {
		return nil, err
	}
	if t.Org != o.Org || t.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "termination names another organisation or network than its signature")
	}
	return t, nil
}

// SignSuspension signs a suspension.
func SignSuspension(s *protocol.Suspension, op OpSigner) (protocol.OrgSigned, error) {
	return signByOrg(protocol.ContextSuspension, s.Network, s.Org, protocol.Encode(s), op)
}

// VerifySuspension verifies a suspension with the card of its signer.
func VerifySuspension(o *protocol.OrgSigned, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*protocol.Suspension, error) {
	s := new(protocol.Suspension)
	if err := verifyOrgSigned(o, protocol.ContextSuspension, network, cards, s); err != nil {
		return nil, err
	}
	if s.Org != o.Org || s.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "suspension names another organisation or network than its signature")
	}
	return s, nil
}

// VerifyRejection verifies a rejection with the card of its signer.
func VerifyRejection(o *protocol.OrgSigned, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*protocol.Rejection, error) {
	r := new(protocol.Rejection)
	if err := verifyOrgSigned(o, protocol.ContextRejection, network, cards, r); err != nil {
		return nil, err
	}
	if r.Org != o.Org || r.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "rejection names another organisation or network than its signature")
	}
	return r, nil
}

// SignErasureRequest signs a request to erase.
func SignErasureRequest(r *protocol.ErasureRequest, op OpSigner) (protocol.OrgSigned, error) {
	return signByOrg(protocol.ContextErasureRequest, r.Network, r.Org, protocol.Encode(r), op)
}

// VerifyErasureRequest verifies a request to erase with the card of its signer.
func VerifyErasureRequest(o *protocol.OrgSigned, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*protocol.ErasureRequest, error) {
	r := new(protocol.ErasureRequest)
	if err := verifyOrgSigned(o, protocol.ContextErasureRequest, network, cards, r); err != nil {
		return nil, err
	}
	if r.Org != o.Org || r.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "erasure request names another organisation or network than its signature")
	}
	return r, nil
}

// SignErasureAnswer signs an answer to a request to erase.
func SignErasureAnswer(a *protocol.ErasureAnswer, op OpSigner) (protocol.OrgSigned, error) {
	return signByOrg(protocol.ContextErasureAnswer, a.Network, a.Org, protocol.Encode(a), op)
}

// VerifyErasureAnswer verifies an answer to a request to erase with the card of its signer.
func VerifyErasureAnswer(o *protocol.OrgSigned, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*protocol.ErasureAnswer, error) {
	a := new(protocol.ErasureAnswer)
	if err := verifyOrgSigned(o, protocol.ContextErasureAnswer, network, cards, a); err != nil {
		return nil, err
	}
	if a.Org != o.Org || a.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "erasure answer names another organisation or network than its signature")
	}
	return a, nil
}

func verifyOrgSigned(o *protocol.OrgSigned, c protocol.Context, network protocol.NetworkID, cards func(protocol.OrgID) *Card, v any) error {
	card := cards(o.Org)
	if card == nil {
		return protocol.Errorf(protocol.ErrUnknownAuthor, "statement is signed by %s, of which no card is known", o.Org.Short())
	}
	if err := verifyByOrg(card, o.Key, c, network, o.Statement, o.Sig); err != nil {
		return err
	}
	return protocol.Decode(o.Statement, protocol.MaxLetterSize, v)
}
