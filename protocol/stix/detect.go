package stix

import (
	"net/netip"
	"strings"
)

// Detect reads one line of a plain list. entry is what the line says without comments, ""
// if it says nothing: a blank line or a comment. ok is false if entry is no observable.
//
// A comment begins with '#' at the start of the line or behind white space; elsewhere '#' is
// part of a URL. Of several columns, parted by tabs or commas, the first counts, in quotes
// or not; a comma inside a URL does not part. A line that begins with 0.0.0.0 or 127.0.0.1
// and has further columns is of a hosts file, whose second column is meant: not ok.
func Detect(line string) (o Observable, entry string, ok bool) {
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
	if o, ok = Canonical(strings.Trim(entry, `"`)); ok {
		return o, entry, true
	}
	i := strings.IndexAny(entry, "\t,")
	if i < 0 {
		return Observable{}, entry, false
	}
	first := strings.Trim(strings.TrimSpace(entry[:i]), `"`)
	if o, ok = Canonical(first); !ok {
		return Observable{}, entry, false
	}
	if a, err := netip.ParseAddr(o.Value); err == nil && (a.IsUnspecified() || a.IsLoopback()) {
		return Observable{}, entry, false
	}
	return o, entry, true
}
