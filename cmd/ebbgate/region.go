package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/wire"
)

func newRegionCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "region", Short: "Look at regions"}
	cmd.AddCommand(newRegionListCommand(c))
	return cmd
}

func newRegionListCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the regions and what each has committed",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withClient(cmd, func(ctx context.Context, cl *api.Client) error {
				regions, err := cl.Regions(ctx)
				if err != nil {
					return cannot(err, "list regions")
				}
				return printList(c, regions, regionList)
			})
		},
	}
}

var regionList = list[controller.RegionView]{
	name: func(r controller.RegionView) string { return string(r.Region) },
	columns: []column[controller.RegionView]{
		{head: "REGION", cell: func(r controller.RegionView) string { return string(r.Region) }},
		{head: "LIVE", cell: func(r controller.RegionView) string { return fmt.Sprintf("%d/%d", r.Live, r.Agents) }},
		{head: "COMMITTED", cell: func(r controller.RegionView) string {
			var held []string
			for _, app := range wire.Keys(r.Apps) {
				held = append(held, fmt.Sprintf("%s=%s", app, r.Apps[app].Version))
			}
			return orDash(strings.Join(held, " "))
		}},
		{head: "EPOCHS", wide: true, cell: func(r controller.RegionView) string {
			var held []string
			for _, app := range wire.Keys(r.Apps) {
				held = append(held, fmt.Sprintf("%s=%s", app, r.Apps[app].Epoch))
			}
			return orDash(strings.Join(held, " "))
		}},
		{head: "CDN", cell: func(r controller.RegionView) string {
			var targets []string
			for _, t := range r.CDN {
				name := t.Provider + "/" + t.Scope
				if r.LeftBehind[name] != "" {
					name += " (left behind)"
				}
				targets = append(targets, name)
			}
			return orDash(strings.Join(targets, " "))
		}},
		{head: "SEQUENCE", wide: true, cell: func(r controller.RegionView) string { return fmt.Sprint(r.Sequence) }},
	},
}
