package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/entente-mesh/entente/protocol/stix"
)

// Mention says how an object mentions a value.
type Mention uint8

// The ways. What is found exactly is found by the index too; texts are in no index.
const (
	NotMentioned Mention = iota
	InText               // as whole words of one of its texts
	Exactly              // as its STIX id, as an observable, or as the host or within the network of one
)

// Matcher tells which objects mention a value. It is for one goroutine.
type Matcher struct {
	id    string            // as it was written
	asked []stix.Observable // what the value may be
	addr  netip.Addr        // that it is; else not valid
	words string            // folded, with single spaces; "" if it holds no letter and no digit
	hint  []byte            // the longest of the words in lower case, if all are ASCII
	fold  cases.Caser
}

// NewMatcher makes a matcher for a value as somebody may write it. Texts are compared without regard
// to case, to compatibility forms (NFKC) and to how much space is between words.
func NewMatcher(value string) *Matcher {
	m := &Matcher{id: value, fold: cases.Fold(), asked: []stix.Observable{{Kind: stix.Filename, Value: value}}}
	if o, ok := stix.Canonical(value); ok {
		m.asked = append(m.asked, o)
		if addr, err := netip.ParseAddr(o.Value); err == nil && (o.Kind == stix.IPv4 || o.Kind == stix.IPv6) {
			m.addr = addr
		}
	}
	if strings.ContainsFunc(value, wordRune) {
		m.words = m.folded(value)
	}
	if strings.IndexFunc(m.words, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		for w := range strings.FieldsSeq(m.words) {
			if len(w) > len(m.hint) {
				m.hint = []byte(w)
			}
		}
	}
	return m
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

func (m *Matcher) folded(s string) string {
	return m.fold.String(norm.NFKC.String(strings.Join(strings.Fields(s), " ")))
}

// Match tells how an object, the bytes of which are valid, mentions the value.
func (m *Matcher) Match(object []byte) (Mention, error) {
	o, err := stix.Parse(object)
	if err != nil {
		return NotMentioned, fmt.Errorf("reading object: %w", err)
	}
	if o.ID == m.id {
		return Exactly, nil
	}
	for _, ob := range searchable(stix.Observables(o)) {
		if slices.Contains(m.asked, ob) || m.within(&ob) {
			return Exactly, nil
		}
	}
	return m.MatchText(object)
}

func (m *Matcher) within(ob *stix.Observable) bool {
	if !m.addr.IsValid() || ob.Kind != stix.IPv4CIDR && ob.Kind != stix.IPv6CIDR {
		return false
	}
	p, err := netip.ParsePrefix(ob.Value)
	return err == nil && p.Contains(m.addr)
}

// MatchText is Match for texts alone: every string of the object, names of properties left out. What
// is spread over several strings is not found.
func (m *Matcher) MatchText(object []byte) (Mention, error) {
	if m.words == "" || m.hint != nil && plain(object) && !containsFold(object, m.hint) {
		return NotMentioned, nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(object), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		t, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return NotMentioned, nil
		}
		if err != nil {
			return NotMentioned, fmt.Errorf("reading object: %w", err)
		}
		if t.Kind() != '"' {
			continue
		}
		if in, count := d.StackIndex(d.StackDepth()); in == '{' && count%2 == 1 {
			continue // the name of a property
		}
		if m.says(t.String()) {
			return InText, nil
		}
	}
}

// Says reports whether a text holds the value as whole words; of a value without a letter or digit it
// is false.
func (m *Matcher) Says(text string) bool { return m.words != "" && m.says(text) }

// says reports whether a text holds the value as whole words.
func (m *Matcher) says(text string) bool {
	text = m.folded(text)
	for from := 0; ; {
		i := strings.Index(text[from:], m.words)
		if i < 0 {
			return false
		}
		at := from + i
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[at+len(m.words):])
		first, size := utf8.DecodeRuneInString(m.words)
		last, _ := utf8.DecodeLastRuneInString(m.words)
		if !(wordRune(first) && wordRune(before)) && !(wordRune(last) && wordRune(after)) {
			return true
		}
		from = at + size
	}
}

// plain reports whether every string in some JSON is written as it reads.
func plain(object []byte) bool {
	return !slices.ContainsFunc(object, func(c byte) bool { return c == '\\' || c >= utf8.RuneSelf })
}

// containsFold reports whether ASCII holds a word that is in lower case.
func containsFold(text, word []byte) bool {
	for i := 0; i+len(word) <= len(text); i++ {
		k := 0
		for k < len(word) && lower(text[i+k]) == word[k] {
			k++
		}
		if k == len(word) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Expiries returns when some records, named by their cursors, are to be erased by their retention, Unix
// milliseconds. Those that never are, are left out. It goes through all that is to be erased.
func Expiries(kv KV, cursors map[uint64]bool) (map[uint64]uint64, error) {
	out := map[uint64]uint64{}
	if len(cursors) == 0 {
		return out, nil
	}
	err := kv.Scan([]byte(kExpiry), nil, false, func(k, v []byte) (bool, error) {
		at, first, list, err := readExpiry(k, v)
		for _, i := range list {
			if c := first + uint64(i); cursors[c] && (out[c] == 0 || at < out[c]) {
				out[c] = at
			}
		}
		return true, err
	})
	return out, err
}
