package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/controller/api"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

func newRolloutStatusCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "status APP",
		Short: "Show in one line where a rollout stands",
		Long: `Show in one line where a rollout stands, what it waits for and until when. The exit code
is 3 if it was rolled back or superseded, 1 if it failed, else 0.`,
		Args: takes("APP"),
		RunE: c.ofApp(func(ctx context.Context, cl *api.Client, app wire.App) error {
			view, err := cl.App(ctx, app)
			if err != nil {
				return cannot(err, "show %s", app)
			}
			r := view.Summary.Rollout
			if done, err := printValue(c, standingOf(view)); done {
				if err != nil {
					return err
				}
			} else if c.output == "name" && r != nil {
				fmt.Fprintln(c.out, r.Status)
			} else {
				fmt.Fprintln(c.out, plain(statusLine(view)))
			}
			if r == nil {
				return nil
			}
			if code := exitOf(r.Status); code != exitOK {
				return &exitError{code: code}
			}
			return nil
		}),
	}
}

// standing is a rollout as status shows it to programs.
type standing struct {
	*rollout.RolloutSummary
	Doubt string `json:"doubt,omitempty"` // as in [controller.AppView]
}

// standingOf returns nil while the app has no rollout.
func standingOf(v controller.AppView) *standing {
	if v.Summary.Rollout == nil {
		return nil
	}
	return &standing{v.Summary.Rollout, v.Doubt}
}

// bakesText says which regions bake, and until when.
func bakesText(r *rollout.RolloutSummary, now time.Time) string {
	var bakes []string
	for _, w := range r.Waves {
		for _, g := range w.Regions {
			if !g.BakesUntil.IsZero() {
				bakes = append(bakes, fmt.Sprintf("%s bakes until %s", g.Region, moment(g.BakesUntil, now)))
			}
		}
	}
	return strings.Join(bakes, ", ")
}

// confirmedText says how many agents confirmed, and what, where that is not the rollout's
// version: on the way back it is what was there before.
func confirmedText(r *rollout.RolloutSummary) (text string) {
	confirmed, total := make(map[wire.Version]int), make(map[wire.Version]int)
	for _, w := range r.Waves {
		for _, g := range w.Regions {
			what := r.Version
			if g.Phase != rollout.PhaseIdle {
				what = cmp.Or(g.Next, g.Running)
			}
			confirmed[what] += g.Counts.Confirmed
			total[what] += g.Counts.Total - g.Counts.Drained
		}
	}
	delete(total, "") // went back to nothing
	for _, v := range wire.Keys(total) {
		text += fmt.Sprintf(", %d of %d agents confirmed", confirmed[v], total[v])
		if len(total) > 1 || v != r.Version {
			text += " " + string(v)
		}
	}
	return text
}

// statusLine says where an app stands in one line.
func statusLine(v controller.AppView) string {
	s, r := v.Summary, v.Summary.Rollout
	if r == nil {
		return fmt.Sprintf("%s: no rollout yet", s.App)
	}
	line := fmt.Sprintf("%s %s: %s", s.App, r.Version, r.Status)
	if !r.Status.Ended() {
		line += fmt.Sprintf(", wave %d of %d", r.Wave+1, len(r.Waves))
	}
	failed := 0
	for _, w := range r.Waves {
		for _, g := range w.Regions {
			failed += g.Counts.Failed
		}
	}
	line += confirmedText(r)
	if failed > 0 {
		line += fmt.Sprintf(", %d failed", failed)
	}
	if g := r.Glass; g != nil && !r.Status.Ended() {
		line += ", " + glassText(g, s.At)
	}
	for _, q := range s.Quarantine {
		if q.Rollout == r.ID {
			line += ", its bundles by " + q.Source + " in quarantine"
		}
	}
	if v.Doubt != "" {
		line += ": " + v.Doubt
	}
	if r.Reason != "" {
		line += ": " + r.Reason
	} else if bakes := bakesText(r, s.At); bakes != "" {
		line += ": " + bakes
	}
	if h := r.Hold; h != nil {
		line += fmt.Sprintf(" (%s, %s)", h.Kind, holdUntil(h, s.At))
	}
	return line
}
