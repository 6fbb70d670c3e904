package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/agent"
	"github.com/ebbgate/ebbgate/cmd/ebbgate/provider"
	"github.com/ebbgate/ebbgate/wire"
)

func newProviderAgentCommand(c *cli) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "provider-agent",
		Short: "Run the agent that serves apps at a CDN provider",
		Long: `Run an agent whose apps are content at a CDN provider: dictionaries, access lists,
config stores and VCL at Fastly; KV namespaces, Workers and rulesets at Cloudflare. To the
controller it is an agent like any other: it belongs to a region, so a plan puts it into a
wave; it stages, validates, activates, confirms by reading back, reports, and goes back.

Enroll it with "ebbgate agent enroll", in a region of its own for a wave of its own, and name
targets instead of apps in its file. It may have several; a target has one agent.

  targets:
    waf:                        # the app
      kind: fastly-dictionary   # a bundle's dictionary.json: {"key": "value"}
      token_file: fastly.token
      service: SU1Z0isxPaozGVKXdv0eY
      dictionary: 4y5K5trZocEAQYkesWlk7M

  kind                 needs               takes from the bundle
  fastly-dictionary    service, dictionary dictionary.json   {"key": "value"}
  fastly-acl           service, acl        acl.json          [{"ip": "203.0.113.0/24"}]
  fastly-config-store  store               config-store.json {"key": "value"}
  fastly-service       service             vcl/*.vcl, snippets/<name>.<type>[.<priority>].vcl
  cloudflare-kv        account, namespace  kv/**, each file is a value
  cloudflare-worker    account, script     worker.js, modules/**, worker.json (metadata)
  cloudflare-ruleset   zone, phase         ruleset.json      {"rules": [...]}

A release owns the whole target: what the bundle does not name is deleted. With keep: true
it is left alone; a Worker or a ruleset cannot be shared. What was there before the first
change is kept in the agent's state directory, and put back if the first release fails while
it is activated. Once that is confirmed it stays: "rollback", "rollout abort" and "rollout
undo" go back to older releases, of which there is none.

settle is how long a change takes to reach every place (30s, 20s of a service, 1m of a
namespace), timeout how long a change is tried and a large target may take to be read (3m),
url where the bundle's probes go (default: they are not sent), max_items another limit than
usual, endpoint another address of the provider's API, limits what a bundle may have (files,
bytes, file, growth). With trial: {percent: 10, for: 1m} a new version of a Worker first gets
a share of the requests and must pass the probes, for 10m at most, because an abort waits for
the trial to end. A plan's deadline has to leave time for settle and trial.`,
	}
	cmd.PersistentFlags().StringVarP(&path, "config", "c", "provider-agent.yaml", "configuration file")
	cmd.AddCommand(
		newProviderAgentRunCommand(c, &path),
		newProviderAgentStatusCommand(c, &path),
		newProviderAgentRollbackCommand(c, &path),
	)
	return cmd
}

func newProviderAgentRunCommand(c *cli, path *string) *cobra.Command {
	var level string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run it until a signal ends it",
		Long:  "Run the agent until a signal ends it. The log goes to standard error.",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usagef("--log %q is not debug, info, warn or error", level)
			}
			cfg, err := provider.Read(*path)
			if err != nil {
				return err
			}
			cfg.Build = built()
			cfg.Logger = slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: l}))
			a, err := agent.New(cfg)
			if err != nil {
				return err
			}
			return errors.Join(a.Run(cmd.Context()), a.Close())
		},
	}
	cmd.Flags().StringVar(&level, "log", "info", "debug, info, warn or error")
	return cmd
}

func newProviderAgentStatusCommand(c *cli, path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what the running agent serves and plans",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), *path, 10*time.Second, func(ctx context.Context, socket string) error {
				s, err := agent.AskStatus(ctx, socket)
				if err != nil {
					return cannot(err, "show the status")
				}
				if done, err := printValue(c, s); done {
					return err
				}
				var apps []targetStatus
				for _, app := range wire.Keys(s.Report.Apps) {
					apps = append(apps, targetStatus{app, s.Report.Apps[app], s.Plan[app]})
				}
				return printList(c, apps, targetList)
			})
		},
	}
}

func newProviderAgentRollbackCommand(c *cli, path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback APP",
		Short: "Go back to the release before, without the controller",
		Args:  takes("APP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName("app", args[0]); err != nil {
				return err
			}
			return ask(cmd.Context(), *path, 15*time.Minute, func(ctx context.Context, socket string) error {
				if err := agent.AskRollback(ctx, socket, wire.App(args[0])); err != nil {
					return cannot(err, "roll back %s", args[0])
				}
				c.progress("%s went back; it stays there until a newer epoch is ordered", args[0])
				return nil
			})
		},
	}
}

// ask talks to the agent that runs with a configuration, no longer than limit.
func ask(ctx context.Context, path string, limit time.Duration, do func(ctx context.Context, socket string) error) error {
	cfg, err := provider.Read(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := do(ctx, cfg.Socket()); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &exitError{exitTimeout, fmt.Errorf("cannot wait any longer than %s: the agent may still go on, see its status", limit)}
}

// targetStatus is an app of a provider agent.
type targetStatus struct {
	app  wire.App
	says wire.AppReport
	plan []string
}

var targetList = list[targetStatus]{
	name: func(t targetStatus) string { return string(t.app) },
	columns: []column[targetStatus]{
		{head: "APP", cell: func(t targetStatus) string { return string(t.app) }},
		{head: "TARGET", cell: func(t targetStatus) string { return t.says.Plane }},
		{head: "RUNS", cell: func(t targetStatus) string {
			if r := t.says.Running; r != nil {
				return fmt.Sprintf("%s@%d %s", r.Version, r.Epoch, r.State)
			}
			return "none"
		}},
		{head: "NEXT", cell: func(t targetStatus) string {
			if n := t.says.Next; n != nil {
				return fmt.Sprintf("%s@%d %s", n.Version, n.Epoch, n.State)
			}
			return "-"
		}},
		{head: "NOTE", cell: func(t targetStatus) string {
			if r := t.says.Running; r != nil && r.Error != "" {
				return r.Error
			}
			if n := t.says.Next; n != nil && n.Error != "" {
				return n.Error
			}
			return strings.Join(t.plan, "; ")
		}},
	},
}
