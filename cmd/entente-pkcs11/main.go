// Command entente-pkcs11 holds the session with a token for a node, which starts it: see package hsm. It
// reads its requests from standard input and takes no argument.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/entente-mesh/entente/node/hsm"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "entente-pkcs11 is started by 'entente' and takes no arguments; see 'entente key hsm --help'")
		os.Exit(2)
	}
	// A terminal and a service manager tell every process of theirs to end. This one ends when the node does, and has
	// closed its input: a library that is cut off while it writes may leave no token.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := hsm.Serve(os.Stdin, os.Stdout, open); err != nil {
		fmt.Fprintln(os.Stderr, "entente-pkcs11:", err)
		os.Exit(1)
	}
}
