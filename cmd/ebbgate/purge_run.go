package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/wire"
)

func newPurgeRunCommand(c *cli) *cobra.Command {
	var region string
	var yes bool
	cmd := &cobra.Command{
		Use:   "run SELECTOR… --region REGION",
		Short: "Purge CDN content of a region by hand",
		Long: `Purge CDN content of a region by hand. A selector is key:NAME, url:URL, prefix:PREFIX, host:HOST or all.
At most 1,000 may be named. What rollouts ask of the same account goes first.`,
		Example: "  ebbgate purge run --region eu-west key:rules url:https://www.example.com/a",
		Args:    takes("SELECTOR…"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if region == "" {
				return usagef("--region is missing")
			}
			if err := checkFlag("region", region); err != nil {
				return err
			}
			for _, s := range args {
				if _, err := cdn.ParseSelector(s); err != nil {
					return &usageError{err}
				}
			}
			if err := c.confirm(yes, "purge "+strings.Join(args, " ")+" in "+region); err != nil {
				return err
			}
			return c.withClient(cmd, func(ctx context.Context, cl *api.Client) error {
				purges, err := cl.RunPurge(ctx, controller.PurgeRequest{Region: wire.Region(region), Selectors: args})
				if err != nil {
					return cannot(err, "purge in %s", region)
				}
				return printList(c, purges, purgeList)
			})
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "the region (required)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
