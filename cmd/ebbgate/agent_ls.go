package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

func newAgentListCommand(c *cli) *cobra.Command {
	var region string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the agents and what each runs",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlag("region", region); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			agents, err := cl.Agents(cmd.Context(), wire.Region(region))
			if err != nil {
				return cannot(err, "list agents")
			}
			return printList(c, agents, agentList)
		},
	}
	cmd.Flags().StringVarP(&region, "region", "r", "", "only this region")
	return cmd
}

// checkFlag reports why the value of a flag is no name; an empty one is fine.
func checkFlag(name, value string) error {
	if err := wire.CheckToken(value); err != nil && value != "" {
		return usagef("--%s %w", name, err)
	}
	return nil
}

// checkName reports why an argument is no name.
func checkName(what, value string) error {
	if err := wire.CheckToken(value); err != nil {
		return usagef("%s %w", what, err)
	}
	return nil
}

var agentList = list[controller.AgentView]{
	name: func(a controller.AgentView) string { return string(a.Agent) },
	columns: []column[controller.AgentView]{
		{head: "REGION", cell: func(a controller.AgentView) string { return string(a.Region) }},
		{head: "AGENT", cell: func(a controller.AgentView) string { return string(a.Agent) }},
		{head: "STATE", cell: func(a controller.AgentView) string {
			switch {
			case a.Drained:
				return "drained"
			case a.Live:
				return "live"
			case a.Reported.IsZero():
				return "never seen"
			}
			return "unknown"
		}},
		{head: "RUNS", cell: func(a controller.AgentView) string {
			var runs []string
			for _, app := range agentApps(a) {
				r := a.Report.Apps[app].Running
				if r == nil {
					runs = append(runs, string(app)+"=none")
					continue
				}
				text := string(app) + "=" + string(r.Version) + " " + string(r.State)
				if r.Error != "" {
					text += " (" + r.Error + ")"
				}
				runs = append(runs, text)
			}
			return orDash(strings.Join(runs, ", "))
		}},
		{head: "NEXT", cell: func(a controller.AgentView) string {
			var next []string
			for _, app := range agentApps(a) {
				if n := a.Report.Apps[app].Next; n != nil {
					text := string(app) + "=" + string(n.Version) + " " + string(n.State)
					if n.Error != "" {
						text += " (" + n.Error + ")"
					}
					next = append(next, text)
				}
			}
			return orDash(strings.Join(next, ", "))
		}},
		{head: "REPORTED", cell: func(a controller.AgentView) string { return when(a.Reported) }},
		{head: "PLANE", wide: true, cell: func(a controller.AgentView) string {
			var planes []string
			for _, app := range agentApps(a) {
				planes = append(planes, a.Report.Apps[app].Plane)
			}
			return orDash(strings.Join(planes, " "))
		}},
		{head: "BUILD", wide: true, cell: func(a controller.AgentView) string {
			if a.Report == nil {
				return "–"
			}
			return orDash(a.Report.Build)
		}},
		{head: "ENROLLED", wide: true, cell: func(a controller.AgentView) string { return when(a.Enrolled) }},
	},
}

func agentApps(a controller.AgentView) []wire.App {
	if a.Report == nil {
		return nil
	}
	return wire.Keys(a.Report.Apps)
}
