package main

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/wire"
)

func newTrustKeygenCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make an Ed25519 key: the private half into FILE, the public half on standard output",
		Args:  takes("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := wire.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			if err := createFiles(file{args[0], []byte(key.Secret() + "\n")}); err != nil {
				return fmt.Errorf("cannot write the key: %w", err)
			}
			_, err = fmt.Fprintln(c.out, key.Public())
			return err
		},
	}
}
