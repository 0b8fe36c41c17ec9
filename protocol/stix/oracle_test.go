package stix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/entente-mesh/entente/protocol"
)

// This file is the package as it was before it was made fast: encoding/json, regexp and maps
// throughout; what did not change is not here twice. It is what differential_test.go compares with and what the benchmarks are
// measured against, and is to be changed only with a change of what is accepted. Two
// mistakes are mended here as there: a number beyond float64 hid the observables of its
// object, and a property with the empty name was the value of types that have none.

// oldMember is one property of a JSON object; value is a part of the bytes it was read from.
type oldMember struct {
	name   string
	offset int // of the value
	value  json.RawMessage
}

// oldSplitMembers reads the properties of the JSON object in b, names compared exactly: unlike
// encoding/json it neither folds case nor lets the last of two equal names win, so that two
// readers cannot understand one object differently. b must be valid JSON.
func oldSplitMembers(b []byte) ([]oldMember, error) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return nil, protocol.Errorf(protocol.ErrMalformed, "not a JSON object")
	}
	var members []oldMember
	seen := map[string]bool{}
	for i = skipSpace(b, i+1); b[i] != '}'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		end := oldSkipValue(b, i)
		var name string
		if err := json.Unmarshal(b[i:end], &name); err != nil {
			return nil, protocol.Errorf(protocol.ErrMalformed, "reading property name: %v", err)
		}
		if seen[name] {
			return nil, protocol.Errorf(protocol.ErrMalformed, "property %q occurs twice", clip(name))
		}
		seen[name] = true
		i = skipSpace(b, end)
		i = skipSpace(b, i+1) // the colon
		end = oldSkipValue(b, i)
		members = append(members, oldMember{name, i, json.RawMessage(b[i:end:end])})
		i = end
	}
	return members, nil
}

// oldSplitElements calls fn with each element of the JSON array b and its offset in b, which
// must be valid JSON.
func oldSplitElements(b []byte, fn func(offset int, element []byte)) error {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return protocol.Errorf(protocol.ErrMalformed, "not a JSON array")
	}
	for i = skipSpace(b, i+1); b[i] != ']'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		end := oldSkipValue(b, i)
		fn(i, b[i:end:end])
		i = end
	}
	return nil
}

// oldSkipValue returns the offset behind the JSON value that starts at i of valid JSON.
func oldSkipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return oldSkipString(b, i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch b[i] {
			case '"':
				i = oldSkipString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(b) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(b[i])) {
		i++
	}
	return i
}

func oldSkipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// oldCheckJSON returns nil if b is one JSON value in UTF-8 that nests at most depth deep.
func oldCheckJSON(b []byte, depth int) error {
	if !utf8.Valid(b) {
		return protocol.Errorf(protocol.ErrMalformed, "not UTF-8")
	}
	if d := nesting(b); depth > 0 && d > depth {
		return protocol.Errorf(protocol.ErrOversize, "nested %d deep, at most %d", d, depth)
	}
	return oldCheckSyntax(b)
}

