package pattern

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SyntaxError says where a pattern is wrong, and how.
type SyntaxError struct {
	Line, Column int // from 1; columns count characters
	Text         string
	// Limit is true where the pattern may be right, and is more than this package reads: by its
	// size, or by a regular expression that Go's do not have.
	Limit bool
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pattern, line %d, column %d: %s", e.Line, e.Column, e.Text)
}

type tokenKind uint8

const (
	tEnd     tokenKind = iota
	tWord              // a keyword or a name
	tName              // a name with a hyphen
	tLiteral           // a constant
	tSign              // brackets, operators, : . , *
)

type token struct {
	kind tokenKind
	at   int // offset in bytes
	text string
	lit  Literal
}

// is reports whether a token is a sign or a keyword. Keywords are upper-case (STIX 9.2).
func (t *token) is(text string) bool { return (t.kind == tSign || t.kind == tWord) && t.text == text }

type lexer struct {
	src string
	at  int
}

func (l *lexer) fail(at int, format string, args ...any) error {
	before := l.src[:min(at, len(l.src))]
	line := strings.Count(before, "\n") + 1
	return &SyntaxError{Line: line, Column: utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1, Text: fmt.Sprintf(format, args...)}
}

// limit is fail for what this package does not read.
func (l *lexer) limit(at int, format string, args ...any) error {
	err := l.fail(at, format, args...).(*SyntaxError)
	err.Limit = true
	return err
}

const spaces = " \t\r\n\v\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

