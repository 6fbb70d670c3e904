package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func newPlanCommand(c *cli) *cobra.Command {
	var planFile string
	var detailed bool
	cmd := &cobra.Command{
		Use:   "plan APP VERSION",
		Short: "Show what a rollout would do, and change nothing",
		Long: `Show what a rollout would do: the regions in their order, the files that change, the
CDN content that is purged and how long that takes. Nothing is changed.

The index that is shown makes "rollout start --check-index" refuse to start if
anything has moved since.`,
		Example: "  ebbgate plan -f plan.yaml edge-proxy 1.4.0",
		Args:    takes("APP", "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := startRequest(args[0], args[1], planFile)
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			view, err := cl.Plan(cmd.Context(), q)
			if err != nil {
				return cannot(err, "plan %s %s", args[0], args[1])
			}
			if err := printPlan(c, view); err != nil {
				return err
			}
			if detailed && view.Changes {
				return &exitError{code: exitChanges}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&planFile, "file", "f", "", "plan file; default: the controller's plan over all regions")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 0 if nothing would change, 2 if something would")
	return cmd
}

// startRequest makes a request from the arguments that plan and rollout start share. The
// version may be a digest.
func startRequest(app, version, planFile string) (controller.StartRequest, error) {
	q := controller.StartRequest{App: wire.App(app)}
	if err := checkName("APP", app); err != nil {
		return q, err
	}
	if d, err := wire.ParseDigest(version); err == nil && !d.IsZero() {
		q.Digest = d
	} else {
		q.Version = wire.Version(version)
		if err := q.Version.Check(); err != nil {
			return q, usagef("VERSION %w", err)
		}
	}
	if planFile == "" {
		return q, nil
	}
	data, err := readFile(planFile)
	if err != nil {
		return q, fmt.Errorf("cannot read plan %s: %w", planFile, reason(err))
	}
	p, err := rollout.ParsePlan(planFile, data)
	if err != nil {
		return q, fmt.Errorf("cannot read plan: %w", err)
	}
	q.Plan = &p
	return q, nil
}

func printPlan(c *cli, v controller.PlanView) error {
	if done, err := printValue(c, v); done {
		return err
	}
	if c.output != "name" {
		what := fmt.Sprintf("%s %s (%s)", v.App, v.Version, v.Digest.Short())
		if v.Changes {
			c.progress("%s would change %d regions in %d waves; start it with --check-index %d", what, len(v.Regions), len(v.Plan.Waves), v.Index)
		} else {
			c.progress("%s is what every region runs: nothing would change", what)
		}
	}
	if err := printList(c, v.Regions, planList(v)); err != nil || c.output != "wide" {
		return err
	}
	for _, r := range v.Regions {
		for _, f := range r.Files {
			fmt.Fprintf(c.out, "%s: %s\n", r.Region, plain(f))
		}
		for _, s := range r.Purge {
			fmt.Fprintf(c.out, "%s: purge %s\n", r.Region, plain(s))
		}
	}
	return nil
}

func planList(v controller.PlanView) list[controller.PlanRegion] {
	return list[controller.PlanRegion]{
		name: func(r controller.PlanRegion) string { return string(r.Region) },
		columns: []column[controller.PlanRegion]{
			{head: "WAVE", cell: func(r controller.PlanRegion) string { return fmt.Sprint(r.Wave) }},
			{head: "REGION", cell: func(r controller.PlanRegion) string { return string(r.Region) }},
			{head: "LIVE", cell: func(r controller.PlanRegion) string { return fmt.Sprintf("%d/%d", r.Live, r.Agents) }},
			{head: "FROM", cell: func(r controller.PlanRegion) string { return orDash(string(r.From)) }},
			{head: "TO", cell: func(controller.PlanRegion) string { return string(v.Version) }},
			{head: "FILES", cell: func(r controller.PlanRegion) string { return fmt.Sprint(len(r.Files)) }},
			{head: "PURGE", cell: func(r controller.PlanRegion) string { return fmt.Sprint(len(r.Purge)) }},
			{head: "PURGE TIME", cell: func(r controller.PlanRegion) string { return r.PurgeFor.String() }},
			{head: "WARNINGS", cell: func(r controller.PlanRegion) string { return orDash(strings.Join(r.Warnings, "; ")) }},
		},
	}
}
