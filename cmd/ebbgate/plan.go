package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/cmd/ebbgate/internal/smallfile"
	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func newPlanCommand(c *cli) *cobra.Command {
	var planFile string
	var detailed bool
	var e emergencyFlags
	cmd := &cobra.Command{
		Use:   "plan APP VERSION",
		Short: "Show what a rollout would do, and change nothing",
		Long: `Show what a rollout would do: the regions in their order with their steps, the data
planes of their agents and what these declare of themselves, the files that change, the
CDN content that is purged and how long that takes by the quotas of the provider; then the
gates, approvals and freezes that it is held to. Nothing is changed. With -o wide every
file and every purge is listed.

With --emergency it shows what an emergency would do: how many approvals it needs before
anything is activated, the steps without what they pass over, how many agents of a region
switch at the same time at most, and what counts again once it has expired.

The index that is shown makes "rollout start --check-index" refuse to start if the app's
rollout state has moved since: a rollout of it, what a region has committed, a purge. Agents
that come, go or are drained do not move it by themselves.`,
		Example: `  ebbgate plan -f plan.yaml edge-proxy 1.4.0
  ebbgate plan waf 7.1.0 --emergency "the new rule blocks logins" --expires 30m
  ebbgate plan schema > plan.schema.json`,
		Args: takes("APP", "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := startRequest(args[0], args[1], planFile)
			if err != nil {
				return err
			}
			if q.Emergency, err = e.asked(cmd); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			view, err := cl.Plan(cmd.Context(), q)
			if err != nil {
				return cannot(inPlan(err, planFile), "plan %s %s", args[0], args[1])
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
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 0 if nothing would change, 6 if something would")
	e.add(cmd)
	cmd.AddCommand(newPlanSchemaCommand(c))
	return cmd
}

func newPlanSchemaCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a plan file",
		Long: `Print the JSON Schema (draft 2020-12) of a plan file: every field with its type, its
default and what it means. An editor that speaks the YAML language server completes and
checks a plan whose first line names it:

  # yaml-language-server: $schema=plan.schema.json`,
		Example: "  ebbgate plan schema > plan.schema.json",
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(c.out, rollout.PlanSchema)
			return err
		},
	}
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
	data, err := smallfile.Read(planFile)
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

// inPlan adds where in the plan file the field stands that a refusal names.
func inPlan(err error, planFile string) error {
	e := (*api.Error)(nil)
	if planFile == "" || !errors.As(err, &e) || e.Field == "" {
		return err
	}
	data, readErr := smallfile.Read(planFile)
	if line := rollout.FieldLine(data, e.Field); readErr == nil && line > 0 {
		return fmt.Errorf("%w (%s:%d)", err, planFile, line)
	}
	return err
}