// oldCheckSyntax returns nil if b is one JSON value, and else says where it is not.
func oldCheckSyntax(b []byte) error {
	if json.Valid(b) {
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(b, &raw)
	if err == nil {
		err = errors.New("invalid")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at := min(max(int(syntax.Offset)-1, 0), len(b))
		return protocol.Errorf(protocol.ErrMalformed, "not JSON, line %d: %v", lineAt(b, at), err)
	}
	return protocol.Errorf(protocol.ErrMalformed, "not JSON: %v", err)
}

// oldText decodes a JSON string; ok is false if v is something else.
func oldText(v json.RawMessage) (s string, ok bool) {
	if len(v) == 0 || v[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(v, &s)
	return s, err == nil
}

// oldTexts decodes a JSON array of strings.
func oldTexts(v json.RawMessage) (list []string, ok bool) {
	if len(v) == 0 || v[0] != '[' {
		return nil, false
	}
	ok = true
	err := oldSplitElements(v, func(_ int, e []byte) {
		s, isText := oldText(e)
		ok = ok && isText
		list = append(list, s)
	})
	return list, ok && err == nil
}

// oldObject is one STIX object, read by [Parse]. Its fields other than Raw are what Raw says.
type oldObject struct {
	Raw      []byte // exactly the author's bytes, without white space around them
	ID       string // type--uuid
	Type     string
	Created  time.Time // zero if absent
	Modified time.Time // zero if absent
	Revoked  bool
	Refs     []string // ids in properties named *_ref and *_refs, markings left out, as they occur
	Markings []string // ids in object_marking_refs and granular_markings, as they occur
	Line     int      // where the object starts in the file that it was read from; 0: unknown

	members []oldMember
}

var (
	oldTypePattern = regexp.MustCompile(`^[a-z0-9-]{3,250}$`) // STIX 3.1 and 11.2
	oldUuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	oldTimePattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`) // STIX 2.16
)

// oldParse reads one STIX 2.1 object. White space around it is cut off; nothing else of it is
// touched. Errors are of the classes ErrMalformed and ErrOversize and say what is wrong.
func oldParse(raw []byte) (*oldObject, error) {
	raw = bytes.Trim(raw, " \t\r\n")
	if len(raw) > protocol.MaxObjectSize {
		return nil, protocol.Errorf(protocol.ErrOversize, "object has %d bytes, at most %d",
			len(raw), protocol.MaxObjectSize)
	}
	if err := oldCheckJSON(raw, maxDepth); err != nil {
		return nil, err
	}
	members, err := oldSplitMembers(raw)
	if err != nil {
		return nil, err
	}
	o := &oldObject{Raw: raw, members: members}
	for _, step := range []func() error{o.readIdentity, o.readRequired, o.readTimes, o.readRefs, o.readMarkings} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// property returns the value of a top-level property, nil if it is absent.
func (o *oldObject) property(name string) json.RawMessage {
	for _, m := range o.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// Text returns a top-level property that is a string, "" if it is absent or something else.
func (o *oldObject) Text(name string) string {
	s, _ := oldText(o.property(name))
	return s
}

// readIdentity reads type, id and spec_version (STIX 3.2).
func (o *oldObject) readIdentity() error {
	var ok bool
	if o.Type, ok = oldText(o.property("type")); !ok {
		return malformed("property type is missing or not a string")
	}
	if !oldTypePattern.MatchString(o.Type) {
		return malformed("type %q must be 3 to 250 of a-z, 0-9 and '-'", clip(o.Type))
	}
	if o.Type == "bundle" {
		return malformed("a bundle inside a bundle; publish its objects")
	}
	if o.ID, ok = oldText(o.property("id")); !ok {
		return malformed("property id is missing or not a string")
	}
	if prefix, _, _ := strings.Cut(o.ID, "--"); !oldIsID(o.ID) || prefix != o.Type {
		return malformed("id %q must be %s--UUID", clip(o.ID), o.Type)
	}
	version := o.property("spec_version")
	if version == nil && !needsVersion(o.Type) {
		return nil
	}
	if s, ok := oldText(version); !ok || s != "2.1" {
		return malformed("spec_version must be \"2.1\"; convert older objects first")
	}
	return nil
}

// readRequired checks that what STIX requires of the type is there, with content.
func (o *oldObject) readRequired() error {
	for _, name := range required[o.Type] {
		v := o.property(name)
		if v == nil {
			return malformed("%s lacks property %s", o.Type, name)
		}
		if s := string(v); s == "null" || s == `""` || s == "[]" {
			return malformed("property %s of %s is empty", name, o.Type)
		}
	}
	for _, name := range refProperties[o.Type] {
		if s, ok := oldText(o.property(name)); !ok || !oldIsID(s) {
			return malformed("property %s of %s must be the id of an object", name, o.Type)
		}
	}
	if o.Type == "indicator" {
		for _, name := range []string{"pattern", "pattern_type"} {
			if _, ok := oldText(o.property(name)); !ok {
				return malformed("property %s of indicator must be a string", name)
			}
		}
		if _, err := oldTimestamp(o, "valid_from"); err != nil {
			return err
		}
	}
	return nil
}

// readTimes reads created, modified and revoked. Objects whose type does not require times
// (observables, custom types) may hold anything there; it is read if it is a timestamp.
func (o *oldObject) readTimes() (err error) {
	strict := needsVersion(o.Type)
	if o.Created, err = oldTimestamp(o, "created"); err != nil && strict {
		return err
	}
	if o.Modified, err = oldTimestamp(o, "modified"); err != nil && strict &&
		!(o.Type == "marking-definition" && o.property("modified") == nil) {
		return err
	}
	if strict && !o.Modified.IsZero() && o.Modified.Before(o.Created) {
		return malformed("modified %s is before created %s", o.Text("modified"), o.Text("created"))
	}
	switch string(o.property("revoked")) {
	case "", "false":
	case "true":
		o.Revoked = true
	default:
		return malformed("property revoked must be true or false")
	}
	return nil
}

func oldTimestamp(o *oldObject, name string) (time.Time, error) {
	v := o.property(name)
	if v == nil {
		return time.Time{}, malformed("%s lacks property %s", o.Type, name)
	}
	s, _ := oldText(v)
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !oldTimePattern.MatchString(s) {
		return time.Time{}, malformed("property %s must be a time such as 2026-01-31T12:00:00.000Z", name)
	}
	return t, nil
}

// readRefs gathers what the object refers to. Custom properties may end in _ref and hold
// something else; only what has the form of an id counts.
func (o *oldObject) readRefs() error {
	for _, m := range o.members {
		var ids []string
		switch {
		case m.name == "object_marking_refs":
			continue
		case strings.HasSuffix(m.name, "_ref"):
			s, _ := oldText(m.value)
			ids = []string{s}
		case strings.HasSuffix(m.name, "_refs"):
			ids, _ = oldTexts(m.value)
		}
		for _, id := range ids {
			if oldIsID(id) {
				o.Refs = append(o.Refs, id)
			}
		}
	}
	return nil
}

// oldIsID reports whether s has the form of an identifier (STIX 2.9).
func oldIsID(s string) bool {
	prefix, id, ok := strings.Cut(s, "--")
	return ok && oldTypePattern.MatchString(prefix) && oldUuidPattern.MatchString(id)
}

// readMarkings gathers the markings on the object and on parts of it (STIX 7.2.2, 7.2.3).
func (o *oldObject) readMarkings() error {
	add := func(id string) error {
		if !oldIsID(id) || !strings.HasPrefix(id, markingPrefix) {
			return malformed("marking %q must be the id of a marking-definition", clip(id))
		}
		if !slices.Contains(o.Markings, id) {
			o.Markings = append(o.Markings, id)
		}
		return nil
	}
	if v := o.property("object_marking_refs"); v != nil {
		ids, ok := oldTexts(v)
		if !ok {
			return malformed("property object_marking_refs must be a list of ids")
		}
		for _, id := range ids {
			if err := add(id); err != nil {
				return err
			}
		}
	}
	v := o.property("granular_markings")
	if v == nil {
		return nil
	}
	var bad error
	err := oldSplitElements(v, func(_ int, e []byte) {
		members, err := oldSplitMembers(e)
		ref, isRef, isLang := "", false, false
		for _, m := range members {
			switch m.name {
			case "marking_ref":
				ref, isRef = oldText(m.value)
			case "lang":
				isLang = true
			}
		}
		if err == nil && !isRef {
			if isLang {
				return // says a language, not a handling (STIX 7.2.3.1)
			}
			err = malformed("a granular marking lacks marking_ref")
		} else if err == nil {
			err = add(ref)
		}
		if bad == nil {
			bad = err
		}
	})
	if err != nil {
		return malformed("property granular_markings must be a list")
	}
	return bad
}

// oldParseBundle reads the objects of a bundle (STIX 8), of a JSON array of objects, or one
// object alone. An object that breaks the standard is set aside as a Problem and the rest
// is returned. The error is for what is no JSON at all, and says on which line.
//
// The whole of data stays referred to by the objects. There is no bound on its size here.
func oldParseBundle(data []byte) (objects []*oldObject, problems []Problem, err error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := oldCheckSyntax(data); err != nil {
		return nil, nil, fmt.Errorf("reading STIX: %w", err)
	}
	start, list, err := oldObjectList(data)
	if err != nil {
		return nil, nil, fmt.Errorf("reading STIX: %w", err)
	}
	line, counted := 1, 0
	add := func(offset int, raw []byte) {
		at := start + offset
		line += bytes.Count(data[counted:at], []byte{'\n'})
		counted = at
		o, err := oldParse(raw)
		if err != nil {
			problems = append(problems, Problem{Line: line, ID: idOf(raw), Err: err})
			return
		}
		o.Line = line
		objects = append(objects, o)
	}
	if list == nil {
		add(0, data[start:])
		return objects, problems, nil
	}
	if err := oldSplitElements(list, add); err != nil {
		return nil, nil, fmt.Errorf("reading STIX bundle: property objects: %w", err)
	}
	return objects, problems, nil
}

// oldObjectList finds the array of objects in data and its offset; a nil list means that data
// from start on is one object.
func oldObjectList(data []byte) (start int, list []byte, err error) {
	start = skipSpace(data, 0)
	if data[start] == '[' {
		return start, data[start:], nil
	}
	members, err := oldSplitMembers(data[start:])
	if err != nil {
		return 0, nil, err
	}
	var typ string
	var objects oldMember
	for _, m := range members {
		switch m.name {
		case "type":
			typ, _ = oldText(m.value)
		case "objects":
			objects = m
		}
	}
	switch {
	case typ != "bundle" && (typ != "" || objects.value == nil):
		return start, nil, nil
	case objects.value == nil:
		return start, []byte("[]"), nil // STIX 8.1: a bundle may be empty
	}
	return start + objects.offset, objects.value, nil
}

// oldObservables returns the observables in an object, in order and without duplicates, at most
// 4096: those that an indicator's STIX pattern compares with, those that an observable (STIX
// 6) is, those in the old dictionary of observed-data. For a URL or a host with a port the
// host follows it, so that a search for the host finds the object.
//
// oldObservables holds nothing against an object in which it finds none.
func oldObservables(o *oldObject) []Observable {
	c := &oldCollector{seen: map[Observable]bool{}}
	switch {
	case o.Type == "indicator":
		if t := o.Text("pattern_type"); t == "stix" {
			c.pattern(o.Text("pattern"))
		}
	case o.Type == "observed-data":
		var dict map[string]map[string]any
		if v := o.property("objects"); v != nil && oldUnmarshal(v, &dict) == nil {
			for _, key := range slices.Sorted(maps.Keys(dict)) {
				typ, _ := dict[key]["type"].(string)
				c.observable(typ, dict[key])
			}
		}
	case observableTypes[o.Type]:
		var props map[string]any
		if oldUnmarshal(o.Raw, &props) == nil {
			c.observable(o.Type, props)
		}
	}
	return c.list
}

func oldUnmarshal(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(to)
}

type oldCollector struct {
	list []Observable
	seen map[Observable]bool
}

func (c *oldCollector) add(o Observable) {
	if c.seen[o] || len(c.list) >= maxObservables {
		return
	}
	c.seen[o] = true
	c.list = append(c.list, o)
	if host, ok := oldHost(o); ok {
		c.add(host)
	}
}

// addAs adds s if it is an observable that fits the property it stands in.
func (c *oldCollector) addAs(property, s string) {
	if property == "name" {
		if s != "" && len(s) <= maxValue {
			c.add(Observable{Filename, s})
		}
		return
	}
	if o, ok := oldCanonical(s); ok && o.Kind != Filename {
		c.add(o)
	}
}

// pattern takes the observables out of a STIX pattern.
func (c *oldCollector) pattern(pattern string) {
	hosts, ports := map[int]string{}, map[int]string{}
	for _, cmp := range oldComparisons(pattern) {
		typ, path, _ := strings.Cut(cmp.path, ":")
		switch {
		case path == "dst_port":
			ports[cmp.group] = cmp.value
		case path == "dst_ref.value":
			hosts[cmp.group] = cmp.value
		}
		if host, port := hosts[cmp.group], ports[cmp.group]; host != "" && port != "" {
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			c.addAs("value", host+":"+port)
			ports[cmp.group] = ""
		}
		switch {
		case typ == "file" && path == "name":
			c.addAs("name", cmp.value)
		case path == "value" || strings.HasSuffix(path, ".value") || strings.Contains(path, "hashes.") ||
			strings.HasSuffix(path, ".Host") || strings.HasSuffix(path, ".'Host'") || typ == "artifact" && path == "url":
			c.addAs("value", cmp.value)
		}
	}
}

// observable takes what an observable object (STIX 6) is.
func (c *oldCollector) observable(typ string, props map[string]any) {
	property := map[string]string{"ipv4-addr": "value", "ipv6-addr": "value", "domain-name": "value",
		"url": "value", "email-addr": "value", "file": "name", "artifact": "url"}[typ]
	if s, ok := props[property].(string); ok && property != "" {
		c.addAs(property, s)
	}
	hashes, _ := props["hashes"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(hashes)) {
		if s, ok := hashes[name].(string); ok {
			c.addAs("hash", s)
		}
	}
}

// oldCanonical recognises what value is and puts it into canonical form:
//
//   - oldDefanged notation is undone (oldHxxp, [.], (.), [:], [at] and their like);
//   - hashes, domains, e-mail addresses, and scheme and host of URLs are lower-cased;
//     international names become punycode; a dot at the end of a name is dropped;
//   - IPv6 is written as RFC 5952 has it; an IPv4-mapped address is IPv4; a CIDR loses its
//     host bits, and one that covers a single address is that address;
//   - a host with a path but no scheme is a URL and gets "http://";
//   - the path of a URL is kept as it is, and so is a file name.
//
// oldCanonical of a canonical value is the same observable. ok is false if value is none.
func oldCanonical(value string) (o Observable, ok bool) {
	if len(value) > 4*maxValue {
		return Observable{}, false
	}
	s := oldRefang(strings.TrimSpace(value))
	if s == "" || len(s) > maxValue || !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
		return Observable{}, false
	}
	for _, try := range []func(string) (Observable, bool){
		oldAsURL, oldAsHash, oldAsAddr, oldAsBare, oldAsEmail, oldAsHostPort, oldAsName,
	} {
		if o, ok = try(s); ok {
			return o, len(o.Value) <= maxValue
		}
	}
	return Observable{}, false
}

// oldHost returns the address or name that a URL or a host with a port points at; ok is false
// for other kinds.
func oldHost(o Observable) (host Observable, ok bool) {
	s := o.Value
	switch o.Kind {
	case IPv4Port, IPv6Port, DomainPort:
	case URL:
		_, s, _ = strings.Cut(s, "://")
		if i := strings.IndexAny(s, "/?#"); i >= 0 {
			s = s[:i]
		}
		s = s[strings.LastIndexByte(s, '@')+1:]
	default:
		return Observable{}, false
	}
	name, _, _ := splitPort(s)
	if host, ok = oldAsAddr(strings.Trim(name, "[]")); ok {
		return host, true
	}
	return oldAsName(name)
}

var oldDefanged = strings.NewReplacer(
	"[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "[DOT]", ".",
	"[:]", ":", "[://]", "://", "[:/]", ":/", "[/]", "/", "[@]", "@", "[at]", "@", "(at)", "@", "[AT]", "@")

var oldHxxp = regexp.MustCompile(`^(?i:h[tx]{2}p(s?)|(f)xp)(:|\[:)`)

// oldRefang undoes the notations that keep people from clicking.
func oldRefang(s string) string {
	for range 64 { // each round shortens s; nested brackets are nobody's notation
		next := oldDefanged.Replace(s)
		if next == s {
			break
		}
		s = next
	}
	if m := oldHxxp.FindStringSubmatch(s); m != nil {
		scheme := "http" + strings.ToLower(m[1])
		if m[2] != "" {
			scheme = "ftp"
		}
		s = scheme + m[3] + s[len(m[0]):]
	}
	return s
}

var oldHashKinds = map[int]Kind{32: MD5, 40: SHA1, 64: SHA256, 128: SHA512}

func oldAsHash(s string) (Observable, bool) {
	kind, ok := oldHashKinds[len(s)]
	if !ok || strings.ContainsFunc(s, func(r rune) bool { return !unicode.Is(unicode.ASCII_Hex_Digit, r) }) {
		return Observable{}, false
	}
	return Observable{kind, strings.ToLower(s)}, true
}

// oldAsAddr reads an address or a CIDR.
func oldAsAddr(s string) (Observable, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		p = p.Masked()
		switch {
		case p.IsSingleIP():
			return ofAddr(p.Addr())
		case p.Addr().Is4In6():
			return Observable{}, false
		case p.Addr().Is4():
			return Observable{IPv4CIDR, p.String()}, true
		}
		return Observable{IPv6CIDR, p.String()}, true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return Observable{}, false
	}
	return ofAddr(a)
}

// oldAsHostPort reads 192.0.2.1:80, [2001:db8::1]:80 or name.example:80.
func oldAsHostPort(s string) (Observable, bool) {
	name, port, ok := splitPort(s)
	if !ok || port == "" {
		return Observable{}, false
	}
	if host, ok := oldAsAddr(name); ok {
		switch {
		case host.Kind == IPv4 && name[0] != '[':
			return Observable{IPv4Port, host.Value + ":" + port}, true
		case host.Kind == IPv4: // a mapped address in brackets
			return Observable{IPv4Port, host.Value + ":" + port}, true
		case host.Kind == IPv6 && name[0] == '[':
			return Observable{IPv6Port, "[" + host.Value + "]:" + port}, true
		}
		return Observable{}, false
	}
	if host, ok := oldAsName(name); ok && host.Kind == Domain {
		return Observable{DomainPort, host.Value + ":" + port}, true
	}
	return Observable{}, false
}

// oldAsName reads a domain name of at least two labels, underscores allowed, for they occur. A
// name that ends in what is a file's extension and no top-level domain is a file name.
func oldAsName(s string) (Observable, bool) {
	if strings.ContainsAny(s, `/\:@ `) {
		return Observable{}, false
	}
	name := strings.ToLower(s)
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		ascii, err := names.ToASCII(s)
		if err != nil {
			return Observable{}, false
		}
		name = ascii
	}
	name = strings.TrimSuffix(name, ".")
	labels := strings.Split(name, ".")
	top := labels[len(labels)-1]
	if fileExtensions[top] && len(s) <= 255 {
		return Observable{Filename, s}, labels[0] != "" && !strings.HasSuffix(s, ".")
	}
	if len(labels) < 2 || len(name) > 253 || len(top) < 2 || !strings.ContainsFunc(top, isLetter) {
		return Observable{}, false
	}
	for _, l := range labels {
		if !oldValidLabel(l) {
			return Observable{}, false
		}
	}
	return Observable{Domain, name}, true
}

func oldValidLabel(l string) bool {
	return len(l) > 0 && len(l) <= 63 && l[0] != '-' && l[len(l)-1] != '-' &&
		!strings.ContainsFunc(l, func(r rune) bool {
			return !isLetter(r) && !(r >= '0' && r <= '9') && r != '-' && r != '_'
		})
}

var oldSchemePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]{1,31}$`)

// oldAsURL reads scheme://host[:port][/path][?query][#fragment]. Scheme and host are put into
// canonical form, all else is kept. The host may be a single label, as on local networks.
func oldAsURL(s string) (Observable, bool) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !oldSchemePattern.MatchString(scheme) {
		return Observable{}, false
	}
	host, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, tail = rest[:i], rest[i:]
	}
	user := ""
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		user, host = host[:i+1], host[i+1:]
	}
	host, ok = oldCanonicalHost(host)
	if !ok {
		return Observable{}, false
	}
	return Observable{URL, strings.ToLower(scheme) + "://" + user + host + tail}, true
}

