package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newRolloutStartCommand(c *cli) *cobra.Command {
	var planFile string
	var w watchFlags
	var checkIndex uint64
	cmd := &cobra.Command{
		Use:   "start APP VERSION",
		Short: "Start a rollout",
		Example: `  ebbgate rollout start edge-proxy 1.4.0 -f plan.yaml -w
  ebbgate rollout start edge-proxy 1.4.0 --check-index 17`,
		Args: takes("APP", "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := startRequest(args[0], args[1], planFile)
			if err != nil {
				return err
			}
			if err := w.check(); err != nil {
				return err
			}
			if cmd.Flags().Changed("check-index") {
				q.CheckIndex = &checkIndex
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			view, err := cl.Start(cmd.Context(), q)
			if err != nil {
				return cannot(err, "start %s %s", args[0], args[1])
			}
			if r := view.Summary.Rollout; r != nil {
				c.progress("started rollout %s of %s %s", r.ID, view.App, r.Version)
			}
			if w.watch {
				return watchRollout(cmd.Context(), c, cl, view, w.timeout)
			}
			return printOne(c, view, appList)
		},
	}
	cmd.Flags().StringVarP(&planFile, "file", "f", "", "plan file; default: the controller's plan over all regions")
	cmd.Flags().Uint64Var(&checkIndex, "check-index", 0, "refuse if the app has moved since this index of a plan")
	w.add(cmd)
	return cmd
}

// watchFlags are the flags of the commands that can wait for the end of a rollout.
type watchFlags struct {
	watch   bool
	timeout time.Duration
}

func (w *watchFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&w.watch, "watch", "w", false, "show the rollout until it ends; exit 3 if it was rolled back or superseded")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 0, "with -w: wait no longer than this, then exit 5; 0: for ever")
}

func (w *watchFlags) check() error {
	switch {
	case w.timeout < 0:
		return usagef("--timeout %s is negative", w.timeout)
	case w.timeout > 0 && !w.watch:
		return &usageError{fmt.Errorf("--timeout needs --watch")}
	}
	return nil
}
