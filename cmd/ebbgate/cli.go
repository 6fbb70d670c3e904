package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/wire"
)

// cli is what every command has: the three streams and the global flags.
type cli struct {
	in  *os.File
	out io.Writer
	err io.Writer

	server, tokenFile, caFile string
	output                    string
	quiet                     bool
}

// env returns an environment variable, or the default when it is unset or empty.
func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// client returns a client of the controller that the flags and the environment name.
func (c *cli) client() (*api.Client, error) {
	token := os.Getenv("EBBGATE_TOKEN")
	if c.tokenFile != "" {
		b, err := smallfile.Read(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the token file: %w", err)
		}
		token = string(b)
	}
	config := api.ClientConfig{Server: c.server, Token: strings.TrimSpace(token)}
	if c.caFile != "" {
		pem, err := smallfile.Read(c.caFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificate authorities: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot read the certificate authorities: %s holds no PEM certificate", c.caFile)
		}
		config.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	cl, err := api.NewClient(config)
	if err != nil {
		return nil, &usageError{err}
	}
	return cl, nil
}

// withClient calls do with a client of the controller.
func (c *cli) withClient(cmd *cobra.Command, do func(context.Context, *api.Client) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(cmd.Context(), cl)
}

// ofApp makes what a command does whose one argument is an app.
func (c *cli) ofApp(do func(context.Context, *api.Client, wire.App) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := checkName("APP", args[0]); err != nil {
			return err
		}
		return c.withClient(cmd, func(ctx context.Context, cl *api.Client) error { return do(ctx, cl, wire.App(args[0])) })
	}
}

// progress tells the operator what goes on, unless -q.
func (c *cli) progress(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// confirm asks before something that cannot simply be done again the other way. Without
// a terminal there is nobody to ask, and yes has to be set.
func (c *cli) confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	if !term.IsTerminal(int(c.in.Fd())) {
		return usagef("cannot %s: --yes is required without a terminal", what)
	}
	fmt.Fprintf(c.err, "%s? [y/N] ", strings.ToUpper(what[:1])+what[1:])
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("cannot %s: no answer: %w", what, err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return fmt.Errorf("cannot %s: not confirmed", what)
	}
	return nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width returns how many columns standard output has; 120 where it is no terminal.
func (c *cli) width() int {
	if f, ok := c.out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 120
}

// color reports whether standard output takes colours.
func (c *cli) color() bool {
	return isTerminal(c.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