// oldCanonicalHost puts host[:port] into canonical form.
func oldCanonicalHost(s string) (string, bool) {
	name, port, ok := splitPort(s)
	if !ok || name == "" {
		return "", false
	}
	if port != "" {
		port = ":" + port
	}
	if addr, ok := oldAsAddr(name); ok {
		switch {
		case addr.Kind == IPv4:
			return addr.Value + port, true
		case addr.Kind == IPv6 && name[0] == '[':
			return "[" + addr.Value + "]" + port, true
		}
		return "", false
	}
	if o, ok := oldAsName(name); ok && o.Kind == Domain {
		return o.Value + port, true
	}
	if single := strings.ToLower(name); oldValidLabel(single) && strings.ContainsFunc(single, isLetter) {
		return single + port, true
	}
	return "", false
}

// oldAsBare reads a URL without a scheme: a host, then a path or a query. Digits alone behind
// an address are a CIDR gone wrong, not a path.
func oldAsBare(s string) (Observable, bool) {
	i := strings.IndexAny(s, "/?")
	if i <= 0 {
		return Observable{}, false
	}
	host, ok := oldCanonicalHost(s[:i])
	if !ok || !strings.ContainsAny(host, ".:") || strings.Contains(s[:i], "@") {
		return Observable{}, false
	}
	if _, isAddr := oldAsAddr(s[:i]); isAddr && strings.Trim(s[i+1:], "0123456789") == "" && len(s) > i+1 {
		return Observable{}, false
	}
	return Observable{URL, "http://" + host + s[i:]}, true
}

