package intake

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// Labels say which countries an observable concerns and how it may be shared, for sources
// that do not say so themselves.
type Labels struct {
	byValue map[string]label
}

type label struct {
	countries []string
	tlp       protocol.TLP
}

// Len returns the number of values that have a label.
func (l *Labels) Len() int { return len(l.byValue) }

// ReadLabels reads labels from CSV: columns value, country, tlp, in the order that a header
// line names them, or in this order if there is none. A value is an observable in any
// notation, or a STIX id. Several countries are parted by ';'. Country and tlp may be empty.
// '#' begins a comment line. A line that cannot be read is a Problem; of two lines on one
// value the countries add up and the stricter TLP holds.
func ReadLabels(name string, r io.Reader) (*Labels, []Problem, error) {
	l := &Labels{byValue: map[string]label{}}
	var problems []Problem
	in := csv.NewReader(&boundedReader{r: r, left: MaxFile})
	in.Comment, in.FieldsPerRecord, in.TrimLeadingSpace, in.ReuseRecord = '#', -1, true, true
	columns := map[string]int{"value": 0, "country": 1, "tlp": 2}
	for first := true; ; first = false {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return l, problems, nil
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			problems = append(problems, Problem{File: name, Line: bad.Line, Text: bad.Err.Error()})
			continue
		} else if err != nil {
			return nil, nil, fmt.Errorf("reading labels %s: %w", name, err)
		}
		if first {
			row[0] = strings.TrimPrefix(row[0], "\xef\xbb\xbf")
			if header, ok := readHeader(row); ok {
				columns = header
				continue
			}
		}
		if err := l.add(row, columns); err != nil {
			line, _ := in.FieldPos(0)
			problems = append(problems, Problem{File: name, Line: line, Text: err.Error()})
		}
	}
}

// readHeader reads a row that names columns, value among them.
func readHeader(row []string) (map[string]int, bool) {
	columns := map[string]int{}
	for i, name := range row {
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "countries" {
			name = "country"
		}
		columns[name] = i
	}
	_, ok := columns["value"]
	return columns, ok
}

func (l *Labels) add(row []string, columns map[string]int) (err error) {
	field := func(name string) string {
		if i, ok := columns[name]; ok && i < len(row) {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	key, ok := labelKey(field("value"))
	if !ok {
		return fmt.Errorf("%s is no observable and no STIX id", shown(field("value")))
	}
	got := l.byValue[key]
	for c := range strings.SplitSeq(field("country"), ";") {
		c = strings.ToUpper(strings.TrimSpace(c))
		if c == "" {
			continue
		}
		if !protocol.IsCountry(c) {
			return fmt.Errorf("country %s must be two letters (ISO 3166-1 alpha-2)", shown(c))
		}
		got.countries = append(slices.Clip(got.countries), c)
	}
	if s := field("tlp"); s != "" {
		tlp, err := protocol.ParseTLP(s)
		if err != nil {
			return err
		}
		got.tlp = max(got.tlp, tlp)
	}
	l.byValue[key] = got
	return nil
}

// labelKey returns the canonical form of a value; a STIX id is its own.
func labelKey(value string) (string, bool) {
	if o, ok := stix.Canonical(value); ok {
		return o.Value, true
	}
	typ, id, ok := strings.Cut(value, "--")
	return value, ok && typ != "" && len(id) == 36
}

// Apply fills in what the item's source leaves open and reports whether there is a label for
// the item. Countries are taken only if the source states none. A TLP may narrow what the
// source states, and never widens it.
func (l *Labels) Apply(item *Item) bool {
	got, ok := l.byValue[item.Value]
	if item.Value == "" || !ok {
		if got, ok = l.byValue[item.Object.ID]; !ok {
			return false
		}
	}
	if len(item.Handling.Countries) == 0 {
		item.Handling.Countries = slices.Clone(got.countries)
	}
	item.Handling.TLP = max(item.Handling.TLP, got.tlp)
	item.Handling.Normalise()
	return true
}
