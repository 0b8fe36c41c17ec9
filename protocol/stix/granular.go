package stix

import (
	"encoding/json"
	"strconv"
	"strings"
)

// GranularMarking is what an object says of some of its parts (STIX 7.2.3): either that a marking is
// on them, or which language they are in.
type GranularMarking struct {
	Marking   string   `json:"marking_ref,omitempty"` // id of a marking definition; "" where Lang is set
	Lang      string   `json:"lang,omitempty"`
	Selectors []string `json:"selectors"`
}

// Granular returns the granular markings of an object, in its order. They do not restrict by part: an
// object is shared as a whole, and the strictest of its markings counts ([Markings.Handling]).
func (o *Object) Granular() (list []GranularMarking) {
	v := o.property("granular_markings")
	if len(v) == 0 || v[0] != '[' {
		return nil
	}
	_ = splitElements(v, func(_ int, e []byte) { // it is an array
		if e[0] != '{' {
			return
		}
		members := appendAnyMembers(nil, e)
		var g GranularMarking
		g.Marking, _ = text(lookup(members, "marking_ref"))
		g.Lang, _ = text(lookup(members, "lang"))
		if s := lookup(members, "selectors"); len(s) > 0 && s[0] == '[' {
			_ = splitElements(s, func(_ int, e []byte) {
				if s, ok := text(e); ok {
					g.Selectors = append(g.Selectors, s)
				}
			})
		}
		list = append(list, g)
	})
	return list
}

// Select returns what a selector of a granular marking selects of an object; ok is false if it selects
// nothing. The value is the author's bytes, and must not be changed.
func (o *Object) Select(selector string) (value json.RawMessage, ok bool) {
	return selected(o.members(), selector)
}

// selected follows a selector (STIX 7.2.3.2): names of properties and keys, and places in lists as
// [0], with a point between each.
func selected(members []member, selector string) (v json.RawMessage, ok bool) {
	if !isSelector(selector) {
		return nil, false
	}
	first, rest, more := strings.Cut(selector, ".")
	v = lookup(members, first)
	for more && v != nil {
		var step string
		step, rest, more = strings.Cut(rest, ".")
		if inner, isIndex := strings.CutPrefix(step, "["); isIndex {
			n, _ := strconv.Atoi(strings.TrimSuffix(inner, "]")) // isSelector read it
			v = elementOf(v, n)
			continue
		}
		if v[0] != '{' {
			return nil, false
		}
		v = lookup(appendAnyMembers(nil, v), step)
	}
	return v, v != nil
}

// elementOf returns an element of a list; nil if there is no such.
func elementOf(v json.RawMessage, n int) (found json.RawMessage) {
	if v[0] != '[' {
		return nil
	}
	i := 0
	_ = splitElements(v, func(_ int, e []byte) {
		if i == n {
			found = e
		}
		i++
	})
	return found
}

// selectors looks whether those of an object's granular markings select something. It compares a
// bounded number: each reads what it leads through.
func (c *checker) selectors(members []member, at *path) {
	v := lookup(members, "granular_markings")
	if len(v) == 0 || v[0] != '[' {
		return
	}
	const most = 256
	here := &path{up: at, name: "granular_markings"}
	i, looked := 0, 0
	_ = splitElements(v, func(_ int, e []byte) {
		where := &path{up: &path{up: here, index: i}, name: "selectors"}
		i++
		if e[0] != '{' {
			return
		}
		s := lookup(appendAnyMembers(nil, e), "selectors")
		if len(s) == 0 || s[0] != '[' {
			return
		}
		n := 0
		_ = splitElements(s, func(_ int, e []byte) {
			if sel, ok := text(e); ok && isSelector(sel) && looked < most {
				looked++
				if _, ok := selected(members, sel); !ok {
					c.report(must, &path{up: where, index: n}, "7.2.3.2", "%q selects nothing of the object", clip(sel))
				}
			}
			n++
		})
	})
}
