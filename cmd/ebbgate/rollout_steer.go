package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// newRolloutSteerCommand makes one of the commands that act on the active or last rollout.
// Those that change what nodes run ask first, and name what they change.
func newRolloutSteerCommand(c *cli, name, short string, asks bool) *cobra.Command {
	var yes bool
	var w watchFlags
	cmd := &cobra.Command{
		Use:   name + " APP",
		Short: short,
		Args:  takes("APP"),
		RunE: c.ofApp(func(ctx context.Context, cl *api.Client, app wire.App) error {
			if err := w.check(); err != nil {
				return err
			}
			what := name + " the rollout of " + string(app)
			if asks && !yes {
				if term.IsTerminal(int(c.in.Fd())) {
					view, err := cl.App(ctx, app)
					if err != nil {
						return cannot(err, "%s", what)
					}
					if err := c.confirm(false, what+reach(name, view.Summary)); err != nil {
						return err
					}
				} else if err := c.confirm(false, what); err != nil {
					return err
				}
			}
			view, err := cl.Command(ctx, app, name)
			if err != nil {
				return cannot(err, "%s %s", name, app)
			}
			if w.watch {
				return watchRollout(ctx, c, cl, view, w.timeout)
			}
			return printOne(c, view, appList)
		}),
	}
	if asks {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
		w.add(cmd)
	}
	return cmd
}

// reach names what abort and undo take back.
func reach(name string, s rollout.Summary) string {
	if s.Rollout == nil {
		return ""
	}
	var regions []string
	agents := 0
	for _, w := range s.Rollout.Waves {
		for _, g := range w.Regions {
			under := g.Phase != rollout.PhaseIdle && g.Phase != rollout.PhaseCommitted && g.Phase != rollout.PhaseReverted && g.Phase != rollout.PhaseDropped
			if name == "abort" && under || name == "undo" && g.Phase == rollout.PhaseCommitted {
				regions, agents = append(regions, string(g.Region)), agents+g.Counts.Total-g.Counts.Drained
			}
		}
	}
	if len(regions) == 0 {
		return ""
	}
	return fmt.Sprintf(" to %s: %s go back (%d agents)", s.Rollout.Version, strings.Join(regions, ", "), agents)
}
