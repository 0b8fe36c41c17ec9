package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/entente-mesh/entente/protocol"
)

// Checkpoint is where a log stood, as its node signed it.
type Checkpoint struct {
	Head
	Note []byte // the signed note
}

// treeLine is what package tlog begins its notes with; ours begin with the log's origin.
const treeLine = "go.sum database tree\n"

// text returns what is signed: origin, size and root, a line each (C2SP tlog-checkpoint).
func (h *Head) text() string {
	tree := tlog.FormatTree(tlog.Tree{N: int64(h.Size), Hash: tlog.Hash(h.Root)})
	return h.Log.Origin() + "\n" + strings.TrimPrefix(string(tree), treeLine)
}

func parseHead(text string) (h Head, err error) {
	origin, rest, _ := strings.Cut(text, "\n")
	if h.Log, err = parseOrigin(origin); err != nil {
		return h, err
	}
	tree, err := tlog.ParseTree([]byte(treeLine + rest))
	if err != nil {
		return h, protocol.Errorf(protocol.ErrMalformed, "checkpoint: %v", err)
	}
	h.Size, h.Root = uint64(tree.N), protocol.Hash(tree.Hash)
	if h.text() != text {
		return h, protocol.Errorf(protocol.ErrMalformed, "checkpoint holds more than origin, size and root")
	}
	return h, nil
}

// OpenCheckpoint verifies a checkpoint with the key of the log's node, and reads it. Signatures of
// other keys, as cosignatures, are left alone.
func OpenCheckpoint(signed []byte, v note.Verifier) (*Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return nil, protocol.Errorf(protocol.ErrOversize, "checkpoint has %d bytes, at most %d", len(signed), MaxCheckpoint)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		return nil, protocol.Errorf(protocol.ErrBadSignature, "checkpoint is not signed with the key %s", v.Name())
	case err != nil:
		return nil, protocol.Errorf(protocol.ErrBadSignature, "checkpoint: %v", err)
	}
	h, err := parseHead(n.Text)
	if err != nil {
		return nil, err
	}
	if v.Name() != h.Log.Origin() {
		return nil, protocol.Errorf(protocol.ErrWrongContext, "checkpoint of log %s is signed under the name of another", h.Log)
	}
	return &Checkpoint{Head: h, Note: bytes.Clone(signed)}, nil
}

// OriginOf returns the log that a checkpoint is of, before anything of it is verified.
func OriginOf(signed []byte) (ID, error) {
	line, _, _ := bytes.Cut(signed[:min(len(signed), 256)], []byte("\n"))
	return parseOrigin(string(line))
}

// HeadOf reads where a log stood by a checkpoint that was verified before.
func HeadOf(signed []byte) (Head, error) {
	if len(signed) > MaxCheckpoint {
		return Head{}, protocol.Errorf(protocol.ErrOversize, "checkpoint has %d bytes, at most %d", len(signed), MaxCheckpoint)
	}
	text, _, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok {
		return Head{}, protocol.Errorf(protocol.ErrMalformed, "checkpoint has no signature")
	}
	return parseHead(string(text) + "\n")
}

