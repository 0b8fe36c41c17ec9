package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/entente-mesh/entente/protocol"
)

// Source is the text of a rule set. The names of the files are for messages only.
type Source struct {
	File       string
	Text       []byte
	PeopleFile string
	People     []byte // a people file; empty: none
}

// Problem is why a rule set is refused: one place, and what to do.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1
	Column int    `json:"column"` // from 1, in characters
	Text   string `json:"text"`
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Errors is what Parse found, in the order of the text. It is a protocol.ErrMalformed.
type Errors []Problem

// Error lists the problems, one a line.
func (e Errors) Error() string {
	var lines []string
	for _, p := range e {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes it a protocol.ErrMalformed.
func (e Errors) Unwrap() error { return protocol.ErrMalformed }

// place turns an offset into a line and a column.
func place(src []byte, offset int) (line, column int) {
	before := string(src[:min(max(offset, 0), len(src))])
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// token is a piece of a rule file.
type token struct {
	text   string // a string with its quotes
	offset int
}

// tokens splits a rule file as far as it takes to find a word again: Cedar's own scanner is not
// to be had, and its positions are those of whole policies. What it does not know is a token of
// one byte.
func tokens(src []byte) []token {
	var out []token
	for i := 0; i < len(src); {
		from := i
		switch c := src[i]; {
		case c <= ' ':
			i++
			continue
		case c == '/' && i+1 < len(src) && src[i+1] == '/':
			for i < len(src) && src[i] != '\n' {
				i++
			}
			continue
		case c == '"':
			for i++; i < len(src) && src[i] != '"'; i++ {
				if src[i] == '\\' {
					i++
				}
			}
			i = min(i+1, len(src))
		case isWord(c):
			for i < len(src) && isWord(src[i]) {
				i++
			}
		default:
			i++
		}
		out = append(out, token{string(src[from:i]), from})
	}
	return out
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// find returns where a sequence of tokens begins between two offsets, at its last token.
func find(all []token, from, to int, sequence ...string) (offset int, ok bool) {
next:
	for i := range all {
		if all[i].offset < from || i+len(sequence) > len(all) {
			continue
		}
		for j, want := range sequence {
			if all[i+j].text != want || all[i+j].offset >= to {
				continue next
			}
		}
		return all[i+len(sequence)-1].offset, true
	}
	return 0, false
}

// excess returns where a text has more than the parser of Cedar is to be given, and what; -1 if
// it has not. The parser recurses with brackets; what it makes of long rules, and most of all
// of "has a.b.c.d", grows faster than they do.
func excess(all []token) (offset int, what string) {
	depth, count, has := 0, 0, -1
	for i, t := range all {
		count++
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case ";":
			count = 0
		case "has":
			has = i
		case ".":
			if has >= 0 && i == has+2*(1+maxHas) {
				return t.offset, fmt.Sprintf("a has names more than %d attributes of attributes; make two conditions of it", maxHas)
			}
		}
		if has >= 0 && (i-has)%2 == 0 && i > has && t.text != "." {
			has = -1
		}
		if depth > maxNesting {
			return t.offset, fmt.Sprintf("brackets are nested more than %d deep; make two rules of it", maxNesting)
		}
		if count > maxTokens {
			return t.offset, fmt.Sprintf("the rule has more than %d words and signs; make several rules of it", maxTokens)
		}
	}
	return -1, ""
}
