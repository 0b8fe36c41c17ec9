package crypto

import (
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tyler-smith/go-bip39"

	"github.com/entente-mesh/entente/protocol"
)

const shareArmour = "ENTENTE ROOT SHARE"

// NewShare makes the share of one key of a root set, sealed by a lock, or in clear where it is nil.
func NewShare(org protocol.OrgID, name string, set uint32, root protocol.RootSet, k RootPrivate, lock Lock) (*protocol.RootShare, error) {
	s := &protocol.RootShare{Version: 1, Org: org, Name: name, Set: set, Root: root, Key: k.Public(), Secret: slices.Clone(k.seed[:])}
	if lock != nil {
		sealed, err := lock.Seal(k.seed[:])
		if err != nil {
			return nil, fmt.Errorf("sealing root share: %w", err)
		}
		s.Sealed, s.Secret = true, sealed
	}
	return s, s.Validate()
}

// OpenShare returns the key of a share. lock is called for only where the share is sealed.
func OpenShare(s *protocol.RootShare, lock func() (Lock, error)) (RootPrivate, error) {
	seed := s.Secret
	if s.Sealed {
		l, err := lock()
		if err != nil {
			return RootPrivate{}, err
		}
		if seed, err = l.Open(s.Secret); err != nil {
			return RootPrivate{}, fmt.Errorf("opening root share %d: %w", s.Index(), err)
		}
	}
	if len(seed) != 32 {
		return RootPrivate{}, protocol.Errorf(protocol.ErrMalformed, "root share holds no key of 32 bytes")
	}
	k := RootPrivate{secret{seed: [32]byte(seed)}.signing()}
	if k.Public() != s.Key {
		return RootPrivate{}, protocol.Errorf(protocol.ErrMalformed, "the secret of the root share is not of its key; the file was altered")
	}
	return k, nil
}

// EncodeShare returns a share with its checksum, as it stands in a share file.
func EncodeShare(s *protocol.RootShare) []byte {
	b := protocol.Encode(s)
	sum := protocol.ShareChecksum(b)
	return append(b, sum[:]...)
}

// DecodeShare reads what EncodeShare returned.
func DecodeShare(b []byte) (*protocol.RootShare, error) {
	if len(b) < 4 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "root share breaks off")
	}
	body := b[:len(b)-4]
	if len(body) > protocol.MaxShareSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "root share has %d bytes, at most %d", len(body), protocol.MaxShareSize)
	}
	if protocol.ShareChecksum(body) != [4]byte(b[len(b)-4:]) {
		return nil, protocol.Errorf(protocol.ErrMalformed, "root share has a wrong checksum; the medium is damaged, or the file was not copied whole")
	}
	s := new(protocol.RootShare)
	if err := protocol.Decode(body, protocol.MaxShareSize, s); err != nil {
		return nil, fmt.Errorf("reading root share: %w", err)
	}
	return s, nil
}

// SetText says for people when a root set is in force.
func SetText(set uint32) string {
	if set == 0 {
		return "0, in force from the founding on"
	}
	return fmt.Sprintf("%d, in force after root rotation %d", set, set)
}

// FormatShare returns the text of a share file: a head for people, and the share in PEM (RFC 7468).
func FormatShare(s *protocol.RootShare) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Entente root share %d of %d; %d of them have to sign together\n\n", s.Index(), len(s.Root.Keys), s.Root.Threshold)
	fmt.Fprintf(&b, "Organisation  %s\nOrgID         %s\nRoot set      %s\nFingerprint   %s\n", s.Name, s.Org, SetText(s.Set), Fingerprint(s.Key))
	if s.Sealed {
		b.WriteString("Secret        sealed with the passphrase of its holder\n\n")
	} else {
		b.WriteString("Secret        NOT SEALED: whoever reads this file has the key\n\n")
	}
	b.Write(pem.EncodeToMemory(&pem.Block{Type: shareArmour, Bytes: EncodeShare(s)}))
	return b.String()
}

