package main

import (
	"fmt"
	"github.com/spf13/cobra"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

func newRolloutGetCommand(c *cli) *cobra.Command {
	var w watchFlags
	cmd := &cobra.Command{
		Use:   "get APP",
		Short: "Show the rollout of an app: waves, regions, agents and purges",
		Long: `Show the active or last rollout of an app: its waves, the timeline of each region and
one cell for each agent.

With -w it is shown as it moves until it ends: as a live picture on a terminal, else as
one line for each thing that happens. The exit code is 0 if the rollout is done, 3 if it
was rolled back, 1 if it failed, and 5 if --timeout passed before.`,
		Args: takes("APP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName("APP", args[0]); err != nil {
				return err
			}
			if err := w.check(); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			view, err := cl.App(cmd.Context(), wire.App(args[0]))
			if err != nil {
				return cannot(err, "show %s", args[0])
			}
			if w.watch {
				return watchRollout(cmd.Context(), c, cl, view, w.timeout)
			}
			switch c.output {
			case "table", "wide":
				w := &watcher{client: cl, last: view, sent: make(map[purgeRound]time.Time)}
				t := tree{width: 120, color: c.color(), every: c.output == "wide", sent: w.purges(cmd.Context())}
				_, err := fmt.Fprintln(c.out, t.render(view.Summary))
				return err
			}
			return printOne(c, view, appList)
		},
	}
	w.add(cmd)
	return cmd
}
