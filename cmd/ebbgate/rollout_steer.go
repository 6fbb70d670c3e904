package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// steering is a command that acts on the active or last rollout.
type steering struct {
	name, short, long, example string
	places                     bool // it may name the wave and the step that wait
	// asks makes the command ask first, and says what of a rollout it changes; nil: it
	// does not ask.
	asks func(command string, s rollout.Summary) string
}

var steerings = []steering{
	{name: "pause", short: "Stop widening and promoting; failures are still taken back",
		long: `Stop widening and promoting. Failures are still taken back, and regions that are wholly
switched still purged. A paused rollout can be superseded.`},
	{name: "resume", short: "Go on after a pause, a halt or vanished agents, which are acknowledged",
		long: `Go on after a pause or a halt, or without the agents that vanished after they switched.
The failures and the vanished agents seen so far are acknowledged, no others; purges that
were given up are asked for again.`},
	{name: "approve", short: "Approve what a rollout waits for approval of",
		long: `Approve the step, the wave or the emergency that a rollout waits for approval of. It takes
a token with the role approver, and counts once for each person. Whoever started the
rollout cannot approve it, but may be one of the two who approve an emergency.

Name what was looked at, with --rollout, --wave and --step: when two people approve one after
the other, a second approval without a name counts for the next step, if that waits by then.
With one it is refused.`,
		example: "  ebbgate rollout approve edge-proxy --rollout 20261123-120000-000-abcdef --wave 1 --step 2", places: true},
	{name: "promote", short: "Let the regions that wait at their gates go on without them, this once", asks: passedOver,
		long: `Let the regions that wait at their gates go on without them, this once: the next step or
wave is held to its gates again. It passes over no failure, bake, approval or freeze, and
takes a token with the role approver. --rollout, --wave and --step bind it to what was looked
at, as with approve.`, places: true},
	{name: "step-back", short: "Take the last step of the regions that widen back, and wait at the one before", asks: lastSteps,
		long: `Take the last step of the regions that widen back: the agents that it let switch return
to the old release, those of the steps before keep the new one, and the rollout waits.
"resume" then repeats the step before. Where no region is past its first step, "abort"
takes the wave back.`},
	{name: "abort", short: "Take the regions under way back, and keep the committed ones", asks: reach,
		long: `Take the regions under way back, and keep the committed ones; with --all these go back,
too. Every region that goes back is purged.`},
	{name: "undo", short: "Take every region of the last rollout back to what it ran before, wave by wave", asks: reach},
}

func newRolloutSteerCommand(c *cli, s steering) *cobra.Command {
	var yes, all bool
	var w watchFlags
	var of rollout.Of
	cmd := &cobra.Command{
		Use:     s.name + " APP",
		Short:   s.short,
		Long:    s.long,
		Example: s.example,
		Args:    takes("APP"),
		RunE: c.ofApp(func(ctx context.Context, cl *api.Client, app wire.App) error {
			if err := w.check(); err != nil {
				return err
			}
			command := s.name
			if all {
				command += "-all"
			}
			if s.asks != nil && !yes {
				if err := c.askAbout(ctx, cl, app, s, command, &of); err != nil {
					return err
				}
			}
			view, err := cl.Command(ctx, app, command, of)
			if err != nil {
				return cannot(err, "%s %s", s.name, app)
			}
			c.tellApproved(view, command)
			if w.watch {
				return watchRollout(ctx, c, cl, view, w.timeout)
			}
			return printOne(c, view, appList)
		}),
	}
	if s.asks != nil {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	}
	if s.name == "abort" {
		cmd.Flags().BoolVar(&all, "all", false, "take the regions that it has committed back, too")
	}
	cmd.Flags().StringVar(&of.Rollout, "rollout", "", "refuse if the app's rollout is another one by now")
	if s.places {
		cmd.Flags().IntVar(&of.Wave, "wave", 0, "refuse if another wave waits by now; from 1")
		cmd.Flags().IntVar(&of.Step, "step", 0, "refuse if another step waits by now; from 1")
	}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return checkOf(cmd, of) }
	w.add(cmd)
	return cmd
}

