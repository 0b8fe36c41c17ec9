package stix

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ValidateBundle validates what [ParseBundle] reads: a bundle (STIX 8), an array of objects, or one
// object. It returns how many objects there are, and the violations in the order of the file. Paths
// begin at the file, as $.objects[3].name. Of an object that [Parse] refuses it says all that is wrong,
// and not the first only. In the strict mode it compares the versions of objects too, with
// [NewVersion]. The error is for what is no JSON at all.
func ValidateBundle(data []byte, mode Mode) (objects int, found []Violation, err error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := checkSyntax(data); err != nil {
		return 0, nil, fmt.Errorf("reading STIX: %w", err)
	}
	start, list, err := objectList(data)
	if err != nil && !errors.Is(err, errEmpty) {
		return 0, nil, fmt.Errorf("reading STIX: %w", err)
	}
	file := &path{name: "$"}
	var kept []*Object
	var places []*path
	line, counted := 1, 0
	one := func(offset int, raw []byte, at *path) {
		line += bytes.Count(data[counted:offset], []byte{'\n'})
		counted = offset
		o, v := validateRaw(raw, line, mode, at)
		objects++
		found = append(found, v...)
		if o != nil {
			kept, places = append(kept, o), append(places, at)
		}
	}
	switch {
	case err == nil && list == nil:
		end := skipValue(data, start)
		one(start, data[start:end:end], file)
	default:
		at := file
		if data[skipSpace(data, 0)] == '{' {
			found = append(found, validateHead(data, mode)...)
			at = &path{up: file, name: "objects"}
		}
		if list == nil { // none
			break
		}
		if list[0] != '[' {
			return 0, nil, fmt.Errorf("reading STIX bundle: property objects: %w", malformed("not a JSON array"))
		}
		_ = splitElements(list, func(offset int, e []byte) { one(start+offset, e, &path{up: at, index: objects}) })
	}
	if mode == Strict {
		found = append(found, compareVersions(kept, places)...)
	}
	slices.SortStableFunc(found, func(x, y Violation) int { return cmp.Compare(x.Line, y.Line) })
	return objects, found, nil
}

// validateRaw validates one object; o is nil if Parse refuses it.
func validateRaw(raw []byte, line int, mode Mode, at *path) (o *Object, found []Violation) {
	o, err := Parse(raw)
	if err == nil {
		o.Line = line
		return o, validate(o, mode, at)
	}
	refused := Violation{Line: line, Path: at.String(), Rule: "STIX 3.2 MUST", Text: err.Error()}
	if raw[0] != '{' || checkSize(raw) != nil || checkText(raw, maxDepth) != nil {
		return nil, []Violation{refused}
	}
	members := appendAnyMembers(nil, raw)
	o = &Object{Raw: raw, source: raw, spans: spansOf(raw, members), Line: line}
	typ, _ := text(lookup(members, "type"))
	refused.ID, _ = text(lookup(members, "id"))
	c := checker{mode: mode, m: model()}
	if typ != "bundle" && typ != "" && repeated(members) < 0 {
		c.object(c.m.objects[typ], typ, members, at)
	}
	for i := range c.found {
		c.found[i].ID, c.found[i].Line = refused.ID, o.lineOf(c.found[i].Path, at)
	}
	if !slices.ContainsFunc(c.found, func(v Violation) bool { return strings.HasSuffix(v.Rule, " MUST") }) {
		c.found = append(c.found, refused) // what the table does not say
	}
	return nil, c.found
}

// validateHead looks at a bundle without its objects.
func validateHead(data []byte, mode Mode) []Violation {
	c := checker{mode: mode, m: model()}
	at := &path{name: "$"}
	members, err := splitMembers(data[skipSpace(data, 0):])
	if err != nil {
		return nil // objectList split it
	}
	for _, m := range members {
		where := &path{up: at, name: string(m.name)}
		switch string(m.name) {
		case "type":
			if s, _ := content(m.value); string(s) != "bundle" {
				c.report(must, where, "8.1", "it must be \"bundle\"")
			}
		case "id":
			if s, _ := content(m.value); !isID(s) || !bytes.HasPrefix(s, []byte("bundle--")) {
				c.report(must, where, "2.9", "%q must be bundle--UUID", clip(string(s)))
			}
		case "objects":
			if string(m.value) == "[]" {
				c.report(must, where, "2.12", "a list is not empty; leave the property out")
			}
		default:
			c.report(must, where, "8.1", "a bundle has type, id and objects, and nothing else; take it out")
		}
	}
	for _, name := range []string{"type", "id"} {
		if lookup(members, name) == nil {
			c.report(must, at, "8.1", "the bundle lacks %s; add it", name)
		}
	}
	for i := range c.found {
		c.found[i].Line = 1
	}
	return c.found
}

// compareVersions looks at objects that have one identifier, the earlier before the later.
func compareVersions(objects []*Object, places []*path) (found []Violation) {
	byID := map[string][]int{}
	for i, o := range objects {
		byID[o.ID] = append(byID[o.ID], i)
	}
	for i, o := range objects {
		versions := byID[o.ID]
		if len(versions) < 2 || versions[0] != i {
			continue
		}
		versions = slices.Clone(versions)
		slices.SortStableFunc(versions, func(x, y int) int { return objects[x].Modified.Compare(objects[y].Modified) })
		for n := 1; n < len(versions); n++ {
			before, at := objects[versions[n-1]], versions[n]
			if bytes.Equal(before.Raw, objects[at].Raw) {
				continue
			}
			if err := NewVersion(before, objects[at]); err != nil {
				found = append(found, Violation{ID: o.ID, Line: objects[at].Line, Path: places[at].String(), Rule: "STIX 3.6 MUST", Text: err.Error()})
			}
		}
	}
	return found
}
