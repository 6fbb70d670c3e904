package main

import "github.com/spf13/cobra"

func newAgentCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "agent", Short: "Look at, enroll and drain agents"}
	cmd.AddCommand(
		newAgentListCommand(c),
		newAgentEnrollCommand(c),
		newAgentDrainCommand(c),
		newAgentUndrainCommand(c),
	)
	return cmd
}
