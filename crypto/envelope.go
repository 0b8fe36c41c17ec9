package crypto

import "github.com/entente-mesh/entente/protocol"

// VerifiedEnvelope is an envelope whose signature verified. Only VerifyEnvelope and
// SignEnvelope make one that stores accept.
type VerifiedEnvelope struct {
	protocol.Origin
	Header   protocol.Header
	Hash     protocol.Hash // of the entry: what the next one names as previous
	Body     []byte
	Raw      []byte // the encoded envelope
	verified bool
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
	if err := Verify(env.Origin.Signing, protocol.ContextEnvelope, network, env.Header, env.Sig); err != nil {
		return nil, err
	}
	return &VerifiedEnvelope{Origin: env.Origin, Header: *h, Hash: protocol.EntryHash(env.Header), Body: env.Body, Raw: data, verified: true}, nil
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
