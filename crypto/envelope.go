package crypto

import "github.com/entente-mesh/entente/protocol"

// VerifiedEnvelope is an envelope whose signature verified. Only VerifyEnvelope and
// SignEnvelope make one that stores accept.
type VerifiedEnvelope struct {
	protocol.Origin
	Header   protocol.Header
	Hash     protocol.Hash // of the entry: what the next one names as previous
	Body     []byte        // nil of a skeleton
	Raw      []byte        // the encoded envelope
	verified bool
}

// Skeleton reports whether the body was left out.
func (e *VerifiedEnvelope) Skeleton() bool { return len(e.Body) == 0 }

// Stripped returns the entry without its body, as it is stored and served when the body is
// erased.
func (e *VerifiedEnvelope) Stripped() *VerifiedEnvelope {
	if e.Skeleton() {
		return e
	}
	s := *e
	s.Body, s.Raw = nil, protocol.Strip(e.Raw, len(e.Body))
	return &s
}

// Verified reports whether the envelope was made by verification or by signing.
func (e *VerifiedEnvelope) Verified() bool { return e.verified }

// SignEnvelope makes the entry seq of a feed. body is kept, not copied.
func SignEnvelope(network protocol.NetworkID, origin protocol.Origin, kind protocol.EntryKind, seq uint64, previous protocol.Hash, body []byte, key SigningPrivate) (*VerifiedEnvelope, error) {
	h := protocol.Header{Version: 1, Suite: protocol.Suite1, Kind: kind, Feed: origin.FeedID(network), Seq: seq,
		Previous: previous, BodyHash: protocol.HashBody(body), BodySize: uint32(len(body))}
	if len(body) > protocol.MaxBodySize {
		return nil, protocol.Errorf(protocol.ErrOversize, "body has %d bytes, at most %d", len(body), protocol.MaxBodySize)
	}
	if err := h.Validate(); err != nil {
		return nil, err
	}
	enc := protocol.Encode(&h)
	env := protocol.Envelope{Origin: origin, Header: enc, Sig: key.sign(protocol.ContextEnvelope, network, enc), Body: body}
	return &VerifiedEnvelope{Origin: origin, Header: h, Hash: protocol.EntryHash(enc), Body: body, Raw: protocol.Encode(&env), verified: true}, nil
}

// VerifyEnvelope reads an envelope strictly and verifies its signature with the key that
// its origin names. Whose key that is, and whether the entry continues its feed, is for the
// caller to find out.
func VerifyEnvelope(network protocol.NetworkID, data []byte) (*VerifiedEnvelope, error) {
	env, h, err := protocol.DecodeEnvelope(network, data)
	if err != nil {
		return nil, err
	}
	return verifyEnvelope(network, env, h, data)
}

// VerifySkeleton reads an envelope whose body was left out and verifies its signature, which
// is over the header alone. Whether the body may be missing is for the caller to find out.
func VerifySkeleton(network protocol.NetworkID, data []byte) (*VerifiedEnvelope, error) {
	env, h, err := protocol.DecodeSkeleton(network, data)
	if err != nil {
		return nil, err
	}
	return verifyEnvelope(network, env, h, data)
}

// VerifyEntry reads an envelope with or without its body.
func VerifyEntry(network protocol.NetworkID, data []byte) (*VerifiedEnvelope, error) {
	env, err := VerifyEnvelope(network, data)
	if err == nil || protocol.Class(err) != "malformed" {
		return env, err
	}
	if s, serr := VerifySkeleton(network, data); serr == nil {
		return s, nil
	}
	return nil, err
}

func verifyEnvelope(network protocol.NetworkID, env *protocol.Envelope, h *protocol.Header, data []byte) (*VerifiedEnvelope, error) {
	if err := Verify(env.Origin.Signing, protocol.ContextEnvelope, network, env.Header, env.Sig); err != nil {
		return nil, err
	}
	return &VerifiedEnvelope{Origin: env.Origin, Header: *h, Hash: protocol.EntryHash(env.Header), Body: env.Body, Raw: data, verified: true}, nil
}

// ForkOf makes the proof of two entries, encoded, of one feed and seq. It fails if they do
// not contradict each other.
func ForkOf(network protocol.NetworkID, a, b []byte) (*protocol.ForkProof, error) {
	var x, y protocol.Envelope
	if err := protocol.Decode(a, protocol.MaxEnvelopeSize, &x); err != nil {
		return nil, err
	}
	if err := protocol.Decode(b, protocol.MaxEnvelopeSize, &y); err != nil {
		return nil, err
	}
	p := protocol.NewForkProof(network, x.Origin, protocol.SignedHeader{Header: x.Header, Sig: x.Sig}, protocol.SignedHeader{Header: y.Header, Sig: y.Sig})
	_, err := VerifyFork(network, p)
	return p, err
}

// Fork is a fork proof that verified.
type Fork struct {
	protocol.ForkProof
	Feed protocol.FeedID
	Seq  uint64 // of both entries
	A, B protocol.Header
}

