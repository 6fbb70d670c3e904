package main

import "github.com/spf13/cobra"

func newAgentCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "agent", Short: "Look at, enroll, drain and remove agents"}
	cmd.AddCommand(
		newAgentListCommand(c),
		newAgentEnrollCommand(c),
		newAgentDrainCommand(c),
		newAgentUndrainCommand(c),
		newAgentRemoveCommand(c),
	)
	return cmd
}
