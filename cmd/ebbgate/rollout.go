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
		newRolloutSteerCommand(c, "pause", "Stop widening and promoting; failures are still taken back", false),
		newRolloutSteerCommand(c, "resume", "Go on after a pause or a halt; the failures seen so far are acknowledged", false),
		newRolloutSteerCommand(c, "abort", "Take the regions under way back, and keep the committed ones", true),
		newRolloutSteerCommand(c, "undo", "Take every region of the last rollout back to what it ran before, wave by wave", true),
	)
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
