package crypto

import (
	"errors"
	"fmt"
	"slices"

	"github.com/entente-mesh/entente/protocol"
)

// RotationRequest is a request of which the card verified and the operational key signed.
type RotationRequest struct {
	protocol.RotationRequest
	Name   protocol.Hash // of which Words makes the words
	Card   *Card         // that it begins from
	Signed protocol.Signed
}

// SignRotationRequest signs a request with the operational key that it names.
func SignRotationRequest(r *protocol.RotationRequest, op OpSigner) (protocol.Signed, error) {
	return signOwn(r, protocol.ContextRotationRequest, op)
}

// VerifyRotationRequest verifies a request.
func VerifyRotationRequest(s *protocol.Signed) (*RotationRequest, error) {
	r := &RotationRequest{Signed: *s, Name: protocol.RotationRequestName(s.Statement)}
	if err := protocol.Decode(s.Statement, protocol.MaxRotationSize, &r.RotationRequest); err != nil {
		return nil, fmt.Errorf("reading rotation request: %w", err)
	}
	if err := verifyOwn(s, protocol.ContextRotationRequest, r.Op); err != nil {
		return nil, fmt.Errorf("rotation request: %w", err)
	}
	var signed protocol.SignedCard
	if err := protocol.Decode(r.RotationRequest.Card, protocol.MaxCardSize+1<<10, &signed); err != nil {
		return nil, fmt.Errorf("reading the card of the request: %w", err)
	}
	var err error
	if r.Card, err = VerifyCard(&signed); err != nil {
		return nil, fmt.Errorf("the card of the request: %w", err)
	}
	switch stays := r.Op == r.Card.RootEpoch.Op; {
	case stays && r.Reason != 0:
		return nil, protocol.Errorf(protocol.ErrMalformed, "rotation request ends the operational key that it puts in force")
	case !stays && r.Reason == 0:
		return nil, protocol.Errorf(protocol.ErrMalformed, "rotation request does not say why the operational key so far ends")
	case !stays && r.Card.opKeyEver(r.Op):
		return nil, protocol.Errorf(protocol.ErrMalformed, "rotation request puts an operational key in force again that ended")
	}
	return r, nil
}

// Words returns the words of the request, to be read from the screen of the node.
func (r *RotationRequest) Words() []string { return Words(protocol.OrgID(r.Name)) }

// MatchWords reports whether somebody said the words of the request.
func (r *RotationRequest) MatchWords(said string) bool {
	return MatchWords(protocol.OrgID(r.Name), said)
}

// epoch returns the root epoch that is asked for, after so many root rotations more.
func (r *RotationRequest) epoch(more int) (*protocol.RootEpoch, error) {
	e := r.Card.RootEpoch
	rotations, n := protocol.EpochParts(e.Epoch)
	if n++; more > 0 {
		n = 1
	}
	if n > protocol.MaxEpochs {
		return nil, protocol.Errorf(protocol.ErrOversize, "this root set has signed %d root epochs, and signs no more: rotate the root", protocol.MaxEpochs)
	}
	e.Epoch = protocol.EpochNumber(rotations+more, n)
	e.Issued = r.Made
	if r.Reason != 0 {
		e.Retired = append(slices.Clone(e.Retired), protocol.RetiredKey{Key: e.Op, Reason: r.Reason, At: r.Made})
	}
	for len(e.Retired) > protocol.MaxRetiredKeys {
		// One that is not listed is worth what a compromised one is, so those go first.
		i := slices.IndexFunc(e.Retired, func(k protocol.RetiredKey) bool { return k.Reason == protocol.RetiredCompromised })
		e.Retired = slices.Delete(e.Retired, max(i, 0), max(i, 0)+1)
	}
	e.Op = r.Op
	return &e, nil
}

// RootStep is a root set that comes in force, and the hash of the one after it.
type RootStep struct {
	Root protocol.RootSet
	Next protocol.Hash
}