var oldLocalPattern = regexp.MustCompile("^[a-z0-9.!#$%&'*+=?^_{|}~-]{1,64}$")

// oldAsEmail reads local@domain.
func oldAsEmail(s string) (Observable, bool) {
	local, domain, ok := strings.Cut(strings.ToLower(s), "@")
	if !ok || !oldLocalPattern.MatchString(local) {
		return Observable{}, false
	}
	o, ok := oldAsName(domain)
	if !ok || o.Kind != Domain {
		return Observable{}, false
	}
	return Observable{Email, local + "@" + o.Value}, true
}

// oldComparison is one value that a pattern compares a property with.
type oldComparison struct {
	group int    // counts the observation expressions [ … ]
	path  string // network-traffic:dst_ref.value
	value string
}

// oldComparisons takes the equalities out of a STIX pattern (STIX 9): path = value, path IN
// (values), path ISSUBSET value. What is negated, or compared otherwise, is passed over. It
// does not judge the pattern: whatever can be read is read.
func oldComparisons(pattern string) (found []oldComparison) {
	var path string
	equal, negated, group := false, false, 0
	take := func(v string) {
		if path != "" && equal && !negated && len(found) < maxObservables {
			found = append(found, oldComparison{group, path, v})
		}
	}
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			v, end := oldQuoted(pattern, i)
			take(v)
			i = end
		case c == '[':
			group++
			fallthrough
		case c == ']':
			path, equal, negated = "", false, false
			i++
		case c == '=':
			equal = true
			i++
		case c == '!' || c == '<' || c == '>':
			negated = true
			i++
		case isWord(c):
			end := oldWordEnd(pattern, i)
			switch w := pattern[i:end]; {
			case strings.Contains(w, ":"):
				path, equal, negated = w, false, false
			case strings.EqualFold(w, "IN") || strings.EqualFold(w, "ISSUBSET"):
				equal = true
			case strings.EqualFold(w, "NOT"):
				negated = true
			case strings.EqualFold(w, "AND") || strings.EqualFold(w, "OR"):
				path, equal, negated = "", false, false
			case strings.Trim(w, "0123456789") == "":
				take(w)
			}
			i = end
		default:
			i++
		}
	}
	return found
}

