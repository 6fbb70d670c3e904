package main

import (
	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/wire"
)

func newAgentDrainCommand(c *cli) *cobra.Command {
	var region string
	var yes bool
	cmd := &cobra.Command{
		Use:   "drain AGENT --region REGION",
		Short: "Take an agent out of service: rollouts neither wait for it nor count it",
		Args:  takes("AGENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkAgent(region, args[0]); err != nil {
				return err
			}
			if err := c.confirm(yes, "drain agent "+args[0]+" in "+region); err != nil {
				return err
			}
			return drain(cmd, c, region, args[0], true)
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "the agent's region (required)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func newAgentUndrainCommand(c *cli) *cobra.Command {
	var region string
	cmd := &cobra.Command{
		Use:   "undrain AGENT --region REGION",
		Short: "Take a drained agent back into service",
		Args:  takes("AGENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkAgent(region, args[0]); err != nil {
				return err
			}
			return drain(cmd, c, region, args[0], false)
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "the agent's region (required)")
	return cmd
}

func checkAgent(region, agent string) error {
	if region == "" {
		return usagef("--region is missing")
	}
	if err := checkFlag("region", region); err != nil {
		return err
	}
	return checkName("AGENT", agent)
}

func drain(cmd *cobra.Command, c *cli, region, agent string, drained bool) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.Drain(cmd.Context(), wire.Region(region), wire.AgentID(agent), drained); err != nil {
		return cannot(err, "%s agent %s in %s", cmd.Name(), agent, region)
	}
	if drained {
		c.progress("agent %s in %s is drained", agent, region)
	} else {
		c.progress("agent %s in %s is back in service", agent, region)
	}
	return nil
}
