package main

import "github.com/spf13/cobra"

func newBundleCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "bundle", Short: "Build, inspect, verify and compare bundles"}
	cmd.AddCommand(
		newBundleBuildCommand(c),
		newBundleInspectCommand(c),
		newBundleVerifyCommand(c),
		newBundleDiffCommand(c),
		newBundleListCommand(c),
	)
	return cmd
}
