// Package observe reads what was seen, in STIX bundles, CSV files and logs, as observations that
// patterns are matched with.
package observe

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/entente-mesh/entente/protocol/stix"
	"github.com/entente-mesh/entente/protocol/stix/pattern"
)

// Bounds of what is read.
const (
	// MaxLine bounds a line of a log, in bytes; of a longer one the rest is not looked at.
	MaxLine = 64 << 10
	// maxValues bounds the observables of one line or row.
	maxValues = 256
	// maxBundle bounds a bundle, in bytes.
	maxBundle = 256 << 20
	maxDepth  = 64
)

// Observation is something that was seen, and where it stands.
type Observation struct {
	seen   pattern.Observed
	own    int               // of a line: how many of Values stand in it; the others are their hosts
	Where  string            // file:line, or the id of an observed-data object
	Values []stix.Observable // in it, as the corpus is searched for them
}

// Times returns the first and the last time at which it was seen; zero where there is none.
func (o *Observation) Times() (first, last time.Time) { return o.seen.First, o.seen.Last }

// Observe returns what patterns are matched with. Of a line the objects are made when they are first
// asked for: most lines hold nothing that anybody looks for.
func (o *Observation) Observe() *pattern.Observed {
	if o.seen.Objects == nil {
		o.seen.Objects = objectsOf(o.Values[:o.own])
	}
	return &o.seen
}

// Format is how a file is written.
type Format string

// The formats. Auto looks at the name and at how the file begins.
const (
	Auto   Format = "auto"
	Bundle Format = "stix"
	CSV    Format = "csv"
	Lines  Format = "lines"
)

// Read calls fn with the observations of a file, until it returns an error. Lines and rows in which
// nothing is recognised are passed over.
func Read(name string, r io.Reader, format Format, fn func(*Observation) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	if format == Auto {
		head, err := in.Peek(512)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		head = bytes.TrimLeft(head, "\ufeff \t\r\n")
		switch {
		case bytes.HasPrefix(head, []byte("{")) && bytes.Contains(head, []byte(`"bundle"`)), bytes.HasPrefix(head, []byte("{")) && strings.HasSuffix(name, ".json"):
			format = Bundle
		case strings.HasSuffix(strings.ToLower(name), ".csv"):
			format = CSV
		default:
			format = Lines
		}
	}
	switch format {
	case Bundle:
		return readBundle(name, in, fn)
	case CSV:
		return readCSV(name, in, fn)
	case Lines:
		return readLines(name, in, fn)
	}
	return fmt.Errorf("format %q is not known; use auto, stix, csv or lines", format)
}

