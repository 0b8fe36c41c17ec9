package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// ExportFormat is a form in which other systems read records.
type ExportFormat string

// The formats: observables one a line, for blocklists; a table; a STIX 2.1 bundle; one JSON
// object a line with the handling beside the object; events of MISP.
const (
	ExportLines ExportFormat = "lines"
	ExportCSV   ExportFormat = "csv"
	ExportSTIX  ExportFormat = "stix"
	ExportJSONL ExportFormat = "jsonl"
	ExportMISP  ExportFormat = "misp"
)

// ExportFormats lists the formats.
func ExportFormats() []string { return []string{"lines", "csv", "stix", "jsonl", "misp"} }

// Valid reports whether f is a known format.
func (f ExportFormat) Valid() bool { return slices.Contains(ExportFormats(), string(f)) }

// MediaType returns the format's media type.
func (f ExportFormat) MediaType() string {
	switch f {
	case ExportCSV:
		return "text/csv; charset=utf-8"
	case ExportSTIX:
		return "application/stix+json;version=2.1"
	case ExportJSONL:
		return "application/x-ndjson"
	case ExportMISP:
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// exporter writes records in one format.
type exporter interface {
	write(r *Record) error
	close() error
}

const exportPage = 1000

// Export writes all records after a cursor and returns the cursor to go on from next time.
// In lines, stix and misp, withdrawn records are left out; csv and jsonl mark them.
func (n *Node) Export(ctx context.Context, w io.Writer, format ExportFormat, after uint64) (uint64, error) {
	return n.exportSeen(ctx, w, format, after, seeAll)
}

// exportSeen exports what see lets through.
func (n *Node) exportSeen(ctx context.Context, w io.Writer, format ExportFormat, after uint64, see func(*Record) bool) (uint64, error) {
	if !format.Valid() {
		return after, fmt.Errorf("format %q is not known; use one of %s", format, strings.Join(ExportFormats(), ", "))
	}
	if err := n.usable(); err != nil {
		return after, err
	}
	h, err := n.handOut(ctx, handoutExport, string(format), after, false)
	if err != nil {
		return after, err
	}
	last, count, err := n.export(w, format, after, see)
	return last, errors.Join(err, h.end(last, count))
}

func (n *Node) export(w io.Writer, format ExportFormat, after uint64, see func(*Record) bool) (last, count uint64, err error) {
	buf := bufio.NewWriterSize(w, 64<<10)
	var ex exporter
	switch format {
	case ExportLines:
		ex = &lineExporter{w: buf, seen: map[string]bool{}}
	case ExportCSV:
		ex = newCSVExporter(buf)
	case ExportSTIX:
		ex = &stixExporter{w: buf}
	case ExportJSONL:
		ex = &jsonExporter{json.NewEncoder(buf)}
	case ExportMISP:
		ex = &mispExporter{w: buf}
	}
	for {
		page, err := n.Records(after, exportPage)
		if err != nil {
			return after, count, err
		}
		for i := range page {
			after = max(after, page[i].Cursor)
			if !see(&page[i]) {
				continue
			}
			count++
			if err := ex.write(&page[i]); err != nil {
				return after, count, err
			}
		}
		if len(page) < exportPage {
			break
		}
	}
	if err := ex.close(); err != nil {
		return after, count, err
	}
	return after, count, buf.Flush()
}

// values returns the observables of a record that a device can act on, the main one first.
func values(r *Record) []stix.Observable {
	o, err := stix.Parse(r.Object)
	if err != nil {
		return nil
	}
	return stix.Observables(o)
}

type lineExporter struct {
	w    *bufio.Writer
	seen map[string]bool
}

func (e *lineExporter) write(r *Record) error {
	if r.Withdrawn {
		return nil
	}
	obs := values(r)
	for _, o := range obs {
		// The host of a URL or a socket is there for searching: blocking it would block more
		// than the record says.
		if e.seen[o.Value] || isHostOf(o, obs) || strings.ContainsAny(o.Value, "\r\n") {
			continue
		}
		e.seen[o.Value] = true
		if _, err := e.w.WriteString(o.Value + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func isHostOf(o stix.Observable, others []stix.Observable) bool {
	return slices.ContainsFunc(others, func(p stix.Observable) bool {
		h, ok := p.Host()
		return ok && h == o && p != o
	})
}

func (e *lineExporter) close() error { return nil }

type csvExporter struct{ w *csv.Writer }

func newCSVExporter(w io.Writer) *csvExporter {
	c := &csvExporter{csv.NewWriter(w)}
	_ = c.w.Write([]string{"cursor", "record", "stix_id", "type", "kind", "value", "tlp", "countries", "originator", "publisher", "topic", "received", "withdrawn",
		"confidence", "reliability", "credibility", "europol_evaluation", "europol_handling", "assessment"})
	return c
}

func (e *csvExporter) write(r *Record) error {
	obs := values(r)
	if len(obs) == 0 {
		obs = []stix.Observable{{}}
	}
	said, confidence, credibility := stix.Assessment{}, "", ""
	if r.Assessment != nil {
		said = *r.Assessment
	}
	if said.Confidence != nil {
		confidence = strconv.Itoa(int(*said.Confidence))
	}
	if said.Credibility != 0 {
		credibility = strconv.Itoa(int(said.Credibility))
	}
	for _, o := range obs {
		if isHostOf(o, obs) {
			continue
		}
		if err := e.w.Write([]string{strconv.FormatUint(r.Cursor, 10), r.ID.String(), r.StixID, r.Type, string(o.Kind), inert(o.Value), r.Handling.TLP,
			strings.Join(r.Handling.Countries, " "), inert(r.Originator.Name), inert(r.Publisher.Name), r.Topic,
			r.Received.Format(time.RFC3339), strconv.FormatBool(r.Withdrawn), confidence, said.Reliability, credibility, said.Europol(),
			strings.Join(said.Handling, " "), inert(said.String())}); err != nil {
			return err
		}
	}
	return nil
}

// inert keeps a spreadsheet from running a value as a formula (CSV injection).
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func (e *csvExporter) close() error { e.w.Flush(); return e.w.Error() }

type jsonExporter struct{ enc *json.Encoder }

func (e *jsonExporter) write(r *Record) error { return e.enc.Encode(r) }
func (e *jsonExporter) close() error          { return nil }

// stixExporter writes a bundle. An object that states no TLP itself gets the marking of its
// record, since what leaves without a label is taken for free; all others stay as they are.
type stixExporter struct {
	w    *bufio.Writer
	any  bool
	used [protocol.TLPRed + 1]bool
}

func (e *stixExporter) write(r *Record) error {
	if r.Withdrawn {
		return nil
	}
	t, err := protocol.ParseTLP(r.Handling.TLP)
	if err != nil {
		return err
	}
	e.used[t] = true
	return e.object(marked(r.Object, t))
}

func (e *stixExporter) object(raw []byte) error {
	sep := ",\n"
	if !e.any {
		sep = `{"type":"bundle","id":"bundle--` + uuid.NewString() + `","objects":[` + "\n"
		e.any = true
	}
	_, err := e.w.WriteString(sep + string(raw))
	return err
}

func (e *stixExporter) close() error {
	for t, used := range e.used {
		if !used {
			continue
		}
		if err := e.object(stix.TLPMarkingDefinition(protocol.TLP(t))); err != nil {
			return err
		}
	}
	if !e.any { // a bundle of nothing has no list of objects (STIX 2.1, section 8)
		_, err := e.w.WriteString(`{"type":"bundle","id":"bundle--` + uuid.NewString() + `"}` + "\n")
		return err
	}
	_, err := e.w.WriteString("\n]}\n")
	return err
}

func marked(raw []byte, t protocol.TLP) []byte {
	o, err := stix.Parse(raw)
	if err != nil || o.Type == "marking-definition" {
		return raw
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(raw, &doc) != nil {
		return raw
	}
	id := stix.TLPMarkingID(t)
	refs, has := doc["object_marking_refs"]
	if !has {
		end := bytes.LastIndexByte(raw, '}')
		return append(slices.Clone(raw[:end]), []byte(`,"object_marking_refs":["`+id+`"]}`)...)
	}
	var list []string
	if json.Unmarshal(refs, &list) != nil {
		return raw
	}
	for _, ref := range list {
		if stix.IsTLPMarking(ref) {
			return raw
		}
	}
	b, err := json.Marshal(append(list, id))
	if err != nil {
		return raw
	}
	doc["object_marking_refs"] = b
	if out, err := json.Marshal(doc); err == nil {
		return out
	}
	return raw
}
