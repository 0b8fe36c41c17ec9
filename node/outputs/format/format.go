// Package format writes values in the languages of machines: a plain list, a table, JSON Lines, a zone
// of DNS response policies, rules of Suricata, sets of nftables. It has no I/O of its own and no clock:
// the same values give the same bytes.
//
// No value can alter the syntax around it. Each format writes the characters that a kind of value
// can have, checks that it has no others, and refuses what it cannot write; it never trusts that a
// value is what its kind says.
package format

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Format is a language.
type Format string

// The formats.
const (
	List     Format = "list"     // one value a line
	CSV      Format = "csv"      // a table with scores
	JSONL    Format = "jsonl"    // the same, one JSON object a line
	RPZ      Format = "rpz"      // a zone of DNS response policies
	Suricata Format = "suricata" // rules that alert
	NFTables Format = "nftables" // sets of addresses, for nft -f
	MD5      Format = "md5"      // hashes alone, for filemd5, filesha1, filesha256 of Suricata
	SHA1     Format = "sha1"
	SHA256   Format = "sha256"
)

// Formats lists the formats.
func Formats() []string {
	return []string{"list", "csv", "jsonl", "rpz", "suricata", "nftables", "md5", "sha1", "sha256"}
}

// Valid reports whether f is a format.
func (f Format) Valid() bool { return slices.Contains(Formats(), string(f)) }

// MediaType returns the format's media type.
func (f Format) MediaType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8"
	case JSONL:
		return "application/x-ndjson"
	case RPZ:
		return "text/dns" // RFC 4027
	}
	return "text/plain; charset=utf-8"
}

// marks reports whether a format is for people and programs that judge for themselves: what is on a
// warninglist is marked in it, and left out of the others.
func (f Format) marks() bool { return f == CSV || f == JSONL }

// blocks reports whether a format is for what blocks. PAP allows that for CLEAR and GREEN only; to
// watch for something, as Suricata's alerts do, is passive (MISP taxonomy PAP).
func (f Format) blocks() bool { return f == List || f == RPZ || f == NFTables }

// kinds are what a format can say.
func (f Format) kinds() []stix.Kind {
	switch f {
	case List:
		return []stix.Kind{stix.Domain, stix.DomainPort, stix.Email, stix.IPv4, stix.IPv4CIDR, stix.IPv4Port, stix.IPv6, stix.IPv6CIDR, stix.IPv6Port,
			stix.MD5, stix.SHA1, stix.SHA256, stix.SHA512, stix.URL}
	case RPZ:
		return []stix.Kind{stix.Domain, stix.IPv4, stix.IPv4CIDR, stix.IPv6, stix.IPv6CIDR}
	case Suricata:
		return []stix.Kind{stix.Domain, stix.IPv4, stix.IPv4CIDR, stix.IPv4Port, stix.IPv6, stix.IPv6CIDR, stix.IPv6Port, stix.URL}
	case NFTables:
		return []stix.Kind{stix.IPv4, stix.IPv4CIDR, stix.IPv4Port, stix.IPv6, stix.IPv6CIDR, stix.IPv6Port}
	case MD5, SHA1, SHA256:
		return []stix.Kind{stix.Kind(f)}
	}
	return nil
}

// Reason is why a format leaves a value out.
type Reason string

// The reasons.
const (
	In      Reason = ""
	Score   Reason = "score"  // too low
	Listed  Reason = "listed" // on a warninglist, or it covers something that is
	Passive Reason = "pap"    // PAP AMBER and RED do not allow to block
	Kind    Reason = "kind"   // the format has no words for it
	Form    Reason = "form"   // the format cannot write this value
)

// Reasons lists them.
func Reasons() []Reason { return []Reason{Score, Listed, Passive, Kind, Form} }

func (r Reason) String() string {
	switch r {
	case In:
		return "it is in"
	case Score:
		return "its score is too low"
	case Listed:
		return "it is on a warninglist, or covers what is"
	case Passive:
		return "PAP:AMBER and PAP:RED do not allow to block"
	case Kind:
		return "the format has no words for this kind of value"
	case Form:
		return "the format cannot write this value"
	}
	return string(r)
}

