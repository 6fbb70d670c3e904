package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func newRolloutHistoryCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "history APP",
		Short: "List the rollouts of an app",
		Args:  takes("APP"),
		RunE: c.ofApp(func(ctx context.Context, cl *api.Client, app wire.App) error {
			rollouts, err := cl.History(ctx, app)
			if err != nil {
				return cannot(err, "show the history of %s", app)
			}
			return printList(c, rollouts, historyList)
		}),
	}
}

var historyList = list[rollout.Rollout]{
	name: func(r rollout.Rollout) string { return r.ID },
	columns: []column[rollout.Rollout]{
		{head: "ROLLOUT", cell: func(r rollout.Rollout) string { return r.ID }},
		{head: "VERSION", cell: func(r rollout.Rollout) string { return string(r.Target.Version) }},
		{head: "STATUS", cell: func(r rollout.Rollout) string { return string(r.Status) }},
		{head: "STARTED", cell: func(r rollout.Rollout) string { return when(r.Started) }},
		{head: "ENDED", cell: func(r rollout.Rollout) string { return when(r.Ended) }},
		{head: "BY", cell: func(r rollout.Rollout) string { return r.By }},
		{head: "UNDOES", cell: func(r rollout.Rollout) string { return orDash(r.Undoes) }},
		{head: "SOURCE", wide: true, cell: func(r rollout.Rollout) string { return orDash(r.Source) }},
		{head: "DIGEST", wide: true, cell: func(r rollout.Rollout) string { return r.Target.Digest.Short() }},
		{head: "WAVES", wide: true, cell: func(r rollout.Rollout) string { return fmt.Sprint(len(r.Plan.Waves)) }},
		{head: "LAST DECISION", wide: true, cell: func(r rollout.Rollout) string {
			if len(r.Decisions) == 0 {
				return "–"
			}
			return r.Decisions[len(r.Decisions)-1].Reason
		}},
	},
}
