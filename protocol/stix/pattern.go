package stix

import (
	"strings"
	"unicode"
)

// comparison is one value that a pattern compares a property with.
type comparison struct {
	group int    // counts the observation expressions [ … ]
	path  string // network-traffic:dst_ref.value
	value string
}

// comparisons calls fn with the equalities in a STIX pattern (STIX 9): path = value, path IN
// (values), path ISSUBSET value, at most maxObservables. What is negated, or compared
// otherwise, is passed over. It does not judge the pattern: whatever can be read is read.
func comparisons(pattern string, fn func(comparison)) {
	var path string
	equal, negated, group, found := false, false, 0, 0
	take := func(v string) {
		if path != "" && equal && !negated && found < maxObservables {
			found++
			fn(comparison{group, path, v})
		}
	}
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			v, end := quoted(pattern, i)
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
			end := wordEnd(pattern, i)
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
}

// quoted reads the string literal that starts at i; a backslash escapes what follows.
func quoted(s string, i int) (value string, end int) {
	i++
	n := strings.IndexAny(s[i:], `'\`)
	if n < 0 {
		return s[i:], len(s)
	}
	if s[i+n] == '\'' {
		return s[i : i+n], i + n + 1
	}
	var b strings.Builder
	b.WriteString(s[i : i+n])
	for i += n; i < len(s); i++ {
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

// wordEnd returns where a keyword, a number or an object path ends. Steps of a path may be
// quoted ('SHA-256') and indexed ([*]).
func wordEnd(s string, i int) int {
	path := false
	for i < len(s) {
		switch c := s[i]; {
		case c == ':':
			path = true
		case path && c == '\'' && (s[i-1] == '.' || s[i-1] == ':'):
			_, end := quoted(s, i)
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

func isWord(c byte) bool {
	return c == '-' || c == '_' || c == '.' || c == ':' || c == '"' || c >= 0x80 ||
		unicode.IsLetter(rune(c)) || c >= '0' && c <= '9'
}

// quote writes a string literal of the pattern language.
func quote(s string) string {
	if strings.ContainsAny(s, `\'`) {
		s = escapes.Replace(s)
	}
	return "'" + s + "'"
}

var escapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)
