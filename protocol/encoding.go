package protocol

import (
	"bytes"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Encoding of every message: deterministic CBOR (RFC 8949, section 4.2.1), structures as
// arrays of fixed length, no maps, no tags, no floating point, no indefinite lengths. A
// decoder refuses input that does not encode back to the same bytes, so a message has one
// encoding and a signature covers exactly the bytes that were received.

var encMode = func() cbor.EncMode {
	opts := cbor.CoreDetEncOptions()
	opts.NilContainers = cbor.NilContainerAsEmpty
	opts.TagsMd = cbor.TagsForbidden
	m, err := opts.EncMode()
	if err != nil {
		panic(err) // options are constants: a programmer's error
	}
	return m
}()

var decMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   16,
		MaxArrayElements:  16 << 10,
		MaxMapPairs:       16,
		UTF8:              cbor.UTF8RejectInvalid,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		panic(err) // options are constants: a programmer's error
	}
	return m
}()

// Encode returns the one encoding of v, a message type of this package.
// It panics if v cannot be encoded, which is a programmer's error.
func Encode(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic("protocol: encoding " + err.Error())
	}
	return b
}

// Decode reads data, at most limit bytes, into v, and refuses whatever is not the one
// encoding of a value of v's type. If v has a method Validate() error, it is called.
// Errors are of class ErrMalformed or ErrOversize, or ErrLaterVersion where v has a version that it refuses
// as a later one. v keeps no reference to data.
func Decode(data []byte, limit int, v any) error {
	if len(data) > limit {
		return oversize("message has %d bytes, at most %d are read", len(data), limit)
	}
	if err := decMode.Unmarshal(data, v); err != nil {
		if later := laterLayout(data, v); later != nil {
			return later
		}
		return malformed("decoding: %v", err)
	}
	again, err := encMode.Marshal(v)
	if err != nil || !bytes.Equal(again, data) {
		return malformed("decoding: not the canonical encoding")
	}
	if c, ok := v.(interface{ Validate() error }); ok {
		return c.Validate()
	}
	return nil
}

// DecodeOwn reads into v what this program encoded and kept where nobody else writes. It
// refuses what is damaged, but does not ask whether it is the one encoding of v: that is
// half of the cost of Decode.
func DecodeOwn(data []byte, v any) error {
	if err := decMode.Unmarshal(data, v); err != nil {
		return malformed("decoding: %v", err)
	}
	return nil
}

func sortedSet[T any](s []T, compare func(a, b T) int) []T {
	s = slices.Clone(s)
	slices.SortFunc(s, compare)
	return slices.CompactFunc(s, func(a, b T) bool { return compare(a, b) == 0 })
}

func isSortedSet[T any](s []T, compare func(a, b T) int) bool {
	for i := 1; i < len(s); i++ {
		if compare(s[i-1], s[i]) >= 0 {
			return false
		}
	}
	return true
}

// checkToken accepts the short lower-case names of topics, purposes and kinds.
func checkToken(what, s string) error {
	if s == "" || len(s) > MaxNameSize {
		return malformed("%s %q must have 1 to %d characters", what, clip(s), MaxNameSize)
	}
	if strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == '/' || r == '*')
	}) {
		return malformed("%s %q may hold only a-z, 0-9, '-', '_', '.', '/'", what, clip(s))
	}
	return nil
}

// checkText accepts what a person wrote: bounded, and without control characters other
// than line feed, so that it cannot rewrite a terminal when it is shown.
func checkText(what, s string, limit int) error {
	if len(s) > limit {
		return oversize("%s has %d bytes, at most %d", what, len(s), limit)
	}
	if strings.ContainsFunc(s, unprintable) {
		return malformed("%s holds control or direction-changing characters", what)
	}
	return nil
}

func unprintable(r rune) bool {
	switch {
	case r == '\n':
		return false
	case r < 0x20, r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029,
		r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0xfeff:
		return true
	}
	return false
}
