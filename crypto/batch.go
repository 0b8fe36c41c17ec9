package crypto

import (
	"crypto/rand"
	"crypto/sha256"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// SignBatch signs records made together: one signature over their Merkle root. items have
// Index, Handling and Object set, in order; handlings are the encoded ones that they refer
// to. It returns the whole batch and the record ids. The objects are kept, not copied.
func SignBatch(network protocol.NetworkID, originator protocol.OrgID, card protocol.CardOrder, key SigningPrivate, now uint64, handlings [][]byte, items []protocol.Item) (protocol.BatchPart, []protocol.RecordID, error) {
	return SignBatchFor(network, originator, card, key, now, handlings, items, BatchForm{})
}

// BatchForm says of a batch what is never so of itself.
type BatchForm struct {
	Behalf *protocol.OrgSigned // the mandate under which it is published on behalf of another; nil: it is not
	Origin *protocol.Hash      // a protocol.OriginCommitment to where its record came from; nil: from who signs
}

// SignBatchFor is SignBatch in an explicit form.
func SignBatchFor(network protocol.NetworkID, originator protocol.OrgID, card protocol.CardOrder, key SigningPrivate, now uint64, handlings [][]byte, items []protocol.Item, form BatchForm) (protocol.BatchPart, []protocol.RecordID, error) {
	var seed [32]byte
	rand.Read(seed[:])
	part := protocol.BatchPart{Seed: seed[:], Items: items}
	ids, err := leaves(&part, handlings)
	if err != nil {
		return protocol.BatchPart{}, nil, err
	}
	st := &protocol.BatchStatement{Version: 1, Suite: protocol.Suite1, Originator: originator, Card: card,
		Signing: key.Public(), Count: uint32(len(items)), Signed: now}
	if form.Behalf != nil {
		st.Behalf = []protocol.OrgSigned{*form.Behalf}
	}
	if form.Origin != nil {
		st.Origin = form.Origin[:]
	}
	if len(items) > 0 {
		st.Root = protocol.MerkleRoot(ids)
	}
	if err := st.Validate(); err != nil {
		return protocol.BatchPart{}, nil, err
	}
	part.Statement = protocol.Encode(st)
	part.Sig = key.sign(protocol.ContextBatch, network, part.Statement)
	return part, ids, nil
}

// leaves returns the record ids of a part's items.
func leaves(p *protocol.BatchPart, handlings [][]byte) ([]protocol.RecordID, error) {
	ids := make([]protocol.RecordID, len(p.Items))
	for i := range p.Items {
		it := &p.Items[i]
		if int(it.Handling) >= len(handlings) {
			return nil, protocol.Errorf(protocol.ErrMalformed, "record refers to a handling that is not there")
		}
		var salt [16]byte
		if len(p.Seed) == 32 {
			salt = protocol.Salt([32]byte(p.Seed), it.Index)
		} else {
			salt = [16]byte(it.Salt)
		}
		ids[i] = protocol.LeafHash(salt, handlings[it.Handling], it.Object)
	}
	return ids, nil
}

// PartOf takes some records out of a batch of body, or out of a part of one: they verify
// alone, at any hop, and say nothing of the others. indices are positions in body's batch, in
// order. The items refer to body's handlings.
func PartOf(body *protocol.Body, batch int, indices []int) (protocol.BatchPart, error) {
	if batch < 0 || batch >= len(body.Batches) {
		return protocol.BatchPart{}, protocol.Errorf(protocol.ErrMalformed, "body has no batch %d", batch)
	}
	whole := &body.Batches[batch]
	var ids []protocol.RecordID
	if len(whole.Seed) == 32 {
		var err error
		if ids, err = leaves(whole, body.Handlings); err != nil {
			return protocol.BatchPart{}, err
		}
	}
	part := protocol.BatchPart{Statement: whole.Statement, Sig: whole.Sig, Hops: slices.Clone(whole.Hops)}
	for _, i := range indices {
		if i < 0 || i >= len(whole.Items) {
			return protocol.BatchPart{}, protocol.Errorf(protocol.ErrMalformed, "batch has no record %d", i)
		}
		it := whole.Items[i]
		if ids != nil { // an item of a part has its own already
			salt := protocol.Salt([32]byte(whole.Seed), uint32(i))
			it.Salt, it.Path = slices.Clone(salt[:]), protocol.InclusionPath(ids, i)
		}
		part.Items = append(part.Items, it)
	}
	return part, nil
}

// VerifiedRecord is a record whose originator's signature verified.
type VerifiedRecord struct {
	ID            protocol.RecordID
	Originator    protocol.OrgID
	Handling      protocol.Handling
	HandlingBytes []byte
	Object        []byte
	Signed        uint64           // Unix milliseconds, by the originator's clock
	Path          []protocol.OrgID // who passed it on, from the first; shared by the records of a batch
	Behalf        *OnBehalf        // nil: its originator speaks for itself; shared by the records of a batch
	Withheld      bool             // its originator had it of another, which it does not name
}

// SignHop adds to a part of a batch the statement that org passes it on at a time, Unix
// milliseconds. It returns an error if it was passed on too often, or by org before.
func SignHop(network protocol.NetworkID, org protocol.OrgID, key SigningPrivate, at uint64, p *protocol.BatchPart) error {
	if len(p.Hops) >= protocol.MaxHops {
		return protocol.Errorf(protocol.ErrOversize, "it was passed on by %d organisations already, and goes no further", len(p.Hops))
	}
	st := &protocol.HopStatement{Version: 1, Org: org, Signing: key.Public(), Batch: sha256.Sum256(p.Statement), At: at}
	for i := range p.Hops {
		before, err := hopStatement(&p.Hops[i])
		if err != nil {
			return err
		}
		if before.Org == org {
			return protocol.Errorf(protocol.ErrWrongContext, "%s passed it on already", org.Short())
		}
		st.Previous = p.Hops[i].Hash()
	}
	h := protocol.Hop{Statement: protocol.Encode(st)}
	h.Sig = key.sign(protocol.ContextHop, network, h.Statement)
	p.Hops = append(p.Hops, h)
	return nil
}

// SignExclusion signs an exclusion with the key of a node of the originator, which it names.
func SignExclusion(st *protocol.ExclusionStatement, key SigningPrivate) (protocol.Exclusion, error) {
	st.Signing = key.Public()
	if err := st.Validate(); err != nil {
		return protocol.Exclusion{}, err
	}
	x := protocol.Exclusion{Statement: protocol.Encode(st)}
	x.Sig = key.sign(protocol.ContextExclusion, st.Network, x.Statement)
	return x, nil
}

// VerifyExclusion verifies an exclusion with the newest card of the originator that it names. That
// the records are the originator's is for the caller to see.
func VerifyExclusion(network protocol.NetworkID, x *protocol.Exclusion, cards func(protocol.OrgID) *Card) (*protocol.ExclusionStatement, error) {
	st := new(protocol.ExclusionStatement)
	if err := protocol.Decode(x.Statement, protocol.MaxPlainSize, st); err != nil {
		return nil, err
	}
	if st.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "exclusion belongs to another network")
	}
	card := cards(st.Originator)
	if card == nil || !card.Lists(st.Signing) {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "exclusion of %s is signed with a key that its card does not list", st.Originator.Short())
	}
	return st, Verify(st.Signing, protocol.ContextExclusion, network, x.Statement, x.Sig)
}

