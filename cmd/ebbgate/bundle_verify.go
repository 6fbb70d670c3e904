package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/controller/bundle"
	"github.com/ebbgate/ebbgate/wire"
)

func newBundleVerifyCommand(c *cli) *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "verify FILE --root root.json",
		Short: "Prove that a bundle file is whole, and what the authors of a root signed",
		Args:  takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if root == "" {
				return usagef("--root is missing")
			}
			trust, err := readTrust(root)
			if err != nil {
				return err
			}
			f, err := bundle.OpenFile(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			m, err := bundle.Verify(cmd.Context(), f, trust)
			if err != nil {
				return err
			}
			c.progress("%s %s is whole and signed for fleet %s", m.App, m.Version, trust.Fleet())
			_, err = fmt.Fprintln(c.out, f.Index.Digest)
			return err
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "the signed root of the fleet (required)")
	return cmd
}

func readTrust(path string) (*wire.Trust, error) {
	data, err := smallfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read root %s: %w", path, reason(err))
	}
	t, err := wire.NewTrust(data)
	if err != nil {
		return nil, fmt.Errorf("cannot trust %s: %w", path, err)
	}
	return t, nil
}
