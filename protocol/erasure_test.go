package protocol_test

import (
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// TestLargestErasureFitsALetter: a request, and an answer, of as many records as may be.
func TestLargestErasureFitsALetter(t *testing.T) {
	r := &protocol.ErasureRequest{Version: 1, Org: protocol.OrgID{1}, To: protocol.OrgID{2}, Number: 1<<63 - 1, At: 1 << 42, Due: 1 << 43, Reason: protocol.EraseLegal,
		Onward: true, Text: strings.Repeat("x", protocol.MaxTextSize)}
	a := &protocol.ErasureAnswer{Version: 1, Org: protocol.OrgID{2}, To: protocol.OrgID{1}, Request: protocol.Hash{1}, Number: 1<<63 - 1, At: 1 << 42,
		Exports: protocol.ExportsRemain, Text: strings.Repeat("x", protocol.MaxTextSize)}
	for i := range protocol.MaxErasedRecords {
		id := protocol.RecordID{byte(i >> 8), byte(i), 255}
		r.Records = append(r.Records, id)
		a.Results = append(a.Results, protocol.ErasureResult{Record: id, Outcome: protocol.OutcomeBasis})
	}
	for i := range protocol.MaxNamedOrgs {
		a.Asked = append(a.Asked, protocol.OrgID{byte(i), 255})
	}
	for name, v := range map[string]interface{ Validate() error }{"request": r, "answer": a} {
		if err := v.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if size := len(protocol.Encode(&protocol.OrgSigned{Statement: protocol.Encode(v)})); size > protocol.MaxLetterSize {
			t.Errorf("a %s has %d bytes, and a letter at most %d", name, size, protocol.MaxLetterSize)
		}
	}
}
