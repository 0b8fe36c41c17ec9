package node

import (
	"flag"
	"os"
	"testing"

	"github.com/entente-mesh/entente/crypto"
)

// TestMain: every node verifies for itself; that the same bytes are good needs to be found out once for all nodes of
// this process. What is measured verifies each time.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.bench"); f == nil || f.Value.String() == "" {
		crypto.KeepVerified(1 << 16)
	}
	os.Exit(m.Run())
}
