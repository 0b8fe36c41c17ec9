package format

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/entente-mesh/entente/node/outputs/gather"
	"github.com/entente-mesh/entente/node/outputs/warninglist"
	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// lineWriter writes values and nothing else: not every reader of lists knows comments.
type lineWriter struct{}

func (lineWriter) begin(*bufio.Writer, *Options) error { return nil }

func (lineWriter) write(w *bufio.Writer, it *gather.Item, _ *warninglist.Hit) error {
	_, err := w.WriteString(it.Value + "\n")
	return err
}

func (lineWriter) end(*bufio.Writer, []string) error { return nil }

// Line is a value in JSON Lines.
type Line struct {
	Value       string     `json:"value"`
	Kind        stix.Kind  `json:"kind"`
	Score       int        `json:"score"`
	Block       bool       `json:"block"`          // its PAP allows to block it, and no warninglist holds it
	Sources     int        `json:"sources"`        // independent originators, 8 at most
	Seen        int        `json:"seen,omitempty"` // organisations that sighted it, 16 at most
	First       time.Time  `json:"first_received"`
	Last        time.Time  `json:"last_confirmed"`
	Until       *time.Time `json:"valid_until,omitempty"`
	TLP         string     `json:"tlp"`
	PAP         string     `json:"pap,omitempty"`
	Warninglist string     `json:"warninglist,omitempty"`
	Entry       string     `json:"warninglist_entry,omitempty"`
}

// LineOf describes a value.
func LineOf(it *gather.Item, hit *warninglist.Hit) Line {
	l := Line{Value: it.Value, Kind: it.Kind, Score: it.Score, Block: it.Active > 0 && hit == nil, Sources: it.Sources, Seen: it.Seen,
		First: timeOf(it.First), Last: timeOf(it.Last), TLP: it.TLP.String()}
	if it.Until > 0 {
		t := timeOf(it.Until)
		l.Until = &t
	}
	if it.PAP != protocol.PAPUnset {
		l.PAP = it.PAP.String()
	}
	if hit != nil {
		l.Warninglist, l.Entry = hit.List, hit.Entry
	}
	return l
}

func timeOf(ms uint64) time.Time { return time.UnixMilli(int64(min(ms, 1<<53))).UTC() }

type jsonWriter struct{}

func (jsonWriter) begin(*bufio.Writer, *Options) error { return nil }

func (jsonWriter) write(w *bufio.Writer, it *gather.Item, hit *warninglist.Hit) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(LineOf(it, hit))
}

func (jsonWriter) end(*bufio.Writer, []string) error { return nil }

type csvWriter struct{ w *csv.Writer }

func (c *csvWriter) begin(w *bufio.Writer, _ *Options) error {
	c.w = csv.NewWriter(w)
	return c.w.Write([]string{"value", "kind", "score", "block", "sources", "seen", "first_received", "last_confirmed", "valid_until", "tlp", "pap", "warninglist", "warninglist_entry"})
}

func (c *csvWriter) write(_ *bufio.Writer, it *gather.Item, hit *warninglist.Hit) error {
	l := LineOf(it, hit)
	until := ""
	if l.Until != nil {
		until = l.Until.Format(time.RFC3339)
	}
	return c.w.Write([]string{Inert(l.Value), string(l.Kind), strconv.Itoa(l.Score), strconv.FormatBool(l.Block), strconv.Itoa(l.Sources), strconv.Itoa(l.Seen),
		l.First.Format(time.RFC3339), l.Last.Format(time.RFC3339), until, l.TLP, l.PAP, Inert(l.Warninglist), Inert(l.Entry)})
}

func (c *csvWriter) end(*bufio.Writer, []string) error { c.w.Flush(); return c.w.Error() }

// Inert keeps a spreadsheet from running a cell as a formula (OWASP, CSV Injection): it puts an
// apostrophe in front of what begins with =, +, -, @, their full-width forms, or a control character,
// behind white space too; and the same behind a semicolon or a tab, which are what separates cells
// where the comma is the decimal sign, whatever quotes are around.
func Inert(s string) string {
	if !strings.ContainsFunc(s, starts) {
		return s
	}
	var b strings.Builder
	beginning := true
	for _, r := range s {
		if beginning && starts(r) {
			b.WriteByte('\'')
			beginning = false
		}
		b.WriteRune(r)
		switch {
		case r == ';' || r == '\t' || r == '\n' || r == '\r':
			beginning = true
		case !unicode.IsSpace(r) && r != '"' && r != '\ufeff':
			beginning = false
		}
	}
	return b.String()
}

// starts reports whether a spreadsheet may take a cell that begins so for a formula.
func starts(r rune) bool { return strings.ContainsRune("=+-@＝＋－＠\t\r\n\x00", r) }