// space skips white space and comments.
func (l *lexer) space() error {
	for l.at < len(l.src) {
		r, size := utf8.DecodeRuneInString(l.src[l.at:])
		rest := l.src[l.at:]
		switch {
		case strings.ContainsRune(spaces, r):
			l.at += size
		case strings.HasPrefix(rest, "//"):
			if n := strings.IndexAny(rest, "\r\n"); n >= 0 {
				l.at += n
			} else {
				l.at = len(l.src)
			}
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return l.fail(l.at, "a comment is not closed; write */ behind it")
			}
			l.at += 2 + n + 2
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	start := l.at
	if start == len(l.src) {
		return token{kind: tEnd, at: start}, nil
	}
	c := l.src[start]
	switch {
	case c == '\'':
		s, err := l.quoted()
		return token{kind: tLiteral, at: start, lit: Literal{Kind: String, Text: s}}, err
	case (c == 't' || c == 'h' || c == 'b') && start+1 < len(l.src) && l.src[start+1] == '\'':
		l.at++
		s, err := l.quoted()
		if err != nil {
			return token{}, err
		}
		lit, err := l.special(c, start, s)
		return token{kind: tLiteral, at: start, lit: lit}, err
	case isLetter(c):
		for l.at < len(l.src) && (isLetter(l.src[l.at]) || isDigit(l.src[l.at]) || l.src[l.at] == '-') {
			l.at++
		}
		t := token{kind: tWord, at: start, text: l.src[start:l.at]}
		if strings.Contains(t.text, "-") {
			t.kind = tName
		}
		if t.text == "true" || t.text == "false" {
			t.kind, t.lit = tLiteral, Literal{Kind: Bool, Bool: t.text == "true"}
		}
		return t, nil
	case isDigit(c), (c == '+' || c == '-' || c == '.') && l.numberFollows():
		return l.number()
	}
	for _, sign := range []string{"==", "!=", "<>", "<=", ">=", "=", "<", ">", "[", "]", "(", ")", ":", ".", ",", "*"} {
		if strings.HasPrefix(l.src[start:], sign) {
			l.at += len(sign)
			switch sign {
			case "==":
				sign = "="
			case "<>":
				sign = "!="
			}
			return token{kind: tSign, at: start, text: sign}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(l.src[start:])
	return token{}, l.fail(start, "%q is not part of the pattern language", r)
}

// numberFollows reports whether a sign or a dot begins a number. The dot of a path step is followed
// by a name, never by a digit.
func (l *lexer) numberFollows() bool {
	rest := strings.TrimLeft(l.src[l.at:][:1], "+-") + l.src[l.at+1:]
	rest = strings.TrimPrefix(rest, ".")
	return rest != "" && isDigit(rest[0])
}

func (l *lexer) number() (token, error) {
	start := l.at
	if c := l.src[l.at]; c == '+' || c == '-' {
		l.at++
	}
	whole := l.digits()
	if l.at < len(l.src) && l.src[l.at] == '.' {
		l.at++
		if l.digits() == "" {
			return token{}, l.fail(start, "a number ends with a point; write digits behind it")
		}
		text := l.src[start:l.at]
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return token{}, l.limit(start, "%s is not a number that can be compared with", text)
		}
		return token{kind: tLiteral, at: start, text: text, lit: Literal{Kind: Float, Float: f}}, nil
	}
	text := l.src[start:l.at]
	if len(whole) > 1 && whole[0] == '0' {
		return token{}, l.fail(start, "%s begins with 0; an integer does not", text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return token{}, l.limit(start, "%s is not an integer of 64 bits", text)
	}
	return token{kind: tLiteral, at: start, text: text, lit: Literal{Kind: Integer, Int: n}}, nil
}

func (l *lexer) digits() string {
	start := l.at
	for l.at < len(l.src) && isDigit(l.src[l.at]) {
		l.at++
	}
	return l.src[start:l.at]
}

// quoted reads a string. A backslash stands before a quote or another backslash only.
func (l *lexer) quoted() (string, error) {
	start := l.at
	var b strings.Builder
	for l.at++; l.at < len(l.src); l.at++ {
		switch c := l.src[l.at]; c {
		case '\'':
			l.at++
			return b.String(), nil
		case '\\':
			if l.at++; l.at == len(l.src) || l.src[l.at] != '\'' && l.src[l.at] != '\\' {
				return "", l.fail(l.at-1, `a backslash in a string stands before ' or \ only; write \\ for one`)
			}
			b.WriteByte(l.src[l.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", l.fail(start, "a string is not closed; write ' behind it")
}

// special reads the constants that are marked with a letter.
func (l *lexer) special(mark byte, at int, s string) (Literal, error) {
	switch mark {
	case 't':
		t, err := parseTime(s)
		if err != nil {
			return Literal{}, l.fail(at, "%q is not a time; write t'2026-01-02T03:04:05Z'", s)
		}
		return Literal{Kind: Timestamp, Time: t}, nil
	case 'h':
		b, err := hex.DecodeString(s)
		if err != nil {
			return Literal{}, l.fail(at, "%q are not pairs of hexadecimal digits", s)
		}
		return Literal{Kind: Binary, Bytes: b}, nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return Literal{}, l.fail(at, "%q is not base64 with its padding", s)
	}
	return Literal{Kind: Binary, Bytes: b}, nil
}

// parseTime reads a timestamp of STIX (STIX 2.7 timestamp): UTC, with Z.
func parseTime(s string) (time.Time, error) {
	if !strings.HasSuffix(s, "Z") || strings.ContainsAny(s, ",") {
		return time.Time{}, fmt.Errorf("%q is not a time in UTC", s)
	}
	return time.Parse(time.RFC3339Nano, s)
}

func isLetter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// isKey reports whether a step of a path needs no quotes.
func isKey(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return s != "" && !keywords[s]
}

var keywords = map[string]bool{"AND": true, "OR": true, "NOT": true, "FOLLOWEDBY": true, "LIKE": true, "MATCHES": true, "ISSUPERSET": true, "ISSUBSET": true,
	"EXISTS": true, "LAST": true, "IN": true, "START": true, "STOP": true, "SECONDS": true, "true": true, "false": true, "WITHIN": true, "REPEATS": true, "TIMES": true}
