package main

import (
	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/rollout"
)

func newRolloutCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "rollout", Short: "Start, watch and steer rollouts"}
	cmd.AddCommand(
		newRolloutStartCommand(c),
		newRolloutGetCommand(c),
		newRolloutStatusCommand(c),
		newRolloutListCommand(c),
		newRolloutHistoryCommand(c),
		newRolloutExplainCommand(c),
	)
	for _, s := range steerings {
		cmd.AddCommand(newRolloutSteerCommand(c, s))
	}
	return cmd
}

// exitOf returns the exit code that the end of a rollout stands for.
func exitOf(s rollout.RolloutStatus) int {
	switch s {
	case rollout.StatusReverted, rollout.StatusAborted, rollout.StatusSuperseded:
		return exitRolledBack
	case rollout.StatusFailed:
		return exitFailure
	}
	return exitOK
}
