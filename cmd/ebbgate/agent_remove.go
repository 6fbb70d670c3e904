package main

import (
	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/wire"
)

func newAgentRemoveCommand(c *cli) *cobra.Command {
	var region string
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove AGENT --region REGION",
		Short: "Strike an agent off, so that its name can be enrolled again",
		Long: `Strike an agent off: rollouts no longer wait for it, what it reports is ignored, and its
name can be enrolled again with another key, as a reinstalled node needs it.

Its NATS credentials stay valid until they are revoked at the NATS server: whoever holds
them can still read the region's signed orders and send reports, which are ignored. A node
that still runs keeps serving, and keeps following the orders of its region.`,
		Args: takes("AGENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkAgent(region, args[0]); err != nil {
				return err
			}
			if err := c.confirm(yes, "remove agent "+args[0]+" from "+region); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			if err := cl.Remove(cmd.Context(), wire.Region(region), wire.AgentID(args[0])); err != nil {
				return cannot(err, "remove agent %s from %s", args[0], region)
			}
			c.progress("agent %s is removed from %s; its NATS credentials stay valid until they are revoked", args[0], region)
			return nil
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "the agent's region (required)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