// checkOf refuses a flag whose value would bind to nothing: a script's variable may be empty.
func checkOf(cmd *cobra.Command, of rollout.Of) error {
	for _, f := range []struct {
		name  string
		blank bool
	}{{"rollout", of.Rollout == ""}, {"wave", of.Wave < 1}, {"step", of.Step < 1}} {
		if f.blank && cmd.Flags().Changed(f.name) {
			return usagef("--%s %q names none", f.name, cmd.Flag(f.name).Value)
		}
	}
	return nil
}

// askAbout asks before a command, and names what it changes, to which it then binds it.
// Without a terminal nobody would see that.
func (c *cli) askAbout(ctx context.Context, cl *api.Client, app wire.App, s steering, command string, of *rollout.Of) error {
	what := s.name + " the rollout of " + string(app)
	if term.IsTerminal(int(c.in.Fd())) {
		view, err := cl.App(ctx, app)
		if err != nil {
			return cannot(err, "%s", what)
		}
		if r := view.Summary.Rollout; r != nil {
			what += s.asks(command, view.Summary)
			of.Rollout = cmp.Or(of.Rollout, r.ID)
		}
	}
	return c.confirm(false, plain(what))
}

// reach names what abort and undo take back.
func reach(command string, s rollout.Summary) string {
	var regions []string
	agents := 0
	for _, w := range s.Rollout.Waves {
		for _, g := range w.Regions {
			goes := false
			switch g.Phase {
			case rollout.PhaseActivating, rollout.PhaseRetreating, rollout.PhasePurging, rollout.PhaseBaking, rollout.PhaseReverting, rollout.PhaseRepurging:
				goes = command != "undo"
			case rollout.PhaseCommitted:
				goes = command != "abort"
			}
			if goes {
				regions, agents = append(regions, string(g.Region)), agents+g.Counts.Total-g.Counts.Drained
			}
		}
	}
	text := " to " + string(s.Rollout.Version)
	if command == "abort-all" {
		text += " and take back what it has committed"
	}
	if len(regions) == 0 {
		return text + ": no region goes back"
	}
	return fmt.Sprintf("%s: %s go back (%d agents)", text, strings.Join(regions, ", "), agents)
}

// lastSteps names the steps that step-back takes back.
func lastSteps(_ string, s rollout.Summary) string {
	text := " to " + string(s.Rollout.Version)
	for _, w := range s.Rollout.Waves {
		for _, g := range w.Regions {
			if g.Phase == rollout.PhaseActivating && g.Step > 1 {
				text += fmt.Sprintf(": step %d of %d in %s goes back", g.Step, g.Steps, g.Region)
			}
		}
	}
	return text
}

// passedOver names the gates that promote passes over.
func passedOver(_ string, s rollout.Summary) string {
	text := " to " + string(s.Rollout.Version)
	for _, w := range s.Rollout.Waves {
		for _, g := range w.Regions {
			var gates []string
			for _, rd := range g.Readings {
				if rd.Verdict != rollout.VerdictPass && (g.Phase == rollout.PhaseActivating || g.Phase == rollout.PhaseBaking) {
					gates = append(gates, readingText(rd))
				}
			}
			if len(gates) > 0 {
				text += fmt.Sprintf(": %s goes on in spite of gate %s", g.Region, strings.Join(gates, "; gate "))
			}
		}
	}
	return text
}

// tellApproved tells what the approval or promotion that was just given was for.
func (c *cli) tellApproved(view controller.AppView, command string) {
	if command != "approve" && command != "promote" {
		return
	}
	given := decisions(view)
	for len(given) > 0 && given[len(given)-1].Kind != rollout.KindApprove {
		given = given[:len(given)-1] // what followed from it
	}
	for _, d := range given {
		last := given[len(given)-1]
		if d.Kind == last.Kind && d.At.Equal(last.At) && d.Inputs["by"] == last.Inputs["by"] {
			c.progress("%s", plain(d.Reason))
		}
	}
}