// oldQuoted reads the string literal that starts at i; a backslash escapes what follows.
func oldQuoted(s string, i int) (value string, end int) {
	var b strings.Builder
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\'':
			return b.String(), i + 1
		case '\\':
			if i++; i == len(s) {
				return b.String(), i
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), i
}

// oldWordEnd returns where a keyword, a number or an object path ends. Steps of a path may be
// oldQuoted ('SHA-256') and indexed ([*]).
func oldWordEnd(s string, i int) int {
	path := false
	for i < len(s) {
		switch c := s[i]; {
		case c == ':':
			path = true
		case path && c == '\'' && (s[i-1] == '.' || s[i-1] == ':'):
			_, end := oldQuoted(s, i)
			i = end
			continue
		case path && c == '[':
			end := strings.IndexByte(s[i:], ']')
			if end < 0 {
				return len(s)
			}
			i += end
		case !isWord(c):
			return i
		}
		i++
	}
	return i
}

// oldQuote writes a string literal of the pattern language.
func oldQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// oldPattern returns the STIX pattern (STIX 9) that matches an observable in canonical form.
// A host with a port is matched as the destination of traffic; a CIDR matches the addresses
// in it.
func oldPattern(o Observable) string {
	v := oldQuote(o.Value)
	switch o.Kind {
	case IPv4:
		return "[ipv4-addr:value = " + v + "]"
	case IPv6:
		return "[ipv6-addr:value = " + v + "]"
	case IPv4CIDR:
		return "[ipv4-addr:value ISSUBSET " + v + "]"
	case IPv6CIDR:
		return "[ipv6-addr:value ISSUBSET " + v + "]"
	case Domain:
		return "[domain-name:value = " + v + "]"
	case URL:
		return "[url:value = " + v + "]"
	case Email:
		return "[email-addr:value = " + v + "]"
	case Filename:
		return "[file:name = " + v + "]"
	case IPv4Port, IPv6Port, DomainPort:
		typ := map[Kind]string{IPv4Port: "ipv4-addr", IPv6Port: "ipv6-addr", DomainPort: "domain-name"}[o.Kind]
		i := strings.LastIndexByte(o.Value, ':')
		return fmt.Sprintf("[network-traffic:dst_ref.type = '%s' AND network-traffic:dst_ref.value = %s AND network-traffic:dst_port = %s]",
			typ, oldQuote(strings.Trim(o.Value[:i], "[]")), o.Value[i+1:])
	}
	return fmt.Sprintf("[file:hashes.%s = %s]", oldHashName(o.Kind), v)
}