// ParseShare reads the text of a share file. The head has to say what the share does: people go by it.
func ParseShare(text string) (*protocol.RootShare, error) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n")) + "\n"
	if len(text) > 4*protocol.MaxShareSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "root share file is larger than %d bytes", 4*protocol.MaxShareSize)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != shareArmour {
		return nil, protocol.Errorf(protocol.ErrMalformed, "it holds no %q block; it is not a root share, or was not copied whole", shareArmour)
	}
	s, err := DecodeShare(block.Bytes)
	if err != nil {
		return nil, err
	}
	if FormatShare(s) != text {
		return nil, protocol.Errorf(protocol.ErrMalformed, "the head of the root share does not say what is in it; the file was altered")
	}
	return s, nil
}

// UnsafePaper returns a root key as the 24 words of BIP-39, for paper.
func (k RootPrivate) UnsafePaper() []string {
	m, err := bip39.NewMnemonic(k.seed[:])
	if err != nil {
		panic(err) // only for an entropy of another length: a programmer's error
	}
	return strings.Fields(m)
}

// ParsePaper reads the words of a root key; case, numbers and what stands between the words do not
// matter.
func ParsePaper(said string) (RootPrivate, error) {
	words := strings.FieldsFunc(strings.ToLower(said), func(r rune) bool { return r < 'a' || r > 'z' })
	if len(words) != 24 {
		return RootPrivate{}, protocol.Errorf(protocol.ErrMalformed, "%d words, a root key has 24", len(words))
	}
	seed, err := bip39.EntropyFromMnemonic(strings.Join(words, " "))
	switch {
	case errors.Is(err, bip39.ErrChecksumIncorrect):
		return RootPrivate{}, protocol.Errorf(protocol.ErrMalformed, "the words do not fit together: one of them is wrong, or two are swapped")
	case err != nil || len(seed) != 32:
		return RootPrivate{}, protocol.Errorf(protocol.ErrMalformed, "a word is not of the English list of BIP-39; read them again")
	}
	return RootPrivate{secret{seed: [32]byte(seed)}.signing()}, nil
}

// ProveShare signs a challenge with a root key, so that others see that its holder has it.
func ProveShare(s *protocol.RootShare, k RootPrivate, challenge string, at uint64) (*protocol.Signed, error) {
	p := &protocol.ShareProof{Version: 1, Org: s.Org, Root: s.Root, Key: k.Public(), Challenge: challenge, At: at}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	signed := &protocol.Signed{Statement: protocol.Encode(p)}
	signRoot(signed, protocol.ContextRootCheck, k)
	return signed, nil
}

// VerifyShareProof verifies a proof. Whether its set is one of the organisation's, its card says: see
// RootSetOf.
func VerifyShareProof(s *protocol.Signed) (*protocol.ShareProof, error) {
	p := new(protocol.ShareProof)
	if err := protocol.Decode(s.Statement, protocol.MaxShareSize, p); err != nil {
		return nil, fmt.Errorf("reading share proof: %w", err)
	}
	return p, verifyOwn(s, protocol.ContextRootCheck, p.Key)
}

// RootStanding is what a root set is to an organisation, by its card.
type RootStanding string

// What it may be.
const (
	RootInForce RootStanding = "in force"
	RootNext    RootStanding = "committed to, comes in force by the next root rotation"
	RootPast    RootStanding = "not in force any more: destroy it once the card that replaced it is with all partners"
)

// RootSetOf says what a root set is to the organisation of a card. The error is of class
// ErrWrongContext: it is nothing to it.
func (c *Card) RootSetOf(org protocol.OrgID, root *protocol.RootSet) (RootStanding, error) {
	h := root.Hash()
	switch {
	case org != c.Org:
		return "", protocol.Errorf(protocol.ErrWrongContext, "it is of %s, and the card of %s", org.Short(), c.Org.Short())
	case h == c.Root.Hash():
		return RootInForce, nil
	case h == c.Next:
		return RootNext, nil
	case h == c.Inception.Root.Hash():
		return RootPast, nil
	}
	for i := range c.Rotations {
		var r protocol.RootRotation
		if protocol.Decode(c.Rotations[i].Statement, protocol.MaxCardSize, &r) == nil && r.Root.Hash() == h {
			return RootPast, nil
		}
	}
	return "", protocol.Errorf(protocol.ErrWrongContext, "the card knows no such root set: it is of a ceremony that was not carried out, or the card is older than it")
}