// NewRotation begins the rotation of a request: without steps one of the operational key, with them
// one of the root set. Nobody has signed it yet.
func NewRotation(r *RotationRequest, steps ...RootStep) (*Rotation, error) {
	switch {
	case r.Kind == protocol.RotateOp && len(steps) > 0:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the request is for another operational key, not for other root keys")
	case r.Kind == protocol.RotateRoot && len(steps) == 0:
		return nil, protocol.Errorf(protocol.ErrWrongContext, "the request is for other root keys: run 'entente ceremony rotate' or 'entente ceremony adopt' with it first")
	case len(r.Card.Rotations)+len(steps) > protocol.MaxRotations:
		return nil, protocol.Errorf(protocol.ErrOversize, "the card would list %d root rotations, at most %d: found the organisation anew", len(r.Card.Rotations)+len(steps), protocol.MaxRotations)
	}
	e, err := r.epoch(len(steps))
	if err != nil {
		return nil, err
	}
	f := protocol.Rotation{Version: 1, Request: r.Signed, RootEpoch: protocol.Signed{Statement: protocol.Encode(e)}}
	for i, s := range steps {
		f.Rotations = append(f.Rotations, protocol.Signed{Statement: protocol.Encode(&protocol.RootRotation{Version: 1, Org: r.Card.Org,
			Index: uint32(len(r.Card.Rotations) + i + 1), Root: s.Root, Next: s.Next})})
	}
	return VerifyRotation(&f)
}

// Rotation is a rotation whose statements are what its request asks for, and of which every signature
// that is there verified.
type Rotation struct {
	Request *RotationRequest
	Name    protocol.Hash // of which Words makes the words
	Epoch   protocol.RootEpoch
	Steps   []RootStep
	Root    protocol.RootSet // that signs the epoch
	File    protocol.Rotation
}

// VerifyRotation verifies a rotation that not everybody may have signed yet; see Missing.
func VerifyRotation(f *protocol.Rotation) (*Rotation, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	req, err := VerifyRotationRequest(&f.Request)
	if err != nil {
		return nil, err
	}
	if (req.Kind == protocol.RotateRoot) != (len(f.Rotations) > 0) {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "rotation is of another kind than its request")
	}
	out := &Rotation{Request: req, Root: req.Card.Root, File: *f}
	var statements [][]byte
	next := req.Card.Next
	for i := range f.Rotations {
		var r protocol.RootRotation
		if err := protocol.Decode(f.Rotations[i].Statement, protocol.MaxRotationSize, &r); err != nil {
			return nil, fmt.Errorf("reading root rotation: %w", err)
		}
		switch {
		case r.Org != req.Card.Org || int(r.Index) != len(req.Card.Rotations)+i+1:
			return nil, protocol.Errorf(protocol.ErrWrongContext, "root rotation belongs to another place")
		case r.Root.Hash() != next:
			return nil, protocol.Errorf(protocol.ErrBadSignature, "root rotation is not to the keys that were committed to")
		}
		if err := allOf(&r.Root, protocol.ContextRootRotation, &f.Rotations[i]); err != nil {
			return nil, err
		}
		out.Steps = append(out.Steps, RootStep{r.Root, r.Next})
		out.Root, next = r.Root, r.Next
		statements = append(statements, f.Rotations[i].Statement)
	}
	out.Name = protocol.RotationName(f.Request.Statement, statements...)
	want, err := req.epoch(len(f.Rotations))
	if err != nil {
		return nil, err
	}
	if string(protocol.Encode(want)) != string(f.RootEpoch.Statement) {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "root epoch is not the one that the request asks for")
	}
	out.Epoch = *want
	return out, allOf(&out.Root, protocol.ContextRootEpoch, &f.RootEpoch)
}

// Words returns the words of the rotation. Those of a rotation of the root set are not the words of its
// request: the ceremony that began it chose root sets of which the node knows nothing, and prints them.
func (r *Rotation) Words() []string { return Words(protocol.OrgID(r.Name)) }

