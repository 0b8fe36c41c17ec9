package node

import (
	"fmt"
	"testing"

	"github.com/entente-mesh/entente/policy"
	"github.com/entente-mesh/entente/protocol"
)

// TestManyReaders: an audience of more nodes than one grant entry holds gets its keys in
// several, ahead of the first record.
func TestManyReaders(t *testing.T) {
	t.Parallel()
	names := []string{"Author"}
	for i := range 20 {
		names = append(names, fmt.Sprintf("Reader %d", i))
	}
	nodes := testNetwork(t, names...)
	for _, n := range nodes[1:] {
		agree(t, nodes[0], n, protocol.TLPAmber, "*")
	}
	publishList(t, nodes[0], "198.51.100.1\n", policy.Flags{TLP: protocol.TLPGreen})
	for _, n := range []*Node{nodes[1], nodes[16], nodes[20]} {
		carryNew(t, nodes[0], n)
		if !reads(t, n, "198.51.100.1") {
			t.Errorf("%s does not read the record", n.Card(n.Org()).Inception.Name)
		}
	}
}
