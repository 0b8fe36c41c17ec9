package node

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/entente-mesh/entente/protocol"
)

// A record can be erased out of a full envelope: its survivors carry their own paths then,
// and do not fit one envelope any more.
func TestEraseOutOfAFullEnvelope(t *testing.T) {
	t.Parallel()
	nodes := testNetwork(t, "Author", "Reader")
	author, reader := nodes[0], nodes[1]
	agree(t, author, reader, protocol.TLPGreen, "*")
	var list strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&list, "198.51.%d.%d\n", i/250, 1+i%250)
	}
	if rec := publishList(t, author, list.String(), green); rec.Envelopes > 4 {
		t.Fatalf("%d envelopes", rec.Envelopes)
	}
	carryNew(t, author, reader)
	for _, ip := range []string{"198.51.0.7", "198.51.0.8"} {
		id := recordOf(t, author, ip)
		if _, err := author.Erase(context.Background(), EraseRequest{Records: []protocol.RecordID{id}, Reason: protocol.EraseRequest}); err != nil {
			t.Fatal(err)
		}
		syncFrom(t, reader, author)
		if reads(t, author, ip) || reads(t, reader, ip) {
			t.Errorf("%s is still there", ip)
		}
	}
	for _, n := range nodes {
		for i := range 1500 {
			ip := fmt.Sprintf("198.51.%d.%d", i/250, 1+i%250)
			if ip != "198.51.0.7" && ip != "198.51.0.8" && !reads(t, n, ip) {
				t.Fatalf("%s was lost", ip)
			}
		}
	}
}
