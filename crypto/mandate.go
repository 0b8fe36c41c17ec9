package crypto

import (
	"crypto/sha256"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// SignMandate signs a mandate for its principal.
func SignMandate(m *protocol.Mandate, op OpSigner) (protocol.OrgSigned, error) {
	if err := m.Validate(); err != nil {
		return protocol.OrgSigned{}, err
	}
	return signByOrg(protocol.ContextMandate, m.Network, m.Principal, protocol.Encode(m), op)
}

// VerifyMandate verifies a mandate with the newest card of its principal. Whether it was revoked is
// for the caller to know.
func VerifyMandate(o *protocol.OrgSigned, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*protocol.Mandate, error) {
	m := new(protocol.Mandate)
	if err := verifyOrgSigned(o, protocol.ContextMandate, network, cards, m); err != nil {
		return nil, err
	}
	if m.Principal != o.Org || m.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "mandate names another organisation or network than its signature")
	}
	return m, nil
}

// SignMandateRevocation signs that a mandate ends.
func SignMandateRevocation(r *protocol.MandateRevocation, op OpSigner) (protocol.OrgSigned, error) {
	if err := r.Validate(); err != nil {
		return protocol.OrgSigned{}, err
	}
	return signByOrg(protocol.ContextMandateEnd, r.Network, r.Principal, protocol.Encode(r), op)
}

// VerifyMandateRevocation verifies a revocation with the newest card of its principal. That the
// mandate is its own is for the caller to see.
func VerifyMandateRevocation(o *protocol.OrgSigned, network protocol.NetworkID, cards func(protocol.OrgID) *Card) (*protocol.MandateRevocation, error) {
	r := new(protocol.MandateRevocation)
	if err := verifyOrgSigned(o, protocol.ContextMandateEnd, network, cards, r); err != nil {
		return nil, err
	}
	if r.Principal != o.Org || r.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "revocation of a mandate names another organisation or network than its signature")
	}
	return r, nil
}

// OnBehalf says under which mandate a record was published on behalf of another organisation than
// the one that signed it.
type OnBehalf struct {
	protocol.Mandate
	ID protocol.MandateID
}

// verifyBehalf verifies the mandate that a batch carries: that its principal gave it to who signed
// the batch, for the time at which that was, and for handlings as those of its items. The topic is
// for the caller to see, which knows it. nil: it carries none.
func verifyBehalf(network protocol.NetworkID, st *protocol.BatchStatement, p *protocol.BatchPart, handlings []protocol.Handling, cards func(protocol.OrgID) *Card) (*OnBehalf, error) {
	if len(st.Behalf) == 0 {
		return nil, nil
	}
	m, err := VerifyMandate(&st.Behalf[0], network, cards)
	if err != nil {
		return nil, err
	}
	if m.Agent != st.Originator {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "records of %s carry a mandate that was given to %s", st.Originator.Short(), m.Agent.Short())
	}
	for i := range p.Items {
		if err := m.Covers(m.Topics[0], handlings[p.Items[i].Handling].TLP, st.Signed); err != nil {
			return nil, err
		}
	}
	return &OnBehalf{Mandate: *m, ID: protocol.NewMandateID(st.Behalf[0].Statement)}, nil
}

// ProveRecord takes the proof of one record out of a verified body: what shows that it is one that
// its originator signed, without the record itself. batch and item are places in the body.
func ProveRecord(body *protocol.Body, batch, item int) (protocol.ProvenRecord, error) {
	whole := &body.Batches[batch]
	ids, err := leaves(whole, body.Handlings)
	if err != nil {
		return protocol.ProvenRecord{}, err
	}
	part, err := PartOf(body, batch, []int{item})
	if err != nil {
		return protocol.ProvenRecord{}, err
	}
	it := &part.Items[0]
	return protocol.ProvenRecord{Record: ids[item], Index: it.Index, Path: it.Path, Statement: part.Statement, Sig: part.Sig, Hops: part.Hops}, nil
}

// ProvenOrigin is what a verified proof of an origin says.
type ProvenOrigin struct {
	Publisher  protocol.OrgID // who withheld the origin
	Copy       protocol.RecordID
	Published  uint64         // when it signed the copy, Unix milliseconds
	Originator protocol.OrgID // the origin
	Record     protocol.RecordID
	Signed     uint64           // when the originator signed it, Unix milliseconds
	Path       []protocol.OrgID // who passed it on before the publisher had it, from the first
}

// VerifyOriginProof verifies a proof with the cards that it carries, each of which is proven by the
// OrgID that it is of. That the OrgIDs are whose they seem is for people to compare.
func VerifyOriginProof(p *protocol.OriginProof) (*ProvenOrigin, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	held := map[protocol.OrgID]*Card{}
	for i := range p.Cards {
		c, err := VerifyCard(&p.Cards[i])
		if err != nil {
			return nil, err
		}
		held[c.Org] = c
	}
	cards := func(o protocol.OrgID) *Card { return held[o] }
	own, _, err := verifyProven(p.Network, &p.Copy, cards)
	if err != nil {
		return nil, err
	}
	origin, path, err := verifyProven(p.Network, &p.Origin, cards)
	if err != nil {
		return nil, err
	}
	if len(p.Copy.Hops) > 0 || own.Originator == origin.Originator || slices.Contains(path, own.Originator) {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the proof is not of a record whose origin was withheld by who published it")
	}
	commitment := protocol.OriginCommitment(p.Salt, sha256.Sum256(p.Origin.Statement), p.Origin.Record)
	if !slices.Equal(own.Origin, commitment[:]) {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "%s did not commit to this origin when it published the record", own.Originator.Short())
	}
	return &ProvenOrigin{Publisher: own.Originator, Copy: p.Copy.Record, Published: own.Signed, Originator: origin.Originator, Record: p.Origin.Record, Signed: origin.Signed, Path: path}, nil
}

// verifyProven verifies a record without its object.
func verifyProven(network protocol.NetworkID, r *protocol.ProvenRecord, cards func(protocol.OrgID) *Card) (*protocol.BatchStatement, []protocol.OrgID, error) {
	part := &protocol.BatchPart{Statement: r.Statement, Sig: r.Sig, Hops: r.Hops}
	st, err := verifyStatement(network, part, cards)
	if err != nil {
		return nil, nil, err
	}
	if !protocol.VerifyInclusion(st.Root, r.Record, r.Index, st.Count, r.Path) {
		return nil, nil, protocol.Errorf(protocol.ErrBadSignature, "record %s is not one that its originator signed", r.Record.Short())
	}
	path, err := verifyHops(network, part, st.Originator, cards)
	return st, path, err
}