// readLines reads a log: of each line what is written in it, and the time that it begins with, or that
// stands in brackets.
func readLines(name string, in *bufio.Reader, fn func(*Observation) error) error {
	for number := 1; ; number++ {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s:%d: %w", name, number, err)
		}
		if line == "" && err != nil {
			return nil
		}
		if o := fromText(line); o != nil {
			o.Where = name + ":" + strconv.Itoa(number)
			if t, ok := timeIn(line); ok {
				o.seen.First, o.seen.Last = t, t
			}
			if err := fn(o); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// readLine reads a line, of which no more than MaxLine is kept.
func readLine(in *bufio.Reader) (string, error) {
	var b []byte
	for {
		part, err := in.ReadSlice('\n')
		if room := MaxLine - len(b); room > 0 {
			b = append(b, part[:min(len(part), room)]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return strings.TrimRight(string(b), "\r\n"), err
		}
	}
}

// fromText recognises the observables in a text; nil if there are none.
func fromText(text string) *Observation {
	var values []stix.Observable
	for _, word := range words(text) {
		if o, ok := recognised(word); ok && !slices.Contains(values, o) {
			if values = append(values, o); len(values) == maxValues {
				break
			}
		}
	}
	return fromValues(values)
}

// recognised is stix.Canonical for a word of a log: a number with points in it is no file name, and no
// name is one without saying so.
func recognised(word string) (stix.Observable, bool) {
	if len(word) < 4 {
		return stix.Observable{}, false
	}
	o, ok := stix.Canonical(word)
	return o, ok && o.Kind != stix.Filename
}

// words divides a line as logs do: by spaces, quotes, brackets, and the signs between keys and values.
// What stands before a = is also looked at as a whole, because URLs hold it.
func words(line string) (list []string) {
	for _, f := range strings.FieldsFunc(line, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("\"'`<>|;,(){}", r)
	}) {
		f = strings.TrimRight(f, ".:!?")
		list = append(list, f)
		trimmed := strings.Trim(f, "[]")
		if trimmed != f {
			list = append(list, trimmed)
		}
		if _, v, ok := strings.Cut(trimmed, "="); ok && !strings.Contains(trimmed, "://") {
			list = append(list, v)
		}
		if i := strings.LastIndexByte(trimmed, '@'); i >= 0 {
			list = append(list, trimmed[i+1:])
		}
		if i := strings.LastIndexByte(trimmed, '/'); i > 0 && !strings.Contains(trimmed, "://") { // 198.51.100.7/443, as some firewalls write
			list = append(list, trimmed[:i])
		}
	}
	return list
}

// timeFormats are those in which logs begin, or have in brackets.
var timeFormats = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05,999",
	"02/Jan/2006:15:04:05 -0700", "2006/01/02 15:04:05"}

// timeIn reads the time of a line: UTC, where it names no zone. Times without a year are none.
func timeIn(line string) (time.Time, bool) {
	if i := strings.IndexByte(line, '['); i >= 0 {
		if j := strings.IndexByte(line[i:], ']'); j > 0 {
			if t, ok := parseTime(line[i+1 : i+j]); ok {
				return t, true
			}
		}
	}
	fields := strings.Fields(line[:min(len(line), 80)])
	for n := min(2, len(fields)); n > 0; n-- {
		if t, ok := parseTime(strings.Trim(strings.Join(fields[:n], " "), `[]"'`)); ok {
			return t, true
		}
	}
	if len(fields) > 0 { // seconds since 1970, as Squid and Zeek write them
		if f, err := strconv.ParseFloat(fields[0], 64); err == nil && f > 1e9 && f < 1e10 {
			return time.UnixMilli(int64(f * 1000)).UTC(), true
		}
	}
	return time.Time{}, false
}

func parseTime(s string) (time.Time, bool) {
	for _, format := range timeFormats {
		if t, err := time.Parse(format, s); err == nil && t.Year() > 1970 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// timeColumns are names of columns that hold the time of a row.
var timeColumns = []string{"time", "timestamp", "@timestamp", "date", "datetime", "first_seen", "first_observed", "start", "ts"}

// readCSV reads a table. A first row without a single observable names the columns.
func readCSV(name string, in io.Reader, fn func(*Observation) error) error {
	r := csv.NewReader(in)
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	when := -1
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		var values []stix.Observable
		for _, cell := range row {
			if o, ok := stix.Canonical(cell); ok && !slices.Contains(values, o) && len(values) < maxValues {
				values = append(values, o)
			}
		}
		if first {
			for i, cell := range row {
				if slices.Contains(timeColumns, strings.ToLower(strings.TrimSpace(strings.TrimPrefix(cell, "\ufeff")))) && when < 0 {
					when = i
				}
			}
			if !slices.ContainsFunc(values, func(o stix.Observable) bool { return o.Kind != stix.Filename }) {
				continue
			}
		}
		o := fromValues(values)
		if o == nil {
			continue
		}
		o.Where = name + ":" + strconv.Itoa(line)
		if when >= 0 && when < len(row) {
			if t, ok := timeIn(row[when]); ok {
				o.seen.First, o.seen.Last = t, t
			}
		} else if len(row) > 0 {
			if t, ok := timeIn(row[0]); ok {
				o.seen.First, o.seen.Last = t, t
			}
		}
		if err := fn(o); err != nil {
			return err
		}
	}
}

// hashNames are the names of hashes in a file object (STIX 10.7, hash-algorithm-ov).
var hashNames = map[stix.Kind]string{stix.MD5: "MD5", stix.SHA1: "SHA-1", stix.SHA256: "SHA-256", stix.SHA512: "SHA-512"}

// fromValues makes an observation of the values of one line; nil of none.
func fromValues(values []stix.Observable) *Observation {
	if len(values) == 0 {
		return nil
	}
	o := &Observation{own: len(values), Values: values}
	for _, v := range values {
		if host, ok := v.Host(); ok && !slices.Contains(o.Values, host) {
			o.Values = append(o.Values, host)
		}
	}
	return o
}

// objectsOf makes the objects that values of one line are. Hashes and a name are one file, if there is
// one of each; an address with a port is traffic to it.
func objectsOf(values []stix.Observable) map[string]map[string]any {
	objects := map[string]map[string]any{}
	add := func(object map[string]any) string {
		id := strconv.Itoa(len(objects))
		objects[id] = object
		return id
	}
	seen := map[stix.Observable]string{}
	address := func(v stix.Observable) string {
		if id, ok := seen[v]; ok {
			return id
		}
		typ := map[stix.Kind]string{stix.IPv4: "ipv4-addr", stix.IPv4CIDR: "ipv4-addr", stix.IPv6: "ipv6-addr", stix.IPv6CIDR: "ipv6-addr", stix.Domain: "domain-name", stix.URL: "url", stix.Email: "email-addr"}[v.Kind]
		if typ == "" {
			return ""
		}
		id := add(map[string]any{"type": typ, "value": v.Value})
		seen[v] = id
		return id
	}
	count := map[stix.Kind]int{}
	for _, v := range values {
		count[v.Kind]++
	}
	whole := count[stix.Filename] <= 1
	for kind := range hashNames {
		whole = whole && count[kind] <= 1
	}
	var file map[string]any
	for _, v := range values {
		name, isHash := hashNames[v.Kind]
		switch {
		case isHash || v.Kind == stix.Filename:
			if file == nil || !whole {
				file = map[string]any{"type": "file"}
				add(file)
			}
			if !isHash {
				file["name"] = v.Value
				continue
			}
			hashes, _ := file["hashes"].(map[string]any)
			if hashes == nil {
				hashes = map[string]any{}
				file["hashes"] = hashes
			}
			hashes[name] = v.Value
		default:
			address(v)
			host, ok := v.Host()
			if !ok {
				continue
			}
			id := address(host)
			if v.Kind == stix.URL {
				continue
			}
			if at, err := netip.ParseAddrPort(v.Value); err == nil {
				add(map[string]any{"type": "network-traffic", "dst_ref": id, "dst_port": float64(at.Port())})
			} else if i := strings.LastIndexByte(v.Value, ':'); i >= 0 {
				if port, err := strconv.ParseUint(v.Value[i+1:], 10, 16); err == nil {
					add(map[string]any{"type": "network-traffic", "dst_ref": id, "dst_port": float64(port)})
				}
			}
		}
	}
	return objects
}

// readBundle reads the observed-data of a bundle, with what it refers to, and the observables that none
// refers to, each by itself.
func readBundle(name string, in io.Reader, fn func(*Observation) error) error {
	data, err := io.ReadAll(io.LimitReader(in, maxBundle+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxBundle {
		return fmt.Errorf("%s: a bundle of more than %d bytes is not read; divide it", name, maxBundle)
	}
	var bundle struct {
		Type    string           `json:"type"`
		Objects []map[string]any `json:"objects"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&bundle); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if bundle.Type != "bundle" {
		return fmt.Errorf("%s: it is of type %q, and not a bundle", name, bundle.Type)
	}
	byID := map[string]map[string]any{}
	for _, o := range bundle.Objects {
		if id, ok := o["id"].(string); ok {
			byID[id] = o
		}
	}
	used := map[string]bool{}
	for _, o := range bundle.Objects {
		if o["type"] != "observed-data" {
			continue
		}
		obs := &Observation{seen: pattern.Observed{Objects: map[string]map[string]any{}}}
		if obs.Where, _ = o["id"].(string); obs.Where == "" {
			obs.Where = name
		}
		for _, t := range []struct {
			key string
			to  *time.Time
		}{{"first_observed", &obs.seen.First}, {"last_observed", &obs.seen.Last}} {
			s, _ := o[t.key].(string)
			if *t.to, err = time.Parse(time.RFC3339Nano, s); err != nil {
				return fmt.Errorf("%s: %s has no %s; STIX 4.14 requires it", name, obs.Where, t.key)
			}
		}
		if n, ok := o["number_observed"].(json.Number); ok {
			if obs.seen.Count, err = strconv.ParseUint(string(n), 10, 32); err != nil || obs.seen.Count == 0 {
				return fmt.Errorf("%s: number_observed of %s is no count", name, obs.Where)
			}
		}
		if dict, ok := o["objects"].(map[string]any); ok {
			for key, v := range dict {
				if object, ok := v.(map[string]any); ok {
					obs.seen.Objects[key] = object
				}
			}
		}
		if refs, ok := o["object_refs"].([]any); ok {
			collect(refs, byID, obs.seen.Objects, used, 0)
		}
		if err := given(obs, fn); err != nil {
			return err
		}
	}
	for _, o := range bundle.Objects {
		id, _ := o["id"].(string)
		typ, _ := o["type"].(string)
		if used[id] || !sco[typ] {
			continue
		}
		obs := &Observation{Where: id, seen: pattern.Observed{Objects: map[string]map[string]any{}}}
		collect([]any{id}, byID, obs.seen.Objects, map[string]bool{}, 0)
		if err := given(obs, fn); err != nil {
			return err
		}
	}
	return nil
}

// sco are the types of STIX cyber-observable objects (STIX 6).
var sco = map[string]bool{"artifact": true, "autonomous-system": true, "directory": true, "domain-name": true, "email-addr": true, "email-message": true, "file": true,
	"ipv4-addr": true, "ipv6-addr": true, "mac-addr": true, "mutex": true, "network-traffic": true, "process": true, "software": true, "url": true, "user-account": true,
	"windows-registry-key": true, "x509-certificate": true}

// collect gathers objects with what they refer to.
func collect(refs []any, byID, into map[string]map[string]any, used map[string]bool, depth int) {
	if depth > maxDepth {
		return
	}
	for _, ref := range refs {
		id, _ := ref.(string)
		o := byID[id]
		if o == nil || into[id] != nil {
			continue
		}
		into[id], used[id] = o, true
		for key, v := range o {
			switch {
			case strings.HasSuffix(key, "_ref"):
				collect([]any{v}, byID, into, used, depth+1)
			case strings.HasSuffix(key, "_refs"):
				if list, ok := v.([]any); ok {
					collect(list, byID, into, used, depth+1)
				}
			}
		}
	}
}

// given notes which observables an observation holds, and gives it to fn.
func given(o *Observation, fn func(*Observation) error) error {
	for _, object := range o.seen.Objects {
		for _, key := range []string{"value", "name", "url"} {
			if s, ok := object[key].(string); ok {
				o.note(s, key == "name")
			}
		}
		if hashes, ok := object["hashes"].(map[string]any); ok {
			for _, v := range hashes {
				if s, ok := v.(string); ok {
					o.note(s, false)
				}
			}
		}
		if port, ok := object["dst_port"].(json.Number); ok {
			if ref, ok := object["dst_ref"].(string); ok {
				if host, ok := o.seen.Objects[ref]["value"].(string); ok {
					o.note(host+":"+string(port), false)
				}
			}
		}
	}
	slices.SortFunc(o.Values, func(a, b stix.Observable) int { return strings.Compare(string(a.Kind)+a.Value, string(b.Kind)+b.Value) })
	if len(o.seen.Objects) == 0 {
		return nil
	}
	return fn(o)
}

func (o *Observation) note(s string, name bool) {
	v, ok := stix.Canonical(s)
	if name {
		v, ok = stix.Observable{Kind: stix.Filename, Value: s}, s != ""
	}
	for ok && !slices.Contains(o.Values, v) && len(o.Values) < maxValues {
		o.Values = append(o.Values, v)
		v, ok = v.Host()
	}
}
