package corpus

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// A history of the index opens databases and waits for the disk; the command line may ask for more of them.
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
