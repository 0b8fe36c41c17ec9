package protocol

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Files of key ceremonies: they go by hand between a node and a machine without network, where the
// root keys are used. None of them travels in the mesh (SPEC 40).

// The signing contexts of these files.
const (
	// ContextFoundingRequest is of a FoundingRequest, by the operational key that it names.
	ContextFoundingRequest Context = "entente/founding-request/v1"
	// ContextRotationRequest is of a RotationRequest, by the operational key that it names.
	ContextRotationRequest Context = "entente/rotation-request/v1"
	// ContextRootCheck is of a ShareProof, by the root key that it names.
	ContextRootCheck Context = "entente/root-check/v1"
)

// A root epoch's number has two parts: how many root rotations came before it, and its number among
// the epochs of one root set. So a card after a rotation comes after all cards of the root set before,
// however high a thief of that set may count.
const (
	epochBits = 24
	// MaxEpochs bounds the root epochs that one root set signs.
	MaxEpochs = 1<<epochBits - 1
)

// EpochNumber returns the number of a root epoch: the n-th, from 1, after so many root rotations.
func EpochNumber(rotations int, n uint32) uint32 { return uint32(rotations)<<epochBits | n }

// EpochParts takes an epoch's number apart.
func EpochParts(epoch uint32) (rotations int, n uint32) {
	return int(epoch >> epochBits), epoch & MaxEpochs
}

// EpochText names a root epoch for people.
func EpochText(epoch uint32) string {
	r, n := EpochParts(epoch)
	return fmt.Sprintf("%d of root set %d", n, r)
}

// FoundingRequest is what a node that is to be the first of an organisation gives to the ceremony
// that founds it. It travels as a Signed with one signature, by the operational key. There is no node
// entry in it: what binds a node's keys to an organisation is signed over its OrgID, which follows
// from root keys that are not made yet.
//
// Growth: a new layout is a new Version, which programs that do not know it refuse.
type FoundingRequest struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Name    string
	Kind    OrgKind
	Country string // as in Inception
	Op      OpKey  // made on the node, which it never leaves
	Made    uint64 // Unix milliseconds
}

// Validate checks ranges and bounds.
func (r *FoundingRequest) Validate() error {
	if r.Version != 1 {
		return malformed("founding request of version %d is not known; use the same version of this program on both machines", r.Version)
	}
	return checkFounder(r.Name, r.Kind, r.Country)
}

// FoundingRequestName is what the words of a founding request are made of.
func FoundingRequestName(statement []byte) Hash {
	return Hash(digest("entente/founding-request-name/v1", statement))
}

// Founding is what the ceremony gives back: what the organisation is founded on, and its first root
// epoch.
//
// Growth: as FoundingRequest.
type Founding struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Inception []byte   // encoded Inception
	RootEpoch Signed   // RootEpoch
}

// Validate checks ranges and bounds.
func (f *Founding) Validate() error {
	if f.Version != 1 {
		return malformed("founding of version %d is not known; use the same version of this program on both machines", f.Version)
	}
	return nil
}

// RotationKind says what a rotation replaces.
type RotationKind uint8

// The kinds.
const (
	RotateOp   RotationKind = 1 // the operational key; the root set in force signs
	RotateRoot RotationKind = 2 // the root set; the one that was committed to signs
)

// RotationRequest is what a node asks the holders of root shares to sign. It travels as a Signed with
// one signature, by Op: whoever asks has that key. Everything that is signed follows from it, but for
// the root sets, which the node has no part in.
//
// Growth: as FoundingRequest.
type RotationRequest struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Kind    RotationKind
	Card    []byte // encoded SignedCard that the rotation begins from
	Op      OpKey  // to be in force; may be the one of the card where Kind is RotateRoot
	Reason  RetireReason
	Made    uint64 // Unix milliseconds
}

// Validate checks ranges and bounds.
func (r *RotationRequest) Validate() error {
	switch {
	case r.Version != 1:
		return malformed("rotation request of version %d is not known; use the same version of this program on both machines", r.Version)
	case r.Kind != RotateOp && r.Kind != RotateRoot:
		return malformed("rotation request is of unknown kind %d", r.Kind)
	case r.Reason > RetiredCompromised:
		return malformed("rotation request has unknown reason %d", r.Reason)
	case r.Kind == RotateOp && r.Reason == 0:
		return malformed("rotation request ends no operational key")
	}
	return nil
}

// RotationRequestName is what the words of a rotation request are made of.
func RotationRequestName(statement []byte) Hash {
	return Hash(digest("entente/rotation-request-name/v1", statement))
}

// RotationName is what the words of a rotation of the root set are made of: the request, and what the
// ceremony that began it added. The words of one without root rotations are those of its request.
func RotationName(request []byte, rotations ...[]byte) Hash {
	name := RotationRequestName(request)
	if len(rotations) == 0 {
		return name
	}
	parts := [][]byte{name[:]}
	for _, r := range rotations {
		sum := sha256.Sum256(r)
		parts = append(parts, sum[:])
	}
	return Hash(digest("entente/rotation-name/v1", parts...))
}

