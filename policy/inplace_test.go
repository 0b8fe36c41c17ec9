package policy

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/entente-mesh/entente/protocol"
)

// TestInPlace: the one before is nowhere any more, the new one is where it was, nothing else differs, and it is there and
// back.
func TestInPlace(t *testing.T) {
	is := protocol.OrgID{0xee}
	rapid.Check(t, func(t *rapid.T) {
		doc := drawAgreement(t, 1).Doc
		before := protocol.Encode(doc)
		was := rapid.SampledFrom(doc.Parties).Draw(t, "was")
		next := InPlace(doc, was, is)
		if !bytes.Equal(protocol.Encode(doc), before) {
			t.Fatal("the agreement itself was changed")
		}
		written := protocol.Encode(next)
		if bytes.Contains(written, was[:]) || !bytes.Contains(written, is[:]) {
			t.Fatal("the one before is still named, or the new one is not")
		}
		if err := next.Validate(); err != nil {
			t.Fatal(err)
		}
		if back := InPlace(next, is, was); !bytes.Equal(protocol.Encode(back), before) {
			t.Fatal("there and back something else came out")
		}
	})
}
