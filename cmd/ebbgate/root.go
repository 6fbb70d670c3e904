package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const defaultServer = "http://127.0.0.1:7420"

func newRootCommand(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "ebbgate",
		Short: "Roll configuration out to an edge fleet, region by region, and never let a stale answer back into a cache",
		Long: `Roll configuration out to an edge fleet, region by region, and never let a stale
answer back into a cache.

Exit codes: 0 done, 1 error, 2 wrong usage, 3 rolled back or superseded, 4 not allowed,
5 waited too long, 6 something would change (plan --detailed-exitcode), 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	f := root.PersistentFlags()
	f.StringVar(&c.server, "server", env("EBBGATE_SERVER", defaultServer), "URL of the controller (EBBGATE_SERVER)")
	f.StringVar(&c.tokenFile, "token-file", env("EBBGATE_TOKEN_FILE", ""), "file that holds the token (EBBGATE_TOKEN_FILE; or the token itself in EBBGATE_TOKEN)")
	f.StringVar(&c.caFile, "ca-file", env("EBBGATE_CA_FILE", ""), "PEM file with the authorities that may sign the controller's certificate (EBBGATE_CA_FILE)")
	f.StringVarP(&c.output, "output", "o", "table", "table, wide, json, yaml or name")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "no progress on standard error")
	// The environment is shown by name; its values stay out of the help.
	f.Lookup("server").DefValue = defaultServer
	f.Lookup("token-file").DefValue, f.Lookup("ca-file").DefValue = "", ""
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp))
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(outputs, c.output) {
			return usagef("--output %q is not one of %s", c.output, strings.Join(outputs, ", "))
		}
		return nil
	}

	root.AddCommand(
		newPublishCommand(c),
		newBundleCommand(c),
		newPlanCommand(c),
		newRolloutCommand(c),
		newRegionCommand(c),
		newAgentCommand(c),
		newPurgeCommand(c),
		newAuditCommand(c),
		newTrustCommand(c),
		newVersionCommand(c),
		newControllerCommand(c),
		newProviderAgentCommand(c),
		newDevCommand(c),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	conform(root)
	c.complete(root)
	f.VisitAll(func(f *pflag.Flag) { c.completeFlag(root, f) })
	return root
}

// conform makes wrong flags, wrong arguments and unknown subcommands of cmd and all below
// it usage errors.
func conform(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if err == pflag.ErrHelp {
			return err
		}
		return &usageError{err}
	})
	if cmd.HasSubCommands() && cmd.RunE == nil && cmd.Run == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s has no command %q, see %[1]s --help", cmd.CommandPath(), args[0])
			}
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return usagef("%s needs a command", cmd.CommandPath())
		}
	} else if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{fmt.Errorf("%w, see %s --help", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		conform(sub)
	}
}

// takes checks the arguments of a command against their names; the last may end in "…"
// for one or more.
func takes(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		many := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "…")
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing", strings.TrimSuffix(names[len(args)], "…"))
		case len(args) > len(names) && !many:
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
