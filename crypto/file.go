package crypto

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"filippo.io/age"

	"github.com/entente-mesh/entente/protocol"
)

// SealFile seals a stream to post-quantum recipients, the nodes of one organisation: 1 to
// protocol.MaxNodes, each counted once. What is written goes on to w in chunks of 64 KiB;
// Close ends the file, and leaves w open. A file that was not closed opens up to its last
// whole chunk, and its reader is told that it breaks off.
//
// Like grants, a file has its stanzas filled up with dummies to a power of two, so that it
// does not tell a finder exactly how many nodes the organisation runs.
func SealFile(w io.Writer, recipients []string) (io.WriteCloser, error) {
	recipients = slices.Compact(slices.Sorted(slices.Values(recipients)))
	if len(recipients) == 0 || len(recipients) > protocol.MaxNodes {
		return nil, protocol.Errorf(protocol.ErrOversize, "a file is sealed to 1 to %d nodes, not %d", protocol.MaxNodes, len(recipients))
	}
	var to []age.Recipient
	for _, text := range recipients {
		r, err := age.ParseHybridRecipient(text)
		if err != nil {
			return nil, protocol.Errorf(protocol.ErrMalformed, "reading age recipient: %v", err)
		}
		to = append(to, r)
	}
	for len(to)&(len(to)-1) != 0 {
		nobody, err := GenerateIdentity()
		if err != nil {
			return nil, err
		}
		to = append(to, nobody.id.Recipient())
	}
	if err := shuffle(to); err != nil {
		return nil, err
	}
	out, err := age.Encrypt(w, to...)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return out, nil
}

// OpenFile opens what SealFile made. The reader returns only what is authentic, and io.EOF
// only at the file's own end; errors, here and of the reader, are of class ErrNotInAudience
// if the file is for somebody else, of class ErrMalformed if it is no such file or breaks
// off or was damaged, and otherwise what r failed with.
func OpenFile(r io.Reader, ids []*Identity) (io.Reader, error) {
	src := &source{r: r}
	plain, err := age.Decrypt(src, fewStanzas(ids))
	if err != nil {
		return nil, src.explain("opening", err)
	}
	return &fileReader{plain: plain, src: src}, nil
}

// fewStanzas refuses files of more recipients than an organisation has nodes, and of other
// kinds than SealFile makes, before any stanza is tried: trying costs a decapsulation each.
type fewStanzas []*Identity

// Unwrap implements age.Identity.
func (ids fewStanzas) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) > protocol.MaxNodes {
		return nil, protocol.Errorf(protocol.ErrMalformed, "file is sealed to %d recipients, at most %d are tried", len(stanzas), protocol.MaxNodes)
	}
	for _, s := range stanzas {
		if s.Type != hybridStanza {
			return nil, protocol.Errorf(protocol.ErrMalformed, "file is not sealed to post-quantum recipients only")
		}
	}
	for _, id := range ids {
		key, err := id.id.Unwrap(stanzas)
		if !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

// hybridStanza is the type of age's post-quantum stanzas (C2SP age.md).
const hybridStanza = "mlkem768x25519"

// source remembers what reading failed with, to tell a broken disk from a broken file.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		s.err = err
	}
	return n, err
}

// explain gives an error of age a class.
func (s *source) explain(doing string, err error) error {
	var none *age.NoIdentityMatchError
	switch {
	case s.err != nil:
		return fmt.Errorf("%s file: %w", doing, s.err)
	case protocol.Class(err) != "other":
		return err
	case errors.As(err, &none):
		return protocol.Errorf(protocol.ErrNotInAudience, "sealed for others")
	}
	return protocol.Errorf(protocol.ErrMalformed, "%s file: %v", doing, err)
}

type fileReader struct {
	plain io.Reader
	src   *source
}

// Read implements io.Reader.
func (f *fileReader) Read(b []byte) (int, error) {
	n, err := f.plain.Read(b)
	if err != nil && err != io.EOF {
		err = f.src.explain("reading", err)
	}
	return n, err
}

// SignCarry signs the header of a carried file with the key of the node that packs it.
func SignCarry(h *protocol.CarryHeader, key SigningPrivate) (protocol.Signed, error) {
	if err := h.Validate(); err != nil {
		return protocol.Signed{}, err
	}
	b := protocol.Encode(h)
	sig := protocol.KeySignature{Key: key.Public(), Sig: key.sign(protocol.ContextCarry, h.Network, b)}
	return protocol.Signed{Statement: b, Sigs: []protocol.KeySignature{sig}}, nil
}

// VerifyCarry verifies that the header h of a carried file, decoded from s, is signed by the
// one key that it returns. Whose key that is, is for the caller to find out.
func VerifyCarry(s *protocol.Signed, h *protocol.CarryHeader) (protocol.SigningKey, error) {
	if len(s.Sigs) != 1 {
		return protocol.SigningKey{}, protocol.Errorf(protocol.ErrBadSignature, "carried file is signed by %d nodes, exactly 1 is allowed", len(s.Sigs))
	}
	key := s.Sigs[0].Key
	return protocol.SigningKey(key), Verify(key, protocol.ContextCarry, h.Network, s.Statement, s.Sigs[0].Sig)
}
