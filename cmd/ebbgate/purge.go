package main

import "github.com/spf13/cobra"

func newPurgeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "purge", Short: "Look at purges, and purge by hand"}
	cmd.AddCommand(newPurgeStatusCommand(c), newPurgeRunCommand(c))
	return cmd
}
