package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/bundle"
	"github.com/ebbgate/ebbgate/wire"
)

func newBundleBuildCommand(c *cli) *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "build DIR FILE",
		Short: "Build a bundle file from a directory, and sign it",
		Long: `Build a bundle file from a directory, and sign it. The digest of the bundle goes to
standard output.

A FILE that is there is replaced once the new one is whole; a device, a pipe or a link
is not.`,
		Example: "  ebbgate bundle build ./edge-proxy edge-proxy-1.4.0.ebb --key author.key",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return fmt.Errorf("FILE is missing: name the bundle file after %s; --output is the format of what is printed", args[0])
			}
			return takes("DIR", "FILE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := buildFile(cmd.Context(), args[0], args[1], keys, nil); err != nil {
				return cannot(err, "build %s", args[1])
			}
			f, err := bundle.OpenFile(args[1])
			if err != nil {
				return err
			}
			defer f.Close()
			m, err := f.Manifest(cmd.Context(), nil)
			if err != nil {
				return err
			}
			c.progress("built %s %s into %s", m.App, m.Version, args[1])
			if len(keys) == 0 {
				c.progress("it is not signed: nobody will accept it")
			}
			_, err = fmt.Fprintln(c.out, f.Index.Digest)
			return err
		},
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "file with the key of a release author; may be repeated")
	return cmd
}

// buildFile builds the bundle in dir into file, signed with the keys in keyFiles.
func buildFile(ctx context.Context, dir, file string, keyFiles []string, previous *wire.Manifest) error {
	var keys []wire.PrivateKey
	for _, path := range keyFiles {
		k, err := readKey(path)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	src, err := bundle.Build(dir, bundle.Options{Previous: previous})
	if err != nil {
		return err
	}
	defer src.Close()
	packed, err := src.Pack(keys...)
	if err != nil {
		return err
	}
	_, _, err = bundle.WriteFile(ctx, file, packed)
	return err
}