// SignExclusionAck signs the acknowledgement of an exclusion with the key of a node, which it names.
func SignExclusionAck(st *protocol.ExclusionAckStatement, key SigningPrivate) (protocol.ExclusionAck, error) {
	st.Signing = key.Public()
	if err := st.Validate(); err != nil {
		return protocol.ExclusionAck{}, err
	}
	a := protocol.ExclusionAck{Statement: protocol.Encode(st)}
	a.Sig = key.sign(protocol.ContextExclusionAck, st.Network, a.Statement)
	return a, nil
}

// VerifyExclusionAck verifies an acknowledgement with the newest card of the organisation that it
// names. That the exclusion is known is for the caller to see.
func VerifyExclusionAck(network protocol.NetworkID, a *protocol.ExclusionAck, cards func(protocol.OrgID) *Card) (*protocol.ExclusionAckStatement, error) {
	st := new(protocol.ExclusionAckStatement)
	if err := protocol.Decode(a.Statement, protocol.MaxLetterSize, st); err != nil {
		return nil, err
	}
	if st.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "acknowledgement belongs to another network")
	}
	card := cards(st.Org)
	if card == nil || !card.Lists(st.Signing) {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "acknowledgement of %s is signed with a key that its card does not list", st.Org.Short())
	}
	return st, Verify(st.Signing, protocol.ContextExclusionAck, network, a.Statement, a.Sig)
}

func hopStatement(h *protocol.Hop) (*protocol.HopStatement, error) {
	st := new(protocol.HopStatement)
	return st, protocol.Decode(h.Statement, protocol.MaxStatementSize, st)
}

