package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/entente-mesh/entente/protocol"
)

// An exported log is lines of JSON: a header, the entries in order, the checkpoints by rising size,
// each with the proof that it continues the one before it, and an end. Leaves, checkpoints and
// proofs name nobody outside and nothing that was shared; details do, and are there only on request.

const exportFormat = "entente/audit-export/v1"

// exportHeader is the first line.
type exportHeader struct {
	Format  string          `json:"format"`
	Log     ID              `json:"log"`
	Key     string          `json:"key"` // for verifiers of notes
	Org     protocol.OrgID  `json:"organisation"`
	Node    protocol.NodeID `json:"node"`
	Entries uint64          `json:"entries"`
	Details bool            `json:"details"`
}

// exportLine is any other line: one of its parts is set.
type exportLine struct {
	Entry      *exportEntry      `json:"entry,omitempty"`
	Checkpoint *exportCheckpoint `json:"checkpoint,omitempty"`
	End        bool              `json:"end,omitempty"`
}

type exportEntry struct {
	Number  uint64  `json:"n"`
	Leaf    []byte  `json:"leaf"`
	Kind    string  `json:"kind"` // as the leaf says, for people
	Salt    []byte  `json:"salt,omitempty"`
	Details []byte  `json:"details,omitempty"` // encoded
	Erased  *uint64 `json:"erased,omitempty"`  // the entry that says so
}

type exportCheckpoint struct {
	Note        string      `json:"note"`
	Since       uint64      `json:"since"`       // size of the one before; 0: it is the first
	Consistency []tlog.Hash `json:"consistency"` // proof that it continues that one
}

// Export writes the log, up to its newest checkpoint. key is the text form of the key that signs
// its checkpoints. Without details it says nothing of whom or what the entries are about, nor who
// cosigned the checkpoints.
func (l *Log) Export(kv KV, w io.Writer, key string, details bool) (entries uint64, err error) {
	last, size, err := l.LastCheckpoint(kv)
	if err != nil {
		return 0, err
	}
	if last == nil {
		return 0, errors.New("no checkpoint of the log was stated yet")
	}
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&exportHeader{Format: exportFormat, Log: l.Log, Key: key, Org: l.Org, Node: l.Node, Entries: size, Details: details}); err != nil {
		return 0, err
	}
	if err := l.Each(kv, 0, func(e *Entry) (bool, error) {
		if e.Number >= size {
			return false, nil
		}
		x := exportEntry{Number: e.Number, Leaf: e.Raw, Kind: e.Leaf.Kind.String()}
		switch {
		case e.Details == nil:
			x.Erased = &e.Erased
		case details:
			x.Salt, x.Details = e.Salt[:], e.Encoded
		}
		return true, enc.Encode(&exportLine{Entry: &x})
	}); err != nil {
		return 0, err
	}
	before := uint64(0)
	if err := l.EachCheckpoint(kv, func(at uint64, signed []byte) error {
		proof, err := l.ProveSince(kv, before, at)
		if err != nil {
			return err
		}
		if !details {
			if signed, err = bare(signed); err != nil {
				return err
			}
		}
		c := exportCheckpoint{Note: string(signed), Since: before, Consistency: proof}
		if c.Consistency == nil {
			c.Consistency = []tlog.Hash{}
		}
		before = at
		return enc.Encode(&exportLine{Checkpoint: &c})
	}); err != nil {
		return 0, err
	}
	return size, errors.Join(enc.Encode(&exportLine{End: true}), out.Flush())
}

// Exported is what an exported log says of itself, and what a verification of it found.
type Exported struct {
	Verified
	Org     protocol.OrgID
	Node    protocol.NodeID
	Key     string // that signs it, as the file says
	Details bool   // they are in it
}

