package mesh

import (
	"strings"
	"testing"

	libp2pprotocol "github.com/libp2p/go-libp2p/core/protocol"
)

// TestMismatch: a version in common is enough; who has not told yet what it speaks is not
// judged; names that only look like ours say nothing.
func TestMismatch(t *testing.T) {
	for _, row := range []struct{ offered, want string }{
		{"", ""},
		{"/ipfs/id/1.0.0", ""},
		{"/entente/hello/1 /entente/sync/1 /entente/gossip/1", ""},
		{"/entente/hello/2 /entente/hello/1 /entente/sync/2 /entente/sync/1 /entente/gossip/1", ""},
		{"/entente/hello/1", ""},
		{"/entente/hello/10", "version 10 of entente/hello, this node 1"},
		{"/entente/hello/3 /entente/hello/2", "version 2, 3 of entente/hello"},
		{"/entente/hello/1 /entente/sync/2 /entente/gossip/1", "version 2 of entente/sync"},
		{"/entente/hello/1 /entente/sync/1 /entente/gossip/2", "version 2 of entente/gossip"},
		{"/entente/hello/\x1b[2J", "version [2J of"},
		{"/ententes/sync/2 /other/entente/sync/2", ""},
	} {
		var offered []libp2pprotocol.ID
		for _, id := range strings.Fields(row.offered) {
			offered = append(offered, libp2pprotocol.ID(id))
		}
		if got := mismatchOf(offered); (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%q: %q, want %q", row.offered, got, row.want)
		}
	}
}
