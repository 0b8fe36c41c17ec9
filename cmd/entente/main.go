// Command entente runs a node of the exchange and talks to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns the exit status: 0 for success, 1 for failure,
// 2 where part of the input was set aside and the rest was done.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var part *partialError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &part):
		fmt.Fprintln(os.Stderr, "entente:", err)
		return 2
	default:
		fmt.Fprintln(os.Stderr, "entente:", err)
		return 1
	}
}

// partialError says that some of the input was set aside; everything else was done.
type partialError struct{ text string }

func (e *partialError) Error() string { return e.text }
