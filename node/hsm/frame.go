package hsm

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/entente-mesh/entente/protocol"
)

// Bounds: what an operational key signs is at most as long as the rules for all nodes.
const (
	MaxStatement = protocol.MaxSiblingItem
	maxFrame     = MaxStatement + 4<<10
	maxPath      = 1024
	maxLabel     = 64 // bytes; a token's label has 32
	maxKeyID     = 64
	maxText      = 512
)

// Reference says where a key is. It holds no secret.
//
// Growth: with Version.
type Reference struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Helper  string   // path of entente-pkcs11; empty: beside the program that runs, or in PATH
	Module  string   // path of the vendor's library
	Token   string   // label of the token
	Label   string   // CKA_LABEL of the key
	ID      []byte   // CKA_ID of the key; empty: any
	PINFile string   // path, or "credential:NAME" of systemd
	Public  protocol.OpKey
}

// Validate checks bounds.
func (r *Reference) Validate() error {
	if r.Version != 1 {
		return protocol.Errorf(protocol.ErrMalformed, "reference to a key in a token has version %d; this program reads 1", r.Version)
	}
	for what, s := range map[string]struct {
		text     string
		limit    int
		optional bool
	}{"helper": {r.Helper, maxPath, true}, "module": {r.Module, maxPath, false}, "token": {r.Token, maxLabel, false},
		"label": {r.Label, maxLabel, false}, "pin_file": {r.PINFile, maxPath, false}} {
		switch {
		case s.text == "" && !s.optional:
			return protocol.Errorf(protocol.ErrMalformed, "reference to a key in a token does not say its %s", what)
		case len(s.text) > s.limit:
			return protocol.Errorf(protocol.ErrOversize, "%s of a reference to a key has %d bytes, at most %d", what, len(s.text), s.limit)
		case strings.ContainsFunc(s.text, unicode.IsControl):
			return protocol.Errorf(protocol.ErrMalformed, "%s of a reference to a key holds control characters", what)
		}
	}
	if len(r.ID) > maxKeyID {
		return protocol.Errorf(protocol.ErrOversize, "id of a key has %d bytes, at most %d", len(r.ID), maxKeyID)
	}
	return nil
}

// Open is the first frame: which key is meant.
type Open struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Key     Reference
	Make    bool // a new key is made; its public half is not known yet, nor is it where a key is looked for the first time
}

// Validate checks bounds.
func (o *Open) Validate() error {
	if o.Version != 1 {
		return protocol.Errorf(protocol.ErrMalformed, "the node speaks version %d, this helper 1: install both of one release", o.Version)
	}
	return o.Key.Validate()
}

// AskKind is what is asked of the helper.
type AskKind uint8

// The kinds.
const (
	AskSign  AskKind = 1 // answer: the signature
	AskCheck AskKind = 2 // answer: the public key, as the token has it now
)

// Ask asks for a signature, or whether the token is still there.
type Ask struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8    // 1
	Kind      AskKind
	Context   protocol.Context
	Network   protocol.NetworkID
	Statement []byte
}

// signable are the contexts of what an operational key signs. Root epochs are not among them, nor is
// what nodes sign.
var signable = []protocol.Context{protocol.ContextCard, protocol.ContextGenesis, protocol.ContextSponsorship, protocol.ContextRemoval,
	protocol.ContextTopicSecret, protocol.ContextAgreement, protocol.ContextTermination, protocol.ContextRejection, protocol.ContextSuspension,
	protocol.ContextMandate, protocol.ContextMandateEnd, protocol.ContextErase, protocol.ContextErasureRequest, protocol.ContextErasureAnswer, protocol.ContextRules,
	protocol.ContextRotationRequest, protocol.ContextFoundingRequest}

// Validate checks bounds.
func (a *Ask) Validate() error {
	switch {
	case a.Version != 1:
		return protocol.Errorf(protocol.ErrMalformed, "request of version %d is not known", a.Version)
	case a.Kind == AskCheck:
		if a.Context != "" || a.Network != protocol.NoNetwork || len(a.Statement) > 0 {
			return protocol.Errorf(protocol.ErrMalformed, "a check has nothing to sign")
		}
	case a.Kind != AskSign:
		return protocol.Errorf(protocol.ErrMalformed, "request of unknown kind %d", a.Kind)
	case !slices.Contains(signable, a.Context):
		return protocol.Errorf(protocol.ErrWrongContext, "an operational key does not sign %q", a.Context)
	case len(a.Statement) == 0 || len(a.Statement) > MaxStatement:
		return protocol.Errorf(protocol.ErrOversize, "statement has %d bytes, 1 to %d are signed", len(a.Statement), MaxStatement)
	}
	return nil
}

// Status says how a request went.
type Status uint8

// The statuses.
const (
	Good     Status = 0
	Failed   Status = 1 // the token or its library; it may be there again later
	Refused  Status = 2 // the request
	WrongPIN Status = 3 // nobody tries again by itself: tokens lock after a few
	WrongKey Status = 4 // no such key, several, or not the one that is expected
)

// Answer answers both.
type Answer struct {
	_       struct{} `cbor:",toarray"`
	Version uint8    // 1
	Status  Status
	Bytes   []byte // public key or signature; empty unless Status is Good
	Text    string // what went wrong
}

// Validate checks bounds.
func (a *Answer) Validate() error {
	switch {
	case a.Version != 1:
		return protocol.Errorf(protocol.ErrMalformed, "answer of version %d is not known", a.Version)
	case a.Status > WrongKey:
		return protocol.Errorf(protocol.ErrMalformed, "answer of unknown status %d", a.Status)
	case a.Status == Good && len(a.Bytes) != 32 && len(a.Bytes) != 64 || a.Status != Good && len(a.Bytes) > 0:
		return protocol.Errorf(protocol.ErrMalformed, "answer of status %d has %d bytes", a.Status, len(a.Bytes))
	case len(a.Text) > maxText:
		return protocol.Errorf(protocol.ErrOversize, "text of an answer has %d bytes, at most %d", len(a.Text), maxText)
	}
	return nil
}

func writeFrame(w io.Writer, v any) error {
	b := protocol.Encode(v)
	if len(b) > maxFrame {
		return protocol.Errorf(protocol.ErrOversize, "frame has %d bytes, at most %d", len(b), maxFrame)
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// readFrame reads one frame into v, strictly. io.EOF says that there is none.
func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxFrame {
		return protocol.Errorf(protocol.ErrOversize, "frame has %d bytes, 1 to %d are read", size, maxFrame)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("reading a frame that breaks off: %w", err)
	}
	return protocol.Decode(b, maxFrame, v)
}