// State signs a checkpoint of the log as it stands, and keeps it. If there is one of that size
// already, that is returned.
func (l *Log) State(kv KV, signer note.Signer) (*Checkpoint, error) {
	h, err := l.Head(kv)
	if err != nil {
		return nil, err
	}
	at := key(kCheckpoint, l.Log, number(h.Size))
	held, err := kv.Get(at)
	if err != nil {
		return nil, err
	}
	if held != nil {
		b, err := bare(held)
		return &Checkpoint{Head: h, Note: b}, err
	}
	signed, err := note.Sign(&note.Note{Text: h.text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	if err := l.thin(kv); err != nil {
		return nil, err
	}
	return &Checkpoint{Head: h, Note: signed}, kv.Set(at, signed)
}

// bare returns a checkpoint without its cosignatures: they say with whom the log's node has
// agreements, which is nobody's business.
func bare(signed []byte) ([]byte, error) {
	origin, _, _ := bytes.Cut(signed, []byte("\n"))
	_, err := note.Open(signed, note.VerifierList())
	var n *note.UnverifiedNoteError
	if !errors.As(err, &n) {
		return nil, damaged("a checkpoint: %v", err)
	}
	n.Note.UnverifiedSigs = slices.DeleteFunc(n.Note.UnverifiedSigs, func(s note.Signature) bool { return s.Name != string(origin) })
	return note.Sign(n.Note)
}

// thin makes room for a checkpoint: where there are too many, every second one of the older half
// goes. What one of them proves of what came before it, those that stay prove too.
func (l *Log) thin(kv KV) error {
	var keys [][]byte
	err := kv.Scan(key(kCheckpoint, l.Log), nil, false, func(k, _ []byte) (bool, error) {
		keys = append(keys, bytes.Clone(k))
		return true, nil
	})
	if err != nil || len(keys) < MaxCheckpoints {
		return err
	}
	for i := 1; i < len(keys)/2; i += 2 {
		err = errors.Join(err, kv.Delete(keys[i]))
	}
	return err
}

// EachCheckpoint calls fn with the checkpoints that are kept, signed, by rising size.
func (l *Log) EachCheckpoint(kv KV, fn func(size uint64, signed []byte) error) error {
	prefix := key(kCheckpoint, l.Log)
	return kv.Scan(prefix, nil, false, func(k, v []byte) (bool, error) {
		if len(k) != len(prefix)+8 {
			return false, damaged("the list of checkpoints")
		}
		return true, fn(binary.BigEndian.Uint64(k[len(prefix):]), bytes.Clone(v))
	})
}

// LastCheckpoint returns the newest checkpoint that is kept, signed, without its cosignatures; nil if
// there is none.
func (l *Log) LastCheckpoint(kv KV) (signed []byte, size uint64, err error) {
	prefix := key(kCheckpoint, l.Log)
	err = kv.Scan(prefix, nil, true, func(k, v []byte) (bool, error) {
		if len(k) == len(prefix)+8 {
			size, signed = binary.BigEndian.Uint64(k[len(prefix):]), bytes.Clone(v)
		}
		return false, nil
	})
	if err == nil && signed != nil {
		signed, err = bare(signed)
	}
	return signed, size, err
}

// Prove returns a proof that an entry stands in the tree that a checkpoint is of, in the form of
// C2SP tlog-proof: it verifies with the checkpoint's key and the leaf alone.
func (l *Log) Prove(kv KV, n uint64, at *Checkpoint) ([]byte, error) {
	if n >= at.Size {
		return nil, fmt.Errorf("entry %d: %w as of its checkpoint of %d entries", n, ErrNotFound, at.Size)
	}
	proof, err := tlog.ProveRecord(int64(at.Size), int64(n), l.reader(kv))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofLine, n)
	for _, h := range proof {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
	}
	fmt.Fprintf(&b, "\n%s", at.Note)
	return b.Bytes(), nil
}

const proofLine = "c2sp.org/tlog-proof@v1"

// CheckProof verifies what Prove returned, with the key of the log's node, for a leaf. It returns
// the entry's number and the checkpoint.
func CheckProof(proof, leaf []byte, v note.Verifier) (n uint64, c *Checkpoint, err error) {
	if len(proof) > MaxCheckpoint+8<<10 {
		return 0, nil, protocol.Errorf(protocol.ErrOversize, "proof has %d bytes", len(proof))
	}
	head, signed, ok := bytes.Cut(proof, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 2 || lines[0] != proofLine {
		return 0, nil, protocol.Errorf(protocol.ErrMalformed, "this is not a proof: it begins with %q", proofLine)
	}
	if _, err := fmt.Sscanf(lines[1], "index %d", &n); err != nil || lines[1] != fmt.Sprintf("index %d", n) {
		return 0, nil, protocol.Errorf(protocol.ErrMalformed, "proof does not say of which entry it is")
	}
	var list tlog.RecordProof
	for _, line := range lines[2:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return 0, nil, protocol.Errorf(protocol.ErrMalformed, "proof: %v", err)
		}
		list = append(list, h)
	}
	if c, err = OpenCheckpoint(signed, v); err != nil {
		return 0, nil, err
	}
	if n >= c.Size {
		return 0, nil, protocol.Errorf(protocol.ErrMalformed, "proof is of an entry after its checkpoint")
	}
	if err := tlog.CheckRecord(list, int64(c.Size), tlog.Hash(c.Root), int64(n), tlog.RecordHash(leaf)); err != nil {
		return 0, nil, protocol.Errorf(protocol.ErrBadSignature, "the leaf does not stand at %d in the tree of the checkpoint", n)
	}
	return n, c, nil
}

// ProveSince returns the proof that the tree of the first to entries continues that of the first
// from (RFC 6962 consistency).
func (l *Log) ProveSince(kv KV, from, to uint64) (tlog.TreeProof, error) {
	if from == 0 || from == to {
		return nil, nil
	}
	return tlog.ProveTree(int64(to), int64(from), l.reader(kv))
}

// ProofOf returns a proof of consistency as it travels.
func ProofOf(list []protocol.Hash) (proof tlog.TreeProof) {
	for _, h := range list {
		proof = append(proof, tlog.Hash(h))
	}
	return proof
}

// CheckSince verifies that the tree of a head continues that of an earlier one.
func CheckSince(proof tlog.TreeProof, later, earlier Head) error {
	switch {
	case later.Log != earlier.Log:
		return protocol.Errorf(protocol.ErrWrongContext, "the checkpoints are of two logs")
	case later.Size < earlier.Size:
		return protocol.Errorf(protocol.ErrBrokenChain, "the log was shortened: it has %d entries, and had %d", later.Size, earlier.Size)
	case earlier.Size == 0:
		return nil
	case later.Size == earlier.Size && later.Root == earlier.Root:
		return nil
	case later.Size == earlier.Size || tlog.CheckTree(proof, int64(later.Size), tlog.Hash(later.Root), int64(earlier.Size), tlog.Hash(earlier.Root)) != nil:
		return protocol.Errorf(protocol.ErrBrokenChain, "the log was changed: the tree of %d entries does not continue the one of %d", later.Size, earlier.Size)
	}
	return nil
}

// AddCosignature keeps a cosignature with the checkpoint of a size: a signature line, which v must
// verify. One of the same cosigner that is held already stays.
func (l *Log) AddCosignature(kv KV, size uint64, line []byte, v note.Verifier) error {
	at := key(kCheckpoint, l.Log, number(size))
	held, err := kv.Get(at)
	if err != nil || held == nil {
		return err // it was dropped meanwhile
	}
	n, err := note.Open(append(bytes.Clone(held), line...), note.VerifierList(v))
	switch {
	case err != nil || len(n.Sigs) != 1 || !bytes.HasPrefix(held, []byte(n.Text)):
		return protocol.Errorf(protocol.ErrBadSignature, "cosignature of %s does not verify (%v)", v.Name(), err)
	case len(n.UnverifiedSigs) > MaxCosigners:
		return nil
	}
	signed, err := note.Sign(n)
	if err != nil || bytes.Equal(signed, held) {
		return err
	}
	if len(signed) > MaxCheckpoint {
		return nil
	}
	return kv.Set(at, signed)
}

// Cosignature returns the signature line of a cosigner for a checkpoint.
func (c *Checkpoint) Cosignature(signer note.Signer) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return nil, err
	}
	return signed[len(c.text())+1:], nil
}

// Cosigned is a cosignature that verified.
type Cosigned struct {
	Name string
	At   uint64 // Unix seconds, by the cosigner's clock
}

// Cosignatures returns the cosignatures of a checkpoint that known verifies. One that a known
// cosigner did not make is an error; those of cosigners that are not known are left out.
func (c *Checkpoint) Cosignatures(known note.Verifiers) (out []Cosigned, err error) {
	n, err := note.Open(c.Note, known)
	var none *note.UnverifiedNoteError
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrBadSignature, "cosignature: %v", err)
	}
	for _, s := range n.Sigs {
		b, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || len(b) < 12 {
			return nil, protocol.Errorf(protocol.ErrMalformed, "cosignature of %s", s.Name)
		}
		out = append(out, Cosigned{Name: s.Name, At: binary.BigEndian.Uint64(b[4:])})
	}
	return out, nil
}