// VerifyExport reads an exported log strictly, and verifies it as Verify does. It needs nothing but
// the file: whether its key is that of the organisation that it says it is of is for the caller to
// find out. With key, the file must be signed with that one. What is malformed is an error; what is
// well-formed and does not verify is a problem.
func VerifyExport(r io.Reader, key string, since []Since) (*Exported, error) {
	x := &exportReader{in: bufio.NewReaderSize(r, 64<<10), forgets: map[uint64]*Details{}}
	var h exportHeader
	if err := x.read(&h); err != nil {
		return nil, err
	}
	if h.Format != exportFormat {
		return nil, protocol.Errorf(protocol.ErrMalformed, "this is not an exported audit log: its first line does not say %q", exportFormat)
	}
	if h.Entries > MaxExportEntries {
		return nil, protocol.Errorf(protocol.ErrOversize, "exported log has %d entries, at most %d are verified", h.Entries, MaxExportEntries)
	}
	if key != "" && key != h.Key {
		return nil, protocol.Errorf(protocol.ErrBadSignature, "exported log is signed with the key %s, not with the one that was given", Clip(h.Key, 200))
	}
	v, err := note.NewVerifier(h.Key)
	if err != nil {
		return nil, protocol.Errorf(protocol.ErrMalformed, "key of the exported log: %v", err)
	}
	x.out = &Exported{Org: h.Org, Node: h.Node, Key: h.Key, Details: h.Details}
	x.out.Log = h.Log
	x.header, x.verifier = &h, v
	for !x.ended {
		var line exportLine
		if err := x.read(&line); err != nil {
			return nil, err
		}
		if err := x.take(&line); err != nil {
			return nil, err
		}
	}
	if _, err := x.in.ReadByte(); err != io.EOF {
		return nil, protocol.Errorf(protocol.ErrMalformed, "exported log goes on after its end")
	}
	return x.out, x.finish(since)
}

type exportReader struct {
	in       *bufio.Reader
	header   *exportHeader
	verifier note.Verifier
	out      *Exported
	tree     memory
	last     Head // of the checkpoint before
	erased   []erasedEntry
	forgets  map[uint64]*Details // entries that say what was erased; nil without details
	ended    bool
	line     int
}

type erasedEntry struct{ n, by uint64 }

func (x *exportReader) read(v any) error {
	x.line++
	var b []byte
	for {
		part, err := x.in.ReadSlice('\n')
		if len(b)+len(part) > MaxExportLine {
			return protocol.Errorf(protocol.ErrOversize, "line %d of the exported log has more than %d bytes", x.line, MaxExportLine)
		}
		b = append(b, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF {
				return protocol.Errorf(protocol.ErrMalformed, "exported log breaks off in line %d: it was shortened, or not copied whole", x.line)
			}
			return err
		}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return protocol.Errorf(protocol.ErrMalformed, "line %d of the exported log: %v", x.line, err)
	}
	// One encoding only: nothing in the file may differ from what was written without a word.
	var again bytes.Buffer
	enc := json.NewEncoder(&again)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil || !bytes.Equal(again.Bytes(), b) {
		return protocol.Errorf(protocol.ErrMalformed, "line %d of the exported log was changed: it is not as it is written", x.line)
	}
	return nil
}

func (x *exportReader) take(line *exportLine) error {
	parts := 0
	for _, set := range []bool{line.Entry != nil, line.Checkpoint != nil, line.End} {
		if set {
			parts++
		}
	}
	switch {
	case parts != 1:
		return protocol.Errorf(protocol.ErrMalformed, "line %d of the exported log is neither an entry nor a checkpoint nor the end", x.line)
	case line.End:
		x.ended = true
		return nil
	case line.Entry != nil:
		return x.entry(line.Entry)
	}
	return x.checkpoint(line.Checkpoint)
}

