// Command ebbgate-agent runs one node of a fleet, and talks to the one that runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

const usage = `ebbgate-agent runs one node of an Ebbgate fleet.

Usage:
  ebbgate-agent [run] [-c agent.yaml] [-v]      run the agent
  ebbgate-agent status [-c agent.yaml] [-o table|json]
                                                what the running agent serves and plans
  ebbgate-agent rollback [-c agent.yaml] APP    go back to the release before; needs no network
  ebbgate-agent version                         print the version

The configuration is /etc/ebbgate/agent.yaml unless -c names another file.
Exit codes: 0 done, 1 failed, 2 wrong usage.
`

const defaultConfig = "/etc/ebbgate/agent.yaml"

// errUsage marks errors that end with exit code 2.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(exit(os.Stderr, dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}

// exit prints an error in one line and returns the exit code.
func exit(stderr io.Writer, err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "ebbgate-agent:", err)
		return 2
	default:
		fmt.Fprintln(stderr, "ebbgate-agent:", err)
		return 1
	}
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	err := subcommand(ctx, args, stdout, stderr)
	if errors.Is(err, flag.ErrHelp) {
		_, err = fmt.Fprint(stdout, usage)
	}
	return err
}

func subcommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	name := "run"
	if len(args) > 0 && (args[0] == "" || args[0][0] != '-') {
		name, args = args[0], args[1:]
	}
	switch name {
	case "run":
		return run(ctx, args, stderr)
	case "status":
		return status(ctx, args, stdout)
	case "rollback":
		return rollback(ctx, args, stderr)
	case "version":
		_, err := fmt.Fprintln(stdout, "ebbgate-agent", built())
		return err
	case "help":
		return flag.ErrHelp
	}
	return fmt.Errorf("%w: no command %q; see ebbgate-agent help", errUsage, name)
}

// flags returns the flag set of a command, with -c.
func flags(name string) (fs *flag.FlagSet, config *string) {
	fs = flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {} // a wrong flag is one line, see dispatch for -h
	return fs, fs.String("c", defaultConfig, "")
}

// parse reads the flags of a command and checks how many arguments are left.
func parse(fs *flag.FlagSet, args []string, want int) error {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errUsage, err)
	case fs.NArg() != want:
		return fmt.Errorf("%w: %s takes %d arguments, not %d", errUsage, fs.Name(), want, fs.NArg())
	}
	return nil
}

// version is set by the release build.
var version = ""

// built returns the version that was built, or the one in the module's build information.
func built() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
