package taxii

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a request.
const (
	maxQuery   = 32 << 10 // bytes of a query
	maxValues  = 100      // of one match field
	pageLimit  = 1000     // objects of a page, if the client states no limit
	limitBound = 10000    // and at most
	pageBytes  = 16 << 20 // of objects of a page, at which it ends, whatever the limit
)

// filter is what a request asks for (TAXII 3.4).
type filter struct {
	after  time.Time // added_after; zero: not stated
	limit  int       // from 1 to limitBound
	next   string    // "": the beginning
	ids    []string  // match[id]; none: all
	types  []string
	specs  []string
	values []time.Time // match[version]: of these times

	first, last, all bool
}

// Endpoints differ in the match fields that they take.
var (
	matchObjects  = []string{"id", "type", "version", "spec_version"}
	matchObject   = []string{"version", "spec_version"}
	matchVersions = []string{"spec_version"}
)

// readFilter reads a query. Errors are the client's. Fields that the standard does not define are
// ignored, as it allows; those that it defines for other endpoints only are refused.
func readFilter(raw string, fields []string) (*filter, error) {
	if len(raw) > maxQuery {
		return nil, fmt.Errorf("the query has %d bytes, at most %d; ask for fewer ids at once", len(raw), maxQuery)
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fmt.Errorf("the query cannot be read: %v", err)
	}
	f := &filter{limit: pageLimit}
	for name, values := range q {
		field, isMatch := strings.CutPrefix(name, "match[")
		field, closed := strings.CutSuffix(field, "]")
		known := name == "added_after" || name == "limit" || name == "next" || isMatch && closed && slices.Contains(matchObjects, field)
		switch {
		case !known:
			continue
		case len(values) > 1:
			return nil, fmt.Errorf("%s occurs %d times; give it once, with its values separated by commas", name, len(values))
		case isMatch && !slices.Contains(fields, field):
			return nil, fmt.Errorf("%s is not for this endpoint; it takes match[%s]", name, strings.Join(fields, "], match["))
		case isMatch:
			err = f.match(field, values[0])
		default:
			err = f.parameter(name, values[0])
		}
		if err != nil {
			return nil, err
		}
	}
	if !f.first && !f.all && len(f.values) == 0 {
		f.last = true
	}
	return f, nil
}

func (f *filter) parameter(name, v string) error {
	switch name {
	case "added_after":
		t, err := parseTime(v)
		if err != nil {
			return fmt.Errorf("added_after: %w", err)
		}
		f.after = t
	case "limit":
		if strings.Trim(v, "0123456789") != "" || strings.Trim(v, "0") == "" {
			return fmt.Errorf("limit %s is not a whole number above 0", shown(v))
		}
		f.limit = limitBound
		if n, err := strconv.Atoi(v); err == nil {
			f.limit = min(n, limitBound)
		}
	case "next":
		f.next = v
	}
	return nil
}

func (f *filter) match(field, v string) error {
	values := strings.Split(v, ",")
	if len(values) > maxValues {
		return fmt.Errorf("match[%s] has %d values, at most %d", field, len(values), maxValues)
	}
	if slices.Contains(values, "") {
		return fmt.Errorf("match[%s] has an empty value", field)
	}
	slices.Sort(values)
	if field != "version" {
		values = slices.Compact(values)
	}
	switch field {
	case "id":
		f.ids = values
	case "type":
		f.types = values
	case "spec_version":
		f.specs = values
	case "version":
		return f.versions(values)
	}
	return nil
}

func (f *filter) versions(values []string) error {
	for _, v := range values {
		twice := false
		switch v {
		case "first":
			twice, f.first = f.first, true
		case "last":
			twice, f.last = f.last, true
		case "all":
			twice, f.all = f.all, true
		default:
			t, err := parseTime(v)
			if err != nil {
				return fmt.Errorf("match[version]: %w, nor first, last or all", err)
			}
			twice = slices.ContainsFunc(f.values, t.Equal)
			f.values = append(f.values, t)
		}
		if twice {
			return fmt.Errorf("match[version] names %s twice", shown(v))
		}
	}
	if f.all && len(values) > 1 {
		return errors.New("match[version]: all cannot be used with another version")
	}
	return nil
}

// parseTime reads a time as RFC 3339 writes it. Of any precision: clients cut what a server gave them.
func parseTime(v string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil || len(v) > 64 {
		return time.Time{}, fmt.Errorf("%s is not a time as 2026-01-31T12:00:00.000000Z", shown(v))
	}
	return t.UTC(), nil
}

// timestamp writes a time as TAXII does (section 2): UTC, in microseconds.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// impossible reports whether nothing can be asked for by it: a node holds nothing but STIX 2.1, which
// is asked of every object that is read (package stix).
func (f *filter) impossible() bool {
	return len(f.specs) > 0 && !slices.Contains(f.specs, "2.1")
}

// canonical writes the match fields in one way, whatever way they were asked for in.
func (f *filter) canonical() string {
	var b strings.Builder
	for _, list := range [][]string{f.ids, f.types, f.specs} {
		fmt.Fprintf(&b, "%q\n", list)
	}
	fmt.Fprintf(&b, "%v %v %v", f.first, f.last, f.all)
	for _, t := range f.values { // sorted as text, and of one time there is but one
		fmt.Fprintf(&b, " %d", t.UnixNano())
	}
	return b.String()
}

// shown quotes what a client sent, for a message to it.
func shown(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}
