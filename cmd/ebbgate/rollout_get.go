package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/wire"
)

func newRolloutGetCommand(c *cli) *cobra.Command {
	var w watchFlags
	cmd := &cobra.Command{
		Use:   "get APP",
		Short: "Show the rollout of an app: waves, regions, agents and purges",
		Long: `Show the active or last rollout of an app: its waves, the timeline of each region, what
it waits for and until when, the newest reading of each gate, and one cell for each
agent. With -o wide the agents of large regions are named, too.

With -w it is shown as it moves until it ends: as a live picture on a terminal, else as
one line for each thing that happens, in JSON with -o json, a document each with -o yaml.
The exit code is 0 if the rollout is done, 3 if it was rolled back or superseded, 1 if it
failed, and 5 if --timeout passed before.`,
		Args: takes("APP"),
		RunE: c.ofApp(func(ctx context.Context, cl *api.Client, app wire.App) error {
			if err := w.check(); err != nil {
				return err
			}
			first := ctx
			if w.timeout > 0 {
				var cancel context.CancelFunc
				first, cancel = context.WithTimeout(ctx, w.timeout)
				defer cancel()
			}
			view, err := cl.App(first, app)
			if errors.Is(err, context.DeadlineExceeded) {
				return &exitError{exitTimeout, fmt.Errorf("cannot wait any longer than %s: %w", w.timeout, err)}
			}
			if err != nil {
				return cannot(err, "show %s", app)
			}
			if w.watch {
				return watchRollout(ctx, c, cl, view, w.timeout)
			}
			switch c.output {
			case "table", "wide":
				t := tree{width: c.width(), color: c.color(), every: c.output == "wide", doubt: view.Doubt, barriers: view.Barriers}
				_, err := fmt.Fprintln(c.out, t.render(view.Summary))
				return err
			}
			return printOne(c, view, appList)
		}),
	}
	w.add(cmd)
	return cmd
}