// Judge says whether a format holds a value, and why not; and which warninglist holds it, if one
// was asked.
func Judge(f Format, it *gather.Item, least int, lists *warninglist.Set) (Reason, *warninglist.Hit) {
	if k := f.kinds(); k != nil && !slices.Contains(k, it.Kind) {
		return Kind, nil
	}
	if it.Score < least || it.Score == 0 {
		return Score, nil
	}
	if f.blocks() && (it.Active < least || it.Active == 0) {
		return Passive, nil
	}
	if !writable(f, it.Observable) {
		return Form, nil
	}
	if hit, ok := lists.Match(it.Observable, true); ok {
		if f.marks() {
			return In, &hit
		}
		return Listed, &hit
	}
	return In, nil
}

// writable reports whether a format can write a value of a kind that it has words for.
func writable(f Format, o stix.Observable) bool {
	switch f {
	case CSV, JSONL:
		return true
	case RPZ:
		_, ok := rpzName(o)
		return ok
	case Suricata:
		_, ok := suricataRules(o)
		return ok
	case NFTables:
		_, ok := rangeOf(o)
		return ok
	}
	return !strings.ContainsFunc(o.Value, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// Options are what a writer is told.
type Options struct {
	View   string // named in a comment
	Serial uint32 // of a zone
}

// Writer writes values. They are to come in the order of gather.Set.Sorted, and only what Judge
// lets in.
type Writer struct {
	f    Format
	w    *bufio.Writer
	in   inner
	n    int
	left map[Reason]int
	tlp  protocol.TLP
}

// inner writes in one format.
type inner interface {
	begin(w *bufio.Writer, o *Options) error
	write(w *bufio.Writer, it *gather.Item, hit *warninglist.Hit) error
	end(w *bufio.Writer, summary []string) error
}

// NewWriter begins a file.
func NewWriter(w io.Writer, f Format, o Options) (*Writer, error) {
	var in inner
	switch f {
	case CSV:
		in = &csvWriter{}
	case JSONL:
		in = jsonWriter{}
	case RPZ:
		in = rpzWriter{}
	case Suricata:
		in = &suricataWriter{used: map[uint32]bool{}}
	case NFTables:
		in = &nftWriter{}
	case List, MD5, SHA1, SHA256:
		in = lineWriter{}
	default:
		return nil, fmt.Errorf("format %q is not known; use one of %s", f, strings.Join(Formats(), ", "))
	}
	o.View = comment(o.View)
	out := &Writer{f: f, w: bufio.NewWriterSize(w, 64<<10), in: in, left: map[Reason]int{}}
	return out, in.begin(out.w, &o)
}

// comment keeps a name in the line of its comment.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}

// Write writes a value.
func (w *Writer) Write(it *gather.Item, hit *warninglist.Hit) error {
	w.n++
	w.tlp = max(w.tlp, it.TLP)
	return w.in.write(w.w, it, hit)
}

// LeaveOut counts what is not written.
func (w *Writer) LeaveOut(r Reason) { w.left[r]++ }

// Close ends the file.
func (w *Writer) Close() error {
	text := fmt.Sprintf("%d values", w.n)
	if w.n > 0 {
		text += ", TLP:" + strings.ToUpper(w.tlp.String()) + " at most"
	}
	summary := []string{text}
	for _, r := range Reasons() {
		if w.left[r] > 0 {
			summary = append(summary, fmt.Sprintf("left out: %d, %s", w.left[r], r))
		}
	}
	if err := w.in.end(w.w, summary); err != nil {
		return err
	}
	return w.w.Flush()
}

func comments(w *bufio.Writer, mark string, lines []string) error {
	for _, l := range lines {
		if _, err := w.WriteString(mark + " " + l + "\n"); err != nil {
			return err
		}
	}
	return nil
}
