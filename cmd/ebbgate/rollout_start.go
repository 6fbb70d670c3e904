package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func newRolloutStartCommand(c *cli) *cobra.Command {
	var planFile, acknowledge, supersede string
	var e emergencyFlags
	var w watchFlags
	var checkIndex uint64
	cmd := &cobra.Command{
		Use:   "start APP VERSION",
		Short: "Start a rollout",
		Long: `Start a rollout.

A rollout that is paused, waits or goes back can be superseded: the new one takes its place, and
decides about what it has left half done. The one that was superseded counts as rolled
back, exit code 3.

When a rollout fails, whether it is taken back or held, the bundles of that app by the same
authors are in quarantine: to start the next one, look at that failure, and acknowledge the
rollout by its name.

An emergency passes over the bakes, gates, approvals and freezes of its plan once two
people with the role approver have approved it, until it expires. It is staged, widened
step by step, confirmed, purged and taken back like every rollout, and at most half of a
region switches at the same time.`,
		Example: `  ebbgate rollout start edge-proxy 1.4.0 -f plan.yaml -w
  ebbgate rollout start edge-proxy 1.4.0 --check-index 17
  ebbgate rollout start edge-proxy 1.4.1 --supersede 20261123-120000-000-abcdef
  ebbgate rollout start waf 7.1.0 --emergency "the new rule blocks logins" --expires 30m`,
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
			q.Acknowledge, q.Supersede = acknowledge, supersede
			if q.Emergency, err = e.asked(cmd); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			view, err := cl.Start(cmd.Context(), q)
			if err != nil {
				err = goOn(cmd, cl, args, inPlan(err, planFile))
				return cannot(err, "start %s %s", args[0], args[1])
			}
			if r := view.Summary.Rollout; r != nil {
				c.progress("started rollout %s of %s %s", r.ID, view.App, r.Version)
				if r.Glass != nil {
					c.progress("%s; nothing is activated before: ebbgate rollout approve %s", glassText(r.Glass, view.Summary.At), view.App)
				}
			}
			if w.watch {
				return watchRollout(cmd.Context(), c, cl, view, w.timeout)
			}
			return printOne(c, view, appList)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&planFile, "file", "f", "", "plan file; default: the controller's plan over all regions")
	f.Uint64Var(&checkIndex, "check-index", 0, "refuse if the app's rollout state, not its agents alone, has moved since this index of a plan")
	f.StringVar(&acknowledge, "acknowledge", "", "rollout that put the bundle's authors in quarantine, and that you have looked at")
	f.StringVar(&supersede, "supersede", "", "rollout, paused, waiting or going back, whose place this one takes")
	e.add(cmd)
	w.add(cmd)
	return cmd
}

func hours(d time.Duration) string { return fmt.Sprintf("%.0fh", d.Hours()) }

// emergencyFlags are the flags of the commands that start a rollout or show what it would do.
type emergencyFlags struct {
	reason  string
	expires time.Duration
}

func (e *emergencyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.reason, "emergency", "", "make it an emergency, for this reason")
	cmd.Flags().DurationVar(&e.expires, "expires", time.Hour, "with --emergency: how long it lasts, at most "+hours(rollout.MaxGlass))
}

// asked makes an emergency of the flags, or none.
func (e *emergencyFlags) asked(cmd *cobra.Command) (*rollout.Emergency, error) {
	switch asked := cmd.Flags().Changed("emergency"); {
	case !asked && cmd.Flags().Changed("expires"):
		return nil, usagef("--expires needs --emergency")
	case !asked:
		return nil, nil
	case strings.TrimSpace(e.reason) == "":
		return nil, usagef("--emergency wants a reason")
	case e.expires <= 0 || e.expires > rollout.MaxGlass:
		return nil, usagef("--expires %s is not above 0 and at most %s", e.expires, hours(rollout.MaxGlass))
	}
	return &rollout.Emergency{Reason: e.reason, Expires: time.Now().Add(e.expires).UTC()}, nil
}

// goOn adds to a refusal the command that would go on, where there is one: with the rollout
// acknowledged whose failure stands in the way, or superseded that does.
func goOn(cmd *cobra.Command, cl *api.Client, args []string, refused error) error {
	var e *api.Error
	if !errors.As(refused, &e) || e.Code != "quarantine" && e.Code != "active" {
		return refused
	}
	view, err := cl.App(cmd.Context(), wire.App(args[0]))
	if err != nil {
		return refused
	}
	var flag, id, how string
	switch r := view.Summary.Rollout; {
	case e.Code == "quarantine":
		for _, q := range view.Summary.Quarantine {
			if strings.Contains(e.Message, q.Rollout) {
				flag, id = "acknowledge", q.Rollout
			}
		}
	case canBeSuperseded(r):
		flag, id, how = "supersede", r.ID, "; to take its place"
	}
	if flag == "" {
		return refused
	}
	line := cmd.CommandPath() + " " + strings.Join(args, " ")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != flag {
			line += " --" + f.Name + "=" + quote(f.Value.String())
		}
	})
	return fmt.Errorf("%w%s: %s --%s %s", refused, how, line, flag, id)
}

// canBeSuperseded reports whether another rollout may take the place of r; nil: there is none.
func canBeSuperseded(r *rollout.RolloutSummary) bool {
	return r != nil && (r.Status == rollout.StatusPaused || r.Status == rollout.StatusHolding || r.Status == rollout.StatusReverting)
}

var bareWord = regexp.MustCompile(`^[\w/.:,@%+-]+$`)

// quote writes a word as a shell takes it.
func quote(s string) string {
	if bareWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
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