// oldHashName returns the name of a hash algorithm in a pattern: MD5, 'SHA-1' and so on.
func oldHashName(k Kind) string {
	return map[Kind]string{MD5: "MD5", SHA1: "'SHA-1'", SHA256: "'SHA-256'", SHA512: "'SHA-512'"}[k]
}

// oldNewIndicator returns a STIX indicator for an observable in canonical form. Its id depends
// on the observable alone and its bytes on the observable and at, which is its created,
// modified and valid_from: the same list read twice with the same time is the same objects.
func oldNewIndicator(o Observable, at time.Time) *oldObject {
	when := at.UTC().Format(TimeFormat)
	object, err := oldIndicatorObject(Indicator{
		ID:      NewID("indicator", string(o.Kind)+"\x00"+o.Value),
		Created: when, Modified: when, ValidFrom: when,
		Name: o.Value, Pattern: oldPattern(o),
	})
	if err != nil {
		panic(fmt.Sprintf("stix: own indicator for %q: %v", o.Value, err)) // bounded and valid by construction
	}
	return object
}

// oldObject writes the indicator: type, spec_version, pattern_type and indicator_types are
// filled in. The error is that of [Parse].
func oldIndicatorObject(i Indicator) (*oldObject, error) {
	i.Type, i.SpecVersion, i.PatternType = "indicator", "2.1", "stix"
	i.IndicatorTypes = []string{"malicious-activity"}
	return oldParse(marshal(i))
}

