package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func newRolloutExplainCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "explain APP",
		Short: "Tell why a rollout is where it is: every decision with what it was made on",
		Long: `Tell why a rollout is where it is: every decision of the active or last rollout, one a
line, with what it was made on. With -o json or yaml each decision has its inputs by name.`,
		Args: takes("APP"),
		RunE: c.ofApp(func(ctx context.Context, cl *api.Client, app wire.App) error {
			view, err := cl.App(ctx, app)
			if err != nil {
				return cannot(err, "explain %s", app)
			}
			made := decisions(view)
			if made == nil {
				made = []rollout.Decision{}
			}
			if done, err := printValue(c, made); done {
				return err
			}
			for _, line := range view.Explain {
				fmt.Fprintln(c.out, plain(line))
			}
			return nil
		}),
	}
}
