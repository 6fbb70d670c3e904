package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/bundle"
	"github.com/ebbgate/ebbgate/wire"
)

func newBundleDiffCommand(c *cli) *cobra.Command {
	var region string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show which files change between two bundles, each a directory or a bundle file",
		Args:  takes("OLD", "NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFlag("region", region); err != nil {
				return err
			}
			old, err := readManifest(cmd.Context(), args[0])
			if err != nil {
				return cannot(err, "read %s", args[0])
			}
			next, err := readManifest(cmd.Context(), args[1])
			if err != nil {
				return cannot(err, "read %s", args[1])
			}
			if r := wire.Region(region); r != "" && len(old.Overlays[r])+len(next.Overlays[r]) == 0 {
				c.progress("neither has an overlay for %s: it gets what every region gets", region)
			}
			changes := next.Diff(old, wire.Region(region))
			if changes == nil {
				changes = []wire.Change{}
			}
			if done, err := printValue(c, changes); done {
				return err
			}
			for _, line := range bundle.Diff(old, next, wire.Region(region)) {
				fmt.Fprintln(c.out, plain(line))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "with the overlay of this region")
	return cmd
}

// readManifest reads the manifest of a directory or of a bundle file, whoever signed it.
func readManifest(ctx context.Context, path string) (*wire.Manifest, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if fi.IsDir() {
		s, err := bundle.Build(path, bundle.Options{})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		return s.Manifest, nil
	}
	f, err := bundle.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Manifest(ctx, nil)
}
