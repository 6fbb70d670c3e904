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

func newBundleListCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "ls [APP]",
		Aliases: []string{"list"},
		Short:   "List the published bundles",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var app string
			if len(args) > 0 {
				app = args[0]
				if err := checkName("APP", app); err != nil {
					return err
				}
			}
			return c.withClient(cmd, func(ctx context.Context, cl *api.Client) error {
				bundles, err := cl.Bundles(ctx, wire.App(app))
				if err != nil {
					return cannot(err, "list bundles")
				}
				return printList(c, bundles, bundleList)
			})
		},
	}
}

var bundleList = list[controller.BundleInfo]{
	name: func(b controller.BundleInfo) string { return b.Digest.String() },
	columns: []column[controller.BundleInfo]{
		{head: "APP", cell: func(b controller.BundleInfo) string { return string(b.App) }},
		{head: "VERSION", cell: func(b controller.BundleInfo) string { return string(b.Version) }},
		{head: "DIGEST", cell: func(b controller.BundleInfo) string { return b.Digest.Short() }},
		{head: "FILES", cell: func(b controller.BundleInfo) string { return fmt.Sprint(b.Files) }},
		{head: "SIZE", cell: func(b controller.BundleInfo) string { return size(b.Bytes) }},
		{head: "PACKED", cell: func(b controller.BundleInfo) string { return size(b.Packed) }},
		{head: "CONTENT", cell: content},
		{head: "PUBLISHED", cell: func(b controller.BundleInfo) string { return when(b.Published) }},
		{head: "BY", cell: func(b controller.BundleInfo) string { return b.By }},
		{head: "AUTHORS", wide: true, cell: func(b controller.BundleInfo) string { return strings.Join(b.Authors, " ") }},
		{head: "INDEX", wide: true, cell: func(b controller.BundleInfo) string { return b.Index.String() }},
	},
}

// content says whether agents can stage a bundle.
func content(b controller.BundleInfo) string {
	if b.Missing {
		return "missing"
	}
	return "stored"
}
