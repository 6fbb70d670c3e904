// Command ebbgate is the operator's side of a fleet: it signs and publishes bundles,
// plans, starts and steers rollouts, and runs the controller.
//
// Standard output is data, standard error is progress and errors, one line each. Every
// subcommand has its own file; what they share is in cli.go, output.go and exit.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string) int {
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	root := newRootCommand(c)
	root.SetArgs(args)
	return c.exit(root.ExecuteContext(ctx))
}
