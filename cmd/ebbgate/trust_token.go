package main

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller/api"
)

func newTrustTokenCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "token NAME ROLE FILE",
		Short: "Make an API token: the token into FILE, the controller's line for it on standard output",
		Long: `Make an API token for NAME with the role viewer, operator, approver or admin.

The token goes into FILE (mode 0600), which --token-file or EBBGATE_TOKEN_FILE names.
The line on standard output belongs into the token file of the controller, which holds
a hash and never the token.`,
		Example: "  ebbgate trust token alice operator alice.token >> tokens",
		Args:    takes("NAME", "ROLE", "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkName("NAME", args[0]); err != nil {
				return err
			}
			role, err := api.ParseRole(args[1])
			if err != nil {
				return &usageError{err}
			}
			token, err := api.GenerateToken(rand.Reader)
			if err != nil {
				return err
			}
			if err := createFiles(file{args[2], []byte(token + "\n")}); err != nil {
				return fmt.Errorf("cannot write the token: %w", err)
			}
			_, err = fmt.Fprint(c.out, api.TokenLine(args[0], role, token))
			return err
		},
	}
}
