package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// completeTime is how long a shell waits for names from the controller.
const completeTime = time.Second

// complete gives cmd and all below it completions: names of the fleet from the controller,
// and files where files are meant. What an argument is says its name in the usage, what a
// flag is says the flag's.
func (c *cli) complete(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.complete(sub)
	}
	names := strings.Fields(cmd.Use)[1:]
	if cmd.HasSubCommands() && len(names) == 0 || cmd.ValidArgsFunction != nil {
		return
	}
	if i := slices.IndexFunc(names, func(s string) bool { return s[0] == '-' }); i >= 0 {
		names = names[:i]
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(names) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.candidates(cmd, strings.Trim(names[len(args)], "[]…"), args)
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { c.completeFlag(cmd, f) })
}

// completeFlag completes the value of a flag that has none of its own yet.
func (c *cli) completeFlag(cmd *cobra.Command, f *pflag.Flag) {
	if _, has := cmd.GetFlagCompletionFunc(f.Name); has {
		return
	}
	_ = cmd.RegisterFlagCompletionFunc(f.Name, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.candidates(cmd, f.Name, args)
	})
}

// candidates returns what may stand for a name in the usage or for a flag. Without an
// answer there are none, and nothing is said: the shell is in the middle of a line.
func (c *cli) candidates(cmd *cobra.Command, name string, args []string) ([]string, cobra.ShellCompDirective) {
	switch name {
	case "FILE", "DIR|FILE", "OLD", "NEW", "config", "file", "key", "root", "ca-file", "token-file":
		return nil, cobra.ShellCompDirectiveDefault
	case "DIR", "dir":
		return nil, cobra.ShellCompDirectiveFilterDirs
	case "ROLE":
		return []string{api.RoleViewer.String(), api.RoleOperator.String(), api.RoleApprover.String(), api.RoleAdmin.String()}, cobra.ShellCompDirectiveNoFileComp
	}
	cl, err := c.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	var found []string
	switch name {
	case "APP", "app":
		bundles, _ := cl.Bundles(ctx, "")
		for _, b := range bundles {
			found = append(found, string(b.App))
		}
	case "VERSION":
		bundles, _ := cl.Bundles(ctx, wire.App(args[0]))
		for _, b := range slices.Backward(bundles) {
			found = append(found, string(b.Version))
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	case "acknowledge", "supersede":
		if len(args) > 0 {
			view, _ := cl.App(ctx, wire.App(args[0]))
			found = named(name, view.Summary)
		}
	case "rollout":
		if len(args) > 0 {
			past, _ := cl.History(ctx, wire.App(args[0]))
			for _, r := range past {
				found = append(found, r.ID)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	case "region":
		regions, _ := cl.Regions(ctx)
		for _, r := range regions {
			found = append(found, string(r.Region))
		}
	case "AGENT":
		if cmd.Name() == "enroll" {
			break // a new name
		}
		region, _ := cmd.Flags().GetString("region") // none: of every region
		agents, _ := cl.Agents(ctx, wire.Region(region))
		for _, a := range agents {
			found = append(found, string(a.Agent))
		}
	}
	slices.Sort(found)
	return slices.Compact(found), cobra.ShellCompDirectiveNoFileComp
}

// named returns the rollouts that a flag of rollout start may name.
func named(flag string, s rollout.Summary) (ids []string) {
	if flag == "supersede" && canBeSuperseded(s.Rollout) {
		return []string{s.Rollout.ID}
	}
	if flag == "acknowledge" {
		for _, q := range s.Quarantine {
			ids = append(ids, q.Rollout)
		}
	}
	return ids
}
