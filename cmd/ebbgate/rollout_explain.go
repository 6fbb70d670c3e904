package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func newRolloutExplainCommand(c *cli) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "explain APP",
		Short: "Tell why a rollout is where it is: every decision with what it was made on",
		Long: `Tell why a rollout is where it is: every decision of the active or last rollout, one a
line, with what it was made on, and then what holds it now; with --rollout the decisions of
one that "rollout history" lists. With -o json or yaml each decision has its inputs by name.`,
		Example: "  ebbgate rollout explain waf --rollout 20261123-120000-000-abcdef",
		Args:    takes("APP"),
		RunE: c.ofApp(func(ctx context.Context, cl *api.Client, app wire.App) error {
			made, lines, err := explained(ctx, cl, app, id)
			if err != nil {
				return cannot(err, "explain %s", app)
			}
			if made == nil {
				made = []rollout.Decision{}
			}
			if done, err := printValue(c, made); done {
				return err
			}
			for _, line := range lines {
				fmt.Fprintln(c.out, plain(line))
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&id, "rollout", "", "explain this one of the app's rollouts; default: the active or last")
	return cmd
}

// explained returns the decisions of a rollout, and as lines.
func explained(ctx context.Context, cl *api.Client, app wire.App, id string) ([]rollout.Decision, []string, error) {
	if id == "" {
		view, err := cl.App(ctx, app)
		return decisions(view), view.Explain, err
	}
	past, err := cl.History(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(past, func(r rollout.Rollout) bool { return r.ID == id })
	if i < 0 {
		return nil, nil, fmt.Errorf("%q is not in its history", id)
	}
	return past[i].Decisions, rollout.Explain(rollout.State{Record: rollout.Record{App: app, Rollout: &past[i]}}), nil
}
