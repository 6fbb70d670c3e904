package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/bundle"
)

func newBundleInspectCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a bundle file holds, whoever signed it",
		Args:  takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := bundle.OpenFile(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			m, err := f.Manifest(cmd.Context(), nil)
			if err != nil {
				return err
			}
			if done, err := printValue(c, m); done {
				return err
			}
			if c.output == "name" {
				_, err := fmt.Fprintln(c.out, f.Index.Digest)
				return err
			}
			for _, line := range bundle.Describe(f, m) {
				fmt.Fprintln(c.out, plain(line))
			}
			return nil
		},
	}
}