// verifyHops verifies who passed a batch on: each names the batch and the hop before it, no
// organisation stands there twice, and the originator does not.
func verifyHops(network protocol.NetworkID, p *protocol.BatchPart, originator protocol.OrgID, cards func(protocol.OrgID) *Card) (path []protocol.OrgID, err error) {
	var previous protocol.Hash
	for i := range p.Hops {
		h := &p.Hops[i]
		st, err := hopStatement(h)
		if err != nil {
			return nil, err
		}
		if st.Batch != sha256.Sum256(p.Statement) || st.Previous != previous {
			return nil, protocol.Errorf(protocol.ErrWrongContext, "the statement of %s that it passed records on is of others, or of another way that they went", st.Org.Short())
		}
		if st.Org == originator || slices.Contains(path, st.Org) {
			return nil, protocol.Errorf(protocol.ErrWrongContext, "records came back to %s and were passed on again", st.Org.Short())
		}
		card := cards(st.Org)
		if card == nil || !card.Lists(st.Signing) {
			return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "records are passed on by %s with a key that its card does not list", st.Org.Short())
		}
		if err := Verify(st.Signing, protocol.ContextHop, network, h.Statement, h.Sig); err != nil {
			return nil, err
		}
		path, previous = append(path, st.Org), h.Hash()
	}
	return path, nil
}

// VerifyBody verifies every batch of a body and returns all records, in order. One batch
// that does not verify spoils the body: its publisher vouched for all of it.
func VerifyBody(network protocol.NetworkID, body *protocol.Body, cards func(protocol.OrgID) *Card) ([]VerifiedRecord, error) {
	if err := body.Validate(); err != nil {
		return nil, err
	}
	handlings := make([]protocol.Handling, len(body.Handlings))
	for i, b := range body.Handlings {
		if err := protocol.Decode(b, protocol.MaxPlainSize, &handlings[i]); err != nil {
			return nil, err
		}
		if handlings[i].TLP == protocol.TLPUnset {
			return nil, protocol.Errorf(protocol.ErrMalformed, "handling of a record lacks a TLP")
		}
	}
	var out []VerifiedRecord
	for i := range body.Batches {
		p := &body.Batches[i]
		st, ids, err := verifyPart(network, p, body.Handlings, cards)
		if err != nil {
			return nil, err
		}
		path, err := verifyHops(network, p, st.Originator, cards)
		if err != nil {
			return nil, err
		}
		behalf, err := verifyBehalf(network, st, p, handlings, cards)
		if err != nil {
			return nil, err
		}
		out = slices.Grow(out, len(p.Items))
		for j := range p.Items {
			it := &p.Items[j]
			out = append(out, VerifiedRecord{ID: ids[j], Originator: st.Originator, Handling: handlings[it.Handling],
				HandlingBytes: body.Handlings[it.Handling], Object: it.Object, Signed: st.Signed, Path: path, Behalf: behalf, Withheld: len(st.Origin) > 0})
		}
	}
	return out, nil
}

// verifyStatement verifies the signature under a batch.
func verifyStatement(network protocol.NetworkID, p *protocol.BatchPart, cards func(protocol.OrgID) *Card) (*protocol.BatchStatement, error) {
	st := new(protocol.BatchStatement)
	if err := protocol.Decode(p.Statement, protocol.MaxStatementSize, st); err != nil {
		return nil, err
	}
	card := cards(st.Originator)
	if card == nil || !card.Lists(st.Signing) {
		return nil, protocol.Errorf(protocol.ErrUnknownAuthor, "records of %s are signed with a key that its card does not list", st.Originator.Short())
	}
	return st, Verify(st.Signing, protocol.ContextBatch, network, p.Statement, p.Sig)
}

func verifyPart(network protocol.NetworkID, p *protocol.BatchPart, handlings [][]byte, cards func(protocol.OrgID) *Card) (*protocol.BatchStatement, []protocol.RecordID, error) {
	st, err := verifyStatement(network, p, cards)
	if err != nil {
		return nil, nil, err
	}
	ids, err := leaves(p, handlings)
	if err != nil {
		return nil, nil, err
	}
	if len(p.Seed) == 32 {
		if len(p.Items) != int(st.Count) || protocol.MerkleRoot(ids) != st.Root {
			return nil, nil, protocol.Errorf(protocol.ErrBadSignature, "records are not those that their originator signed")
		}
		return st, ids, nil
	}
	for i := range p.Items {
		if !protocol.VerifyInclusion(st.Root, ids[i], p.Items[i].Index, st.Count, p.Items[i].Path) {
			return nil, nil, protocol.Errorf(protocol.ErrBadSignature, "record %d is not one that its originator signed", i)
		}
	}
	return st, ids, nil
}
