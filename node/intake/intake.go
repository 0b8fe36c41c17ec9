package intake

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// MaxFile bounds what is read of one file: 256 MiB.
const MaxFile = 256 << 20

// Format is the form of a file.
type Format string

// The formats. Auto looks at the contents.
const (
	Auto Format = "auto"
	STIX Format = "stix" // a bundle, an array of objects, or one object
	MISP Format = "misp" // an event, {"Event":…}, {"response":[…]} or an array of them
	List Format = "list" // one observable a line
)

// Formats returns every value that [ParseFormat] accepts.
func Formats() []Format { return []Format{Auto, STIX, MISP, List} }

// ParseFormat reads the name of a format; "" is Auto.
func ParseFormat(s string) (Format, error) {
	if s == "" {
		return Auto, nil
	}
	for _, f := range Formats() {
		if string(f) == s {
			return f, nil
		}
	}
	return "", fmt.Errorf("unknown format %q; use auto, stix, misp or list", s)
}

// epoch is the time of indicators made from a file that states none, so that the same list
// gives the same objects on every day and every node.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Epoch returns the time that indicators get if nobody states one: the start of 2020, UTC.
func Epoch() time.Time { return epoch }

// Options say how to read a file.
type Options struct {
	Format Format    // zero: Auto
	Labels *Labels   // may be nil: countries and TLP for items whose file states none
	At     time.Time // created, modified and valid_from of indicators made from a list; zero: Epoch
	// Assessment is what indicators made from a list say of how far they can be relied on; nil:
	// nothing. In other formats the objects say it themselves, and it is an error.
	Assessment *stix.Assessment
	// Validation says how much of the standard is asked of the objects of a STIX file; zero: Lenient.
	Validation stix.Mode
	// Orgs says which members of the mesh the organisations of MISP's sharing groups are; nil: nobody
	// knows, and what is for a sharing group is a problem.
	Orgs core.Orgs
}

// Item is one object to publish.
type Item struct {
	Object   *stix.Object
	Handling protocol.Handling // as the source states it; zero fields: unstated
	Line     int               // where it begins in the file, counted from one
	Value    string            // its main observable in canonical form; "" if it has none
	// Converted says that the object was made here of a form that does not know when it was created, as
	// MISP's: later versions get what the first one states.
	Converted bool

	observables []stix.Observable // of read; nil: not known
	read        *stix.Object
}

// Observables returns those of the object (stix.Observables), not nil. They are read once.
func (it *Item) Observables() []stix.Observable {
	if it.observables != nil && it.read == it.Object {
		return it.observables
	}
	return observables(it.Object)
}

func observables(o *stix.Object) []stix.Observable {
	if found := stix.Observables(o); found != nil {
		return found
	}
	return []stix.Observable{}
}

// Problem is something that a file holds and that could not be read, or must not be shared.
type Problem struct {
	File string // the name given to Read
	Line int    // counted from one; 0: the file as a whole
	Text string // the reason, in words
	Raw  []byte // the STIX object at fault as it stands in the file; nil: it is none, or not one
}

// String returns "file:line: text".
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Result is what a file holds.
type Result struct {
	Format     Format
	Title      string // what the file calls itself; "" if it does not
	Items      []Item
	Problems   []Problem
	Notes      []string // what a person should know before publishing
	Duplicates int      // entries that gave the same id and the same bytes as one before
}

// Read reads a file. name is for messages. The error is for a file that cannot be read at
// all, as too large, binary or broken JSON; everything smaller is a Problem in the result.
func Read(name string, r io.Reader, opts Options) (*Result, error) {
	limited := &boundedReader{r: r, left: MaxFile}
	buf := bufio.NewReaderSize(limited, 64<<10)
	format, err := detect(buf, opts.Format)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if opts.At.IsZero() {
		opts.At = epoch
	}
	b := newBuilder(name, format)
	b.validation = opts.Validation
	if opts.Assessment != nil && format != List {
		return nil, fmt.Errorf("reading %s: %w", name, protocol.Errorf(protocol.ErrMalformed, "codes of reliability, credibility and handling can be given for lists only; objects of other formats state their own, and are not changed"))
	}
	switch format {
	case List:
		b.assessment = opts.Assessment
		err = readList(b, buf, opts.At)
	case STIX, MISP, anyJSON:
		var data []byte
		if data, err = readAll(buf, size(r)); err == nil {
			err = readJSON(b, data, opts.Orgs)
		}
	default:
		_, err = ParseFormat(string(format))
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	b.finish(opts.Labels)
	return &b.Result, nil
}

// size returns how much there is to read, 0 if r does not say.
func size(r io.Reader) int64 {
	switch r := r.(type) {
	case interface{ Len() int }: // before anything was read of it: the buffer holds a part
		return int64(r.Len())
	case interface{ Stat() (fs.FileInfo, error) }:
		if info, err := r.Stat(); err == nil && info.Mode().IsRegular() {
			return info.Size()
		}
	}
	return 0
}

// readAll reads what is left, into memory that is made for it if it is known how much it is.
func readAll(buf *bufio.Reader, size int64) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(int(min(max(size, 0), MaxFile)) + buf.Buffered() + bytes.MinRead)
	_, err := out.ReadFrom(buf)
	return out.Bytes(), err
}

// anyJSON is STIX or MISP, which the properties at the top tell apart.
const anyJSON Format = "json"

// detect looks at the first bytes, which it leaves unread apart from a byte order mark.
func detect(buf *bufio.Reader, stated Format) (Format, error) {
	head, err := buf.Peek(4096)
	if err != nil && err != io.EOF {
		return "", err
	}
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return "", protocol.Errorf(protocol.ErrMalformed, "the text is UTF-16; convert it to UTF-8")
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return "", protocol.Errorf(protocol.ErrMalformed, "not a text file; unpack or convert it")
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		if _, err := buf.Discard(3); err != nil {
			return "", err
		}
		head = head[3:]
	}
	if stated != Auto && stated != "" {
		return stated, nil
	}
	head = bytes.TrimLeft(head, " \t\r\n")
	if len(head) > 0 && head[0] == '{' {
		return anyJSON, nil
	}
	if len(head) > 1 && head[0] == '[' {
		if rest := bytes.TrimLeft(head[1:], " \t\r\n"); len(rest) > 0 && (rest[0] == '{' || rest[0] == ']') {
			return anyJSON, nil
		}
	}
	return List, nil
}

// boundedReader fails, where io.LimitReader would only end, so that a file that is too large
// is never published in part.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, protocol.Errorf(protocol.ErrOversize, "more than %d MiB; split the file", MaxFile>>20)
	}
	return n, err
}