// oldDetect reads one line of a plain list. entry is what the line says without comments, ""
// if it says nothing: a blank line or a comment. ok is false if entry is no observable.
//
// A comment begins with '#' at the start of the line or behind white space; elsewhere '#' is
// part of a URL. Of several columns, parted by tabs or commas, the first counts, in quotes
// or not; a comma inside a URL does not part. A line that begins with 0.0.0.0 or 127.0.0.1
// and has further columns is of a hosts file, whose second column is meant: not ok.
func oldDetect(line string) (o Observable, entry string, ok bool) {
	entry = strings.TrimSpace(line)
	if i := strings.IndexByte(entry, '#'); i == 0 {
		return Observable{}, "", false
	}
	for _, mark := range []string{" #", "\t#"} {
		if i := strings.Index(entry, mark); i >= 0 {
			entry = strings.TrimSpace(entry[:i])
		}
	}
	if entry == "" {
		return Observable{}, "", false
	}
	if o, ok = oldCanonical(strings.Trim(entry, `"`)); ok {
		return o, entry, true
	}
	i := strings.IndexAny(entry, "\t,")
	if i < 0 {
		return Observable{}, entry, false
	}
	first := strings.Trim(strings.TrimSpace(entry[:i]), `"`)
	if o, ok = oldCanonical(first); !ok {
		return Observable{}, entry, false
	}
	if a, err := netip.ParseAddr(o.Value); err == nil && (a.IsUnspecified() || a.IsLoopback()) {
		return Observable{}, entry, false
	}
	return o, entry, true
}
