package simtest

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/entente-mesh/entente/crypto"
)

// TestMain: every node verifies for itself; that the same bytes are good needs to be found out once for all nodes of
// this process.
func TestMain(m *testing.M) {
	crypto.KeepVerified(1 << 18)
	debug.SetGCPercent(300)
	os.Exit(m.Run())
}
