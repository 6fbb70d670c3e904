package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/wire"
)

func newPurgeStatusCommand(c *cli) *cobra.Command {
	var region, app string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the purges and how far each has come",
		Long: `List the purges and how far each has come. A selector longer than 60 columns is cut; with
-o wide it is there as a whole.`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlag("region", region); err != nil {
				return err
			}
			if err := checkFlag("app", app); err != nil {
				return err
			}
			return c.withClient(cmd, func(ctx context.Context, cl *api.Client) error {
				purges, err := cl.Purges(ctx, wire.Region(region), wire.App(app))
				if err != nil {
					return cannot(err, "list purges")
				}
				return printList(c, purges, purgeList)
			})
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "only this region")
	cmd.Flags().StringVar(&app, "app", "", "only this app")
	return cmd
}

var purgeList = list[controller.PurgeView]{
	name: func(p controller.PurgeView) string { return string(p.ID) },
	columns: []column[controller.PurgeView]{
		{head: "REGION", cell: func(p controller.PurgeView) string { return p.Item.Region }},
		{head: "APP", cell: func(p controller.PurgeView) string { return orDash(p.Item.App) }},
		{head: "EPOCH", cell: func(p controller.PurgeView) string { return fmt.Sprint(p.Item.Epoch) }},
		{head: "ROUND", cell: func(p controller.PurgeView) string { return fmt.Sprint(p.Item.Round) }},
		{head: "PROVIDER", cell: func(p controller.PurgeView) string { return p.Item.Provider + "/" + p.Item.Scope }},
		{head: "SELECTOR", cut: true, cell: func(p controller.PurgeView) string { return p.Item.Selector.String() }},
		{head: "STATE", cell: func(p controller.PurgeView) string {
			if p.Skipped != "" {
				return "no fence"
			}
			return string(p.State)
		}},
		{head: "SENT", cell: func(p controller.PurgeView) string { return when(p.SentAt) }},
		{head: "VERIFIED", cell: func(p controller.PurgeView) string { return when(p.VerifiedAt) }},
		{head: "WHY", cell: func(p controller.PurgeView) string {
			why := cmp.Or(p.Reason, p.Skipped, p.LastError)
			if why == "" && !p.PausedUntil.IsZero() {
				why = "waits until " + when(p.PausedUntil) + " (the account is rate limited)"
			}
			return orDash(why)
		}},
		{head: "ATTEMPTS", wide: true, cell: func(p controller.PurgeView) string { return fmt.Sprint(p.Attempts) }},
		{head: "PURGE ID", wide: true, cell: func(p controller.PurgeView) string { return orDash(p.PurgeID) }},
		{head: "ID", wide: true, cell: func(p controller.PurgeView) string { return string(p.ID) }},
	},
}