func (x *exportReader) entry(e *exportEntry) error {
	n := uint64(x.tree.size)
	if e.Number != n || n >= x.header.Entries || x.out.Checkpoints > 0 {
		return protocol.Errorf(protocol.ErrMalformed, "line %d of the exported log is entry %d, where entry %d of %d is to come", x.line, e.Number, n, x.header.Entries)
	}
	x.tree.append(tlog.RecordHash(e.Leaf))
	var leaf Leaf
	if err := protocol.Decode(e.Leaf, MaxLeaf, &leaf); err != nil {
		x.out.problem("entry %d is not a leaf: %v", n, err)
		return nil
	}
	if e.Kind != leaf.Kind.String() {
		x.out.problem("entry %d is said to be of kind %q, and its leaf is of kind %s", n, Clip(e.Kind, 40), leaf.Kind)
	}
	if leaf.Kind == Forget {
		x.forgets[n] = nil
	}
	switch {
	case e.Erased != nil:
		if len(e.Details) > 0 || len(e.Salt) > 0 {
			return protocol.Errorf(protocol.ErrMalformed, "entry %d has details, and says that they were erased", n)
		}
		x.erased = append(x.erased, erasedEntry{n, *e.Erased})
	case !x.header.Details:
		if len(e.Details) > 0 || len(e.Salt) > 0 {
			return protocol.Errorf(protocol.ErrMalformed, "entry %d has details, and the exported log says that it holds none", n)
		}
		x.out.Without++
	case len(e.Salt) != 32:
		x.out.problem("the details of entry %d are missing, and nothing says that they were erased", n)
	default:
		d, err := open(&leaf, [32]byte(e.Salt), e.Details)
		if err != nil {
			x.out.problem("the details of entry %d: %v", n, err)
			return nil
		}
		x.out.Verified.Details++
		if leaf.Kind == Forget {
			x.forgets[n] = d
		}
	}
	return nil
}

func (x *exportReader) checkpoint(e *exportCheckpoint) error {
	if uint64(x.tree.size) != x.header.Entries {
		return protocol.Errorf(protocol.ErrMalformed, "exported log has %d entries, and says that there are %d: it was shortened", x.tree.size, x.header.Entries)
	}
	c, err := OpenCheckpoint([]byte(e.Note), x.verifier)
	if err != nil {
		x.out.problem("a checkpoint (line %d): %v", x.line, err)
		x.out.Checkpoints++
		return nil
	}
	if c.Log != x.header.Log || e.Since != x.last.Size || c.Size <= x.last.Size {
		return protocol.Errorf(protocol.ErrMalformed, "line %d of the exported log is a checkpoint of another log, or out of order", x.line)
	}
	x.out.Size = uint64(x.tree.size)
	if err := x.out.against(fmt.Sprintf("its checkpoint of %d entries", c.Size), &c.Head, x.root); err != nil {
		return err
	}
	if x.last.Size > 0 {
		if err := CheckSince(e.Consistency, c.Head, x.last); err != nil {
			x.out.problem("the checkpoint of %d entries: %v", c.Size, err)
		}
	}
	x.last = c.Head
	return nil
}

func (x *exportReader) root(size uint64) (protocol.Hash, error) { return x.tree.root(int64(size)), nil }

func (x *exportReader) finish(since []Since) error {
	out := x.out
	if uint64(x.tree.size) != x.header.Entries {
		return protocol.Errorf(protocol.ErrMalformed, "exported log has %d entries, and says that there are %d: it was shortened", x.tree.size, x.header.Entries)
	}
	out.Size, out.Root = uint64(x.tree.size), x.tree.root(x.tree.size)
	if x.last.Size != out.Size {
		out.problem("no checkpoint covers the entries from %d on", x.last.Size)
	}
	for i := range since {
		h := &since[i].Head
		if since[i].Signed != nil {
			c, err := OpenCheckpoint(since[i].Signed, x.verifier)
			if err != nil {
				return fmt.Errorf("%s: %w", since[i].What, err)
			}
			h = &c.Head
		}
		if h.Log != out.Log {
			return protocol.Errorf(protocol.ErrWrongContext, "%s is of log %s, not of %s", since[i].What, h.Log, out.Log)
		}
		if err := out.against(since[i].What, h, x.root); err != nil {
			return err
		}
	}
	said := map[uint64]map[uint64]bool{}
	for _, e := range x.erased {
		if _, ok := x.forgets[e.by]; ok && !x.header.Details && e.by > e.n {
			out.Erased++ // of what that entry says nothing is here
			continue
		}
		if err := out.erased(e.n, e.by, said, func(by uint64) (*Leaf, *Details, error) {
			d := x.forgets[by]
			if d == nil {
				return nil, nil, ErrNotFound
			}
			return &Leaf{Kind: Forget}, d, nil
		}); err != nil {
			return err
		}
	}
	return nil
}
