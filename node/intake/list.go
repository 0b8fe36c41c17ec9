package intake

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/entente-mesh/entente/protocol/stix"
)

// readList reads a plain list: one observable a line, '#' begins a comment, lines end in LF
// or CRLF. Notation, kinds and columns are those of [stix.Detect]. A line that is longer
// than the reader's buffer (64 KiB) is a problem.
func readList(b *builder, r *bufio.Reader, at time.Time) error {
	for line := 1; ; line++ {
		raw, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			b.problem(line, "line is longer than 64 KiB")
			err = skipLine(r)
			raw = nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		b.listLine(line, string(bytes.TrimRight(raw, "\r\n")), at)
		if err == io.EOF {
			return nil
		}
	}
}

func skipLine(r *bufio.Reader) error {
	for {
		if _, err := r.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func (b *builder) listLine(line int, s string, at time.Time) {
	o, entry, ok := stix.Detect(s)
	switch {
	case ok:
		b.add(Item{Object: stix.NewAssessedIndicator(o, at, b.assessment), Line: line, Value: o.Value})
	case entry == "":
	case strings.HasPrefix(entry, "/"):
		b.problem(line, "%s is a path without a host; not an observable by itself", shown(entry))
	case isAddress(entry[:max(strings.LastIndexByte(entry, ':'), 0)]):
		b.problem(line, "%s: a port must be 1 to 65535", shown(entry))
	default:
		b.problem(line, "%s is no address, domain, URL, e-mail address or hash", shown(entry))
	}
}

func isAddress(s string) bool {
	o, ok := stix.Canonical(s)
	return ok && (o.Kind == stix.IPv4 || o.Kind == stix.IPv6)
}

// shown makes what a stranger wrote fit for a message: short, printable and quoted.
func shown(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return `"` + s + `"`
}
