package crypto

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
)

// FoundingRequest is a request whose operational key signed it. Whether it is the one of the node
// that is meant, people say who compare its words.
type FoundingRequest struct {
	protocol.FoundingRequest
	Name   protocol.Hash // of which Words makes the words
	Signed protocol.Signed
}

// SignFoundingRequest signs a request with the operational key that it names.
func SignFoundingRequest(r *protocol.FoundingRequest, op OpSigner) (protocol.Signed, error) {
	return signOwn(r, protocol.ContextFoundingRequest, op)
}

// signOwn signs a statement with the operational key that it names.
func signOwn(r interface{ Validate() error }, c protocol.Context, op OpSigner) (protocol.Signed, error) {
	if err := r.Validate(); err != nil {
		return protocol.Signed{}, err
	}
	b := protocol.Encode(r)
	sig, err := op.Sign(c, protocol.NoNetwork, b)
	return protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{{Key: op.Public(), Sig: sig}}}, err
}

// verifyOwn wants exactly one signature, by a key.
func verifyOwn(s *protocol.Signed, c protocol.Context, key [32]byte) error {
	if len(s.Sigs) != 1 || s.Sigs[0].Key != key {
		return protocol.Errorf(protocol.ErrBadSignature, "it is not signed by the key that it names")
	}
	return Verify(key, c, protocol.NoNetwork, s.Statement, s.Sigs[0].Sig)
}

// VerifyFoundingRequest verifies a request.
func VerifyFoundingRequest(s *protocol.Signed) (*FoundingRequest, error) {
	r := &FoundingRequest{Signed: *s, Name: protocol.FoundingRequestName(s.Statement)}
	if err := protocol.Decode(s.Statement, protocol.MaxFoundingSize, &r.FoundingRequest); err != nil {
		return nil, fmt.Errorf("reading founding request: %w", err)
	}
	return r, verifyOwn(s, protocol.ContextFoundingRequest, r.Op)
}

// Words returns the words of the request, to be read from the screen of the node.
func (r *FoundingRequest) Words() []string { return Words(protocol.OrgID(r.Name)) }

// MatchWords reports whether somebody said the words of the request.
func (r *FoundingRequest) MatchWords(said string) bool {
	return MatchWords(protocol.OrgID(r.Name), said)
}

// Founding is an organisation as it was founded: its first root epoch verified.
type Founding struct {
	protocol.Inception
	Org   protocol.OrgID
	Epoch protocol.RootEpoch
	File  protocol.Founding
}

// NewRootKeys makes the keys of a root set of which threshold have to sign, sorted as in the set.
func NewRootKeys(n, threshold int) ([]RootPrivate, protocol.RootSet, error) {
	if n < 1 || n > protocol.MaxRootKeys || threshold < 1 || threshold > n {
		return nil, protocol.RootSet{}, protocol.Errorf(protocol.ErrMalformed, "%d of %d root keys: a root set has 1 to %d keys, and at least one and at most all of them have to sign", threshold, n, protocol.MaxRootKeys)
	}
	keys := make([]RootPrivate, n)
	for i := range keys {
		keys[i] = GenerateRoot()
	}
	slices.SortFunc(keys, func(a, b RootPrivate) int {
		x, y := a.Public(), b.Public()
		return bytes.Compare(x[:], y[:])
	})
	set := protocol.RootSet{Threshold: uint8(threshold)}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	return keys, set, set.Validate()
}

// Found founds the organisation of a request with the keys of its first root set, all of which sign
// its first epoch, and the hash of the set that will follow.
func Found(r *FoundingRequest, set protocol.RootSet, keys []RootPrivate, next protocol.Hash) (*Founding, error) {
	inc := protocol.Inception{Version: 1, Name: r.FoundingRequest.Name, Kind: r.Kind, Country: r.Country, Root: set, Next: next}
	rand.Read(inc.Nonce[:])
	if err := inc.Validate(); err != nil {
		return nil, err
	}
	f := protocol.Founding{Version: 1, Inception: protocol.Encode(&inc),
		RootEpoch: protocol.Signed{Statement: protocol.Encode(&protocol.RootEpoch{Version: 1, Org: inc.ID(), Epoch: 1, Op: r.Op, Issued: r.Made})}}
	for _, k := range keys {
		signRoot(&f.RootEpoch, protocol.ContextRootEpoch, k)
	}
	return VerifyFounding(&f)
}

// signRoot adds the signature of a root key in its place.
func signRoot(s *protocol.Signed, c protocol.Context, k RootPrivate) {
	public := k.Public()
	i, ok := slices.BinarySearchFunc(s.Sigs, public[:], func(a protocol.KeySignature, b []byte) int { return bytes.Compare(a.Key[:], b) })
	if !ok {
		s.Sigs = slices.Insert(slices.Clone(s.Sigs), i, protocol.KeySignature{Key: public, Sig: k.sign(c, protocol.NoNetwork, s.Statement)})
	}
}

// VerifyFounding verifies a founding from its inception up.
func VerifyFounding(f *protocol.Founding) (*Founding, error) {
	out := &Founding{File: *f}
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if err := protocol.Decode(f.Inception, protocol.MaxFoundingSize, &out.Inception); err != nil {
		return nil, fmt.Errorf("reading inception: %w", err)
	}
	out.Org = out.Inception.ID()
	if err := protocol.Decode(f.RootEpoch.Statement, protocol.MaxFoundingSize, &out.Epoch); err != nil {
		return nil, fmt.Errorf("reading root epoch: %w", err)
	}
	if out.Epoch.Org != out.Org || out.Epoch.Epoch != 1 || len(out.Epoch.Retired) > 0 {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "founding holds a root epoch that is not the first of its organisation")
	}
	if err := verifyThreshold(&out.Root, protocol.ContextRootEpoch, &f.RootEpoch); err != nil {
		return nil, fmt.Errorf("root epoch: %w", err)
	}
	return out, nil
}

// Fingerprint returns four words that tell the root keys of an organisation apart. They prove
// nothing: a key is compared whole, as in the protocol of a ceremony.
func Fingerprint(k protocol.RootKey) string {
	return strings.Join(Words(protocol.OrgID(protocol.RootKeyName(k)))[:4], " ")
}