// Rotation is a request with what is signed for it. It goes from holder to holder until enough of
// them have signed.
//
// Growth: as FoundingRequest.
type Rotation struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Request   Signed   // RotationRequest
	Rotations []Signed // RootRotation, in order; 1 or 2 where the root set is replaced, else none
	RootEpoch Signed   // RootEpoch
}

// MaxRotationsAtOnce bounds the root rotations of one Rotation: to the set that was committed to, and
// on to a set that was made just now.
const MaxRotationsAtOnce = 2

// Validate checks ranges and bounds.
func (r *Rotation) Validate() error {
	if r.Version != 1 {
		return malformed("rotation of version %d is not known; use the same version of this program on both machines", r.Version)
	}
	if len(r.Rotations) > MaxRotationsAtOnce {
		return oversize("rotation holds %d root rotations, at most %d", len(r.Rotations), MaxRotationsAtOnce)
	}
	for _, s := range append(slices.Clone(r.Rotations), r.RootEpoch) {
		if len(s.Sigs) > MaxRootKeys {
			return oversize("rotation holds %d signatures of one statement, at most %d", len(s.Sigs), MaxRootKeys)
		}
		if !isSortedSet(s.Sigs, func(a, b KeySignature) int { return bytes.Compare(a.Key[:], b.Key[:]) }) {
			return malformed("signatures of a rotation must be sorted by key and free of duplicates")
		}
	}
	return nil
}

// RootShare is one root key of a set, whole, with what its holder has to know of it.
//
// Growth: as FoundingRequest.
type RootShare struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Org     OrgID
	Name    string  // of the organisation, for people
	Set     uint32  // in force after so many root rotations
	Root    RootSet // that the key is one of
	Key     RootKey
	Sealed  bool   // with a passphrase
	Secret  []byte // the key's seed, 32 bytes; sealed: an age file
}

// Validate checks ranges and bounds.
func (s *RootShare) Validate() error {
	switch {
	case s.Version != 1:
		return malformed("root share of version %d is not known; use a newer version of this program", s.Version)
	case s.Set > MaxRotations:
		return malformed("root share is of set %d, and an organisation has no more than %d", s.Set, MaxRotations+1)
	case strings.TrimSpace(s.Name) == "" || strings.Contains(s.Name, "\n"):
		return malformed("root share needs the organisation's name, on one line")
	case !slices.Contains(s.Root.Keys, s.Key):
		return malformed("root share holds a key that is not of its set")
	case !s.Sealed && len(s.Secret) != 32:
		return malformed("root share holds a secret of %d bytes, 32 are needed", len(s.Secret))
	case s.Sealed && len(s.Secret) > MaxSealedSecret:
		return oversize("root share holds a sealed secret of %d bytes, at most %d", len(s.Secret), MaxSealedSecret)
	}
	if err := checkText("organisation name", s.Name, MaxNameSize); err != nil {
		return err
	}
	return s.Root.Validate()
}

// Index returns which of its set a share is, from 1.
func (s *RootShare) Index() int { return slices.Index(s.Root.Keys, s.Key) + 1 }

// Format never shows the secret, whatever the verb.
func (s RootShare) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "(root share %d of %d)", s.Index(), len(s.Root.Keys))
}

// ShareChecksum ends a share file, over the encoded share before it: a damaged medium is noticed
// before a passphrase is asked for.
func ShareChecksum(encoded []byte) (sum [4]byte) {
	d := digest("entente/root-share/v1", encoded)
	copy(sum[:], d[:])
	return sum
}

// RootKeyName is what the fingerprint of a root key is made of.
func RootKeyName(k RootKey) Hash { return Hash(digest("entente/root-key/v1", k[:])) }

// ShareProof is what a holder signs to show that the share is there and opens. It travels as a Signed
// with one signature, by the key.
//
// Growth: as FoundingRequest.
type ShareProof struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Org       OrgID
	Root      RootSet
	Key       RootKey
	Challenge string // what the one who asks said
	At        uint64 // Unix milliseconds
}

// Validate checks ranges and bounds.
func (p *ShareProof) Validate() error {
	switch {
	case p.Version != 1:
		return malformed("share proof of version %d is not known", p.Version)
	case strings.TrimSpace(p.Challenge) == "" || strings.Contains(p.Challenge, "\n"):
		return malformed("share proof needs a challenge of one line")
	case !slices.Contains(p.Root.Keys, p.Key):
		return malformed("share proof is by a key that is not of its set")
	}
	if err := checkText("challenge", p.Challenge, MaxNameSize); err != nil {
		return err
	}
	return p.Root.Validate()
}
