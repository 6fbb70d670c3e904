package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
)

func newRolloutListCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List every app with its active or last rollout",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withClient(cmd, func(ctx context.Context, cl *api.Client) error {
				apps, err := cl.Apps(ctx)
				if err != nil {
					return cannot(err, "list rollouts")
				}
				return printList(c, apps, appList)
			})
		},
	}
}

// ofRollout is a column about an app's rollout.
func ofRollout(head string, wide bool, cell func(*rollout.RolloutSummary) string) column[controller.AppView] {
	return column[controller.AppView]{head: head, wide: wide, cell: func(v controller.AppView) string {
		if v.Summary.Rollout == nil {
			return "–"
		}
		return orDash(cell(v.Summary.Rollout))
	}}
}

var appList = list[controller.AppView]{
	name: func(v controller.AppView) string { return string(v.App) },
	columns: []column[controller.AppView]{
		{head: "APP", cell: func(v controller.AppView) string { return string(v.App) }},
		ofRollout("VERSION", false, func(r *rollout.RolloutSummary) string { return string(r.Version) }),
		ofRollout("STATUS", false, func(r *rollout.RolloutSummary) string { return string(r.Status) }),
		ofRollout("WAVE", false, func(r *rollout.RolloutSummary) string {
			return fmt.Sprintf("%d/%d", min(r.Wave+1, len(r.Waves)), len(r.Waves))
		}),
		ofRollout("STARTED", false, func(r *rollout.RolloutSummary) string { return when(r.Started) }),
		ofRollout("BY", false, func(r *rollout.RolloutSummary) string { return r.By }),
		ofRollout("REASON", false, func(r *rollout.RolloutSummary) string { return r.Reason }),
		ofRollout("ENDED", true, func(r *rollout.RolloutSummary) string { return when(r.Ended) }),
		ofRollout("ROLLOUT", true, func(r *rollout.RolloutSummary) string { return r.ID }),
		ofRollout("SOURCE", true, func(r *rollout.RolloutSummary) string { return r.Source }),
		ofRollout("DIGEST", true, func(r *rollout.RolloutSummary) string { return r.Digest.Short() }),
		{head: "INDEX", wide: true, cell: func(v controller.AppView) string { return fmt.Sprint(v.Summary.Revision) }},
	},
}