// VerifyFork verifies a fork proof. It needs no card: who the author is does not matter to
// whether it forked.
func VerifyFork(network protocol.NetworkID, p *protocol.ForkProof) (*Fork, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Network != network {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "fork proof belongs to another network")
	}
	a, b, err := p.Headers()
	if err != nil {
		return nil, err
	}
	for _, s := range []protocol.SignedHeader{p.A, p.B} {
		if err := Verify(p.Origin.Signing, protocol.ContextEnvelope, network, s.Header, s.Sig); err != nil {
			return nil, err
		}
	}
	return &Fork{ForkProof: *p, Feed: a.Feed, Seq: a.Seq, A: *a, B: *b}, nil
}

// SignErase signs an erase with the key of the feed.
func SignErase(e *protocol.Erase, key SigningPrivate) (protocol.SignedErase, error) {
	e.Normalise()
	if err := e.Validate(); err != nil {
		return protocol.SignedErase{}, err
	}
	b := protocol.Encode(e)
	return protocol.SignedErase{Statement: b, Key: key.Public(), Sig: key.sign(protocol.ContextErase, e.Network, b)}, nil
}

// SignEraseByOrg signs an erase with an operational key, for a feed whose node is no more.
func SignEraseByOrg(e *protocol.Erase, op OpSigner) (protocol.SignedErase, error) {
	e.Normalise()
	if err := e.Validate(); err != nil {
		return protocol.SignedErase{}, err
	}
	b := protocol.Encode(e)
	sig, err := op.Sign(protocol.ContextErase, e.Network, b)
	return protocol.SignedErase{Statement: b, Key: op.Public(), Sig: sig}, err
}

// VerifyErase verifies an erase. opKey says whether a key is an operational key of the
// organisation to which the feed's signing key belongs; it is asked where the key of the
// feed itself did not sign.
func VerifyErase(network protocol.NetworkID, s *protocol.SignedErase, opKey func(signing protocol.SigningKey, key protocol.OpKey) bool) (*protocol.Erase, error) {
	var e protocol.Erase
	if err := protocol.Decode(s.Statement, protocol.MaxStatementSize, &e); err != nil {
		return nil, err
	}
	switch {
	case e.Network != network:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "erase belongs to another network")
	case s.Key != e.Origin.Signing && !opKey(e.Origin.Signing, s.Key):
		return nil, protocol.Errorf(protocol.ErrBadSignature, "erase is signed neither by the node whose feed it is nor by its organisation")
	}
	return &e, Verify(s.Key, protocol.ContextErase, network, s.Statement, s.Sig)
}

// SignHead signs a statement of where a feed stands.
func SignHead(h *protocol.Head, key SigningPrivate) (protocol.Signed, error) {
	if err := h.Validate(); err != nil {
		return protocol.Signed{}, err
	}
	b := protocol.Encode(h)
	sig := protocol.KeySignature{Key: key.Public(), Sig: key.sign(protocol.ContextHead, h.Network, b)}
	return protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{sig}}, nil
}

// VerifyHead verifies a head with the key that its origin names.
func VerifyHead(network protocol.NetworkID, s *protocol.Signed) (*protocol.Head, error) {
	var h protocol.Head
	if err := protocol.Decode(s.Statement, protocol.MaxStatementSize, &h); err != nil {
		return nil, err
	}
	switch {
	case h.Network != network:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "head belongs to another network")
	case len(s.Sigs) != 1 || s.Sigs[0].Key != h.Origin.Signing:
		return nil, protocol.Errorf(protocol.ErrBadSignature, "head is not signed by the key of its feed")
	}
	return &h, Verify(h.Origin.Signing, protocol.ContextHead, network, s.Statement, s.Sigs[0].Sig)
}

// SignReceipt signs a receipt with the key of the node that holds.
func SignReceipt(r *protocol.Receipt, key SigningPrivate) (protocol.Signed, error) {
	if err := r.Validate(); err != nil {
		return protocol.Signed{}, err
	}
	b := protocol.Encode(r)
	sig := protocol.KeySignature{Key: key.Public(), Sig: key.sign(protocol.ContextReceipt, r.Network, b)}
	return protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{sig}}, nil
}

// VerifyReceipt verifies a receipt with the key that it names. Whose key that is, is for the
// caller to find out.
func VerifyReceipt(network protocol.NetworkID, s *protocol.Signed) (*protocol.Receipt, error) {
	var r protocol.Receipt
	if err := protocol.Decode(s.Statement, protocol.MaxStatementSize, &r); err != nil {
		return nil, err
	}
	switch {
	case r.Network != network:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "receipt belongs to another network")
	case len(s.Sigs) != 1 || s.Sigs[0].Key != r.Holder:
		return nil, protocol.Errorf(protocol.ErrBadSignature, "receipt is not signed by the node that it names")
	}
	return &r, Verify(r.Holder, protocol.ContextReceipt, network, s.Statement, s.Sigs[0].Sig)
}