// MatchWords reports whether somebody said the words of the rotation.
func (r *Rotation) MatchWords(said string) bool { return MatchWords(protocol.OrgID(r.Name), said) }

// allOf wants every signature to be of a key of a set, and to verify.
func allOf(set *protocol.RootSet, c protocol.Context, s *protocol.Signed) error {
	for _, sig := range s.Sigs {
		if !slices.Contains(set.Keys, protocol.RootKey(sig.Key)) {
			return protocol.Errorf(protocol.ErrBadSignature, "a signature is of a key that is not of the root set")
		}
		if err := Verify(sig.Key, c, protocol.NoNetwork, s.Statement, sig.Sig); err != nil {
			return err
		}
	}
	return nil
}

// Sign adds the signatures of a root key, wherever it is of the set that has to sign. It reports
// whether there was anything that the key had not signed.
func (r *Rotation) Sign(k RootPrivate) bool {
	changed := false
	sign := func(set *protocol.RootSet, c protocol.Context, s *protocol.Signed) {
		if slices.Contains(set.Keys, k.Public()) {
			before := len(s.Sigs)
			signRoot(s, c, k)
			changed = changed || len(s.Sigs) > before
		}
	}
	r.File.Rotations = slices.Clone(r.File.Rotations)
	for i := range r.Steps {
		sign(&r.Steps[i].Root, protocol.ContextRootRotation, &r.File.Rotations[i])
	}
	sign(&r.Root, protocol.ContextRootEpoch, &r.File.RootEpoch)
	return changed
}

// Knows reports whether a key is of a set that has to sign.
func (r *Rotation) Knows(k protocol.RootKey) bool {
	return slices.Contains(r.Root.Keys, k) || slices.ContainsFunc(r.Steps, func(s RootStep) bool { return slices.Contains(s.Root.Keys, k) })
}

// ErrOtherRotation is returned where signatures of two rotations are to be joined.
var ErrOtherRotation = errors.New("the two files are of different rotations")

// Join adds the signatures that another file of the same rotation holds.
func (r *Rotation) Join(other *Rotation) error {
	a, b := &r.File, &other.File
	pairs := [][2]*protocol.Signed{{&a.RootEpoch, &b.RootEpoch}}
	if string(a.Request.Statement) != string(b.Request.Statement) || len(a.Rotations) != len(b.Rotations) {
		return ErrOtherRotation
	}
	a.Rotations = slices.Clone(a.Rotations)
	for i := range a.Rotations {
		pairs = append(pairs, [2]*protocol.Signed{&a.Rotations[i], &b.Rotations[i]})
	}
	for _, p := range pairs {
		if string(p[0].Statement) != string(p[1].Statement) {
			return ErrOtherRotation
		}
	}
	for _, p := range pairs {
		list := slices.Concat(p[0].Sigs, p[1].Sigs)
		slices.SortFunc(list, func(x, y protocol.KeySignature) int { return slices.Compare(x.Key[:], y.Key[:]) })
		p[0].Sigs = slices.CompactFunc(list, func(x, y protocol.KeySignature) bool { return x.Key == y.Key })
	}
	return nil
}

// MissingSignatures says how many signatures a root set lacks.
type MissingSignatures struct {
	What       string // what is signed, for people
	Have, Need int
}

// Missing returns what lacks signatures; nothing where enough have signed.
func (r *Rotation) Missing() (out []MissingSignatures) {
	count := func(what string, set *protocol.RootSet, s *protocol.Signed) {
		if have := len(s.Sigs); have < int(set.Threshold) {
			out = append(out, MissingSignatures{what, have, int(set.Threshold)})
		}
	}
	for i := range r.Steps {
		count(fmt.Sprintf("root rotation %d", len(r.Request.Card.Rotations)+i+1), &r.Steps[i].Root, &r.File.Rotations[i])
	}
	count("root epoch "+protocol.EpochText(r.Epoch.Epoch), &r.Root, &r.File.RootEpoch)
	return out
}
